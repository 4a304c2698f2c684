use super::super::{Class, Event, GlobalErrors, Polled, Reason, StreamId};
use super::{DEVICE, running};

fn words(code: u64, flags: u64) -> [u64; 4] {
    [code | 0x1_0042 << 32, flags, 0xdead_b000, 0x1234_5fff]
}

#[test]
fn a_fault_of_stage_2_says_who_where_and_why() {
    let flags = 1 << 35 | 1 << 39 | 2 << 40;
    let event = Event::decode(words(0x10, flags));
    let expected = Event {
        stream: StreamId(0x1_0042),
        substream: None,
        reason: Reason::Translation,
        address: Some(0xdead_b000),
        read: Some(true),
        class: Some(Class::Input),
        ipa: Some(0x1234_5000),
        stalled: false,
    };
    assert_eq!(event, expected);
    assert_eq!(Event::decode(words(0x13, 0)).read, Some(false));
    assert_eq!(Event::decode(words(0x13, 0)).ipa, None, "of stage 1");
    assert!(Event::decode(words(0x10, 1 << 31)).stalled);
    let with = Event::decode([0x10 | 1 << 11 | 0x5_4321 << 12, 0, 0, 0]);
    assert_eq!(with.substream, Some(0x5_4321));
}

#[test]
fn every_code_has_its_reason() {
    for (code, reason) in [
        (0x01, Reason::Unsupported),
        (0x02, Reason::BadStream),
        (0x03, Reason::EntryFetch),
        (0x04, Reason::NotConfigured),
        (0x05, Reason::Ats),
        (0x06, Reason::Stage1),
        (0x07, Reason::Ats),
        (0x08, Reason::Stage1),
        (0x09, Reason::Stage1),
        (0x0a, Reason::Stage1),
        (0x0b, Reason::WalkAbort),
        (0x10, Reason::Translation),
        (0x11, Reason::AddressSize),
        (0x12, Reason::AccessFlag),
        (0x13, Reason::Permission),
        (0x20, Reason::Conflict),
        (0x21, Reason::Conflict),
        (0xe0, Reason::Other(0xe0)),
    ] {
        assert_eq!(Event::decode(words(code, 0)).reason, reason);
    }
    let none = Event::decode(words(0x04, u64::MAX));
    assert_eq!(
        (none.address, none.read, none.class, none.ipa),
        (None, None, None, None)
    );
}

#[test]
fn events_come_in_order_through_laps_and_overflow_is_told_once() {
    let (hw, mut smmu) = running(1);
    for lap in 0..5 {
        for n in 0..16 + lap * 3 {
            assert!(hw.dma(DEVICE, 0x8000_0000 + n * 0x1000, true).is_err());
        }
        for n in 0..16 {
            let Some(Polled::Event(event)) = smmu.event(&hw) else {
                panic!("event {n} of lap {lap}");
            };
            assert_eq!(event.address, Some(0x8000_0000 + n * 0x1000));
            assert_eq!((event.stream, event.read), (StreamId(DEVICE), Some(false)));
        }
        let overflow = (lap > 0).then_some(Polled::Overflow);
        assert_eq!(smmu.event(&hw), overflow, "lap {lap}");
        assert_eq!(smmu.event(&hw), None);
    }
}

#[test]
fn global_errors_are_taken_once() {
    let (hw, mut smmu) = running(2);
    assert_eq!(smmu.errors(&hw), GlobalErrors(0));
    hw.0.borrow_mut().raise(2);
    hw.0.borrow_mut().raise(7);
    let errors = smmu.errors(&hw);
    assert!(errors.event_lost() && !errors.service_failure());
    assert!(smmu.errors(&hw).is_empty() && !smmu.is_lost());
}

/// Acknowledged by somebody who does not repair the queue, the error would come back for ever.
#[test]
fn the_command_queues_error_is_left_to_who_waits_for_it() {
    let (hw, mut smmu) = running(3);
    hw.0.borrow_mut().raise(0);
    assert!(smmu.errors(&hw).is_empty());
    assert_eq!(hw.get(0x60) ^ hw.get(0x64), 1);
    smmu.sync(&hw).unwrap();
    assert_eq!(hw.get(0x60), hw.get(0x64));
}

#[test]
fn a_queue_that_could_not_be_written_is_emptied() {
    let (hw, mut smmu) = running(4);
    for _ in 0..20 {
        assert!(hw.dma(DEVICE, 0x8000_0000, true).is_err());
    }
    hw.0.borrow_mut().raise(2);
    assert!(smmu.errors(&hw).event_lost());
    assert_eq!(smmu.event(&hw), None);
    assert!(hw.dma(DEVICE, 0x9000_0000, true).is_err());
    let Some(Polled::Event(event)) = smmu.event(&hw) else {
        panic!("the queue goes on");
    };
    assert_eq!(event.address, Some(0x9000_0000));
}

#[test]
fn an_event_can_be_told() {
    use std::string::ToString;
    let event = Event::decode(words(0x10, 1 << 39));
    assert_eq!(
        event.report().to_string(),
        "stream 0x10042 was refused a write at 0xdeadb000: nothing is mapped there"
    );
    let nobodys = Event::decode(words(0x04, 0));
    assert_eq!(
        nobodys.report().to_string(),
        "stream 0x10042 was refused an access: it belongs to nobody"
    );
}

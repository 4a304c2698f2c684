use super::super::{Command, CommandQueue, Hardware, QueueError, StreamId};
use super::model::Model;
use super::{COMMANDS, SEEDS, running};

/// A queue of 16 on a model that does nothing but run it.
fn bare(seed: u64) -> (Model, CommandQueue) {
    let (hw, smmu) = running(seed);
    assert!(!smmu.is_lost());
    hw.set(0x20, 0);
    hw.set(0x24, 0);
    hw.set(0x98, 0);
    hw.set(0x9c, 0);
    hw.set(0x20, 8);
    hw.set(0x24, 8);
    (hw, CommandQueue::new(COMMANDS, 4))
}

#[test]
fn every_command_is_done_once_in_order_through_many_laps() {
    for seed in SEEDS {
        let (hw, mut queue) = bare(seed);
        let mut sent = std::vec::Vec::new();
        for n in 0..100 {
            let command = Command::config(StreamId(n), true);
            queue.push(&hw, command).unwrap();
            sent.push(command.0);
            if n % 7 == 3 {
                queue.sync(&hw).unwrap();
                assert_eq!(hw.done(), sent, "seed {seed}");
                sent.clear();
            }
        }
        queue.sync(&hw).unwrap();
        assert_eq!(hw.done(), sent);
    }
}

#[test]
fn a_full_queue_is_waited_for_and_not_for_ever() {
    let (hw, mut queue) = bare(1);
    hw.faults(|faults| faults.queue_stops = true);
    for n in 0..16 {
        queue.push(&hw, Command::config(StreamId(n), true)).unwrap();
    }
    let last = Command::config(StreamId(16), true);
    assert_eq!(queue.push(&hw, last), Err(QueueError::Timeout));
    assert_eq!(hw.get(0x98), 16, "told of all that is there");
    hw.faults(|faults| faults.queue_stops = false);
    queue.push(&hw, last).unwrap();
    queue.sync(&hw).unwrap();
    let expected: std::vec::Vec<_> = (0..17)
        .map(|n| Command::config(StreamId(n), true).0)
        .collect();
    assert_eq!(hw.done(), expected);
}

/// A counter that runs ahead of what was written says nothing of what is done.
#[test]
fn an_smmu_that_counts_wrong_is_not_believed() {
    let (hw, mut queue) = bare(1);
    // Off, so that the model lets the counters stand.
    hw.set(0x20, 0);
    hw.set(0x24, 0);
    hw.set(0x9c, 1);
    assert_eq!(queue.push(&hw, Command::all()), Err(QueueError::Timeout));
}

#[test]
fn a_sync_that_never_ends_is_given_up() {
    let (hw, mut queue) = bare(2);
    hw.faults(|faults| faults.sync_hangs = true);
    assert_eq!(queue.sync(&hw), Err(QueueError::Timeout));
}

#[test]
fn an_illegal_command_is_skipped_told_and_the_rest_done() {
    for seed in SEEDS {
        let (hw, mut queue) = bare(seed);
        hw.faults(|faults| faults.illegal = Some((0x28, 1)));
        queue.push(&hw, Command::config(StreamId(1), true)).unwrap();
        queue.push(&hw, Command::all_of(super::Vmid(1))).unwrap();
        queue.push(&hw, Command::config(StreamId(2), true)).unwrap();
        assert_eq!(queue.sync(&hw), Err(QueueError::Illegal(0x28)));
        assert_eq!(hw.done().len(), 2);
        assert_eq!(hw.get(0x60), hw.get(0x64), "acknowledged");
        assert_eq!(queue.sync(&hw), Ok(()), "told once");
    }
}

#[test]
fn a_fetch_that_aborts_is_tried_again_a_few_times() {
    for seed in SEEDS {
        let (hw, mut queue) = bare(seed);
        hw.faults(|faults| faults.fetch_aborts = 4);
        queue.push(&hw, Command::all()).unwrap();
        assert_eq!(queue.sync(&hw), Ok(()));
        assert_eq!(hw.done().len(), 1);
        hw.faults(|faults| faults.fetch_aborts = 4);
        assert_eq!(queue.sync(&hw), Ok(()), "each sync has its own");
        hw.faults(|faults| faults.fetch_aborts = u32::MAX);
        assert_eq!(queue.sync(&hw), Err(QueueError::Abort));
    }
}

#[test]
fn another_global_error_is_left_to_its_reader() {
    let (hw, mut queue) = bare(3);
    hw.0.borrow_mut().raise(2);
    hw.faults(|faults| faults.illegal = Some((0x30, 1)));
    queue.push(&hw, Command::all()).unwrap();
    assert_eq!(queue.sync(&hw), Err(QueueError::Illegal(0x30)));
    assert_eq!(hw.get(0x60) ^ hw.get(0x64), 1 << 2);
    assert_eq!(hw.load(COMMANDS), 0x46, "replaced by a sync");
}

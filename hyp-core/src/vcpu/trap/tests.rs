use super::*;
use crate::vcpu::esr::DataAbort;
use crate::vcpu::mmio::Access;

const IL: u64 = 1 << 25;

fn esr(ec: u64, iss: u64) -> u64 {
    ec << 26 | IL | iss
}

#[test]
fn item_33_every_class_has_an_answer_and_none_halts() {
    for ec in 0..64 {
        let event = classify(esr(ec, 7), 0x123, 0x40);
        match ec {
            0x01 => assert!(matches!(event, Event::Wait { is_long: true, .. })),
            0x16 => assert_eq!(event, Event::Call { immediate: 7 }),
            0x17 => assert_eq!(event, Event::Smc),
            0x18 => assert!(matches!(event, Event::Sysreg(_))),
            0x20 | 0x24 => assert!(matches!(event, Event::Memory(_))),
            _ => assert_eq!(event, Event::Inject(Kind::Undefined)),
        }
    }
}

#[test]
fn item_31_smc_is_told_from_hvc() {
    assert_eq!(classify(esr(0x17, 0xffff), 0, 0), Event::Smc);
    assert_eq!(classify(esr(0x13, 0), 0, 0), Event::Inject(Kind::Undefined));
    assert_eq!(classify(esr(0x12, 0), 0, 0), Event::Inject(Kind::Undefined));
}

#[test]
fn a_thumb_wait_is_short() {
    let wait = classify(0x01 << 26, 0, 0);
    assert!(matches!(wait, Event::Wait { is_long: false, .. }));
}

#[test]
fn waits_for_an_event_are_told_from_waits_for_an_interrupt() {
    // WFI, WFE, WFIT, WFET.
    for (ti, wanted) in [(0, false), (1, true), (2, false), (3, true)] {
        match classify(esr(0x01, 0x1e0_0000 | ti), 0, 0) {
            Event::Wait { event, .. } => assert_eq!(event, wanted, "TI {ti}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_of_memory_are_told_from_other_aborts() {
    for ec in [0x20, 0x24] {
        for code in 0..64 {
            let event = classify(esr(ec, code), 0xf123, 0x40);
            match code {
                0x10 | 0x13..=0x18 | 0x1b..=0x1f => {
                    let Event::Hardware(abort) = event else {
                        panic!("code {code:#x}: {event:?}")
                    };
                    assert_eq!(abort.far(), 0xf123);
                }
                0x00..=0x0f | 0x29 | 0x2b => {
                    assert!(matches!(event, Event::Memory(_)), "code {code:#x}");
                }
                _ => assert!(matches!(event, Event::Inject(_)), "code {code:#x}"),
            }
        }
    }
}

#[test]
fn a_register_access_is_decoded() {
    let iss = 3 << 20 | 4 << 1 | 6 << 5 | 1;
    let access = Esr::new(iss).sys_access();
    assert_eq!(classify(esr(0x18, iss), 0, 0), Event::Sysreg(access));
}

fn memory(ec: u64, iss: u64) -> Abort {
    match classify(esr(ec, iss), 0xf123, 0x40) {
        Event::Memory(abort) => abort,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_abort_knows_its_address() {
    let abort = memory(0x24, 7);
    assert_eq!(abort.ipa, 0x4123);
    assert_eq!(abort.page().as_u64(), 0x4000);
    assert_eq!(memory(0x24, 1 << 7 | 7).ipa, 0x4000);
    assert_eq!(abort.fault(), Fault::Translation(3));
}

#[test]
fn a_write_is_a_write() {
    assert!(!memory(0x24, 7).is_write());
    assert!(memory(0x24, 1 << 6 | 7).is_write());
    // WnR has no meaning for a fetch.
    assert!(!memory(0x20, 1 << 6 | 7).is_write());
    // On a walk only a permission fault is one.
    assert!(!memory(0x24, 1 << 7 | 1 << 6 | 7).is_write());
    assert!(memory(0x24, 1 << 7 | 0xf).is_write());
    assert!(!memory(0x24, 0xf).is_write());
    assert!(!memory(0x20, 1 << 7 | 0xf).is_write());
}

#[test]
fn refusals_carry_the_address_and_direction() {
    let far = 0xf123;
    assert_eq!(
        memory(0x24, 7).refusal(),
        Kind::DataAbort { far, write: false }
    );
    assert_eq!(
        memory(0x24, 1 << 6 | 7).refusal(),
        Kind::DataAbort { far, write: true }
    );
    assert_eq!(memory(0x20, 7).refusal(), Kind::InstructionAbort { far });
    assert!(memory(0x20, 7).is_fetch());
    assert!(!memory(0x24, 7).is_fetch());
}

#[test]
fn what_stage_2_did_not_refuse_is_the_guests_own() {
    let far = 0xf123;
    for code in [0x21, 0x30, 0x35, 0x3f] {
        let event = classify(esr(0x24, 1 << 6 | code), far, 0x40);
        assert_eq!(event, Event::Inject(Kind::DataAbort { far, write: true }));
        let event = classify(esr(0x20, code), far, 0x40);
        assert_eq!(event, Event::Inject(Kind::InstructionAbort { far }));
    }
}

#[test]
fn device_accesses_are_data_only() {
    let iss = 1 << 24 | 7;
    let abort: DataAbort = Esr::new(esr(0x24, iss)).data_abort();
    let access = memory(0x24, iss).device_access(5, 1 << 25);
    assert_eq!(access, Access::new(&abort, 0x4123, 5, 1 << 25));
    assert!(access.is_some_and(|access| access.big_endian));
    assert_eq!(memory(0x20, iss).device_access(5, 0), None);
}

use super::super::register::{CR0, CR0ACK, GBPA};
use super::super::{Placement, QueueError, Shape, Smmu, StartError, Ste, StreamTable, Unfit, Vmid};
use super::model::{Blocked, IDR0, Model};
use super::{DEVICE, ROOT_A, SEEDS, place, stage2};

fn start(hw: &Model) -> Result<Smmu, StartError> {
    Smmu::start(hw, &place(), &Ste::Invalid)
}

/// A device tries all the time, from the moment the SMMU is told to abort.
fn attacked(seed: u64) -> Model {
    let hw = Model::new(seed);
    hw.0.borrow_mut().attack = true;
    hw.0.borrow_mut().watched = std::vec![(DEVICE, 0x4000_0000), (3, 0)];
    hw
}

#[test]
fn nothing_passes_during_or_after_a_start() {
    for seed in SEEDS {
        let hw = attacked(seed);
        let smmu = start(&hw).unwrap();
        assert!(!smmu.is_lost());
        assert_eq!(hw.get(CR0.0), 0b1101, "no PRI; no ATSCHK without ATS");
        assert_eq!(
            hw.get(0x2c),
            6,
            "private maintenance, unknown streams recorded"
        );
        assert_eq!(hw.dma(DEVICE, 0x4000_0000, true), Err(Blocked(4)));
        assert_eq!(
            hw.dma(0x1_0000, 0, true),
            Err(Blocked(2)),
            "beyond the table"
        );
    }
}

/// Firmware left it on, with a table of its own that lets everything pass, and in caches.
#[test]
fn what_firmware_left_running_is_stopped_and_forgotten() {
    for seed in SEEDS {
        let hw = Model::new(seed);
        let firmware = stage2(Vmid(9), ROOT_A);
        super::map(&hw, ROOT_A, 0x4000_0000, Some(0x4000_0000), true);
        assert!(Smmu::start(&hw, &place(), &firmware).is_ok());
        assert_eq!(hw.dma(DEVICE, 0x4000_0000, true), Ok(0x4000_0000));
        hw.set(0x44, 0);
        hw.set(0xffff_0044, 0);
        hw.set(0x50, 7);
        hw.0.borrow_mut().raise(5);
        let smmu = start(&hw).unwrap();
        assert!(!smmu.is_lost());
        assert_eq!(
            hw.dma(DEVICE, 0x4000_0000, true),
            Err(Blocked(4)),
            "seed {seed}"
        );
        assert_eq!(hw.get(0x50), 0, "no interrupts");
        assert_eq!(hw.get(0x60), hw.get(0x64), "old errors are acknowledged");
    }
}

#[test]
fn safe_mode_is_on_where_devices_may_translate_by_themselves() {
    let hw = Model::new(1);
    hw.set(0, IDR0 | 1 << 10);
    start(&hw).unwrap();
    assert_eq!(hw.get(CR0.0), 0b1_1101);
}

#[test]
fn an_smmu_that_ward_cannot_drive_aborts() {
    for seed in SEEDS {
        let hw = attacked(seed);
        hw.set(0, IDR0 & !1);
        assert_eq!(start(&hw).unwrap_err(), StartError::Unfit(Unfit::NoStage2));
        assert_eq!(hw.dma(DEVICE, 0, true), Err(Blocked(0)));
        assert_eq!((hw.get(CR0.0), hw.get(GBPA.0)), (0, 1 << 20));
    }
}

#[test]
fn a_register_that_does_not_answer_is_named() {
    let hw = Model::new(2);
    hw.faults(|faults| faults.bypass_hangs = true);
    assert_eq!(start(&hw).unwrap_err(), StartError::NoAnswer(GBPA));
    let hw = Model::new(3);
    hw.faults(|faults| faults.enables_hang = true);
    assert_eq!(start(&hw).unwrap_err(), StartError::NoAnswer(CR0ACK));
}

#[test]
fn an_smmu_that_runs_no_commands_aborts() {
    for seed in SEEDS {
        let hw = attacked(seed);
        hw.faults(|faults| faults.queue_stops = true);
        let error = StartError::Commands(QueueError::Timeout);
        assert_eq!(start(&hw).unwrap_err(), error);
        assert_eq!(hw.get(CR0ACK.0), 0, "nothing is left half on");
        assert_eq!(hw.dma(DEVICE, 0x4000_0000, true), Err(Blocked(0)));
    }
}

#[test]
fn memory_that_does_not_fit_is_refused() {
    let good = place();
    for bad in [
        Placement {
            commands: good.commands + 64,
            ..good
        },
        Placement {
            events: good.events + 64,
            ..good
        },
        Placement {
            command_order: 20,
            ..good
        },
        Placement {
            command_order: 3,
            ..good
        },
        Placement {
            event_order: 20,
            ..good
        },
        Placement {
            streams: StreamTable::new(super::TABLE + 64, 16, Shape::Linear),
            ..good
        },
        Placement {
            streams: StreamTable::new(0, 17, Shape::Linear),
            ..good
        },
        // Beyond the 44 bits of the SMMU: it would use the address without its top.
        Placement {
            commands: good.commands | 1 << 44,
            ..good
        },
        Placement {
            events: good.events | 1 << 44,
            ..good
        },
        Placement {
            streams: StreamTable::new(1 << 44, 16, Shape::Linear),
            ..good
        },
        Placement {
            streams: StreamTable::new(super::TABLE, 16, Shape::TwoLevel { shared: 1 << 44 }),
            ..good
        },
    ] {
        let hw = Model::new(1);
        let error = Smmu::start(&hw, &bad, &Ste::Invalid).unwrap_err();
        assert_eq!(error, StartError::Placement);
        assert_eq!(hw.dma(DEVICE, 0, false), Err(Blocked(0)));
    }
}

/// An SMMU of linear tables alone would take a first level for entries in bypass.
#[test]
fn two_levels_are_not_given_to_an_smmu_that_has_one() {
    for seed in SEEDS {
        let hw = attacked(seed);
        hw.set(0, IDR0 & !(3 << 27));
        assert_eq!(start(&hw).unwrap_err(), StartError::Placement);
        assert_eq!(hw.dma(DEVICE, 0, true), Err(Blocked(0)));
        assert!(!hw.0.borrow().bypassed);
    }
}

/// Caches survive a restart: neither the old entries nor the old translations may.
#[test]
fn translations_from_before_the_start_are_forgotten() {
    for seed in SEEDS {
        let hw = Model::new(seed);
        super::map(&hw, ROOT_A, 0x4000_0000, Some(0x4000_0000), true);
        super::map(&hw, super::ROOT_B, 0x4000_0000, Some(0x9000_0000), true);
        assert!(Smmu::start(&hw, &place(), &stage2(Vmid::HOST, ROOT_A)).is_ok());
        assert_eq!(hw.dma(DEVICE, 0x4000_0000, true), Ok(0x4000_0000));
        let host = stage2(Vmid::HOST, super::ROOT_B);
        assert!(Smmu::start(&hw, &place(), &host).is_ok());
        assert_eq!(hw.dma(DEVICE, 0x4000_0000, true), Ok(0x9000_0000));
    }
}

#[test]
fn what_el2_left_is_forgotten_where_there_is_an_el2() {
    for (hyp, commands) in [(0, 2), (1 << 9, 3)] {
        let hw = Model::new(1);
        hw.set(0, IDR0 & !(1 << 9) | hyp);
        start(&hw).unwrap();
        assert_eq!(hw.done().len(), commands);
    }
}

/// Ward's CPU may be held up by firmware. That is not the SMMU's fault.
#[test]
fn a_cpu_that_comes_late_sees_what_was_done_in_time() {
    let hw = Model::new(1);
    hw.faults(|faults| faults.away = true);
    let mut smmu = start(&hw).unwrap();
    for _ in 0..40 {
        smmu.forget_all(&hw, Vmid(1)).unwrap();
    }
    smmu.sync(&hw).unwrap();
}

/// What firmware confined by its tables does not escape while they are taken from it.
#[test]
fn a_stream_that_firmware_blocked_stays_blocked() {
    for seed in SEEDS {
        let hw = attacked(seed);
        assert!(start(&hw).is_ok());
        hw.set(0x44, 0);
        hw.set(0xffff_0044, 0);
        assert!(start(&hw).is_ok());
        assert!(!hw.0.borrow().bypassed);
    }
}

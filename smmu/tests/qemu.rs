//! The driver against QEMU's SMMUv3, and real DMA by QEMU's `edu` device, without a CPU: QEMU is
//! told each register access over its test protocol.
//!
//! Where there is no `qemu-system-aarch64` the test says so and passes.

#[path = "qemu/qtest.rs"]
mod qtest;

use qtest::{Edu, Qemu};
use smmu::v3::{Capabilities, Event, Hardware, Placement, Polled, Reason, Shape, Smmu};
use smmu::v3::{Stage2Config, Ste, StreamId, StreamTable, Vmid};

const ROOT: u64 = 0x4200_0000;
const ROOT48: u64 = 0x4210_0000;
const LINEAR: u64 = 0x4310_0000;
const TABLE: u64 = 0x4300_0000;
const SHARED: u64 = 0x4301_0000;
const OWN: u64 = 0x4301_4000;
const COMMANDS: u64 = 0x4302_0000;
const EVENTS: u64 = 0x4303_0000;
const SOURCE: u64 = 0x4800_0000;
const TARGET: u64 = 0x4800_1000;
const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;

fn place() -> Placement {
    Placement {
        streams: StreamTable::new(TABLE, 16, Shape::TwoLevel { shared: SHARED }),
        commands: COMMANDS,
        command_order: 8,
        events: EVENTS,
        event_order: 7,
    }
}

/// What the tables say of a page: 0 nothing, else the permissions of `S2AP`.
fn map(hw: &Qemu, page: u64, access: u64) {
    let (level2, level3) = (ROOT + 0x2000, ROOT + 0x3000);
    hw.store(ROOT + (page >> 30) * 8, level2 | 3);
    hw.store(level2 + (page >> 21 & 511) * 8, level3 | 3);
    let leaf = if access == 0 {
        0
    } else {
        page | 0x73f | access << 6
    };
    hw.store(level3 + (page >> 12 & 511) * 8, leaf);
}

struct World {
    hw: Qemu,
    smmu: Smmu,
    edu: Edu,
}

impl World {
    /// Copies a word by DMA; whether it arrived, and what the SMMU told.
    fn copy(&mut self) -> (bool, Vec<Event>) {
        self.hw.store(TARGET, 0);
        self.edu.read_from(&self.hw, SOURCE);
        self.edu.write_to(&self.hw, TARGET);
        let arrived = self.hw.load(TARGET) == SECRET;
        let events = std::iter::from_fn(|| self.smmu.event(&self.hw));
        let events = events.map(|polled| match polled {
            Polled::Event(event) => event,
            Polled::Overflow => panic!("overflow"),
        });
        // The device sends a word as two halves, and QEMU may look each up more than once.
        let mut events: Vec<_> = events.collect();
        events.dedup_by_key(|event| event.reason);
        (arrived, events)
    }

    fn reasons(&mut self) -> (bool, Vec<Reason>) {
        let (arrived, events) = self.copy();
        for event in &events {
            assert_eq!(event.stream, self.edu.stream());
        }
        (arrived, events.iter().map(|event| event.reason).collect())
    }

    fn forget(&mut self, page: u64) {
        self.smmu.forget(&self.hw, Vmid::HOST, page, 1).unwrap();
        self.smmu.sync(&self.hw).unwrap();
    }
}

#[test]
fn dma_reaches_what_the_entry_says_and_no_more() {
    let Some(hw) = Qemu::start() else {
        println!("skipped: no qemu-system-aarch64");
        return;
    };
    let edu = Edu::enable(&hw);
    hw.store(SOURCE, SECRET);

    // Before Ward: the device reaches everything, or the rest of this test would prove nothing.
    edu.read_from(&hw, SOURCE);
    edu.write_to(&hw, TARGET);
    assert_eq!(hw.load(TARGET), SECRET, "DMA does not work at all");

    let caps = Capabilities::read(&hw).unwrap();
    println!("{caps:?}");
    println!("IDR3 {:#x}", hw.read32(smmu::v3::register::IDR3));
    let smmu = Smmu::start(&hw, &place(), &Ste::Invalid).unwrap();
    let mut world = World { hw, smmu, edu };
    assert_eq!(world.reasons(), (false, vec![Reason::NotConfigured]));

    let config = Stage2Config::new(Vmid::HOST, ROOT, 40, 1, caps.output, caps.coherent).unwrap();
    let stream = world.edu.stream();
    map(&world.hw, SOURCE, 1);
    map(&world.hw, TARGET, 3);
    world.smmu.separate(&world.hw, stream, OWN).unwrap();
    world
        .smmu
        .set(&world.hw, stream, &Ste::Stage2(config))
        .unwrap();
    assert_eq!(world.reasons(), (true, vec![]));

    // Gone from the table, and from the TLB.
    map(&world.hw, TARGET, 0);
    world.forget(TARGET);
    let (arrived, events) = world.copy();
    assert!(!arrived);
    let [event] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(event.reason, Reason::Translation);
    assert_eq!((event.address, event.read), (Some(TARGET), Some(false)));
    assert_eq!(event.ipa, Some(TARGET));

    map(&world.hw, TARGET, 1);
    world.forget(TARGET);
    assert_eq!(world.reasons(), (false, vec![Reason::Permission]));
    map(&world.hw, TARGET, 3);
    world
        .smmu
        .forget(&world.hw, Vmid::HOST, SOURCE, 512)
        .unwrap();
    world.smmu.sync(&world.hw).unwrap();
    assert_eq!(world.reasons(), (true, vec![]), "a range");

    world.smmu.set(&world.hw, stream, &Ste::Silent).unwrap();
    assert_eq!(world.reasons(), (false, vec![]));
    world.smmu.set(&world.hw, stream, &Ste::Invalid).unwrap();
    assert_eq!(world.reasons(), (false, vec![Reason::NotConfigured]));
    assert!(world.smmu.errors(&world.hw).is_empty());

    // A second start, from a running SMMU, under the same device.
    world.smmu = Smmu::start(&world.hw, &place(), &Ste::Stage2(config)).unwrap();
    assert_eq!(world.reasons(), (true, vec![]));
    assert!(world.smmu.is_shared(&world.hw, StreamId(stream.0)));
}

/// A machine of its own: QEMU 10 stays with two levels when it has had them once.
#[test]
fn linear_tables_and_tables_wider_than_the_smmu_work_too() {
    let Some(hw) = Qemu::start() else {
        println!("skipped: no qemu-system-aarch64");
        return;
    };
    let edu = Edu::enable(&hw);
    let caps = Capabilities::read(&hw).unwrap();
    hw.store(SOURCE, SECRET);
    map(&hw, SOURCE, 1);
    map(&hw, TARGET, 3);
    // A stage 2 of 48 bits from level 0 on, of which the SMMU has 44.
    hw.store(ROOT48, ROOT | 3);
    let wide = Stage2Config::new(Vmid::HOST, ROOT48, 48, 0, caps.output, caps.coherent).unwrap();
    let linear = |bits| Placement {
        streams: StreamTable::new(LINEAR, bits, Shape::Linear),
        ..place()
    };
    let smmu = Smmu::start(&hw, &linear(5), &Ste::Stage2(wide)).unwrap();
    let mut world = World { hw, smmu, edu };
    assert_eq!(world.reasons(), (true, vec![]));
    map(&world.hw, TARGET, 0);
    world.smmu.forget_all(&world.hw, Vmid::HOST).unwrap();
    world.smmu.sync(&world.hw).unwrap();
    assert_eq!(world.reasons(), (false, vec![Reason::Translation]));

    // Streams beyond the table.
    world.smmu = Smmu::start(&world.hw, &linear(4), &Ste::Stage2(wide)).unwrap();
    assert_eq!(world.reasons(), (false, vec![Reason::BadStream]));
}

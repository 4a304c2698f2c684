use super::super::super::seam::All;
use super::*;
use hyp_core::dma::StreamKey;
use std::boxed::Box;
use std::cell::Cell;

const PAGE: u64 = 0x123;

std::thread_local! {
    static LOST: Cell<u32> = const { Cell::new(0) };
}

fn lose() {
    LOST.set(LOST.get() + 1);
}

/// An SMMU of whatever kind.
enum Any {
    V2(Box<Unit<Model>>),
    /// It translates nothing.
    Off,
}

impl Seam for Any {
    fn forget(&self, domain: Domain, first: Ipa, pages: u64) -> Result<(), DmaLost> {
        match self {
            Any::V2(unit) => unit.forget(domain, first, pages),
            Any::Off => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), DmaLost> {
        match self {
            Any::V2(unit) => unit.sync(),
            Any::Off => Ok(()),
        }
    }

    fn has(&self, stream: u32) -> bool {
        match self {
            Any::V2(unit) => unit.has(stream),
            Any::Off => false,
        }
    }

    fn attach(&self, stream: u32, table: Option<DmaTable>) -> Result<(), AttachError> {
        match self {
            Any::V2(unit) => unit.attach(stream, table),
            Any::Off => Err(AttachError::NoStream),
        }
    }

    fn end(&self, domain: Domain) -> Result<(), DmaLost> {
        match self {
            Any::V2(unit) => unit.end(domain),
            Any::Off => Ok(()),
        }
    }
}

impl Any {
    fn unit(&self) -> &Unit<Model> {
        match self {
            Any::V2(unit) => unit,
            Any::Off => panic!("has none"),
        }
    }

    fn hw(&self) -> &Model {
        &self.unit().hw
    }

    fn cached(&self) -> usize {
        self.hw().0.borrow().tlb.len()
    }
}

/// Two with one between that is off. Stream 0x10 of each is led to bypass.
fn three() -> [Any; 3] {
    LOST.set(0);
    let three = [
        Any::V2(Box::new(unit())),
        Any::Off,
        Any::V2(Box::new(unit())),
    ];
    for n in [0, 2] {
        lead(three[n].unit(), 2, 0x10, None);
    }
    three
}

fn all(units: &[Any]) -> All<'_, Any> {
    All { units, lose }
}

fn key(smmu: u8, stream: u32) -> StreamKey {
    StreamKey { smmu, stream }
}

#[test]
fn what_leaves_the_hosts_table_is_forgotten_by_each() {
    let units = three();
    for n in [0, 2] {
        assert_eq!(units[n].hw().dma(0x10, PAGE), Effect::Table(HOST));
        assert_eq!(units[n].cached(), 1);
    }
    all(&units).forget(Domain::Host, Ipa::containing(PAGE << 12), 1);
    assert_eq!(units[0].cached(), 1, "asked for is not done");
    all(&units).sync();
    assert_eq!((units[0].cached(), units[2].cached()), (0, 0));
    // Nothing was asked since: no register is written.
    let writes = units[0].hw().writes();
    all(&units).sync();
    assert_eq!(units[0].hw().writes(), writes);
    // Nor for a table that none of its banks has.
    all(&units).forget(Domain::Own(9), Ipa::containing(0), 1);
    all(&units).sync();
    assert_eq!((units[0].hw().writes(), LOST.get()), (writes, 0));
}

#[test]
fn a_bank_gets_a_table_of_the_hosts_own_and_gives_it_back() {
    let units = three();
    let asked = all(&units);
    let bank = key(2, 3);
    lead(units[2].unit(), 4, 0x20, Some(3));
    assert_eq!(units[2].hw().effect(0x20), Effect::Ended);
    asked.attach(bank, Some(own_table(6))).unwrap();
    assert_eq!(
        units[2].hw().dma(0x20, PAGE),
        Effect::Table(own_root(6)),
        "led there before"
    );
    assert_eq!(units[0].hw().effect(0x20), Effect::Ended);
    // A page of it, and no other's.
    units[2].hw().dma(0x10, PAGE);
    asked.forget(Domain::Own(6), Ipa::containing(PAGE << 12), 1);
    asked.sync();
    assert_eq!(units[2].cached(), 1, "the host's");
    units[2].hw().dma(0x20, PAGE);
    // Nowhere, then back to what nobody asked for.
    asked.attach(bank, None).unwrap();
    assert_eq!(units[2].hw().dma(0x20, PAGE), Effect::Ended);
    assert_eq!(units[2].cached(), 1, "the host's");
    asked.end(Domain::Own(6));
    asked.attach(bank, Some(host_table())).unwrap();
    assert_eq!(units[2].hw().effect(0x20), Effect::Ended);
    asked.attach(bank, Some(own_table(7))).unwrap();
    assert_eq!(units[2].hw().dma(0x20, PAGE), Effect::Table(own_root(7)));
    assert_eq!(LOST.get(), 0);
}

#[test]
fn what_is_not_there_is_no_stream_and_what_does_not_fit_changes_nothing() {
    let units = three();
    let asked = all(&units);
    for (smmu, stream, there) in [
        (0, 0, true),
        (0, 6, true),
        (2, 6, true),
        (0, 7, false),
        (0, 0x100, false),
        (0, u32::MAX, false),
        (1, 0, false),
        (3, 0, false),
        (255, 0, false),
    ] {
        let key = key(smmu, stream);
        assert_eq!(asked.has(key), there, "{key:?}");
        let led = asked.attach(key, None);
        assert_eq!(led.is_ok(), there, "{key:?}");
    }
    let writes = units[0].hw().writes();
    // Beyond its 44 bits.
    let far = DmaTable {
        root: Pfn(1 << 33),
        ..own_table(1)
    };
    assert_eq!(asked.attach(key(0, 1), Some(far)), Err(AttachError::NoRoom));
    assert_eq!((units[0].hw().writes(), LOST.get()), (writes, 0));
}

#[test]
fn an_smmu_that_is_lost_is_told_and_no_hindrance_to_the_others() {
    let units = three();
    let asked = all(&units);
    asked.attach(key(0, 1), Some(own_table(1))).unwrap();
    asked.attach(key(2, 1), Some(own_table(2))).unwrap();
    for n in [0, 2] {
        units[n].hw().dma(0x10, PAGE);
    }
    units[0].hw().0.borrow_mut().sync_hangs = true;
    asked.forget(Domain::Host, Ipa::containing(PAGE << 12), 1);
    assert_eq!(LOST.get(), 0);
    asked.sync();
    assert_eq!(LOST.get(), 1);
    assert_eq!((units[0].cached(), units[2].cached()), (1, 0));
    // For good, whatever is asked, though it answers again.
    units[0].hw().0.borrow_mut().sync_hangs = false;
    asked.forget(Domain::Host, Ipa::containing(0), 1);
    assert_eq!(LOST.get(), 2);
    asked.sync();
    assert_eq!(LOST.get(), 3);
    assert_eq!(asked.attach(key(0, 1), None), Err(AttachError::Lost));
    assert_eq!(
        asked.attach(key(0, 2), Some(own_table(3))),
        Err(AttachError::Lost)
    );
    assert_eq!(LOST.get(), 5);
    asked.end(Domain::Own(1));
    assert_eq!(LOST.get(), 6);
    asked.attach(key(2, 1), None).unwrap();
    // The host reads, and changes nothing any more.
    let unit = units[0].unit();
    let writes = unit.hw.writes();
    let refused = store(unit, s2cr(2), 4, 2 << 16);
    assert_eq!(why(refused), "the SMMU does not answer");
    let refused = store(unit, smr(5), 4, 1 << 31 | 0x30);
    assert_eq!(why(refused), "the SMMU does not answer");
    assert_eq!(load(unit, s2cr(2), 4), (Outcome::Done, 1 << 16));
    assert_eq!(unit.hw.writes(), writes);
    let newly = [0, 0, 2].map(|n: usize| units[n].unit().lock().is_newly_lost());
    assert_eq!(newly, [true, false, false]);
}

/// What ends a bank of the host's, the host reads; what ends in its memory's bank, Ward does.
#[test]
fn faults_of_the_hosts_memory_are_told_within_limits() {
    let unit = unit();
    let faults = |n: u64, address: u32| {
        unit.hw.set(bank(n, 0x58) as u32, 2);
        unit.hw.set(bank(n, 0x60) as u32, address);
        unit.hw.set(bank(n, 0x68) as u32, 1 << 4);
        unit.hw.set(0x1400 + n as u32 * 4, 0x10);
    };
    let told = |now| unit.lock().fault(&unit.hw, now);
    assert_eq!(told(0), None);
    faults(0, 0x1000);
    assert_eq!(told(0), None, "the host's to read");
    assert_eq!(load(&unit, bank(0, 0x60), 4), (Outcome::Done, 0x1000));
    faults(7, 0x8123_4000);
    let (report, missing) = told(0).unwrap();
    assert_eq!(
        (report.to_string(), missing),
        (
            "stream 0x0010 was refused a write at 0x81234000: nothing is mapped there".into(),
            0
        )
    );
    faults(7, 0x8123_4040);
    assert_eq!(told(0), None, "the same page");
    faults(7, 0x8123_5000);
    assert_eq!(told(0).unwrap().1, 1);
}

use super::*;
use smmu::v2::Unfit;

fn all_end(hw: &Model) {
    for stream in 0..0x8000 {
        assert_eq!(hw.effect(stream), Effect::Ended, "stream {stream:#x}");
    }
}

/// From the first look on, whatever firmware left; and then as the host leads them.
#[test]
fn every_stream_is_ended_until_the_host_leads_it() {
    let hw = Model::new();
    assert_eq!(hw.effect(0x10), Effect::Hole("CLIENTPD"), "firmware's");
    let shape = begin(&hw, BYTES).unwrap();
    all_end(&hw);
    assert_eq!((shape.groups, shape.banks, shape.bytes()), (16, 8, BYTES));
    let driver = started(&hw, &setup()).unwrap();
    all_end(&hw);
    assert_eq!(
        (driver.smmu().host_groups(), driver.smmu().host_banks()),
        (16, 7)
    );
    let unit = Unit::new(hw, WINDOW, driver);
    // Bank 3 is nobody's: the empty table.
    lead(&unit, 5, 0x20, Some(3));
    all_end(&unit.hw);
    lead(&unit, 4, 0x10, None);
    assert_eq!(unit.hw.effect(0x10), Effect::Table(HOST));
    assert_eq!(unit.hw.effect(0x11), Effect::Ended);
    unit.hw.set(s2cr(4) as u32, 3);
    assert_eq!(unit.hw.effect(0x10), Effect::Table(EMPTY), "not the host's");
}

#[test]
fn an_smmu_that_cannot_be_driven_ends_every_stream() {
    let hw = Model::new();
    assert_eq!(begin(&hw, BYTES - 1), Err(Off::Registers));
    all_end(&hw);
    let hw = Model::new();
    hw.set(0x20, hw.get(0x20) & !(1 << 29));
    let off = begin(&hw, BYTES).unwrap_err();
    assert_eq!(off, Off::Start(StartError::Unfit(Unfit::NoStage2)));
    all_end(&hw);
    // One bank, which the host's memory takes.
    let hw = Model::new();
    hw.set(0x24, hw.get(0x24) & !0xff | 1);
    begin(&hw, BYTES).unwrap();
    let off = started(&hw, &setup()).unwrap_err();
    assert_eq!(off, Off::Start(StartError::Plan));
    all_end(&hw);
    // A root beyond its 44 bits.
    let hw = Model::new();
    let table = DmaTable {
        root: Pfn(1 << 33),
        ..host_table()
    };
    let setup = Setup { table, ..setup() };
    let off = started(&hw, &setup).unwrap_err();
    assert_eq!(off, Off::Narrow);
    assert!(!off.is_unknown());
    assert!(off.to_string().ends_with("devices behind it do not work"));
}

#[test]
fn an_smmu_that_does_not_answer_is_as_bad_as_lost() {
    let hw = Model::new();
    hw.0.borrow_mut().stuck = vec![0];
    let off = begin(&hw, BYTES).unwrap_err();
    assert!(off.is_unknown());
    assert!(off.to_string().contains("No guest can start"));
    let hw = Model::new();
    hw.0.borrow_mut().sync_hangs = true;
    begin(&hw, BYTES).unwrap();
    let off = started(&hw, &setup()).unwrap_err();
    assert!(off.is_unknown());
}

/// Tree and register have to agree, else walks go past the caches.
#[test]
fn walks_are_cached_only_where_memory_is_coherent() {
    for coherent in [true, false] {
        let hw = Model::new();
        let setup = Setup {
            coherent,
            ..setup()
        };
        started(&hw, &setup).unwrap();
        let control = hw.get(bank(7, 0x30) as u32);
        assert_eq!(control >> 8 & 0x3f == 0x35, coherent, "{control:#x}");
    }
}

#[test]
fn a_command_line_asks_for_bypass_by_its_last_word() {
    for (line, asks) in [
        ("", false),
        ("iommu.passthrough=1 quiet", true),
        ("quiet iommu.passthrough=on", true),
        ("iommu.passthrough=0", false),
        ("xiommu.passthrough=1", false),
        ("iommu.passthrough=1 iommu.passthrough=0", false),
        ("iommu.passthrough=0 iommu.passthrough=y", true),
    ] {
        assert_eq!(asks_for_bypass(line), asks, "{line}");
    }
}

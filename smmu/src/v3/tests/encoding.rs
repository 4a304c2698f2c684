use super::super::{Capabilities, Command, Shape, Stage2Config, Ste, StreamId, StreamTable};
use super::super::{TooNarrow, Unfit, Vmid, Vmids};
use super::model::{IDR0, IDR1, Model};
use super::output;

#[test]
fn an_entry_for_stage_2_has_each_field_at_its_place() {
    let config = Stage2Config::new(Vmid(0x12), 0x4_5678_9000, 44, 0, output(), true).unwrap();
    let words = Ste::Stage2(config).encode();
    assert_eq!(words[0], 1 | 6 << 1);
    assert_eq!(words[1], 1 << 44);
    assert_eq!(words[1] >> 28 & 3, 0, "no ATS");
    let word2 = 0x12 | 20 << 32 | 2 << 38 | 1 << 40 | 1 << 42 | 3 << 44 | 4 << 48;
    assert_eq!(words[2], word2 | 1 << 51 | 1 << 53 | 1 << 54 | 1 << 58);
    assert_eq!(words[3], 0x4_5678_9000);
    assert_eq!(words[4..], [0; 4]);
}

#[test]
fn no_entry_is_a_bypass() {
    let stage2 = super::stage2(Vmid::HOST, super::ROOT_A);
    for ste in [Ste::Invalid, Ste::Silent, stage2] {
        let config = ste.encode()[0] >> 1 & 7;
        assert!(config == 0 || config == 6, "{ste:?}");
    }
}

#[test]
fn a_narrower_smmu_walks_the_same_table_where_the_start_level_allows() {
    let new = |root, bits, level, idr5| {
        let hw = Model::new(0);
        hw.set(0x14, idr5);
        let output = Capabilities::read(&hw).unwrap().output;
        Stage2Config::new(Vmid(1), root, bits, level, output, true)
            .map(|config| 64 - (Ste::Stage2(config).encode()[2] >> 32 & 63))
    };
    assert_eq!(new(0x1000, 48, 0, 0x74), Ok(44));
    assert_eq!(new(0x1000, 48, 0, 0x72), Ok(40));
    assert_eq!(
        new(0x1000, 48, 0, 0x71),
        Err(TooNarrow),
        "36 bits from level 0"
    );
    assert_eq!(new(0x1000, 40, 1, 0x70), Ok(32));
    assert_eq!(new(0x2000, 40, 1, 0x75), Ok(40));
    assert_eq!(
        new(0x1000, 40, 1, 0x75),
        Err(TooNarrow),
        "two root pages, aligned to one"
    );
    assert_eq!(
        new(1 << 44, 40, 1, 0x74),
        Err(TooNarrow),
        "root out of reach"
    );
    assert_eq!(new(0x800, 40, 1, 0x74), Err(TooNarrow), "root not aligned");
}

#[test]
fn commands_are_encoded_as_chapter_4_says() {
    let vmid = Vmid(0x1234);
    assert_eq!(Command::config(StreamId(7), true).0, [3 | 7 << 32, 1]);
    assert_eq!(Command::config_all().0, [4, 31]);
    assert_eq!(Command::all_of(vmid).0, [0x28 | 0x1234 << 32, 0]);
    assert_eq!(Command::leaf(vmid, 0x5678_9abc).0[1], 0x5678_9000);
    let range = Command::range(vmid, 0x20_0000, 31, 4);
    assert_eq!(range.0[0], 0x2a | 31 << 12 | 4 << 20 | 0x1234 << 32);
    assert_eq!(range.0[1], 0x20_0000 | 1 << 10);
    assert_eq!(Command::sync().0, [0x46, 0]);
}

#[test]
fn what_ward_cannot_confine_is_refused() {
    let with = |register: u32, value: u64| {
        let hw = Model::new(0);
        hw.set(register, value);
        Capabilities::read(&hw)
    };
    assert!(with(0, IDR0).is_ok());
    assert_eq!(with(0, IDR0 & !1), Err(Unfit::NoStage2));
    assert_eq!(with(0, IDR0 & !(3 << 2)), Err(Unfit::Tables));
    assert_eq!(with(0x14, 0x64), Err(Unfit::Tables), "no 4 KiB pages");
    assert_eq!(
        with(0, IDR0 | 3 << 21),
        Err(Unfit::Tables),
        "big-endian only"
    );
    let stalls = IDR0 & !(3 << 24) | 2 << 24;
    assert_eq!(with(0, stalls), Err(Unfit::AlwaysStalls));
    assert_eq!(with(4, IDR1 | 1 << 30), Err(Unfit::Preset));
    assert_eq!(with(4, IDR1 | 1 << 29), Err(Unfit::Preset));
    assert_eq!(with(4, 16 | 3 << 21 | 3 << 16), Err(Unfit::SmallQueues));
    assert!(matches!(with(0x14, 7), Err(Unfit::Reserved(_))));
}

#[test]
fn a_stream_table_says_its_size_and_alignment() {
    assert_eq!(StreamTable::bytes(16, false), 4 << 20);
    assert_eq!(StreamTable::bytes(16, true), 2048);
    assert_eq!(StreamTable::bytes(0, false), 64);
    assert_eq!(StreamTable::PAGE_BYTES, 16 << 10);
    let shape = Shape::TwoLevel { shared: 0x4000 };
    let table = StreamTable::new(0x800, 16, shape);
    let caps = Capabilities::read(&Model::new(0)).unwrap();
    let suits = |table: StreamTable| table.suits(&caps);
    assert!(suits(table) && !suits(StreamTable::new(0x400, 16, shape)));
    let crooked = Shape::TwoLevel { shared: 0x2000 };
    assert!(!suits(StreamTable::new(0x800, 16, crooked)));
    assert_eq!(table.config(), 1 << 16 | 8 << 6 | 16);
}

#[test]
fn vmids_are_few_and_come_back_only_retired() {
    let mut vmids = Vmids::new(8);
    let all: std::vec::Vec<_> = std::iter::from_fn(|| vmids.take()).collect();
    assert_eq!(all.len(), 255);
    assert!(!all.contains(&Vmid::HOST));
    let (hw, mut smmu) = super::running(1);
    let retired = smmu.retire(&hw, Vmid(77)).unwrap();
    assert_eq!(hw.done(), [Command::all_of(Vmid(77)).0]);
    vmids.give_back(retired);
    assert_eq!((vmids.take(), vmids.take()), (Some(Vmid(77)), None));
    assert_eq!(Vmids::new(16).take(), Some(Vmid(1)));
}

#[test]
fn the_hosts_vmid_is_never_given_to_another() {
    let (hw, mut smmu) = super::running(1);
    let mut vmids = Vmids::new(8);
    vmids.give_back(smmu.retire(&hw, Vmid::HOST).unwrap());
    assert_eq!(vmids.take(), Some(Vmid(1)));
}

use super::*;

fn decode(r0: u32, r1: u32, r5: u32) -> Result<Identification, Unknown> {
    Identification::decode(Idr0(r0), Idr1(r1), Idr3(0), Idr5(r5))
}

/// An SMMU with nothing.
fn nothing() -> Identification {
    decode(0, 0, 0).unwrap()
}

/// The values that QEMU 10.0 shows for `-machine virt,iommu=smmuv3`.
#[test]
fn the_emulated_smmu_is_what_its_model_says() {
    let ident = decode(0x0d44_101b, 0x0273_0010, 0x0000_0074).unwrap();
    assert!(ident.stage1 && ident.stage2 && ident.coherent && ident.vmid16 && ident.asid16);
    assert!(!ident.ats && !ident.pri && !ident.msi && !ident.broadcast_maintenance);
    assert_eq!(ident.table_format, TableFormat::Aarch64);
    assert_eq!(ident.stall, StallModel::Never);
    assert!(ident.two_level_stream_table);
    assert_eq!((ident.stream_id.bits(), ident.substream_id.bits()), (16, 0));
    assert_eq!(
        (ident.command_queue.entries(), ident.event_queue.entries()),
        (1 << 19, 1 << 19)
    );
    assert_eq!(ident.output_address.bits(), 44);
    assert!(ident.granule_4k && ident.granule_16k && ident.granule_64k);
}

#[test]
fn the_level_of_replacement_is_read_and_3_is_reserved() {
    let level = |value: u32| {
        let idr3 = Idr3(value << 11);
        Identification::decode(Idr0(0), Idr1(0), idr3, Idr5(0)).map(|ident| ident.replacement)
    };
    assert_eq!(level(0), Ok(Replacement::BreakFirst));
    assert_eq!(level(1), Ok(Replacement::MayAbort));
    assert_eq!(level(2), Ok(Replacement::InPlace));
    assert_eq!(level(3), Err(Unknown::new("SMMU_IDR3.BBML", 3)));
}

/// Each flag alone must change exactly its own field.
#[test]
fn every_flag_has_its_own_bit() {
    type Flag = (usize, u32, fn(&mut Identification));
    let flags: [Flag; 19] = [
        (0, 0, |i| i.stage2 = true),
        (0, 1, |i| i.stage1 = true),
        (0, 4, |i| i.coherent = true),
        (0, 5, |i| i.broadcast_maintenance = true),
        (0, 9, |i| i.hypervisor_contexts = true),
        (0, 10, |i| i.ats = true),
        (0, 12, |i| i.asid16 = true),
        (0, 13, |i| i.msi = true),
        (0, 16, |i| i.pri = true),
        (0, 18, |i| i.vmid16 = true),
        (0, 19, |i| i.two_level_context_table = true),
        (0, 27, |i| i.two_level_stream_table = true),
        (1, 28, |i| i.preset_relative = true),
        (1, 29, |i| i.queues_preset = true),
        (1, 30, |i| i.tables_preset = true),
        (2, 4, |i| i.granule_4k = true),
        (2, 5, |i| i.granule_16k = true),
        (2, 6, |i| i.granule_64k = true),
        (2, 16, |i| i.max_stalled = 1),
    ];
    for (register, at, set) in flags {
        let mut values = [0; 3];
        values[register] = 1 << at;
        let mut expected = nothing();
        set(&mut expected);
        assert_eq!(
            decode(values[0], values[1], values[2]),
            Ok(expected),
            "register {register} bit {at}"
        );
    }
}

#[test]
fn fields_of_several_bits_are_where_the_architecture_has_them() {
    let r1 = 7 | 5 << 6 | 3 << 11 | 9 << 16 | 11 << 21;
    let ident = decode(
        0b11 << 2 | 0b10 << 6 | 0b10 << 24,
        r1,
        0xabcd_0000 | 1 << 10,
    )
    .unwrap();
    assert_eq!(ident.table_format, TableFormat::Both);
    assert_eq!(ident.hardware_update, Httu::AccessAndDirty);
    assert_eq!(ident.stall, StallModel::Always);
    assert_eq!(
        (ident.stream_id.count(), ident.substream_id.count()),
        (128, 32)
    );
    assert_eq!(ident.page_request_queue.entries(), 8);
    assert_eq!(ident.event_queue.entries(), 512);
    assert_eq!(ident.command_queue.entries(), 2048);
    assert_eq!(
        (ident.virtual_address.bits(), ident.max_stalled),
        (52, 0xabcd)
    );
}

#[test]
fn reserved_values_are_refused_by_name() {
    for (registers, field, value) in [
        ([1 << 21, 0, 0], "SMMU_IDR0.TTENDIAN", 1),
        ([3 << 24, 0, 0], "SMMU_IDR0.STALL_MODEL", 3),
        ([2 << 27, 0, 0], "SMMU_IDR0.ST_LEVEL", 2),
        ([0, 33, 0], "SMMU_IDR1.SIDSIZE", 33),
        ([0, 21 << 6, 0], "SMMU_IDR1.SSIDSIZE", 21),
        ([0, 20 << 11, 0], "SMMU_IDR1.PRIQS", 20),
        ([0, 20 << 16, 0], "SMMU_IDR1.EVENTQS", 20),
        ([0, 20 << 21, 0], "SMMU_IDR1.CMDQS", 20),
        ([0, 0, 7], "SMMU_IDR5.OAS", 7),
        ([0, 0, 2 << 10], "SMMU_IDR5.VAX", 2),
    ] {
        let unknown = decode(registers[0], registers[1], registers[2]).unwrap_err();
        assert_eq!(unknown, Unknown { field, value });
    }
}

#[test]
fn the_largest_permitted_sizes_are_taken() {
    let ident = decode(0, 32 | 20 << 6 | 19 << 21, 6).unwrap();
    assert_eq!(ident.stream_id.count(), 1 << 32);
    assert_eq!(ident.substream_id.bits(), 20);
    assert!(ident.output_address.holds((1 << 52) - 1) && !ident.output_address.holds(1 << 52));
}

#[test]
fn table_formats_say_whether_ward_can_use_them() {
    assert!(TableFormat::Both.has_aarch64() && TableFormat::Aarch64.has_aarch64());
    assert!(!TableFormat::Aarch32.has_aarch64() && !TableFormat::None.has_aarch64());
}

#[test]
fn what_newer_revisions_added_is_known() {
    let ident = Identification::decode(Idr0(3 << 6 | 3 << 21), Idr1(0), Idr3(1 << 10), Idr5(0));
    let ident = ident.unwrap();
    assert_eq!(ident.hardware_update, Httu::AccessDirtyTable);
    assert!(ident.range_invalidation && !ident.little_endian);
    assert!(!nothing().range_invalidation && nothing().little_endian);
}

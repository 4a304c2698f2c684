use super::*;

const IPA_BITS: u32 = 40;

fn rows_of(crm: u8, op2: u8) -> impl Iterator<Item = &'static Field> {
    FIELDS
        .iter()
        .filter(move |field| (field.crm, field.op2) == (crm, op2))
}

#[test]
fn rows_are_sorted_named_and_do_not_overlap() {
    assert!(FIELDS.is_sorted_by(|a, b| { (a.crm, a.op2, a.shift) < (b.crm, b.op2, b.shift) }));
    for field in FIELDS {
        assert!(field.shift % 4 == 0 && field.shift < 64 && !field.name.is_empty());
        let named = REGISTERS
            .iter()
            .any(|reg| (reg.0, reg.1) == (field.crm, field.op2));
        assert!(named, "{}", field.name);
    }
    for (crm, op2, name) in REGISTERS {
        assert!(rows_of(*crm, *op2).next().is_some(), "{name}");
    }
    assert!(REGISTERS.is_sorted());
}

/// A field alone, over all values it can have.
#[test]
fn every_field_obeys_its_rule() {
    for field in FIELDS {
        for value in 0..16 {
            let all = id_register(field.crm, field.op2, value << field.shift, IPA_BITS);
            let shown = all >> field.shift & 0xf;
            let expected = match field.rule {
                Rule::Pass => value,
                Rule::AtMost(limit) if value > limit => limit,
                Rule::AtMost(_) => value,
                Rule::AtMostSigned(limit) if value < 8 && value > limit => limit,
                Rule::AtMostSigned(_) => value,
                Rule::Fixed(fixed) => fixed,
                Rule::Hidden => 0,
                Rule::AddressRange if value > 2 => 2,
                Rule::AddressRange => value,
            };
            assert_eq!(shown, expected, "{} {value}", field.name);
        }
    }
}

/// What guests see of a CPU that has everything: the published feature set.
#[test]
fn registers_of_a_cpu_with_everything() {
    let seven = 0x7777_7777_7777_7777;
    let expected = [
        (4, 0, 0x1101_0000_0111_0011),
        (4, 1, 0x0000_0000_0000_0021),
        (4, 2, 0),
        (5, 0, 0x000f_00f0_0010_1006),
        (6, 0, 0x1227_7777_7027_7770),
        (6, 1, 0x0077_2277_1137_7552),
        (6, 2, 0x1011_0000_1110_5110),
        (7, 0, 0x0000_1000_0011_0122),
        (7, 1, 0x1111_1030_0130_2002),
        (7, 2, 0x1021_0011_1011_0011),
        (7, 3, 0),
    ];
    for (crm, op2, value) in expected {
        let shown = id_register(crm, op2, seven, IPA_BITS);
        assert_eq!(shown, value, "S3_0_C0_C{crm}_{op2} {shown:#018x}");
    }
}

#[test]
fn signed_fields_keep_not_implemented() {
    let none = u64::MAX;
    assert_eq!(
        id_register(4, 0, none, IPA_BITS) >> 16 & 0xff,
        0xff,
        "FP, AdvSIMD"
    );
    assert_eq!(
        id_register(7, 0, none, IPA_BITS) >> 24 & 0xff,
        0xff,
        "TGran64, TGran4"
    );
}

#[test]
fn el2_el3_and_aarch32_are_hidden() {
    for hardware in [0, u64::MAX, 0x2222_2222_2222_2222] {
        assert_eq!(id_register(4, 0, hardware, IPA_BITS) & 0xffff, 0x0011);
    }
}

#[test]
fn the_address_range_is_the_smaller() {
    let range = |hardware, bits| id_register(7, 0, hardware, bits) & 0xf;
    let encoded = [
        (32, 0),
        (36, 1),
        (40, 2),
        (42, 3),
        (44, 4),
        (48, 5),
        (52, 6),
    ];
    for (bits, value) in encoded {
        assert_eq!(range(6, bits), value);
        assert_eq!(range(6, bits + 1), value);
    }
    assert_eq!(range(6, 31), 0);
    assert_eq!(range(6, 47), 4);
    assert_eq!(range(15, 64), 6);
    assert_eq!(range(1, 52), 1);
}

#[test]
fn what_is_not_allocated_reads_as_zero() {
    for crm in 0..16 {
        for op2 in 0..8 {
            if rows_of(crm, op2).next().is_none() {
                assert_eq!(id_register(crm, op2, u64::MAX, IPA_BITS), 0);
            }
        }
    }
    assert_eq!(id_register(1, 0, u64::MAX, IPA_BITS), 0);
}

#[test]
fn debug_is_the_least_that_is_legal() {
    let value = id_register(5, 0, 0, IPA_BITS);
    let field = |shift: u32| value >> shift & 0xf;
    assert_eq!((field(0), field(12), field(20), field(28)), (6, 1, 1, 0));
    assert_eq!((field(8), field(36), field(48)), (0, 0xf, 0xf));
}

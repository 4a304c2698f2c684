use super::Encoding;
use std::string::ToString;

#[test]
fn fields_come_back_and_are_cut_to_their_width() {
    let reg = Encoding::new(3, 5, 14, 9, 6);
    assert_eq!(
        (reg.op0(), reg.op1(), reg.crn(), reg.crm(), reg.op2()),
        (3, 5, 14, 9, 6)
    );
    assert_eq!(Encoding::new(7, 13, 30, 25, 14), reg);
    assert_eq!(Encoding::new(0, 0, 0, 0, 0), Encoding(0));
    assert_eq!(Encoding::new(3, 7, 15, 15, 7), Encoding(0xffff));
}

#[test]
fn each_field_has_its_own_bits() {
    let singles = [
        (Encoding::new(3, 0, 0, 0, 0), 0xc000),
        (Encoding::new(0, 7, 0, 0, 0), 0x3800),
        (Encoding::new(0, 0, 15, 0, 0), 0x0780),
        (Encoding::new(0, 0, 0, 15, 0), 0x0078),
        (Encoding::new(0, 0, 0, 0, 7), 0x0007),
    ];
    for (reg, bits) in singles {
        assert_eq!(reg, Encoding(bits));
    }
    assert_eq!(Encoding(0xc000).op0(), 3);
    assert_eq!(Encoding(0x3fff).op0(), 0);
    assert_eq!(Encoding(!0x3800).op1(), 0);
    assert_eq!(Encoding(!0x0780).crn(), 0);
    assert_eq!(Encoding(!0x0078).crm(), 0);
    assert_eq!(Encoding(!0x0007).op2(), 0);
}

#[test]
fn the_number_is_all_fields_at_once() {
    assert_eq!(Encoding::new(3, 0, 12, 11, 5).number(), 0xc65d);
    assert_eq!(Encoding::new(0, 0, 0, 0, 0).number(), 0);
}

#[test]
fn order_is_that_of_the_manual() {
    assert!(Encoding::new(2, 7, 15, 15, 7) < Encoding::new(3, 0, 0, 0, 0));
    assert!(Encoding::new(3, 0, 15, 15, 7) < Encoding::new(3, 1, 0, 0, 0));
    assert!(Encoding::new(3, 0, 0, 15, 7) < Encoding::new(3, 0, 1, 0, 0));
    assert!(Encoding::new(3, 0, 0, 0, 7) < Encoding::new(3, 0, 0, 1, 0));
}

#[test]
fn prints_as_the_assembler_reads_it() {
    assert_eq!(Encoding::new(3, 0, 0, 4, 1).to_string(), "S3_0_C0_C4_1");
}

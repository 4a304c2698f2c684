use super::*;

const LISTING: &str = "
ward.elf:\tfile format elf64-littleaarch64

Disassembly of section .text:

0000000000000000 <_start>:
       0:      \tb\t0x40 <v0+0x10>
       4: b0 b1 07 00  \t.word\t0x0007b1b0
       8:      \tmrs\tx8, S3_0_C15_C2_1
       c:      \tat\ts1e1r, x0
      10:      \tprfm\tpldl1keep, [x8]

0000000000000040 <ward_fp_save>:
      40:      \tstp\tq0, q1, [x0]

0000000000000080 <_ZN5other17h0123E>:
      80:      \tldr\tq0, [x8, #0x10]
      84:      \tret
";

#[test]
fn only_unmarked_routines_are_flagged() {
    let (instructions, stray) = scan(LISTING);
    assert_eq!(instructions, 7);
    assert_eq!(
        stray,
        [Stray {
            function: "_ZN5other17h0123E",
            address: "80",
            text: "ldr\tq0, [x8, #0x10]"
        }]
    );
    let message = stray[0].message();
    assert!(
        message.contains("`ldr q0, [x8, #0x10]` at 80 in _ZN5other17h0123E"),
        "{message}"
    );
}

#[test]
fn a_marked_name_in_the_middle_does_not_count() {
    let renamed = LISTING.replace("ward_fp_save", "not_ward_fp_save");
    assert_eq!(scan(&renamed).1.len(), 2);
}

#[test]
fn every_bank_is_known() {
    for text in [
        "movi\tv31.2d, #0",
        "fmov\td0, x1",
        "fadd\ts1, s2, s3",
        "ldr\th7, [x0]",
        "ldr\tb0, [x0]",
        "st1\t{ v0.16b, v1.16b }, [x0], #32",
        "mov\tz1.d, p3/m, z4.d",
        "ptrue\tp0.b",
        "msr\tFPCR, x0",
        "mrs\tx0, FPSR",
        "fcmp\td0, #0.0",
        "zero\t{za}",
        "ldr\tza[w12, 0], [x0]",
        "<unknown>",
        "aese\tv0.16b, v1.16b",
        "ldr\tq2, 0x1000 <table>",
    ] {
        assert!(touches_fp(text), "{text}");
    }
}

#[test]
fn ordinary_instructions_pass() {
    for text in [
        "b\t0x40 <d0>",
        "bl\t0x100 <q1+0x4>",
        "dsb\tish",
        "tlbi\tvmalls12e1is",
        "dc\tcivac, x0",
        "add\tx0, sp, #0x10",
        "msr\tSPSel, #0x1",
        "msr\tS3_4_C12_C8_0, x1",
        "mov\tw0, #0xb1",
        "sys\t#0, c7, c8, #0, x0",
        "ret",
        "udf\t#0x0",
        "ldr\tx0, 0x1000 <table>",
        "adrp\tx0, 0x4000 <v1>",
        "b.eq\t0x10 <z3>",
        "mov\tx0, #0x10 // =b0",
    ] {
        assert!(!touches_fp(text), "{text}");
    }
}

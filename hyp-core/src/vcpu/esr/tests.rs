use super::*;
use std::string::ToString;

fn esr(ec: u64, iss: u64) -> Esr {
    Esr::new(ec << 26 | 1 << 25 | iss)
}

#[test]
fn every_class_is_the_manuals() {
    let known = [
        (0x00, Class::Unknown, "unknown reason"),
        (0x01, Class::Wfx, "WFI or WFE"),
        (0x03, Class::Coprocessor, "AArch32 coprocessor access"),
        (0x04, Class::Coprocessor, "AArch32 coprocessor access"),
        (0x05, Class::Coprocessor, "AArch32 coprocessor access"),
        (0x06, Class::Coprocessor, "AArch32 coprocessor access"),
        (0x07, Class::Fp, "floating point, SIMD or SVE"),
        (0x08, Class::Coprocessor, "AArch32 coprocessor access"),
        (0x09, Class::Pauth, "pointer authentication"),
        (0x0a, Class::Ls64, "LD64B or ST64B"),
        (0x0c, Class::Coprocessor, "AArch32 coprocessor access"),
        (0x0d, Class::BranchTarget, "branch target"),
        (0x0e, Class::IllegalState, "illegal execution state"),
        (0x11, Class::Svc32, "SVC from AArch32"),
        (0x12, Class::Hvc32, "HVC from AArch32"),
        (0x13, Class::Smc32, "SMC from AArch32"),
        (0x15, Class::Svc64, "SVC"),
        (0x16, Class::Hvc64, "HVC"),
        (0x17, Class::Smc64, "SMC"),
        (0x18, Class::Sys64, "system register access"),
        (0x19, Class::Sve, "SVE"),
        (0x1a, Class::Eret, "ERET"),
        (0x1c, Class::PacFail, "pointer authentication failure"),
        (0x1d, Class::Sme, "SME"),
        (
            0x20,
            Class::InstructionAbortLower,
            "instruction abort from a lower level",
        ),
        (0x21, Class::InstructionAbortSame, "instruction abort"),
        (0x22, Class::PcAlignment, "PC alignment"),
        (0x24, Class::DataAbortLower, "data abort from a lower level"),
        (0x25, Class::DataAbortSame, "data abort"),
        (0x26, Class::SpAlignment, "SP alignment"),
        (0x27, Class::Mops, "memory operation"),
        (0x28, Class::FpException, "floating-point exception"),
        (0x2c, Class::FpException, "floating-point exception"),
        (0x2f, Class::SError, "SError"),
        (0x30, Class::Debug, "debug exception"),
        (0x31, Class::Debug, "debug exception"),
        (0x32, Class::Debug, "debug exception"),
        (0x33, Class::Debug, "debug exception"),
        (0x34, Class::Debug, "debug exception"),
        (0x35, Class::Debug, "debug exception"),
        (0x38, Class::Debug, "debug exception"),
        (0x3a, Class::Debug, "debug exception"),
        (0x3c, Class::Debug, "debug exception"),
    ];
    for ec in 0..64_u64 {
        let row = known.iter().find(|row| row.0 == ec);
        let class = row.map_or(Class::Other, |row| row.1);
        let words = row.map_or("unknown exception class", |row| row.2);
        // Bits outside EC do not matter.
        assert_eq!(Esr::new(ec << 26 | 0x3ff_ffff).class(), class);
        assert_eq!(Esr::new(ec << 26 | !0xffff_ffff).class(), class);
        assert_eq!(class.words(), words);
    }
}

#[test]
fn every_fault_code_is_the_manuals() {
    for code in 0..64_u8 {
        let level = (code & 3) as i8;
        let expected = match code {
            0b000000..=0b000011 => Fault::AddressSize(level),
            0b000100..=0b000111 => Fault::Translation(level),
            0b001000..=0b001011 => Fault::AccessFlag(level),
            0b001100..=0b001111 => Fault::Permission(level),
            0b010000 => Fault::External,
            0b010011 => Fault::ExternalOnWalk(-1),
            0b010100..=0b010111 => Fault::ExternalOnWalk(level),
            0b011000 | 0b011011 | 0b011100..=0b011111 => Fault::Parity,
            0b100001 => Fault::Alignment,
            0b101001 => Fault::AddressSize(-1),
            0b101011 => Fault::Translation(-1),
            0b110000 => Fault::TlbConflict,
            0b110001 | 0b110101 => Fault::Atomic,
            _ => Fault::Other(code),
        };
        let fault = Esr::new(u64::from(code) | !0x3f).fault();
        assert_eq!(fault, expected, "{code:#b}");
        let stage2 = code < 16 || code == 0b101001 || code == 0b101011;
        assert_eq!(fault.is_stage2(), stage2, "{code:#b}");
    }
}

#[test]
fn fields_of_a_data_abort() {
    let none = DataAbort {
        valid: false,
        size: 1,
        sign_extend: false,
        rt: 0,
        wide: false,
        acquire_release: false,
        far_invalid: false,
        cache_maintenance: false,
        on_walk: false,
        write: false,
        fault: Fault::AddressSize(0),
    };
    let cases = [
        (0, none),
        (
            1 << 24,
            DataAbort {
                valid: true,
                ..none
            },
        ),
        (1 << 22, DataAbort { size: 2, ..none }),
        (2 << 22, DataAbort { size: 4, ..none }),
        (3 << 22, DataAbort { size: 8, ..none }),
        (
            1 << 21,
            DataAbort {
                sign_extend: true,
                ..none
            },
        ),
        (31 << 16, DataAbort { rt: 31, ..none }),
        (17 << 16, DataAbort { rt: 17, ..none }),
        (1 << 15, DataAbort { wide: true, ..none }),
        (
            1 << 14,
            DataAbort {
                acquire_release: true,
                ..none
            },
        ),
        (
            1 << 10,
            DataAbort {
                far_invalid: true,
                ..none
            },
        ),
        (
            1 << 8,
            DataAbort {
                cache_maintenance: true,
                ..none
            },
        ),
        (
            1 << 7,
            DataAbort {
                on_walk: true,
                ..none
            },
        ),
        (
            1 << 6,
            DataAbort {
                write: true,
                ..none
            },
        ),
        (
            7,
            DataAbort {
                fault: Fault::Translation(3),
                ..none
            },
        ),
        (1 << 9 | 3 << 11 | 1 << 13, none),
    ];
    for (iss, expected) in cases {
        assert_eq!(esr(0x24, iss).data_abort(), expected, "{iss:#x}");
    }
}

#[test]
fn fields_of_a_register_access() {
    let access = |iss| esr(0x18, iss).sys_access();
    let zero = Encoding::new(0, 0, 0, 0, 0);
    let write = SysAccess {
        reg: zero,
        rt: 0,
        write: true,
    };
    assert_eq!(access(0), write);
    assert_eq!(
        access(1),
        SysAccess {
            write: false,
            ..write
        }
    );
    assert_eq!(access(31 << 5), SysAccess { rt: 31, ..write });
    let fields = [
        (3 << 20, Encoding::new(3, 0, 0, 0, 0)),
        (7 << 14, Encoding::new(0, 7, 0, 0, 0)),
        (15 << 10, Encoding::new(0, 0, 15, 0, 0)),
        (15 << 1, Encoding::new(0, 0, 0, 15, 0)),
        (7 << 17, Encoding::new(0, 0, 0, 0, 7)),
    ];
    for (iss, reg) in fields {
        assert_eq!(access(iss), SysAccess { reg, ..write });
    }
    // RES0 bits of the ISS.
    assert_eq!(access(7 << 22), write);
}

#[test]
fn length_immediate_and_value() {
    assert!(Esr::new(1 << 25).is_long());
    assert!(!Esr::new(!(1 << 25)).is_long());
    assert_eq!(esr(0x16, 0x1_abcd).immediate(), 0xabcd);
    assert_eq!(Esr::new(0x1234_5678_9abc_def0).raw(), 0x1234_5678_9abc_def0);
}

#[test]
fn the_fault_address_uses_all_bits_of_fipa() {
    let plain = esr(0x24, 6);
    assert_eq!(plain.fault_ipa(u64::MAX, 0), 0x000f_ffff_ffff_f000);
    assert_eq!(plain.fault_ipa(0, u64::MAX), 0xfff);
    assert_eq!(
        plain.fault_ipa(0x10, 0xffff_8000_0000_1234),
        0x1234 & 0xfff | 0x1000
    );
    // More than the 16 bits that KCore's mask left (kcore 1.7).
    assert_eq!(plain.fault_ipa(0x1234_5670, 0x18), 0x12_3456_7018);
    assert_eq!(esr(0x24, 1 << 7 | 6).fault_ipa(0x10, 0x234), 0x1000);
}

#[test]
fn hpfar_is_written_but_for_permission_faults_of_the_access_itself() {
    assert!(esr(0x24, 0x07).hpfar_valid());
    assert!(esr(0x24, 0x0b).hpfar_valid());
    assert!(esr(0x24, 0x00).hpfar_valid());
    assert!(!esr(0x24, 0x0f).hpfar_valid());
    assert!(esr(0x24, 0x8f).hpfar_valid());
    assert!(!esr(0x24, 0x10).hpfar_valid());
    // Hardware errors, of stage 2's walk for a walk of stage 1 too.
    for code in [0x10, 0x14, 0x17, 0x18, 0x1c, 0x30] {
        assert!(!esr(0x24, 0x80 | code).hpfar_valid(), "{code:#x}");
    }
}

#[test]
fn prints_words_for_an_operator() {
    let cases = [
        (
            esr(0x24, 1 << 6 | 6),
            "data abort from a lower level: translation fault, level 2, write",
        ),
        (
            esr(0x25, 0xf),
            "data abort: permission fault, level 3, read",
        ),
        (
            esr(0x24, 1 << 8 | 1 << 7 | 0x2b),
            "data abort from a lower level: translation fault, level -1, read, cache maintenance, \
             on a stage 1 walk",
        ),
        (
            esr(0x20, 1 << 7 | 0x0b),
            "instruction abort from a lower level: access flag fault, level 3, on a stage 1 walk",
        ),
        (esr(0x21, 0x10), "instruction abort: external abort"),
        (
            esr(0x18, 3 << 20 | 4 << 1 | 5 << 5 | 1),
            "system register access: read of S3_0_C0_C4_0, x5",
        ),
        (
            esr(0x18, 2 << 20 | 31 << 5),
            "system register access: write of S2_0_C0_C0_0, x31",
        ),
        (esr(0x16, 9), "HVC #9"),
        (esr(0x17, 0), "SMC #0"),
        (esr(0x15, 3), "SVC #3"),
        (esr(0x01, 1), "WFI or WFE"),
        (esr(0x3f, 0), "unknown exception class"),
    ];
    for (esr, words) in cases {
        assert_eq!(esr.to_string(), words);
    }
}

#[test]
fn prints_every_fault() {
    let cases = [
        (Fault::AddressSize(0), "address size fault, level 0"),
        (Fault::External, "external abort"),
        (
            Fault::ExternalOnWalk(1),
            "external abort on a walk, level 1",
        ),
        (Fault::Parity, "parity or ECC error"),
        (Fault::Alignment, "alignment fault"),
        (Fault::TlbConflict, "TLB conflict"),
        (Fault::Atomic, "unsupported atomic access"),
        (Fault::Other(0x3f), "fault status 0x3f"),
    ];
    for (fault, words) in cases {
        assert_eq!(fault.to_string(), words);
    }
}

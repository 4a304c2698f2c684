use super::*;
use crate::vcpu::context::Context;

const EL0: u64 = 0;
const EL1T: u64 = 4;
const EL1H: u64 = 5;
const AARCH32: u64 = 0x10;

fn at(pstate: u64) -> Before {
    Before {
        pc: 0x1234,
        pstate,
        vbar: 0xffff_8000_0000_0800,
        sctlr: SCTLR_SPAN,
        tagging: false,
    }
}

#[test]
fn item_27_pc_becomes_the_vector_of_the_mode_left() {
    for (pstate, offset) in [(EL1T, 0), (EL1H, 0x200), (EL0, 0x400), (AARCH32, 0x600)] {
        // Flags and masks do not change where it goes.
        for noise in [0, 0xf000_03c0] {
            let after = inject(at(pstate | noise), Kind::Undefined);
            assert_eq!(after.pc, 0xffff_8000_0000_0800 + offset);
            assert_eq!((after.elr, after.spsr), (0x1234, pstate | noise));
            assert_eq!(after.esr, 0x0200_0000, "EC 0, IL 1");
            assert_eq!(after.far, None);
        }
    }
}

#[test]
fn low_bits_of_vbar_are_no_address() {
    let before = Before {
        vbar: 0x8000_07ff,
        ..at(EL1H)
    };
    assert_eq!(inject(before, Kind::Undefined).pc, 0x8000_0200);
}

#[test]
fn the_handler_starts_masked_with_flags_and_dit_kept() {
    assert_eq!(inject(at(EL0), Kind::Undefined).pstate, 0x3c5);
    let kept = 0xf000_0000 | 1 << 24 | 1 << 22;
    assert_eq!(
        inject(at(0xffff_ffe0), Kind::Undefined).pstate,
        kept | 0x3c5
    );
    for bit in [31, 30, 29, 28, 24, 22] {
        assert_eq!(
            inject(at(1 << bit), Kind::Undefined).pstate,
            1 << bit | 0x3c5
        );
    }
}

#[test]
fn pan_ssbs_and_tco_follow_the_control_register() {
    let before = at(EL1H);
    let pstate = |before| inject(before, Kind::Undefined).pstate;
    assert_eq!(pstate(Before { sctlr: 0, ..before }), 0x3c5 | 1 << 22);
    assert_eq!(
        pstate(Before {
            sctlr: 1 << 23,
            ..before
        }),
        0x3c5
    );
    assert_eq!(
        pstate(Before {
            sctlr: 1 << 23 | 1 << 44,
            ..before
        }),
        0x3c5 | 1 << 12
    );
    assert_eq!(
        pstate(Before {
            tagging: true,
            ..before
        }),
        0x3c5 | 1 << 25
    );
}

#[test]
fn external_aborts_say_whence_and_where() {
    let far = 0xdead_b000;
    let esr = |pstate, kind| {
        let after = inject(at(pstate), kind);
        assert_eq!(after.far, Some(far));
        after.esr
    };
    let read = Kind::DataAbort { far, write: false };
    let write = Kind::DataAbort { far, write: true };
    let fetch = Kind::InstructionAbort { far };
    for lower in [EL0, AARCH32] {
        assert_eq!(esr(lower, read), 0x24 << 26 | 1 << 25 | 0x10);
        assert_eq!(esr(lower, write), 0x24 << 26 | 1 << 25 | 1 << 6 | 0x10);
        assert_eq!(esr(lower, fetch), 0x20 << 26 | 1 << 25 | 0x10);
    }
    for same in [EL1T, EL1H] {
        assert_eq!(esr(same, read), 0x25 << 26 | 1 << 25 | 0x10);
        assert_eq!(esr(same, write), 0x25 << 26 | 1 << 25 | 1 << 6 | 0x10);
        assert_eq!(esr(same, fetch), 0x21 << 26 | 1 << 25 | 0x10);
    }
}

#[test]
fn the_host_sees_an_external_abort_marked_by_s1ptw() {
    const IL_AND_MARK: u64 = 1 << 25 | 1 << 7;
    let far = 0x7777;
    let esr = |pstate, trapped| {
        let after = inject(at(pstate), Kind::HostAbort { esr: trapped, far });
        assert_eq!(after.far, Some(far));
        after.esr
    };
    // All of ISS but S1PTW, WnR and CM set: none of it says anything at EL1, nor what failed.
    let noise = 0x1ff_fe00;
    for failed in [0, 4, 7, 0xd, 0x2b] {
        let trapped = 0x24 << 26 | noise | failed;
        assert_eq!(esr(EL1H, trapped), 0x25 << 26 | IL_AND_MARK | 0x10);
        assert_eq!(esr(EL0, trapped), 0x24 << 26 | IL_AND_MARK | 0x10);
    }
    // A write, and cache maintenance, which counts as one.
    assert_eq!(
        esr(EL0, 0x24 << 26 | noise | 1 << 6 | 7),
        0x24 << 26 | IL_AND_MARK | 1 << 6 | 0x10
    );
    assert_eq!(
        esr(EL1T, 0x24 << 26 | noise | 1 << 8 | 1 << 6 | 7),
        0x25 << 26 | IL_AND_MARK | 1 << 8 | 1 << 6 | 0x10
    );
    // A fetch has neither.
    let fetch = 0x20 << 26 | noise | 1 << 8 | 1 << 6 | 6;
    assert_eq!(esr(EL1H, fetch), 0x21 << 26 | IL_AND_MARK | 0x10);
    assert_eq!(esr(AARCH32, fetch), 0x20 << 26 | IL_AND_MARK | 0x10);
    // A walk of the host's own tables.
    let walk = 0x24 << 26 | noise | 1 << 7 | 5;
    assert_eq!(esr(EL1H, walk), 0x25 << 26 | IL_AND_MARK | 0x17);
    assert_eq!(esr(EL0, walk), 0x24 << 26 | IL_AND_MARK | 0x17);
}

#[test]
fn an_error_of_the_hardware_reaches_the_host_without_wards_mark() {
    let take = |trapped, far| {
        let after = inject(at(EL0), Kind::HostAbort { esr: trapped, far });
        (after.esr, after.far)
    };
    let plain = 1 << 25 | 0x10;
    // External abort, parity, conflict in the TLB.
    for failed in [0x10, 0x18, 0x30] {
        let data = 0x24 << 26 | failed;
        assert_eq!(take(data, 0x7777), (0x24 << 26 | plain, Some(0x7777)));
        assert_eq!(
            take(data | 1 << 6, 0x7777),
            (0x24 << 26 | 1 << 6 | plain, Some(0x7777))
        );
        // Without a valid address the host learns none.
        for ec in [0x20, 0x24] {
            let trapped = ec << 26 | 1 << 10 | failed;
            assert_eq!(take(trapped, 0x7777), (ec << 26 | 1 << 10 | plain, Some(0)));
        }
    }
}

#[test]
fn delivery_reads_and_writes_the_guests_registers() {
    let mut context = Context::reset(0x4000, 0);
    context[SysReg::VbarEl1] = 0x8_0000;
    context[SysReg::SctlrEl1] = SCTLR_DSSBS;
    let mut expected = context.clone();
    deliver_unloaded(
        &mut context,
        Kind::DataAbort {
            far: 0x99,
            write: false,
        },
    );
    expected.pc = 0x8_0200;
    expected.pstate = 0x3c5 | 1 << 12 | 1 << 22;
    expected[SysReg::ElrEl1] = 0x4000;
    expected[SysReg::SpsrEl1] = 0x3c5;
    expected[SysReg::EsrEl1] = 0x25 << 26 | 1 << 25 | 0x10;
    expected[SysReg::FarEl1] = 0x99;
    assert_eq!(context, expected);
}

#[test]
fn an_undef_leaves_far_alone() {
    let mut context = Context::reset(0, 0);
    context[SysReg::FarEl1] = 0x55;
    deliver_unloaded(&mut context, Kind::Undefined);
    assert_eq!(context[SysReg::FarEl1], 0x55);
    assert_eq!(context[SysReg::EsrEl1], 1 << 25);
}

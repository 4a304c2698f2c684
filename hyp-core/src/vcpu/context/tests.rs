use super::*;

#[test]
fn reset_is_zero_but_for_what_the_boot_protocol_names() {
    let context = Context::reset(0x4000_0000, 7);
    assert_eq!(
        (context.pc, context.pstate, context.x[0]),
        (0x4000_0000, 0x3c5, 7)
    );
    assert!(context.x[1..].iter().all(|x| *x == 0));
    for (n, value) in context.sys.iter().enumerate() {
        let expected = if n == SysReg::SctlrEl1 as usize {
            RESET_SCTLR
        } else {
            0
        };
        assert_eq!(*value, expected);
    }
    assert_eq!(
        (context.sp_el0, context.fp.fpcr, context.fp.fpsr),
        (0, 0, 0)
    );
    assert!(context.fp.v.iter().all(|v| *v == 0));
    assert_eq!(context.gic, Default::default());
}

#[test]
fn the_window_has_room_for_every_register() {
    assert_eq!(SYS_REGS, 36);
    assert_eq!(WINDOW_WORDS, 70);
}

#[test]
fn item_28_register_31_is_zero_and_takes_no_write() {
    let mut context = Context::reset(0, 0);
    context.sp_el0 = 5;
    context.set_gpr(31, 9);
    context.set_gpr(255, 9);
    assert_eq!(
        context,
        Context {
            sp_el0: 5,
            ..Context::reset(0, 0)
        }
    );
    assert_eq!(context.gpr(31), 0);
    for rt in 0..31 {
        context.set_gpr(rt, 100 + u64::from(rt));
        assert_eq!(context.x[usize::from(rt)], 100 + u64::from(rt));
        assert_eq!(context.gpr(rt), 100 + u64::from(rt));
    }
}

#[test]
fn skipping_moves_pc_and_ends_step_and_branch_type() {
    for is_long in [true, false] {
        let mut context = Context::reset(0x1000, 0);
        context.pstate = 0xffff_ffff & !PSTATE_AARCH32;
        context.skip(is_long);
        assert_eq!(context.pc, 0x1004);
        assert_eq!(
            context.pstate,
            0xffff_ffff & !PSTATE_AARCH32 & !(1 << 21) & !(3 << 10)
        );
    }
}

#[test]
fn skipping_the_last_instruction_of_the_address_space_is_no_bug() {
    let mut context = Context::reset(u64::MAX - 3, 0);
    context.skip(true);
    assert_eq!(context.pc, 0);
    // As the runtime does for the host, which can put an SMC there.
    let (mut pc, mut pstate) = (u64::MAX - 3, 0x5 | 1 << 21 | 3 << 10);
    skip(&mut pc, &mut pstate, true);
    assert_eq!((pc, pstate), (0, 0x5));
}

#[test]
fn skipping_in_aarch32_goes_by_length_and_wraps_at_4_gib() {
    let mut context = Context::reset(0x1000, 0);
    context.pstate = 0x30;
    context.skip(false);
    assert_eq!((context.pc, context.pstate), (0x1002, 0x30));
    context.skip(true);
    assert_eq!(context.pc, 0x1006);
    context.pc = 0xffff_fffe;
    context.pstate |= 1 << 21;
    context.skip(true);
    assert_eq!((context.pc, context.pstate), (2, 0x30));
}

/// IT as DDI 0487 F1.2 draws it: the base condition, then one bit an instruction.
#[test]
fn skipping_in_an_it_block_advances_it() {
    let spsr = |it: u64| 0xf000_0030 | (it >> 2) << 10 | (it & 3) << 25;
    for it in 0..256_u64 {
        let next = match it & 7 {
            0 => 0,
            _ => it & 0xe0 | it << 1 & 0x1f,
        };
        let mut context = Context::reset(0, 0);
        context.pstate = spsr(it);
        context.skip(false);
        assert_eq!(context.pstate, spsr(next), "IT {it:#x}");
    }
    // ITTEE EQ, the first and the last of its four.
    assert_eq!(advance_it(spsr(0b0000_0111)), spsr(0b0000_1110));
    assert_eq!(advance_it(spsr(0b0001_1000)), spsr(0));
}

use super::*;
use crate::vcpu::context::SysReg;

const FAR: u64 = 0xf000;
const REFUSAL: Kind = Kind::DataAbort {
    far: FAR,
    write: false,
};
const ABORT: u64 = in_flags::INJECT_ABORT;
const UNDEF: u64 = in_flags::INJECT_UNDEF;

fn access(rt: u8, write: bool) -> Access {
    Access {
        ipa: 0x1000,
        size: 2,
        write,
        rt,
        sign_extend: true,
        wide: false,
        big_endian: false,
    }
}

fn start() -> Context {
    let mut context = Context::reset(0x8000, 0);
    for (n, x) in context.x.iter_mut().enumerate() {
        *x = 0xaaaa_0000 + n as u64;
    }
    context[SysReg::VbarEl1] = 0x10_0000;
    context
}

fn after(pending: Pending, value: u64, flags: u64) -> Context {
    let mut context = start();
    complete(&mut context, &pending, value, flags);
    context
}

fn done(rt: Option<(usize, u64)>) -> Context {
    let mut context = start();
    context.pc = 0x8004;
    if let Some((rt, value)) = rt {
        context.x[rt] = value;
    }
    context
}

fn injected(kind: Kind) -> Context {
    let mut context = start();
    inject::deliver_unloaded(&mut context, kind);
    context
}

fn all() -> [Pending; 7] {
    [
        Pending::Nothing,
        Pending::mmio(access(3, false), REFUSAL),
        Pending::mmio(access(3, true), REFUSAL),
        Pending::sysreg(3, false),
        Pending::sysreg(3, true),
        Pending::CallResult,
        Pending::Fault { refusal: REFUSAL },
    ]
}

#[test]
fn constructors_keep_the_direction() {
    let read = access(3, false);
    assert_eq!(
        all()[1],
        Pending::MmioRead {
            access: read,
            refusal: REFUSAL
        }
    );
    assert_eq!(all()[2], Pending::MmioWrite { refusal: REFUSAL });
    assert_eq!(all()[3], Pending::SysregRead { rt: 3 });
    assert_eq!(all()[4], Pending::SysregWrite);
    assert_eq!(Pending::default(), Pending::Nothing);
}

#[test]
fn item_28_a_read_sets_the_register_and_moves_pc_once() {
    let read = |rt| Pending::mmio(access(rt, false), REFUSAL);
    assert_eq!(after(read(3), 0xffff_8001, 0), done(Some((3, 0xffff_8001))));
    assert_eq!(after(read(30), 0x1_2345, 0), done(Some((30, 0x2345))));
    assert_eq!(after(read(31), 0x1_2345, 0), done(None));
}

#[test]
fn item_32_an_emulated_register_access_moves_pc_not_esr() {
    let context = after(Pending::sysreg(3, false), u64::MAX, 0);
    assert_eq!(context, done(Some((3, u64::MAX))));
    assert_eq!(context[SysReg::EsrEl1], 0);
    assert_eq!(after(Pending::sysreg(3, true), 9, 0), done(None));
    assert_eq!(after(Pending::sysreg(31, false), 9, 0), done(None));
}

#[test]
fn writes_move_pc_and_nothing_else() {
    assert_eq!(
        after(Pending::mmio(access(3, true), REFUSAL), 9, 0),
        done(None)
    );
}

#[test]
fn item_30_a_call_gets_its_result_and_pc_stays() {
    let mut expected = start();
    expected.x[0] = 0xffff_ffff_ffff_fffe;
    assert_eq!(
        after(Pending::CallResult, 0xffff_ffff_ffff_fffe, 0),
        expected
    );
}

#[test]
fn a_fault_is_tried_again() {
    assert_eq!(after(Pending::Fault { refusal: REFUSAL }, 9, 0), start());
    assert_eq!(after(Pending::Nothing, 9, 0), start());
}

#[test]
fn item_26_a_refused_access_is_taken_at_its_own_pc_and_the_vector_is_not_stepped_over() {
    for pending in [all()[1], all()[2], all()[6]] {
        let context = after(pending, 9, ABORT);
        assert_eq!(context, injected(REFUSAL));
        assert_eq!(context.pc, 0x10_0200);
        assert_eq!(context[SysReg::ElrEl1], 0x8000);
    }
    for pending in [all()[3], all()[4]] {
        let context = after(pending, 9, UNDEF);
        assert_eq!(context, injected(Kind::Undefined));
        assert_eq!((context.pc, context[SysReg::ElrEl1]), (0x10_0200, 0x8000));
    }
}

#[test]
fn item_26_the_host_injects_only_what_the_exit_permits() {
    let permitted = [0, ABORT, ABORT, UNDEF, UNDEF, 0, ABORT];
    for (pending, permitted) in all().into_iter().zip(permitted) {
        let plain = after(pending, 9, 0);
        for flags in [ABORT, UNDEF, ABORT | UNDEF, in_flags::REGS_DIRTY] {
            let context = after(pending, 9, flags);
            if flags & permitted == 0 {
                assert_eq!(context, plain, "{pending:?} {flags}");
            } else {
                assert_ne!(context, plain, "{pending:?} {flags}");
            }
        }
    }
}

//! Every register full of secrets around every kind of exit. The guest checks that nothing
//! changed but what the instruction changes; the host searches what it sees for the secrets.

use super::command;
use super::report::{Report, Wrong, same};
use crate::protocol::{self, MMIO, SPARE, reg, secret};
use crate::rt::captured::{self, Instruction};
use crate::rt::registers::{self, Registers};
use crate::rt::{gic, memory};
use hyp_core::abi::run::exit;
use hyp_core::abi::smccc::{self, psci};

/// A page that is not there yet.
const ABSENT: u64 = SPARE + 0x180_0000;

pub(super) fn run(report: &mut Report) {
    let own = registers::system();
    let keys = registers::has_pauth().then(registers::pauth_keys);
    fill_system();
    if keys.is_some() {
        registers::set_pauth_keys(secret(0x5000));
    }
    let call = |function: u32| (u64::from(function), 0, 0);
    let cases = [
        (
            "secrets-kept-at-hvc-answered",
            Instruction::Hvc,
            call(smccc::KVM_MEMINFO),
        ),
        (
            "secrets-kept-at-psci-answered",
            Instruction::Hvc,
            call(psci::VERSION),
        ),
        (
            "secrets-kept-at-psci-suspend",
            Instruction::Hvc,
            call(psci::CPU_SUSPEND),
        ),
        (
            "secrets-kept-at-unknown-call",
            Instruction::Hvc,
            call(0xc600_0fff),
        ),
        ("secrets-kept-at-wfi", Instruction::Wfi, (secret(0), 0, 0)),
        (
            "secrets-kept-at-mmio-read",
            Instruction::Load,
            (secret(0), MMIO + reg::SCRATCH, 0),
        ),
        (
            "secrets-kept-at-mmio-write",
            Instruction::Store,
            (secret(0), MMIO + reg::SCRATCH, 0),
        ),
        (
            "secrets-kept-at-memory-fault-write",
            Instruction::Store,
            (secret(0), ABSENT, 0),
        ),
        (
            "secrets-kept-at-memory-fault-read",
            Instruction::Load,
            (secret(0), ABSENT + 0x1000, 0),
        ),
        (
            "secrets-kept-at-interrupt",
            Instruction::Spin,
            (secret(0), 0, 3_000_000),
        ),
    ];
    let results = cases.map(|(name, instruction, operands)| (name, one(instruction, operands)));
    let before = registers::system();
    registers::set_system_secrets(&own);
    if let Some(keys) = keys {
        registers::restore_pauth_keys(&keys);
    }
    gic::init_cpu_interface();
    for (name, result) in results {
        report.check(name, result);
    }
    report.check("system-registers-kept", system_kept(&before));
}

/// Rests in a load from the device, with secrets everywhere, for as long as the host likes.
pub(super) fn keep() -> Result<(), Wrong> {
    let mut given = filled();
    given.x[6] = MMIO + reg::SCRATCH;
    let mut found = given;
    captured::run(Instruction::Load, &mut found);
    kept(&found, &given, |n| n == 5)
}

/// One instruction with secrets everywhere; X0, X6 and X7 as given.
fn one(instruction: Instruction, (x0, x6, x7): (u64, u64, u64)) -> Result<(), Wrong> {
    if instruction == Instruction::Spin {
        command(protocol::command::KICK, 50);
    }
    let mut given = filled();
    given.x[0] = x0;
    if instruction == Instruction::Hvc {
        // A call's arguments are not secret: x1 to x3 of MEMINFO must be zero.
        given.x[1..4].fill(0);
    }
    if x6 != 0 {
        given.x[6] = x6;
        // What a store to the device or to memory carries is the host's to see, or harmless.
        given.x[5] = if instruction == Instruction::Store && x6 != ABSENT {
            0x600d
        } else {
            secret(0x105)
        };
    }
    if x7 != 0 {
        given.x[7] = x7;
    }
    let before = registers::system();
    let keys = registers::has_pauth().then(registers::pauth_keys);
    let mut found = given;
    captured::run(instruction, &mut found);
    let after = registers::system();
    if instruction == Instruction::Spin {
        same(
            "interrupts of the host while spinning",
            u64::from(command(protocol::command::EXITS, exit::IRQ) > 0),
            1,
        )?;
    }
    if instruction == Instruction::Store && x6 == ABSENT {
        same("what was stored", memory::peek(ABSENT), given.x[5])?;
    }
    kept(&found, &given, |n| match instruction {
        Instruction::Hvc => n < 4,
        Instruction::Load => n == 5,
        Instruction::Spin => n == 7,
        _ => false,
    })?;
    for (n, name) in registers::SYSTEM_NAMES.iter().enumerate() {
        same(name, after[n], before[n])?;
    }
    same(
        "pointer-authentication keys",
        u64::from(registers::has_pauth().then(registers::pauth_keys) == keys),
        1,
    )
}

/// Every general and FP register with a secret of its own.
fn filled() -> Registers {
    let mut given = Registers::ZERO;
    (0..)
        .zip(&mut given.x)
        .for_each(|(n, x)| *x = secret(0x100 + n));
    (0..).zip(&mut given.v).for_each(|(n, v)| {
        *v = u128::from(secret(0x200 + n)) << 64 | u128::from(secret(0x300 + n))
    });
    given
}

/// All but the general registers that hold a result are what they were.
fn kept(found: &Registers, given: &Registers, result: impl Fn(usize) -> bool) -> Result<(), Wrong> {
    for (n, name) in GENERAL.iter().enumerate() {
        if !result(n) {
            same(name, found.x[n], given.x[n])?;
        }
    }
    for (found, given) in found.v.iter().zip(&given.v) {
        same("an FP register, low", *found as u64, *given as u64)?;
        same(
            "an FP register, high",
            (*found >> 64) as u64,
            (*given >> 64) as u64,
        )?;
    }
    Ok(())
}

/// Puts secrets into the system registers that this program does not run on.
fn fill_system() {
    let mut values = registers::system();
    for (n, name) in (0..).zip(registers::SYSTEM_NAMES) {
        if registers::SECRETABLE.contains(&name) {
            values[n as usize] = secret(0x400 + n);
        }
    }
    registers::set_system_secrets(&values);
}

/// The secrets are still there after all exits.
fn system_kept(values: &[u64; registers::SYSTEM]) -> Result<(), Wrong> {
    for (n, name) in (0..).zip(registers::SYSTEM_NAMES) {
        // Registers with RES0 bits do not hold a secret as a whole; those that do must still.
        if [
            "TPIDR_EL0",
            "TPIDRRO_EL0",
            "TPIDR_EL1",
            "SP_EL0",
            "ELR_EL1",
            "FAR_EL1",
        ]
        .contains(&name)
        {
            same(name, values[n as usize], secret(0x400 + n))?;
        }
    }
    Ok(())
}

const GENERAL: [&str; 31] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30",
];

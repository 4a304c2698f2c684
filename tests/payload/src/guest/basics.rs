//! What the guest is born with: registers, images, memory, identification.

use super::report::{Report, Wrong, holds, same};
use crate::protocol::{DATA, DATA_SIZE, NOWHERE, SPARE, data_byte};
use crate::rt::head::{First, first};
use crate::rt::probe::{self, Trapped};
use crate::rt::{memory, registers, time};
use hyp_core::vcpu::context::{RESET_PSTATE, RESET_SCTLR};

pub(super) fn run(report: &mut Report, boot: u64) {
    report.check("first-general-registers", general(boot));
    report.check("first-pstate", pstate());
    report.check("first-system-registers", system());
    report.check("pauth-keys-zero", keys());
    report.check("images-in-place", images());
    report.check("memory-reads-zero", fresh());
    report.check("nothing-outside-regions", outside());
    report.check("identification", identification());
    report.check("hidden-registers-undefined", hidden());
    report.check("counter-runs", counter());
}

fn general(boot: u64) -> Result<(), Wrong> {
    same("x0", first(First::X0), DATA)?;
    same("x0 as passed on", boot, DATA)?;
    same("x1 to x30", first(First::OtherGprs), 0)?;
    same("v0 to v31, low", first(First::Fp0), 0)?;
    same("v0 to v31, high", first(First::Fp1), 0)?;
    same("SP", first(First::Sp), 0)?;
    same("SP_EL0", first(First::SpEl0), 0)?;
    same("memory behind the image", first(First::Bss), 0)
}

fn pstate() -> Result<(), Wrong> {
    same("CurrentEL", first(First::CurrentEl), 1 << 2)?;
    same("SPSel", first(First::SpSel), 1)?;
    same("DAIF", first(First::Daif), RESET_PSTATE & 0x3c0)?;
    same("NZCV", first(First::Nzcv), 0)
}

fn system() -> Result<(), Wrong> {
    same("SCTLR_EL1", first(First::Sctlr), RESET_SCTLR)?;
    let zero = [
        ("CPACR_EL1", First::Cpacr),
        ("TTBR0_EL1", First::Ttbr0),
        ("TTBR1_EL1", First::Ttbr1),
        ("TCR_EL1", First::Tcr),
        ("ESR_EL1", First::Esr),
        ("FAR_EL1", First::Far),
        ("MAIR_EL1", First::Mair),
        ("VBAR_EL1", First::Vbar),
        ("CONTEXTIDR_EL1", First::Contextidr),
        ("TPIDR_EL1", First::Tpidr),
        ("TPIDR_EL0", First::TpidrEl0),
        ("TPIDRRO_EL0", First::TpidrroEl0),
        ("CNTKCTL_EL1", First::Cntkctl),
        ("MDSCR_EL1", First::Mdscr),
        ("CSSELR_EL1", First::Csselr),
        ("ELR_EL1", First::Elr),
        ("SPSR_EL1", First::Spsr),
        ("CNTV_CVAL_EL0", First::CntvCval),
        ("FPCR", First::Fpcr),
        ("FPSR", First::Fpsr),
    ];
    zero.iter()
        .try_for_each(|(name, which)| same(name, first(*which), 0))?;
    // PAR_EL1 has RES1 bits once anything wrote it; a translation result would show an address.
    same(
        "PAR_EL1 address",
        first(First::Par) & 0x000f_ffff_ffff_f000,
        0,
    )?;
    same("CNTV_CTL_EL0 enable", first(First::CntvCtl) & 1, 0)
}

fn keys() -> Result<(), Wrong> {
    if !registers::has_pauth() {
        return Ok(());
    }
    registers::pauth_keys()
        .iter()
        .try_for_each(|key| same("key", *key, 0))
}

fn images() -> Result<(), Wrong> {
    let page_end = DATA_SIZE.next_multiple_of(4096);
    let bytes = memory::bytes(DATA, page_end);
    for (index, byte) in (0..).zip(bytes) {
        let expected = if index < DATA_SIZE {
            data_byte(index)
        } else {
            0
        };
        same(
            "byte of the data image",
            u64::from(*byte),
            u64::from(expected),
        )?;
    }
    Ok(())
}

fn fresh() -> Result<(), Wrong> {
    // One page in each of several blocks, and one whole page.
    for at in [SPARE, SPARE + 0x1000, SPARE + 0x40_0000, SPARE + 0x123_4000] {
        for word in (at..at + 4096).step_by(8) {
            same("word", memory::peek(word), 0)?;
        }
        memory::poke(at, at);
    }
    same("first write", memory::peek(SPARE), SPARE)?;
    same(
        "last write",
        memory::peek(SPARE + 0x123_4000),
        SPARE + 0x123_4000,
    )
}

fn outside() -> Result<(), Wrong> {
    // In no region: below, between and above, the end of the host's RAM and of the IPA space.
    for address in [
        NOWHERE,
        0x0800_0000,
        0x5000_0000,
        0x8000_0000,
        0xffff_f000,
        0x7f_ffff_f000,
    ] {
        let read = probe::read(address);
        holds(
            "read takes an external abort",
            read.is_err_and(|fault| fault.is_external_abort() && fault.far == address),
        )?;
        let write = probe::write(address, 1);
        holds(
            "write takes an external abort",
            write.is_err_and(|fault| fault.is_external_abort()),
        )?;
    }
    Ok(())
}

fn identification() -> Result<(), Wrong> {
    let field = |register: u64, shift: u32| register >> shift & 0xf;
    let pfr0 = read_sysreg!("id_aa64pfr0_el1");
    same("EL0 is AArch64 only", field(pfr0, 0), 1)?;
    same("EL1 is AArch64 only", field(pfr0, 4), 1)?;
    same("no EL2", field(pfr0, 8), 0)?;
    same("no RAS", field(pfr0, 28), 0)?;
    same("no SVE", field(pfr0, 32), 0)?;
    same("no MPAM", field(pfr0, 40), 0)?;
    same("no AMU", field(pfr0, 44), 0)?;
    same("GIC system registers", field(pfr0, 24), 1)?;
    let pfr1 = read_sysreg!("id_aa64pfr1_el1");
    same("no MTE", field(pfr1, 8), 0)?;
    same("no SME", field(pfr1, 24), 0)?;
    same("no SVE features", read_sysreg!("s3_0_c0_c4_4"), 0)?;
    same("no SME features", read_sysreg!("s3_0_c0_c4_5"), 0)?;
    let dfr0 = read_sysreg!("id_aa64dfr0_el1");
    same("no trace", field(dfr0, 4), 0)?;
    same("no PMU", field(dfr0, 8), 0)?;
    same("no statistical profiling", field(dfr0, 32), 0)?;
    same("no trace buffer", field(dfr0, 44), 0)?;
    same("MPIDR_EL1", read_sysreg!("mpidr_el1") & 0xff_00ff_ffff, 0)
}

fn hidden() -> Result<(), Wrong> {
    let registers = [
        ("HCR_EL2 is not UNDEF", Trapped::HcrEl2),
        ("PMCR_EL0 is not UNDEF", Trapped::Pmcr),
        ("ERRIDR_EL1 is not UNDEF", Trapped::Erridr),
        ("ZCR_EL1 is not UNDEF", Trapped::Zcr),
        (
            "S3_7_C15_C15_7 is not UNDEF",
            Trapped::ImplementationDefined,
        ),
    ];
    // CPACR_EL1's own traps for SVE and SME would come first.
    let cpacr = read_sysreg!("cpacr_el1");
    write_sysreg!("cpacr_el1", cpacr | 3 << 16 | 3 << 24);
    let defined = registers
        .iter()
        .find(|(_, which)| !probe::sysreg(*which).is_err_and(|fault| fault.is_undefined()));
    write_sysreg!("cpacr_el1", cpacr);
    if let Some((what, _)) = defined {
        return holds(what, false);
    }
    let unallocated = probe::sysreg(Trapped::UnallocatedId);
    holds(
        "an unallocated ID register reads zero",
        unallocated == Ok(0),
    )
}

fn counter() -> Result<(), Wrong> {
    holds("frequency", time::frequency() > 0)?;
    let start = time::now();
    holds("the first count is earlier", first(First::Cntvct) < start)?;
    (0..100_000).for_each(|_| core::hint::spin_loop());
    holds("the count grows", time::now() > start)
}

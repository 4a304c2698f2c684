//! What the host learns of a protected vCPU at an exit (I8): one row a reason, nothing else.
//!
//! The virtual interrupt controller's words pass at every exit: the host emulates the rest of
//! that controller and gave Ward their first values.

#[cfg(doc)]
use crate::abi::run::RunOut;
use crate::abi::run::{Exit, exit};
use crate::addr::PAGE_SIZE;

/// What an exit shows: the bits of each field of [`RunOut`] that pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Reason, see [`exit`].
    pub reason: u64,
    /// Its name in the manual and the C header.
    pub name: &'static str,
    /// When it happens and what the host does.
    pub what: &'static str,
    /// [`RunOut::ipa`].
    pub ipa: u64,
    /// [`RunOut::size`].
    pub size: u64,
    /// [`RunOut::write`].
    pub write: u64,
    /// [`RunOut::value`], and only when `write` shows 1: what a guest reads is not the host's.
    pub value: u64,
    /// [`RunOut::arg1`]. `arg2` and `arg3` never pass.
    pub arg1: u64,
    /// [`RunOut::esr`].
    pub esr: u64,
}

/// The whole of a field.
const ALL: u64 = u64::MAX;
/// The page of an address.
const PAGE: u64 = !(PAGE_SIZE - 1);
/// The syndrome of a system-register access without Rt, bits 9:5 (DDI 0487 D24.2.44).
const ESR_NO_RT: u64 = 0xffff_ffff & !(31 << 5);

const NOTHING: Row = Row {
    reason: 0,
    name: "",
    what: "",
    ipa: 0,
    size: 0,
    write: 0,
    value: 0,
    arg1: 0,
    esr: 0,
};

/// All exits, in order of their reason.
pub const DISCLOSURE: &[Row] = &[
    Row {
        reason: exit::IRQ,
        name: "irq",
        what: "A physical interrupt is pending for the host.",
        ..NOTHING
    },
    Row {
        reason: exit::WAIT,
        name: "wait",
        what: "The guest waits for an interrupt, or (size 1) for an event.",
        size: 1,
        ..NOTHING
    },
    Row {
        reason: exit::MMIO,
        name: "mmio",
        what: "The guest accesses emulated device memory; a read is answered in value.",
        ipa: ALL,
        size: 0xf,
        write: 1,
        value: ALL,
        ..NOTHING
    },
    Row {
        reason: exit::MEMORY,
        name: "memory",
        what: "Memory the guest may have is not there: map it and run again.",
        ipa: PAGE,
        write: 1,
        ..NOTHING
    },
    Row {
        reason: exit::CPU_ON,
        name: "cpu_on",
        what: "The guest turned on vCPU arg1: run it.",
        arg1: 0xff,
        ..NOTHING
    },
    Row {
        reason: exit::CPU_OFF,
        name: "cpu_off",
        what: "The vCPU is off.",
        ..NOTHING
    },
    Row {
        reason: exit::SYSTEM_OFF,
        name: "system_off",
        what: "The guest turned the VM off.",
        ..NOTHING
    },
    Row {
        reason: exit::SYSTEM_RESET,
        name: "system_reset",
        what: "The guest turned the VM off and wants it built anew.",
        ..NOTHING
    },
    Row {
        reason: exit::SYSREG,
        name: "sysreg",
        what: "A register of the interrupt controller or the physical timer, for the host to \
               emulate; a read is answered in value.",
        write: 1,
        value: ALL,
        esr: ESR_NO_RT,
        ..NOTHING
    },
    Row {
        reason: exit::CALL,
        name: "call",
        what: "Normal VMs only: a call of the guest.",
        ..NOTHING
    },
    Row {
        reason: exit::POOL,
        name: "pool",
        what: "The VM's pool of table pages is empty: donate and run again.",
        ..NOTHING
    },
    Row {
        reason: exit::SERROR,
        name: "serror",
        what: "An SError interrupted the guest; the host decides whether the guest takes one.",
        ..NOTHING
    },
    Row {
        reason: exit::RELINQUISH,
        name: "relinquish",
        what: "The guest gave a page of memory back: it is zeroed and the host's.",
        ipa: PAGE,
        ..NOTHING
    },
];

impl Row {
    /// Names of the fields that pass, for the manual, in the order of [`RunOut::FIELDS`].
    pub fn fields(&self) -> impl Iterator<Item = &'static str> + use<> {
        let fields = [
            ("ipa", self.ipa),
            ("size", self.size),
            ("write", self.write),
            ("value", self.value),
            ("arg1", self.arg1),
            ("esr", self.esr),
        ];
        fields
            .into_iter()
            .filter(|field| field.1 != 0)
            .map(|field| field.0)
    }
}

/// [`DISCLOSURE`] without its words, which are for the manual and stay out of the image: for each
/// reason the bits of ipa, size, write, value, arg1 and esr.
const SHOWN: [[u64; 6]; DISCLOSURE.len()] = {
    let mut rows = [[0; 6]; DISCLOSURE.len()];
    let mut n = 0;
    while n < DISCLOSURE.len() {
        let row = &DISCLOSURE[n];
        assert!(
            row.reason == n as u64,
            "the rows are in order of their reason"
        );
        rows[n] = [row.ipa, row.size, row.write, row.value, row.arg1, row.esr];
        n += 1;
    }
    rows
};

/// What goes into the run page: `out` itself for a normal VM, what the row of its reason lets
/// pass for a protected one. A reason without a row shows nothing else.
pub fn filter(out: &Exit, protected: bool) -> Exit {
    if !protected || cfg!(ward_without = "filter") {
        return *out;
    }
    let row = usize::try_from(out.reason)
        .ok()
        .and_then(|reason| SHOWN.get(reason));
    let [ipa, size, write, value, arg1, esr] = row.copied().unwrap_or_default();
    let write = out.write & write;
    Exit {
        reason: out.reason,
        ipa: out.ipa & ipa,
        size: out.size & size,
        write,
        value: if write == 1 { out.value & value } else { 0 },
        arg1: out.arg1 & arg1,
        arg2: 0,
        arg3: 0,
        esr: out.esr & esr,
    }
}

#[cfg(test)]
mod tests;

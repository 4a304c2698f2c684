//! The run page: one frame per vCPU, the host's, through which a run and its exit speak.
//!
//! All fields are 64-bit little-endian words. Ward copies [`RunIn`] once at entry and uses the
//! copy; it writes the whole of [`RunOut`] at exit, so that nothing of an older exit remains
//! (list registers that the CPU does not have apart: those words are the host's alone).
//! The normal VM's register window follows at [`REGS_OFFSET`].

use super::MAX_LIST_REGISTERS;

/// Byte offset of [`RunIn`] in the page.
pub const IN_OFFSET: u64 = 0;
/// Byte offset of [`RunOut`] in the page.
pub const OUT_OFFSET: u64 = 0x400;
/// Byte offset of the registers of a normal VM: [`crate::vcpu::context::WINDOW_WORDS`] words.
pub const REGS_OFFSET: u64 = 0x800;

/// Byte offset of the FP/SIMD registers of a normal VM, that [`super::Call::VcpuSync`] moves: V0
/// to V31, each as two words, the lower first, then FPCR and FPSR.
pub const FP_OFFSET: u64 = 0xc00;
/// Words from [`FP_OFFSET`].
pub const FP_WORDS: usize = 2 * 32 + 2;

macro_rules! words {
    (
        $(#[$meta:meta])* $name:ident,
        $(#[$hmeta:meta])* $head:ident {
            $($(#[$fmeta:meta])* $field:ident,)*
        }
        $(#[$tmeta:meta])* $tail:ident
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[repr(C)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: u64,)*
            /// The virtual interrupt controller's state.
            pub gic: Gic,
            $(#[$tmeta])* pub $tail: u64,
        }
        $(#[$hmeta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $head {
            $($(#[$fmeta])* pub $field: u64,)*
        }
        impl $name {
            /// Names of the words before [`Gic`], in order, for the C header.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
            /// Name of the word after [`Gic`].
            pub const TAIL: &'static str = stringify!($tail);
            /// Words of the structure.
            pub const WORDS: usize = $head::WORDS + Gic::WORDS + 1;
            /// The structure as the words of the page.
            pub fn to_words(&self) -> [u64; Self::WORDS] {
                let mut out = [0; Self::WORDS];
                out[..$head::WORDS].copy_from_slice(&[$(self.$field),*]);
                out[$head::WORDS..Self::WORDS - 1].copy_from_slice(&self.gic.to_words());
                out[Self::WORDS - 1] = self.$tail;
                out
            }
            /// The structure that the words of a page hold.
            pub fn from_words(words: &[u64; Self::WORDS]) -> Self {
                let mut head = [0; $head::WORDS];
                head.copy_from_slice(&words[..$head::WORDS]);
                let $head { $($field),* } = $head::from_words(head);
                let gic = Gic::from_words(&words[$head::WORDS..]);
                $name { $($field,)* gic, $tail: words[Self::WORDS - 1] }
            }
        }
        impl $head {
            /// Words before [`Gic`].
            pub const WORDS: usize = $name::FIELDS.len();
            /// As the words of the page.
            pub const fn to_words(self) -> [u64; Self::WORDS] {
                [$(self.$field),*]
            }
            /// From the words of a page.
            pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
                let [$($field),*] = words;
                $head { $($field),* }
            }
        }
    };
}

/// The virtual CPU interface as host and Ward exchange it (IHI 0069 12.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Gic {
    /// `ICH_HCR_EL2`: only the maintenance enables and traps a host may ask for are taken.
    pub hcr: u64,
    /// `ICH_VMCR_EL2`.
    pub vmcr: u64,
    /// List registers in use, at most [`super::calls::info::LIST_REGISTERS`].
    pub used: u64,
    /// `ICH_AP0R0_EL2..3`.
    pub ap0r: [u64; 4],
    /// `ICH_AP1R0_EL2..3`.
    pub ap1r: [u64; 4],
    /// `ICH_LR0_EL2..15`.
    pub lr: [u64; MAX_LIST_REGISTERS],
}

impl Gic {
    /// Words of the structure.
    pub const WORDS: usize = 3 + 4 + 4 + MAX_LIST_REGISTERS;

    /// The structure as the words of the page.
    pub fn to_words(self) -> [u64; Self::WORDS] {
        let mut out = [0; Self::WORDS];
        out[0] = self.hcr;
        out[1] = self.vmcr;
        out[2] = self.used;
        out[3..7].copy_from_slice(&self.ap0r);
        out[7..11].copy_from_slice(&self.ap1r);
        out[11..].copy_from_slice(&self.lr);
        out
    }

    pub(crate) fn from_words(words: &[u64]) -> Self {
        let mut gic = Gic {
            hcr: words[0],
            vmcr: words[1],
            used: words[2],
            ..Gic::default()
        };
        gic.ap0r.copy_from_slice(&words[3..7]);
        gic.ap1r.copy_from_slice(&words[7..11]);
        gic.lr.copy_from_slice(&words[11..Self::WORDS]);
        gic
    }
}

words! {
    /// What the host tells Ward at [`super::Call::VcpuRun`].
    RunIn,
    /// [`RunIn`] without the interrupt controller's words.
    Request {
        /// [`in_flags`].
        flags,
        /// The answer the last exit asked for: what an MMIO or system-register read returns, or
        /// `x0` of a PSCI or other call. Ignored when the last exit asked for none.
        value,
        /// `HCR_EL2` bits the host may ask for: TWI, TWE and VSE; others are ignored.
        hcr,
    }
    /// Syndrome of the SError that `hcr` asks for with VSE: `VSESR_EL2`, bits 24:0, where the CPU
    /// has error records (FEAT_RAS).
    vsesr
}

words! {
    /// What Ward tells the host when a run returns: for a protected VM nothing but what the row
    /// of the exit names (I8).
    RunOut,
    /// [`RunOut`] without the interrupt controller's words.
    Exit {
        /// [`exit`] reason; also in `x1` of the call.
        reason,
        /// Faulting IPA, page aligned for memory faults, exact for MMIO; else 0.
        ipa,
        /// Bytes of an MMIO access: 1, 2, 4 or 8. Of a wait: 1 for WFE, 0 for WFI and CPU_SUSPEND.
        /// Else 0.
        size,
        /// 1 for a write, 0 for a read, of a fault or MMIO access.
        write,
        /// The data of an MMIO write, or function number of a call.
        value,
        /// First argument the exit's row names. Normal VMs, `mmio` and `memory`: `FAR_EL2`.
        arg1,
        /// Second argument.
        arg2,
        /// Third argument.
        arg3,
        /// The syndrome, with every field the row does not name cleared. Normal VMs: as trapped.
        esr,
    }
    /// `HCR_EL2.VSE` if the host asked for it and the guest has not taken the SError yet; else 0.
    hcr
}

/// Bits of [`RunIn::flags`].
pub mod in_flags {
    /// The host refuses the last MMIO or memory access: the guest takes an external abort.
    pub const INJECT_ABORT: u64 = 1 << 0;
    /// The host does not know the last trapped instruction: the guest takes an UNDEF.
    pub const INJECT_UNDEF: u64 = 1 << 1;
    /// Normal VMs: take the registers from the window before running.
    pub const REGS_DIRTY: u64 = 1 << 2;
    /// Normal VMs: the access of the last exit is to be done again, for memory was mapped there.
    pub const RETRY: u64 = 1 << 3;
    /// Normal VMs: exits `irq`, `wait` and `pool` write PC, PSTATE and the virtual timer to the
    /// window and leave the rest of it as it is; [`SHOW_REGS`](super::sync::SHOW_REGS) writes it.
    pub const LAZY: u64 = 1 << 4;
    /// All that have a meaning; others are refused.
    pub const ALL: u64 = 31;
}

/// What [`super::Call::VcpuSync`] moves. At least one, and FP/SIMD one way only.
pub mod sync {
    /// The registers into the window.
    pub const SHOW_REGS: u64 = 1 << 0;
    /// The FP/SIMD registers into theirs.
    pub const SHOW_FP: u64 = 1 << 1;
    /// The FP/SIMD registers from there.
    pub const TAKE_FP: u64 = 1 << 2;
}

/// Reasons for which a run returns to the host. The table of what each shows a host of a
/// protected VM is [`crate::vcpu::exit::DISCLOSURE`].
pub mod exit {
    /// A physical interrupt is pending for the host. Shows nothing.
    pub const IRQ: u64 = 0;
    /// The guest waits (WFI, WFE, CPU_SUSPEND): size, 1 for WFE.
    pub const WAIT: u64 = 1;
    /// Access to guarded device memory: ipa, size, write, value of a write.
    pub const MMIO: u64 = 2;
    /// Memory that the guest may have is not there: ipa, write. Normal VMs also: memory answered
    /// with an error (an external abort in esr, ipa 0).
    pub const MEMORY: u64 = 3;
    /// PSCI CPU_ON succeeded: arg1 is the vCPU to run.
    pub const CPU_ON: u64 = 4;
    /// The vCPU is off (CPU_OFF, or not yet on). Shows nothing.
    pub const CPU_OFF: u64 = 5;
    /// SYSTEM_OFF, or a run of a VM that is off: the VM is powered off. Shows nothing.
    pub const SYSTEM_OFF: u64 = 6;
    /// SYSTEM_RESET or RESET2: the VM is powered off and its owner asked for a restart.
    pub const SYSTEM_RESET: u64 = 7;
    /// A GIC system register trapped for the host's emulation: esr, value of a write.
    pub const SYSREG: u64 = 8;
    /// Normal VMs only: a call Ward does not answer. value is the function, arg1..3 are x1..x3.
    /// esr tells HVC from SMC; PC is past an HVC, at an SMC.
    pub const CALL: u64 = 9;
    /// A pool is empty: donate to the VM and run again. Shows nothing.
    pub const POOL: u64 = 10;
    /// An SError interrupted the guest; the host decides whether the guest takes one (VSE). Shows
    /// nothing.
    pub const SERROR: u64 = 11;
    /// The guest gave a page of its memory back, which is the host's again: ipa. What it touches
    /// there next is an exit for memory.
    pub const RELINQUISH: u64 = 12;
}

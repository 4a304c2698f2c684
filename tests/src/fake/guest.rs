//! Guests: short programs whose instructions trap as real ones would.

use super::access::Fault;
use super::walk::Access;
use super::{CPUS, State};
use hyp_core::machine::Trap;
use hyp_core::vcpu::context::{Context, SysReg};

/// One instruction (with the moves that set up its operands).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Loads 8 bytes at an IPA into `x[rt]`.
    Load {
        /// Where.
        ipa: u64,
        /// The register.
        rt: u8,
    },
    /// Stores `value`, which it first puts into `x[rt]`.
    Store {
        /// Where.
        ipa: u64,
        /// The register.
        rt: u8,
        /// What.
        value: u64,
    },
    /// A load with write-back: an abort on it has no valid syndrome.
    LoadPair {
        /// Where.
        ipa: u64,
    },
    /// Fetches an instruction at an IPA.
    Fetch {
        /// Where.
        ipa: u64,
    },
    /// Sets `x0..x3` and executes HVC #0.
    Hvc([u64; 4]),
    /// Sets `x0..x3` and executes SMC #0.
    Smc([u64; 4]),
    /// WFI.
    Wfi,
    /// WFE.
    Wfe,
    /// Takes a virtual SError if one is pending, and returns from it.
    TakeSError,
    /// A load whose memory answers with an error, once.
    Poisoned {
        /// Where.
        ipa: u64,
    },
    /// An access to a system register that traps: the ISS, and what `x[1]` holds before.
    Sysreg(u32, u64),
    /// Any exception class at all, with this ESR.
    Other(u64),
    /// A physical interrupt arrives here; nothing is executed. Taken once.
    Irq,
    /// A physical SError arrives here. Taken once.
    SError,
    /// Sets a register.
    Set(u8, u64),
    /// Switches the guest's MMU and caches on or off.
    Caches(bool),
    /// The test's own code runs here, as another CPU at the same moment: see `Program`.
    Hook,
}

/// What a guest noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A load gave this.
    Loaded(u64),
    /// A store went through.
    Stored,
    /// A call returned with this in `x0`.
    Returned(u64),
    /// A trapped register read gave this in `x1`, or a write went through.
    Register(u64),
    /// An exception was delivered to EL1: offset from VBAR, syndrome, FAR.
    Exception(u64, u64, u64),
    /// WFI or WFE went on.
    Woke,
    /// A virtual SError came, with this syndrome.
    SError(u64),
}

/// What a vCPU executes: step `n` stands at `base + 4 * n`. Past the end, a physical interrupt
/// takes the CPU back to the host.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Address of the first step.
    pub base: u64,
    /// Which of the vCPU's programs this is, for the test.
    pub start: u64,
    /// The steps.
    pub steps: Vec<Step>,
    /// What it noticed.
    pub events: Vec<Event>,
    /// The step that trapped last, whose end is to be noted when the PC moved past it.
    trapped: Option<usize>,
    /// Interrupts already taken, by step.
    taken: Vec<usize>,
}

impl Program {
    /// A program of `steps` at `base`.
    pub fn new(base: u64, steps: Vec<Step>) -> Self {
        Program {
            base,
            steps,
            ..Program::default()
        }
    }
}

/// How far one step got.
pub enum Outcome {
    /// On to the next.
    Continue,
    /// Out of the guest.
    Trap(Trap),
    /// Run the hook, then on to the next.
    Hook,
}

fn sync(class: u64, iss: u64) -> Outcome {
    Outcome::Trap(Trap::Sync {
        esr: class << 26 | 1 << 25 | iss,
        far: 0,
        hpfar: 0,
    })
}

/// An abort: class, ISS, address.
fn abort(class: u64, iss: u64, ipa: u64) -> Outcome {
    Outcome::Trap(Trap::Sync {
        esr: class << 26 | 1 << 25 | iss,
        far: ipa,
        hpfar: ipa >> 12 << 4,
    })
}

/// ISS of a data abort on an 8-byte access with `x[rt]` (DDI 0487, ISS encoding for a data abort).
fn data_iss(fault: Fault, rt: Option<u8>, write: bool) -> u64 {
    let valid = rt.map_or(0, |rt| 1 << 24 | 3 << 22 | u64::from(rt) << 16 | 1 << 15);
    valid | u64::from(write) << 6 | fault.status
}

const SCTLR_C: u64 = 1 << 2;

impl State {
    /// Executes one step of the loaded vCPU on `cpu`.
    ///
    /// # Panics
    /// When there is no such CPU.
    pub fn guest_step(&mut self, cpu: u16, context: &mut Context) -> Outcome {
        assert!(usize::from(cpu) < CPUS);
        let Some(loaded) = self.cpus[usize::from(cpu)].loaded.clone() else {
            self.violate(format!("cpu {cpu}: a guest entered that was not loaded"));
            return Outcome::Trap(Trap::Irq);
        };
        let vm = loaded.params.stage2.vm.0;
        if self.tables.regime(vm).map(|r| r.root) != Some(loaded.params.stage2.root.0) {
            self.violate(format!("vm {vm}: entered on a table that is not its root"));
        }
        let key = (vm, loaded.params.mpidr);
        let mut program = self.programs.remove(&key).unwrap_or_default();
        let outcome = self.program_step(cpu, vm, context, &mut program, loaded.sys);
        self.programs.insert(key, program);
        outcome
    }

    fn program_step(
        &mut self,
        cpu: u16,
        vm: u16,
        context: &mut Context,
        program: &mut Program,
        sys: [u64; hyp_core::vcpu::context::SYS_REGS],
    ) -> Outcome {
        // Bits 10:0 are RES0 and a host may have left anything there.
        let vbar = sys[SysReg::VbarEl1 as usize] & !0x7ff;
        let at = |pc: u64| {
            let n = pc.wrapping_sub(program.base) / 4;
            (pc.is_multiple_of(4) && pc >= program.base && n <= program.steps.len() as u64)
                .then_some(n as usize)
        };
        if context.pc.wrapping_sub(vbar) < 0x800 && at(context.pc).is_none() {
            program.trapped = None;
            let (esr, far) = (sys[SysReg::EsrEl1 as usize], sys[SysReg::FarEl1 as usize]);
            program
                .events
                .push(Event::Exception(context.pc - vbar, esr, far));
            context.pc = sys[SysReg::ElrEl1 as usize] + 4;
            context.pstate = sys[SysReg::SpsrEl1 as usize];
            return Outcome::Continue;
        }
        let Some(index) = at(context.pc) else {
            self.violate(format!(
                "vm {vm}: guest at {:#x}, program at {:#x}",
                context.pc, program.base
            ));
            return Outcome::Trap(Trap::Irq);
        };
        if let Some(last) = program.trapped.take().filter(|last| *last + 1 == index) {
            program.events.push(match program.steps[last] {
                Step::Load { rt, .. } => Event::Loaded(if rt < 31 {
                    context.x[usize::from(rt)]
                } else {
                    0
                }),
                Step::Store { .. } => Event::Stored,
                Step::Wfi | Step::Wfe => Event::Woke,
                Step::Sysreg(..) => Event::Register(context.x[1]),
                _ => Event::Returned(context.x[0]),
            });
        }
        let Some(step) = program.steps.get(index).copied() else {
            return Outcome::Trap(Trap::Irq);
        };
        let cached = sys[SysReg::SctlrEl1 as usize] & SCTLR_C != 0;
        let outcome = match step {
            Step::Load { ipa, rt } => match self.access(cpu, vm, ipa, None, cached) {
                Ok(value) => {
                    if rt < 31 {
                        context.x[usize::from(rt)] = value;
                    }
                    program
                        .events
                        .push(Event::Loaded(if rt < 31 { value } else { 0 }));
                    Outcome::Continue
                }
                Err(fault) => abort(0x24, data_iss(fault, Some(rt), false), ipa),
            },
            Step::Store { ipa, rt, value } => {
                let value = if rt < 31 { value } else { 0 };
                if rt < 31 {
                    context.x[usize::from(rt)] = value;
                }
                match self.access(cpu, vm, ipa, Some(value), cached) {
                    Ok(_) => {
                        program.events.push(Event::Stored);
                        Outcome::Continue
                    }
                    Err(fault) => abort(0x24, data_iss(fault, Some(rt), true), ipa),
                }
            }
            Step::LoadPair { ipa } => match self.access(cpu, vm, ipa, None, cached) {
                Ok(value) => {
                    program.events.push(Event::Loaded(value));
                    Outcome::Continue
                }
                Err(fault) => abort(0x24, data_iss(fault, None, false), ipa),
            },
            Step::Fetch { ipa } => match self.translate(cpu, vm, ipa, Access::Fetch) {
                Ok(_) => {
                    program.events.push(Event::Loaded(0));
                    Outcome::Continue
                }
                Err(fault) => abort(0x20, fault.status, ipa),
            },
            Step::Hvc(x) | Step::Smc(x) => {
                context.x[..4].copy_from_slice(&x);
                sync(
                    if matches!(step, Step::Hvc(_)) {
                        0x16
                    } else {
                        0x17
                    },
                    0,
                )
            }
            Step::Wfi => sync(0x01, 0x1e00000),
            Step::Wfe => sync(0x01, 0x1e00001),
            Step::TakeSError => {
                let loaded = self.cpus[usize::from(cpu)].loaded.as_mut();
                let taken = loaded.and_then(|loaded| loaded.serror.take());
                program.events.extend(taken.map(Event::SError));
                Outcome::Continue
            }
            Step::Sysreg(iss, value) => {
                context.x[1] = value;
                sync(0x18, u64::from(iss))
            }
            Step::Other(esr) => Outcome::Trap(Trap::Sync {
                esr,
                far: 0,
                hpfar: 0,
            }),
            Step::Irq | Step::SError | Step::Poisoned { .. } if program.taken.contains(&index) => {
                Outcome::Continue
            }
            // HPFAR_EL2 holds nothing.
            Step::Poisoned { ipa } => {
                program.taken.push(index);
                return Outcome::Trap(Trap::Sync {
                    esr: 0x24 << 26 | 1 << 25 | 0x10,
                    far: ipa,
                    hpfar: 0x5_0000_0000,
                });
            }
            Step::Irq | Step::SError => {
                program.taken.push(index);
                return Outcome::Trap(if step == Step::Irq {
                    Trap::Irq
                } else {
                    Trap::SError
                });
            }
            Step::Set(rt, value) => {
                context.x[usize::from(rt)] = value;
                Outcome::Continue
            }
            Step::Caches(on) => {
                if let Some(loaded) = &mut self.cpus[usize::from(cpu)].loaded {
                    let sctlr = &mut loaded.sys[SysReg::SctlrEl1 as usize];
                    *sctlr = if on {
                        *sctlr | SCTLR_C
                    } else {
                        *sctlr & !SCTLR_C
                    };
                }
                Outcome::Continue
            }
            Step::Hook => {
                context.pc += 4;
                return Outcome::Hook;
            }
        };
        match outcome {
            Outcome::Trap(_) => program.trapped = Some(index),
            _ => context.pc += 4,
        }
        // The preferred return address of HVC is the next instruction; of SMC the SMC itself,
        // trapped before it executed (DDI 0487 D1.3.5).
        if matches!(step, Step::Hvc(_)) {
            context.pc += 4;
        }
        outcome
    }
}

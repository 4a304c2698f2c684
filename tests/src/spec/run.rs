//! Running a vCPU: what its guest's instructions do, and what an exit shows.

use super::calls::{DONE, Outcome};
use super::{Life, Open, Power, Seen, Spec, Vcpu, Vm};
use crate::fake::{Event, Step};
use hyp_core::abi::Error;
use hyp_core::abi::manifest::Manifest;
use hyp_core::abi::run::{
    FP_OFFSET, IN_OFFSET, OUT_OFFSET, REGS_OFFSET, RunIn, RunOut, exit, in_flags,
};
use hyp_core::vcpu::context::{SysReg, WINDOW_WORDS};

/// What an exit shows the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as in RunOut
pub struct Exit {
    pub reason: u64,
    pub ipa: u64,
    pub size: u64,
    pub write: u64,
    pub value: u64,
    pub arg1: u64,
    pub arg2: u64,
    pub arg3: u64,
    pub hcr: u64,
}

impl Exit {
    /// A normal VM's call.
    fn call([value, arg1, arg2, arg3]: [u64; 4]) -> Self {
        Exit {
            value,
            arg1,
            arg2,
            arg3,
            ..Exit::of(exit::CALL)
        }
    }

    /// An exit that shows nothing else.
    pub fn of(reason: u64) -> Self {
        Exit {
            reason,
            ..Exit::default()
        }
    }
}

/// What one step comes to.
pub(super) enum Flow {
    /// Done, on to the next.
    Next,
    /// The same with this noticed.
    Saw(Event),
    /// A call returned this.
    Call(u64),
    /// A call returned this and the host hears of it.
    CallExit(u64, Exit),
    /// Out to the host; the step is not done.
    Exit(Exit, Open),
    /// The guest takes an exception: syndrome and, for an abort, the address.
    Exception(u64, Option<u64>),
}

impl Flow {
    pub(super) fn missing(page: u64, write: bool) -> Self {
        Flow::missing_at(page, write, 0)
    }

    /// The same, with the virtual address that a normal VM's host sees.
    fn missing_at(page: u64, write: bool, far: u64) -> Self {
        let exit = Exit {
            ipa: page * 4096,
            write: write.into(),
            arg1: far,
            ..Exit::of(exit::MEMORY)
        };
        Flow::Exit(exit, Open::Memory)
    }
}

/// How far a run got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To a [`Step::Hook`].
    Hook,
    /// Out, with this exit.
    Exit(Exit),
}

/// `HCR_EL2.VSE`.
const VSE: u64 = 1 << 8;

/// Syndromes a guest sees: UNDEF, and synchronous external aborts taken at the same level.
const UNDEF: u64 = 1 << 25;
const DATA_ABORT: u64 = 0x25 << 26 | 1 << 25 | 0x10;
const FETCH_ABORT: u64 = 0x21 << 26 | 1 << 25 | 0x10;

impl Vm {
    /// Is the page in a RAM region the owner signed for?
    pub(super) fn is_ram(&self, page: u64) -> bool {
        let signed = |m: &Manifest| m.ram_contains(page * 4096, 4096);
        page < 1 << 40 && self.manifest.as_ref().is_some_and(signed)
    }

    fn is_device(&self, page: u64) -> bool {
        let signed = |m: &Manifest| m.mmio_contains(page * 4096, 4096);
        self.guards.contains(&page) || self.manifest.as_ref().is_some_and(signed)
    }
}

impl Spec {
    /// A vCPU that is there.
    ///
    /// # Panics
    /// When it is not.
    pub fn vcpu(&mut self, vm: u16, vcpu: u64) -> &mut Vcpu {
        self.vms
            .get_mut(&vm)
            .and_then(|vm| vm.vcpus.get_mut(&vcpu))
            .expect("the vCPU exists")
    }

    fn run_in(&self, run: u64, word: u64) -> u64 {
        self.word(run, (IN_OFFSET / 8 + word) as u16)
    }

    /// The host asks for a run. An exit: the vCPU or its VM is off, which the host is told.
    ///
    /// # Errors
    /// The refusal; nothing changed.
    pub fn begin_run(&mut self, vm: u64, index: u64) -> Result<Option<Exit>, Error> {
        let life = if self.vm(vm)?.protected {
            Life::Verified
        } else {
            Life::Ready
        };
        let it = self.in_life(vm, &[life, Life::PowerOff])?;
        let (protected, over) = (it.protected, it.life == Life::PowerOff);
        let vcpu = it.vcpus.get(&index).ok_or(Error::NotFound)?;
        if vcpu.active {
            return Err(Error::Busy);
        }
        let run = vcpu.run;
        let flags = self.run_in(run, 0);
        if flags & !in_flags::ALL != 0 {
            return Err(Error::InvalidArgument);
        }
        let value = self.run_in(run, 1);
        let window: Vec<u64> = (0..WINDOW_WORDS as u64)
            .map(|n| self.word(run, (REGS_OFFSET / 8 + n) as u16))
            .collect();
        let asked = self.run_in(run, 2) & VSE;
        let syndrome = self.run_in(run, RunIn::WORDS as u64 - 1) & 0x1ff_ffff;
        let off = |reason| Exit {
            hcr: asked,
            ..Exit::of(reason)
        };
        if over {
            return Ok(Some(off(exit::SYSTEM_OFF)));
        }
        let vcpu = self.vcpu(vm as u16, index);
        if vcpu.power == Power::Off {
            return Ok(Some(off(exit::CPU_OFF)));
        }
        let dirty = !protected && flags & in_flags::REGS_DIRTY != 0;
        if dirty && ![0, 4, 5].contains(&(window[33] & 0x1f)) {
            return Err(Error::InvalidArgument);
        }
        vcpu.serror = (asked != 0).then_some(syndrome);
        vcpu.lazy = flags & in_flags::LAZY != 0;
        match vcpu.power {
            Power::Off => {}
            Power::Pending(entry, context) => {
                vcpu.restart(entry);
                vcpu.x[0] = context;
                vcpu.power = Power::On;
            }
            Power::On => {}
        }
        vcpu.active = true;
        if dirty {
            vcpu.forget();
            if vcpu.pc() != window[32] {
                vcpu.restart(window[32]);
            }
            vcpu.x.copy_from_slice(&window[..31]);
            vcpu.caches = window[34 + SysReg::SctlrEl1 as usize] & 1 << 2 != 0;
            vcpu.far = window[34 + SysReg::FarEl1 as usize];
            if let Some(Event::Returned(x0)) = &mut vcpu.late {
                *x0 = window[0];
            }
        } else if !protected && flags & in_flags::RETRY != 0 {
            vcpu.forget();
        }
        vcpu.settle(flags, value);
        Ok(None)
    }

    /// The vCPU executes until its guest's next hook or its exit.
    pub fn advance(&mut self, vm: u16, index: u64, seen: &Seen<'_>) -> Progress {
        if let Some(late) = self.vcpu(vm, index).late.take() {
            self.vcpu(vm, index).events.push(late);
        }
        loop {
            let vcpu = self.vcpu(vm, index);
            let Some(step) = vcpu.steps.get(vcpu.at).copied() else {
                return self.exit(vm, index, Exit::of(exit::IRQ), Open::Nothing);
            };
            match self.step(vm, index, step, seen) {
                Flow::Next => self.vcpu(vm, index).at += 1,
                Flow::Saw(event) => self.vcpu(vm, index).done(event),
                Flow::Call(x0) => {
                    self.vcpu(vm, index).x[0] = x0;
                    self.vcpu(vm, index).done(Event::Returned(x0));
                }
                Flow::CallExit(x0, out) => {
                    let vcpu = self.vcpu(vm, index);
                    vcpu.x[0] = x0;
                    vcpu.late = Some(Event::Returned(x0));
                    vcpu.at += 1;
                    return self.exit(vm, index, out, Open::Nothing);
                }
                Flow::Exit(out, open) => return self.exit(vm, index, out, open),
                Flow::Exception(esr, far) => {
                    let vcpu = self.vcpu(vm, index);
                    vcpu.far = far.unwrap_or(vcpu.far);
                    let event = Event::Exception(0x200, esr, vcpu.far);
                    vcpu.done(event);
                }
            }
            if step == Step::Hook {
                return Progress::Hook;
            }
        }
    }

    fn exit(&mut self, vm: u16, index: u64, mut out: Exit, open: Open) -> Progress {
        let vcpu = self.vcpu(vm, index);
        vcpu.open = open;
        vcpu.active = false;
        if vcpu.serror.take().is_some() {
            out.hcr = VSE;
        }
        Progress::Exit(out)
    }

    /// The run page after an exit: the exit's words, and nothing left of an older one. What the
    /// interrupt controller's words say is not specified here, nor the window of a normal VM
    /// beyond its general registers and PC.
    pub fn show(&mut self, vm: u16, index: u64, out: Exit, seen: &Seen<'_>) {
        let protected = self.vms[&vm].protected;
        let run = self.vcpu(vm, index).run;
        self.cached.insert(run);
        let at = (OUT_OFFSET / 8) as u16;
        let words = [
            out.reason, out.ipa, out.size, out.write, out.value, out.arg1, out.arg2, out.arg3,
        ];
        for (n, word) in words.into_iter().enumerate() {
            self.write(run, at + n as u16, word);
        }
        let free = if protected && out.reason != exit::SYSREG {
            9
        } else {
            8
        };
        self.write(run, at + 8, 0);
        let last = RunOut::WORDS as u16 - 1;
        for n in free..last {
            self.write(run, at + n, (seen.word)(run, at + n));
        }
        self.write(run, at + last, out.hcr);
        if !protected && !matches!(out.reason, exit::CPU_OFF | exit::SYSTEM_OFF) {
            let quick = matches!(out.reason, exit::IRQ | exit::WAIT | exit::POOL);
            let lazy = quick && self.vcpu(vm, index).lazy;
            let timer = 34 + SysReg::CntvCtl as u16;
            let all = 0..WINDOW_WORDS as u16;
            let shown: Vec<u16> = if lazy {
                vec![32, 33, timer, timer + 1]
            } else {
                all.collect()
            };
            self.show_window(vm, index, &shown, seen);
        }
    }

    /// The window of a normal VM's vCPU shows these of its words.
    fn show_window(&mut self, vm: u16, index: u64, shown: &[u16], seen: &Seen<'_>) {
        let vcpu = self.vcpu(vm, index);
        let (run, x, pc) = (vcpu.run, vcpu.x, vcpu.pc());
        for n in shown {
            let at = (REGS_OFFSET / 8) as u16 + n;
            let word = match n {
                0..=30 if x[usize::from(*n)] != super::ANY => x[usize::from(*n)],
                32 => pc,
                _ => (seen.word)(run, at),
            };
            self.write(run, at, word);
        }
    }

    pub(super) fn vcpu_sync(
        &mut self,
        vm: u64,
        index: u64,
        what: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        // Nothing, unknown bits, FP/SIMD both ways.
        if !matches!(what, 1..=5) {
            return Err(Error::InvalidArgument);
        }
        if self.vm(vm)?.protected {
            return Err(Error::InvalidArgument);
        }
        let it = self.in_life(vm, &[Life::Ready, Life::PowerOff])?;
        let vcpu = it.vcpus.get(&index).ok_or(Error::NotFound)?;
        if vcpu.active {
            return Err(Error::Busy);
        }
        let (run, fp) = (vcpu.run, vcpu.fp);
        if what & 3 != 0 {
            self.cached.insert(run);
        }
        if what & 1 != 0 {
            let all: Vec<u16> = (0..WINDOW_WORDS as u16).collect();
            self.show_window(vm as u16, index, &all, seen);
        }
        for (n, word) in fp.into_iter().enumerate() {
            let at = (FP_OFFSET / 8) as u16 + n as u16;
            if what & 2 != 0 {
                self.write(run, at, word);
            }
            if what & 4 != 0 {
                self.vcpu(vm as u16, index).fp[n] = self.word(run, at);
            }
        }
        Ok(DONE)
    }

    /// What one step does.
    fn step(&mut self, vm: u16, index: u64, step: Step, seen: &Seen<'_>) -> Flow {
        let protected = self.vms[&vm].protected;
        match step {
            Step::Load { ipa, rt } => self.data(vm, index, ipa, Some(rt), None),
            Step::Store { ipa, rt, value } => {
                let value = self.vcpu(vm, index).set(rt, value);
                self.data(vm, index, ipa, Some(rt), Some(value))
            }
            Step::LoadPair { ipa } => self.data(vm, index, ipa, None, None),
            Step::Fetch { ipa } => self.fetch(vm, ipa),
            Step::Hvc(x) => {
                self.vcpu(vm, index).x[..4].copy_from_slice(&x);
                if protected {
                    return self.guest_call(vm, index, x, seen);
                }
                self.vcpu(vm, index).at += 1;
                Flow::Exit(Exit::call(x), Open::Call)
            }
            Step::Smc(x) => {
                self.vcpu(vm, index).x[..4].copy_from_slice(&x);
                if protected {
                    return Flow::Call(u64::MAX);
                }
                // It has not been executed: PC stays at it.
                Flow::Exit(Exit::call(x), Open::Smc)
            }
            Step::Wfi | Step::Wfe => {
                let vcpu = self.vcpu(vm, index);
                (vcpu.at, vcpu.late) = (vcpu.at + 1, Some(Event::Woke));
                let out = Exit {
                    size: (step == Step::Wfe).into(),
                    ..Exit::of(exit::WAIT)
                };
                Flow::Exit(out, Open::Nothing)
            }
            Step::TakeSError => {
                let vcpu = self.vcpu(vm, index);
                let taken = vcpu.serror.take().map(Event::SError);
                vcpu.events.extend(taken);
                Flow::Next
            }
            Step::Poisoned { ipa } => {
                let vcpu = self.vcpu(vm, index);
                if vcpu.taken.replace(vcpu.at) == Some(vcpu.at) {
                    return Flow::Next;
                }
                if protected {
                    return Flow::Exception(DATA_ABORT, Some(ipa));
                }
                let out = Exit {
                    arg1: ipa,
                    ..Exit::of(exit::MEMORY)
                };
                Flow::Exit(out, Open::Memory)
            }
            // The interrupt is taken before anything is executed: PC does not move.
            Step::Irq | Step::SError => {
                let vcpu = self.vcpu(vm, index);
                if vcpu.taken.replace(vcpu.at) == Some(vcpu.at) {
                    return Flow::Next;
                }
                let reason = if step == Step::Irq {
                    exit::IRQ
                } else {
                    exit::SERROR
                };
                Flow::Exit(Exit::of(reason), Open::Nothing)
            }
            Step::Sysreg(iss, value) => {
                self.vcpu(vm, index).x[1] = value;
                match iss {
                    super::SGI1R_WRITE => {
                        let out = Exit {
                            write: 1,
                            value,
                            ..Exit::of(exit::SYSREG)
                        };
                        Flow::Exit(out, Open::Register(None))
                    }
                    super::ID_READ if self.vms[&vm].host_ids => {
                        Flow::Exit(Exit::of(exit::SYSREG), Open::Register(Some(1)))
                    }
                    super::ID_READ => {
                        let hardware = crate::fake::id_register(4, 0);
                        let bits = self.setup.ipa_bits;
                        let value = hyp_core::vcpu::idregs::id_register(4, 0, hardware, bits);
                        self.vcpu(vm, index).x[1] = value;
                        Flow::Saw(Event::Register(value))
                    }
                    _ => Flow::Exception(UNDEF, None),
                }
            }
            Step::Other(_) => Flow::Exception(UNDEF, None),
            Step::Set(rt, value) => {
                self.vcpu(vm, index).set(rt, value);
                Flow::Next
            }
            Step::Caches(on) => {
                self.vcpu(vm, index).caches = on;
                Flow::Next
            }
            Step::Hook => Flow::Next,
        }
    }

    /// A load or store of 8 bytes. `rt` is `None` when the syndrome does not name the register.
    fn data(&mut self, vm: u16, index: u64, ipa: u64, rt: Option<u8>, store: Option<u64>) -> Flow {
        let (page, write) = (ipa / 4096, store.is_some());
        let caches = self.vcpu(vm, index).caches;
        let Some(it) = self.vms.get_mut(&vm) else {
            return Flow::Next;
        };
        // The fake's guests have no tables of their own.
        let far = if it.protected { 0 } else { ipa };
        let Some(mapped) = it.maps.get(&page).copied() else {
            let device = Exit {
                ipa,
                arg1: far,
                size: 8,
                write: write.into(),
                value: store.unwrap_or(0),
                ..Exit::of(exit::MMIO)
            };
            let open = if write {
                Open::DeviceWrite
            } else {
                Open::DeviceRead(rt.unwrap_or(31))
            };
            return match (it.protected, it.is_ram(page), it.is_device(page), rt) {
                (true, true, ..) | (false, _, _, None) => Flow::missing_at(page, write, far),
                (true, _, true, Some(_)) | (false, _, _, Some(_)) => Flow::Exit(device, open),
                _ => Flow::Exception(DATA_ABORT | u64::from(write) << 6, Some(ipa)),
            };
        };
        it.touch(page);
        if write && !mapped.write {
            return Flow::missing_at(page, true, far);
        }
        let (pfn, word) = (mapped.pfn, (ipa % 4096 / 8) as u16);
        if let Some(value) = store {
            if !mapped.device {
                self.write(pfn, word, value);
                if caches {
                    self.cached.insert(pfn);
                }
            }
            return Flow::Saw(Event::Stored);
        }
        let value = match (mapped.device, !caches && self.cached.contains(&pfn)) {
            (true, _) => crate::fake::device_value(pfn * 4096 + ipa % 4096),
            // A cache may or may not have written it back.
            (false, true) => super::ANY,
            (false, false) => self.word(pfn, word),
        };
        match rt {
            Some(rt) => Flow::Saw(Event::Loaded(self.vcpu(vm, index).set(rt, value))),
            None => Flow::Saw(Event::Loaded(value)),
        }
    }

    fn fetch(&mut self, vm: u16, ipa: u64) -> Flow {
        let page = ipa / 4096;
        let Some(it) = self.vms.get_mut(&vm) else {
            return Flow::Next;
        };
        it.touch(page);
        match it.maps.get(&page) {
            Some(mapped) if mapped.exec => Flow::Saw(Event::Loaded(0)),
            Some(_) if !it.protected => Flow::missing_at(page, false, ipa),
            None if !it.protected => Flow::missing_at(page, false, ipa),
            None if it.is_ram(page) => Flow::missing(page, false),
            _ => Flow::Exception(FETCH_ABORT, Some(ipa)),
        }
    }
}

impl Vcpu {
    /// Where its PC is.
    pub fn pc(&self) -> u64 {
        self.base + 4 * self.at as u64
    }

    /// It starts at `entry`, with no program yet.
    pub fn restart(&mut self, entry: u64) {
        (self.base, self.at, self.open) = (entry, 0, Open::Nothing);
        self.steps.clear();
        self.starts += 1;
        self.taken = None;
        (self.x, self.caches, self.late, self.far) = ([0; 31], false, None, 0);
    }

    /// `x[rt]` becomes `value`; 31 is the zero register.
    fn set(&mut self, rt: u8, value: u64) -> u64 {
        match self.x.get_mut(usize::from(rt)) {
            Some(x) => {
                *x = value;
                value
            }
            None => 0,
        }
    }

    /// Whatever the last exit left open is not to be answered.
    fn forget(&mut self) {
        if self.open == Open::Call {
            self.late = Some(Event::Returned(self.x[0]));
        }
        self.open = Open::Nothing;
    }

    fn done(&mut self, event: Event) {
        self.events.push(event);
        self.at += 1;
    }

    /// The host answers the last exit.
    fn settle(&mut self, flags: u64, value: u64) {
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        let step = self.steps.get(self.at).copied();
        let abort = flags & in_flags::INJECT_ABORT != 0;
        let undef = flags & in_flags::INJECT_UNDEF != 0;
        match open {
            Open::DeviceRead(_) | Open::DeviceWrite | Open::Memory if abort => {
                let (esr, far) = match step {
                    Some(Step::Store { ipa, .. }) => (DATA_ABORT | 1 << 6, ipa),
                    Some(
                        Step::Load { ipa, .. } | Step::LoadPair { ipa } | Step::Poisoned { ipa },
                    ) => (DATA_ABORT, ipa),
                    Some(Step::Fetch { ipa }) => (FETCH_ABORT, ipa),
                    _ => return,
                };
                self.far = far;
                self.done(Event::Exception(0x200, esr, far));
            }
            Open::Register(_) | Open::Smc if undef => {
                self.done(Event::Exception(0x200, UNDEF, self.far))
            }
            Open::DeviceRead(rt) => {
                let value = self.set(rt, value);
                self.done(Event::Loaded(value));
            }
            Open::DeviceWrite => self.done(Event::Stored),
            Open::Register(rt) => {
                if let Some(rt) = rt {
                    self.set(rt, value);
                }
                let x1 = self.x[1];
                self.done(Event::Register(x1));
            }
            Open::Smc => {
                self.x[0] = value;
                self.done(Event::Returned(value));
            }
            Open::Call => {
                self.x[0] = value;
                self.events.push(Event::Returned(value));
            }
            Open::Nothing | Open::Memory => {}
        }
    }
}

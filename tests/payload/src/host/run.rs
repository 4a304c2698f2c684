//! Running vCPUs and answering their exits.

use super::calls;
use super::device::{self, Answer};
use super::scan;
use super::text::Outcome;
use super::vm::{self, VCPUS, Vm};
use crate::protocol::{SPARE, mode};
use crate::rt::{cpu, gic, memory, pages, time};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hyp_core::abi::calls::stat;
use hyp_core::abi::run::{IN_OFFSET, OUT_OFFSET, RunIn, RunOut, exit, in_flags};
use hyp_core::abi::{Call, Error};

/// Search all registers and the run page behind each run.
pub(crate) static SEARCH: AtomicBool = AtomicBool::new(true);
/// Interrupt each run after so many microseconds; 0: never.
pub(crate) static TICK: AtomicU32 = AtomicU32::new(20_000);

/// `ICC_SGI1R_EL1` in a syndrome, without Rt and direction: Op0 3, Op1 0, CRn 12, CRm 11, Op2 5.
const SGI1R: u64 = 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1;
/// The fields of a syndrome that name a register.
const SYSREG: u64 = 0x3f_fc1e;

impl Vm {
    /// Runs a vCPU once and answers its exit, whose reason it returns.
    pub(crate) fn step(&self, vcpu: usize) -> Outcome<Result<u64, Error>> {
        self.prepare(vcpu);
        let searched = SEARCH.load(Ordering::Relaxed);
        tick();
        let result = if searched {
            match scan::run_searched(self.id, vcpu as u64, self.run_pages[vcpu])? {
                (0, reason) => Ok(reason),
                (code, _) => Err(Error::from_code(code)),
            }
        } else {
            calls::host_call(Call::VcpuRun, &[self.id, vcpu as u64])
                .map(|reply| reply.x1)
                .map_err(Some)
        };
        match result {
            Ok(reason) => self.settle(vcpu, reason).map(Ok),
            Err(Some(error)) => Ok(Err(error)),
            Err(None) => fail!("vcpu_run returned a number that is no error"),
        }
    }

    /// The VM is off: a run says so, and does not run.
    pub(crate) fn must_be_off(&self) -> Outcome {
        let before = calls::ok(Call::StatRead, &[self.id, stat::VM_EXITS])?;
        same!(
            calls::ok(Call::VcpuRun, &[self.id, 0])?,
            exit::SYSTEM_OFF,
            "a run of a VM that is off"
        );
        same!(
            calls::ok(Call::StatRead, &[self.id, stat::VM_EXITS])?,
            before,
            "exits after it"
        );
        Ok(())
    }

    /// Runs a vCPU to its next exit that is not for an interrupt of the host's.
    pub(crate) fn next_exit(&self, vcpu: usize) -> Outcome<Result<u64, Error>> {
        loop {
            let result = self.step(vcpu)?;
            if result != Ok(exit::IRQ) {
                return Ok(result);
            }
        }
    }

    /// Runs until the guest is off, restarts, or `enough`. Both vCPUs take turns.
    pub(crate) fn run_until(&self, enough: impl Fn(&Vm) -> bool) -> Outcome<u64> {
        let mut waits = 0;
        for turn in 0.. {
            let on = self.state.lock().on;
            let vcpu = turn % VCPUS;
            if !on[vcpu] {
                ensure!(on.contains(&true), "no vCPU is on");
                continue;
            }
            let reason = match self.step(vcpu)? {
                Ok(reason) => reason,
                Err(error) => fail!("vcpu_run refused: {error:?}"),
            };
            if matches!(reason, exit::SYSTEM_OFF | exit::SYSTEM_RESET) || enough(self) {
                return Ok(reason);
            }
            waits = if reason == exit::WAIT { waits + 1 } else { 0 };
            ensure!(waits < 2_000_000, "the guest waits for ever");
        }
        Ok(exit::WAIT)
    }

    /// Has the guest do something that has an answer.
    pub(crate) fn ask(&self, mode: u64, argument: u64) -> Outcome<u64> {
        self.tell(mode, argument);
        let end = self.run_until(|vm| vm.state.lock().device.answer.is_some())?;
        match self.state.lock().device.answer.take() {
            Some(answer) => Ok(answer),
            None => fail!("the guest ended (exit {end}) instead of answering mode {mode}"),
        }
    }

    /// Has the guest do something.
    pub(crate) fn tell(&self, mode: u64, argument: u64) {
        let mut state = self.state.lock();
        state.device.mode = (mode, argument);
        state.device.answer = None;
    }

    /// Has the guest switch itself off.
    pub(crate) fn shut_down(&self) -> Outcome {
        self.tell(mode::OFF, 0);
        same!(
            self.run_until(|_| false)?,
            exit::SYSTEM_OFF,
            "the guest's last exit"
        );
        Ok(())
    }

    /// The first vCPU's WFI and WFE trap from now on.
    pub(crate) fn ask_for_waits(&self) {
        self.state.lock().hcr[0] |= 1 << 13 | 1 << 14;
    }

    /// The first vCPU has an SError pending at each run.
    pub(crate) fn ask_for_serror(&self) {
        self.state.lock().hcr[0] |= 1 << 8;
    }

    /// Writes the run page.
    pub(crate) fn prepare(&self, vcpu: usize) {
        let mut state = self.state.lock();
        let mut gic = state.gic[vcpu];
        for id in 0..32 {
            let free = gic.lr[..4].iter_mut().find(|lr| **lr >> 62 == 0);
            if let Some(slot) = free.filter(|_| state.pending[vcpu] >> id & 1 != 0) {
                *slot = list_register(id);
                state.pending[vcpu] &= !(1 << id);
            }
        }
        gic.hcr = 1 | state.device.traps;
        gic.used = 4;
        let (flags, value) = core::mem::take(&mut state.answer[vcpu]);
        let words = RunIn {
            flags,
            value,
            hcr: state.hcr[vcpu],
            gic,
            ..RunIn::default()
        }
        .to_words();
        for (n, word) in (0..).zip(words) {
            memory::poke(self.run_pages[vcpu] + IN_OFFSET + 8 * n, word);
        }
    }

    /// What the run page says of the last exit.
    pub(crate) fn out(&self, vcpu: usize) -> RunOut {
        let mut words = [0; RunOut::WORDS];
        for (n, word) in (0..).zip(&mut words) {
            *word = memory::peek(self.run_pages[vcpu] + OUT_OFFSET + 8 * n);
        }
        RunOut::from_words(&words)
    }

    /// Answers the exit of a run that a test made by itself.
    pub(crate) fn settle(&self, vcpu: usize, reason: u64) -> Outcome<u64> {
        let out = self.out(vcpu);
        same!(out.reason, reason, "reason in the run page, and in x1");
        if self.is_protected && SEARCH.load(Ordering::Relaxed) {
            scan::shows_its_row_only(&out)?;
        }
        {
            let mut state = self.state.lock();
            state.gic[vcpu] = out.gic;
            if let Some(count) = state.exits.get_mut(reason as usize) {
                *count += 1;
            }
        }
        match reason {
            exit::IRQ => self.interrupted(vcpu),
            exit::MMIO => {
                let write = (out.write == 1).then_some(out.value);
                let answer = match device::access(self, vcpu, out.ipa, out.size, write) {
                    Answer::Value(value) => (0, value),
                    Answer::Refused => (in_flags::INJECT_ABORT, 0),
                };
                self.state.lock().answer[vcpu] = answer;
            }
            exit::MEMORY if self.state.lock().refuse_memory => {}
            exit::MEMORY => {
                // Blocks from 2 MiB into the spare area on, in the measuring mode only.
                let block = !SEARCH.load(Ordering::Relaxed) && out.ipa >= SPARE + (2 << 20);
                let order = if block { 9 } else { 0 };
                self.give(out.ipa & !((pages::PAGE << order) - 1), order)?;
            }
            exit::CPU_ON => match self.state.lock().on.get_mut(out.arg1 as usize) {
                Some(on) => *on = true,
                None => fail!("CPU_ON of vCPU {}", out.arg1),
            },
            exit::CPU_OFF => self.state.lock().on[vcpu] = false,
            exit::SYSREG => self.system_register(vcpu, &out),
            exit::POOL => vm::donate(self.id, 8)?,
            exit::RELINQUISH => {
                let Some(frame) = self.frame_of(out.ipa) else {
                    fail!("a page given back that was never given: {:#x}", out.ipa)
                };
                same!(
                    memory::peek(frame),
                    0,
                    "the first word of a page given back"
                );
                self.came_back(frame);
                pages::give(frame, 1);
            }
            exit::WAIT | exit::SYSTEM_OFF | exit::SYSTEM_RESET | exit::CALL | exit::SERROR => {}
            _ => fail!("an exit for reason {reason}, which the interface does not name"),
        }
        Ok(reason)
    }

    /// An interrupt ended the run: the host's own, or the guest's timer, which Ward leaves armed.
    fn interrupted(&self, vcpu: usize) {
        let before = gic::count(gic::VIRTUAL_TIMER);
        cpu::take_interrupts();
        if gic::count(gic::VIRTUAL_TIMER) != before {
            // As KVM does: the physical interrupt is active, so that it does not fire again, until
            // the guest deactivates it through the list register.
            gic::set_active(gic::VIRTUAL_TIMER);
            self.state.lock().pending[vcpu] |= 1 << gic::VIRTUAL_TIMER;
        }
    }

    fn system_register(&self, vcpu: usize, out: &RunOut) {
        let mut state = self.state.lock();
        if out.esr & SYSREG != SGI1R || out.write != 1 {
            state.answer[vcpu] = (in_flags::INJECT_UNDEF, 0);
            return;
        }
        let id = out.value >> 24 & 0xf;
        for target in 0..VCPUS {
            if out.value >> target & 1 != 0 {
                state.pending[target] |= 1 << id;
            }
        }
    }
}

/// Has this CPU interrupted soon, if it is not already: a guest may run or wait for ever.
pub(crate) fn tick() {
    let tick = TICK.load(Ordering::Relaxed);
    if tick != 0 && read_sysreg!("cntp_ctl_el0") & 3 != 1 {
        gic::arm_physical_timer(time::ticks_of_us(u64::from(tick)));
    }
}

/// A pending group 1 interrupt; the virtual timer's stands for the physical one.
fn list_register(id: u64) -> u64 {
    let pending = 1 << 62 | 1 << 60 | 0x80 << 48 | id;
    if id == gic::VIRTUAL_TIMER {
        pending | 1 << 61 | id << 32
    } else {
        pending
    }
}

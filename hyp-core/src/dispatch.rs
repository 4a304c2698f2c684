//! The host's calls: from registers to a function, and back.

use crate::abi::error::AGAIN;
use crate::abi::{Call, Error, VERSION, smccc};
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::memory::{Ending, For};
use crate::vm::{Destroyed, Leaves, PROT_WRITE, Verified};
use crate::ward::Ward;
use core::sync::atomic::Ordering::Relaxed;

/// `x0..x7` of a call and of its answer. What is no result stays what the caller had: from SMCCC
/// 1.1 on, callers count on it for `x4` and up (DEN0028 2.6).
pub type Registers = [u64; 8];

/// The results of all calls but one, `x0` to `x3`.
fn answer(registers: &mut Registers, results: [u64; 4]) {
    let [x0, x1, x2, x3, ..] = registers;
    [*x0, *x1, *x2, *x3] = results;
}

/// A call that was carried out: `x0` and `x1`.
struct Answer {
    status: i64,
    value: u64,
}

impl Answer {
    const DONE: Answer = Answer {
        status: 0,
        value: 0,
    };

    fn value(value: u64) -> Self {
        Answer { status: 0, value }
    }

    fn again(left: u64) -> Self {
        Answer {
            status: AGAIN,
            value: left,
        }
    }
}

impl<M: Machine> Ward<M> {
    /// Answers an HVC of the host's: `x0..x7` in, `x0..x7` out. A refused call changed nothing
    /// (I9).
    #[inline]
    pub fn host_call(&self, registers: &mut Registers) {
        let [x0, a, b, ..] = *registers;
        // What a host asks for again and again has the shortest way.
        if x0 == u64::from(Call::VcpuRun.function_id()) {
            self.stats.calls.fetch_add(1, Relaxed);
            let order = &mut Order::top();
            match self.vcpu_run(order, a, b) {
                Ok(reason) => answer(registers, [0, reason, 0, 0]),
                Err(error) => self.refuse(order, error, registers),
            }
        } else {
            self.other_call(registers);
        }
    }

    #[inline(never)]
    fn other_call(&self, registers: &mut Registers) {
        if discovery(registers) {
            return;
        }
        self.stats.calls.fetch_add(1, Relaxed);
        let order = &mut Order::top();
        let [x0, a, ..] = *registers;
        let result = match Call::from_function_id(x0) {
            Some(Call::LogRead) => {
                self.log_read(order, a, registers);
                return;
            }
            Some(call) => self.dispatch(order, call, registers),
            None => Err(Error::NotSupported),
        };
        match result {
            Ok(Answer { status, value }) => {
                answer(registers, [status as u64, value, 0, 0]);
            }
            Err(error) => self.refuse(order, error, registers),
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, order: &mut Order<'_, level::Top>, error: Error, registers: &mut Registers) {
        self.stats.refused.fetch_add(1, Relaxed);
        // Which pool to fill: the host's is looked at first.
        let host_pool =
            error == Error::NoMemory && self.memory.lock(order).0.check_tables(For::Vm).is_err();
        answer(registers, [error.code() as u64, host_pool.into(), 0, 0]);
    }

    fn dispatch(
        &self,
        order: &mut Order<'_, level::Top>,
        call: Call,
        registers: &Registers,
    ) -> Result<Answer, Error> {
        let [_, a, b, c, d, e, f, _] = *registers;
        let done = |()| Answer::DONE;
        let leaves = |count| Leaves {
            ipa: b,
            order: c,
            count,
        };
        match call {
            Call::Version => Ok(Answer::value(u64::from(VERSION))),
            Call::Info => self.info(order, a).map(Answer::value),
            Call::HostDonate => self.host_donate(order, a, b).map(done),
            Call::StatRead => self.stat_read(order, a, b).map(Answer::value),
            Call::VmRegister => self.vm_register(order, a, b, c, d).map(Answer::value),
            Call::VcpuRegister => self.vcpu_register(order, a, b, c, d).map(done),
            Call::VmDonate => self.vm_donate(order, a, b, c).map(done),
            Call::VmReclaimPool => self.vm_reclaim_pool(order, a).map(Answer::value),
            Call::VmSetBootInfo => self.vm_set_boot_info(order, a, b, c).map(done),
            Call::VmRemapImage => self.vm_remap_image(order, a, b, c, d, e).map(done),
            Call::VmVerifyImages => {
                self.vm_verify_images(order, a)
                    .map(|verified| match verified {
                        Verified::All => Answer::DONE,
                        Verified::Left(bytes) => Answer::again(bytes),
                    })
            }
            Call::VcpuRun => self.vcpu_run(order, a, b).map(Answer::value),
            Call::VcpuSync => self.vcpu_sync(order, a, b, c).map(done),
            Call::VmMap => self.vm_map(order, a, b, c, d, e).map(Answer::value),
            Call::VmUnmap => self.vm_unmap(order, a, leaves(1)).map(|_| Answer::DONE),
            Call::VmUnmapRange => self.vm_unmap(order, a, leaves(d)).map(Answer::value),
            Call::VmWriteProtect => {
                let changed = self.vm_protect(order, a, leaves(1), 0, PROT_WRITE);
                changed.map(|_| Answer::DONE)
            }
            Call::VmProtect => {
                let changed = self.vm_protect(order, a, leaves(d), e, f);
                changed.map(Answer::value)
            }
            Call::VmAge => self.vm_age(order, a, leaves(1), 0).map(Answer::value),
            Call::VmAgeRange => self.vm_age(order, a, leaves(d), e).map(Answer::value),
            Call::VmMapIo => self.vm_map_io(order, a, b, c, d, e).map(done),
            Call::VmClearRange => self.vm_clear_range(order, a, b, c).map(Answer::value),
            Call::VmSetCntvoff => self.vm_set_cntvoff(order, a, b).map(done),
            Call::VmPowerOff => self.vm_power_off(order, a).map(done),
            Call::VmDestroy => self.vm_destroy(order, a).map(|destroyed| match destroyed {
                Destroyed::All => Answer::DONE,
                Destroyed::Left => Answer::again(1),
            }),
            Call::SmmuAlloc
            | Call::SmmuFree
            | Call::SmmuMap
            | Call::SmmuClear
            | Call::SmmuIovaToPhys => self.smmu_call(order, call, registers),
            // LogRead alone answers with more than one value: it is not dispatched from here.
            Call::LogRead
            | Call::EncryptBuf
            | Call::DecryptBuf
            | Call::SaveCryptVcpu
            | Call::LoadCryptVcpu => Err(Error::NotSupported),
        }
    }

    /// Calls on streams, which are refused without an SMMU.
    fn smmu_call(
        &self,
        order: &mut Order<'_, level::Top>,
        call: Call,
        registers: &Registers,
    ) -> Result<Answer, Error> {
        let [_, smmu, stream, c, d, e, f, _] = *registers;
        let (Some(dma), Some(default)) = (&self.config.dma, self.dma_table()) else {
            return Err(Error::NotSupported);
        };
        let (key, machine) = ((smmu, stream), &self.machine);
        let (mut memory, _) = self.memory.lock(order);
        match call {
            // A stream of a VM's: see `memory::streams`.
            Call::SmmuAlloc if c != 0 => Err(Error::NotSupported),
            Call::SmmuAlloc => memory
                .stream_alloc(machine, dma, key)
                .map(|()| Answer::DONE),
            Call::SmmuFree => {
                let ending = memory.stream_free(machine, default, key)?;
                Ok(match ending {
                    Ending::Done => Answer::DONE,
                    Ending::Left => Answer::again(1),
                })
            }
            Call::SmmuMap => {
                let mapped = memory.stream_map(machine, dma, key, [c, d, e, f]);
                mapped.map(|()| Answer::DONE)
            }
            Call::SmmuClear => {
                let cleared = memory.stream_clear(machine, key, [c, d]);
                cleared.map(|()| Answer::DONE)
            }
            _ => memory.stream_lookup(machine, key, c).map(Answer::value),
        }
    }

    /// [`Call::LogRead`]: x1 is the next cursor, x2 the bytes, x3 to x7 have them.
    fn log_read(&self, order: &mut Order<'_, level::Top>, cursor: u64, registers: &mut Registers) {
        let chunk = self.log.lock(order).0.read(cursor);
        *registers = [0, chunk.next, chunk.len as u64, 0, 0, 0, 0, 0];
        let words = chunk.bytes.chunks_exact(8);
        for (register, bytes) in registers[3..].iter_mut().zip(words) {
            for (n, &byte) in bytes.iter().enumerate() {
                *register |= u64::from(byte) << (8 * n);
            }
        }
    }
}

/// Calls that tell a host what it talks to (DEN0028 6 and 7). Whether it was one.
fn discovery(registers: &mut Registers) -> bool {
    let Ok(function) = u32::try_from(registers[0]) else {
        return false;
    };
    let results = match function {
        smccc::SMCCC_ARCH_FEATURES => [smccc::NOT_SUPPORTED, 0, 0, 0],
        _ => match crate::smc::discovery(function) {
            Some(answer) => answer,
            None => return false,
        },
    };
    answer(registers, results);
    true
}

//! Ward itself: one value that all CPUs share.

use crate::abi::calls::stat;
use crate::abi::{Error, MAX_VCPUS};
use crate::addr::Pfn;
use crate::config::{BootError, Config};
use crate::dma::{DmaConfig, DmaTable, Domain};
use crate::lock::{Order, Ordered, level};
use crate::log::Log;
use crate::machine::{Machine, Stage2Root};
use crate::memory::{Counts, FrameState, HostFault, HostFaultAction, Memory, Range};
use crate::once::Unknown;
use crate::vcpu::idregs;
use crate::vm::Vm;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the machine. They order nothing: relaxed.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) calls: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) host_aborts: AtomicU64,
}

/// The hypervisor's policy and state.
///
/// The platform makes one at boot and calls it from its exception vectors, on every CPU:
/// [`Ward::host_call`] for an HVC of the host, [`Ward::host_fault`] for its stage-2 aborts.
pub struct Ward<M: Machine> {
    pub(crate) machine: M,
    pub(crate) config: Config,
    pub(crate) memory: Ordered<M, level::Memory, Memory<M>>,
    pub(crate) slots: M::Slots,
    pub(crate) log: Ordered<M, level::Log, Log>,
    pub(crate) stats: Stats,
    pub(crate) unknown: Unknown,
}

impl<M: Machine> Ward<M> {
    /// Takes over the machine: records Ward's frames and the host's, and builds the host's
    /// stage 2. `slots` are empty, one for each VM number, the host's 0 included; `root` and
    /// `pool` are frames of [`Config::hyp`] for the host's tables, the root's zeroed.
    ///
    /// # Errors
    /// [`BootError`] when the pieces do not fit together.
    pub fn new(
        machine: M,
        config: Config,
        frames: M::Frames,
        slots: M::Slots,
        root: Pfn,
        pool: Range,
    ) -> Result<Self, BootError> {
        if slots.is_empty() || slots.len() > 1 << 16 {
            return Err(BootError::Arrays);
        }
        let memory = Memory::new(&machine, &config, frames, root, pool)?;
        Ok(Ward {
            machine,
            config,
            memory: Ordered::new(memory),
            slots,
            log: Ordered::new(Log::new()),
            stats: Stats::default(),
            unknown: Unknown::default(),
        })
    }

    /// The hardware underneath.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The host's translation, to load on a CPU before it enters the host.
    pub fn host_root(&self) -> Stage2Root {
        self.memory.lock(&mut Order::top()).0.host_table().root()
    }

    /// The host's DMA table, which every stream translates by that leads nowhere else; `None`
    /// without an SMMU. It is complete once Ward stands, and no SMMU starts earlier.
    pub fn dma_table(&self) -> Option<DmaTable> {
        let DmaConfig {
            tables, geometry, ..
        } = self.config.dma.as_ref()?;
        Some(DmaTable {
            domain: Domain::Host,
            root: tables.first,
            geometry: *geometry,
        })
    }

    /// Decides on a stage-2 abort of the host's.
    pub fn host_fault(&self, fault: HostFault) -> HostFaultAction {
        let action = self
            .memory
            .lock(&mut Order::top())
            .0
            .host_fault(&self.machine, fault);
        if action == HostFaultAction::Abort {
            self.stats.host_aborts.fetch_add(1, Relaxed);
        }
        action
    }

    /// Who owns a frame, for crash records and for the PSCI relay's check that an entry point is
    /// the host's memory; `None` for what is not RAM.
    pub fn frame_state(&self, frame: Pfn) -> Option<FrameState> {
        self.memory.lock(&mut Order::top()).0.state(frame)
    }

    /// The log begins with what boot had to say before there was a log.
    pub fn begin_log(&self, early: &Log) {
        self.log.lock(&mut Order::top()).0.clone_from(early);
    }

    /// Writes a line to the log and the console.
    pub fn log(&self, args: fmt::Arguments<'_>) {
        self.log_below(&mut Order::top(), args);
    }

    /// The same, under a lock.
    pub(crate) fn log_below<L>(&self, order: &mut Order<'_, L>, args: fmt::Arguments<'_>)
    where
        level::Log: level::Below<L>,
    {
        self.log.lock(order).0.line(args);
        self.machine.console(args);
    }

    /// Runs `f` on the VM with this number, under its lock.
    pub(crate) fn with_vm<R>(
        &self,
        order: &mut Order<'_, level::Top>,
        number: u64,
        f: impl FnOnce(&mut Vm<M>, &mut Order<'_, level::Vm>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (mut slot, mut order) = self.slot(number)?.lock(order);
        f(slot.as_mut().ok_or(Error::NotFound)?, &mut order)
    }

    /// [`Call::StatRead`](crate::abi::Call::StatRead).
    pub(crate) fn stat_read(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        key: u64,
    ) -> Result<u64, Error> {
        if vm == 0 {
            let Counts { host, hyp, vm } = self.memory.lock(order).0.counts();
            return match key {
                stat::FRAMES => Ok(host + hyp + vm),
                stat::HOST_FRAMES => Ok(host),
                stat::HYP_FRAMES => Ok(hyp),
                stat::VM_FRAMES => Ok(vm),
                stat::CALLS => Ok(self.stats.calls.load(Relaxed)),
                stat::REFUSED => Ok(self.stats.refused.load(Relaxed)),
                stat::DEVICE_LOST => Ok(self.machine.dma_lost().into()),
                stat::HOST_ABORTS => Ok(self.stats.host_aborts.load(Relaxed)),
                _ => Err(Error::InvalidArgument),
            };
        }
        self.with_vm(order, vm, |vm, _| match key {
            stat::VM_STATE => Ok(vm.state.code()),
            stat::VM_MAPPED => Ok(vm.stats.mapped),
            stat::VM_POOL => Ok(vm.pool.len()),
            stat::VM_EXITS => Ok(vm.stats.exits),
            stat::VM_ANSWERED => Ok(vm.stats.answered),
            stat::VM_SHARED => Ok(vm.stats.shared),
            _ => Err(Error::InvalidArgument),
        })
    }

    /// [`Call::Info`](crate::abi::Call::Info).
    pub(crate) fn info(&self, order: &mut Order<'_, level::Top>, key: u64) -> Result<u64, Error> {
        use crate::abi::calls::info;
        match key {
            info::ROOT_FRAMES => Ok(self.config.geometry.root_frames()),
            info::IPA_BITS => Ok(u64::from(self.config.geometry.ipa_bits())),
            info::MAX_VMS => Ok(self.slots.len() as u64 - 1),
            info::LIST_REGISTERS => Ok(u64::from(self.config.list_registers)),
            info::HOST_POOL => Ok(self.memory.lock(order).0.pool_len()),
            info::IOVA_BITS => Ok(self.config.dma.as_ref().map_or(0, Memory::<M>::stream_bits)),
            info::MAX_VCPUS => Ok(MAX_VCPUS as u64),
            _ => match key.checked_sub(info::ID_REGISTERS) {
                Some(register @ 8..64) => {
                    Ok(self.id_register((register >> 3) as u8, register as u8 & 7))
                }
                _ => Err(Error::InvalidArgument),
            },
        }
    }

    /// What guests read of an ID register on this CPU.
    pub(crate) fn id_register(&self, crm: u8, op2: u8) -> u64 {
        let hardware = self.machine.id_register(crm, op2);
        let bits = self.config.geometry.ipa_bits();
        idregs::id_register(crm, op2, hardware, bits.into())
    }
}

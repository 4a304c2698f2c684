//! The seam between policy and hardware.
//!
//! hyp-core decides; a [`Machine`] does. `hyp-el2` implements it on the real thing, the tests
//! with a machine whose TLBs keep stale entries and whose steps can be made to fail.

use crate::addr::{CpuId, Ipa, Pfn, Size, VmId};
use crate::dma::Dma;
use crate::memory::FrameWord;
use crate::vcpu::context::{Context, SysReg};
use crate::vm::VmSlot;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A mutual exclusion lock: acquire on lock, release on drop of the guard, fair between CPUs.
pub trait Mutex<T>: Send + Sync {
    /// Holds the lock until dropped.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a,
        T: 'a;

    /// A free lock around `value`.
    fn new(value: T) -> Self;

    /// Waits for the lock and takes it.
    fn lock(&self) -> Self::Guard<'_>;
}

/// What a TLB invalidation covers. It always completes on all CPUs before the call returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlbScope {
    /// Translations of one leaf at `ipa`, of the leaf's size, and the walk to it.
    Leaf(Ipa, Size),
    /// Everything of the VMID.
    All,
}

/// How a translation regime is entered: what `VTTBR_EL2` and `VTCR_EL2` say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Root {
    /// The regime's VMID.
    pub vm: VmId,
    /// First frame of the (concatenated) root table.
    pub root: Pfn,
}

/// What a vCPU is entered with, besides its [`Context`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunParams {
    /// Translation.
    pub stage2: Stage2Root,
    /// The VM is protected: debug, PMU and the like closed, ID registers trapped.
    pub protected: bool,
    /// `HCR_EL2` bits the host asked for, sanitised (TWI, TWE, VSE).
    pub hcr: u64,
    /// `VSESR_EL2`, with VSE in `hcr`.
    pub vsesr: u64,
    /// `CNTVOFF_EL2`.
    pub cntvoff: u64,
    /// `VMPIDR_EL2`.
    pub mpidr: u64,
}

/// Why the CPU left the guest for EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// A synchronous exception, with the syndrome registers as trapped.
    Sync {
        /// `ESR_EL2`.
        esr: u64,
        /// `FAR_EL2`.
        far: u64,
        /// `HPFAR_EL2`; valid for stage-2 aborts.
        hpfar: u64,
    },
    /// A physical interrupt that belongs to the host.
    Irq,
    /// A physical SError.
    SError,
}

/// Access to translation tables and to the TLBs that cache them: all that [`crate::stage2`] needs.
pub trait TableMemory {
    /// Reads descriptor `index` (0 to 511) of a table page. Single-copy atomic: the walker and
    /// hardware updates of the access flag run beside it.
    fn read_entry(&self, table: Pfn, index: usize) -> u64;

    /// Writes descriptor `index` of a table page. Single-copy atomic; ordered after all earlier
    /// writes to table pages by this CPU as observed by walkers (store-release, then
    /// [`TableMemory::publish`]).
    fn write_entry(&self, table: Pfn, index: usize, entry: u64);

    /// Makes all descriptor writes by this CPU visible to the walkers of every CPU:
    /// DSB ISHST then ISB (DDI 0487 D8.17.1). Needed after an invalid entry became valid.
    fn publish(&self);

    /// Removes translations from every CPU's TLB, ordered after all earlier
    /// [`TableMemory::write_entry`] of this CPU and complete on return.
    fn tlb_invalidate(&self, vm: VmId, scope: TlbScope);

    /// Zeroes a frame and cleans it to the point of coherency, so that an observer with caches
    /// off (a walker that does not snoop, a guest before it has its MMU on) reads zeros too.
    fn zero_frame(&self, frame: Pfn);
}

/// The hardware, as hyp-core sees it.
///
/// All methods may be called from any CPU at once. Frames passed in are Ward's to access: a
/// table page, a frame that left its former owner, or (for the `*_host_*` methods) a host frame
/// whose contents may change at any moment.
pub trait Machine: TableMemory + Dma + Sized + Sync {
    /// Locks.
    type Mutex<T: Send>: Mutex<T>;
    /// A value of Ward's own that lives in frames taken from the host.
    type Placed<T: Send>: DerefMut<Target = T> + Send;
    /// The array of frame records, sized at boot.
    type Frames: DerefMut<Target = [FrameWord]> + Send;
    /// The array of VM slots, sized at boot.
    type Slots: Deref<Target = [VmSlot<Self>]>;

    // --- contents of frames ---

    /// Makes a frame's contents, written by somebody else through caches, visible to a guest
    /// with caches off and to instruction fetch: clean and invalidate to the point of coherency,
    /// invalidate the instruction cache.
    fn sync_frame(&self, frame: Pfn);

    /// Copies out of a frame that nobody else can write.
    fn read_frame(&self, frame: Pfn, offset: usize, buffer: &mut [u8]);

    /// Copies into a frame that nobody else can access, and cleans it to the point of coherency.
    fn write_frame(&self, frame: Pfn, offset: usize, data: &[u8]);

    /// Updates a SHA-256 state with a whole frame that nobody else can write: 64 blocks.
    fn sha256_frame(&self, state: &mut [u32; 8], frame: Pfn);

    /// Reads 64-bit words of a host frame: each word once, in order. `offset` in bytes, a
    /// multiple of 8; the range stays in the frame.
    fn read_host_words(&self, frame: Pfn, offset: u64, words: &mut [u64]);

    /// Writes 64-bit words to a host frame.
    fn write_host_words(&self, frame: Pfn, offset: u64, words: &[u64]);

    // --- Ward's own records in donated frames ---

    /// Moves `value` into `frames` contiguous frames from `first`, which Ward owns and nobody
    /// else can access. The caller has checked that it fits.
    fn place<T: Send>(&self, first: Pfn, frames: u64, value: T) -> Self::Placed<T>;

    /// Drops a placed value; its frames may be zeroed and returned afterwards.
    fn displace<T: Send>(&self, placed: Self::Placed<T>);

    // --- running guests ---

    /// This CPU leaves the host's EL1 state for the vCPU's: system registers, FP/SIMD, timer,
    /// virtual interrupt interface, stage 2 and trap controls.
    fn load_vcpu(&self, context: &mut Context, params: &RunParams);

    /// Runs the loaded vCPU until it traps; only general registers, PC and PSTATE move.
    fn enter_guest(&self, context: &mut Context) -> Trap;

    /// The reverse of [`Machine::load_vcpu`]: all of the vCPU's state into `context`, the host's
    /// back into the CPU, nothing of the guest's left in any register.
    fn unload_vcpu(&self, context: &mut Context, params: &RunParams);

    /// Whether the *loaded* vCPU still has the virtual SError pending that it was loaded with.
    fn serror_pending(&self) -> bool;

    /// Reads an EL1 register of the *loaded* vCPU (its value is in the CPU, not in `context`).
    fn guest_sysreg(&self, context: &Context, reg: SysReg) -> u64;

    /// Writes an EL1 register of the *loaded* vCPU.
    fn set_guest_sysreg(&self, context: &mut Context, reg: SysReg, value: u64);

    /// The hardware's value of the ID register `S3_0_C0_<crm>_<op2>`.
    fn id_register(&self, crm: u8, op2: u8) -> u64;

    // --- the rest ---

    /// The CPU this runs on.
    fn cpu(&self) -> CpuId;

    /// 64 bits from the CPU's random-number instruction, `None` when it has none or has none
    /// left now.
    fn random(&self) -> Option<u64>;

    /// Whether [`Machine::random`] can ever succeed.
    fn has_random(&self) -> bool;

    /// One line for the operator, to the console (the ring log is hyp-core's).
    fn console(&self, line: fmt::Arguments<'_>);
}

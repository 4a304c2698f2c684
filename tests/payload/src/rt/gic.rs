//! GICv3 (IHI 0069): enough for SGIs and private interrupts. The guest uses the CPU interface
//! only; its interrupts come from list registers.

use super::head::MAX_CPUS;
use super::{cpu, memory, smp};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The SGI that wakes a waiting CPU.
pub(crate) const WAKE: u64 = 1;
/// Virtual timer interrupt (a private one).
pub(crate) const VIRTUAL_TIMER: u64 = 27;
/// Physical timer interrupt (a private one).
pub(crate) const PHYSICAL_TIMER: u64 = 30;
const KINDS: usize = 32;

static COUNTS: [[AtomicU32; KINDS]; MAX_CPUS] =
    [const { [const { AtomicU32::new(0) }; KINDS] }; MAX_CPUS];
static DISTRIBUTOR: AtomicU64 = AtomicU64::new(0);
static REDISTRIBUTORS: AtomicU64 = AtomicU64::new(0);

const GICD_CTLR: u64 = 0;
const GICR_WAKER: u64 = 0x14;
const GICR_TYPER: u64 = 8;
const GICR_STRIDE: u64 = 0x2_0000;
const SGI_FRAME: u64 = 0x1_0000;
const IGROUPR0: u64 = 0x80;
const ISENABLER0: u64 = 0x100;
const ISACTIVER0: u64 = 0x300;
const IPRIORITYR: u64 = 0x400;

/// Enables the distributor (both addresses from the device tree).
pub(crate) fn init_distributor(distributor: u64, redistributors: u64) {
    DISTRIBUTOR.store(distributor, Ordering::Relaxed);
    REDISTRIBUTORS.store(redistributors, Ordering::Relaxed);
    // Affinity routing first, then the groups (IHI 0069 12.9.4).
    memory::write_device32(distributor + GICD_CTLR, 1 << 4);
    memory::write_device32(distributor + GICD_CTLR, 1 << 4 | 3);
}

/// Enables this CPU's SGIs and private interrupts.
pub(crate) fn init_cpu() {
    let frame = own_frame();
    memory::write_device32(frame + GICR_WAKER, 0);
    while memory::read_device32(frame + GICR_WAKER) & 1 << 2 != 0 {}
    let frame = frame + SGI_FRAME;
    memory::write_device32(frame + IGROUPR0, u32::MAX);
    for at in (0..32).step_by(4) {
        memory::write_device32(frame + IPRIORITYR + at, 0x8080_8080);
    }
    memory::write_device32(
        frame + ISENABLER0,
        0xffff | 1 << VIRTUAL_TIMER | 1 << PHYSICAL_TIMER,
    );
    init_cpu_interface();
}

/// This CPU's redistributor.
fn own_frame() -> u64 {
    let mut frame = REDISTRIBUTORS.load(Ordering::Relaxed);
    let affinity = affinity(read_sysreg!("mpidr_el1"));
    while u64::from(memory::read_device32(frame + GICR_TYPER + 4)) != affinity {
        frame += GICR_STRIDE;
    }
    frame
}

/// Enables the CPU interface: all that a guest has.
pub(crate) fn init_cpu_interface() {
    write_sysreg!("s3_0_c12_c12_5", 7); // ICC_SRE_EL1
    write_sysreg!("s3_0_c4_c6_0", 0xff); // ICC_PMR_EL1
    write_sysreg!("s3_0_c12_c12_7", 1); // ICC_IGRPEN1_EL1
}

/// Acknowledges and counts what is pending.
pub(crate) fn on_interrupt() {
    loop {
        let id = read_sysreg!("s3_0_c12_c12_0") & 0xff_ffff; // ICC_IAR1_EL1
        if id >= 1020 {
            return;
        }
        match id {
            // Level interrupts: the timer is masked until somebody sets it again.
            VIRTUAL_TIMER => write_sysreg!("cntv_ctl_el0", 3),
            PHYSICAL_TIMER => write_sysreg!("cntp_ctl_el0", 3),
            _ => {}
        }
        if let Some(count) = COUNTS[smp::current()].get(id as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        write_sysreg!("s3_0_c12_c12_1", id); // ICC_EOIR1_EL1
    }
}

/// How often this CPU took the interrupt.
pub(crate) fn count(id: u64) -> u32 {
    COUNTS[smp::current()][id as usize].load(Ordering::Relaxed)
}

/// Marks a private interrupt of this CPU as being handled: it cannot fire until deactivated.
pub(crate) fn set_active(id: u64) {
    memory::write_device32(own_frame() + SGI_FRAME + ISACTIVER0, 1 << id);
}

/// Sends an SGI to the CPU with this MPIDR.
pub(crate) fn send_sgi(mpidr: u64, id: u64) {
    let aff = |level: u64| mpidr >> level & 0xff;
    let value = aff(32) << 48
        | aff(16) << 32
        | id << 24
        | aff(8) << 16
        | (aff(0) & 0xf0) << 40
        | 1 << (aff(0) & 0xf);
    cpu::dsb();
    write_sysreg!("s3_0_c12_c11_5", value); // ICC_SGI1R_EL1
}

/// Sets this CPU's physical timer to fire `ticks` from now.
pub(crate) fn arm_physical_timer(ticks: u64) {
    write_sysreg!("cntp_tval_el0", ticks);
    write_sysreg!("cntp_ctl_el0", 1);
}

/// Sets this CPU's virtual timer to fire `ticks` from now.
pub(crate) fn arm_virtual_timer(ticks: u64) {
    write_sysreg!("cntv_tval_el0", ticks);
    write_sysreg!("cntv_ctl_el0", 1);
}

/// Affinity fields as a 32-bit number, as `GICR_TYPER` has them.
fn affinity(mpidr: u64) -> u64 {
    mpidr & 0xff_ffff | mpidr >> 32 << 24 & 0xff00_0000
}

//! Attacks by bus masters: devices behind the SMMU, and those that no SMMU stands before. For
//! QEMU's `virt` with an SMMUv3 and two `edu` devices.

mod gic;
mod masters;
mod memory;
mod race;
mod streams;

use crate::host::dma::{Dma, devices, done};
use crate::host::env::Env;
use crate::host::tally;
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};

/// Where QEMU's `virt` has what Ward hides from its host: the device tree does not say.
mod place {
    /// The SMMU's registers.
    pub(super) const SMMU: u64 = 0x0905_0000;
    /// Bytes of them.
    pub(super) const SMMU_SIZE: u64 = 0x2_0000;
    /// The firmware configuration device.
    pub(super) const FW_CFG: u64 = 0x0902_0000;
    /// The virtio-mmio transports.
    pub(super) const VIRTIO: u64 = 0x0a00_0000;
    /// Bytes from one to the next.
    pub(super) const VIRTIO_STRIDE: u64 = 0x200;
    /// How many.
    pub(super) const VIRTIO_COUNT: u64 = 32;
}

/// Runs all.
pub(super) fn run(env: &Env) {
    for tests in [
        memory::TESTS,
        race::TESTS,
        masters::TESTS,
        gic::TESTS,
        streams::TESTS,
    ] {
        tally::run(env, "dma", tests);
    }
}

/// A test with the devices, whose pages come back when it ends well.
fn with_devices(env: &Env, test: impl FnOnce(&[Dma; 2]) -> Outcome) -> Outcome {
    let devices = devices(env)?;
    test(&devices)?;
    done(devices)
}

/// A guest that hides secrets at [`SPARE`], and the frame that they are in.
fn hiding(env: &Env) -> Outcome<(Vm, u64)> {
    let vm = Vm::verified(env)?;
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    match vm.frame_of(SPARE) {
        Some(frame) => Ok((vm, frame)),
        None => fail!("no frame of the guest"),
    }
}

/// The guest finds its secrets as they were.
fn kept(vm: &Vm) -> Outcome {
    let wrong = vm.ask(mode::VERIFY, SPARE)?;
    same!(wrong, 0, "words of the guest that changed");
    Ok(())
}

/// The guest switches off; everything comes back, zero.
fn end(vm: Vm) -> Outcome {
    vm.shut_down()?;
    vm.destroy()
}

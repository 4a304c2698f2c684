//! Bus masters that no SMMU stands before: the host must not reach their registers.

use super::{end, hiding, kept, place};
use crate::host::attack;
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::rt::{memory, pages, probe, time};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("firmware-configuration-device", firmware_configuration),
    test("virtio-mmio", virtio),
];

/// `FWCfgDmaAccess`: select item 0, the signature, and read it. Big endian.
fn firmware_configuration(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let request = pages::take_one();
    memory::copy_in(request, &0x0000_000a_u32.to_be_bytes());
    memory::copy_in(request + 4, &4_u32.to_be_bytes());
    memory::copy_in(request + 8, &(frame + 0x80).to_be_bytes());
    // Refused, it does nothing: what counts is the guest's memory.
    let _ = probe::write(place::FW_CFG + 16, request.swap_bytes());
    kept(&vm)?;
    attack::must_abort_everywhere(place::FW_CFG, "the firmware configuration device")?;
    attack::must_abort(
        place::FW_CFG + 16,
        "the DMA register of the firmware configuration device",
    )?;
    pages::give(request, 1);
    end(vm)
}

/// Registers of a transport (virtio 1.2, 4.2.2).
mod reg {
    pub(super) const MAGIC: u64 = 0;
    pub(super) const VERSION: u64 = 4;
    pub(super) const DEVICE: u64 = 8;
    pub(super) const DRIVER_FEATURES: u64 = 0x20;
    pub(super) const DRIVER_FEATURES_SELECT: u64 = 0x24;
    pub(super) const QUEUE_SELECT: u64 = 0x30;
    pub(super) const QUEUE_SIZE: u64 = 0x38;
    pub(super) const QUEUE_READY: u64 = 0x44;
    pub(super) const QUEUE_NOTIFY: u64 = 0x50;
    pub(super) const STATUS: u64 = 0x70;
    /// Descriptors, what is available, what was used: two words each.
    pub(super) const QUEUE: [u64; 3] = [0x80, 0x90, 0xa0];
}

/// The entropy device.
const ENTROPY: u64 = 4;

/// Has the entropy device write to the guest's memory.
fn virtio(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let transports = (0..place::VIRTIO_COUNT).map(|n| place::VIRTIO + n * place::VIRTIO_STRIDE);
    for transport in transports.clone() {
        if probe::read_sized(transport + reg::DEVICE, 4) == Ok(ENTROPY) {
            draw(transport, frame + 0x80)?;
            kept(&vm)?;
        }
    }
    for transport in transports {
        attack::must_abort(transport + reg::MAGIC, "a virtio transport")?;
    }
    attack::must_abort_everywhere(place::VIRTIO, "a virtio transport")?;
    end(vm)
}

/// Asks the entropy device for bytes at `to`, and waits until it is done, for a second.
fn draw(transport: u64, to: u64) -> Outcome {
    // A register that is out of reach takes nothing.
    let write = |at, value| {
        let _ = probe::write_sized(transport + at, 4, value);
    };
    same!(
        probe::read_sized(transport + reg::VERSION, 4).ok(),
        Some(2),
        "version of the transport (QEMU: -global virtio-mmio.force-legacy=false)"
    );
    let queue = pages::take_one();
    memory::fill(queue, 4096, 0);
    let parts = [queue, queue + 0x100, queue + 0x200];
    // One descriptor: 64 bytes that the device writes; and it is available.
    memory::poke(parts[0], to);
    memory::poke(parts[0] + 8, 2 << 32 | 64);
    memory::poke(parts[1], 1 << 16);
    for status in [0, 1, 3] {
        write(reg::STATUS, status);
    }
    // VERSION_1.
    write(reg::DRIVER_FEATURES_SELECT, 1);
    write(reg::DRIVER_FEATURES, 1);
    write(reg::STATUS, 0xb);
    write(reg::QUEUE_SELECT, 0);
    write(reg::QUEUE_SIZE, 4);
    for (at, part) in reg::QUEUE.into_iter().zip(parts) {
        write(at, part & 0xffff_ffff);
        write(at + 4, part >> 32);
    }
    write(reg::QUEUE_READY, 1);
    write(reg::STATUS, 0xf);
    write(reg::QUEUE_NOTIFY, 0);
    let limit = time::now() + time::frequency();
    while memory::peek(parts[2]) >> 16 & 0xffff == 0 && time::now() < limit {
        core::hint::spin_loop();
    }
    write(reg::STATUS, 0);
    pages::give(queue, 1);
    Ok(())
}

//! The guest's machine: where its devices and its memory are.
//!
//! One machine for every guest, so that a tree that an owner signed at home fits every host. Which
//! of the virtio slots have a device is decided when the guest is started; an empty slot says so
//! when asked.
//!
//! | address | bytes | what | interrupt |
//! |---|---|---|---|
//! | `0x0800_0000` | 64 KiB | GICv3 distributor | |
//! | `0x0808_0000` | 128 KiB | GICv3 ITS | |
//! | `0x080a_0000` | 128 KiB a vCPU | GICv3 redistributors | |
//! | `0x0900_0000` | 4 KiB | PL011, the console | SPI 1 |
//! | `0x0901_0000` | 4 KiB | PL031, the clock | SPI 2 |
//! | `0x0902_0000` | 4 KiB | PL061, whose line 3 is the power button | SPI 3 |
//! | `0x0903_0000` | 4 KiB | pvpanic | |
//! | `0x0a00_0000` | 16 times 4 KiB | virtio-mmio slots | SPI 16 to 31, edge |
//! | `0x4000_0000` | as asked | RAM | |
//!
//! In RAM, from the bottom: the kernel with the memory behind its file that it clears for itself,
//! the initial RAM disk from the next 2 MiB, the device tree in the page after it; and at the top
//! (below 4 GiB) the pool of pages that the guest shares with its devices.

use crate::Error;
use crate::size::Size;

#[cfg(test)]
mod tests;

/// Bytes of a page.
const PAGE: u64 = hyp_core::addr::PAGE_SIZE;
/// The unit in which a host gives memory in one piece.
pub const BLOCK: u64 = 2 << 20;

/// The GICv3 distributor.
pub const GICD: Span = Span::new(0x0800_0000, 0x1_0000);
/// The GICv3 interrupt translation service.
pub const ITS: Span = Span::new(0x0808_0000, 0x2_0000);
/// Where the redistributors begin.
pub const GICR_BASE: u64 = 0x080a_0000;
/// Bytes of the redistributor of one vCPU.
pub const GICR_BYTES: u64 = 0x2_0000;
/// The PL011 UART.
pub const UART: Span = Span::new(0x0900_0000, PAGE);
/// Its SPI.
pub const UART_SPI: u32 = 1;
/// The PL031 clock.
pub const RTC: Span = Span::new(0x0901_0000, PAGE);
/// Its SPI.
pub const RTC_SPI: u32 = 2;
/// The PL061 GPIO controller.
pub const GPIO: Span = Span::new(0x0902_0000, PAGE);
/// Its SPI.
pub const GPIO_SPI: u32 = 3;
/// The line of the GPIO controller that is the power button.
pub const POWER_LINE: u32 = 3;
/// The pvpanic register, in a page of its own.
pub const PANIC: Span = Span::new(0x0903_0000, PAGE);
/// The first virtio-mmio slot; one page each.
pub const VIRTIO_BASE: u64 = 0x0a00_0000;
/// virtio-mmio slots.
pub const VIRTIO_SLOTS: u32 = 16;
/// The SPI of slot 0; the others follow.
pub const VIRTIO_SPI: u32 = 16;
/// Where RAM begins.
pub const RAM_BASE: u64 = 0x4000_0000;
/// SPIs that the interrupt controller needs, in the form that KVM wants: SGIs and PPIs included.
pub const INTERRUPTS: u32 = 64;

/// The largest and smallest pool of shared pages.
const POOL: (u64, u64) = (4 << 20, 64 << 20);
/// The least RAM of a guest.
const LEAST_RAM: u64 = 16 << 20;
/// The most: what lies above [`RAM_BASE`] in 40 bits of address.
const MOST_RAM: u64 = (1 << 40) - RAM_BASE;

/// A range of guest addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl Span {
    /// The `size` bytes from `start`.
    pub const fn new(start: u64, size: u64) -> Self {
        Span { start, size }
    }

    /// The first address after it.
    pub const fn end(&self) -> u64 {
        self.start + self.size
    }
}

/// The page of a virtio-mmio slot.
pub const fn virtio(slot: u32) -> Span {
    Span::new(VIRTIO_BASE + slot as u64 * PAGE, PAGE)
}

/// The redistributors of `cpus` vCPUs.
pub const fn gicr(cpus: u32) -> Span {
    Span::new(GICR_BASE, cpus as u64 * GICR_BYTES)
}

/// How much of a machine a guest gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    cpus: u32,
    memory: u64,
}

impl Machine {
    /// A machine of `cpus` vCPUs and `memory` bytes of RAM.
    ///
    /// # Errors
    /// [`Error::Machine`] when there can be no such machine.
    pub fn new(cpus: u32, memory: u64) -> Result<Self, Error> {
        let most = hyp_core::abi::MAX_VCPUS as u32;
        let bad = |what, remedy| Err(Error::Machine { what, remedy });
        if cpus == 0 || cpus > most {
            let what = format!("a guest cannot have {cpus} CPUs");
            return bad(what, format!("ask for 1 to {most} CPUs"));
        }
        if !memory.is_multiple_of(BLOCK) || !(LEAST_RAM..=MOST_RAM).contains(&memory) {
            let what = format!("a guest cannot have {} of memory", Size(memory));
            let remedy = "ask for a multiple of 2 MiB, from 16 MiB to 1023 GiB".to_owned();
            return bad(what, remedy);
        }
        Ok(Machine { cpus, memory })
    }

    /// vCPUs.
    pub const fn cpus(&self) -> u32 {
        self.cpus
    }

    /// All of its RAM, in one piece.
    pub const fn ram(&self) -> Span {
        Span::new(RAM_BASE, self.memory)
    }

    /// The pages that an unmodified guest kernel shares with its devices: an eighth of small
    /// guests, 64 MiB from 512 MiB up.
    pub fn pool(&self) -> Span {
        let size = (self.memory / 8).clamp(POOL.0, POOL.1) / BLOCK * BLOCK;
        // Below 4 GiB, where devices with 32-bit addresses reach it too.
        let end = self.ram().end().min(1 << 32);
        Span::new(end - size, size)
    }

    /// Everything that is not RAM, as the manifest lists it: what touches is one range.
    pub fn mmio(&self) -> Vec<Span> {
        let its_and_redistributors = Span::new(ITS.start, ITS.size + gicr(self.cpus).size);
        let slots = Span::new(VIRTIO_BASE, u64::from(VIRTIO_SLOTS) * PAGE);
        let gic = [GICD, its_and_redistributors];
        [gic.as_slice(), &[UART, RTC, GPIO, PANIC, slots]].concat()
    }
}

/// What a kernel wants of its place; see [`crate::kernel`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelShape {
    /// Bytes of the file that are loaded.
    pub file: u64,
    /// Bytes from a multiple of 2 MiB to its first byte.
    pub text_offset: u64,
    /// Bytes that it takes, from its first byte, when it runs.
    pub image_size: u64,
}

/// Where everything that a guest starts from is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The machine.
    pub machine: Machine,
    /// The kernel's file.
    pub kernel: Span,
    /// All that the kernel takes, which is more than its file.
    pub kernel_memory: Span,
    /// The initial RAM disk.
    pub initrd: Option<Span>,
    /// The page of the device tree.
    pub tree: u64,
    /// The pages shared with devices; a guest that shares everything with its host needs none.
    pub pool: Option<Span>,
}

impl Layout {
    /// Gives kernel, RAM disk (`initrd` bytes of it, if any) and device tree their places.
    ///
    /// # Errors
    /// [`Error::Machine`] when they do not fit into the machine's memory.
    pub fn new(machine: Machine, kernel: KernelShape, initrd: Option<u64>) -> Result<Self, Error> {
        let pool = machine.pool();
        let needs = Self::need(kernel, initrd);
        let has = pool.start - RAM_BASE;
        let Some(needs) = needs.filter(|&needs| needs <= has) else {
            return Err(too_small(machine, kernel, initrd, needs));
        };
        let start = RAM_BASE + kernel.text_offset;
        let kernel_memory = Span::new(start, kernel.image_size.max(kernel.file));
        let after = kernel_memory.end().next_multiple_of(BLOCK);
        let initrd = initrd.filter(|&size| size > 0);
        Ok(Layout {
            machine,
            kernel: Span::new(start, kernel.file),
            kernel_memory,
            initrd: initrd.map(|size| Span::new(after, size)),
            tree: RAM_BASE + needs - TREE_BYTES,
            pool: Some(pool),
        })
    }

    /// The same without the pool: what a guest bounces through it costs two copies, and one that is
    /// not protected need not.
    pub fn without_pool(self) -> Self {
        Layout { pool: None, ..self }
    }

    /// Bytes from the start of RAM to the end of the device tree; `None` when that is more than
    /// numbers can say.
    fn need(kernel: KernelShape, initrd: Option<u64>) -> Option<u64> {
        let taken = kernel.image_size.max(kernel.file);
        let kernel_end = kernel.text_offset.checked_add(taken)?;
        let initrd_end = kernel_end
            .checked_next_multiple_of(BLOCK)?
            .checked_add(initrd.unwrap_or(0))?;
        initrd_end
            .checked_next_multiple_of(PAGE)?
            .checked_add(TREE_BYTES)
            .filter(|&bytes| bytes < MOST_RAM)
    }
}

/// What is kept for the device tree: 64 vCPUs and 16 slots take less than 16 KiB, the command line
/// 2 KiB at most.
pub const TREE_BYTES: u64 = 8 * PAGE;

fn too_small(
    machine: Machine,
    kernel: KernelShape,
    initrd: Option<u64>,
    needs: Option<u64>,
) -> Error {
    let what = format!(
        "{} of memory are too small: the kernel takes {} when it runs, the initrd {}, the device tree \
         {}, and {} are kept to share with devices",
        Size(machine.memory),
        Size(
            kernel
                .text_offset
                .saturating_add(kernel.image_size.max(kernel.file))
        ),
        Size(initrd.unwrap_or(0)),
        Size(TREE_BYTES),
        Size(machine.pool().size),
    );
    let remedy = match needs.and_then(least_memory) {
        Some(least) => format!(
            "ask for at least {}; the guest's programs need more than that",
            Size(least)
        ),
        None => "these files fit into no guest: check them".to_owned(),
    };
    Error::Machine { what, remedy }
}

/// The least memory that has `needs` bytes below its pool.
fn least_memory(needs: u64) -> Option<u64> {
    let mut memory = needs.checked_next_multiple_of(BLOCK)?.max(LEAST_RAM);
    // The pool grows by an eighth of what is added, so this ends; above 4 GiB of address it never
    // fits.
    while memory <= MOST_RAM {
        let machine = Machine { cpus: 1, memory };
        let missing = needs.saturating_sub(machine.pool().start - RAM_BASE);
        if missing == 0 {
            return Some(memory);
        }
        if machine.ram().end() > 1 << 32 {
            return None;
        }
        memory += missing.next_multiple_of(BLOCK);
    }
    None
}

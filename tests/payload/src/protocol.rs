//! What test host and test guest agree on: the guest's address space and its one device.

/// The guest's RAM.
pub(crate) const RAM: u64 = 0x4000_0000;
/// Bytes of it.
pub(crate) const RAM_SIZE: u64 = 64 << 20;
/// Where the guest's program is.
pub(crate) const PROGRAM: u64 = RAM;
/// Where its data image is; also the boot argument. The bytes are those of [`data_byte`].
pub(crate) const DATA: u64 = RAM + (4 << 20);
/// Bytes of the data image: one whole page and a part of a second.
pub(crate) const DATA_SIZE: u64 = 4096 + 904;
/// RAM that no image uses, 2 MiB aligned.
pub(crate) const SPARE: u64 = RAM + (8 << 20);
/// The emulated device: a region of the manifest.
pub(crate) const MMIO: u64 = 0x0900_0000;
/// Bytes of the region.
pub(crate) const MMIO_SIZE: u64 = 0x2000;
/// The interrupt controller's distributor and redistributors, where a VMM has the kernel emulate
/// them; regions of the demo's manifest.
pub(crate) const GICD: u64 = 0x0800_0000;
/// See [`GICD`].
pub(crate) const GICR: u64 = 0x080a_0000;
/// A page in no region, which the guest enrols by MMIO_GUARD; the same device appears there.
pub(crate) const GUARDED: u64 = 0x0a00_0000;
/// An address in no region that nobody enrols.
pub(crate) const NOWHERE: u64 = 0x2000_0000;

/// Byte `index` of the data image.
pub(crate) const fn data_byte(index: u64) -> u8 {
    (index * 7 + index / 256 + 3) as u8
}

/// Registers of the device, by offset.
pub(crate) mod reg {
    /// Write: one character.
    pub(crate) const CONSOLE: u64 = 0x00;
    /// Read: what the host wants next, see [`mode`](super::mode).
    pub(crate) const MODE: u64 = 0x08;
    /// Read and write, any size: holds what was written.
    pub(crate) const SCRATCH: u64 = 0x10;
    /// Write: the host does something for the guest, see [`command`](super::command).
    pub(crate) const COMMAND: u64 = 0x18;
    /// Write: argument of the next command. Read: argument of the mode.
    pub(crate) const ARGUMENT: u64 = 0x20;
    /// Read: result of the last command. Write: result of the mode.
    pub(crate) const RESULT: u64 = 0x28;
    /// Write: how many of the guest's checks were wrong; before SYSTEM_OFF.
    pub(crate) const REPORT: u64 = 0x30;
    /// Any access: the host refuses, and the guest takes an abort.
    pub(crate) const REFUSED: u64 = 0x38;
    /// Write: a measured value: number << 48 | value.
    pub(crate) const MEASURED: u64 = 0x40;
}

/// What the host wants of the guest.
pub(crate) mod mode {
    /// Check everything, then switch off.
    pub(crate) const CHECK: u64 = 1;
    /// Measure, then switch off.
    pub(crate) const MEASURE: u64 = 2;
    /// Wait for an interrupt, then ask again.
    pub(crate) const HOLD: u64 = 3;
    /// Switch off.
    pub(crate) const OFF: u64 = 4;
    /// Read the argument's address; the result is the word, or [`FAULTED`](super::FAULTED).
    pub(crate) const READ: u64 = 5;
    /// Write [`SECRET`](super::SECRET) patterns to the page at the argument's address.
    pub(crate) const HIDE: u64 = 6;
    /// Check that the page still holds them; the result is the number of wrong words.
    pub(crate) const VERIFY: u64 = 7;
    /// Run in circles without any exit until interrupted.
    pub(crate) const SPIN: u64 = 8;
    /// Ask for a restart.
    pub(crate) const RESET: u64 = 9;
    /// Share the page at the argument's address; the result is the call's.
    pub(crate) const SHARE: u64 = 10;
    /// End that.
    pub(crate) const UNSHARE: u64 = 11;
    /// Turn vCPU 1 on, which then does as it is told as well; the result is PSCI's.
    pub(crate) const SECOND: u64 = 12;
    /// Read the scratch register with secrets in every register; the result is 0 if they are all
    /// what they were.
    pub(crate) const KEEP: u64 = 13;
    /// Measure what KVM can be compared by, then ask again: see `guest::compare`.
    pub(crate) const COMPARE: u64 = 14;
    /// Give the page at the argument's address back; the result is the call's.
    pub(crate) const RELINQUISH: u64 = 15;
    /// Write secret 0 to the word at the argument's address, by an instruction whose syndrome
    /// describes the access.
    pub(crate) const WRITE: u64 = 16;
}

/// What the guest wants of the host.
pub(crate) mod command {
    /// The page at the argument is shared: check [`TO_HOST`](super::TO_HOST) in its first word,
    /// put [`TO_GUEST`](super::TO_GUEST) into its second. Result 1 if so.
    pub(crate) const ECHO: u64 = 1;
    /// The page at the argument is not shared: result 1 if reading and writing it fails.
    pub(crate) const REFUSED: u64 = 2;
    /// Make the interrupt of the argument's number pending.
    pub(crate) const INTERRUPT: u64 = 3;
    /// Interrupt the next run after so many microseconds.
    pub(crate) const KICK: u64 = 4;
    /// Result: exits of the reason in the argument so far.
    pub(crate) const EXITS: u64 = 5;
    /// From now on ask for these bits of `ICH_HCR_EL2` besides the enable.
    pub(crate) const TRAPS: u64 = 6;
}

/// Result of a read that took an abort.
pub(crate) const FAULTED: u64 = 0xdead_0000_0000_0000;
/// The upper half of every secret: what the host searches for.
pub(crate) const SECRET: u64 = 0x5ec2_e7a5 << 32;
/// First word of a shared page.
pub(crate) const TO_HOST: u64 = 0x6775_6573_7400_0001;
/// Second word of a shared page.
pub(crate) const TO_GUEST: u64 = 0x686f_7374_0000_0002;

/// Secret number `n`.
pub(crate) const fn secret(n: u64) -> u64 {
    SECRET | 0x1000_0000 | n
}

/// Is the word a secret?
pub(crate) const fn is_secret(word: u64) -> bool {
    word & 0xffff_ffff_0000_0000 == SECRET
}

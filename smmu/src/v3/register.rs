//! Registers and their fields (IHI 0070, 6.2 and 6.3).

/// Offset of a register from the base of the SMMU's first page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Register(pub u32);

/// What the SMMU can do, 6.3.1.
pub const IDR0: Register = Register(0x0);
/// Sizes, 6.3.2.
pub const IDR1: Register = Register(0x4);
/// More abilities, 6.3.4.
pub const IDR3: Register = Register(0xc);
/// Address sizes and granules, 6.3.6.
pub const IDR5: Register = Register(0x14);
/// Which version of the architecture, 6.3.8.
pub const AIDR: Register = Register(0x1c);
/// Enables, 6.3.9.
pub const CR0: Register = Register(0x20);
/// Which enables have taken effect, 6.3.10.
pub const CR0ACK: Register = Register(0x24);
/// Attributes of accesses to tables and queues, 6.3.11.
pub const CR1: Register = Register(0x28);
/// Broadcast maintenance and unknown streams, 6.3.12.
pub const CR2: Register = Register(0x2c);
/// What happens to transactions while translation is off, 6.3.14.
pub const GBPA: Register = Register(0x44);
/// Interrupt enables, 6.3.17.
pub const IRQ_CTRL: Register = Register(0x50);
/// Interrupt enables that have taken effect, 6.3.18.
pub const IRQ_CTRLACK: Register = Register(0x54);
/// Global errors: active where it differs from [`GERRORN`], 6.3.19.
pub const GERROR: Register = Register(0x60);
/// Acknowledged global errors, 6.3.20.
pub const GERRORN: Register = Register(0x64);
/// Address of the stream table, 6.3.24.
pub const STRTAB_BASE: Register = Register(0x80);
/// Its shape and size, 6.3.25.
pub const STRTAB_BASE_CFG: Register = Register(0x88);
/// Address and size of the command queue, 6.3.26.
pub const CMDQ_BASE: Register = Register(0x90);
/// Where Ward writes commands next, 6.3.27.
pub const CMDQ_PROD: Register = Register(0x98);
/// Which command the SMMU reads next, and the error that stopped it, 6.3.28.
pub const CMDQ_CONS: Register = Register(0x9c);
/// Address and size of the event queue, 6.3.29.
pub const EVENTQ_BASE: Register = Register(0xa0);
/// Where the SMMU writes events next; in the second page (6.3, EVENTQ_PROD).
pub const EVENTQ_PROD: Register = Register(0x1_00a8);
/// Which event Ward reads next; in the second page (6.3, EVENTQ_CONS).
pub const EVENTQ_CONS: Register = Register(0x1_00ac);

/// `CR0.SMMUEN`: streams are translated.
pub const CR0_SMMUEN: u32 = 1 << 0;
/// `CR0.EVENTQEN`: events are recorded.
pub const CR0_EVENTQEN: u32 = 1 << 2;
/// `CR0.CMDQEN`: commands are read.
pub const CR0_CMDQEN: u32 = 1 << 3;
/// `CR0.ATSCHK`: a device that says it has translated itself is checked.
pub const CR0_ATSCHK: u32 = 1 << 4;

/// `CR1`: tables and queues are inner shareable, inner and outer write-back.
pub const CR1_COHERENT: u32 = 0b11_01_01 << 6 | 0b11_01_01;
/// `CR1`: outer shareable, not cached, for an SMMU that does not snoop.
pub const CR1_UNCACHED: u32 = 0b10_00_00 << 6 | 0b10_00_00;

/// `CR2.RECINVSID`: an access of a stream beyond the table is recorded.
pub const CR2_RECINVSID: u32 = 1 << 1;
/// `CR2.PTM`: broadcast maintenance of the CPUs is not obeyed; commands do all of it.
pub const CR2_PTM: u32 = 1 << 2;

/// `GBPA.ABORT`: what is not translated is ended with an abort.
pub const GBPA_ABORT: u32 = 1 << 20;
/// `GBPA.UPDATE`: set to write the register, clear when it has taken effect.
pub const GBPA_UPDATE: u32 = 1 << 31;

/// `GERROR.CMDQ_ERR`: the command queue has stopped at an error.
pub const GERROR_CMDQ: u32 = 1 << 0;

/// Bit 62 of a queue's or table's base: allocate in caches.
pub const BASE_ALLOCATE: u64 = 1 << 62;
/// `STRTAB_BASE_CFG.FMT`: two levels.
pub const STRTAB_TWO_LEVEL: u32 = 1 << 16;

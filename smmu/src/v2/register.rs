//! Registers and fields that Ward writes itself (IHI 0062). All of them: [`table`](super::table).

/// First page: global register space 0.
pub const CR0: u32 = 0x000;
/// VMID of streams in bypass, of which there are none.
pub const CR2: u32 = 0x008;
/// Auxiliary control, of the implementation.
pub const ACR: u32 = 0x010;
/// Identification 0 to 2, and 7: the revision.
pub const IDR0: u32 = 0x020;
/// Number of banks, size of pages.
pub const IDR1: u32 = 0x024;
/// Address sizes and granules.
pub const IDR2: u32 = 0x028;
/// Revision.
pub const IDR7: u32 = 0x03c;
/// Global faults; a written 1 clears.
pub const GFSR: u32 = 0x048;
/// Forgets all of one VMID.
pub const TLBIVMID: u32 = 0x064;
/// Forgets all that is neither secure nor EL2's.
pub const TLBIALLNSNH: u32 = 0x068;
/// Forgets all of EL2.
pub const TLBIALLH: u32 = 0x06c;
/// Asks that all invalidations be completed.
pub const TLBGSYNC: u32 = 0x070;
/// Bit 0: they are not yet.
pub const TLBGSTATUS: u32 = 0x074;
/// Stream match of group 0; the others follow.
pub const SMR: u32 = 0x800;
/// What is done with streams of group 0.
pub const S2CR: u32 = 0xc00;

/// Second page: attributes of context bank 0.
pub const CBAR: u32 = 0x000;
/// Second page: which stream context bank 0 recorded a fault of.
pub const CBFRSYNRA: u32 = 0x400;
/// Second page: more of them.
pub const CBA2R: u32 = 0x800;

/// A context bank's page: control.
pub const SCTLR: u32 = 0x000;
/// Auxiliary control, of the implementation.
pub const ACTLR: u32 = 0x004;
/// Root table.
pub const TTBR0: u32 = 0x020;
/// Shape of tables, as `VTCR_EL2`.
pub const TCR: u32 = 0x030;
/// Faults; a written 1 clears.
pub const FSR: u32 = 0x058;
/// The address of the first fault.
pub const FAR: u32 = 0x060;
/// What kind of access it was.
pub const FSYNR0: u32 = 0x068;
/// `FAR`, `FSYNR0`, `FSYNR1`, `IPAFAR`: the first fault, word by word.
pub const FAULT_RECORD: [u32; 6] = [0x060, 0x064, 0x068, 0x06c, 0x070, 0x074];
/// Forgets stage 2 of the leaf around a page, and the walk to it.
pub const TLBIIPAS2: u32 = 0x630;

/// `sCR0.CLIENTPD`: everything passes.
pub const CR0_CLIENTPD: u32 = 1 << 0;
/// `sCR0` as firmware left it, until its groups are gone: `CLIENTPD`, `EXIDENABLE` (streams have 16
/// bits), `VMID16EN`.
pub const CR0_LEFT: u32 = CR0_CLIENTPD | 1 << 3 | 1 << 31;
/// `sCR0`: what of global faults is recorded and raises interrupts. The host may choose.
pub const CR0_REPORTS: u32 = 0b11_0110;
/// `sCR0.STALLD`: no stream can be made to wait.
pub const CR0_STALLD: u32 = 1 << 8;
/// `sCR0.USFCFG`: a stream that no group matches is ended.
pub const CR0_USFCFG: u32 = 1 << 10;
/// `sCR0.VMIDPNE`, `PTM`: VMIDs are not the CPU's, nor is its broadcast maintenance obeyed.
pub const CR0_PRIVATE: u32 = 0b11 << 11;
/// `sCR0.SMCFCFG`: a stream that two groups match is ended.
pub const CR0_SMCFCFG: u32 = 1 << 21;
/// What `sCR0` always holds.
pub const CR0_FIXED: u32 = CR0_STALLD | CR0_USFCFG | CR0_PRIVATE | CR0_SMCFCFG;

/// `SMR.VALID`.
pub const SMR_VALID: u32 = 1 << 31;
/// `S2CR.TYPE`.
pub const S2CR_TYPE: u32 = 0b11 << 16;
/// `S2CR.TYPE`: translate by the bank in bits 7:0.
pub const S2CR_TRANSLATE: u32 = 0b00 << 16;
/// `S2CR.TYPE`: pass. Never written.
pub const S2CR_BYPASS: u32 = 0b01 << 16;
/// `S2CR.TYPE`: end.
pub const S2CR_FAULT: u32 = 0b10 << 16;
/// `S2CR.EXIDVALID`: the group is valid, where stream identifiers have 16 bits.
pub const S2CR_EXTENDED: u32 = 1 << 10;

/// `CBAR.TYPE` and what follows it upwards. 0 is stage 2 alone.
pub const CBAR_NOT_STAGE2: u32 = 0xffff_0000;
/// `CBA2R.VA64`.
pub const CBA2R_VA64: u32 = 1 << 0;

/// `SCTLR.CFIE`: a fault raises an interrupt. The host may choose for its own.
pub const SCTLR_CFIE: u32 = 1 << 6;
/// `SCTLR` of each bank: translate (M), no faults by access flag (AFE, AFFD), faults are recorded
/// (CFRE), ended (CFCFG is 0), and later accesses go on beside an unread one (HUPCF).
pub const SCTLR_FIXED: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8;

/// `sACR.CACHE_LOCK` of an MMU-500: `ACTLR` can't be written.
pub const MMU500_CACHE_LOCK: u32 = 1 << 26;
/// `ACTLR.CPRE` of an MMU-500: fetches translations ahead.
pub const MMU500_PREFETCH: u32 = 1 << 1;

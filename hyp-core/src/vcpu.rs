//! vCPUs: what a trap means, what the host may see of it, and what the guest gets in return.
//!
//! Pure functions over values; nothing here touches hardware. The run loop reads:
//! [`trap::classify`] says what happened; calls go to [`guest_call::decide`], system registers to
//! [`sysreg::decide`], aborts to [`mmio`]; an exit passes [`exit::filter`] and leaves a
//! [`pending::Pending`] that [`pending::complete`] settles before the next entry.
//!
//! Nothing a guest does stops Ward: a trap that no row of a table names becomes an exception in
//! the guest.

pub mod context;
pub mod encoding;
pub mod esr;
pub mod exit;
pub mod gic;
pub mod guest_call;
pub mod idregs;
pub mod inject;
pub mod mmio;
pub mod pending;
pub mod psci;
pub mod sysreg;
pub mod trap;
pub mod trng;
pub mod window;

/// Bits of `HCR_EL2` a host may ask for at a run: TWI, TWE and VSE (DDI 0487 D24.2.54). The rest
/// is Ward's.
pub const HCR_REQUEST: u64 = 1 << 13 | 1 << 14 | 1 << 8;

/// `HCR_EL2.VSE`: a virtual SError is pending.
pub const HCR_VSE: u64 = 1 << 8;

#[cfg(test)]
mod tests;

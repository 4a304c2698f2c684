//! Loads and stores of the host and of guests.

use super::walk::Access;
use super::{Fake, Sched, State};

/// A stage-2 fault as the syndrome reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Fault status code: class and level (DDI 0487, ISS of a data abort, DFSC).
    pub status: u64,
    /// The translation was there and did not permit the access.
    pub permission: bool,
    /// The access flag was clear.
    pub access_flag: bool,
}

impl Fault {
    /// No valid descriptor at this level.
    pub fn translation(level: u8) -> Self {
        Fault {
            status: 0b000100 | u64::from(level),
            permission: false,
            access_flag: false,
        }
    }

    /// A leaf that does not permit this.
    pub fn permission(level: u8, _access: Access) -> Self {
        Fault {
            status: 0b001100 | u64::from(level),
            permission: true,
            access_flag: false,
        }
    }

    /// A leaf not used so far.
    pub fn access_flag(level: u8) -> Self {
        Fault {
            status: 0b001000 | u64::from(level),
            permission: false,
            access_flag: true,
        }
    }
}

/// What unwritten device memory reads.
pub const fn device_value(pa: u64) -> u64 {
    pa ^ 0xdead_0000_0000
}

impl State {
    /// A load or store at stage 2 only: 8 bytes at `ipa`, through CPU `cpu`'s TLB.
    ///
    /// # Errors
    /// The stage-2 fault.
    pub fn access(
        &mut self,
        cpu: u16,
        vm: u16,
        ipa: u64,
        write: Option<u64>,
        cached: bool,
    ) -> Result<u64, Fault> {
        let kind = if write.is_some() {
            Access::Write
        } else {
            Access::Read
        };
        let leaf = self.translate(cpu, vm, ipa, kind)?;
        let offset = ipa & ((leaf.frames() << 12) - 1);
        let (pfn, index) = (leaf.pfn + (offset >> 12), (ipa as usize & 0xfff) / 8);
        if !self.ram.contains(pfn) {
            let pa = pfn << 12 | ipa & 0xfff;
            if let Some(value) = write {
                self.device_writes.push((pa, value));
            }
            return Ok(write.unwrap_or(device_value(pa)));
        }
        match write {
            Some(value) if cached => self.ram.write_cached(pfn, index, value),
            Some(value) => self.ram.write_through(pfn, index, value),
            None if cached => return Ok(self.ram.word(pfn, index)),
            None => return Ok(self.ram.memory_word(pfn, index)),
        }
        Ok(write.unwrap_or(0))
    }
}

impl<S: Sched> Fake<S> {
    /// The host loads 8 bytes, on the calling thread's CPU.
    ///
    /// # Errors
    /// The stage-2 fault that Ward would be entered with.
    pub fn host_read(&self, ipa: u64) -> Result<u64, Fault> {
        S::point();
        self.state().access(S::cpu(), 0, ipa, None, true)
    }

    /// The host stores 8 bytes.
    ///
    /// # Errors
    /// As [`Fake::host_read`].
    pub fn host_write(&self, ipa: u64, value: u64) -> Result<(), Fault> {
        S::point();
        self.state()
            .access(S::cpu(), 0, ipa, Some(value), true)
            .map(drop)
    }

    /// A guest's load outside a scripted run: through this CPU's TLB, caches on.
    ///
    /// # Errors
    /// As [`Fake::host_read`].
    pub fn guest_read(&self, vm: u16, ipa: u64) -> Result<u64, Fault> {
        self.state().access(S::cpu(), vm, ipa, None, true)
    }

    /// A guest's store outside a scripted run.
    ///
    /// # Errors
    /// As [`Fake::host_read`].
    pub fn guest_write(&self, vm: u16, ipa: u64, value: u64) -> Result<(), Fault> {
        self.state()
            .access(S::cpu(), vm, ipa, Some(value), true)
            .map(drop)
    }
}

//! The walker: TLB first, then the walk cache, then the tables in RAM.

use super::State;
use super::access::Fault;
use super::tables::{Leaf, frames_at, is_table, output, valid};

/// What an access wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Instruction fetch.
    Fetch,
}

/// Access flag of a descriptor.
const AF: u64 = 1 << 10;

impl State {
    /// Translates for a CPU as its hardware would: through whatever its TLB still holds.
    ///
    /// # Errors
    /// The stage-2 fault.
    ///
    /// # Panics
    /// When the VM has no table.
    pub fn translate(
        &mut self,
        cpu: u16,
        vm: u16,
        ipa: u64,
        access: Access,
    ) -> Result<Leaf, Fault> {
        let leaf = match self.cpus[usize::from(cpu)].tlb.leaf(vm, ipa) {
            Some(leaf) => leaf,
            None => self.walk(cpu, vm, ipa)?,
        };
        let perms = leaf.perms();
        let permitted = match access {
            Access::Read => perms.read,
            Access::Write => perms.write,
            Access::Fetch => perms.exec && perms.read,
        };
        if permitted {
            Ok(leaf)
        } else {
            Err(Fault::permission(leaf.level, access))
        }
    }

    fn walk(&mut self, cpu: u16, vm: u16, ipa: u64) -> Result<Leaf, Fault> {
        let regime = self
            .tables
            .regime(vm)
            .unwrap_or_else(|| panic!("vm {vm} has no table"));
        let cached = self.cpus[usize::from(cpu)].tlb.walk(vm, ipa);
        let span = 9 * (3 - u32::from(regime.level)) + 12;
        let start = ipa >> span;
        if start >= regime.frames * 512 {
            return Err(Fault::translation(0));
        }
        let (mut level, mut table) = cached.unwrap_or((regime.level, regime.root + start / 512));
        loop {
            let index = (ipa >> 12) / frames_at(level) % 512;
            if !self.ram.contains(table) {
                self.violate(format!("vm {vm}: walk of {ipa:#x} left RAM at {table:#x}"));
                return Err(Fault::translation(level));
            }
            let entry = self.ram.word(table, index as usize);
            if !valid(entry) {
                return Err(Fault::translation(level));
            }
            if is_table(entry, level) {
                table = output(entry);
                level += 1;
                self.cpus[usize::from(cpu)]
                    .tlb
                    .keep_walk(vm, ipa, level, table);
                continue;
            }
            return self.accessed(cpu, vm, ipa, (table, index as usize), level, entry);
        }
    }

    /// A valid leaf was found: the access flag decides whether it may be used (DDI 0487 D8.5).
    fn accessed(
        &mut self,
        cpu: u16,
        vm: u16,
        ipa: u64,
        at: (u64, usize),
        level: u8,
        mut entry: u64,
    ) -> Result<Leaf, Fault> {
        if entry & AF == 0 {
            if !self.hardware_af {
                return Err(Fault::access_flag(level));
            }
            entry |= AF;
            self.tables.write(&self.ram, at.0, at.1, entry);
            self.ram.write_through(at.0, at.1, entry);
        }
        self.cpus[usize::from(cpu)]
            .tlb
            .keep_leaf(vm, ipa, level, entry);
        Ok(Leaf {
            pfn: output(entry),
            level,
            entry,
        })
    }
}

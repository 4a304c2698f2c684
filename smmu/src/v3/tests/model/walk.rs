//! From a stream and an address to memory, and what is recorded when it does not go on.

use super::{State, TlbEntry};

/// Why an access was ended: the event's code, or 0 where none is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blocked(pub(crate) u8);

impl State {
    pub(super) fn access(
        &mut self,
        stream: u32,
        address: u64,
        write: bool,
        real: bool,
    ) -> Result<u64, Blocked> {
        // In transition the old and the new value may be used.
        let (new, old) = (self.reg(0x20), self.reg(0x24));
        let enabled = if self.chance(2) { new } else { old } & 1 != 0;
        if !enabled {
            if !real || self.aborts() {
                return Err(Blocked(0));
            }
            self.bypassed = true;
            return Ok(address);
        }
        let result = self.translate(stream, address, write, real);
        if let Err(Blocked(code)) = result
            && real
            && code != 0
        {
            self.record(stream, address, write, code);
        }
        result
    }

    fn translate(
        &mut self,
        stream: u32,
        address: u64,
        write: bool,
        real: bool,
    ) -> Result<u64, Blocked> {
        let entry = self.entry(stream, real)?;
        if entry[0] & 1 == 0 {
            return Err(Blocked(4));
        }
        match entry[0] >> 1 & 7 {
            0..=3 => return Err(Blocked(0)),
            6 => {}
            4 => {
                self.bypassed = true;
                return Ok(address);
            }
            _ => return Err(Blocked(4)),
        }
        let vmid = entry[2] as u16;
        // ILLEGAL entries (5.2): 64-bit tables of 4 KiB, a root, a width that the SMMU has.
        let bits = 64 - (entry[2] >> 32 & 63) as u32;
        let start = 2u32.wrapping_sub((entry[2] >> 38 & 3) as u32);
        let width = [32, 36, 40, 42, 44, 48][(self.reg(0x14) & 7) as usize];
        let covered = 12 + 9 * (4 - start.min(3));
        if entry[2] >> 51 & 1 == 0
            || entry[2] >> 46 & 3 != 0
            || start > 1
            || bits > width
            || entry[3] >> width != 0
            || bits > covered + 4
            || bits + 9 <= covered
            || entry[1] >> 28 & 3 != 0
        {
            return Err(Blocked(4));
        }
        if address >> bits != 0 {
            return Err(Blocked(0x10));
        }
        let hit = self
            .tlb
            .iter()
            .find(|e| e.vmid == vmid && (e.base..e.base + (1 << e.shift)).contains(&address));
        let leaf = match hit {
            Some(leaf) => *leaf,
            None => self.walk(vmid, entry[3], start, bits, address)?,
        };
        if write && !leaf.write {
            return Err(Blocked(0x13));
        }
        Ok(leaf.pa + (address - leaf.base))
    }

    /// The stream's entry, kept from before if it was: valid or not.
    /// Looking ahead it reads a word or two at a time, in any order; for a device, the rest.
    fn entry(&mut self, stream: u32, real: bool) -> Result<[u64; 8], Blocked> {
        let config = self.reg(0x88);
        if u64::from(stream) >> (config & 63) != 0 {
            return Err(Blocked(2));
        }
        if let Some(entry) = self.configs.get(&stream) {
            return Ok(*entry);
        }
        let base = self.reg(0x80) & 0x000f_ffff_ffff_ffc0;
        // Without `IDR0.ST_LEVEL` the format is not looked at.
        let two_level = config >> 16 & 3 != 0 && self.reg(0) >> 27 & 3 != 0;
        let at = if !two_level {
            base + u64::from(stream) * 64
        } else {
            let index = stream >> 8;
            let read = self.word(base + u64::from(index) * 8);
            let descriptor = *self.descriptors.entry(index).or_insert(read);
            let span = descriptor & 31;
            if span == 0 || u64::from(stream & 0xff) >> (span - 1) != 0 {
                return Err(Blocked(2));
            }
            (descriptor & 0x000f_ffff_ffff_ffc0) + u64::from(stream & 0xff) * 64
        };
        let mut words = self.fetching.remove(&stream).unwrap_or_default();
        for (n, word) in (0u64..).zip(&mut words) {
            if word.is_none() && (real || self.chance(3)) {
                *word = Some(self.word(at + n * 8));
            }
        }
        if words.contains(&None) {
            self.fetching.insert(stream, words);
            return Err(Blocked(0));
        }
        let entry = words.map(Option::unwrap_or_default);
        self.configs.insert(stream, entry);
        Ok(entry)
    }

    fn walk(
        &mut self,
        vmid: u16,
        root: u64,
        start: u32,
        bits: u32,
        address: u64,
    ) -> Result<TlbEntry, Blocked> {
        let mut table = root;
        for level in start..=3 {
            let shift = 12 + 9 * (3 - level);
            if let Some(&way) = self.ways.get(&(vmid, level, address >> (shift + 9)))
                && level > start
            {
                table = way;
            }
            let index = match level == start {
                true => address >> shift & ((1 << (bits - shift)) - 1),
                false => address >> shift & 511,
            };
            let descriptor = self.word(table + index * 8);
            let output = descriptor & 0x0000_ffff_ffff_f000;
            match (descriptor & 3, level) {
                (3, 0..=2) => {
                    let key = (vmid, level + 1, address >> shift);
                    table = *self.ways.entry(key).or_insert(output);
                }
                (3, _) | (1, 1 | 2) => {
                    let entry = TlbEntry {
                        vmid,
                        base: address >> shift << shift,
                        shift,
                        pa: output,
                        write: descriptor >> 7 & 1 != 0,
                    };
                    self.tlb.push(entry);
                    return Ok(entry);
                }
                _ => break,
            }
        }
        Err(Blocked(0x10))
    }

    /// Writes an event record, or notes that one is missing (7.2).
    pub(crate) fn record(&mut self, stream: u32, address: u64, write: bool, code: u8) {
        if self.reg(0x24) & 4 == 0 {
            return;
        }
        let (prod, cons) = (self.reg(0x1_00a8), self.reg(0x1_00ac));
        let order = self.reg(0xa0) & 31;
        let mask = (2 << order) - 1;
        if prod.wrapping_sub(cons) & mask == 1 << order {
            if (prod ^ cons) >> 31 & 1 == 0 {
                self.regs.insert(0x1_00a8, prod ^ 1 << 31);
            }
            return;
        }
        let base = self.reg(0xa0) & 0x000f_ffff_ffff_ffe0;
        let at = base + (prod & (mask >> 1)) * 32;
        let flags = u64::from(!write) << 35 | 1 << 39 | 2 << 40;
        self.ram
            .insert(at, u64::from(code) | u64::from(stream) << 32);
        self.ram.insert(at + 8, flags);
        self.ram.insert(at + 16, address);
        self.ram.insert(at + 24, address & !0xfff);
        let next = (prod & 1 << 31) | ((prod + 1) & mask);
        self.regs.insert(0x1_00a8, next);
    }
}

//! The command queue, from the SMMU's side (chapter 4).

use super::State;

/// A command that stops the queue.
enum Stop {
    Illegal,
    Fetch,
}

impl State {
    /// Consumes one command, if there is one and nothing stands against it.
    pub(super) fn consume(&mut self) {
        let (prod, cons) = (self.reg(0x98), self.reg(0x9c));
        let order = self.reg(0x90) & 31;
        let mask = (2 << order) - 1;
        let position = cons & mask;
        if self.reg(0x24) & 8 == 0
            || self.active(0)
            || prod & mask == position
            || self.faults.queue_stops
        {
            return;
        }
        let base = self.reg(0x90) & 0x000f_ffff_ffff_ffe0;
        let at = base + (cons & (mask >> 1)) * 16;
        let command = [self.word(at), self.word(at + 8)];
        match self.run(command) {
            Ok(true) => {
                let next = (position + 1) & mask;
                self.regs.insert(0x9c, next);
            }
            Ok(false) => {}
            Err(stop) => {
                let code = match stop {
                    Stop::Illegal => 1,
                    Stop::Fetch => 2,
                };
                self.regs.insert(0x9c, position | code << 24);
                self.raise(0);
            }
        }
    }

    /// Whether the command is consumed.
    fn run(&mut self, command: [u64; 2]) -> Result<bool, Stop> {
        if self.faults.fetch_aborts > 0 {
            self.faults.fetch_aborts -= 1;
            return Err(Stop::Fetch);
        }
        let opcode = command[0] as u8;
        if let Some((code, times)) = &mut self.faults.illegal
            && *code == opcode
            && *times > 0
        {
            *times -= 1;
            return Err(Stop::Illegal);
        }
        match opcode {
            0x46 => {
                if self.faults.sync_hangs {
                    return Ok(false);
                }
                assert_eq!(command, [0x46, 0]);
                for command in core::mem::take(&mut self.consumed) {
                    self.perform(command);
                }
            }
            0x03 | 0x04 | 0x28 | 0x2a | 0x30 => {
                self.check(command)?;
                self.consumed.push(command);
            }
            0x20 if self.reg(0) & 1 << 9 != 0 => self.consumed.push(command),
            _ => return Err(Stop::Illegal),
        }
        Ok(true)
    }

    fn check(&self, [first, second]: [u64; 2]) -> Result<(), Stop> {
        if first as u8 != 0x2a {
            return Ok(());
        }
        let (num, scale, tg) = (first >> 12 & 31, first >> 20 & 63, second >> 10 & 3);
        let ranged = self.reg(0xc) & super::RIL != 0;
        let reserved = match tg {
            0 => num | scale != 0,
            1 => !ranged || num | scale == 0 || scale > 31,
            _ => true,
        };
        if reserved || second & 0x3ff != 0 {
            return Err(Stop::Illegal);
        }
        Ok(())
    }

    fn perform(&mut self, command: [u64; 2]) {
        self.done.push(command);
        let [first, second] = command;
        let vmid = (first >> 32) as u16;
        match first as u8 {
            // Leaf: the way to the entry may stay.
            0x03 => {
                let stream = (first >> 32) as u32;
                self.configs.remove(&stream);
                self.fetching.remove(&stream);
                if second & 1 == 0 {
                    self.descriptors.remove(&(stream >> 8));
                }
            }
            0x04 => {
                self.configs.clear();
                self.fetching.clear();
                self.descriptors.clear();
            }
            0x28 => {
                self.tlb.retain(|entry| entry.vmid != vmid);
                self.ways.retain(|key, _| key.0 != vmid);
            }
            0x30 => {
                self.tlb.clear();
                self.ways.clear();
            }
            0x2a => {
                let start = second & 0x000f_ffff_ffff_f000;
                let pages = match second >> 10 & 3 {
                    0 => 1,
                    _ => ((first >> 12 & 31) + 1) << (first >> 20 & 31),
                };
                let end = start + (pages << 12);
                self.tlb.retain(|entry| {
                    let last = entry.base + (1 << entry.shift);
                    entry.vmid != vmid || entry.base >= end || last <= start
                });
                self.ways.retain(|&(of, level, above), _| {
                    let shift = 12 + 9 * (4 - level);
                    of != vmid || above << shift >= end || (above + 1) << shift <= start
                });
            }
            _ => {}
        }
    }
}

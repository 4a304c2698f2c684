//! Registers: when they may be written, when they take effect (6.3).

use super::State;

const CR0: u32 = 0x20;
const CR0ACK: u32 = 0x24;
const GBPA: u32 = 0x44;
/// What of `GBPA` is in effect.
const IN_EFFECT: u32 = 0xffff_0044;
const UPDATE: u64 = 1 << 31;

impl State {
    fn enabled(&self, bit: u64) -> bool {
        (self.reg(CR0) | self.reg(CR0ACK)) & bit != 0
    }

    pub(super) fn write_register(&mut self, register: u32, value: u64) {
        match register {
            CR0 => {
                let pending = self.reg(CR0) ^ self.reg(CR0ACK);
                let changed = value ^ self.reg(CR0);
                assert_eq!(pending & changed, 0, "CR0 field in transition");
                assert_eq!(value & 1 << 1, 0, "PRI is never enabled");
            }
            0x80 | 0x88 => assert!(!self.enabled(1), "stream table moved in use"),
            0x90 | 0x9c => assert!(!self.enabled(8), "command queue moved in use"),
            0x98 if self.enabled(8) => self.check_producer(value),
            0xa0 | 0x1_00a8 => assert!(!self.enabled(4), "event queue moved in use"),
            0x28 => assert!(!self.enabled(0xf), "CR1 in use"),
            0x2c => assert!(!self.enabled(1), "CR2 in use"),
            GBPA => {
                assert_eq!(self.reg(GBPA) & UPDATE, 0, "GBPA while it changes");
                // Without UPDATE the write is ignored; the new value is shown, and used late.
                if value & UPDATE == 0 {
                    return;
                }
                assert_ne!(value & 1 << 20, 0, "bypass is never chosen");
            }
            0x24 | 0x60 => panic!("write to a read-only register {register:#x}"),
            _ => {}
        }
        self.regs.insert(register, value);
    }

    /// The producer never passes the consumer (3.21.2).
    fn check_producer(&self, value: u64) {
        let entries = 1 << (self.reg(0x90) & 31);
        let mask = 2 * entries - 1;
        let old = self.reg(0x98).wrapping_sub(self.reg(0x9c)) & mask;
        let new = value.wrapping_sub(self.reg(0x9c)) & mask;
        assert!(
            old <= new && new <= entries,
            "PROD {value:#x} after {old:#x}"
        );
    }

    pub(super) fn settle_registers(&mut self) {
        if self.chance(4) && !self.faults.enables_hang {
            let changed = self.reg(CR0) ^ self.reg(CR0ACK);
            if changed != 0 {
                // One field at a time.
                let bit = 1 << changed.trailing_zeros();
                let ack = self.reg(CR0ACK) ^ bit;
                self.regs.insert(CR0ACK, ack);
            }
        }
        if self.chance(4) && !self.faults.bypass_hangs && self.reg(GBPA) & UPDATE != 0 {
            let new = self.reg(GBPA) & !UPDATE;
            self.regs.insert(GBPA, new);
            self.regs.insert(IN_EFFECT, new);
        }
        let interrupts = self.reg(0x50);
        self.regs.insert(0x54, interrupts);
    }

    /// Is what is not translated ended?
    pub(super) fn aborts(&self) -> bool {
        self.reg(IN_EFFECT) & 1 << 20 != 0
    }

    /// Raises a global error that is not active.
    pub(crate) fn raise(&mut self, bit: u32) {
        let (error, acknowledged) = (self.reg(0x60), self.reg(0x64));
        if (error ^ acknowledged) & 1 << bit == 0 {
            self.regs.insert(0x60, error ^ 1 << bit);
        }
    }

    pub(super) fn active(&self, bit: u32) -> bool {
        (self.reg(0x60) ^ self.reg(0x64)) & 1 << bit != 0
    }
}

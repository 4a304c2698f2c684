//! QEMU, told what to do over its test protocol: a line for each access, a line as the answer.

use smmu::v3::{Hardware, Register, StreamId};
use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const CODE: &str = "loader,addr=0x40000000,data=0x17ffffffd503207f,data-len=8";
const START: &str = "loader,addr=0x40000000,cpu-num=0";
const SMMU: u64 = 0x0905_0000;
const ECAM: u64 = 0x40_1000_0000;
const BAR: u64 = 0x1000_0000;
/// Slot 2 of bus 0.
const DEVICE: u32 = 2 << 3;

pub(crate) struct Qemu {
    child: RefCell<Child>,
    to: RefCell<ChildStdin>,
    from: RefCell<BufReader<ChildStdout>>,
    looks: Cell<u64>,
}

impl Qemu {
    /// `None` where QEMU is not installed.
    pub(crate) fn start() -> Option<Self> {
        let mut child = Command::new("qemu-system-aarch64")
            .args(["-machine", "virt,iommu=smmuv3,gic-version=3"])
            // One CPU, which sleeps: `wfi; b .-4`. No test accelerator is needed for the protocol.
            .args(["-cpu", "cortex-a72", "-accel", "tcg", "-m", "256"])
            .args(["-nodefaults"])
            .args(["-device", CODE, "-device", START])
            .args(["-display", "none", "-qtest", "stdio"])
            // Without the mask the device cuts addresses off after 28 bits.
            .args(["-device", "edu,addr=2.0,dma_mask=0xffffffffffffffff"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let to = child.stdin.take()?;
        let from = BufReader::new(child.stdout.take()?);
        Some(Qemu {
            child: RefCell::new(child),
            to: RefCell::new(to),
            from: RefCell::new(from),
            looks: Cell::new(0),
        })
    }

    fn ask(&self, request: &str) -> u64 {
        writeln!(self.to.borrow_mut(), "{request}").expect("QEMU listens");
        let mut line = String::new();
        self.from
            .borrow_mut()
            .read_line(&mut line)
            .expect("QEMU answers");
        let answer = line.trim().strip_prefix("OK");
        let answer = answer.unwrap_or_else(|| panic!("{request}: {line:?}"));
        match answer.trim().strip_prefix("0x") {
            Some(value) => u64::from_str_radix(value, 16).expect("a number"),
            None => 0,
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Hardware for Qemu {
    fn read32(&self, register: Register) -> u32 {
        self.ask(&format!("readl {:#x}", SMMU + u64::from(register.0))) as u32
    }

    fn write32(&self, register: Register, value: u32) {
        self.ask(&format!(
            "writel {:#x} {value:#x}",
            SMMU + u64::from(register.0)
        ));
    }

    fn write64(&self, register: Register, value: u64) {
        self.ask(&format!(
            "writeq {:#x} {value:#x}",
            SMMU + u64::from(register.0)
        ));
    }

    fn load(&self, at: u64) -> u64 {
        self.ask(&format!("readq {at:#x}"))
    }

    fn store(&self, at: u64, value: u64) {
        self.ask(&format!("writeq {at:#x} {value:#x}"));
    }

    fn order(&self) {}

    fn deadline(&self) -> u64 {
        self.looks.get() + 1000
    }

    fn expired(&self, deadline: u64) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.looks.get() > deadline
    }
}

/// QEMU's teaching device: copies between its buffer and any address.
pub(crate) struct Edu;

impl Edu {
    pub(crate) fn enable(qemu: &Qemu) -> Self {
        let config = ECAM + (u64::from(DEVICE) << 12);
        assert_eq!(qemu.ask(&format!("readl {config:#x}")), 0x11e8_1234);
        qemu.ask(&format!("writel {:#x} {BAR:#x}", config + 0x10));
        // Memory space, bus master.
        qemu.ask(&format!("writew {:#x} 0x6", config + 4));
        Edu
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId(DEVICE)
    }

    pub(crate) fn read_from(&self, qemu: &Qemu, address: u64) {
        Self::transfer(qemu, address, 0x4_0000, 1);
    }

    pub(crate) fn write_to(&self, qemu: &Qemu, address: u64) {
        Self::transfer(qemu, 0x4_0000, address, 3);
    }

    fn transfer(qemu: &Qemu, from: u64, to: u64, command: u64) {
        for (at, value) in [(0x80, from), (0x88, to), (0x90, 8), (0x98, command)] {
            qemu.ask(&format!("writeq {:#x} {value:#x}", BAR + at));
        }
        // The device takes 100 ms, and says no more than that it has ended.
        while qemu.ask(&format!("readq {:#x}", BAR + 0x98)) & 1 != 0 {
            sleep(Duration::from_millis(5));
        }
    }
}

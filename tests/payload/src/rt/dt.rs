//! What the test host needs from the device tree.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

use super::head::MAX_CPUS;
use super::memory;

/// Ranges of one kind at most.
pub(crate) const MAX_RANGES: usize = 16;

/// Addresses from `start` up to, not including, `end`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    /// First address.
    pub(crate) start: u64,
    /// First address behind.
    pub(crate) end: u64,
}

impl Range {
    /// A range by size.
    pub(crate) const fn sized(start: u64, size: u64) -> Self {
        Range {
            start,
            end: start.saturating_add(size),
        }
    }

    /// Do the two have an address in common?
    pub(crate) const fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.end - self.start
    }
}

/// A short list of ranges.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Ranges {
    list: [Range; MAX_RANGES],
    count: usize,
}

impl Ranges {
    /// Appends one, unless the list is full or the range empty.
    pub(crate) fn push(&mut self, range: Range) {
        if self.count < MAX_RANGES && range.start < range.end {
            self.list[self.count] = range;
            self.count += 1;
        }
    }

    /// The ranges.
    pub(crate) fn get(&self) -> &[Range] {
        &self.list[..self.count]
    }

    /// Does one of them overlap `range`?
    pub(crate) fn overlap(&self, range: &Range) -> bool {
        self.get().iter().any(|one| one.overlaps(range))
    }
}

/// The machine, as the device tree describes it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Board {
    /// RAM that is the host's to use or that is reserved in [`Board::reserved`].
    pub(crate) ram: Ranges,
    /// Parts of it that hold something: device tree, modules, firmware.
    pub(crate) reserved: Ranges,
    /// Modules that are data: signed bundles.
    pub(crate) modules: Ranges,
    /// The PL011.
    pub(crate) uart: u64,
    /// The GICv3's distributor.
    pub(crate) gicd: u64,
    /// Its first redistributor.
    pub(crate) gicr: u64,
    /// Its interrupt translation service; 0: none.
    pub(crate) its: u64,
    /// The configuration space of the PCI host bridge; 0: none.
    pub(crate) ecam: u64,
    /// Where functions behind it can have 32-bit memory.
    pub(crate) pci_window: u64,
    /// MPIDR of each CPU.
    pub(crate) mpidr: [u64; MAX_CPUS],
    /// CPUs, at most [`MAX_CPUS`].
    pub(crate) cpus: usize,
    /// PSCI is called by SMC (else by HVC).
    pub(crate) psci_smc: bool,
    /// `/chosen` bootargs.
    pub(crate) bootargs: &'static str,
}

/// Reads the device tree at `address`; `None` when there is none.
pub(crate) fn read(address: u64) -> Option<Board> {
    let header = memory::bytes(address, 8);
    if header[..4] != [0xd0, 0x0d, 0xfe, 0xed] {
        return None;
    }
    let size = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let fdt = Fdt::new(memory::bytes(address, u64::from(size))).ok()?;
    let mut board = Board::default();
    board.reserved.push(Range::sized(address, u64::from(size)));
    fdt.memory_reservations()
        .for_each(|r| board.reserved.push(Range::sized(r.address(), r.size())));
    for node in fdt.root().children() {
        match node.name_without_address() {
            "memory" => ranges(node, |range| board.ram.push(range)),
            "reserved-memory" => node
                .children()
                .for_each(|n| ranges(n, |range| board.reserved.push(range))),
            "cpus" => node.children().for_each(|cpu| board.add_cpu(cpu)),
            "chosen" => board.read_chosen(node),
            "psci" => board.psci_smc = text(node, "method") == Some("smc"),
            _ => board.read_device(node),
        }
    }
    Some(board)
}

impl Board {
    /// The start of the GiB in which RAM begins; Ward's memory may lie before the host's there.
    pub(crate) fn ram_gib(&self) -> u64 {
        let starts = self.ram.get().iter().map(|bank| bank.start);
        starts.min().unwrap_or(0) & !((1 << 30) - 1)
    }

    /// The end of RAM.
    pub(crate) fn ram_end(&self) -> u64 {
        let ends = self.ram.get().iter().map(|bank| bank.end);
        ends.max().unwrap_or(0)
    }

    /// An address that no bank of RAM reaches, with any alignment that a mapping may want.
    pub(crate) fn beyond_ram(&self) -> u64 {
        self.ram_end().next_multiple_of(1 << 30)
    }

    /// An address where nothing is, well clear of RAM.
    pub(crate) fn hole(&self) -> u64 {
        self.beyond_ram() + (1 << 30)
    }

    fn add_cpu(&mut self, cpu: FdtNode<'static>) {
        if text(cpu, "device_type") != Some("cpu") || self.cpus == MAX_CPUS {
            return;
        }
        if let Some(value) = cpu.property("reg") {
            self.mpidr[self.cpus] = number(value.value());
            self.cpus += 1;
        }
    }

    fn read_chosen(&mut self, chosen: FdtNode<'static>) {
        self.bootargs = text(chosen, "bootargs").unwrap_or("");
        let initrd = |name| chosen.property(name).map(|p| number(p.value()));
        if let (Some(start), Some(end)) = (initrd("linux,initrd-start"), initrd("linux,initrd-end"))
        {
            self.modules.push(Range { start, end });
            self.reserved.push(Range { start, end });
        }
        for node in chosen.children() {
            let is = |what: &str| {
                node.compatible()
                    .is_some_and(|mut list| list.any(|one| one == what))
            };
            let Some(reg) = node.property("reg").filter(|_| is("multiboot,module")) else {
                continue;
            };
            let (start, size) = reg.value().split_at(reg.value().len() / 2);
            let range = Range::sized(number(start), number(size));
            self.reserved.push(range);
            if is("multiboot,ramdisk") && !self.modules.overlap(&range) {
                self.modules.push(range);
            }
        }
    }

    fn read_device(&mut self, node: FdtNode<'static>) {
        let is = |what: &str| {
            node.compatible()
                .is_some_and(|mut list| list.any(|one| one == what))
        };
        let mut regs = Ranges::default();
        if is("arm,pl011") {
            ranges(node, |range| regs.push(range));
            if self.uart == 0 {
                self.uart = regs.list[0].start;
            }
        } else if is("arm,gic-v3") {
            ranges(node, |range| regs.push(range));
            (self.gicd, self.gicr) = (regs.list[0].start, regs.list[1].start);
            node.children().for_each(|child| self.read_device(child));
        } else if is("arm,gic-v3-its") {
            ranges(node, |range| regs.push(range));
            self.its = regs.list[0].start;
        } else if is("pci-host-ecam-generic") {
            ranges(node, |range| regs.push(range));
            self.ecam = regs.list[0].start;
            self.pci_window = pci_window(node).unwrap_or(0);
        }
    }

    /// Memory that no one uses, without `also`.
    pub(crate) fn free(&self, also: Range) -> Ranges {
        let mut used = self.reserved;
        used.push(also);
        let mut free = Ranges::default();
        for bank in self.ram.get() {
            let mut at = bank.start;
            while at < bank.end {
                let inside = used.get().iter().find(|r| r.start <= at && at < r.end);
                if let Some(inside) = inside {
                    at = inside.end;
                    continue;
                }
                let next = used
                    .get()
                    .iter()
                    .map(|r| r.start)
                    .filter(|start| *start > at)
                    .min();
                let end = next.unwrap_or(bank.end).min(bank.end);
                free.push(Range { start: at, end });
                at = end;
            }
        }
        free
    }
}

fn ranges(node: FdtNode<'static>, mut each: impl FnMut(Range)) {
    let Ok(Some(regs)) = node.reg() else { return };
    for reg in regs {
        if let (Ok(start), Ok(size)) = (reg.address::<u64>(), reg.size::<u64>()) {
            each(Range::sized(start, size));
        }
    }
}

/// Where the CPU finds the bridge's 32-bit memory: `ranges` has three cells for the bus's address,
/// the first of which says what kind it is, two for the CPU's, two for the size.
fn pci_window(bridge: FdtNode<'static>) -> Option<u64> {
    let ranges = bridge.property("ranges")?;
    let mut rows = ranges.value().chunks_exact(28);
    let row = rows.find(|row| row[0] & 3 == 2)?;
    Some(number(&row[12..20]))
}

fn text(node: FdtNode<'static>, name: &str) -> Option<&'static str> {
    node.property(name)?.value_as::<&'static str>().ok()
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

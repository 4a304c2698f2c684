//! What the device tree says about the machine (Devicetree Specification 0.4), and how the
//! host's copy of it is written.
//!
//! The tree comes from firmware and is trusted, but not to be complete: whatever Ward needs and
//! does not find is a [`Missing`] that says so on the console.

pub mod host;

use arrayvec::ArrayVec;
use core::fmt;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property, ToCellInt};
use hyp_core::addr::PAGE_SIZE;

/// CPUs Ward can bring up.
pub const MAX_CPUS: usize = 64;
const MAX_SPANS: usize = 32;

/// A range of physical addresses, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub base: u64,
    /// Bytes; the end does not wrap.
    pub size: u64,
}

impl Span {
    /// The range of `size` bytes at `base`, if it does not wrap.
    pub fn new(base: u64, size: u64) -> Option<Self> {
        base.checked_add(size).map(|_| Span { base, size })
    }

    /// The first byte after the range.
    pub const fn end(self) -> u64 {
        self.base + self.size
    }

    /// Do the two ranges share a byte?
    pub const fn overlaps(self, other: Span) -> bool {
        self.base < other.end() && other.base < self.end()
    }

    /// Is all of `other` in this range?
    pub const fn contains(self, other: Span) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// The smallest range of whole pages that contains this one.
    pub fn to_pages(self) -> Self {
        let base = self.base & !(PAGE_SIZE - 1);
        Span {
            base,
            size: self.end().next_multiple_of(PAGE_SIZE) - base,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.end())
    }
}

/// A short list of [`Span`]s.
pub type Spans = ArrayVec<Span, MAX_SPANS>;

/// What the machine lacks, or has in a form Ward does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Not a device tree, or a damaged one.
    Tree,
    /// No PL011 to print on.
    Console,
    /// No memory node with a range.
    Memory,
    /// More ranges of memory, reservations or modules than Ward has room for.
    TooMany,
    /// No CPU node, or more than [`MAX_CPUS`].
    Cpus,
    /// No `arm,gic-v3` with a distributor and a redistributor.
    Gic,
    /// No PSCI node, or one whose method is not `smc`.
    Psci,
    /// No `/chosen` module with compatible `multiboot,kernel`.
    Kernel,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Tree => "x0 does not point to a valid device tree",
            Missing::Console => "the device tree names no PL011 console",
            Missing::Memory => "the device tree has no memory node",
            Missing::TooMany => "the device tree has more than 32 ranges of memory, reservations or modules",
            Missing::Cpus => "the device tree has no CPUs, or more than 64",
            Missing::Gic => "the device tree has no GICv3 (on QEMU: -machine virt,gic-version=3)",
            Missing::Psci => "the device tree has no PSCI with method \"smc\" (on QEMU: -machine virt,virtualization=on)",
            Missing::Kernel => {
                "no host to start: /chosen has no module with compatible \"multiboot,kernel\" \
                 (on QEMU: -device guest-loader,addr=0x50000000,kernel=FILE)"
            }
        })
    }
}

/// A boot module of `/chosen`, in the Xen style (Xen docs/misc/arm/device-tree/booting.txt).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module<'a> {
    /// Where it is.
    pub span: Span,
    /// Its command line.
    pub bootargs: Option<&'a str>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Platform<'a> {
    /// RAM: memory nodes, in whole pages, without what firmware keeps unmapped.
    pub ram: Spans,
    /// RAM that is taken: `/memreserve/` entries and `/reserved-memory`.
    pub reserved: Spans,
    /// Reserved RAM that nobody may map (`no-map`): taken out of [`Platform::ram`].
    pub no_map: Spans,
    /// Distributor and redistributors of the GICv3, and what else its node names.
    pub gic: Spans,
    /// `MPIDR_EL1` affinities of the CPUs that are not disabled.
    pub cpus: ArrayVec<u64, MAX_CPUS>,
    /// The host's kernel.
    pub kernel: Module<'a>,
    /// The host's initial RAM disk, if there is one.
    pub ramdisk: Option<Module<'a>>,
    /// All other modules.
    pub modules: ArrayVec<Module<'a>, 8>,
}

fn spans_of(node: FdtNode<'_>) -> impl Iterator<Item = Span> + '_ {
    node.reg()
        .ok()
        .flatten()
        .into_iter()
        .flatten()
        .filter_map(|reg| Span::new(reg.address::<u64>().ok()?, reg.size::<u64>().ok()?))
}

/// The bytes of a property.
fn value<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a [u8]> {
    node.property(name)?.value_as::<&'a [u8]>().ok()
}

fn enabled(node: &FdtNode<'_>) -> bool {
    matches!(value(node, "status"), None | Some(b"okay\0" | b"ok\0"))
}

/// Depth-first search; the tree is as deep as the caller's stack may bear.
fn find<'a>(
    node: FdtNode<'a>,
    depth: u32,
    test: &dyn Fn(&FdtNode<'a>) -> bool,
) -> Option<FdtNode<'a>> {
    if test(&node) {
        return Some(node);
    }
    if depth == 0 {
        return None;
    }
    node.children()
        .find_map(|child| find(child, depth - 1, test))
}

const DEPTH: u32 = 6;

/// The registers of the PL011 that `/chosen` names as `stdout-path`, else of the first one.
///
/// # Errors
/// [`Missing::Console`].
pub fn console(fdt: Fdt<'_>) -> Result<Span, Missing> {
    let is_pl011 = |node: &FdtNode<'_>| node.is_compatible("arm,pl011");
    let named = || {
        let chosen = fdt.find_node("/chosen")?;
        let path = chosen.property("stdout-path")?.value_as::<&str>().ok()?;
        let path = path.split(':').next()?;
        let node = match path.strip_prefix('/') {
            Some(_) => fdt.find_node(path)?,
            None => {
                let alias = fdt.find_node("/aliases")?.property(path)?;
                fdt.find_node(alias.value_as::<&str>().ok()?)?
            }
        };
        is_pl011(&node).then_some(node)
    };
    let any = || find(fdt.root(), DEPTH, &|node| is_pl011(node) && enabled(node));
    let node = named().or_else(any).ok_or(Missing::Console)?;
    spans_of(node).next().ok_or(Missing::Console)
}

/// Adds `span` to `spans` unless it is empty.
fn push(spans: &mut Spans, span: Span) -> Result<(), Missing> {
    if span.size == 0 {
        return Ok(());
    }
    spans.try_push(span).map_err(|_| Missing::TooMany)
}

/// Takes `hole` out of every range.
///
/// # Errors
/// [`Missing::TooMany`] when a range falls in two and there is no room.
pub fn subtract(spans: &mut Spans, hole: Span) -> Result<(), Missing> {
    let mut rest = Spans::new();
    for &span in spans.iter() {
        if !span.overlaps(hole) {
            push(&mut rest, span)?;
            continue;
        }
        if span.base < hole.base {
            push(
                &mut rest,
                Span {
                    base: span.base,
                    size: hole.base - span.base,
                },
            )?;
        }
        if hole.end() < span.end() {
            push(
                &mut rest,
                Span {
                    base: hole.end(),
                    size: span.end() - hole.end(),
                },
            )?;
        }
    }
    *spans = rest;
    Ok(())
}

impl<'a> Platform<'a> {
    /// Reads the tree.
    ///
    /// # Errors
    /// What is [`Missing`].
    pub fn discover(fdt: Fdt<'a>) -> Result<Self, Missing> {
        let (ram, reserved, no_map) = memory(fdt)?;
        let (kernel, ramdisk, modules) = modules(fdt)?;
        Ok(Platform {
            ram,
            reserved,
            no_map,
            gic: gic(fdt)?,
            cpus: {
                psci(fdt)?;
                cpus(fdt)?
            },
            kernel,
            ramdisk,
            modules,
        })
    }
}

fn memory(fdt: Fdt<'_>) -> Result<(Spans, Spans, Spans), Missing> {
    let mut ram = Spans::new();
    for node in fdt.root().children() {
        if value(&node, "device_type") == Some(b"memory\0") && enabled(&node) {
            for span in spans_of(node) {
                // Whole pages inside the range.
                let base = span.base.next_multiple_of(PAGE_SIZE);
                let end = span.end() & !(PAGE_SIZE - 1);
                push(
                    &mut ram,
                    Span {
                        base,
                        size: end.saturating_sub(base),
                    },
                )?;
            }
        }
    }
    let mut reserved = Spans::new();
    let mut no_map = Spans::new();
    for entry in fdt.memory_reservations() {
        if let Some(span) = Span::new(entry.address(), entry.size()) {
            push(&mut reserved, span)?;
        }
    }
    for node in fdt
        .find_node("/reserved-memory")
        .iter()
        .flat_map(|all| all.children())
    {
        for span in spans_of(node) {
            let list = if node.property("no-map").is_some() {
                &mut no_map
            } else {
                &mut reserved
            };
            push(list, span.to_pages())?;
        }
    }
    for &hole in &no_map {
        subtract(&mut ram, hole)?;
    }
    if ram.is_empty() {
        return Err(Missing::Memory);
    }
    // A few elements: an insertion sort, for the size of core's.
    for n in 1..ram.len() {
        for at in (1..=n).rev() {
            if ram[at - 1].base > ram[at].base {
                ram.swap(at - 1, at);
            }
        }
    }
    Ok((ram, reserved, no_map))
}

fn gic(fdt: Fdt<'_>) -> Result<Spans, Missing> {
    let node = find(fdt.root(), DEPTH, &|node| {
        node.is_compatible("arm,gic-v3") && enabled(node)
    });
    let spans: Spans = spans_of(node.ok_or(Missing::Gic)?)
        .take(MAX_SPANS)
        .collect();
    if spans.len() < 2 {
        return Err(Missing::Gic);
    }
    Ok(spans)
}

fn psci(fdt: Fdt<'_>) -> Result<(), Missing> {
    let node = fdt.find_node("/psci").ok_or(Missing::Psci)?;
    let known = ["arm,psci-1.0", "arm,psci-0.2"];
    let method = node.property("method").ok_or(Missing::Psci)?;
    if !known.iter().any(|name| node.is_compatible(name)) || method.value() != b"smc\0" {
        return Err(Missing::Psci);
    }
    Ok(())
}

fn cpus(fdt: Fdt<'_>) -> Result<ArrayVec<u64, MAX_CPUS>, Missing> {
    let mut found = ArrayVec::new();
    let all = fdt.find_node("/cpus").ok_or(Missing::Cpus)?;
    for node in all.children() {
        if node.name_without_address() != "cpu" || !enabled(&node) {
            continue;
        }
        let reg = node.reg().ok().flatten().and_then(|mut reg| reg.next());
        let mpidr = reg
            .and_then(|reg| reg.address::<u64>().ok())
            .ok_or(Missing::Cpus)?;
        found.try_push(mpidr).map_err(|_| Missing::Cpus)?;
    }
    if found.is_empty() {
        Err(Missing::Cpus)
    } else {
        Ok(found)
    }
}

/// `reg` of a module. QEMU writes it with the root's cells and leaves out the properties that
/// would say so in `/chosen`, so where those are missing the root's count, not the default.
fn module_span(fdt: Fdt<'_>, chosen: &FdtNode<'_>, node: &FdtNode<'_>) -> Option<Span> {
    let space = match chosen.property("#address-cells") {
        Some(_) => chosen.address_space(),
        None => fdt.root().address_space(),
    };
    let cells = [space.address_cells as usize, space.size_cells as usize];
    let [base, size] = node
        .property("reg")?
        .as_prop_encoded_array(cells)
        .ok()?
        .next()?;
    let span = Span::new(base.to_int().ok()?, size.to_int().ok()?)?;
    (span.size > 0).then_some(span)
}

type Modules<'a> = (Module<'a>, Option<Module<'a>>, ArrayVec<Module<'a>, 8>);

fn modules(fdt: Fdt<'_>) -> Result<Modules<'_>, Missing> {
    let chosen = fdt.find_node("/chosen").ok_or(Missing::Kernel)?;
    let (mut kernel, mut ramdisk, mut rest) = (None, None, ArrayVec::new());
    for node in chosen.children() {
        let is_kernel = node.is_compatible("multiboot,kernel");
        let is_ramdisk = node.is_compatible("multiboot,ramdisk");
        if !is_kernel && !is_ramdisk && !node.is_compatible("multiboot,module") {
            continue;
        }
        let Some(span) = module_span(fdt, &chosen, &node) else {
            continue;
        };
        let bootargs = node
            .property("bootargs")
            .and_then(|args| args.value_as::<&str>().ok());
        let module = Module { span, bootargs };
        if is_kernel {
            kernel = Some(module);
        } else if is_ramdisk {
            ramdisk = Some(module);
        } else {
            rest.try_push(module).map_err(|_| Missing::TooMany)?;
        }
    }
    Ok((kernel.ok_or(Missing::Kernel)?, ramdisk, rest))
}

#[cfg(test)]
mod tests;

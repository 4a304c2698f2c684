//! `/chosen`: the console, and what the boot loader put into memory for the host.

use super::walk::{Found, at, enabled, find};
use super::{Missing, Span};
use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property, ToCellInt};

/// A boot module of `/chosen`, in the Xen style (Xen docs/misc/arm/device-tree/booting.txt).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module<'a> {
    /// Where it is.
    pub span: Span,
    /// Its command line.
    pub bootargs: Option<&'a str>,
}

/// Everything that `/chosen` says is in memory.
#[derive(Clone, Debug, Default)]
pub struct Modules<'a> {
    /// The host's kernel: compatible `multiboot,kernel`.
    pub kernel: Option<Module<'a>>,
    /// The host's RAM disk: compatible `multiboot,ramdisk`, else what `linux,initrd-start` and
    /// `linux,initrd-end` say.
    pub ramdisk: Option<Span>,
    /// All other modules.
    pub rest: ArrayVec<Span, 8>,
}

/// Does the node name a kernel or RAM disk that Ward takes for the host?
pub(super) fn is_taken(node: &FdtNode<'_>) -> bool {
    node.is_compatible("multiboot,kernel") || node.is_compatible("multiboot,ramdisk")
}

/// The registers of the console's PL011: the UART that `stdout-path` names if it is one, and the
/// first one when nothing is named. A UART of another kind is not written to, and neither is one
/// that is there for something else.
pub fn console(fdt: Fdt<'_>) -> Option<Span> {
    let is_pl011 = |node: &FdtNode<'_>| node.is_compatible("arm,pl011");
    let uart = match stdout(fdt) {
        Some(named) => Some(named).filter(|uart| is_pl011(&uart.node) && enabled(&uart.node)),
        None => find(fdt, &|node| is_pl011(node)),
    }?;
    uart.registers().next()
}

/// The node of `/chosen/stdout-path`: a path or an alias, and options after a colon.
fn stdout(fdt: Fdt<'_>) -> Option<Found<'_>> {
    let chosen = fdt.find_node("/chosen")?;
    let path = chosen.property("stdout-path")?.value_as::<&str>().ok()?;
    let path = path.split(':').next()?;
    if path.starts_with('/') {
        return at(fdt, path);
    }
    let alias = fdt.find_node("/aliases")?.property(path)?;
    at(fdt, alias.value_as::<&str>().ok()?)
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

/// What `linux,initrd-start` and `linux,initrd-end` say, in one cell or two.
fn initrd(chosen: &FdtNode<'_>) -> Option<Span> {
    let number = |name| -> Option<u64> {
        match chosen.property(name)?.value() {
            bytes @ ([_, _, _, _] | [_, _, _, _, _, _, _, _]) => Some(
                bytes
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
            ),
            _ => None,
        }
    };
    let start = number("linux,initrd-start")?;
    let size = number("linux,initrd-end")?.checked_sub(start)?;
    Span::new(start, size).filter(|span| span.size > 0)
}

/// The command line that `/chosen` has already.
pub fn bootargs(fdt: Fdt<'_>) -> Option<&str> {
    let text = super::value(&fdt.find_node("/chosen")?, "bootargs")?;
    core::str::from_utf8(text).ok()?.strip_suffix('\0')
}

/// What a command line gives a word: each `name=VALUE`, where `name` has its `=`.
pub fn given<'a>(bootargs: &'a str, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
    let value = move |word: &'a str| word.strip_prefix(name);
    bootargs.split_ascii_whitespace().filter_map(value)
}

/// Reads the modules.
pub(super) fn modules(fdt: Fdt<'_>) -> Result<Modules<'_>, Missing> {
    let mut found = Modules::default();
    let Some(chosen) = fdt.find_node("/chosen") else {
        return Ok(found);
    };
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
        if is_kernel {
            found.kernel = Some(Module { span, bootargs });
        } else if is_ramdisk {
            found.ramdisk = Some(span);
        } else {
            found.rest.try_push(span).map_err(|_| Missing::TooMany)?;
        }
    }
    found.ramdisk = found.ramdisk.or_else(|| initrd(&chosen));
    Ok(found)
}

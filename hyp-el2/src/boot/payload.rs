//! The host's kernel and device tree, where they will run.

use super::{BLOCK, Fatal};
use crate::fdt::host::{Changes, SLACK, edit};
use crate::fdt::{Missing, Platform, Span, Spans};
use crate::hash::Measurement;
use crate::image::{HEADER, Header};
use crate::{cache, console, layout};
use dtoolkit::fdt::Fdt;
use hyp_core::addr::PAGE_SIZE;

/// Where the host begins.
pub(super) struct Entry {
    /// Its first instruction.
    pub(super) pc: u64,
    /// Its device tree.
    pub(super) tree: u64,
}

/// The bytes of a boot module.
fn contents(span: Span) -> &'static [u8] {
    // SAFETY: the module lies in RAM (checked by the caller), which is mapped, and nothing runs
    // that could write it.
    unsafe { core::slice::from_raw_parts(span.base as *const u8, span.size as usize) }
}

/// Memory that boot took for the host.
fn memory(span: Span) -> &'static mut [u8] {
    // SAFETY: a place of RAM that `layout::find` found free of everything else.
    unsafe { core::slice::from_raw_parts_mut(span.base as *mut u8, span.size as usize) }
}

/// Puts kernel and device tree in place. `hidden` is Ward's memory; `taken` all that is in use.
pub(super) fn prepare(
    fdt: Fdt<'_>,
    machine: &Platform<'_>,
    taken: &mut Spans,
    hidden: &[Span],
) -> Result<Entry, Fatal> {
    let pc = place_kernel(machine, taken)?;
    let ramdisk = machine.ramdisk.map(|module| module.span);
    if let Some(span) = ramdisk {
        report("RAM disk", span);
    }
    for module in &machine.modules {
        console::line(format_args!("boot module {}, passed on", module.span));
    }
    let size = (fdt.data().len() + SLACK) as u64;
    let room = layout::find(&machine.ram, taken, size.next_multiple_of(PAGE_SIZE), BLOCK)
        .ok_or(Fatal::NoRoom("the host's device tree", size))?;
    let buffer = memory(room);
    buffer[..fdt.data().len()].copy_from_slice(fdt.data());
    let changes = Changes {
        hidden,
        bootargs: machine.kernel.bootargs,
        ramdisk,
    };
    edit(buffer, &changes).map_err(|_| Fatal::Tree)?;
    cache::clean_invalidate(room.base, room.size);
    Ok(Entry {
        pc,
        tree: room.base,
    })
}

fn report(what: &str, span: Span) {
    let mut measurement = Measurement::default();
    measurement.add(contents(span));
    console::line(format_args!(
        "{what} {span}, sha256 {}",
        measurement.finish()
    ));
}

/// Leaves the kernel where it is when it can run there, else moves it.
fn place_kernel(machine: &Platform<'_>, taken: &mut Spans) -> Result<u64, Fatal> {
    let file = machine.kernel.span;
    if !machine.ram.iter().any(|bank| bank.contains(file)) {
        return Err(Fatal::NotInRam(file));
    }
    report("host kernel", file);
    let head = contents(file).first_chunk::<HEADER>();
    let header = head
        .and_then(|head| Header::parse(head, file.size))
        .ok_or(Fatal::Kernel("is not a little-endian arm64 Image"))?;
    // All that is taken but the file itself.
    let others: Spans = taken
        .iter()
        .copied()
        .filter(|&span| span != file.to_pages())
        .collect();
    let here = Span {
        base: file.base,
        size: header.image_size,
    }
    .to_pages();
    let stays = file
        .base
        .checked_sub(header.text_offset)
        .is_some_and(|base| base % BLOCK == 0)
        && machine.ram.iter().any(|bank| bank.contains(here))
        && !others.iter().any(|other| other.overlaps(here));
    let place = if stays {
        here
    } else {
        let size = (header.text_offset + header.image_size).next_multiple_of(PAGE_SIZE);
        // Clear of the file too: the copy must not run over its source.
        let room = layout::find(&machine.ram, taken, size, BLOCK)
            .ok_or(Fatal::NoRoom("the host's kernel", size))?;
        let image = Span {
            base: room.base + header.text_offset,
            size: header.image_size,
        };
        memory(image)[..file.size as usize].copy_from_slice(contents(file));
        console::line(format_args!("host kernel moved to {image}"));
        image.to_pages()
    };
    taken
        .try_push(place)
        .map_err(|_| Fatal::Missing(Missing::TooMany))?;
    cache::clean_invalidate(place.base, file.size);
    cache::invalidate_instructions();
    Ok(if stays {
        file.base
    } else {
        place.base + header.text_offset % PAGE_SIZE
    })
}

//! The host's kernel, RAM disk and device tree, where they will run.
//!
//! Who gives the kernel gives the command line: a boot module, or else what is appended to the
//! image. So a boot loader can start another kernel with an image that has one.

use super::{BLOCK, Devices, Fatal, image, take};
use crate::fdt::host::{Changes, SLACK, copy, edit};
use crate::fdt::{Modules, Platform, Span, Spans, chosen_bootargs};
use crate::hash::{Digest256, Measurement};
use crate::image::appended::{Appended, Bad};
use crate::image::{HEADER, Header};
use crate::{cache, glue, layout};
use dtoolkit::fdt::Fdt;
use hyp_core::addr::PAGE_SIZE;

/// Where the host begins.
pub(super) struct Entry {
    /// Its first instruction.
    pub(super) pc: u64,
    /// Its device tree.
    pub(super) tree: u64,
}

/// A part of the payload, and what it must be.
#[derive(Clone, Copy)]
struct Part {
    span: Span,
    digest: Option<[u8; 32]>,
}

/// The command line.
enum Bootargs<'a> {
    /// As the device tree has it in `/chosen` already.
    AsFound,
    /// A module's.
    Module(&'a str),
    Appended(Part),
}

/// The payload as it was found.
pub(super) struct Source<'a> {
    kernel: Part,
    ramdisk: Option<Part>,
    bootargs: Bootargs<'a>,
    modules: Modules<'a>,
}

impl Source<'_> {
    /// The host's command line, from memory that is mapped. What cannot be read is empty.
    pub(super) fn command_line<'b>(&'b self, fdt: Fdt<'b>) -> &'b str {
        let found = match self.bootargs {
            Bootargs::AsFound => chosen_bootargs(fdt),
            Bootargs::Module(text) => Some(text),
            Bootargs::Appended(part) => core::str::from_utf8(contents(part.span)).ok(),
        };
        found.unwrap_or("")
    }

    /// What is in use in memory.
    pub(super) fn parts(&self) -> impl Iterator<Item = Span> + '_ {
        let bootargs = match self.bootargs {
            Bootargs::Appended(part) => Some(part.span),
            _ => None,
        };
        let ramdisk = self.ramdisk.map(|part| part.span);
        let own = [Some(self.kernel.span), ramdisk, bootargs];
        let rest = self.modules.rest.iter().copied();
        own.into_iter().flatten().chain(rest)
    }
}

/// Decides what the host is, and that all of it is in RAM.
pub(super) fn find<'a>(machine: &Platform<'a>) -> Result<Source<'a>, Fatal> {
    let modules = machine.modules.clone();
    let appended = image::appended(&machine.ram);
    let loaded = |span| Part { span, digest: None };
    let source = if let Some(kernel) = modules.kernel {
        if !matches!(appended, Ok(None)) {
            glue::say(format_args!(
                "the boot loader gave a kernel: the one appended to the image is not used"
            ));
        }
        Source {
            kernel: loaded(kernel.span),
            ramdisk: modules.ramdisk.map(loaded),
            bootargs: kernel.bootargs.map_or(Bootargs::AsFound, Bootargs::Module),
            modules,
        }
    } else {
        from_image(appended?.ok_or(Fatal::NoKernel)?, modules)
    };
    let outside = |part: &Span| !machine.ram.iter().any(|bank| bank.contains(*part));
    if let Some(part) = source.parts().find(outside) {
        return Err(Fatal::NotInRam(part));
    }
    Ok(source)
}

fn from_image<'a>(appended: Appended, modules: Modules<'a>) -> Source<'a> {
    let part = |part: crate::image::appended::Part| Part {
        span: part.span,
        digest: Some(part.digest),
    };
    let given = modules.ramdisk.map(|span| Part { span, digest: None });
    Source {
        kernel: part(appended.kernel),
        ramdisk: given.or(appended.ramdisk.map(part)),
        bootargs: appended
            .bootargs
            .map_or(Bootargs::AsFound, |args| Bootargs::Appended(part(args))),
        modules,
    }
}

/// The bytes of a part.
fn contents(span: Span) -> &'static [u8] {
    // SAFETY: the part lies in RAM (`find` saw to it), which is mapped, and nothing runs that
    // could write it.
    unsafe { core::slice::from_raw_parts(span.base as *const u8, span.size as usize) }
}

/// Memory that boot took for the host.
fn memory(span: Span) -> &'static mut [u8] {
    // SAFETY: a place of RAM that `layout::find` found free of everything else.
    unsafe { core::slice::from_raw_parts_mut(span.base as *mut u8, span.size as usize) }
}

/// Puts kernel and device tree in place. `hidden` is Ward's memory; `taken` all that is in use;
/// `devices` says which of them the host sees.
pub(super) fn prepare(
    fdt: Fdt<'_>,
    machine: &Platform<'_>,
    source: &Source<'_>,
    taken: &mut Spans,
    hidden: &[Span],
    devices: &Devices,
) -> Result<Entry, Fatal> {
    let pc = place_kernel(machine, source.kernel, taken)?;
    if let Some(part) = source.ramdisk {
        report("RAM disk", part)?;
    }
    let bootargs = match source.bootargs {
        Bootargs::AsFound => None,
        Bootargs::Module(text) => Some(text),
        Bootargs::Appended(part) => {
            report("command line", part)?;
            let text = core::str::from_utf8(contents(part.span));
            Some(text.map_err(|_| Fatal::Appended(Bad::Bootargs))?)
        }
    };
    for span in &source.modules.rest {
        glue::say(format_args!("boot module {span}, passed on"));
    }
    let size = (fdt.data().len() + SLACK + bootargs.map_or(0, str::len)) as u64;
    let room = layout::find(&machine.ram, taken, size.next_multiple_of(PAGE_SIZE), BLOCK)
        .ok_or(Fatal::NoRoom("the host's device tree", size))?;
    let buffer = memory(room);
    let changes = Changes {
        hidden,
        bootargs,
        ramdisk: source.ramdisk.map(|part| part.span),
        masters: devices.hidden(),
        iommu: devices.has_iommu(),
    };
    copy(fdt, buffer)
        .and_then(|()| edit(buffer, &changes))
        .map_err(|_| Fatal::Tree)?;
    cache::clean_invalidate(room.base, room.size);
    Ok(Entry {
        pc,
        tree: room.base,
    })
}

/// Measures a part, says so, and compares it with what it must be.
fn report(what: &'static str, part: Part) -> Result<(), Fatal> {
    let mut measurement = Measurement::default();
    measurement.add(contents(part.span));
    let Digest256(digest) = measurement.finish();
    glue::say(format_args!(
        "{what} {}, sha256 {}",
        part.span,
        Digest256(digest)
    ));
    match part.digest {
        Some(expected) if expected != digest => Err(Fatal::Changed(what)),
        _ => Ok(()),
    }
}

/// Leaves the kernel where it is when it can run there, else moves it.
fn place_kernel(machine: &Platform<'_>, kernel: Part, taken: &mut Spans) -> Result<u64, Fatal> {
    let file = kernel.span;
    report("host kernel", kernel)?;
    let mut head = [0; HEADER];
    let bytes = contents(file);
    let len = bytes.len().min(HEADER);
    head[..len].copy_from_slice(&bytes[..len]);
    let header = Header::parse(&head, file.size).map_err(Fatal::Kernel)?;
    // All that is taken but the file itself.
    let others: Spans = taken
        .iter()
        .copied()
        .filter(|&span| span != file.to_pages())
        .collect();
    let here = Span {
        base: file.base,
        size: header.image_size,
    };
    let fits = |bank: &Span| Span::new(here.base, here.size).is_some() && bank.contains(here);
    let stays = file
        .base
        .checked_sub(header.text_offset)
        .is_some_and(|base| base % BLOCK == 0)
        && machine.ram.iter().any(fits)
        && !others.iter().any(|other| other.overlaps(here));
    let image = if stays {
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
        memory(image)[..file.size as usize].copy_from_slice(bytes);
        glue::say(format_args!("host kernel moved to {image}"));
        image
    };
    take(taken, image)?;
    cache::clean_invalidate(image.base, file.size);
    cache::invalidate_instructions();
    Ok(image.base)
}

//! The timer node as the host gets it: with the physical timers alone.
//!
//! While a vCPU is loaded the virtual timer is the vCPU's, and so is what `CNTV_CVAL_EL0` holds
//! after it left (see `switch::timer`). A host must keep to the physical one. Linux at EL1 takes
//! the virtual timer if the tree names its interrupt, else the non-secure physical one; so the
//! tree does not name it. Nothing but the host's own clock rests on that.

use super::host::EditFailed;
use dtoolkit::fdt_mut::{FdtNodeMut, SliceBuffer};
use dtoolkit::{Node, Property};

/// What the binding `arm,armv8-timer` calls the interrupts that stay. Without
/// `interrupt-names` they are the first two.
const KEPT: [&[u8]; 2] = [b"sec-phys", b"phys"];
/// Bytes of the longest list that stays: two specifiers of four cells.
const MAX: usize = 32;

/// What stays of `interrupts`, at the start of `out`: its length. `None`: the list has a form
/// that is not known, and is left alone.
fn kept(interrupts: &[u8], names: Option<&[u8]>, out: &mut [u8; MAX]) -> Option<usize> {
    let names = names.map(|names| names.strip_suffix(b"\0").unwrap_or(names));
    let count = match names {
        Some(names) => names.split(|byte| *byte == 0).count(),
        // Four timers, or five with the virtual one of EL2; three or four cells for each.
        None => match interrupts.len() {
            48 | 64 => 4,
            60 | 80 => 5,
            _ => return None,
        },
    };
    // Specifiers are whole cells.
    if !interrupts.len().is_multiple_of(4 * count) || interrupts.is_empty() {
        return None;
    }
    let size = interrupts.len() / count;
    let mut len = 0;
    for (n, specifier) in interrupts.chunks(size).enumerate() {
        let stays = match names {
            Some(names) => {
                let name = names.split(|byte| *byte == 0).nth(n)?;
                KEPT.contains(&name)
            }
            None => n < KEPT.len(),
        };
        if stays {
            out.get_mut(len..len + size)?.copy_from_slice(specifier);
            len += size;
        }
    }
    Some(len)
}

/// Takes the virtual timer's interrupt out of a timer node.
pub(super) fn hide_virtual(node: &mut FdtNodeMut<'_, SliceBuffer<'_>>) -> Result<(), EditFailed> {
    let mut list = [0; MAX];
    let mut names = [0; MAX];
    let (len, names_len) = {
        let node = node.as_read_only();
        let Some(interrupts) = node.property("interrupts") else {
            return Ok(());
        };
        let named = node.property("interrupt-names");
        let named = named.as_ref().map(|property| property.value());
        let Some(len) = kept(interrupts.value(), named, &mut list) else {
            return Ok(());
        };
        (len, named.map(|named| kept_names(named, &mut names)))
    };
    super::host::set(node, "interrupts", &list[..len])?;
    if let Some(len) = names_len {
        super::host::set(node, "interrupt-names", &names[..len])?;
    }
    Ok(())
}

/// The names that stay, as they stood.
fn kept_names(names: &[u8], out: &mut [u8; MAX]) -> usize {
    let mut len = 0;
    for name in names.split(|byte| *byte == 0) {
        if KEPT.contains(&name) && len + name.len() < MAX {
            out[len..len + name.len()].copy_from_slice(name);
            len += name.len() + 1;
        }
    }
    len
}

#[cfg(test)]
mod tests;

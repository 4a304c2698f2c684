//! Is this a device tree, in all its parts (Devicetree Specification 5)?
//!
//! dtoolkit's own check refuses the names of properties that are longer than the specification's
//! 31 letters; trees of Linux are full of them. And it leaves strings unread that editing reads.
//! What passes here is all that dtoolkit relies on.

use super::Missing;
use dtoolkit::fdt::Fdt;

const HEADER: usize = 40;
const VERSION: u32 = 17;
const RESERVATION: usize = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// The tree that `data` is, from its first byte to its last.
///
/// # Errors
/// [`Missing::Tree`].
pub fn parse(data: &[u8]) -> Result<Fdt<'_>, Missing> {
    check(data).ok_or(Missing::Tree)?;
    Ok(Fdt::new_unchecked(data))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// `None` for what is wrong.
fn check(data: &[u8]) -> Option<()> {
    let field = |n: usize| word(data, 4 * n);
    let place = |n: usize| field(n).and_then(|value| usize::try_from(value).ok());
    let header = field(0)? == 0xd00d_feed && place(1)? == data.len();
    let versions = field(6)?..=field(5)?;
    if !header || !versions.contains(&VERSION) {
        return None;
    }
    let (structure, strings, reservations) = (place(2)?, place(3)?, place(4)?);
    let strings_end = strings.checked_add(place(8)?)?;
    let structure_end = structure.checked_add(place(9)?)?;
    let in_order = HEADER <= reservations
        && reservations <= structure
        && structure_end <= strings
        && strings_end <= data.len();
    if !in_order || !reservations.is_multiple_of(8) || !structure.is_multiple_of(4) {
        return None;
    }
    check_reservations(&data[reservations..structure])?;
    let names = &data[strings..strings_end];
    core::str::from_utf8(names).ok()?;
    if names.last().is_some_and(|&byte| byte != 0) {
        return None;
    }
    check_structure(&data[structure..structure_end], names)
}

/// The block ends with an empty entry.
fn check_reservations(block: &[u8]) -> Option<()> {
    let mut entries = block.chunks_exact(RESERVATION);
    entries
        .any(|entry| entry.iter().all(|&byte| byte == 0))
        .then_some(())
}

/// Nodes within one root, properties before nodes, and an end.
fn check_structure(block: &[u8], names: &[u8]) -> Option<()> {
    let (mut at, mut depth, mut properties) = (0_usize, 0_u32, false);
    loop {
        let token = word(block, at)?;
        at += 4;
        match token {
            BEGIN_NODE => {
                let name = block.get(at..)?;
                let len = name.iter().position(|&byte| byte == 0)?;
                core::str::from_utf8(&name[..len]).ok()?;
                // The root has no name, all others have one.
                if (depth == 0) != (len == 0) {
                    return None;
                }
                at = (at + len + 1).next_multiple_of(4);
                depth += 1;
                properties = true;
            }
            END_NODE => {
                depth = depth.checked_sub(1)?;
                properties = false;
                if depth == 0 {
                    return (word(block, at)? == END).then_some(());
                }
            }
            PROPERTY if properties => {
                let len = usize::try_from(word(block, at)?).ok()?;
                let name = usize::try_from(word(block, at + 4)?).ok()?;
                if name >= names.len() {
                    return None;
                }
                let end = (at + 8).checked_add(len)?;
                block.get(..end)?;
                at = end.next_multiple_of(4);
            }
            NOP => {}
            _ => return None,
        }
    }
}

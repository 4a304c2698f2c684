//! A guest whose memory is a file that others map too.

use std::ffi::c_void;

use anyhow::{Context, Result, ensure};

use crate::attack;
use crate::guest::{Guest, SECRETS};
use crate::memory::{self, Kind, PAGE};
use crate::vm::Config;

/// Of pages and of huge pages: so many places, so many pages apart.
pub(super) fn run() -> Result<()> {
    one(Kind::File, 64, 1).context("a file of pages")?;
    one(Kind::HugeFile, 8, 512).context("a file of huge pages")
}

/// The host reads nothing through any mapping of the file; pages that the file loses stay the
/// guest's; and what comes back to the file is zero.
fn one(kind: Kind, places: usize, apart: usize) -> Result<()> {
    const MADV_PAGEOUT: i32 = 21;
    let guest = Guest::start(Config {
        memory: kind,
        ..Config::PROTECTED
    })?;
    let first = (guest.address(SECRETS) - guest.memory().start()) / PAGE;
    let page = |n: usize| SECRETS + (n * apart * PAGE) as u64;
    let all = || (0..places).map(page);
    all().try_for_each(|page| guest.hide(page))?;
    let frames: Vec<u64> = all()
        .map(|page| attack::frame(guest.address(page)))
        .collect::<Result<_>>()?;

    let other = guest.memory().again()?;
    let through_other = |n: usize| memory::load(other.start() + (first + n * apart) * PAGE);
    for (n, page) in all().enumerate() {
        let seen = [memory::load(guest.address(page))?, through_other(n)?];
        ensure!(seen == [None; 2], "place {n}: the host sees {seen:x?}");
    }
    for start in [guest.address(SECRETS), other.start() + first * PAGE] {
        // SAFETY: the advice changes no contents. Pages that cannot go out stay.
        unsafe { libc::madvise(start as *mut c_void, places * apart * PAGE, MADV_PAGEOUT) };
    }
    all().try_for_each(|page| guest.intact(page))?;

    guest.memory().punch(first, places / 2 * apart)?;
    for n in 0..places {
        // A new page of the file, or the guest's as before.
        let wanted = (n < places / 2).then_some(0);
        let seen = through_other(n)?;
        ensure!(
            seen == wanted,
            "place {n} of a file with a hole: the host sees {seen:x?}"
        );
    }
    // What KVM does not ask for, now that no mapping holds these: a worse kernel would.
    attack::calls::reclaim(&frames)?;
    all().try_for_each(|page| guest.intact(page))?;
    let more = || (0..2 * places).map(page);
    more().try_for_each(|page| guest.hide(page))?;
    more().try_for_each(|page| guest.intact(page))?;
    guest.end()?;

    for n in 0..2 * places {
        let seen = through_other(n)?.context("the host does not get a page of the file back")?;
        ensure!(seen == 0, "place {n} came back with {seen:#x}");
    }
    Ok(())
}

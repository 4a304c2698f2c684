//! A host that reaches for a protected guest's secrets, by every route there is.
//!
//! An attack succeeds when it sees a secret, changes one, or ends the guest; all else is a refusal:
//! an error, a signal, zeros. It is judged by asking the guest whether its secrets are still what
//! they were. Names of attacks are names of tests.

pub(crate) mod calls;
mod devices;
mod kernel;
mod pages;
mod process;
mod registers;

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};

use crate::guest::{self, Guest};
use crate::memory::PAGE;
use crate::vm::Config;

/// How many pages of a guest of this program's are attacked.
const OWN_PAGES: u64 = 4;
/// How many of another's.
const OTHER_PAGES: usize = 512;
/// A guest of another process has at least so much memory in one piece.
const LEAST: usize = 32 << 20;

/// One attack.
struct Attack {
    name: &'static str,
    what: How,
}

/// What it needs.
#[derive(Clone, Copy)]
enum How {
    /// A process and addresses in it.
    Outside(fn(&Target) -> Result<()>),
    /// To be the VMM.
    Inside(fn(&Guest, &Target) -> Result<()>),
    /// The guest, to end it first.
    After(fn(Guest) -> Result<()>),
}

const ATTACKS: &[Attack] = &[
    inside("mapping-load", process::mapping_load),
    inside("mapping-store", process::mapping_store),
    inside("syscall-buffer", process::syscall_buffer),
    inside("vmsplice", process::vmsplice),
    inside("fork", process::fork),
    outside("proc-mem-read", process::proc_mem_read),
    outside("proc-mem-write", process::proc_mem_write),
    outside("process-vm-readv", process::vm_readv),
    outside("process-vm-writev", process::vm_writev),
    outside("ptrace", process::ptrace),
    outside("dev-mem-mapped", kernel::dev_mem_mapped),
    outside("dev-mem-read", kernel::dev_mem_read),
    outside("module-read", kernel::module_read),
    outside("module-write", kernel::module_write),
    inside("module-search", kernel::module_search),
    Attack {
        name: "left-behind",
        what: How::After(calls::left_behind),
    },
    outside("page-out", pages::page_out),
    outside("move-pages", pages::move_pages),
    outside("compact", pages::compact),
    inside("same-page-merging", pages::merge),
    inside("direct-io", devices::direct_io),
    inside("discard", pages::discard),
    inside("unmap", pages::unmap),
    inside("get-one-reg", registers::get),
    inside("set-one-reg", registers::set),
    inside("run-page", registers::run_page),
];

const fn inside(name: &'static str, what: fn(&Guest, &Target) -> Result<()>) -> Attack {
    let what = How::Inside(what);
    Attack { name, what }
}

const fn outside(name: &'static str, what: fn(&Target) -> Result<()>) -> Attack {
    let what = How::Outside(what);
    Attack { name, what }
}

/// What is attacked.
pub(crate) struct Target {
    /// The VMM.
    pid: i32,
    /// Addresses of pages in it that are the guest's.
    pages: Vec<usize>,
    /// Whether each of them has been touched by the guest.
    touched: bool,
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ATTACKS.iter().map(|attack| attack.name)
}

fn find(name: &str) -> Result<How> {
    let attack = ATTACKS.iter().find(|attack| attack.name == name);
    Ok(attack
        .with_context(|| format!("there is no attack {name}"))?
        .what)
}

/// Attacks a guest of this program's.
pub(crate) fn own(name: &str) -> Result<()> {
    let what = find(name)?;
    let guest = Guest::start(Config::PROTECTED)?;
    guest::pages(OWN_PAGES).try_for_each(|page| guest.hide(page))?;
    let target = Target {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        pages: guest::pages(OWN_PAGES)
            .map(|page| guest.address(page))
            .collect(),
        touched: true,
    };
    match what {
        How::Outside(attack) => attack(&target),
        How::Inside(attack) => attack(&guest, &target),
        How::After(attack) => return attack(guest),
    }?;
    guest::pages(OWN_PAGES).try_for_each(|page| guest.intact(page))?;
    // Not only what it has: it still gets more.
    let more = guest::SECRETS + (1 << 21);
    guest.hide(more)?;
    guest.intact(more)?;
    guest.end()
}

/// Attacks the guest of another process, which says itself whether it is still well.
pub(crate) fn other(name: &str, pid: &str) -> Result<()> {
    let pid: i32 = pid.parse().context("no process number")?;
    let How::Outside(attack) = find(name)? else {
        bail!("{name} takes a VMM of its own: leave the process number out");
    };
    let family = children(pid)?.into_iter().chain([pid]);
    for pid in family {
        if let Some(pages) = guest_pages(pid)? {
            return attack(&Target {
                pid,
                pages,
                touched: false,
            });
        }
    }
    bail!("neither process {pid} nor a child of it has a guest's memory")
}

/// The processes that a process has started: `ward run` has one that is the VMM.
fn children(parent: i32) -> Result<Vec<i32>> {
    let is_child = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let found = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        found.is_some_and(|found| found.trim() == parent.to_string())
    };
    let processes = std::fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_child)
        .collect())
}

/// Pages of the largest piece of memory of a process, evenly distributed, if that can be a guest's.
fn guest_pages(pid: i32) -> Result<Option<Vec<usize>>> {
    let path = format!("/proc/{pid}/maps");
    let maps = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let largest = maps
        .lines()
        .filter_map(|line| {
            let (range, _) = line.split_once(' ')?;
            let (first, end) = range.split_once('-')?;
            let first = usize::from_str_radix(first, 16).ok()?;
            let end = usize::from_str_radix(end, 16).ok()?;
            line.contains(" rw").then_some((first, end - first))
        })
        .max_by_key(|(_, size)| *size);
    Ok(largest
        .filter(|(_, size)| *size >= LEAST)
        .map(|(start, size)| {
            let step = (size / OTHER_PAGES).next_multiple_of(PAGE);
            (start..start + size).step_by(step).collect()
        }))
}

/// Fails when these bytes, which the host has got hold of, hold a secret.
fn no_secret(bytes: &[u8]) -> Result<()> {
    ensure!(
        !guest::has_secret(bytes),
        "the host sees the guest's secret"
    );
    Ok(())
}

/// Where a page of the target's is in the machine; `None` if nowhere.
fn physical(target: &Target, address: usize) -> Result<Option<u64>> {
    let path = format!("/proc/{}/pagemap", target.pid);
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let mut entry = [0; 8];
    file.read_exact_at(&mut entry, (address / PAGE * 8) as u64)
        .with_context(|| format!("cannot read {path}"))?;
    let entry = u64::from_le_bytes(entry);
    let frame = entry & ((1 << 55) - 1);
    Ok((entry >> 63 == 1 && frame != 0).then_some(frame * PAGE as u64))
}

/// Where a page of this process's is in the machine.
pub(crate) fn frame(address: usize) -> Result<u64> {
    let target = Target {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        pages: Vec::new(),
        touched: true,
    };
    physical(&target, address)?.context("the page is nowhere")
}

/// Does something with each page that is somewhere in the machine.
fn each_frame(target: &Target, mut what: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let mut count = 0;
    for &page in &target.pages {
        if let Some(frame) = physical(target, page)? {
            what(frame)?;
            count += 1;
        }
    }
    ensure!(count > 0, "none of the guest's pages has a place in memory");
    Ok(())
}

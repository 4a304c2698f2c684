//! Guests under load: many at once, a host short of memory, pages shared to and fro, threads that
//! move between CPUs, and normal VMs beside them.

mod file;
mod normal;

use std::fs;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, Pid, sched_setaffinity};

use crate::attack;
use crate::guest::protocol::{SPARE, TO_GUEST, mode, secret};
use crate::guest::{self, Guest};
use crate::memory::{self, Kind, Memory, PAGE};
use crate::vm::Config;

/// Does the one of that name.
pub(crate) fn run(name: &str) -> Result<()> {
    match name {
        "many" => many(),
        "pressure" => pressure(),
        "balloon" => balloon(),
        "migrate" => migrate(),
        "normal" => normal::memory(),
        "read-only" => normal::read_only(),
        "file" => file::run(),
        "slots" => slots(),
        _ => bail!("there is no load {name}"),
    }
}

/// Eight protected guests at once; each keeps its own secrets, and sees nobody else's.
fn many() -> Result<()> {
    const EACH: u64 = 16;
    let guests: Vec<Guest> = (0..8)
        .map(|_| Guest::start(Config::PROTECTED))
        .collect::<Result<_>>()?;
    // Their own, at places where the others have none.
    let own = |n: usize| {
        guest::pages(8 * EACH)
            .skip(n * EACH as usize)
            .take(EACH as usize)
    };
    for _ in 0..3 {
        thread::scope(|scope| {
            let works: Vec<_> = guests
                .iter()
                .enumerate()
                .map(|(n, guest)| {
                    scope.spawn(move || {
                        own(n).try_for_each(|page| guest.hide(page))?;
                        own(n).try_for_each(|page| guest.intact(page))?;
                        own((n + 1) % 8).try_for_each(|page| {
                            let word = guest.ask(0, mode::READ, page)?;
                            ensure!(word == 0, "guest {n} sees {word:#x} of another's");
                            Ok(())
                        })
                    })
                })
                .collect();
            works.into_iter().try_for_each(|work| match work.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread died"),
            })
        })?;
    }
    guests.into_iter().try_for_each(Guest::end)
}

/// The host runs out of memory, and swaps: the guest keeps its own.
fn pressure() -> Result<()> {
    let guest = Guest::start(Config {
        memory: Kind::Pages,
        ..Config::PROTECTED
    })?;
    guest::pages(64).try_for_each(|page| guest.hide(page))?;
    let frames: Vec<u64> = guest::pages(64)
        .map(|page| attack::frame(guest.address(page)))
        .collect::<Result<_>>()?;
    let before = swapped()?;
    let free = meminfo("MemAvailable:")?;
    // More than there is, so that something must go out.
    let size = usize::try_from(free + free / 16)? & !0xfff;
    let ballast = Memory::new(size, Kind::Pages)?;
    let cold = ballast.start() + ((size / 4) & !0xfff);
    for page in (ballast.start()..ballast.start() + ballast.size()).step_by(PAGE) {
        if page == cold {
            // What goes out first. Else the kernel looks at all there is before it finds a page that
            // nobody used lately: a minute of invalidations, under emulation.
            let (first, size) = (ballast.start() as *mut libc::c_void, cold - ballast.start());
            // SAFETY: the advice changes no contents.
            let done = unsafe { libc::madvise(first, size, libc::MADV_COLD) };
            ensure!(done == 0, "madvise: {}", std::io::Error::last_os_error());
        }
        ensure!(
            memory::store(page, page as u64)?,
            "no memory for the ballast"
        );
    }
    ensure!(swapped()? > before, "nothing was swapped out");
    // KVM does not ask for the guest's: a worse kernel would.
    attack::calls::reclaim(&frames)?;
    guest::pages(64).try_for_each(|page| guest.intact(page))?;
    // The guest gets more, of what there is not enough.
    guest::pages(256).try_for_each(|page| guest.hide(page))?;
    drop(ballast);
    guest::pages(256).try_for_each(|page| guest.intact(page))?;
    guest.end()
}

/// The guest shares pages and takes them back, as a balloon or a network card's buffers do.
fn balloon() -> Result<()> {
    const PAGES: u64 = 64;
    let guest = Guest::start(Config {
        memory: Kind::Pages,
        ..Config::PROTECTED
    })?;
    let pages: Vec<u64> = guest::pages(PAGES).collect();
    for round in 0..3 {
        for &page in &pages {
            guest.hide(page)?;
            let refused = memory::load(guest.address(page))?;
            ensure!(
                refused.is_none(),
                "round {round}: the host reads a page before it is shared"
            );
            let shared = guest.ask(0, mode::SHARE, page)?;
            ensure!(shared == 0, "MEM_SHARE said {shared:#x}");
            let word = memory::load(guest.address(page))?;
            ensure!(
                word == Some(secret(0)),
                "round {round}: the host sees {word:x?} in a page that is shared"
            );
            ensure!(
                memory::store(guest.address(page) + 8, TO_GUEST)?,
                "the host cannot write to a page that is shared"
            );
        }
        for &page in &pages {
            let word = guest.ask(0, mode::READ, page + 8)?;
            ensure!(
                word == TO_GUEST,
                "round {round}: the guest sees {word:#x} of the host's"
            );
            let back = guest.ask(0, mode::UNSHARE, page)?;
            ensure!(back == 0, "MEM_UNSHARE said {back:#x}");
            ensure!(
                memory::load(guest.address(page))?.is_none(),
                "round {round}: the host still reads what is not shared any more"
            );
        }
    }
    guest.hide(SPARE)?;
    guest.intact(SPARE)?;
    guest.end()
}

/// The threads of both vCPUs move from CPU to CPU while they run.
fn migrate() -> Result<()> {
    let guest = Guest::start(Config::PROTECTED)?;
    guest.second()?;
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    ensure!(cpus > 1, "there is one CPU only: nothing moves");
    for round in 0..40 {
        for index in 0..2 {
            guest.tell(index, mode::SPIN, 0)?;
            let task = Pid::from_raw(guest.task(index)).context("no thread")?;
            for cpu in [round % cpus, (round + 1) % cpus] {
                let mut set = CpuSet::new();
                set.set(cpu);
                sched_setaffinity(Some(task), &set).context("the thread does not move")?;
            }
            let page = guest::SECRETS + index as u64 * PAGE as u64;
            guest.ask(index, mode::HIDE, page)?;
            let wrong = guest.ask(index, mode::VERIFY, page)?;
            ensure!(wrong == 0, "round {round}: {wrong} words are wrong");
            // With all registers known before, and looked at after.
            guest.held(index, || Ok(()))?;
        }
    }
    guest.end()
}

/// A protected VM's memory is all its own: nothing of it is read only, nobody keeps a log of what it
/// writes, and none of it is taken away.
fn slots() -> Result<()> {
    let more = Memory::new(2 << 20, Kind::Pages)?;
    let guest = Guest::start(Config::PROTECTED)?;
    guest.hide(SPARE)?;
    let tried = [
        ("read-only memory", guest.read_only(normal::AT, Some(&more))),
        ("a log of writes", guest.log_dirty(true)),
        ("no memory", guest.forget()),
    ];
    for (what, result) in tried {
        let error = result.err().with_context(|| format!("it got {what}"))?;
        ensure!(
            error.chain().any(|cause| {
                cause
                    .downcast_ref::<kvm_ioctls::Error>()
                    .is_some_and(|error| error.errno() == libc::EPERM)
            }),
            "{what}: {error:#}"
        );
    }
    guest.intact(SPARE)?;
    guest.end()
}

fn meminfo(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("/proc/meminfo is not understood")?.parse()?;
    Ok(kib << 10)
}

/// Pages that were swapped out since the machine started.
fn swapped() -> Result<u64> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("pswpout "));
    Ok(line.context("/proc/vmstat has no pswpout")?.parse()?)
}

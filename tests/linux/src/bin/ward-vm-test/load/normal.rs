//! Normal VMs: their memory is the host's.

use anyhow::{Result, ensure};

use crate::guest::protocol::{RAM, RAM_SIZE, mode, secret};
use crate::guest::{self, Guest};
use crate::memory::{self, Kind, Memory, PAGE};
use crate::vm::Config;

/// An address behind a guest's own memory.
pub(super) const AT: u64 = RAM + RAM_SIZE;

const NORMAL: Config = Config {
    protected: false,
    ..Config::PROTECTED
};

/// A normal VM: the host sees its memory, finds what it has written by the dirty log, and takes
/// pages away that come back.
pub(super) fn memory() -> Result<()> {
    const DIRTY_LOG: libc::c_int = 0x4010_ae42;
    let guest = Guest::start(NORMAL)?;
    guest.hide(guest::SECRETS)?;
    let word = memory::load(guest.address(guest::SECRETS))?;
    ensure!(
        word == Some(secret(0)),
        "the host sees {word:x?} in a normal guest's memory"
    );
    guest.log_dirty(true)?;
    let mut log = vec![0_u64; guest.memory().size() / PAGE / 64];
    let mut dirty = |page: u64| -> Result<bool> {
        let what = kvm_bindings::kvm_dirty_log {
            slot: 0,
            padding1: 0,
            __bindgen_anon_1: kvm_bindings::kvm_dirty_log__bindgen_ty_1 {
                dirty_bitmap: log.as_mut_ptr().cast(),
            },
        };
        // SAFETY: a bit for each page of the slot.
        let done = unsafe { libc::ioctl(guest.vm(), DIRTY_LOG, &raw const what) };
        ensure!(
            done == 0,
            "KVM_GET_DIRTY_LOG: {}",
            std::io::Error::last_os_error()
        );
        let number = (guest.address(page) - guest.memory().start()) / PAGE;
        Ok(log[number / 64] >> (number % 64) & 1 == 1)
    };
    let (one, other) = (guest::SECRETS, guest::SECRETS + PAGE as u64);
    dirty(one)?;
    guest.hide(other)?;
    ensure!(dirty(other)?, "a page that was written is not dirty");
    ensure!(!dirty(other)?, "a page that was not written again is dirty");
    guest.hide(one)?;
    ensure!(dirty(one)?, "a page that was written again is not dirty");
    guest.log_dirty(false)?;
    // Out, and in again: by the kernel's notifiers.
    let first = guest.address(one) as *mut libc::c_void;
    const MADV_PAGEOUT: i32 = 21;
    // SAFETY: the advice changes no contents.
    unsafe { libc::madvise(first, 2 * PAGE, MADV_PAGEOUT) };
    guest.intact(one)?;
    // SAFETY: the memory of a guest, in which no Rust object lies.
    unsafe { libc::madvise(first, 2 * PAGE, libc::MADV_DONTNEED) };
    let word = guest.ask(0, mode::READ, one)?;
    ensure!(word == 0, "a page that was thrown away holds {word:#x}");
    guest.end()
}

/// Memory that a normal VM may read and not write, as firmware in flash is: a write is an exit to
/// the VMM.
pub(super) fn read_only() -> Result<()> {
    for kind in [Kind::Pages, Kind::Huge, Kind::File, Kind::HugeFile] {
        // Before the guest, so that it goes after it.
        let fixed = Memory::new(2 << 20, kind)?;
        let guest = Guest::start(NORMAL)?;
        let word = |n: u64| 0x666c_6173_6800_0000 | n;
        let address = |n: u64| fixed.start() + n as usize * PAGE;
        for n in 0..fixed.size() as u64 / PAGE as u64 {
            ensure!(memory::store(address(n), word(n))?, "no memory: {kind:?}");
        }
        guest.read_only(AT, Some(&fixed))?;
        // Written before it was ever read, and after.
        for round in 0..2 {
            for n in [0, 1, 7, 511] {
                let page = AT + n * PAGE as u64;
                guest.write_elsewhere(0, page)?;
                let seen = guest.ask(0, mode::READ, page)?;
                ensure!(
                    seen == word(n) && memory::load(address(n))? == Some(word(n)),
                    "{kind:?}, round {round}: page {n} holds {seen:#x}"
                );
            }
        }
        // It is the host's all the same.
        ensure!(
            memory::store(address(1), word(999))?,
            "the host cannot write its own memory"
        );
        let seen = guest.ask(0, mode::READ, AT + PAGE as u64)?;
        ensure!(seen == word(999), "{kind:?}: the guest sees {seen:#x}");
        // Taken away, it is no memory any more: the VMM's device answers.
        guest.read_only(AT, None)?;
        let seen = guest.ask(0, mode::READ, AT)?;
        ensure!(seen == 0, "{kind:?}: what was taken away holds {seen:#x}");
        guest.end()?;
    }
    Ok(())
}

//! A guest's memory as its VMM has it, and loads and stores that may be refused.

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Where a mapping begins, so that 2 MiB pieces of it can be huge pages.
const ALIGN: usize = 2 << 20;

/// What memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anonymous pages.
    Pages,
    /// Anonymous huge pages, where the kernel has them.
    Huge,
    /// A file in memory, as VMMs use whose devices are processes of their own.
    File,
    /// The same, of huge pages that the host keeps for that.
    HugeFile,
}

/// Memory of this process.
pub(crate) struct Memory {
    all: usize,
    mapped: usize,
    start: usize,
    size: usize,
    file: Option<Arc<OwnedFd>>,
}

impl Memory {
    /// Maps so many bytes.
    pub(crate) fn new(size: usize, kind: Kind) -> Result<Self> {
        let advice = match kind {
            Kind::Pages => Advice::LinuxNoHugepage,
            Kind::Huge => Advice::LinuxHugepage,
            Kind::File => return Self::file(size, MemfdFlags::CLOEXEC),
            Kind::HugeFile => {
                // Pages beyond the host's stock of them, taken from its memory and given back.
                std::fs::write("/proc/sys/vm/nr_overcommit_hugepages", "64")
                    .context("no huge pages for files")?;
                let huge = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
                return Self::file(size, MemfdFlags::CLOEXEC | huge);
            }
        };
        let memory = Self::reserve(size)?;
        // SAFETY: this mapping's pages; the advice changes no contents. A kernel without huge
        // pages refuses it, and needs it not.
        let _ = unsafe { madvise(memory.start as *mut c_void, size, advice) };
        Ok(memory)
    }

    fn file(size: usize, flags: MemfdFlags) -> Result<Self> {
        let file = memfd_create("guest", flags).context("no file in memory")?;
        ftruncate(&file, size as u64).context("no room in a file in memory")?;
        Self::of(Arc::new(file), size)
    }

    /// Maps memory that is a file once more.
    pub(crate) fn again(&self) -> Result<Self> {
        let file = self.file.as_ref().context("this memory is no file")?;
        Self::of(Arc::clone(file), self.size)
    }

    /// Has the file forget so many pages: whoever looks there next finds new ones.
    pub(crate) fn punch(&self, page: usize, pages: usize) -> Result<()> {
        let file = self.file.as_ref().context("this memory is no file")?;
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let [offset, size] = [page, pages].map(|n| (n * PAGE) as u64);
        fallocate(&**file, how, offset, size).context("no hole in a file in memory")
    }

    fn of(file: Arc<OwnedFd>, size: usize) -> Result<Self> {
        let mut memory = Self::reserve(size)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let how = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: in place of pages that were reserved for it, which nothing refers to.
        unsafe { mmap(memory.start as *mut c_void, size, access, how, &*file, 0) }
            .context("a file in memory cannot be mapped")?;
        memory.file = Some(file);
        Ok(memory)
    }

    fn reserve(size: usize) -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let mapped = size + ALIGN;
        // SAFETY: new memory, which nothing else refers to.
        let all =
            unsafe { mmap_anonymous(std::ptr::null_mut(), mapped, access, MapFlags::PRIVATE) }
                .context("no memory for a guest")?;
        Ok(Memory {
            all: all as usize,
            mapped,
            start: (all as usize).next_multiple_of(ALIGN),
            size,
            file: None,
        })
    }

    /// The first byte's address in this process.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Puts bytes there, before a guest has the memory.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let fits = offset
            .checked_add(bytes.len())
            .is_some_and(|end| end <= self.size);
        ensure!(fits, "an image does not lie in the guest's memory");
        let to = (self.start + offset) as *mut u8;
        // SAFETY: within the mapping, in which no Rust object lies; `bytes` is elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `reserve`; no reference to it is left.
        let _ = unsafe { munmap(self.all as *mut c_void, self.mapped) };
    }
}

/// An access of this program is being tried.
static TRYING: AtomicBool = AtomicBool::new(false);
/// How many of them were refused.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Loads a word; `None` if that ended in a signal.
pub(crate) fn load(address: usize) -> Result<Option<u64>> {
    tried(|| {
        let mut value: u64 = 0;
        // SAFETY: a load of one instruction; if it faults, the handler goes on behind it.
        unsafe {
            asm!("ldr {v}, [{a}]", v = inout(reg) value, a = in(reg) address, options(nostack, preserves_flags));
        };
        value
    })
}

/// Stores a word; `false` if that ended in a signal.
pub(crate) fn store(address: usize, value: u64) -> Result<bool> {
    let done = tried(|| {
        // SAFETY: a store of one instruction into memory in which no Rust object lies; if it
        // faults, the handler goes on behind it.
        unsafe {
            asm!("str {v}, [{a}]", v = in(reg) value, a = in(reg) address, options(nostack, preserves_flags));
        };
    })?;
    Ok(done.is_some())
}

fn tried<T>(access: impl FnOnce() -> T) -> Result<Option<T>> {
    catch()?;
    let before = REFUSED.load(Ordering::SeqCst);
    TRYING.store(true, Ordering::SeqCst);
    let value = access();
    TRYING.store(false, Ordering::SeqCst);
    Ok((REFUSED.load(Ordering::SeqCst) == before).then_some(value))
}

/// Has both signals that a refused access can end in go to [`refused`].
fn catch() -> Result<()> {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: plain data, for which zero is right.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = refused as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: installs a handler that touches atomics and its own context alone.
        let done = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        ensure!(done == 0, "no handler for signal {signal}");
    }
    Ok(())
}

/// Skips the instruction that was refused, if it was one that was tried.
extern "C" fn refused(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if TRYING.load(Ordering::SeqCst) {
        REFUSED.fetch_add(1, Ordering::SeqCst);
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel gave a context that lives as long as the handler runs.
        unsafe { (*context).uc_mcontext.pc += 4 };
    } else {
        // A bug of this program: it dies of it, at the same place again.
        // SAFETY: sets this process's own action for a signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

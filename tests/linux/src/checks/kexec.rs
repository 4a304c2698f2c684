//! One kernel starts the next, without Ward's or the firmware's doing.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result, bail};
use rustix::system::RebootCommand;

use crate::report::Report;
use crate::scenario::Context;
use crate::{disk, system};

/// The number of the system call `kexec_file_load` on arm64, which the crate `libc` does not name for
/// musl.
const KEXEC_FILE_LOAD: libc::c_long = 294;

/// The word that only the second kernel's command line has.
const MARK: &str = "ward.boot=kexec";

fn marked(context: &Context) -> bool {
    context.args.line().split(' ').any(|word| word == MARK)
}

/// This kernel was started by another.
pub(crate) fn by_kexec(context: &Context, _: &mut Report) -> Result<()> {
    if !marked(context) {
        bail!("the command line has no {MARK}: Ward started this kernel");
    }
    Ok(())
}

/// This kernel was started by Ward.
pub(crate) fn not_by_kexec(context: &Context, _: &mut Report) -> Result<()> {
    if marked(context) {
        bail!("the command line has {MARK}: the machine was not reset");
    }
    Ok(())
}

/// Loads the kernel and the initramfs from the disk, and starts them.
pub(crate) fn go(context: &Context) -> Result<()> {
    let mut files = Vec::new();
    for name in ["kernel", "initrd"] {
        let path = format!("/tmp/{name}");
        fs::write(&path, disk::file(name)?).with_context(|| format!("cannot write {path}"))?;
        files.push(File::open(&path).with_context(|| format!("cannot open {path}"))?);
    }
    let line = CString::new(format!("{} {MARK}", context.args.line()))
        .context("a command line with a zero byte")?;
    // SAFETY: `line` lives until the call returns, its length includes the final zero, and both
    // files are open.
    let result = unsafe {
        libc::syscall(
            KEXEC_FILE_LOAD,
            files[0].as_raw_fd(),
            files[1].as_raw_fd(),
            line.as_bytes_with_nul().len(),
            line.as_ptr(),
            0_u64,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("kexec_file_load");
    }
    system::leave(RebootCommand::Kexec)
}

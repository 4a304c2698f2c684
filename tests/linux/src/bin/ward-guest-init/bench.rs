//! For a host that counts instructions (ward-vm-test's `bench`): says that the first program runs,
//! then reads the disk between two lines.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::system;

/// As the block device wants it.
#[repr(align(4096))]
struct Block([u8; 1 << 16]);

pub(crate) fn run() -> Result<()> {
    println!("WARD-BENCH init");
    let there = || Ok(std::fs::metadata("/dev/vda").is_ok());
    system::until(Duration::from_secs(10), there)?;
    // Once unmeasured.
    read()?;
    println!("WARD-BENCH empty");
    println!("WARD-BENCH read");
    read()?;
    println!("WARD-BENCH done");
    Ok(())
}

/// All of the disk, past the kernel's cache.
fn read() -> Result<()> {
    let mut disk: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open("/dev/vda")
        .context("cannot open /dev/vda")?;
    let mut block = Box::new(Block([0; 1 << 16]));
    loop {
        let len = disk.read(&mut block.0).context("/dev/vda")?;
        if len == 0 {
            return Ok(());
        }
        ensure!(
            block.0[len - 1] == 0xa5,
            "the disk has {:#x}",
            block.0[len - 1]
        );
    }
}

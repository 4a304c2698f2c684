//! A PCI device of this program's own, and a table of addresses for it: Linux' VFIO with iommufd.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous};

use crate::proc;

const DEVICES: &str = "/sys/bus/pci/devices";
/// `_IO(';', n)`, as `linux/vfio.h` and `linux/iommufd.h` number them.
const fn number(n: u32) -> Opcode {
    (0x3b << 8 | n) as Opcode
}
const IOAS_ALLOC: Opcode = number(0x81);
const IOAS_MAP: Opcode = number(0x85);
const IOAS_UNMAP: Opcode = number(0x86);
const GET_REGION_INFO: Opcode = number(108);
const BIND_IOMMUFD: Opcode = number(118);
const ATTACH_PT: Opcode = number(119);
const DETACH_PT: Opcode = number(120);
/// Regions of a PCI device.
const BAR0: u32 = 0;
const CONFIG: u32 = 7;
/// PCI's command register, and its bits for memory and bus mastering.
const COMMAND: u64 = 4;
const MEMORY_AND_MASTER: u16 = 6;
/// Flags of a mapping.
const FIXED: u32 = 1;
const WRITEABLE: u32 = 2;
const READABLE: u32 = 4;

#[repr(C)]
struct IoasAlloc {
    size: u32,
    flags: u32,
    id: u32,
}

#[repr(C)]
struct IoasMap {
    size: u32,
    flags: u32,
    id: u32,
    reserved: u32,
    address: u64,
    length: u64,
    iova: u64,
}

#[repr(C)]
struct IoasUnmap {
    size: u32,
    id: u32,
    iova: u64,
    length: u64,
}

#[repr(C)]
struct Bind {
    size: u32,
    flags: u32,
    iommufd: i32,
    device: u32,
}

#[repr(C)]
struct Attach {
    size: u32,
    flags: u32,
    id: u32,
}

#[repr(C)]
struct Detach {
    size: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Region {
    size: u32,
    flags: u32,
    index: u32,
    capabilities: u32,
    length: u64,
    offset: u64,
}

/// Has the kernel do it. `OPCODE` is one whose argument is a `T`.
fn call<const OPCODE: Opcode, T>(file: &File, what: &str, mut argument: T) -> Result<T> {
    // SAFETY: the callers below pair each number with the structure that the kernel's headers
    // give it, with its size inside.
    let request = unsafe { Updater::<OPCODE, T>::new(&mut argument) };
    // SAFETY: as above; the kernel writes within the structure.
    unsafe { ioctl(file, request) }.with_context(|| format!("the kernel does not {what}"))?;
    Ok(argument)
}

/// What the device may do with memory.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// A device whose driver is this program.
pub(super) struct Device {
    file: File,
    iommu: File,
    addresses: u32,
}

impl Device {
    /// Takes the first device of that kind, with an empty table of addresses.
    pub(super) fn open(vendor: u16, device: u16) -> Result<Self> {
        let path = find(vendor, device)?;
        let name = path.file_name().context("a device without a name")?;
        proc::write(path.join("driver_override"), "vfio-pci")?;
        proc::write("/sys/bus/pci/drivers_probe", &name.to_string_lossy())?;
        let mut nodes = fs::read_dir(path.join("vfio-dev")).context("vfio-pci takes no device")?;
        let node = nodes.next().context("vfio-pci has no node")??.file_name();
        let open = |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path);
            file.with_context(|| format!("cannot open {}", path.display()))
        };
        let file = open(&Path::new("/dev/vfio/devices").join(node))?;
        let iommu = open(Path::new("/dev/iommu"))?;
        let bind = Bind {
            size: size_of::<Bind>() as u32,
            flags: 0,
            iommufd: iommu.as_raw_fd(),
            device: 0,
        };
        call::<BIND_IOMMUFD, _>(&file, "bind the device", bind)?;
        let empty = IoasAlloc {
            size: size_of::<IoasAlloc>() as u32,
            flags: 0,
            id: 0,
        };
        let addresses = call::<IOAS_ALLOC, _>(&iommu, "make a table of addresses", empty)?.id;
        let attach = Attach {
            size: size_of::<Attach>() as u32,
            flags: 0,
            id: addresses,
        };
        call::<ATTACH_PT, _>(&file, "lead the device to the table", attach)?;
        Ok(Device {
            file,
            iommu,
            addresses,
        })
    }

    /// Leaves the device with nothing that it reaches.
    pub(super) fn detach(&self) -> Result<()> {
        let size = size_of::<Detach>() as u32;
        let detach = Detach { size, flags: 0 };
        call::<DETACH_PT, _>(&self.file, "take the device from the table", detach).map(drop)
    }

    /// Maps a part of `memory`.
    pub(super) fn map(
        &self,
        memory: &Memory,
        offset: usize,
        length: usize,
        iova: u64,
        access: Access,
    ) -> Result<()> {
        ensure!(offset + length <= memory.length, "not so much memory");
        let write = match access {
            Access::Read => 0,
            Access::ReadWrite => WRITEABLE,
        };
        let map = IoasMap {
            size: size_of::<IoasMap>() as u32,
            flags: FIXED | READABLE | write,
            id: self.addresses,
            reserved: 0,
            address: memory.at as u64 + offset as u64,
            length: length as u64,
            iova,
        };
        call::<IOAS_MAP, _>(&self.iommu, "map memory for the device", map).map(drop)
    }

    /// Unmaps what was mapped as a whole.
    pub(super) fn unmap(&self, iova: u64, length: usize) -> Result<()> {
        let unmap = IoasUnmap {
            size: size_of::<IoasUnmap>() as u32,
            id: self.addresses,
            iova,
            length: length as u64,
        };
        let done = call::<IOAS_UNMAP, _>(&self.iommu, "unmap memory of the device", unmap)?;
        ensure!(done.length == length as u64, "not all is unmapped");
        Ok(())
    }

    fn region(&self, index: u32) -> Result<Region> {
        let region = Region {
            size: size_of::<Region>() as u32,
            index,
            ..Region::default()
        };
        call::<GET_REGION_INFO, _>(&self.file, "describe the device", region)
    }

    /// Lets the device answer, and do DMA.
    pub(super) fn enable(&self) -> Result<()> {
        let config = self.region(CONFIG)?;
        let command = MEMORY_AND_MASTER.to_le_bytes();
        self.file
            .write_all_at(&command, config.offset + COMMAND)
            .context("cannot write to the device's configuration")
    }

    /// Its first registers.
    pub(super) fn bar0(&self) -> Result<Bar> {
        let region = self.region(BAR0)?;
        let length = usize::try_from(region.length)?;
        ensure!(length >= 1 << 20, "BAR 0 has {length} bytes");
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let map = MapFlags::SHARED;
        // SAFETY: a new mapping, wherever the kernel likes.
        let at = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                access,
                map,
                &self.file,
                region.offset,
            )
        };
        Ok(Bar {
            at: at.context("cannot map BAR 0")?.cast(),
        })
    }
}

/// Registers of a device.
pub(super) struct Bar {
    /// The first of at least 1 MiB, mapped for ever.
    pub(super) at: *mut u8,
}

fn find(vendor: u16, device: u16) -> Result<PathBuf> {
    for path in fs::read_dir(DEVICES).with_context(|| format!("cannot read {DEVICES}"))? {
        let path = path?.path();
        let is = |file: &str, id: u16| -> Result<bool> {
            Ok(proc::read(path.join(file))? == format!("{id:#06x}"))
        };
        if is("vendor", vendor)? && is("device", device)? {
            return Ok(path);
        }
    }
    bail!("there is no PCI device {vendor:04x}:{device:04x}")
}

/// Memory that stays where it is, for a device to write to: it is never looked at as a slice.
pub(super) struct Memory {
    at: *mut u8,
    length: usize,
}

impl Memory {
    /// So many bytes, so aligned; in large pages where there are any.
    pub(super) fn new(length: usize, align: usize) -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let whole = length + align;
        // SAFETY: a new mapping, wherever the kernel likes.
        let at = unsafe { mmap_anonymous(ptr::null_mut(), whole, access, MapFlags::PRIVATE) };
        let at = at.context("no memory")?.cast::<u8>();
        // SAFETY: the aligned part lies in what was mapped.
        let at = unsafe { at.add(at.align_offset(align)) };
        // SAFETY: advice changes nothing that a program sees. A kernel without large pages refuses.
        let _ = unsafe { madvise(at.cast(), length, Advice::LinuxHugepage) };
        Ok(Memory { at, length })
    }

    /// Fills a part.
    pub(super) fn fill(&self, offset: usize, length: usize, byte: u8) {
        assert!(offset + length <= self.length);
        for n in offset..offset + length {
            // SAFETY: within the mapping.
            unsafe { ptr::write_volatile(self.at.wrapping_add(n), byte) }
        }
    }

    /// Is a part full of `byte`?
    pub(super) fn is(&self, offset: usize, length: usize, byte: u8) -> bool {
        assert!(offset + length <= self.length);
        // SAFETY: within the mapping.
        (offset..offset + length)
            .all(|n| unsafe { ptr::read_volatile(self.at.wrapping_add(n)) } == byte)
    }
}

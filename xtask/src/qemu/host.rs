//! A machine with a Linux host: its disk, its devices, and what `guest-loader` puts where.

use std::path::Path;
use std::process::Command;

use super::{Machine, SMMU, guest_loader};
use crate::payload::{Kind, Module};

/// Where the kernel is loaded: 2 MiB aligned, above Ward's image and QEMU's device tree, in RAM of
/// 1 GiB and more. Ward moves a kernel that cannot run where it lies.
const KERNEL: u64 = 0x5000_0000;
/// Where the initial RAM disk is loaded: 256 MiB above the kernel.
const INITRD: u64 = 0x6000_0000;

/// Beside an SMMU virtio devices are bus masters like others.
const BEHIND_SMMU: [&str; 2] = ["-global", "virtio-device.iommu_platform=on"];

/// One boot of a Linux host beside Ward.
pub(crate) struct HostBoot<'a> {
    /// The machine.
    pub(crate) machine: Machine<'a>,
    /// Ward's flat image.
    pub(crate) ward: &'a Path,
    /// The kernel, an arm64 `Image`.
    pub(crate) kernel: &'a Path,
    /// Its initial RAM disk.
    pub(crate) initrd: &'a Path,
    /// Its command line.
    pub(crate) bootargs: &'a str,
    /// Whether the machine has an SMMUv3, with all devices behind it.
    pub(crate) smmu: bool,
    /// What the NVMe disk holds.
    pub(crate) nvme: &'a Path,
    /// What the virtio disk holds.
    pub(crate) virtio: &'a Path,
    /// Who reads the console.
    pub(crate) console: Reader,
    /// Wait for gdb on port 1234.
    pub(crate) wait_for_gdb: bool,
}

/// Who reads the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A person at a terminal, who gets it raw, with QEMU's monitor behind Ctrl-A C.
    Person,
    /// A program.
    Program,
}

impl HostBoot<'_> {
    /// The QEMU command. A machine that resets starts again.
    pub(crate) fn command(&self) -> Command {
        self.start(true)
    }

    /// The same machine, whose kernel starts by itself, without Ward.
    pub(crate) fn without_ward(&self) -> Command {
        self.start(false)
    }

    fn start(&self, beside_ward: bool) -> Command {
        let mut qemu = self.machine.command();
        qemu.args(["-nographic", "-nodefaults", "-serial"]);
        qemu.arg(match self.console {
            Reader::Person => "mon:stdio",
            Reader::Program => "stdio",
        });
        let files = Files {
            ward: self.ward,
            kernel: self.kernel,
            initrd: self.initrd,
        };
        files.load(&mut qemu, beside_ward, self.bootargs);
        for (name, file) in [("nvme", self.nvme), ("virtio", self.virtio)] {
            qemu.arg("-drive").arg(format!(
                "if=none,id={name},format=raw,file={}",
                super::escape(&file.to_string_lossy())
            ));
        }
        qemu.args(["-device", "nvme,drive=nvme,serial=ward"]);
        qemu.args(["-device", "virtio-blk-pci,drive=virtio,disable-legacy=on"]);
        qemu.args(["-netdev", "user,id=net"]);
        // Without its ROM file, which another package holds and nothing here uses.
        qemu.args([
            "-device",
            "virtio-net-pci,netdev=net,disable-legacy=on,romfile=",
        ]);
        if self.smmu {
            qemu.args(SMMU).args(BEHIND_SMMU);
        }
        if self.wait_for_gdb {
            qemu.args(["-s", "-S"]);
        }
        qemu
    }
}

/// What QEMU loads.
pub(crate) struct Files<'a> {
    /// Ward's flat image.
    pub(crate) ward: &'a Path,
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// Its initial RAM disk.
    pub(crate) initrd: &'a Path,
}

impl Files<'_> {
    /// Has QEMU start the kernel, beside Ward or by itself.
    pub(crate) fn load(&self, qemu: &mut Command, beside_ward: bool, bootargs: &str) {
        if !beside_ward {
            qemu.arg("-kernel").arg(self.kernel);
            qemu.arg("-initrd").arg(self.initrd);
            qemu.args(["-append", bootargs]);
            return;
        }
        qemu.arg("-kernel").arg(self.ward);
        let modules = [
            (KERNEL, self.kernel, Kind::Kernel),
            (INITRD, self.initrd, Kind::Data),
        ];
        for (address, file, kind) in modules {
            let module = Module {
                address,
                file: file.into(),
                kind,
            };
            qemu.arg("-device").arg(guest_loader(&module, bootargs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::shell_line;

    #[test]
    fn the_command_names_everything_and_restarts_on_reset() {
        let boot = |console| HostBoot {
            machine: Machine {
                cpu: "cortex-a76",
                cpus: 2,
                memory: 2048,
                count_instructions: false,
            },
            ward: Path::new("/w/ward.bin"),
            kernel: Path::new("/w/Image"),
            initrd: Path::new("/w/initrd"),
            bootargs: "console=ttyAMA0 a,b",
            smmu: true,
            nvme: Path::new("/w/n,1"),
            virtio: Path::new("/w/v"),
            console,
            wait_for_gdb: false,
        };
        let line = shell_line(&boot(Reader::Program).command());
        for part in [
            "-smp 2 -m 2048 -nographic -nodefaults -serial stdio -kernel /w/ward.bin ",
            "'guest-loader,addr=0x50000000,kernel=/w/Image,bootargs=console=ttyAMA0 a,,b'",
            "guest-loader,addr=0x60000000,initrd=/w/initrd ",
            "id=nvme,format=raw,file=/w/n,,1 ",
            "-machine iommu=smmuv3 ",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("-no-reboot") && !line.contains("-S"));
        assert!(shell_line(&boot(Reader::Person).command()).contains("mon:stdio"));
        let alone = shell_line(&boot(Reader::Program).without_ward());
        assert!(
            alone.contains("-kernel /w/Image -initrd /w/initrd ") && !alone.contains("ward.bin")
        );
    }
}

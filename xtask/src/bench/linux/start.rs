//! The four machines.

use std::path::Path;
use std::process::Command;

use crate::qemu::BARE;
use crate::qemu::host::Files;
use crate::run::shell_line;

const MEMORY: &str = "2048";
const BOOTARGS: &str = "console=ttyAMA0 quiet panic=-1";
/// A disk that answers with zeros, later than the CPU looks: the host always has to wait, and
/// takes an interrupt, as with a disk.
const DISK: &str = "driver=null-co,size=67108864,read-zeroes=on,latency-ns=200000,node-name=";

/// How the kernel is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At EL1; the machine has no EL2.
    El1,
    /// At EL2.
    El2,
    /// By Ward, at EL1.
    Ward,
    /// By Ward, at EL1; all devices are behind Ward's SMMU.
    Smmu,
}

impl Start {
    /// In the order of the table.
    pub(super) const ALL: [Start; 4] = [Start::El1, Start::El2, Start::Ward, Start::Smmu];

    /// In words.
    pub(super) fn what(self) -> &'static str {
        match self {
            Start::El1 => "at EL1 without Ward",
            Start::El2 => "at EL2 without Ward",
            Start::Ward => "beside Ward",
            Start::Smmu => "beside Ward with an SMMU",
        }
    }

    /// Whether Ward starts it.
    pub(super) fn by_ward(self) -> bool {
        matches!(self, Start::Ward | Start::Smmu)
    }

    /// The QEMU command.
    pub(super) fn command(self, cpu: &str, files: &Files<'_>) -> Command {
        let mut qemu = Command::new("qemu-system-aarch64");
        let el2 = if self == Start::El1 {
            ""
        } else {
            "virtualization=on,"
        };
        qemu.arg("-machine");
        // A virtio device is no bus master like another unless it is told so.
        let (smmu, platform) = match self {
            Start::Smmu => ("iommu=smmuv3,", ",iommu_platform=on"),
            _ => ("", ""),
        };
        qemu.arg(format!("virt,{el2}{smmu}gic-version=3,dtb-randomness=off"));
        // One CPU: with instruction counting QEMU runs the CPUs in turn, and waiting would be counted.
        qemu.args(["-cpu", cpu, "-smp", "1", "-m", MEMORY]);
        qemu.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
        qemu.args(["-seed", "1"]).args(BARE);
        for (name, device) in [
            (
                "virtio",
                format!("virtio-blk-pci,drive=virtio,disable-legacy=on{platform}"),
            ),
            ("nvme", "nvme,drive=nvme,serial=ward".to_owned()),
        ] {
            qemu.arg("-blockdev").arg(format!("{DISK}{name}"));
            qemu.args(["-device", &device]);
        }
        files.load(&mut qemu, self.by_ward(), BOOTARGS);
        qemu
    }

    /// The command with short names of files, for the manual.
    pub(super) fn line(self, cpu: &str) -> String {
        let short = Files {
            ward: Path::new("ward.bin"),
            kernel: Path::new("Image"),
            initrd: Path::new("initramfs"),
        };
        shell_line(&self.command(cpu, &short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_differ_in_how_they_start() {
        let [el1, el2, ward, smmu] = Start::ALL.map(|start| start.line("cortex-a76"));
        assert!(!el1.contains("virtualization") && el1.contains("-kernel Image -initrd"));
        assert_eq!(el1, el2.replace("virtualization=on,", ""));
        assert!(ward.contains("-kernel ward.bin") && ward.contains("kernel=Image,bootargs="));
        let without = smmu.replace("iommu=smmuv3,", "");
        assert_eq!(ward, without.replace(",iommu_platform=on", ""));
        for line in [el1, el2, ward, smmu] {
            assert!(line.contains("-icount shift=0,sleep=off -seed 1"), "{line}");
        }
    }
}

//! Booting in QEMU: the machine, its command line ([`Boot::command`]) and a supervised run
//! ([`console::watch`]).

pub(crate) mod console;
pub(crate) mod host;
pub(crate) mod lost;

use std::process::Command;

use crate::image::Images;
use crate::payload::{Guest, Kind, Module};

/// The emulated machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine<'a> {
    /// CPU model, as QEMU names it.
    pub(crate) cpu: &'a str,
    /// Number of CPUs.
    pub(crate) cpus: u32,
    /// RAM in MiB.
    pub(crate) memory: u32,
    /// Count instructions instead of time, so that a run repeats exactly.
    pub(crate) count_instructions: bool,
}

impl Machine<'_> {
    /// QEMU with the machine's options.
    pub(crate) fn command(&self) -> Command {
        let mut qemu = Command::new("qemu-system-aarch64");
        let repeatable = if self.count_instructions {
            ",dtb-randomness=off"
        } else {
            ""
        };
        qemu.arg("-machine")
            .arg(format!("virt,virtualization=on,gic-version=3{repeatable}"));
        qemu.args(["-cpu", self.cpu, "-smp", &self.cpus.to_string()]);
        qemu.args(["-m", &self.memory.to_string()]);
        if self.count_instructions {
            qemu.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
            qemu.args(["-seed", "1"]);
        }
        qemu
    }
}

/// What a machine with an SMMU has beside.
pub(crate) const SMMU: [&str; 2] = ["-machine", "iommu=smmuv3"];

/// A console on our terminal and nothing else; a reset ends it. No default devices: no network card
/// or graphics, whose ROM files need more packages.
pub(crate) const BARE: [&str; 5] = [
    "-nographic",
    "-nodefaults",
    "-serial",
    "stdio",
    "-no-reboot",
];

/// One boot: a machine and what runs on it.
pub(crate) struct Boot<'a> {
    /// The machine.
    pub(crate) machine: Machine<'a>,
    /// What `cargo xtask image` made.
    pub(crate) images: &'a Images,
    /// What the host is told to do: the name of a test suite, `demo` or `bench`.
    pub(crate) bootargs: &'a str,
    /// In which form it gets its guest.
    pub(crate) guest: Guest,
    /// Wait for gdb on port 1234.
    pub(crate) wait_for_gdb: bool,
}

impl Boot<'_> {
    /// The QEMU command.
    pub(crate) fn command(&self) -> Command {
        let mut qemu = self.machine.command();
        qemu.args(BARE);
        qemu.arg("-kernel").arg(&self.images.ward);
        let payload = &self.images.payload;
        let bootargs = payload.bootargs(self.bootargs, self.guest);
        for module in payload.modules(self.guest) {
            qemu.arg("-device").arg(guest_loader(&module, &bootargs));
        }
        if self.wait_for_gdb {
            qemu.args(["-s", "-S"]);
        }
        qemu
    }
}

pub(crate) fn guest_loader(module: &Module, bootargs: &str) -> String {
    let file = escape(&module.file.to_string_lossy());
    match module.kind {
        Kind::Kernel => {
            format!(
                "guest-loader,addr={:#x},kernel={file},bootargs={}",
                module.address,
                escape(bootargs)
            )
        }
        Kind::Data => format!("guest-loader,addr={:#x},initrd={file}", module.address),
    }
}

/// QEMU separates properties with commas; a comma inside one is doubled.
pub(crate) fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::shell_line;

    fn line(count_instructions: bool, wait_for_gdb: bool, guest: Guest) -> String {
        let images = Images::sample("/w/ward.bin");
        let machine = Machine {
            cpu: "cortex-a76",
            cpus: 2,
            memory: 1024,
            count_instructions,
        };
        shell_line(
            &Boot {
                machine,
                images: &images,
                bootargs: "demo x",
                guest,
                wait_for_gdb,
            }
            .command(),
        )
    }

    #[test]
    fn the_command_names_machine_image_and_modules() {
        assert_eq!(
            line(false, false, Guest::Bundle),
            "qemu-system-aarch64 -machine virt,virtualization=on,gic-version=3 -cpu cortex-a76 -smp 2 -m 1024 \
             -nographic -nodefaults -serial stdio -no-reboot -kernel /w/ward.bin \
             -device 'guest-loader,addr=0x50000000,kernel=/a,,b/host,bootargs=demo x' \
             -device guest-loader,addr=0x54000000,initrd=/bundle"
        );
        let with_key = line(false, false, Guest::WithKey);
        assert!(with_key.contains("bootargs=demo x signing-key=00ff'"));
        assert!(with_key.ends_with("initrd=/program"));
    }

    #[test]
    fn counting_and_debugging_add_their_options() {
        assert!(line(true, false, Guest::Bundle).contains("gic-version=3,dtb-randomness=off"));
        assert!(
            line(true, false, Guest::Bundle)
                .contains("-accel tcg -icount shift=0,sleep=off -seed 1")
        );
        assert!(line(false, true, Guest::Bundle).ends_with(" -s -S"));
    }
}

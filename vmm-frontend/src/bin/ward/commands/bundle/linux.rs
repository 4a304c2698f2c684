//! A Linux guest from its files.

use super::options::Options;
use super::read;
use crate::args::Output;
use serde_json::{Value, json};
use std::fmt::Write;
use vmm_frontend::Error;
use vmm_frontend::bundle::Spec;
use vmm_frontend::guest::Guest;
use vmm_frontend::kernel::{self, Packing, Sharing};
use vmm_frontend::layout::{Layout, Machine, Span};
use vmm_frontend::size::Size;

/// What was found and decided.
pub struct Linux {
    release: Option<String>,
    packing: Packing,
    sharing: Sharing,
    layout: Layout,
    command_line: String,
}

pub fn prepare(options: &Options, output: Output) -> Result<(Spec, Linux), Error> {
    let machine = machine(options)?;
    let file = options.kernel()?;
    let kernel = kernel::read(&file.value).map_err(|e| options.blame(file, e))?;
    let initrd = match &options.initrd {
        Some(file) => Some(initrd(&file.value, output).map_err(|e| options.blame(file, e))?),
        None => None,
    };
    let (release, packing, sharing) = (kernel.release.clone(), kernel.packing, kernel.sharing);
    let append = options.append.as_ref();
    let command_line = append.map(|from| from.value.clone()).unwrap_or_default();
    let guest = Guest {
        machine,
        kernel,
        initrd,
        command_line: command_line.clone(),
        bounce: true,
    };
    let layout = guest
        .layout()
        .map_err(|e| options.blame(&options.memory, e))?;
    let spec = guest.into_spec().map_err(|e| match append {
        Some(from) => options.blame(from, e),
        None => e,
    })?;
    let linux = Linux {
        release,
        packing,
        sharing,
        layout,
        command_line,
    };
    Ok((spec, linux))
}

fn machine(options: &Options) -> Result<Machine, Error> {
    let (cpus, memory) = (&options.cpus, &options.memory);
    // Each is tried with a good value of the other, so that the right one is blamed.
    Machine::new(cpus.value, 512 << 20).map_err(|e| options.blame(cpus, e))?;
    Machine::new(cpus.value, memory.value.0).map_err(|e| options.blame(memory, e))
}

fn initrd(file: &std::path::Path, output: Output) -> Result<Vec<u8>, Error> {
    let bytes = read(file, output)?;
    let bad = |what: &str, remedy: &str| Error::Input {
        file: file.into(),
        what: what.into(),
        remedy: remedy.into(),
    };
    if bytes.is_empty() {
        return Err(bad("is empty", "check the file, or leave out --initrd"));
    }
    if kernel::recognise(&bytes).is_some() {
        return Err(bad(
            "is a kernel, not an initial RAM disk",
            "give the kernel with --kernel and the RAM disk with --initrd",
        ));
    }
    Ok(bytes)
}

impl Linux {
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<14}{value}");
        };
        let release = self.release.as_deref().unwrap_or("of an unknown release");
        let ram = self.layout.machine.ram();
        let cpus = self.layout.machine.cpus();
        let s = if cpus == 1 { "" } else { "s" };
        line(
            "machine",
            format!(
                "{cpus} CPU{s}, {} of memory at {:#x}",
                Size(ram.size),
                ram.start
            ),
        );
        line("command line", format!("{:?}", self.command_line));
        let kernel = place(self.layout.kernel_memory);
        line(
            "kernel",
            format!("{kernel}: Linux {release} ({})", self.packing.name()),
        );
        if let Some(initrd) = self.layout.initrd {
            line("initrd", place(initrd));
        }
        line("device tree", format!("{:#x}", self.layout.tree));
        if let Some(pool) = self.layout.pool {
            line("shared pool", place(pool));
        }
        text
    }

    pub fn json(&self) -> Value {
        let span = |span: Span| json!({ "ipa": format!("{:#x}", span.start), "size": span.size });
        json!({
            "release": self.release,
            "packing": self.packing.name(),
            "virtio_when_protected": self.sharing.works(),
            "cpus": self.layout.machine.cpus(),
            "memory": self.layout.machine.ram().size,
            "command_line": self.command_line,
            "kernel": span(self.layout.kernel_memory),
            "initrd": self.layout.initrd.map(span),
            "device_tree": format!("{:#x}", self.layout.tree),
            "pool": self.layout.pool.map(span),
        })
    }

    pub fn warning(&self) -> Option<String> {
        self.sharing.warning()
    }
}

fn place(span: Span) -> String {
    format!("{:#x}, {}", span.start, Size(span.size))
}

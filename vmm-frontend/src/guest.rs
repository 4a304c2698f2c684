//! A guest from kernel, RAM disk and command line: what a [`Spec`] needs to know, worked out.

use crate::Error;
use crate::bundle::{ImageSpec, Spec};
use crate::fdt;
use crate::kernel::Kernel;
use crate::layout::{Layout, Machine, Span};
use hyp_core::abi::manifest::ImageKind;

#[cfg(test)]
mod tests;

/// A Linux guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// CPUs and memory.
    pub machine: Machine,
    /// The kernel.
    pub kernel: Kernel,
    /// The initial RAM disk.
    pub initrd: Option<Vec<u8>>,
    /// What the kernel is told. Its console needs no word here: the tree names it.
    pub command_line: String,
    /// Whether devices get at nothing but a pool that the guest shares with them: what a protected
    /// guest needs.
    pub bounce: bool,
}

impl Guest {
    /// Where everything goes.
    ///
    /// # Errors
    /// [`Error::Machine`] when it does not fit.
    pub fn layout(&self) -> Result<Layout, Error> {
        let initrd = self.initrd.as_ref().map(|bytes| bytes.len() as u64);
        let layout = Layout::new(self.machine, self.kernel.shape, initrd)?;
        Ok(match self.bounce {
            true => layout,
            false => layout.without_pool(),
        })
    }

    /// The parts of a bundle: kernel, RAM disk if there is one, and the device tree, in this
    /// order, with all memory and devices of the machine.
    ///
    /// # Errors
    /// [`Error::Machine`] when they do not fit, or the command line is too long.
    pub fn into_spec(self) -> Result<Spec, Error> {
        let layout = self.layout()?;
        let tree = fdt::build(&layout, &self.command_line)?;
        let mut spec = Spec::new(self.machine.cpus());
        let pair = |span: Span| (span.start, span.size);
        spec.ram = vec![pair(self.machine.ram())];
        spec.mmio = self.machine.mmio().into_iter().map(pair).collect();
        spec.entry = Some(layout.kernel.start);
        spec.boot_arg = Some(layout.tree);
        let kernel = ImageSpec::kernel(layout.kernel.start, self.kernel.image);
        let initrd = layout.initrd.zip(self.initrd);
        let initrd = initrd.map(|(at, bytes)| ImageSpec::new(ImageKind::Initrd, at.start, bytes));
        let tree = ImageSpec::new(ImageKind::DeviceTree, layout.tree, tree);
        spec.images = [Some(kernel), initrd, Some(tree)]
            .into_iter()
            .flatten()
            .collect();
        Ok(spec)
    }
}

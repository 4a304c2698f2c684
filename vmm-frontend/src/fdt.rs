//! The device tree of the [machine](crate::layout).
//!
//! Nothing random is in it: it is signed, and a seed that everybody can read in a bundle is none.
//! A guest gets its randomness from the CPU (`RNDR`, or Ward's TRNG calls).

use crate::Error;
use crate::layout::{
    GICD, GPIO, GPIO_SPI, ITS, Layout, Machine, PANIC, POWER_LINE, RTC, RTC_SPI, Span, UART,
    UART_SPI, VIRTIO_SLOTS, VIRTIO_SPI, gicr, virtio,
};
use vm_fdt::FdtWriter;

mod summary;
#[cfg(test)]
mod tests;

pub use summary::{Summary, source, summarise};

/// What nodes call each other by.
mod handle {
    pub(super) const GIC: u32 = 1;
    pub(super) const ITS: u32 = 2;
    pub(super) const CLOCK: u32 = 3;
    pub(super) const GPIO: u32 = 4;
    pub(super) const POOL: u32 = 5;
}

/// First cell of an interrupt: shared, or of one CPU.
const SPI: u32 = 0;
const PPI: u32 = 1;
/// Last cell of an interrupt.
const EDGE: u32 = 1;
const LEVEL: u32 = 4;
/// Hertz of the clock that the PrimeCell devices say they have.
const CLOCK_RATE: u32 = 24_000_000;
/// Linux's name of the power button's key.
const KEY_POWER: u32 = 116;

type Result = std::result::Result<(), vm_fdt::Error>;

/// Writes the tree of a guest that starts from `layout` with this command line.
///
/// # Errors
/// [`Error::Machine`] when the command line cannot be in a tree.
pub fn build(layout: &Layout, command_line: &str) -> std::result::Result<Vec<u8>, Error> {
    if command_line.len() > MAX_COMMAND_LINE || command_line.contains('\0') {
        let what = format!(
            "the kernel's command line has {} bytes, or one that is zero",
            command_line.len()
        );
        let remedy = format!("Linux takes at most {MAX_COMMAND_LINE} bytes; shorten it");
        return Err(Error::Machine { what, remedy });
    }
    tree(layout, command_line).map_err(|error| Error::Machine {
        what: format!("the device tree cannot be written: {error}"),
        remedy: "this is a mistake of this program: report it with your command line".to_owned(),
    })
}

/// Bytes of the longest command line that Linux on arm64 takes.
pub const MAX_COMMAND_LINE: usize = 2047;

fn tree(layout: &Layout, command_line: &str) -> std::result::Result<Vec<u8>, vm_fdt::Error> {
    let machine = &layout.machine;
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_string("model", "Ward guest")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", handle::GIC)?;
    chosen(&mut fdt, layout, command_line)?;
    memory(&mut fdt, layout)?;
    cpus(&mut fdt, machine)?;
    interrupts(&mut fdt, machine)?;
    let clock = fdt.begin_node("apb-pclk")?;
    fdt.property_string("compatible", "fixed-clock")?;
    fdt.property_u32("#clock-cells", 0)?;
    fdt.property_u32("clock-frequency", CLOCK_RATE)?;
    fdt.property_string("clock-output-names", "clk24mhz")?;
    fdt.property_phandle(handle::CLOCK)?;
    fdt.end_node(clock)?;
    primecells(&mut fdt)?;
    let panic = begin(&mut fdt, "pvpanic", Span::new(PANIC.start, 2))?;
    fdt.property_string("compatible", "qemu,pvpanic-mmio")?;
    fdt.end_node(panic)?;
    for slot in 0..VIRTIO_SLOTS {
        let node = begin(&mut fdt, "virtio_mmio", virtio(slot))?;
        fdt.property_string("compatible", "virtio,mmio")?;
        fdt.property_array_u32("interrupts", &[SPI, VIRTIO_SPI + slot, EDGE])?;
        fdt.property_null("dma-coherent")?;
        if layout.pool.is_some() {
            fdt.property_u32("memory-region", handle::POOL)?;
        }
        fdt.end_node(node)?;
    }
    fdt.end_node(root)?;
    fdt.finish()
}

/// Begins `name@address` with its `reg`.
fn begin(
    fdt: &mut FdtWriter,
    name: &str,
    span: Span,
) -> std::result::Result<vm_fdt::FdtWriterNode, vm_fdt::Error> {
    let node = fdt.begin_node(&format!("{name}@{:x}", span.start))?;
    fdt.property_array_u64("reg", &[span.start, span.size])?;
    Ok(node)
}

fn chosen(fdt: &mut FdtWriter, layout: &Layout, command_line: &str) -> Result {
    let uart = format!("/serial@{:x}", UART.start);
    let node = fdt.begin_node("aliases")?;
    fdt.property_string("serial0", &uart)?;
    fdt.end_node(node)?;
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("stdout-path", &uart)?;
    fdt.property_string("bootargs", command_line)?;
    if let Some(initrd) = layout.initrd {
        fdt.property_u64("linux,initrd-start", initrd.start)?;
        fdt.property_u64("linux,initrd-end", initrd.end())?;
    }
    fdt.end_node(node)
}

fn memory(fdt: &mut FdtWriter, layout: &Layout) -> Result {
    let node = begin(fdt, "memory", layout.machine.ram())?;
    fdt.property_string("device_type", "memory")?;
    fdt.end_node(node)?;
    let Some(pool) = layout.pool else {
        return Ok(());
    };
    let node = fdt.begin_node("reserved-memory")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_null("ranges")?;
    let pool = begin(fdt, "restricted-dma-pool", pool)?;
    fdt.property_string("compatible", "restricted-dma-pool")?;
    fdt.property_phandle(handle::POOL)?;
    fdt.end_node(pool)?;
    fdt.end_node(node)
}

/// The affinity of a vCPU, as Ward and KVM number them: 16 to a cluster.
pub const fn affinity(vcpu: u32) -> u32 {
    (vcpu % 16) | ((vcpu / 16) << 8)
}

fn cpus(fdt: &mut FdtWriter, machine: &Machine) -> Result {
    let node = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for vcpu in 0..machine.cpus() {
        let cpu = fdt.begin_node(&format!("cpu@{:x}", affinity(vcpu)))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_string("enable-method", "psci")?;
        fdt.property_u32("reg", affinity(vcpu))?;
        fdt.end_node(cpu)?;
    }
    fdt.end_node(node)?;
    let node = fdt.begin_node("psci")?;
    strings(fdt, "compatible", &["arm,psci-1.0", "arm,psci-0.2"])?;
    fdt.property_string("method", "hvc")?;
    fdt.end_node(node)
}

fn interrupts(fdt: &mut FdtWriter, machine: &Machine) -> Result {
    let redistributors = gicr(machine.cpus());
    let node = fdt.begin_node(&format!("interrupt-controller@{:x}", GICD.start))?;
    fdt.property_string("compatible", "arm,gic-v3")?;
    let places = [GICD, redistributors].map(|span| [span.start, span.size]);
    fdt.property_array_u64("reg", places.as_flattened())?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    // The maintenance interrupt of the list registers, which a guest has no use for.
    fdt.property_array_u32("interrupts", &[PPI, 9, LEVEL])?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_null("ranges")?;
    fdt.property_phandle(handle::GIC)?;
    let its = begin(fdt, "msi-controller", ITS)?;
    fdt.property_string("compatible", "arm,gic-v3-its")?;
    fdt.property_null("msi-controller")?;
    fdt.property_u32("#msi-cells", 1)?;
    fdt.property_phandle(handle::ITS)?;
    fdt.end_node(its)?;
    fdt.end_node(node)?;
    let node = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    // Secure physical, physical, virtual, hypervisor: the guest uses the third.
    let lines = [13, 14, 11, 10].map(|line| [PPI, line, LEVEL]);
    fdt.property_array_u32("interrupts", lines.as_flattened())?;
    fdt.property_null("always-on")?;
    fdt.end_node(node)
}

fn primecells(fdt: &mut FdtWriter) -> Result {
    let common = |fdt: &mut FdtWriter, kind: &str, spi: u32, clocks: &[&str]| -> Result {
        strings(fdt, "compatible", &[kind, "arm,primecell"])?;
        fdt.property_array_u32("interrupts", &[SPI, spi, LEVEL])?;
        fdt.property_array_u32("clocks", &vec![handle::CLOCK; clocks.len()])?;
        strings(fdt, "clock-names", clocks)
    };
    let node = begin(fdt, "serial", UART)?;
    common(fdt, "arm,pl011", UART_SPI, &["uartclk", "apb_pclk"])?;
    fdt.end_node(node)?;
    let node = begin(fdt, "rtc", RTC)?;
    common(fdt, "arm,pl031", RTC_SPI, &["apb_pclk"])?;
    fdt.end_node(node)?;
    let node = begin(fdt, "gpio", GPIO)?;
    common(fdt, "arm,pl061", GPIO_SPI, &["apb_pclk"])?;
    fdt.property_u32("#address-cells", 0)?;
    fdt.property_null("gpio-controller")?;
    fdt.property_u32("#gpio-cells", 2)?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 2)?;
    fdt.property_phandle(handle::GPIO)?;
    fdt.end_node(node)?;
    let keys = fdt.begin_node("gpio-keys")?;
    fdt.property_string("compatible", "gpio-keys")?;
    let power = fdt.begin_node("power")?;
    fdt.property_string("label", "Power button")?;
    fdt.property_u32("linux,code", KEY_POWER)?;
    fdt.property_array_u32("gpios", &[handle::GPIO, POWER_LINE, 0])?;
    fdt.end_node(power)?;
    fdt.end_node(keys)
}

fn strings(fdt: &mut FdtWriter, name: &str, values: &[&str]) -> Result {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    fdt.property_string_list(name, values)
}

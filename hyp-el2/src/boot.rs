//! From the boot loader to the host's first instruction.
//!
//! Runs once, on the boot CPU: map the image, turn the MMU on, read the device tree, take the
//! memory Ward needs, build the host's stage 2, give the host its device tree, and enter it at
//! EL1. Whatever is missing ends here with a line that says what, and the machine stopped.

mod devices;
mod image;
mod payload;
mod test_calls;

pub use image::on_boot_stack;
pub use test_calls::handle as test_call;

use crate::cpu::{get, park, set};
use crate::fdt::{self, Missing, Platform, Span, Spans};
use crate::gic::Unfit;
use crate::image::appended::Bad;
use crate::machine::El2;
use crate::mmu::{self, Access};
use crate::percpu::{self, CPU_FRAMES, GUARDS, power};
use crate::{crash, glue, layout, switch};
use core::fmt;
use core::sync::atomic::Ordering;
use devices::Devices;
use dtoolkit::fdt::Fdt;
use hyp_core::Ward;
use hyp_core::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn};
use hyp_core::config::{BootError, Config};
use hyp_core::lock::Ordered;
use hyp_core::memory::{FrameWord, Range, Ranges};
use hyp_core::stage2::Geometry;
use hyp_core::vcpu::context::RESET_PSTATE;
use hyp_core::vm::VmSlot;
use hyp_core::without::{MARK, WITHOUT};

const BLOCK: u64 = 2 << 20;

/// What the image was built with.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Version of the image.
    pub version: &'static str,
    /// Ed25519 public keys that may sign guests.
    pub keys: &'static [[u8; 32]],
    /// For Ward's own tests only: a crash powers the machine off, and a host may cause one.
    pub test: bool,
}

/// Why there is nothing to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fatal {
    Missing(Missing),
    /// The CPU is not one Ward can run on.
    Cpu(&'static str),
    /// The image or the device tree is not in RAM.
    NotInRam(Span),
    /// RAM that the CPU has no address bits for.
    Beyond(Span, u32),
    /// No place in RAM.
    NoRoom(&'static str, u64),
    /// Too many tables for Ward's own map.
    Tables,
    /// The interrupt controller has more of something than Ward can filter.
    Gic(&'static str),
    Tree,
    /// There is neither a boot module nor an appended kernel.
    NoKernel,
    Kernel(&'static str),
    /// What is appended to the image cannot be used.
    Appended(Bad),
    /// A part is not what was appended.
    Changed(&'static str),
    /// Two parts in one place.
    Overlap(Span, Span),
    Core(BootError),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Missing(missing) => write!(f, "{missing}"),
            Fatal::Cpu(what) => write!(f, "this CPU {what}"),
            Fatal::NotInRam(span) => {
                write!(f, "{span} is outside the memory the device tree names")
            }
            Fatal::Beyond(bank, bits) => write!(
                f,
                "RAM {bank} is above what this CPU's {bits} address bits reach: the device tree \
                 describes another machine"
            ),
            Fatal::NoRoom(what, bytes) => {
                write!(f, "no room in RAM for {what}: {} KiB", bytes >> 10)
            }
            Fatal::Tables => write!(f, "memory is in too many pieces for Ward's own map"),
            Fatal::Gic(what) => write!(
                f,
                "the interrupt controller has more {what} than Ward can filter, and the host would \
                 reach all memory by the rest: disable them in the device tree"
            ),
            Fatal::Tree => write!(f, "the device tree cannot be edited for the host"),
            Fatal::NoKernel => write!(
                f,
                "no host to start: /chosen has no module with compatible \"multiboot,kernel\", and \
                 nothing is appended to the image (on QEMU: -device \
                 guest-loader,addr=0x50000000,kernel=FILE; else: cargo xtask image --payload FILE)"
            ),
            Fatal::Kernel(what) => write!(f, "the host's kernel {what}"),
            Fatal::Appended(bad) => write!(f, "what is appended to the image {bad}"),
            Fatal::Changed(what) => write!(
                f,
                "{what} is not what was appended to the image: the file is cut off or damaged"
            ),
            Fatal::Overlap(one, other) => write!(
                f,
                "{one} overlaps {other}: image, device tree, kernel and modules must be loaded apart"
            ),
            Fatal::Core(error) => write!(f, "the memory found does not fit together: {error:?}"),
        }
    }
}

impl From<Missing> for Fatal {
    fn from(missing: Missing) -> Self {
        Fatal::Missing(missing)
    }
}

impl From<Unfit> for Fatal {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Tables => Fatal::Tables,
            Unfit::TooMany(what) => Fatal::Gic(what),
        }
    }
}

impl From<mmu::NoTables> for Fatal {
    fn from(_: mmu::NoTables) -> Self {
        Fatal::Tables
    }
}

/// Before the MMU is on: maps the image and the device tree. Without a console a failure can
/// only stop.
#[unsafe(no_mangle)]
extern "C" fn ward_early(dtb: u64) {
    let tree = image::tree_span(dtb);
    // SAFETY: the boot CPU, MMU off; the image is where it is, and the tree is data.
    let mapped = unsafe { image::map() }
        // SAFETY: as above.
        .and_then(|()| unsafe { mmu::map(tree.base, tree.end(), Access::Data) });
    if mapped.is_err() {
        park();
    }
    // SAFETY: the boot CPU, MMU off.
    unsafe { mmu::prepare() };
}

/// With the MMU on: everything else.
pub fn main(dtb: u64, build: &Build) -> ! {
    // First, for the image still is what was loaded.
    let digest = image::measure();
    let tree = image::tree(dtb);
    let Ok(fdt) = fdt::parse(tree) else { park() };
    if open_console(fdt).is_err() {
        park();
    }
    let span = image::span();
    glue::say(format_args!(
        "Ward {} at {span}, sha256 {digest}",
        build.version
    ));
    if let Some(name) = WITHOUT {
        glue::say(format_args!("{MARK}{name}"));
    }
    crash::record::take(|line| glue::say(format_args!("last boot: {line}")));
    let fatal = match start(fdt, dtb, build) {
        Ok(never) => match never {},
        Err(fatal) => fatal,
    };
    glue::say(format_args!("cannot start: {fatal}"));
    park()
}

/// Without a UART that Ward knows it boots all the same: what it says is in its log only.
fn open_console(fdt: Fdt<'_>) -> Result<(), mmu::NoTables> {
    let Some(uart) = fdt::console(fdt) else {
        return Ok(());
    };
    // SAFETY: the boot CPU; the device tree says that these are registers of a PL011.
    unsafe { mmu::map(uart.base, uart.base + PAGE_SIZE, Access::Device)? };
    // SAFETY: mapped above, for good.
    unsafe { crate::console::set_base(uart.base as usize) };
    Ok(())
}

fn check_cpu() -> Result<(), Fatal> {
    // HCR_EL2.E2H is RES1 on CPUs without FEAT_E2H0: `el2_reset` cleared it.
    if get!("hcr_el2") & 1 << 34 != 0 {
        return Err(Fatal::Cpu("has no EL2 without VHE (FEAT_E2H0)"));
    }
    if crate::cpu::field(get!("id_aa64pfr0_el1"), 24) == 0 {
        return Err(Fatal::Cpu("has no GICv3 system registers"));
    }
    let mmfr0 = get!("id_aa64mmfr0_el1");
    if crate::cpu::field(mmfr0, 28) == 0xf {
        return Err(Fatal::Cpu("has no 4 KiB granule"));
    }
    Ok(())
}

/// Frames of Ward's that boot takes from RAM, in one piece.
struct Arena {
    next: Pfn,
    end: Pfn,
}

impl Arena {
    /// The next `frames`, aligned to `align` frames. The arena was sized for all.
    fn take(&mut self, frames: u64, align: u64) -> Pfn {
        let first = Pfn(self.next.0.next_multiple_of(align));
        self.next = first.add(frames);
        assert!(self.next <= self.end, "the arena was sized for this");
        first
    }
}

fn frames_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

fn range(span: Span) -> Range {
    Range {
        first: Pfn(span.base >> PAGE_SHIFT),
        frames: span.size >> PAGE_SHIFT,
    }
}

fn ranges(spans: &[Span]) -> Result<Ranges, Fatal> {
    let mut ranges = Ranges::new();
    for &span in spans {
        if !ranges.add(range(span)) {
            return Err(Fatal::Core(BootError::Memory));
        }
    }
    Ok(ranges)
}

enum Never {}

fn start(fdt: Fdt<'_>, dtb: u64, build: &Build) -> Result<Never, Fatal> {
    check_cpu()?;
    // Before all else: nothing that firmware left running passes an SMMU any more.
    let mut devices = Devices::begin(fdt)?;
    let machine = Platform::discover(fdt)?;
    report(&machine, build);
    if let Some(bank) = layout::beyond(&machine.ram, mmu::pa_bits().into()) {
        return Err(Fatal::Beyond(bank, mmu::pa_bits().into()));
    }
    let image = image::span();
    let tree = Span {
        base: dtb,
        size: fdt.data().len() as u64,
    }
    .to_pages();
    for part in [image, tree] {
        if !machine.ram.iter().any(|bank| bank.contains(part)) {
            return Err(Fatal::NotInRam(part));
        }
    }
    let source = payload::find(&machine)?;
    let mut taken = Spans::new();
    for span in [image, tree].into_iter().chain(source.parts()) {
        take(&mut taken, span)?;
    }
    check_overlap(&taken)?;
    // What firmware reserved may well be what it loaded.
    for &span in &machine.reserved {
        take(&mut taken, span)?;
    }

    // --- Ward's memory ---
    let geometry =
        Geometry::new(mmu::pa_bits()).ok_or(Fatal::Cpu("has too few physical address bits"))?;
    let mut config = Config {
        ram: ranges(&machine.ram)?,
        hyp: ranges(&[image])?,
        hyp_devices: Ranges::new(),
        geometry,
        keys: build.keys,
        list_registers: switch::list_registers(),
        virtual_timer: machine.virtual_timer,
        dma: None,
    };
    let slots = config.slots(vmid_bits());
    // The arena is one more range of Ward's: two more edges.
    let pool = config.boot_pool_frames() + 6;
    let frame_array = frames_of(config.ram.frames() * size_of::<FrameWord>() as u64);
    let slot_array = frames_of((slots * size_of::<VmSlot<El2>>()) as u64);
    let cpus = machine.cpus.len() as u64 * CPU_FRAMES;
    let root = geometry.root_frames();
    let dma = devices.frames(&config.ram)?;
    let bytes = (root * 2 + cpus + pool + frame_array + slot_array + dma) << PAGE_SHIFT;
    // By the page: a block's worth would be lost to rounding.
    let place = layout::find(&machine.ram, &taken, bytes, PAGE_SIZE)
        .ok_or(Fatal::NoRoom("Ward's records and tables", bytes))?;
    take(&mut taken, place)?;
    config.hyp = ranges(&[image, place])?;
    let mut arena = Arena {
        next: Pfn(place.base >> PAGE_SHIFT),
        end: Pfn(place.end() >> PAGE_SHIFT),
    };
    let root = arena.take(root, root);
    let cpu_area = arena.take(cpus, 1);
    let pool = Range {
        first: arena.take(pool, 1),
        frames: pool,
    };
    let frame_array = arena.take(frame_array, 1);
    let slot_array = arena.take(slot_array, 1);

    // --- Ward's own map: guards first, then all RAM ---
    for cpu in 0..machine.cpus.len() as u64 {
        for guard in GUARDS {
            // SAFETY: the boot CPU; nothing uses these pages.
            unsafe { mmu::guard(cpu_area.add(cpu * CPU_FRAMES + guard))? };
        }
    }
    for bank in &machine.ram {
        // SAFETY: the boot CPU; the device tree says that this is RAM that may be mapped.
        unsafe { mmu::map(bank.base, bank.end(), Access::Data)? };
    }
    devices.configure(&mut config, &mut arena, source.command_line(fdt))?;
    // SAFETY: frames of the arena, mapped but for the guards.
    unsafe { percpu::init(cpu_area, &machine.cpus) };
    let cpu =
        percpu::by_mpidr(crate::cpu::mpidr()).ok_or(Fatal::Cpu("is not in the device tree"))?;
    cpu.power.store(power::ON, Ordering::Relaxed);
    // SAFETY: the record lives for ever.
    unsafe { ward_set_cpu(cpu) };
    mmu::publish();
    crash::configure(geometry.root_frames(), build.test);
    test_calls::allow(build.test);

    // --- the core ---
    for n in 0..geometry.root_frames() {
        use hyp_core::machine::TableMemory;
        El2.zero_frame(root.add(n));
    }
    // SAFETY: the arena holds that many records, and nobody else has them.
    let frames = unsafe {
        new_array(frame_array, config.ram.frames() as usize, || {
            FrameWord::HOST_IDLE
        })
    };
    // SAFETY: as above.
    let slots = unsafe { new_array(slot_array, slots, || Ordered::new(None)) };
    let config_ram = config.ram.frames();
    let ward = install(config, frames, slots, root, pool)?;
    switch::traps::set_stage2(switch::vttbr(ward.host_root()), vtcr(geometry));
    report_cost(image, place, config_ram);

    // --- the host ---
    let entry = payload::prepare(
        fdt,
        &machine,
        &source,
        &mut taken,
        &[image, place],
        &devices,
    )?;
    devices.start(ward);
    prepare_cpu();
    let (pc, tree) = (entry.pc, entry.tree);
    ward.log(format_args!(
        "entering the host at {pc:#x} with stage 2 on, device tree at {tree:#x}"
    ));
    // Since reset, where firmware starts the counter there: how long Ward's boot took.
    let (ticks, frequency) = (get!("cntpct_el0"), get!("cntfrq_el0"));
    glue::say(format_args!("counter: {ticks} ticks of {frequency} Hz"));
    // SAFETY: this CPU is prepared; the host gets nothing of Ward's.
    unsafe { ward_enter_host(pc, RESET_PSTATE, tree, cpu) }
}

/// Apart from [`start`], for the stack that the moves of large values take.
#[inline(never)]
fn install(
    config: Config,
    frames: &'static mut [FrameWord],
    slots: &'static [VmSlot<El2>],
    root: Pfn,
    pool: Range,
) -> Result<&'static Ward<El2>, Fatal> {
    let ward = Ward::new(El2, config, frames, slots, root, pool).map_err(Fatal::Core)?;
    Ok(glue::install(ward))
}

fn take(taken: &mut Spans, span: Span) -> Result<(), Fatal> {
    let full = |_| Fatal::Missing(Missing::TooMany);
    taken.try_push(span.to_pages()).map_err(full)
}

/// Two parts in one place mean that one of them is gone already.
fn check_overlap(parts: &[Span]) -> Result<(), Fatal> {
    for (n, &part) in parts.iter().enumerate() {
        let other = parts[..n].iter().find(|other| other.overlaps(part));
        if let Some(&other) = other {
            return Err(Fatal::Overlap(part, other));
        }
    }
    Ok(())
}

unsafe extern "C" {
    fn ward_set_cpu(cpu: *const percpu::PerCpu);
    fn ward_enter_host(pc: u64, pstate: u64, x0: u64, cpu: *const percpu::PerCpu) -> !;
}

/// An array of `len` made in frames of the arena.
///
/// # Safety
/// The frames from `first` hold it, are mapped, and are nobody else's for ever.
unsafe fn new_array<T>(first: Pfn, len: usize, mut make: impl FnMut() -> T) -> &'static mut [T] {
    let base = first.pa() as *mut T;
    for n in 0..len {
        // SAFETY: the caller's promise.
        unsafe { base.wrapping_add(n).write(make()) };
    }
    // SAFETY: the caller's promise; all elements were written.
    unsafe { core::slice::from_raw_parts_mut(base, len) }
}

/// `ID_AA64MMFR1_EL1.VMIDBits`.
fn vmid_bits() -> u32 {
    if crate::cpu::field(get!("id_aa64mmfr1_el1"), 4) == 2 {
        16
    } else {
        8
    }
}

/// `VTCR_EL2` (DDI 0487 D24.2.212): RES1 31, HA 21 and VS 19 where the CPU has them, PS 18:16, TG0
/// 4 KiB, inner shareable write-back walks, and the geometry's T0SZ and SL0.
fn vtcr(geometry: Geometry) -> u64 {
    let has_access_flag = crate::cpu::field(get!("id_aa64mmfr1_el1"), 0) != 0;
    let mut value = 1 << 31 | mmu::pa_size() << 16 | 3 << 12 | 1 << 10 | 1 << 8;
    value |= geometry.vtcr_fields();
    if has_access_flag {
        value |= 1 << 21;
    }
    if vmid_bits() == 16 {
        value |= 1 << 19;
    }
    value
}

/// Everything of EL2 and EL1 as the host must find it, on this CPU.
fn prepare_cpu() {
    let cpu = percpu::this();
    switch::traps::init_cpu();
    switch::init_gic();
    let vttbr = switch::traps::host_vttbr();
    cpu.vttbr.store(vttbr, Ordering::Relaxed);
    set!("vttbr_el2", vttbr);
    switch::traps::host(cpu);
    switch::reset_el1();
    // Stale entries of whatever ran here before Ward (DDI 0487 D8.17.1).
    crate::machine::tlb::invalidate_everything();
}

/// A CPU that PSCI started, or that woke from a power-down: to the host, where the host wanted.
#[unsafe(no_mangle)]
extern "C" fn ward_secondary_main(cpu: &'static percpu::PerCpu) -> ! {
    prepare_cpu();
    if crash::happened() {
        crash::stop();
    }
    let entry = cpu.entry.load(Ordering::Acquire);
    let argument = cpu.argument.load(Ordering::Relaxed);
    cpu.power.store(power::ON, Ordering::Release);
    // SAFETY: this CPU is prepared; the host gets nothing of Ward's.
    unsafe { ward_enter_host(entry, RESET_PSTATE, argument, cpu) }
}

/// How much of the machine the host does not get.
fn report_cost(image: Span, place: Span, ram_frames: u64) {
    let frames = frames_of(image.size) + frames_of(place.size);
    // In hundredths of a per cent, rounded up.
    let share = (frames * 10_000).div_ceil(ram_frames);
    glue::say(format_args!(
        "memory of Ward's own: {image}, {place}: {} KiB, {}.{:02} % of RAM",
        frames * 4,
        share / 100,
        share % 100
    ));
}

fn report(machine: &Platform<'_>, build: &Build) {
    for bank in &machine.ram {
        glue::say(format_args!("RAM {bank}, {} MiB", bank.size >> 20));
    }
    glue::say(format_args!(
        "{} CPUs, GICv3 at {}, {} list registers, {} address bits",
        machine.cpus.len(),
        machine.gic[0],
        switch::list_registers(),
        mmu::pa_bits()
    ));
    if build.keys.is_empty() {
        glue::say(format_args!(
            "no key in this image: no protected guest can start (WARD_KEYS)"
        ));
    }
    for key in build.keys {
        let mut measurement = crate::hash::Measurement::default();
        measurement.add(key);
        glue::say(format_args!("trusted key, sha256 {}", measurement.finish()));
    }
    if build.test {
        glue::say(format_args!(
            "TEST IMAGE: a host can stop it on purpose. Not for use."
        ));
    }
}

//! From the first look at an SMMU to the moment when the host may run.

use super::driver::{self, Any, Driver, Unit};
use super::events;
use super::mmio::{self, Mmio};
use super::plan::Plan;
use super::v2;
use crate::fdt::{DmaNodes, MAX_SMMUS, SmmuKind, SmmuNode};
use crate::{glue, mmu};
use arrayvec::ArrayVec;
use core::fmt;
use hyp_core::addr::Pfn;
use hyp_core::dma::DmaTable;
use hyp_core::machine::TableMemory;
use hyp_core::stage2::Geometry;
use smmu::report::Limiter;
use smmu::v3::{Capabilities, Hardware, Placement, Smmu, Stage2Config, StartError, Ste, Vmid};
use smmu::v3::{abort_all, register};

/// Lines about events at once, and then one for each so many parts of a second.
const BURST: u32 = 16;
const LINES_A_SECOND: u64 = 8;

/// Why an SMMUv3 does not translate.
enum Off {
    /// Fewer registers than an SMMUv3 has.
    Registers,
    /// It cannot walk the host's table.
    Narrow,
    Start(StartError),
}

/// One SMMU during boot, of any kind.
enum Either {
    V3(Taken),
    V2(v2::Taken),
}

/// One SMMUv3 during boot.
struct Taken {
    node: SmmuNode,
    hw: Mmio,
    /// What it can do, and the memory it is to have.
    state: Result<Ready, Off>,
}

struct Ready {
    caps: Capabilities,
    plan: Plan,
    memory: Option<(Placement, core::ops::Range<u64>)>,
}

/// The SMMUs while Ward boots: they abort everything.
pub struct Takeover(ArrayVec<Either, MAX_SMMUS>);

impl Takeover {
    /// Has every SMMU abort everything: the first thing that is done to it.
    ///
    /// # Errors
    /// [`mmu::NoTables`], when their registers are in too many places.
    pub fn begin(nodes: &DmaNodes) -> Result<Self, mmu::NoTables> {
        let mut all = ArrayVec::new();
        for &node in &nodes.smmus {
            all.push(match node.kind {
                SmmuKind::V3 => Either::V3(Taken::begin(node)?),
                SmmuKind::V2 { mmu500 } => Either::V2(v2::Taken::begin(node, mmu500)?),
            });
        }
        Ok(Takeover(all))
    }

    /// Is there any?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The shape of a table that each of them can walk, at most as wide as the CPU's. `None` when there is none to walk
    /// it.
    pub fn geometry(&self, pa_bits: u8) -> Option<Geometry> {
        let output = |smmu: &Either| match smmu {
            Either::V3(taken) => {
                let ready = taken.state.as_ref().ok()?;
                Some(ready.caps.output.bits() as u8)
            }
            Either::V2(taken) => taken.output(),
        };
        let narrowest = self.0.iter().filter_map(output).min();
        Geometry::new(narrowest?.min(pa_bits))
    }

    /// Frames that all of them need for tables and queues.
    pub fn frames(&self) -> u64 {
        let frames = |smmu: &Either| match smmu {
            Either::V3(taken) => taken.state.as_ref().map_or(0, |ready| ready.plan.frames()),
            Either::V2(taken) => taken.frames(),
        };
        self.0.iter().map(frames).sum()
    }

    /// Gives them that memory: `arena` takes frames, so many and so aligned, that will be nobody
    /// else's for ever, mapped and [`zero`] before the start.
    pub fn place(&mut self, mut arena: impl FnMut(u64, u64) -> Pfn) {
        for smmu in &mut self.0 {
            match smmu {
                Either::V3(taken) => {
                    if let Ok(ready) = &mut taken.state {
                        ready.memory = Some(ready.plan.place(&mut arena));
                    }
                }
                Either::V2(taken) => taken.place(&mut arena),
            }
        }
    }

    /// Every stream translates by `table` from now on; of an SMMUv2, those that the host leads to
    /// bypass, as its command line says (`bypass`). What [`Takeover::place`] took is mapped and
    /// [`zero`].
    pub fn start(self, table: Option<DmaTable>, bypass: bool) {
        let mut units = ArrayVec::new();
        for (n, smmu) in self.0.into_iter().enumerate() {
            units.push(match smmu {
                Either::V3(taken) => Any::V3(taken.start(n, table)),
                Either::V2(taken) => taken.start(n, table, limiter(), bypass),
            });
        }
        if units.is_empty() {
            return;
        }
        driver::install(units);
        events::begin();
    }
}

impl Taken {
    fn begin(node: SmmuNode) -> Result<Self, mmu::NoTables> {
        // SAFETY: the boot CPU; the device tree says that these are an SMMU's registers, and
        // the host will not have them.
        let hw = unsafe { Mmio::new(node.registers.base, node.coherent)? };
        let state = take(&hw, &node);
        if let Err(Off::Start(StartError::NoAnswer(_))) = state {
            driver::lose();
        }
        if !hw.is_coherent() {
            driver::set_uncoherent();
        }
        Ok(Taken { node, hw, state })
    }

    fn start(self, n: usize, table: Option<DmaTable>) -> Unit {
        let Taken { node, hw, state } = self;
        let place = Name { n, node: &node };
        let driver = match state.and_then(|ready| start(&hw, ready, table)) {
            Ok((driver, plan)) => {
                report(&place, &hw, &plan, &node);
                Some(driver)
            }
            Err(off) => {
                if let Off::Start(StartError::NoAnswer(_)) = off {
                    driver::lose();
                }
                glue::say(format_args!("WARNING: {place}: {off}"));
                None
            }
        };
        Unit::new(hw, driver)
    }
}

fn limiter() -> Limiter {
    Limiter::new(BURST, mmio::frequency() / LINES_A_SECOND)
}

fn take(hw: &Mmio, node: &SmmuNode) -> Result<Ready, Off> {
    abort_all(hw).map_err(Off::Start)?;
    if node.registers.size < mmio::SIZE {
        return Err(Off::Registers);
    }
    let caps = Capabilities::read(hw).map_err(|unfit| Off::Start(StartError::Unfit(unfit)))?;
    Ok(Ready {
        caps,
        plan: Plan::new(&caps, node.streams),
        memory: None,
    })
}

fn start(hw: &Mmio, ready: Ready, table: Option<DmaTable>) -> Result<(Driver, Plan), Off> {
    let (Some(table), Some((place, spare))) = (table, ready.memory) else {
        return Err(Off::Narrow);
    };
    let caps = ready.caps;
    let config = Stage2Config::new(
        Vmid::HOST,
        table.root.pa(),
        table.geometry.ipa_bits(),
        table.geometry.start_level(),
        caps.output,
        caps.coherent,
    );
    let default = Ste::Stage2(config.map_err(|_| Off::Narrow)?);
    // The table is in memory before the SMMU walks it.
    hw.order();
    let smmu = Smmu::start(hw, &place, &default).map_err(Off::Start)?;
    if cfg!(ward_without = "devices") {
        bypass(hw);
    }
    Ok((Driver::new(smmu, spare, limiter()), ready.plan))
}

/// For a test that must fail then: everything passes.
fn bypass(hw: &Mmio) {
    hw.write32(register::GBPA, register::GBPA_UPDATE);
    hw.write32(
        register::CR0,
        hw.read32(register::CR0) & !register::CR0_SMMUEN,
    );
}

struct Name<'a> {
    n: usize,
    node: &'a SmmuNode,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smmu {} at {:#x}", self.n, self.node.registers.base)
    }
}

fn report(place: &Name<'_>, hw: &Mmio, plan: &Plan, node: &SmmuNode) {
    let minor = hw.read32(register::AIDR) & 0xf;
    let streams = 1_u64 << plan.stream_bits;
    glue::say(format_args!(
        "{place}: SMMUv3.{minor}, {streams} streams, host DMA translated"
    ));
    if node.streams > streams {
        glue::say(format_args!(
            "WARNING: {place}: of {} streams that the device tree names the others abort",
            node.streams
        ));
    }
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Off::Registers => f.write_str("has too few registers")?,
            Off::Narrow => f.write_str("cannot walk the host's table")?,
            Off::Start(StartError::NoAnswer(register)) => {
                return write!(
                    f,
                    "does not answer (register {:#x}): nobody knows what its devices do. No guest can \
                     start",
                    register.0
                );
            }
            Off::Start(StartError::Unfit(unfit)) => write!(f, "cannot be driven: {unfit}")?,
            Off::Start(StartError::Placement) => {
                f.write_str("does not reach the memory of its tables")?;
            }
            Off::Start(StartError::Commands(error)) => {
                write!(f, "does not run commands ({error:?})")?;
            }
        }
        f.write_str(". No DMA passes it: devices behind it do not work")
    }
}

/// Frames for tables and queues, zeroed and cleaned to the point of coherency: a line left dirty
/// would be written over an event later.
pub fn zero(first: Pfn, frames: u64) {
    for n in 0..frames {
        crate::machine::El2.zero_frame(first.add(n));
    }
}

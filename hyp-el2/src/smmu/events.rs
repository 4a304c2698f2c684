//! What the SMMUs stopped, told in the log.
//!
//! Nobody waits for an event, and Ward takes no interrupt while the host runs, so it looks: when a
//! trap brings it to EL2 anyway and the last look is [`LOOKS_A_SECOND`]th of a second ago, and before the log is
//! read. So the cost is bounded by time, however often the host traps, and who asks gets all
//! there is. One look takes at most [`AT_ONCE`] records from each SMMU; a queue that ran full
//! meanwhile says so.

use super::driver::{self, Any, Driver, units};
use super::mmio::{self, Mmio};
use super::v2;
use crate::glue;
use arrayvec::ArrayVec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hyp_core::addr::{PAGE_SHIFT, Pfn};
use hyp_core::dma::Domain;
use hyp_core::memory::FrameState;
use smmu::report::{Report, Verdict};
use smmu::v3::Polled;

/// Records read from one SMMU at one look.
const AT_ONCE: usize = 64;
/// Lines written for one SMMU at one look.
const LINES: usize = 16;
const LOOKS_A_SECOND: u64 = 100;
/// There is nothing to look at.
const NEVER: u64 = u64::MAX;

/// When the next look is due.
static NEXT: AtomicU64 = AtomicU64::new(NEVER);

pub(super) fn begin() {
    NEXT.store(0, Relaxed);
}

/// Something is to be told soon.
pub(super) fn hurry() {
    // Not before there is somebody to look.
    if NEXT.load(Relaxed) != NEVER {
        NEXT.store(0, Relaxed);
    }
}

/// Is a look due? A load and a compare where there is no SMMU.
pub fn due() -> bool {
    let next = NEXT.load(Relaxed);
    next != NEVER && mmio::now() >= next
}

struct Line {
    report: Report,
    owner: Option<Domain>,
    missing: u64,
    overflow: bool,
}

/// What a look found, beside lines.
#[derive(Default)]
struct News {
    /// The SMMU was lost since the last look.
    lost: bool,
    /// So much was refused that there is not a record to tell of.
    untold: bool,
}

type Lines = ArrayVec<Line, LINES>;

/// Looks at all SMMUs and writes to the log. The caller holds no lock.
pub fn look() {
    if NEXT.load(Relaxed) == NEVER {
        return;
    }
    NEXT.store(mmio::now() + mmio::frequency() / LOOKS_A_SECOND, Relaxed);
    for (n, unit) in units().iter().enumerate() {
        let mut lines = Lines::new();
        let news = match unit {
            Any::V3(unit) => match &mut *unit.lock() {
                Some(driver) => events(driver, &unit.hw, &mut lines),
                None => News::default(),
            },
            Any::V2(unit) => fault(unit, &mut lines),
            Any::Closed(_) => News::default(),
        };
        for line in &lines {
            tell(n, line);
        }
        if news.untold {
            glue::ward().log(format_args!(
                "smmu {n}: more was refused than its queue of events holds: what, is lost"
            ));
        }
        if news.lost {
            driver::lose();
            glue::ward().log(format_args!(
                "WARNING: smmu {n} no longer does what it is told: no memory changes its owner any more"
            ));
        }
    }
}

/// What the queue of an SMMUv3 has.
fn events(driver: &mut Driver, hw: &Mmio, lines: &mut Lines) -> News {
    let was_lost = driver.told_lost;
    let errors = driver.smmu.errors(hw);
    driver.overflow |= errors.event_lost();
    for _ in 0..AT_ONCE {
        if lines.is_full() {
            break;
        }
        match driver.smmu.event(hw) {
            None => break,
            Some(Polled::Overflow) => driver.overflow = true,
            Some(Polled::Event(event)) => {
                let report = event.report();
                if let Verdict::Tell { missing } = driver.limiter.pass(&report, mmio::now()) {
                    lines.push(Line {
                        report,
                        owner: driver.owner(event.stream),
                        missing,
                        overflow: core::mem::take(&mut driver.overflow),
                    });
                }
            }
        }
    }
    let mut news = News::default();
    // A flood may leave no record at all to tell of: each look finds the queue spoilt by the
    // next that did not fit (7.2.2), and the driver throws away what is in it.
    let now = mmio::now();
    if driver.overflow && lines.is_empty() && now >= driver.next_loss {
        driver.next_loss = now + mmio::frequency();
        driver.overflow = false;
        news.untold = true;
    }
    driver.told_lost |= driver.smmu.is_lost();
    news.lost = driver.told_lost && !was_lost;
    news
}

/// What the bank of the host's memory recorded, of an SMMUv2: the first fault since the last look.
/// Other banks are the host's to read.
fn fault(unit: &v2::Unit<v2::Mmio>, lines: &mut Lines) -> News {
    let mut driver = unit.lock();
    if let Some((report, missing)) = driver.fault(&unit.hw, mmio::now()) {
        lines.push(Line {
            report,
            owner: Some(Domain::Host),
            missing,
            overflow: false,
        });
    }
    News {
        lost: driver.is_newly_lost(),
        untold: false,
    }
}

fn tell(n: usize, line: &Line) {
    let frame = line
        .report
        .address
        .and_then(|address| glue::ward().frame_state(Pfn(address >> PAGE_SHIFT)));
    glue::ward().log(format_args!(
        "smmu {n}: {} (a device of {}){}{}",
        line.report,
        Device(line.owner),
        Page(frame, line.owner),
        Missing(line.missing, line.overflow),
    ));
}

struct Device(Option<Domain>);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Domain::Vm(vm)) => write!(f, "VM {}'s", vm.0),
            Some(_) => f.write_str("the host's"),
            None => f.write_str("nobody's"),
        }
    }
}

/// Whose the page is, for a device that sends physical addresses.
struct Page(Option<FrameState>, Option<Domain>);

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(FrameState::Hyp { .. }), Some(Domain::Host)) => {
                f.write_str("; the page is Ward's")
            }
            (Some(FrameState::Vm { vm, .. }), Some(Domain::Host)) => {
                write!(f, "; the page is VM {}'s", vm.0)
            }
            _ => Ok(()),
        }
    }
}

struct Missing(u64, bool);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 0 {
            write!(f, "; {} before it not told", self.0)?;
        }
        if self.1 {
            f.write_str("; others were lost")?;
        }
        Ok(())
    }
}

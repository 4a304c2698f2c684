//! The one [`Ward`], where every vector finds it.

use crate::console;
use crate::global::Global;
use crate::lock::TicketLock;
use crate::machine::El2;
use core::fmt;
use hyp_core::Ward;
use hyp_core::addr::Pfn;
use hyp_core::log::Log;
use hyp_core::memory::FrameState;

static WARD: Global<Ward<El2>> = Global::new();

/// What boot says before there is a Ward to log it.
static EARLY: TicketLock<Log> = TicketLock::new(Log::new());

/// Hands Ward over to the vectors, and to it what was said so far.
pub fn install(ward: Ward<El2>) -> &'static Ward<El2> {
    ward.begin_log(&EARLY.lock());
    WARD.set(ward);
    self::ward()
}

/// A line of boot's: to the console and the log.
pub fn say(args: fmt::Arguments<'_>) {
    match WARD.get() {
        Some(ward) => ward.log(args),
        None => {
            EARLY.lock().line(args);
            console::line(args);
        }
    }
}

/// Ward.
///
/// # Panics
/// Before [`install`]; no vector runs before that but a crash's.
pub fn ward() -> &'static Ward<El2> {
    WARD.get().expect("Ward is installed before the host runs")
}

/// Who owns the frame at `address`, for a crash record.
pub fn owner(address: u64) -> Option<FrameState> {
    WARD.get()?
        .frame_state(Pfn(address >> hyp_core::addr::PAGE_SHIFT))
}

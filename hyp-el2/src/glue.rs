//! The one [`Ward`], where every vector finds it.

use crate::global::Global;
use crate::machine::El2;
use hyp_core::Ward;
use hyp_core::addr::Pfn;
use hyp_core::memory::FrameState;

static WARD: Global<Ward<El2>> = Global::new();

/// Hands Ward over to the vectors.
pub fn install(ward: Ward<El2>) -> &'static Ward<El2> {
    WARD.set(ward);
    self::ward()
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

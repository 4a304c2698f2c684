//! Bugs on demand, in test images only: HVC 0xc600_eef0 and up, with [`MAGIC`] in `x1`, make Ward
//! do what it never does, so that tests see the crash path. No random call hits these.

use core::sync::atomic::{AtomicBool, Ordering};

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// "WARDTEST".
const MAGIC: u64 = 0x5741_5244_5445_5354;
const PANIC: u64 = 0xc600_eef0;
const STACK_OVERFLOW: u64 = 0xc600_eef1;
const WRITE_CODE: u64 = 0xc600_eef2;
const RUN_DATA: u64 = 0xc600_eef3;

pub(super) fn allow(test: bool) {
    ALLOWED.store(test, Ordering::Relaxed);
}

/// Does what `function` names if this is a test image; else nothing.
///
/// # Panics
/// On purpose.
pub fn handle(function: u64, argument: u64) {
    if argument != MAGIC || !ALLOWED.load(Ordering::Relaxed) {
        return;
    }
    match function {
        PANIC => panic!("a test asked for this"),
        STACK_OVERFLOW => {
            core::hint::black_box(overflow(1));
        }
        WRITE_CODE => {
            let code = handle as *const () as *mut u32;
            // SAFETY: none: this must fault, W^X forbids it.
            unsafe { code.write_volatile(0) }
        }
        RUN_DATA => {
            let data = core::hint::black_box([0xd65f_03c0_u32; 4]);
            // SAFETY: none: this must fault, data is never executable.
            let run: extern "C" fn() = unsafe { core::mem::transmute(data.as_ptr()) };
            run();
        }
        _ => {}
    }
}

#[allow(unconditional_recursion)]
fn overflow(n: u64) -> u64 {
    let deep = core::hint::black_box([n; 64]);
    overflow(n + 1) + deep[3]
}

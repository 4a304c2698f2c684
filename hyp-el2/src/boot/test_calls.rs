//! What only test images do: HVC 0xc600_eef0 and up, with [`MAGIC`] in `x1`. Four of them make
//! Ward do what it never does, so that tests see the crash path; one checks the invariants over
//! all of memory (with the feature `inspect`); one has Ward meet an error of the memory. No random call hits these.

use crate::mmu::{self, Access};
use core::sync::atomic::{AtomicBool, Ordering};
use hyp_core::dispatch::Registers;

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// "WARDTEST".
const MAGIC: u64 = 0x5741_5244_5445_5354;
const PANIC: u64 = 0xc600_eef0;
const STACK_OVERFLOW: u64 = 0xc600_eef1;
const WRITE_CODE: u64 = 0xc600_eef2;
const RUN_DATA: u64 = 0xc600_eef3;
/// I1 to I3 over every frame and every table. `x0`: 0, or the number of what is broken, see the
/// log; `x1..x5`: frames, leaves, table pages and VMs looked at, and an address of Ward's.
#[cfg(feature = "inspect")]
const CHECK: u64 = 0xc600_eef4;
/// Reads the word at `x2`, where nothing answers, as Ward walks EL1's tables. `x0`: 0, and the
/// error was survived; `x1`: 1 if there was one.
const PROBE: u64 = 0xc600_eef5;

unsafe extern "C" {
    fn ward_probe(address: u64) -> u64;
}

pub(super) fn allow(test: bool) {
    ALLOWED.store(test, Ordering::Relaxed);
}

/// Does what `x0` names if this is a test image. `false`: it names nothing here.
///
/// # Panics
/// On purpose.
pub fn handle(registers: &mut Registers) -> bool {
    let [function, argument, second, ..] = *registers;
    if argument != MAGIC || !ALLOWED.load(Ordering::Relaxed) {
        return false;
    }
    match function {
        #[cfg(feature = "inspect")]
        CHECK => *registers = check(),
        PROBE => *registers = [0, probe(second).into(), 0, 0, 0, 0, 0, 0],
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
        _ => return false,
    }
    true
}

/// Did the address answer with an error?
fn probe(address: u64) -> bool {
    // SAFETY: of all CPUs this one alone maps something after boot, once, for a test.
    let mapped = unsafe { mmu::map(address, address + 4, Access::Device) };
    // SAFETY: reads a word that is mapped, and brings its own vectors for the error.
    mapped.is_ok() && unsafe { ward_probe(address) } == 1
}

#[cfg(feature = "inspect")]
fn check() -> Registers {
    let ward = crate::glue::ward();
    match ward.check_invariants() {
        Ok(checked) => {
            let address = ward.first_frame_of_ward().map_or(0, |frame| frame.pa());
            let hyp_core::inspect::Checked {
                frames,
                leaves,
                tables,
                vms,
            } = checked;
            [0, frames, leaves, tables, vms, address, 0, 0]
        }
        Err(broken) => {
            ward.log(format_args!("{broken}"));
            [broken.rule as u64, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

#[allow(unconditional_recursion)]
fn overflow(n: u64) -> u64 {
    let deep = core::hint::black_box([n; 64]);
    overflow(n + 1) + deep[3]
}

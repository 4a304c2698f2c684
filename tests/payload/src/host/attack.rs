//! Accesses that must fail.

use super::text::{Fail, Outcome};
use crate::rt::lock::Lock;
use crate::rt::probe::{self, Fault};
use crate::rt::smp;

/// `ESR_EL1` of the abort that Ward gives a host at EL1 for memory that is not its own: a
/// synchronous external abort marked by S1PTW, IL set, all else as on a CPU that says nothing more.
const REFUSED: u64 = 0x25 << 26 | 1 << 25 | 1 << 7 | 0x10;
/// WnR: a write did it.
const WRITE: u64 = 1 << 6;

/// Is it the abort of a refused read of `address`?
pub(crate) fn is_refused_read(fault: &Fault, address: u64) -> bool {
    fault.esr == REFUSED && fault.far == address
}

/// Is it the abort of a refused write to `address`?
pub(crate) fn is_refused_write(fault: &Fault, address: u64) -> bool {
    fault.esr == REFUSED | WRITE && fault.far == address
}

/// Reading and writing `address` from this CPU must abort there.
pub(crate) fn must_abort(address: u64, what: &str) -> Outcome {
    match probe::read(address) {
        Ok(word) => fail!("{what} at {address:#x} is readable: {word:#x}"),
        Err(fault) if !is_refused_read(&fault, address) => {
            fail!("reading {what} at {address:#x} ended in the wrong way: {fault}")
        }
        Err(_) => {}
    }
    match probe::write(address, 0x6174_7461_636b) {
        Ok(()) => fail!("{what} at {address:#x} is writable"),
        Err(fault) if !is_refused_write(&fault, address) => {
            fail!("writing {what} at {address:#x} ended in the wrong way: {fault}")
        }
        Err(_) => Ok(()),
    }
}

/// The same from another CPU.
pub(crate) fn must_abort_on(cpu: usize, address: u64, what: &str) -> Outcome {
    let outcome: Lock<Option<Result<(), Fail>>> = Lock::new(None);
    smp::while_on(
        cpu,
        &|| *outcome.lock() = Some(must_abort(address, what)),
        || (),
    );
    outcome.lock().take().unwrap_or(Ok(()))
}

/// From this CPU and all others.
pub(crate) fn must_abort_everywhere(address: u64, what: &str) -> Outcome {
    must_abort(address, what)?;
    super::others().try_for_each(|cpu| must_abort_on(cpu, address, what))
}

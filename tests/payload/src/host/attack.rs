//! Accesses that must fail.

use super::text::{Fail, Outcome};
use crate::rt::lock::Lock;
use crate::rt::probe::{self, Fault};
use crate::rt::smp;

/// Is it the abort that Ward gives a host for memory that is not its own: a data abort at EL1,
/// external, or with S1PTW, by which Linux knows that stage 2 refused?
pub(crate) fn is_refusal(fault: &Fault) -> bool {
    fault.class() == 0x25 && (fault.is_external_abort() || fault.esr & 1 << 7 != 0)
}

/// Reading and writing `address` from this CPU must abort there.
pub(crate) fn must_abort(address: u64, what: &str) -> Outcome {
    match probe::read(address) {
        Ok(word) => fail!("{what} at {address:#x} is readable: {word:#x}"),
        Err(fault) if !is_refusal(&fault) || fault.far != address => {
            fail!("reading {what} at {address:#x} ended in the wrong way: {fault}")
        }
        Err(_) => {}
    }
    match probe::write(address, 0x6174_7461_636b) {
        Ok(()) => fail!("{what} at {address:#x} is writable"),
        Err(fault) if !is_refusal(&fault) || fault.far != address => {
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

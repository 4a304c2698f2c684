//! The host's calls, and what a test expects of them.

use super::text::Outcome;
use crate::rt::call;
use crate::rt::pages;
use hyp_core::abi::calls::{CALLS, stat};
use hyp_core::abi::error::AGAIN;
use hyp_core::abi::{Call, Error};

/// What a call returned that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    /// It wants to be called again.
    pub(crate) again: bool,
    /// `x1`.
    pub(crate) x1: u64,
    /// `x2..x7`.
    pub(crate) more: [u64; 6],
}

/// Makes a call.
///
/// # Panics
/// When the result is none that the interface names.
pub(crate) fn host_call(function: Call, args: &[u64]) -> Result<Reply, Error> {
    let mut words = [0; 8];
    words[0] = u64::from(function.function_id());
    words[1..=args.len()].copy_from_slice(args);
    let [x0, x1, more @ ..] = call::hvc(words);
    match x0 as i64 {
        0 | AGAIN => Ok(Reply {
            again: x0 as i64 == AGAIN,
            x1,
            more,
        }),
        code => match Error::from_code(code) {
            Some(error) => Err(error),
            None => panic!("{} returned {code}", name(function)),
        },
    }
}

/// Makes a call that is done in pieces, until all of it is.
pub(crate) fn whole(function: Call, args: &[u64]) -> Result<Reply, Error> {
    loop {
        let reply = host_call(function, args)?;
        if !reply.again {
            return Ok(reply);
        }
    }
}

/// The name of a call.
pub(crate) fn name(call: Call) -> &'static str {
    CALLS
        .iter()
        .find(|info| info.call == call)
        .map_or("?", |info| info.name)
}

/// The call must succeed: `x1`. When Ward lacks table pages for the host's own map it is given some,
/// as a host does.
pub(crate) fn ok(function: Call, args: &[u64]) -> Outcome<u64> {
    for _ in 0..4 {
        match host_call(function, args) {
            Ok(reply) => return Ok(reply.x1),
            Err(Error::NoMemory) => feed(function, args),
            Err(error) => fail!("{}{args:x?} refused: {error:?}", name(function)),
        }
    }
    fail!(
        "{}{args:x?}: still no memory after donations",
        name(function)
    )
}

/// Gives pages to the pool that lacks them.
fn feed(function: Call, args: &[u64]) {
    let host = host_call(Call::Info, &[hyp_core::abi::calls::info::HOST_POOL]);
    if host.is_ok_and(|reply| reply.x1 < 8) {
        let _ = host_call(Call::HostDonate, &[pages::take(16, 1), 16]);
        pages::write_off(16);
    }
    if !matches!(function, Call::VmRegister | Call::HostDonate) {
        // The frames come back zeroed when the VM is destroyed; see `Vm::destroy`.
        super::vm::feed(args[0]);
    }
}

/// The call must be refused with this error, and change no owner of any frame.
pub(crate) fn refused(function: Call, args: &[u64], error: Error) -> Outcome {
    refused_as(function, args, &[error])
}

/// As [`refused`], with any of these errors.
pub(crate) fn refused_as(function: Call, args: &[u64], errors: &[Error]) -> Outcome {
    let before = owners();
    match host_call(function, args) {
        Ok(reply) => fail!(
            "{}{args:x?} was not refused: {reply:x?}, expected {errors:?}",
            name(function)
        ),
        Err(found) if !errors.contains(&found) => {
            fail!(
                "{}{args:x?} refused with {found:?}, expected {errors:?}",
                name(function)
            )
        }
        Err(_) => {}
    }
    same!(
        owners(),
        before,
        "frames of host, Ward and VMs after a refused call"
    );
    Ok(())
}

/// Frames of the host, of Ward, and of VMs.
pub(crate) fn owners() -> [u64; 3] {
    [stat::HOST_FRAMES, stat::HYP_FRAMES, stat::VM_FRAMES].map(machine)
}

/// A counter of the machine.
pub(crate) fn machine(key: u64) -> u64 {
    statistic(0, key)
}

/// A counter of a VM.
pub(crate) fn statistic(vm: u64, key: u64) -> u64 {
    host_call(Call::StatRead, &[vm, key]).map_or(u64::MAX, |reply| reply.x1)
}

/// A fact about the machine.
pub(crate) fn info(key: u64) -> u64 {
    host_call(Call::Info, &[key]).map_or(0, |reply| reply.x1)
}

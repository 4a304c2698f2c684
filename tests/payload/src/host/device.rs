//! The guest's one device, as `protocol.rs` describes it, and its console.

use super::tally;
use super::text::Text;
use super::vm::Vm;
use crate::protocol::{self, GUARDED, MMIO, MMIO_SIZE, command, mode, reg};
use crate::rt::{gic, probe, time};
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

/// Print the guest's lines with `guest| ` before each, and do not count its checks.
pub(crate) static STORY: AtomicBool = AtomicBool::new(false);

/// The device's registers.
pub(crate) struct Device {
    scratch: u64,
    argument: u64,
    result: u64,
    /// What the guest is to do next, and with what.
    pub(crate) mode: (u64, u64),
    /// What it answered.
    pub(crate) answer: Option<u64>,
    /// How many of its checks were wrong, once it said so.
    pub(crate) report: Option<u64>,
    /// Ticks and rounds of each measurement.
    pub(crate) measured: [(u64, u64); 10],
    /// Bits of `ICH_HCR_EL2` that the guest wants set.
    pub(crate) traps: u64,
    line: Text,
}

/// How an access is answered.
pub(crate) enum Answer {
    /// A read returns this; a write is done.
    Value(u64),
    /// The guest takes an abort.
    Refused,
}

impl Device {
    /// A device without history.
    pub(crate) const NEW: Device = Device {
        scratch: 0,
        argument: 0,
        result: 0,
        mode: (mode::HOLD, 0),
        answer: None,
        report: None,
        measured: [(0, 0); 10],
        traps: 0,
        line: Text::EMPTY,
    };

    fn put(&mut self, byte: u8) {
        if byte != b'\n' {
            let _ = self.line.write_char(char::from(byte));
            return;
        }
        let line = core::mem::replace(&mut self.line, Text::EMPTY);
        if STORY.load(Ordering::Relaxed) {
            println!("guest| {}", line.get());
            return;
        }
        println!("{}", line.get());
        if let Some((_, result)) = line
            .get()
            .strip_prefix("TEST ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            tally::count(result == "ok");
        }
    }
}

/// Answers one access of the guest.
pub(crate) fn access(vm: &Vm, vcpu: usize, ipa: u64, size: u64, write: Option<u64>) -> Answer {
    let offset = match ipa {
        GUARDED..0x0a00_1000 => ipa - GUARDED,
        _ if (MMIO..MMIO + MMIO_SIZE).contains(&ipa) => ipa - MMIO,
        _ => return Answer::Refused,
    };
    if offset == reg::COMMAND {
        let (number, argument) = (write.unwrap_or(0), vm.state.lock().device.argument);
        let result = obey(vm, vcpu, number, argument);
        vm.state.lock().device.result = result;
        return Answer::Value(0);
    }
    let mut state = vm.state.lock();
    let device = &mut state.device;
    let mask = u64::MAX >> (64 - 8 * size.clamp(1, 8));
    match (offset, write) {
        (reg::CONSOLE, Some(byte)) => device.put(byte as u8),
        (reg::MODE, None) => {
            let (mode, _) = device.mode;
            device.mode.0 = mode::HOLD;
            return Answer::Value(mode);
        }
        (reg::SCRATCH, Some(value)) => device.scratch = value & mask,
        (reg::SCRATCH, None) => return Answer::Value(device.scratch & mask),
        (reg::ARGUMENT, Some(value)) => device.argument = value,
        (reg::ARGUMENT, None) => return Answer::Value(device.mode.1),
        (reg::RESULT, Some(value)) => device.answer = Some(value),
        (reg::RESULT, None) => return Answer::Value(device.result),
        (reg::REPORT, Some(value)) => device.report = Some(value),
        (reg::MEASURED, Some(value)) => {
            if let Some(slot) = device.measured.get_mut((value >> 48) as usize) {
                *slot = (value & 0xffff_ffff, value >> 32 & 0xffff);
            }
        }
        _ => return Answer::Refused,
    }
    Answer::Value(0)
}

/// Does what the guest asked for.
fn obey(vm: &Vm, vcpu: usize, number: u64, argument: u64) -> u64 {
    match number {
        command::ECHO => {
            let Some(frame) = vm.frame_of(argument) else {
                return 0;
            };
            let read = probe::read(frame) == Ok(protocol::TO_HOST);
            u64::from(read && probe::write(frame + 8, protocol::TO_GUEST).is_ok())
        }
        command::REFUSED => {
            let Some(frame) = vm.frame_of(argument) else {
                return 0;
            };
            u64::from(probe::read(frame).is_err() && probe::write(frame, 0).is_err())
        }
        command::INTERRUPT => {
            vm.state.lock().pending[vcpu] |= 1 << (argument & 31);
            1
        }
        command::KICK => {
            gic::arm_physical_timer(time::ticks_of_us(argument));
            1
        }
        command::TRAPS => {
            vm.state.lock().device.traps = argument;
            1
        }
        command::EXITS => vm.state.lock().exits[argument as usize % 12],
        _ => 0,
    }
}

//! The test guest. It does what its device says (`protocol::mode`): check everything a
//! protected guest must see, measure, or hold secrets while the host attacks.

mod basics;
pub(crate) mod bench;
mod calls;
mod compare;
mod device;
mod interrupts;
mod report;
mod second;
mod secrets;

use crate::protocol::{self, FAULTED, MMIO, PROGRAM, RAM, RAM_SIZE, mode, reg};
use crate::rt::console::{self, Console};
use crate::rt::{call, cpu, dt::Range, gic, memory, mmu, probe};
use hyp_core::abi::smccc::{self, psci};
use report::Report;

/// Runs on vCPU 0 from the first instruction on, with the boot argument of the manifest.
pub fn main(boot: u64) -> ! {
    mmu::enable(|gib| Range::sized(RAM, RAM_SIZE).overlaps(&Range::sized(gib, 1 << 30)));
    console::set(Console::Register(MMIO + reg::CONSOLE));
    gic::init_cpu_interface();
    loop {
        serve(boot);
    }
}

/// Does one thing the host wants.
fn serve(boot: u64) {
    let argument = || memory::read_device64(MMIO + reg::ARGUMENT);
    let result = |value| memory::write_device64(MMIO + reg::RESULT, value);
    match memory::read_device64(MMIO + reg::MODE) {
        mode::CHECK => check(boot),
        mode::MEASURE => {
            bench::run();
            call::system_off()
        }
        mode::OFF => call::system_off(),
        mode::RESET => {
            call::psci(psci::SYSTEM_RESET, [0; 3]);
        }
        mode::READ => result(probe::read(argument()).unwrap_or(FAULTED)),
        mode::HIDE => {
            let page = argument();
            (0..512).for_each(|n| memory::poke(page + 8 * n, protocol::secret(n)));
            result(0);
        }
        mode::WRITE => {
            memory::write_device64(argument(), protocol::secret(0));
            result(0);
        }
        mode::VERIFY => {
            let page = argument();
            result(
                (0..512)
                    .filter(|n| memory::peek(page + 8 * n) != protocol::secret(*n))
                    .count() as u64,
            );
        }
        mode::SPIN => {
            for _ in 0..2_000_000 {
                core::hint::spin_loop();
            }
        }
        mode::SHARE => result(hvc1(smccc::KVM_MEM_SHARE, argument())),
        mode::UNSHARE => result(hvc1(smccc::KVM_MEM_UNSHARE, argument())),
        mode::RELINQUISH => result(hvc1(smccc::KVM_MEM_RELINQUISH, argument())),
        mode::SECOND => result(second::start_serving()),
        mode::KEEP => result(u64::from(secrets::keep().is_err())),
        mode::COMPARE => compare::run(),
        _ => cpu::wfi(),
    }
}

/// All checks, a report, and the end.
fn check(boot: u64) -> ! {
    println!("guest: running at {PROGRAM:#x}, checking what a protected guest must see");
    let mut report = Report::new();
    basics::run(&mut report, boot);
    calls::run(&mut report);
    device::run(&mut report);
    second::run(&mut report);
    interrupts::run(&mut report);
    secrets::run(&mut report);
    let wrong = report.wrong();
    if wrong == 0 {
        println!("guest: all checks passed");
    } else {
        println!("guest: {wrong} checks were wrong");
    }
    memory::write_device64(MMIO + reg::REPORT, wrong);
    call::system_off()
}

/// A call with one argument: `x0` of the result.
fn hvc1(function: u32, argument: u64) -> u64 {
    call::hvc([u64::from(function), argument, 0, 0, 0, 0, 0, 0])[0]
}

/// Asks the host to do something.
fn command(number: u64, argument: u64) -> u64 {
    memory::write_device64(MMIO + reg::ARGUMENT, argument);
    memory::write_device64(MMIO + reg::COMMAND, number);
    memory::read_device64(MMIO + reg::RESULT)
}

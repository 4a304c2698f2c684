//! The runtime under both payloads: from the first instruction to a machine with caches, vectors,
//! console, interrupts and several CPUs. All `unsafe` code of this crate is below here.

/// Reads an EL1 system register.
macro_rules! read_sysreg {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading a system register has no effect on memory; one that does not exist
        // traps and is reported by the vectors.
        unsafe { core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack, preserves_flags)) };
        value
    }};
}

/// Writes an EL1 system register and synchronises.
macro_rules! write_sysreg {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the registers written this way (timers, interrupt interface, thread pointers)
        // do not change how this program accesses memory.
        unsafe { core::arch::asm!(concat!("msr ", $name, ", {}"), "isb", in(reg) value, options(nostack, preserves_flags)) };
    }};
}

/// Prints a line.
macro_rules! println {
    ($($arg:tt)*) => { $crate::rt::console::print(format_args!("{}\n", format_args!($($arg)*))) };
}

pub(crate) mod call;
pub(crate) mod captured;
pub(crate) mod console;
pub(crate) mod cpu;
pub(crate) mod dt;
pub(crate) mod edu;
pub(crate) mod gic;
pub(crate) mod head;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod mmu;
pub(crate) mod pages;
pub(crate) mod pci;
pub(crate) mod probe;
pub(crate) mod registers;
pub(crate) mod smp;
pub(crate) mod time;
pub(crate) mod vectors;

/// Ends a program that found a bug of its own: prints why, then switches the machine off.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    console::break_lock();
    println!("FAIL: payload panicked: {info}");
    call::system_off()
}

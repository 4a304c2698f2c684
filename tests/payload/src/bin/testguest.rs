//! The EL1 test guest: see `ward_payload::guest`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod program {
    /// Where the start-up code of `ward_payload` goes on.
    // SAFETY: the only symbol of this name; the start-up code calls it with this signature.
    #[unsafe(no_mangle)]
    extern "C" fn payload_main(boot: u64) -> ! {
        ward_payload::guest::main(boot)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        ward_payload::panicked(info)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("testguest runs at EL1: build it for aarch64-unknown-none-softfloat");
}

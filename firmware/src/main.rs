//! The bootable image of Ward: `hyp-el2` and what it is built with, nothing else.
//!
//! The image boots wherever an arm64 Linux kernel would (its first 64 bytes say that it is one),
//! at EL2. `WARD_KEYS` names a file of trusted keys at build time.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use hyp_core::without::WITHOUT;
    use hyp_el2::boot::{self, Build};

    const _: () = assert!(
        WITHOUT.is_none() || cfg!(ward_test),
        "only an image for tests may lack a protection"
    );

    static BUILD: Build = Build {
        version: env!("CARGO_PKG_VERSION"),
        keys: include!(concat!(env!("OUT_DIR"), "/keys.rs")),
        test: cfg!(ward_test),
    };

    /// The boot CPU, its MMU on: from here it is Rust.
    #[unsafe(no_mangle)]
    extern "C" fn ward_main(dtb: u64) -> ! {
        boot::main(dtb, &BUILD)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        hyp_el2::crash::panic(info)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "firmware runs at EL2: cargo build --release --target aarch64-unknown-none-softfloat"
    );
}

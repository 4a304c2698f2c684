//! Hands the linker script to the two programs when they are built for bare metal.

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-T{dir}/link.ld");
        // Without LTO the core library's read-only data needs relocation too.
        for flag in ["-pie", "-znorelro", "-znotext", "-zmax-page-size=4096"] {
            println!("cargo:rustc-link-arg-bins={flag}");
        }
        println!("cargo:rustc-link-arg-bins=--no-dynamic-linker");
    }
}

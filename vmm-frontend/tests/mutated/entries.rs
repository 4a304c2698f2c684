//! What is done with bytes that somebody else made. Shared by the mutations of `mutated.rs` and by the
//! targets of `cargo fuzz`: whatever the bytes are, nothing here panics, and what is accepted is
//! what it says.

use std::path::Path;
use vmm_frontend::bundle::{self, LIMITS, WIDEST};
use vmm_frontend::config::Config;
use vmm_frontend::fdt;
use vmm_frontend::kernel;
use vmm_frontend::keys::{PublicKey, SecretKey};
use vmm_frontend::layout::{Layout, Machine, RAM_BASE};

/// The key that signed the bundles among the seeds.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

/// A bundle. Accepted ones are the seeds and nothing else: nobody can sign another.
pub(crate) fn bundle(bytes: &[u8]) {
    let verdict = bundle::verify(bytes, &[key().public()], &LIMITS);
    let Ok(manifest) = bundle::read_manifest(bytes) else {
        assert!(verdict.is_err(), "verified what cannot be read");
        return;
    };
    for index in 0..=manifest.images().len() {
        let Some(image) = bundle::image(bytes, index) else {
            continue;
        };
        let _ = kernel::recognise(image);
        tree(image);
    }
    let signer = [PublicKey(manifest.key)];
    let intact = bundle::verify(bytes, &signer, &WIDEST);
    if let Err(error) = &intact {
        assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
    }
    if verdict.is_ok() {
        assert_eq!(manifest.image_version, SEED_VERSION, "signed by nobody");
        assert!(intact.is_ok());
    }
}

/// The image version of the bundles among the seeds.
pub(crate) const SEED_VERSION: u64 = 4711;

/// A device tree.
pub(crate) fn tree(bytes: &[u8]) {
    assert_eq!(
        fdt::summarise(bytes).is_some(),
        fdt::source(bytes).is_some()
    );
}

/// A configuration file.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(Path::new("guest.toml"), text.into()) {
        Ok(config) => {
            let settings = config.settings.clone();
            if let Some(memory) = settings.memory {
                let _ = Machine::new(1, memory.get_ref().0);
                let error = config.blame(memory.span(), "wrong", "right");
                assert!(error.to_string().contains("wrong"));
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("guest.toml:"), "{said}");
        }
    }
}

/// A kernel. What is accepted is laid out without overlap, or does not fit.
pub(crate) fn kernel(bytes: &[u8]) {
    let Ok(kernel) = kernel::parse(bytes.to_vec()) else {
        return;
    };
    let machine = Machine::new(2, 64 << 20).expect("a machine");
    let Ok(layout) = Layout::new(machine, kernel.shape, Some(5000)) else {
        return;
    };
    let initrd = layout.initrd.expect("given");
    assert!(layout.kernel.start >= RAM_BASE && layout.kernel.size <= layout.kernel_memory.size);
    assert!(layout.kernel_memory.end() <= initrd.start);
    assert!(initrd.end() <= layout.tree && layout.tree < machine.pool().start);
    tree(&fdt::build(&layout, "quiet").expect("a tree"));
}

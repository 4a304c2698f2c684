//! The small kernel is built beside the tiers that come before it: they leave a CPU idle most of
//! the time, and the build takes ten minutes where nothing is cached.

use std::process::{Child, Command, Stdio};

use crate::paths;
use crate::run::say;

/// `cargo xtask linux` in the background. The tier `linux` waits for it by the cache's lock, and
/// does the work itself, with its messages on the terminal, when this one failed.
pub(super) struct Ahead(Child);

impl Ahead {
    /// Starts it; `None` when it cannot be started, which only costs time.
    pub(super) fn start() -> Option<Self> {
        let log = paths::log_dir().ok()?.join("linux-build.log");
        let out = std::fs::File::create(&log).ok()?;
        let child = Command::new("nice")
            .args(["-n", "10"])
            .arg(std::env::current_exe().ok()?)
            .arg("linux")
            .stdin(Stdio::null())
            .stdout(out.try_clone().ok()?)
            .stderr(out)
            .spawn()
            .ok()?;
        say(&format!(
            "building the small kernel beside the tests; its messages: {}",
            paths::display(&log)
        ));
        Some(Ahead(child))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Ended long ago, unless the tier failed before it needed a kernel. `make` ends with it,
        // having nobody to write to; the cache never holds a part of a build.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

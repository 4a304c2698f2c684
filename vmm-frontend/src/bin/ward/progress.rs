//! A bar for what takes longer than a look: shown after two seconds, on a terminal only.

use crate::args::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// How long work may take before it is worth a bar.
const PATIENCE: Duration = Duration::from_secs(2);

pub struct Progress {
    what: &'static str,
    began: Instant,
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    pub fn new(what: &'static str, output: Output) -> Self {
        Progress {
            what,
            began: Instant::now(),
            bar: None,
            quiet: output == Output::Json,
        }
    }

    /// `done` bytes of `total`.
    pub fn tell(&mut self, done: u64, total: u64) {
        if self.quiet || self.began.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let form = "{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left";
            // The form is a constant; a wrong one would only cost the looks.
            let style = ProgressStyle::with_template(form);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.what);
            bar
        });
        bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

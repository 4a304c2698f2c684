//! A guest that works until its VMM is killed, at whatever stage that is.

use std::io::Write;

use anyhow::Result;

use crate::guest::protocol::{RAM, RAM_SIZE, SPARE, mode};
use crate::guest::{Guest, SECRETS};
use crate::memory::{Kind, PAGE};
use crate::vm::{self, Config, Vm};

/// Builds a guest and works with it, for ever. Says each stage as it begins; whoever started this
/// kills it. With a number instead of a stage's name that is the seed of what it does.
pub(crate) fn live(how: &str) -> Result<()> {
    let seed: u64 = how.parse().unwrap_or(1);
    let stage = |name: &str| {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "STAGE {name}").and_then(|()| out.flush());
        if name == how {
            // Killed here.
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
    };
    let config = Config {
        memory: [Kind::Huge, Kind::Pages, Kind::File][usize::try_from(seed % 3)?],
        ..Config::PROTECTED
    };
    let bundle = vm::bundle()?;
    stage("begin");
    let guest = Guest::run(Vm::build(&bundle, config, &stage)?)?;
    guest.hide(SECRETS)?;
    stage("running");
    guest.second()?;
    guest.tell(1, mode::SPIN, 0)?;
    stage("second");
    let shared = SPARE + PAGE as u64;
    guest.hide(shared)?;
    guest.ask(0, mode::SHARE, shared)?;
    stage("shared");
    let mut random = Random(seed);
    loop {
        let page = SPARE + random.next() % ((RAM + RAM_SIZE - SPARE) / 4096) * 4096;
        match random.next() % 4 {
            0 => guest.hide(page)?,
            1 => {
                guest.ask(0, mode::SHARE, page)?;
            }
            2 => {
                guest.ask(0, mode::UNSHARE, page)?;
            }
            _ => {
                guest.ask(0, mode::READ, page)?;
            }
        }
    }
}

/// Numbers that a seed gives (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next one.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 |= 1;
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

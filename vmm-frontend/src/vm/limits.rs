//! How much memory may stay in place.
//!
//! The pages of a protected guest cannot be swapped or moved, so the kernel counts them against
//! RLIMIT_MEMLOCK of whoever runs the VMM, unless he has CAP_IPC_LOCK.

use super::HostError;
use std::io;

/// The bit of CAP_IPC_LOCK.
const CAP_IPC_LOCK: u32 = 14;
/// Locked memory besides the guest's: nothing today, a little for what libraries lock.
const SPARE: u64 = 1 << 20;

/// What a process may lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The limit that counts.
    pub soft: u64,
    /// The limit to which a process may raise it by itself.
    pub hard: u64,
    /// CAP_IPC_LOCK: limits do not count.
    pub exempt: bool,
}

/// What is to be done so that enough can be locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Enough,
    /// Set the soft limit to this.
    Raise(u64),
    TooLittle {
        need: u64,
    },
}

impl Limits {
    /// Those of this process.
    ///
    /// # Errors
    /// The system's.
    pub fn of_this_process() -> io::Result<Self> {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the pointer is to a whole `rlimit` of this frame, which the call fills in.
        if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Ok(Limits {
            soft: limit.rlim_cur,
            hard: limit.rlim_max,
            exempt: has_capability(&status, CAP_IPC_LOCK),
        })
    }

    pub(super) fn judge(&self, bytes: u64) -> Verdict {
        let need = bytes.saturating_add(SPARE);
        if self.exempt || self.soft >= need {
            Verdict::Enough
        } else if self.hard >= need {
            Verdict::Raise(need)
        } else {
            Verdict::TooLittle { need }
        }
    }
}

/// Makes sure that `bytes` can be locked: raises the soft limit where that is enough.
///
/// # Errors
/// [`HostError::Locked`] when the hard limit is too low, with what to raise.
pub fn allow_locked(bytes: u64) -> Result<(), HostError> {
    let failed = |source| HostError::System {
        doing: "read or raise the limit of locked memory".into(),
        source,
    };
    let limits = Limits::of_this_process().map_err(failed)?;
    match limits.judge(bytes) {
        Verdict::Enough => Ok(()),
        Verdict::Raise(to) => {
            let limit = libc::rlimit {
                rlim_cur: to,
                rlim_max: limits.hard,
            };
            // SAFETY: the pointer is to a whole `rlimit` of this frame, which the call only reads.
            match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
                0 => Ok(()),
                _ => Err(failed(io::Error::last_os_error())),
            }
        }
        Verdict::TooLittle { need } => Err(HostError::Locked {
            need,
            may: limits.hard,
        }),
    }
}

/// Whether `/proc/PID/status` says that a capability is effective.
fn has_capability(status: &str, bit: u32) -> bool {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|bits| bits >> bit & 1 == 1)
}

#[cfg(test)]
pub(super) fn test_capability(status: &str) -> bool {
    has_capability(status, CAP_IPC_LOCK)
}

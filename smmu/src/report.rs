//! What an operator is told of accesses that an SMMU ended: one line each, and not too many.
//!
//! A device can fault as fast as its bus goes. So what is told is limited twice: what was told last
//! is not told again, and of the rest only so many in a time. The line after counts what is missing.

use core::fmt;

/// One access that was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Which device.
    pub stream: u32,
    /// Where, if that was recorded.
    pub address: Option<u64>,
    /// It was a write; `None` where that was not recorded.
    pub write: Option<bool>,
    /// Why.
    pub why: &'static str,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.write {
            Some(true) => "a write",
            Some(false) => "a read",
            None => "an access",
        };
        write!(f, "stream {:#06x} was refused {what}", self.stream)?;
        if let Some(address) = self.address {
            write!(f, " at {address:#x}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Whether to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes, and that so many before it were not told.
    Tell {
        /// How many.
        missing: u64,
    },
    /// No.
    Keep,
}

/// Of one SMMU: which reports are told.
#[derive(Debug)]
pub struct Limiter {
    burst: u32,
    interval: u64,
    left: u32,
    refilled: u64,
    last: Option<Report>,
    missing: u64,
}

impl Limiter {
    /// At most `burst` reports at once, and one more for each `interval` of time, which is not 0.
    pub const fn new(burst: u32, interval: u64) -> Self {
        Limiter {
            burst,
            interval,
            left: burst,
            refilled: 0,
            last: None,
            missing: 0,
        }
    }

    /// Decides on a report that was read at a moment. Time never goes back.
    pub fn pass(&mut self, report: &Report, now: u64) -> Verdict {
        let elapsed = now.saturating_sub(self.refilled) / self.interval;
        if elapsed > 0 {
            let more = u32::try_from(elapsed).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(self.burst);
            self.refilled += elapsed * self.interval;
        }
        // A device that runs through a buffer faults at each line of it: a page is told once.
        let page = |report: &Report| Report {
            address: report.address.map(|address| address & !0xfff),
            ..*report
        };
        let told = self.last == Some(page(report));
        if told || self.left == 0 {
            self.missing += 1;
            return Verdict::Keep;
        }
        self.left -= 1;
        self.last = Some(page(report));
        Verdict::Tell {
            missing: core::mem::take(&mut self.missing),
        }
    }

    /// How many were not told since the last that was.
    pub const fn missing(&self) -> u64 {
        self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::{Limiter, Report, Verdict};
    use std::string::ToString;

    fn report(stream: u32, address: u64) -> Report {
        Report {
            stream,
            address: Some(address),
            write: Some(true),
            why: "nothing is mapped there",
        }
    }

    #[test]
    fn a_report_says_who_what_where_and_why() {
        let line = report(8, 0x412_3000).to_string();
        assert_eq!(
            line,
            "stream 0x0008 was refused a write at 0x4123000: nothing is mapped there"
        );
        let bare = Report {
            address: None,
            write: None,
            ..report(0x1_0042, 0)
        };
        assert_eq!(
            bare.to_string(),
            "stream 0x10042 was refused an access: nothing is mapped there"
        );
    }

    #[test]
    fn a_page_is_told_once_and_counted() {
        let mut limiter = Limiter::new(4, 100);
        assert_eq!(
            limiter.pass(&report(8, 0x1000), 0),
            Verdict::Tell { missing: 0 }
        );
        for line in 1..64 {
            let again = limiter.pass(&report(8, 0x1000 + line * 64), 0);
            assert_eq!(again, Verdict::Keep);
        }
        assert_eq!(
            limiter.pass(&report(9, 0x1000), 0),
            Verdict::Tell { missing: 63 }
        );
        let other_way = Report {
            write: Some(false),
            ..report(9, 0x1000)
        };
        assert_eq!(limiter.pass(&other_way, 0), Verdict::Tell { missing: 0 });
    }

    #[test]
    fn a_flood_gets_its_burst_and_one_for_each_interval() {
        let mut limiter = Limiter::new(4, 100);
        let mut told = 0;
        for now in 0..1000 {
            if limiter.pass(&report(8, now << 12), now) != Verdict::Keep {
                told += 1;
            }
        }
        assert_eq!(told, 4 + 9);
        assert_eq!(limiter.missing(), 99);
        // After silence no more than the burst, however long it was.
        let late = (0..10).filter(|n| limiter.pass(&report(8, n << 12), u64::MAX) != Verdict::Keep);
        assert_eq!(late.count(), 4);
    }
}

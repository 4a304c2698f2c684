//! Numbers of bytes, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// Bytes. Read from `4096`, `0x1000`, `4K`, `512M` or `2G` (powers of 1024).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.char_indices().last() {
            Some((at, 'K')) => (&text[..at], 10),
            Some((at, 'M')) => (&text[..at], 20),
            Some((at, 'G')) => (&text[..at], 30),
            _ => (text, 0),
        };
        let parsed = match digits.strip_prefix("0x") {
            Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16),
            None if !digits.starts_with('+') => digits.parse(),
            _ => "?".parse(),
        };
        let number = parsed.map_err(|_| {
            format!("`{text}` is not a number; write it like 4096, 4K, 512M or 0x1000")
        })?;
        let bytes = number.checked_mul(1 << shift);
        Ok(Size(
            bytes.ok_or(format!("`{text}` does not fit in 64 bits"))?,
        ))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let Some((shift, unit)) = units.into_iter().find(|(shift, _)| self.0 >> shift > 0) else {
            return write!(f, "{} bytes", self.0);
        };
        let (whole, part) = (self.0 >> shift, self.0 & ((1 << shift) - 1));
        // Tenths, rounded up: who gets what he is told has enough.
        match (part * 10).div_ceil(1 << shift) {
            0 => write!(f, "{whole} {unit}"),
            10 => write!(f, "{} {unit}", whole + 1),
            tenths => write!(f, "{whole}.{tenths} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let read = |text: &str| text.parse().map(|Size(bytes)| bytes);
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("0x4000_0000").ok(), None);
        assert_eq!(read("0xfF"), Ok(255));
        assert_eq!(read("0x10K"), Ok(16384));
        assert_eq!(read("512M"), Ok(512 << 20));
        assert_eq!(read("2G"), Ok(2 << 30));
        assert_eq!(read("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "K",
            "0x",
            "-1",
            "+1",
            "0x+1",
            "1T",
            "1k",
            "é",
            "17179869184G",
            "18446744073709551616",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1025, "1.1 KiB"),
            ((2 << 20) - 1, "2 MiB"),
            (512 << 20, "512 MiB"),
            (u64::MAX, "17179869184 GiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}

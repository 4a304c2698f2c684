//! The command line of `ward run`.

use crate::values::number;
use clap::ValueEnum;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(clap::Args)]
pub struct RunArgs {
    /// What to start: a signed bundle
    #[arg(value_name = "BUNDLE", required_unless_present = "kernel")]
    pub bundle: Option<PathBuf>,
    /// Run it as a normal guest: this host can see and change all of it
    #[arg(long)]
    pub normal: bool,
    /// Without Ward: let KVM itself (pKVM) keep the guest's memory from this host. Nobody verifies
    /// what starts
    #[arg(long, conflicts_with = "normal", hide_short_help = true)]
    pub unverified: bool,
    /// Instead of a bundle: an arm64 kernel (Image, gzip or EFI zboot); with --normal or --unverified
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub kernel: Option<PathBuf>,
    /// Its initial RAM disk
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<PathBuf>,
    /// Its command line
    #[arg(
        long,
        value_name = "TEXT",
        requires = "kernel",
        allow_hyphen_values = true
    )]
    pub append: Option<String>,
    /// CPUs of a guest without bundle [default: 1]
    #[arg(long, value_name = "N", requires = "kernel")]
    pub cpus: Option<u32>,
    /// Memory of a guest without bundle [default: 512M]
    #[arg(long, value_name = "SIZE", requires = "kernel", value_parser = number)]
    pub memory: Option<u64>,
    /// A disk: a raw image or a block device; `,ro` makes it read-only. May be given several times
    #[arg(long, value_name = "FILE[,ro]")]
    pub disk: Vec<DiskArg>,
    /// A network card on a tap device of the host; `vhost` lets the host's kernel carry the
    /// packets. May be given several times
    #[arg(long, value_name = "tap=NAME[,vhost][,mac=MAC]")]
    pub net: Vec<NetArg>,
    /// Sockets (vsock) between host and guest, by the host's kernel: the guest's number, from 3
    #[arg(long, value_name = "CID", value_parser = cid)]
    pub vsock: Option<u32>,
    /// A source of random numbers: this host's, which a protected guest should not rely on
    #[arg(long)]
    pub rng: bool,
    /// The guest's name in `ward list` and `ward stop` [default: the bundle's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where the guest's console goes: `stdio`, `file=FILE`, `pty` or `none`
    #[arg(long, value_name = "WHERE", default_value = "stdio")]
    pub console: ConsoleArg,
    /// End instead of starting anew when the guest asks for a restart
    #[arg(long)]
    pub no_reboot: bool,
    /// What is told on standard error
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Warn)]
    pub log_level: LogLevel,
    /// Leave the VMM's threads their system calls: to look for a mistake of the VMM's
    #[arg(long, hide_short_help = true)]
    pub no_seccomp: bool,
    /// The device of KVM
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/dev/kvm",
        hide_short_help = true
    )]
    pub kvm: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// `FILE[,ro]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskArg {
    pub file: PathBuf,
    pub read_only: bool,
}

impl FromStr for DiskArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (file, read_only) = match text.strip_suffix(",ro") {
            Some(file) => (file, true),
            None => (text, false),
        };
        if file.is_empty() {
            return Err("write it like disk.img or disk.img,ro".into());
        }
        let file = file.into();
        Ok(DiskArg { file, read_only })
    }
}

/// `tap=NAME[,vhost][,mac=MAC]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetArg {
    pub tap: String,
    pub vhost: bool,
    pub mac: Option<[u8; 6]>,
}

impl FromStr for NetArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut tap, mut vhost, mut mac) = (None, false, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("tap", name)) if tap.is_none() => tap = Some(name),
                Some(("mac", text)) if mac.is_none() => mac = Some(parse_mac(text)?),
                None if part == "vhost" => vhost = true,
                _ => {
                    return Err(format!(
                        "`{part}`: write it like tap=tap0,vhost,mac=52:54:00:12:34:56"
                    ));
                }
            }
        }
        // IFNAMSIZ is 16, with the zero at the end.
        let tap = tap.filter(|name| (1..16).contains(&name.len()) && !name.contains('/'));
        let tap = tap.ok_or("name a tap device of at most 15 letters, like tap=tap0")?;
        let tap = tap.to_owned();
        Ok(NetArg { tap, vhost, mac })
    }
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let digits = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let part = parts.next().filter(digits);
        let value = part.and_then(|part| u8::from_str_radix(part, 16).ok());
        *byte = value.ok_or(format!("`{text}` is no MAC address like 52:54:00:12:34:56"))?;
    }
    if parts.next().is_some() {
        return Err(format!("`{text}` is too long for a MAC address"));
    }
    if mac[0] & 1 != 0 || mac == [0; 6] {
        return Err(format!(
            "`{text}` is an address of a group or none; a card's first byte is even"
        ));
    }
    Ok(mac)
}

/// A guest's number: 0 to 2 and the last are taken by hypervisor, loopback, host and "any".
fn cid(text: &str) -> Result<u32, String> {
    let cid = text.parse().ok().filter(|cid| (3..u32::MAX).contains(cid));
    cid.ok_or("a guest's number (CID) is from 3 to 4294967294".into())
}

/// Where the console goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsoleArg {
    Stdio,
    File(PathBuf),
    Pty,
    None,
}

impl FromStr for ConsoleArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdio" => Ok(ConsoleArg::Stdio),
            "pty" => Ok(ConsoleArg::Pty),
            "none" => Ok(ConsoleArg::None),
            _ => match text.strip_prefix("file=") {
                Some(file) if !file.is_empty() => Ok(ConsoleArg::File(file.into())),
                _ => Err("there are stdio, file=FILE, pty and none".into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks() {
        let disk: DiskArg = "a,b.img,ro".parse().unwrap();
        assert_eq!((disk.file, disk.read_only), ("a,b.img".into(), true));
        let disk: DiskArg = "a.img".parse().unwrap();
        assert!(!disk.read_only);
        assert!(",ro".parse::<DiskArg>().is_err());
    }

    #[test]
    fn nets() {
        let net: NetArg = "tap=t0,mac=52:54:00:aB:00:01,vhost".parse().unwrap();
        assert_eq!((net.tap.as_str(), net.vhost), ("t0", true));
        assert_eq!(net.mac, Some([0x52, 0x54, 0, 0xab, 0, 1]));
        for bad in [
            "",
            "tap=",
            "t0",
            "tap=a/b",
            "tap=t0,tap=t1",
            "tap=abcdefghijklmnop",
            "tap=t0,vhost=1",
            "tap=t0,mac=",
            "tap=t0,mac=01:00:00:00:00:00",
            "tap=t0,mac=00:00:00:00:00:00",
            "tap=t0,mac=52:54:00:00:00",
            "tap=t0,mac=52:54:00:00:00:00:00",
            "tap=t0,mac=5:54:00:00:00:00",
            "tap=t0,mac=+2:54:00:00:00:00",
            "mac=52:54:00:00:00:00",
        ] {
            assert!(bad.parse::<NetArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn vsocks_and_consoles() {
        assert_eq!(cid("3"), Ok(3));
        for bad in ["", "2", "4294967295", "x", "-3"] {
            assert!(cid(bad).is_err(), "{bad}");
        }
        assert_eq!("file=x".parse(), Ok(ConsoleArg::File("x".into())));
        for bad in ["", "file", "file=", "tty"] {
            assert!(bad.parse::<ConsoleArg>().is_err(), "{bad}");
        }
    }
}

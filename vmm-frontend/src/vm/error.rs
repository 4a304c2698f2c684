//! Why a guest could not be started, and what to do about it.

use super::ward::Version;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A step of building a protected VM that Ward can refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The signed manifest.
    Manifest,
    /// Handing over the pages of this image.
    Image(usize),
    /// Hashing the images.
    Verify,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Manifest => f.write_str("the manifest"),
            Step::Image(index) => write!(f, "the pages of image {index}"),
            Step::Verify => f.write_str("to verify the images"),
        }
    }
}

/// Why this host did not start a guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The device of KVM cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// KVM's interface has another version.
    #[error("/dev/kvm has version {0} of its interface; all kernels since 2007 have 12")]
    KvmVersion(i32),
    /// The program runs on another kind of CPU.
    #[error("guests run on arm64 only, and this is {0}")]
    Machine(&'static str),
    /// KVM lacks something.
    #[error("this host's KVM has no {0}")]
    Missing(&'static str),
    /// A protected guest is asked for, and there is no Ward.
    #[error("Ward is not below this kernel: nothing here could verify a guest or keep it private")]
    NoWard,
    /// Ward is there, and too old or too new.
    #[error(
        "Ward below this kernel has version {0} of its interface, this program was made for {ours}",
        ours = Version::OURS
    )]
    WardVersion(Version),
    /// The kernel makes no protected VM.
    #[error("this host makes no protected VM: {0}")]
    NoProtected(io::Error),
    /// A plain kernel cannot be verified.
    #[error("only a signed bundle can be started protected")]
    NotSigned,
    /// Too little memory may be locked.
    #[error(
        "the guest's {} MiB of memory stay in place while it runs, and this user may lock {} MiB",
        need >> 20, may >> 20
    )]
    Locked {
        /// Bytes that are needed.
        need: u64,
        /// Bytes that are allowed: the hard limit.
        may: u64,
    },
    /// There is no memory for the guest.
    #[error("no {} MiB of memory for the guest at {ipa:#x}: {source}", bytes >> 20)]
    Memory {
        /// Its address in the guest.
        ipa: u64,
        /// Its size.
        bytes: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// More vCPUs than KVM has.
    #[error("the guest has {asked} CPUs, and KVM here allows {most}")]
    Cpus {
        /// vCPUs of the guest.
        asked: u32,
        /// Most that are allowed.
        most: u32,
    },
    /// The guest's memory ends beyond what the CPU can translate.
    #[error("the guest's memory ends at {end:#x}, and guests here have {bits} bits of address")]
    AddressSpace {
        /// First address behind the memory.
        end: u64,
        /// What KVM allows.
        bits: u32,
    },
    /// An image lies outside memory.
    #[error("image {index} at {ipa:#x} does not lie in the guest's memory")]
    Outside {
        /// Which.
        index: usize,
        /// Where.
        ipa: u64,
    },
    /// Ward refused a step.
    #[error("Ward refused {step}: {}", refusal(*step, *errno))]
    Refused {
        /// Which step.
        step: Step,
        /// The system's number for Ward's error.
        errno: i32,
    },
    /// A call of KVM's failed.
    #[error("KVM cannot {doing}: {source}")]
    Kvm {
        /// What was tried, in words.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Something else that the system refused.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried, in words.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl HostError {
    /// Whether another host, too, would refuse what was to be started.
    pub fn blames_the_guest(&self) -> bool {
        let bad = [
            libc::EBADMSG,
            libc::EKEYREJECTED,
            libc::ENOKEY,
            libc::EILSEQ,
        ];
        match self {
            HostError::NotSigned | HostError::Outside { .. } => true,
            HostError::Refused { errno, .. } => bad.contains(errno),
            _ => false,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            HostError::Open { source, path } => open_remedy(source, path),
            HostError::KvmVersion(_) | HostError::Missing(_) => {
                "use a kernel of the project, or a newer one of your distribution".into()
            }
            HostError::Machine(_) => {
                "copy this bundle to the arm64 host; `ward bundle`, `inspect` and `verify` work anywhere"
                    .into()
            }
            HostError::NoWard => {
                "boot the machine with Ward (docs/boot.md) and the project's kernel, or see the guest \
                 run without any protection by --normal"
                    .into()
            }
            HostError::WardVersion(_) => {
                "boot Ward and use `ward` of the same release".into()
            }
            HostError::NoProtected(_) => {
                "the kernel's log says what KVM found (`dmesg | grep -i -e kvm -e ward`)".into()
            }
            HostError::NotSigned => {
                "sign kernel and initrd with `ward bundle`, or add --normal to start them without \
                 protection"
                    .into()
            }
            HostError::Locked { need, .. } => format!(
                "raise the limit to {kib} KiB: `ulimit -l {kib}` as root before ward, a line `USER - memlock \
                 {kib}` in /etc/security/limits.conf, or LimitMEMLOCK={need} in a systemd unit",
                kib = need >> 10
            ),
            HostError::Memory { .. } => {
                "end other programs, or give the guest less: `ward bundle --memory` (for --normal: \
                 --memory)"
                    .into()
            }
            HostError::Cpus { most, .. } => format!("make the guest with at most {most} CPUs"),
            HostError::AddressSpace { .. } => "make the guest with less memory".into(),
            HostError::Outside { .. } => {
                "make the bundle again with `ward bundle`".into()
            }
            HostError::Refused { step, errno } => refusal_remedy(*step, *errno),
            HostError::Kvm { source, .. } => kvm_remedy(source),
            HostError::System { .. } => "see the system's reason above".into(),
        }
    }
}

fn open_remedy(source: &io::Error, path: &std::path::Path) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "the kernel has no KVM here: it needs CONFIG_KVM, and either Ward below it or to be started at \
             EL2 (`dmesg | grep -i kvm`)"
                .into()
        }
        io::ErrorKind::PermissionDenied => format!(
            "add yourself to the group of {path} (`sudo usermod -aG kvm $USER`, then log in again), or run \
             as root",
            path = path.display()
        ),
        _ if source.raw_os_error() == Some(libc::ENOTTY) => {
            "this file is no KVM: leave --kvm away, or name the device".into()
        }
        _ => "see `dmesg | grep -i kvm`".into(),
    }
}

fn kvm_remedy(source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => "the host has too little memory: end other programs".into(),
        _ => "the kernel's log may say more (`dmesg | tail`); with Ward, `ward log` too".into(),
    }
}

/// Ward's errors as the kernel numbers them.
fn refusal(step: Step, errno: i32) -> String {
    match errno {
        libc::EBADMSG => "it does not describe a machine that can be built here".into(),
        libc::EKEYREJECTED => "the signature is not by the key that it names".into(),
        libc::ENOKEY => "it is signed by a key that this Ward does not trust".into(),
        libc::EILSEQ => "an image is not what was signed".into(),
        libc::ENOEXEC => "a step before it is missing, or it comes too late".into(),
        libc::EEXIST => "it has been done already".into(),
        libc::EPERM => match step {
            Step::Image(_) => "the memory is not the host's to give: somebody else uses it".into(),
            _ => "not permitted".into(),
        },
        libc::ENOMEM => "the host has no memory left to give".into(),
        _ => io::Error::from_raw_os_error(errno).to_string(),
    }
}

fn refusal_remedy(step: Step, errno: i32) -> String {
    match errno {
        libc::EBADMSG => {
            "check it with `ward verify`; it must suit the CPUs and the address space of this machine".into()
        }
        libc::EKEYREJECTED => "the bundle was changed or damaged: get it again from its owner".into(),
        libc::ENOKEY => {
            "`ward inspect` shows the key; Ward trusts those that its image was built with (`cargo xtask \
             image --keys FILE`)"
                .into()
        }
        libc::EILSEQ => "the bundle was changed or damaged: `ward verify` names the image".into(),
        libc::ENOMEM => "end other programs, or make the guest with less memory".into(),
        libc::EPERM if matches!(step, Step::Image(_)) => {
            "end programs that trace or copy this one's memory, and start the guest again".into()
        }
        _ => "`ward log` says why in Ward's words".into(),
    }
}

//! What a refused call returns.

/// Why a call was refused. A refused call has changed nothing (I9), but for [`Error::BadDigest`],
/// which is the result of a check that was carried out: the VM is powered off then.
///
/// The value is what `x0` holds, as a signed 64-bit number; 0 is success and [`AGAIN`] partial
/// success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i64)]
pub enum Error {
    /// No such function, or one that this build does not have (SMCCC NOT_SUPPORTED).
    NotSupported = -1,
    /// An argument that no state of the machine would make right: unknown flag, order, index.
    InvalidArgument = -2,
    /// An address that is unaligned, wraps, is out of range, or is not memory of the kind the
    /// call takes (device for RAM, RAM for device).
    BadAddress = -3,
    /// The frame is not the caller's to give: Ward's own, another owner's, shared, lent or in use
    /// by Ward or a device.
    Denied = -4,
    /// The VM or vCPU is not in a state that permits the call.
    BadState = -5,
    /// A vCPU is running: try again when it has left.
    Busy = -6,
    /// No VM or vCPU with that number.
    NotFound = -7,
    /// A pool lacks the table pages this needs: donate and repeat the call. `x1` is 1 when it is
    /// the host's pool (`host_donate`), 0 when it is the VM's (`vm_donate`).
    NoMemory = -8,
    /// Something is there already: a mapping, a vCPU, boot information.
    Exists = -9,
    /// The manifest's bytes do not describe a machine Ward can build.
    BadManifest = -10,
    /// The signature is not that key's over these bytes.
    BadSignature = -11,
    /// The manifest is signed by a key that is not in Ward's image.
    UntrustedKey = -12,
    /// An image in memory is not the one that was signed.
    BadDigest = -13,
    /// All VM numbers are in use.
    NoNumber = -14,
    /// An SMMU no longer answers, so that what its devices reach can't be taken from them: no
    /// frame leaves the host any more.
    DeviceLost = -15,
}

/// `x0` of a long call that did a bounded piece and wants to be called again with the same
/// arguments; `x1` says how much is left.
pub const AGAIN: i64 = 1;

impl Error {
    /// All errors, in order of their number.
    pub const ALL: [Error; 15] = [
        Error::NotSupported,
        Error::InvalidArgument,
        Error::BadAddress,
        Error::Denied,
        Error::BadState,
        Error::Busy,
        Error::NotFound,
        Error::NoMemory,
        Error::Exists,
        Error::BadManifest,
        Error::BadSignature,
        Error::UntrustedKey,
        Error::BadDigest,
        Error::NoNumber,
        Error::DeviceLost,
    ];

    /// The number in `x0`.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The error with this number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.code() == code)
    }
}

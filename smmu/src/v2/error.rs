//! Why the driver did not do what it was asked to.

use super::Unfit;

/// Why an SMMU could not be taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// Ward can't drive it. It ends every stream.
    Unfit(Unfit),
    /// The plan leaves the host no group or no bank, or keeps too many groups. It ends every
    /// stream.
    Plan,
    /// It does not do what it is told: nothing is known of what its devices do.
    NoAnswer,
}

/// The SMMU no longer does what it is told. No stream is routed any more that was not before, but
/// its caches are as they were: no frame that one of its streams could reach may change its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

/// Why a bank stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BankError {
    /// There is no such bank, or it is Ward's.
    NoBank,
    /// It is somebody's.
    Taken,
    /// It is nobody's.
    Free,
    /// A stream of a VM's is routed to it.
    InUse,
    /// See [`Lost`].
    Lost,
}

/// Why a stream stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// There is no such stream.
    NoStream,
    /// The bank is not a VM's.
    NoBank,
    /// It is a VM's.
    Given,
    /// It is no VM's.
    NotGiven,
    /// All groups for streams of VMs are in use.
    Full,
    /// See [`Lost`]. The stream is routed to nothing, or to its VM's bank as asked.
    Lost,
}

impl From<Lost> for BankError {
    fn from(Lost: Lost) -> Self {
        BankError::Lost
    }
}

impl From<Lost> for StreamError {
    fn from(Lost: Lost) -> Self {
        StreamError::Lost
    }
}

//! The ownership matrix: every state of a frame against everything that can be asked of it.
//!
//! This table is the documentation and the test's oracle in one; the tests enumerate it against
//! the code, and `docs/ownership.md` is printed from it. States that cannot exist are not listed
//! because [`FrameState`](super::FrameState) cannot express them: a frame with two owners, a
//! frame of Ward's that is pinned or lent, a VM's frame without an IPA or with two.
//!
//! | | meaning |
//! |---|---|
//! | `HostIdle` | the host's, nothing special |
//! | `HostPinned` | the host's, a run page or a DMA mapping uses it |
//! | `HostLent` | the host's, a normal VM maps it |
//! | `HostBoth` | the host's, pinned and lent: a run page that a normal VM maps too, or a normal VM's page that a device maps |
//! | `Hyp` | Ward's: image, table, record, pool, or on its way back |
//! | `OwnPrivate` | the VM's that asks |
//! | `OwnShared` | the same, shared with the host |
//! | `OtherPrivate` | another protected VM's |
//! | `OtherShared` | the same, shared with the host |
//! | `Device` | not RAM, not Ward's |
//! | `HypDevice` | not RAM, Ward's |

use crate::abi::Error;

/// A frame as one party sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the table above
pub enum State {
    HostIdle,
    HostPinned,
    HostLent,
    HostBoth,
    Hyp,
    OwnPrivate,
    OwnShared,
    OtherPrivate,
    OtherShared,
    Device,
    HypDevice,
}

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The host gives the frame to Ward: record, table, pool.
    TakeForHyp,
    /// The host gives the frame to the VM: image page, or memory at fault time.
    TakeForVm,
    /// The host names the frame as a run page.
    Pin,
    /// The host maps the frame in a stream's own table.
    MapDma,
    /// The host lends the frame to a normal VM.
    Lend,
    /// The host has Ward read the frame (manifest).
    HostRead,
    /// The host maps the frame into a VM as device memory.
    MapIo,
    /// The VM shares the frame it sees at an IPA.
    Share,
    /// The VM ends that.
    Unshare,
    /// The VM gives the frame it sees at an IPA back.
    Relinquish,
    /// The host reclaims the frame from the VM, powered off.
    Reclaim,
    /// The host accesses the address.
    HostAccess,
}

/// What comes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The frame is in this state afterwards.
    To(State),
    /// Carried out or allowed; the state stays.
    Allowed,
    /// Refused with this error; nothing changed.
    Refused(Error),
    /// The host's access takes a synchronous external abort.
    Abort,
    /// The call passes the frame by (a range that holds frames of others).
    Passed,
    /// Nobody can ask this: a VM has no address for a frame that is not its own.
    NoName,
}

use Operation as Op;
use Outcome::{Abort, Allowed, NoName, Passed, Refused, To};
use State as S;

const DENIED: Outcome = Refused(Error::Denied);
const BAD: Outcome = Refused(Error::BadAddress);

/// Outcomes by operation (rows) and state (columns of [`STATES`]).
#[rustfmt::skip]
pub const MATRIX: [(Op, [Outcome; 11]); 12] = [
    // operation        HostIdle            HostPinned           HostLent          HostBoth          Hyp     OwnPrivate           OwnShared            OtherPrivate  OtherShared  Device   HypDevice
    (Op::TakeForHyp, [To(S::Hyp),        DENIED,              DENIED,           DENIED,           DENIED, DENIED,              DENIED,              DENIED,       DENIED,      BAD,     BAD]),
    (Op::TakeForVm,  [To(S::OwnPrivate), DENIED,              DENIED,           DENIED,           DENIED, DENIED,              DENIED,              DENIED,       DENIED,      BAD,     BAD]),
    (Op::Pin,        [To(S::HostPinned), To(S::HostPinned),   DENIED,           DENIED,           DENIED, DENIED,              DENIED,              DENIED,       DENIED,      BAD,     BAD]),
    (Op::MapDma,     [To(S::HostPinned), To(S::HostPinned),   To(S::HostBoth),  To(S::HostBoth),  DENIED, DENIED,              DENIED,              DENIED,       DENIED,      BAD,     BAD]),
    (Op::Lend,       [To(S::HostLent),   To(S::HostBoth),     To(S::HostLent),  To(S::HostBoth),  DENIED, DENIED,              DENIED,              DENIED,       DENIED,      BAD,     BAD]),
    (Op::HostRead,   [Allowed,           Allowed,             Allowed,          Allowed,          DENIED, DENIED,              DENIED,              DENIED,       DENIED,      BAD,     BAD]),
    (Op::MapIo,      [BAD,               BAD,                 BAD,              BAD,              BAD,    BAD,                 BAD,                 BAD,          BAD,         Allowed, BAD]),
    (Op::Share,      [NoName,            NoName,              NoName,           NoName,           NoName, To(S::OwnShared),    DENIED,              NoName,       NoName,      NoName,  NoName]),
    (Op::Unshare,    [NoName,            NoName,              NoName,           NoName,           NoName, DENIED,              To(S::OwnPrivate),   NoName,       NoName,      NoName,  NoName]),
    (Op::Relinquish, [NoName,         NoName,              NoName,           NoName,           NoName, To(S::HostIdle),     DENIED,              NoName,       NoName,      NoName,  NoName]),
    (Op::Reclaim,    [Passed,            Passed,              Passed,           Passed,           Passed, To(S::HostIdle),     To(S::HostIdle),     Passed,       Passed,      BAD,     BAD]),
    (Op::HostAccess, [Allowed,           Allowed,             Allowed,          Allowed,          Abort,  Abort,               Allowed,             Abort,        Allowed,     Allowed, Abort]),
];

/// The columns of [`MATRIX`].
#[rustfmt::skip]
pub const STATES: [State; 11] = [
    S::HostIdle, S::HostPinned, S::HostLent, S::HostBoth, S::Hyp, S::OwnPrivate, S::OwnShared,
    S::OtherPrivate, S::OtherShared, S::Device, S::HypDevice,
];

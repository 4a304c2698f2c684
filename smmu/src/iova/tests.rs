//! The calls against a backend that keeps translations until they are forgotten and synced.

mod calls;
mod fake;
mod random;

use super::{Backend, Error, Frame, Key, Progress, Streams, Target, VmState, When};
use fake::Fake;

type All = Streams<4>;

const HOST: Key = Key { smmu: 0, stream: 8 };
const OTHER: Key = Key { smmu: 1, stream: 8 };
const VMS: Key = Key { smmu: 0, stream: 9 };
const RW: u64 = 3;
const FRAME: u64 = 0x40200;
const PA: u64 = FRAME << 12;

/// Two streams of the host's, one of VM 1's, which is verified by now.
fn scene() -> (Fake, All) {
    let (mut b, mut all) = (Fake::new(), All::new());
    all.alloc(&mut b, HOST, None).unwrap();
    all.alloc(&mut b, OTHER, None).unwrap();
    all.alloc(&mut b, VMS, Some(1)).unwrap();
    b.vms.insert(1, VmState::Verified);
    (b, all)
}

//! Runs guests on `/dev/kvm`: protected ones under Ward, normal ones on any arm64 KVM.
//!
//! ```text
//! Payload  what the guest starts from: a bundle, or a kernel and its tree
//! Host     /dev/kvm, and whether Ward is below it
//! Vm       memory, interrupt controller, vCPUs; the images in their places; verified
//! Board    the devices on the bus, and who serves them
//! Running  a thread for each vCPU; `Ending` hears the Outcome
//! ```
//!
//! A protected VM is built in the order that Ward asks for (docs/vm-life.md): memory slots, vCPUs,
//! interrupt controller, images copied into place; then the manifest, the images' pages, and
//! verification. After that no thread of this process can read the guest's memory but what the
//! guest shares. Touching it otherwise ends the process with SIGBUS or SIGSEGV, and only a guest
//! that points a device at memory it did not share can bring that about; data of disks and
//! networks is moved by system calls, which say `EFAULT` instead.
//!
//! The system-call numbers of KVM's arm64 interface exist for arm64 only: on other machines this
//! module has what does not need them.

mod ending;
mod error;
mod exits;
mod limits;
mod memory;
mod outcome;
mod payload;
pub mod ward;

#[cfg(target_arch = "aarch64")]
mod board;
#[cfg(target_arch = "aarch64")]
mod build;
#[cfg(target_arch = "aarch64")]
mod gic;
#[cfg(target_arch = "aarch64")]
mod host;
#[cfg(target_arch = "aarch64")]
mod interrupt;
#[cfg(target_arch = "aarch64")]
mod running;
#[cfg(target_arch = "aarch64")]
mod vcpu;

#[cfg(test)]
mod tests;

pub use ending::Ending;
pub use error::{HostError, Step};
pub use exits::Exits;
pub use limits::{Limits, allow_locked};
pub use memory::allocate;
pub use outcome::{Outcome, Stop};
pub use payload::{Payload, Piece};

#[cfg(target_arch = "aarch64")]
pub use board::{Board, Slot};
#[cfg(target_arch = "aarch64")]
pub use build::{Mode, Vm};
#[cfg(target_arch = "aarch64")]
pub use host::Host;
#[cfg(target_arch = "aarch64")]
pub use interrupt::Spi;
#[cfg(target_arch = "aarch64")]
pub use running::Running;

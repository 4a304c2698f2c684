//! The socket device: connections between host and guest without a network, by the kernel's
//! vhost-vsock. Programs of the host connect to (guest's number, port); number 2 is the host.

use super::mmio::regs::feature as common;
use super::vhost::Kernel;
use super::{Activation, Counters, Memory, Progress, Ready, VirtioDevice, read_bytes};
use crate::Error;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use vhost::vsock::VhostVsock;
use vmm_sys_util::epoll::EventSet;

/// The numbers that guests can have: the first three mean any, the hypervisor, and the host.
pub const FIRST_CID: u32 = 3;

/// SEQPACKET.
const SEQPACKET: u64 = 1 << 1;
/// Receive, transmit and events; the kernel serves the first two, and there never is an event.
const QUEUES: [u16; 3] = [256, 256, 64];

/// A guest's socket device.
pub struct Vsock {
    config: [u8; 8],
    kernel: Kernel<vhost::vhost_kern::vsock::Vsock<Arc<Memory>>>,
    counters: Arc<Counters>,
}

impl Vsock {
    /// The device of a guest with this memory and number.
    ///
    /// # Errors
    /// [`Error::Machine`] when the host has no vhost-vsock, or the number is taken.
    pub fn new(cid: u32, memory: &Memory) -> Result<Self, Error> {
        let bad = |what: String, remedy: &str| Error::Machine {
            what,
            remedy: remedy.to_owned(),
        };
        if !(FIRST_CID..u32::MAX).contains(&cid) {
            return Err(bad(
                format!("vsock: {cid} is no number that a guest can have"),
                "give a number from 3 up, a different one to each guest",
            ));
        }
        let memory = Arc::new(memory.clone());
        let device = vhost::vhost_kern::vsock::Vsock::new(memory.clone()).map_err(|error| {
            bad(
                format!("vsock: cannot open /dev/vhost-vsock: {error}"),
                "load the module with `modprobe vhost_vsock`, and give your user access to the \
                 file",
            )
        })?;
        let kernel = Kernel::new(device, memory)
            .map_err(|error| bad(format!("vsock: {error}"), "see the system's reason"))?;
        kernel.device.set_guest_cid(cid.into()).map_err(|error| {
            bad(
                format!("vsock: the number {cid} cannot be had: {error}"),
                "another guest has it: give each guest its own",
            )
        })?;
        Ok(Vsock {
            config: u64::from(cid).to_le_bytes(),
            kernel,
            counters: Arc::default(),
        })
    }
}

impl VirtioDevice for Vsock {
    fn device_type(&self) -> u32 {
        19
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn features(&self) -> u64 {
        self.kernel.features(SEQPACKET)
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_bytes(&self.config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        let rings = common::INDIRECT | common::EVENT_IDX | common::VERSION_1;
        let wanted = activation.features & (SEQPACKET | rings);
        let features = self.kernel.features(wanted);
        self.kernel.prepare(&activation, features, 2)?;
        self.kernel.device.start().map_err(io::Error::other)
    }

    fn reset(&mut self) {
        // Fails when it was not started: then there is nothing to stop.
        let _ = self.kernel.device.stop();
        self.kernel.forget();
    }

    fn wants_queue_events(&self) -> bool {
        false
    }

    fn sources(&self) -> Vec<(RawFd, EventSet)> {
        vec![(self.kernel.error.as_raw_fd(), EventSet::IN)]
    }

    fn process(&mut self, _: Ready) -> Progress {
        if self.kernel.failed() {
            Counters::add(&self.counters.errors, 1);
        }
        Progress::Done
    }

    fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }
}

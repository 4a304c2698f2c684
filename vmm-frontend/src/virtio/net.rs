//! The network device: a tap interface of the host.
//!
//! Served by the kernel (vhost-net) where it is there, else on the device thread, one packet per
//! system call. The header before each packet (checksums and segmentation left to do) goes between
//! guest and tap as it is: the host's kernel checks it.

use super::channel::{Channel, Served};
use super::mmio::regs::feature as common;
use super::vhost::Kernel;
use super::{Activation, Counters, Memory, Progress, Ready, VirtioDevice, read_bytes};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use vhost::net::VhostNet;
use vmm_sys_util::epoll::EventSet;

mod tap;
#[cfg(test)]
mod tests;

pub use tap::Tap;

/// Feature bits, virtio 1.2 section 5.1.3.
mod feature {
    pub(super) const CSUM: u64 = 1 << 0;
    pub(super) const GUEST_CSUM: u64 = 1 << 1;
    pub(super) const MAC: u64 = 1 << 5;
    pub(super) const GUEST_TSO4: u64 = 1 << 7;
    pub(super) const GUEST_TSO6: u64 = 1 << 8;
    pub(super) const HOST_TSO4: u64 = 1 << 11;
    pub(super) const HOST_TSO6: u64 = 1 << 12;
    pub(super) const MRG_RXBUF: u64 = 1 << 15;
}

/// Receive and transmit.
const QUEUES: [u16; 2] = [256, 256];
/// Bytes of the header, and of the largest packet with it (a segmented one of 64 KiB).
const HEADER: usize = 12;
const PACKET: usize = HEADER + 14 + 65536;

/// A network card.
pub struct Net {
    tap: Tap,
    config: [u8; 6],
    path: Path,
    counters: Arc<Counters>,
}

/// Who moves the packets.
enum Path {
    /// This program; with the queues when active.
    User(Option<[Channel; 2]>),
    Kernel(Kernel<vhost::vhost_kern::net::Net<Arc<Memory>>>),
}

impl Net {
    /// A card with the address `mac`, connected to `tap`, served by this program.
    pub fn new(tap: Tap, mac: [u8; 6]) -> Self {
        Net {
            tap,
            config: mac,
            path: Path::User(None),
            counters: Arc::default(),
        }
    }

    /// Lets the kernel serve the card of a guest with this memory.
    ///
    /// # Errors
    /// The system's, when `/dev/vhost-net` is missing or not to be used: the card is then served
    /// by this program. Also when the host sends packets without a copy: then a guest could take
    /// back a page that is still to be sent.
    pub fn use_vhost(&mut self, memory: &Memory) -> io::Result<()> {
        let zero_copy = "/sys/module/vhost_net/parameters/experimental_zcopytx";
        if let Ok(text) = std::fs::read_to_string(zero_copy)
            && text.trim() != "0"
        {
            return Err(io::Error::other(
                "vhost_net sends without copying (experimental_zcopytx)",
            ));
        }
        let memory = Arc::new(memory.clone());
        let device = vhost::vhost_kern::net::Net::new(memory.clone()).map_err(io::Error::other)?;
        self.path = Path::Kernel(Kernel::new(device, memory)?);
        Ok(())
    }

    /// Whether the kernel serves the card.
    pub fn uses_vhost(&self) -> bool {
        matches!(self.path, Path::Kernel(_))
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> u32 {
        1
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn features(&self) -> u64 {
        let send = feature::CSUM | feature::HOST_TSO4 | feature::HOST_TSO6;
        let fixed = feature::MAC | feature::GUEST_CSUM | send;
        match &self.path {
            // Packets larger than a buffer need MRG_RXBUF, which only the kernel does for us.
            Path::User(_) => fixed,
            Path::Kernel(kernel) => {
                let merge = kernel.features(feature::MRG_RXBUF);
                let large = feature::GUEST_TSO4 | feature::GUEST_TSO6;
                fixed | merge | if merge == 0 { 0 } else { large }
            }
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_bytes(&self.config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        let features = activation.features;
        let has = |bit| features & bit != 0;
        self.tap.set_offloads(
            has(feature::GUEST_CSUM),
            has(feature::GUEST_TSO4),
            has(feature::GUEST_TSO6),
        )?;
        match &mut self.path {
            Path::User(channels) => *channels = Some(activation.channels()?),
            Path::Kernel(kernel) => {
                let rings = common::INDIRECT | common::EVENT_IDX | common::VERSION_1;
                let wanted = features & (feature::MRG_RXBUF | rings);
                kernel.prepare(&activation, kernel.features(wanted), 2)?;
                for queue in 0..2 {
                    let set = kernel.device.set_backend(queue, Some(self.tap.file()));
                    set.map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        match &mut self.path {
            Path::User(channels) => *channels = None,
            Path::Kernel(kernel) => {
                for queue in 0..2 {
                    // Fails when it was not set up: then there is nothing to stop.
                    let _ = kernel.device.set_backend(queue, None);
                }
                kernel.forget();
            }
        }
    }

    fn wants_queue_events(&self) -> bool {
        !self.uses_vhost()
    }

    fn sources(&self) -> Vec<(RawFd, EventSet)> {
        match &self.path {
            Path::User(_) => vec![(self.tap.file().as_raw_fd(), EventSet::IN)],
            Path::Kernel(kernel) => vec![(kernel.error.as_raw_fd(), EventSet::IN)],
        }
    }

    fn process(&mut self, ready: Ready) -> Progress {
        let channels = match &mut self.path {
            Path::User(channels) => channels,
            Path::Kernel(kernel) => {
                if kernel.failed() {
                    Counters::add(&self.counters.errors, 1);
                }
                return Progress::Done;
            }
        };
        let Some([receive, send]) = channels else {
            return Progress::Done;
        };
        let mut progress = Progress::Done;
        if ready != Ready::Queue(1) {
            progress = receive_packets(receive, &self.tap, &self.counters);
        }
        if matches!(ready, Ready::Queue(1) | Ready::Again)
            && send_packets(send, &self.tap, &self.counters) == Progress::More
        {
            progress = Progress::More;
        }
        progress
    }

    fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }
}

/// From the tap to the guest, as long as there are packets and buffers.
fn receive_packets(channel: &mut Channel, tap: &Tap, counters: &Counters) -> Progress {
    channel.serve_some(|request| {
        let mut output = match request {
            Ok(request) => request.output,
            Err(_) => {
                Counters::add(&counters.errors, 1);
                return Some(Served::default());
            }
        };
        // The tap writes the header but its last field, the number of buffers.
        output.poke(HEADER - 2, &1u16.to_le_bytes());
        match output.read_packet(tap.file().as_fd()) {
            Ok(bytes) => {
                Counters::add(&counters.requests, 1);
                Counters::add(&counters.to_guest, bytes as u64);
                Some(Served {
                    written: bytes,
                    cost: bytes,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The packet is lost: the buffer could not be written, or the interface is gone. A
            // driver drops what is shorter than a header.
            Err(_) => {
                Counters::add(&counters.errors, 1);
                Some(Served::default())
            }
        }
    })
}

/// From the guest to the tap.
fn send_packets(channel: &mut Channel, tap: &Tap, counters: &Counters) -> Progress {
    channel.serve(|request| {
        let mut sent = 0;
        if let Ok(mut request) = request
            && (HEADER..=PACKET).contains(&request.input.len())
        {
            sent = request.input.write_packet(tap.file().as_fd()).unwrap_or(0);
        }
        Counters::add(&counters.requests, 1);
        Counters::add(&counters.from_guest, sent as u64);
        if sent == 0 {
            Counters::add(&counters.errors, 1);
        }
        Served {
            written: 0,
            cost: sent,
        }
    })
}

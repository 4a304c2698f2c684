//! The virtio devices that the command line asks for.

use super::config::Config;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use vmm_frontend::Error;
use vmm_frontend::virtio::blk::{Block, Disk};
use vmm_frontend::virtio::net::{Net, Tap};
use vmm_frontend::virtio::rng::Entropy;
use vmm_frontend::virtio::vsock::Vsock;
use vmm_frontend::virtio::{Memory, SharedDevice, VirtioDevice};
use vmm_frontend::vm::Slot;

/// What is opened before the guest is built, so that a wrong name is told at once.
pub struct Opened {
    disks: Vec<Disk>,
    taps: Vec<Tap>,
}

pub fn open(config: &Config) -> Result<Opened, Error> {
    let disks = config.disks.iter();
    let disks = disks.map(|disk| Disk::open(&disk.file, disk.read_only));
    let taps = config.nets.iter().map(|net| Tap::open(&net.tap));
    Ok(Opened {
        disks: disks.collect::<Result<_, _>>()?,
        taps: taps.collect::<Result<_, _>>()?,
    })
}

impl Opened {
    /// The devices in the order in which a guest finds them: disks, cards, sockets, randomness.
    pub fn slots(self, config: &Config, memory: &Memory) -> Result<Vec<Slot>, Error> {
        let mut slots = Vec::new();
        for (number, disk) in self.disks.into_iter().enumerate() {
            let name = format!("disk{number}");
            slots.push(slot(&name, Block::new(disk, &name)));
        }
        for ((number, tap), net) in self.taps.into_iter().enumerate().zip(&config.nets) {
            let mac = net.mac.unwrap_or_else(|| mac(&config.name, number));
            let mut card = Net::new(tap, mac);
            if net.vhost
                && let Err(error) = card.use_vhost(memory)
            {
                log::warn!(
                    "{}: vhost-net is not used, ward carries the packets itself: {error}",
                    net.tap
                );
            }
            slots.push(slot(&format!("net{number}"), card));
        }
        if let Some(cid) = config.vsock {
            slots.push(slot("vsock", Vsock::new(cid, memory)?));
        }
        if config.rng {
            slots.push(slot("rng", Entropy::new()));
        }
        Ok(slots)
    }
}

fn slot(name: &str, device: impl VirtioDevice + 'static) -> Slot {
    let device: SharedDevice = Arc::new(Mutex::new(device));
    let name = name.into();
    Slot { name, device }
}

/// An address that a guest of this name keeps: one of those that nobody administers.
fn mac(name: &str, number: usize) -> [u8; 6] {
    let digest = Sha256::digest(format!("{name}/{number}"));
    [0x52, 0x54, 0, digest[0], digest[1], digest[2]]
}

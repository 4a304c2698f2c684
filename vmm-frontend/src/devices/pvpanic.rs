//! The register by which a dying guest says so (Linux `CONFIG_PVPANIC_MMIO`).

use crate::bus::MmioDevice;

/// What the guest says, in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestEvents(u8);

impl GuestEvents {
    const PANICKED: u8 = 1;
    const CRASH_LOADED: u8 = 2;
    const SHUTDOWN: u8 = 4;
    const ALL: u8 = Self::PANICKED | Self::CRASH_LOADED | Self::SHUTDOWN;

    /// Its kernel panicked.
    pub fn panicked(self) -> bool {
        self.0 & Self::PANICKED != 0
    }

    /// Its kernel panicked, and a second one takes over to save what can be saved.
    pub fn crash_loaded(self) -> bool {
        self.0 & Self::CRASH_LOADED != 0
    }

    /// It shuts down.
    pub fn shutdown(self) -> bool {
        self.0 & Self::SHUTDOWN != 0
    }
}

/// The pvpanic device.
pub struct PvPanic {
    tell: Box<dyn FnMut(GuestEvents) + Send>,
}

impl PvPanic {
    /// Calls `tell`, in the thread of the vCPU that wrote it.
    pub fn new(tell: Box<dyn FnMut(GuestEvents) + Send>) -> Self {
        PvPanic { tell }
    }
}

impl MmioDevice for PvPanic {
    /// Which events it understands.
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let (0, Some(byte)) = (offset, data.first_mut()) {
            *byte = GuestEvents::ALL;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let events = data.first().map_or(0, |byte| byte & GuestEvents::ALL);
        if offset == 0 && events != 0 {
            (self.tell)(GuestEvents(events));
        }
    }
}

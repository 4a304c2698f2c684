//! The guest's power button: a line that goes high for a moment.

use super::Pl061;
use crate::bus::{Shared, lock};
use event_manager::{EventOps, Events, MutEventSubscriber};
use std::io;
use std::time::Duration;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::timerfd::TimerFd;

/// How long it is held down: drivers look at the line some time after its interrupt.
const HELD: Duration = Duration::from_millis(100);

/// A finger on the device thread.
pub struct PowerButton {
    gpio: Shared<Pl061>,
    line: u32,
    asked: EventFd,
    release: TimerFd,
}

impl PowerButton {
    /// A button at `line` of `gpio`.
    ///
    /// # Errors
    /// The system's, when it gives no descriptors.
    pub fn new(gpio: Shared<Pl061>, line: u32) -> io::Result<Self> {
        let asked = EventFd::new(EFD_NONBLOCK)?;
        let release = TimerFd::new().map_err(|e| io::Error::from_raw_os_error(e.errno()))?;
        Ok(PowerButton {
            gpio,
            line,
            asked,
            release,
        })
    }

    /// What to write to press it; also from another thread.
    ///
    /// # Errors
    /// The system's, when it gives no descriptor.
    pub fn trigger(&self) -> io::Result<EventFd> {
        self.asked.try_clone()
    }
}

impl MutEventSubscriber for PowerButton {
    fn init(&mut self, ops: &mut EventOps) {
        for events in [
            Events::with_data(&self.asked, 0, EventSet::IN),
            Events::with_data(&self.release, 1, EventSet::IN),
        ] {
            if let Err(error) = ops.add(events) {
                log::error!("the power button does not work: {error:?}");
            }
        }
    }

    fn process(&mut self, events: Events, _: &mut EventOps) {
        let pressed = events.data() == 0;
        if pressed {
            let _ = self.asked.read();
            if let Err(error) = self.release.reset(HELD, None) {
                log::error!("the power button is stuck: {error}");
            }
        } else {
            let _ = self.release.wait();
        }
        lock(&self.gpio).set(self.line, pressed);
    }
}

//! A device's place on the device thread.

use super::{Progress, Ready, SharedDevice, device};
use event_manager::{EventOps, Events, MutEventSubscriber};
use std::sync::Arc;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

/// Calls a device when one of its files is ready.
pub struct Worker {
    device: SharedDevice,
    /// One for each queue, as the transport has them.
    kicks: Vec<Arc<EventFd>>,
    /// Written by the transport at activation, and by the worker when there is more to do.
    again: Arc<EventFd>,
}

/// What an event's number says: queues from 0, then these.
const AGAIN: u32 = 1 << 16;
const SOURCES: u32 = AGAIN + 1;

impl Worker {
    pub(super) fn new(device: SharedDevice, kicks: Vec<Arc<EventFd>>, again: Arc<EventFd>) -> Self {
        Worker {
            device,
            kicks,
            again,
        }
    }
}

impl MutEventSubscriber for Worker {
    fn init(&mut self, ops: &mut EventOps) {
        // Fails when a file cannot be polled or is full up: a bug of ours or of the host's set-up,
        // and the guest then sees a device that does not answer.
        let mut add = |events: Events| {
            if let Err(error) = ops.add(events) {
                log::error!("a device's file cannot be watched: {error:?}");
            }
        };
        let device = device(&self.device);
        if device.wants_queue_events() {
            for (queue, kick) in self.kicks.iter().enumerate() {
                add(Events::with_data(&**kick, queue as u32, EventSet::IN));
            }
        }
        add(Events::with_data(&*self.again, AGAIN, EventSet::IN));
        for (source, (fd, events)) in device.sources().into_iter().enumerate() {
            let events = events | EventSet::EDGE_TRIGGERED;
            add(Events::with_data_raw(fd, SOURCES + source as u32, events));
        }
    }

    fn process(&mut self, events: Events, _: &mut EventOps) {
        let (ready, drain) = match events.data() {
            AGAIN => (Ready::Again, Some(&self.again)),
            data if data >= SOURCES => (Ready::Source((data - SOURCES) as usize), None),
            queue => (Ready::Queue(queue as usize), self.kicks.get(queue as usize)),
        };
        // Empty when another reader was faster; there is nothing to do about any other error.
        let _ = drain.map(|event| event.read());
        if device(&self.device).process(ready) == Progress::More {
            let _ = self.again.write(1);
        }
    }
}

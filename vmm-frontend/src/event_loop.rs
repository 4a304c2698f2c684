//! The device thread: one event loop for all devices of a guest.

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

#[cfg(test)]
mod tests;

/// How often a waiting [`EventLoop::pause`] looks whether the thread still lives.
const LOOK: Duration = Duration::from_millis(100);

/// Something that the device thread serves.
pub type Subscriber = Box<dyn MutEventSubscriber + Send>;

/// The running device thread. Stops when dropped.
pub struct EventLoop {
    thread: Option<JoinHandle<()>>,
    control: Arc<Control>,
}

struct Control {
    /// Written at each change of what is asked for.
    wake: EventFd,
    stop: AtomicBool,
    pause: Mutex<Pause>,
    changed: Condvar,
}

#[derive(Default)]
struct Pause {
    asked: bool,
    /// The thread is at rest.
    done: bool,
}

impl EventLoop {
    /// Starts a thread that serves `subscribers`. `prepare` runs in it first: there a sandbox can
    /// be put on.
    ///
    /// # Errors
    /// The system's, when it gives no thread or descriptor.
    pub fn spawn(
        subscribers: Vec<Subscriber>,
        prepare: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let mut manager = EventManager::<Subscriber>::new()
            .map_err(|e| io::Error::other(format!("the event loop: {e:?}")))?;
        let control = Arc::new(Control {
            wake: EventFd::new(EFD_NONBLOCK)?,
            stop: AtomicBool::new(false),
            pause: Mutex::default(),
            changed: Condvar::new(),
        });
        manager.add_subscriber(Box::new(Wake(control.clone())));
        for subscriber in subscribers {
            manager.add_subscriber(subscriber);
        }
        let shared = control.clone();
        let thread = std::thread::Builder::new()
            .name("devices".into())
            .spawn(move || {
                prepare();
                while !shared.stop.load(Ordering::Acquire) {
                    if let Err(error) = manager.run() {
                        log::error!("the device thread cannot wait for events: {error:?}");
                        break;
                    }
                    shared.rest();
                }
            })?;
        Ok(EventLoop {
            thread: Some(thread),
            control,
        })
    }

    /// Brings the devices to rest: when it returns, none touches the guest's memory (but the
    /// kernel's vhost, which has threads of its own).
    pub fn pause(&self) {
        let mut pause = crate::bus::lock(&self.control.pause);
        pause.asked = true;
        let _ = self.control.wake.write(1);
        while !pause.done && self.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            // With a limit, for a thread that dies meanwhile says nothing.
            let wait = self.control.changed.wait_timeout(pause, LOOK);
            pause = wait.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        crate::bus::lock(&self.control.pause).asked = false;
        self.control.changed.notify_all();
    }

    /// Ends the thread and waits for it.
    pub fn stop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.resume();
        let _ = self.control.wake.write(1);
        if let Some(thread) = self.thread.take() {
            // It panicked: told by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Control {
    /// Waits as long as a pause is asked for.
    fn rest(&self) {
        let mut pause = crate::bus::lock(&self.pause);
        while pause.asked && !self.stop.load(Ordering::Acquire) {
            pause.done = true;
            self.changed.notify_all();
            let wait = self.changed.wait(pause);
            pause = wait.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        pause.done = false;
    }
}

/// Gets the thread out of its wait.
struct Wake(Arc<Control>);

impl MutEventSubscriber for Wake {
    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.0.wake, EventSet::IN)) {
            log::error!("the device thread cannot be woken: {error:?}");
        }
    }

    fn process(&mut self, _: Events, _: &mut EventOps) {
        let _ = self.0.wake.read();
    }
}

use super::*;
use std::sync::atomic::AtomicU32;

/// Counts its events.
struct Counter(EventFd, Arc<AtomicU32>);

impl MutEventSubscriber for Counter {
    fn init(&mut self, ops: &mut EventOps) {
        ops.add(Events::new(&self.0, EventSet::IN)).unwrap();
    }

    fn process(&mut self, _: Events, _: &mut EventOps) {
        self.0.read().unwrap();
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn events_are_served_unless_it_is_paused() {
    let (event, count) = (EventFd::new(0).unwrap(), Arc::new(AtomicU32::new(0)));
    let counter = Counter(event.try_clone().unwrap(), count.clone());
    let (ran, prepared) = std::sync::mpsc::channel();
    let mut devices = EventLoop::spawn(vec![Box::new(counter)], move || ran.send(()).unwrap());
    let devices = devices.as_mut().unwrap();
    prepared.recv().unwrap();
    let wait = |wanted| {
        while count.load(Ordering::SeqCst) != wanted {
            std::thread::yield_now();
        }
    };
    event.write(1).unwrap();
    wait(1);
    devices.pause();
    event.write(1).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    devices.pause();
    devices.resume();
    wait(2);
    devices.pause();
    devices.stop();
    devices.stop();
    // Nobody is left to wait for.
    devices.pause();
}

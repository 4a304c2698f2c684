use super::super::rng::Entropy;
use super::super::testing::{DATA, Driver, RAM, RAM_SIZE};
use super::super::{Counters, Progress, Ready, VirtioDevice};
use super::regs::{feature, status};
use super::*;

/// Two queues, four bytes of configuration, one feature; remembers what happens.
#[derive(Default)]
struct Probe {
    active: Option<u64>,
    queues: Vec<bool>,
    resets: u32,
    fails: bool,
    notifier: Option<Arc<Notifier>>,
    written: Vec<(u64, Vec<u8>)>,
}

impl VirtioDevice for Probe {
    fn device_type(&self) -> u32 {
        42
    }
    fn queue_sizes(&self) -> &[u16] {
        &[8, 64]
    }
    fn features(&self) -> u64 {
        1 << 5
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        super::super::read_bytes(&[1, 2, 3, 4], offset, data);
    }
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.written.push((offset, data.to_vec()));
    }
    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        self.active = Some(activation.features);
        self.queues = activation.queues.iter().map(Option::is_some).collect();
        self.notifier = Some(activation.notifier);
        if self.fails {
            return Err(io::Error::other("as a test"));
        }
        Ok(())
    }
    fn reset(&mut self) {
        self.active = None;
        self.resets += 1;
    }
    fn process(&mut self, _: Ready) -> Progress {
        Progress::Done
    }
    fn counters(&self) -> Arc<Counters> {
        Arc::default()
    }
}

fn cold(protected: bool) -> (Driver, Arc<std::sync::Mutex<Probe>>) {
    let mut driver = Driver::cold(Entropy::new(), protected);
    let probe = Arc::new(std::sync::Mutex::new(Probe::default()));
    driver.device = probe.clone();
    driver.transport = Transport::new(
        probe.clone(),
        driver.memory.clone(),
        driver.interrupt.clone(),
        protected,
    )
    .unwrap();
    (driver, probe)
}

const ALL: u64 = 1 << 5 | feature::COMMON;

fn activated(probe: &std::sync::Mutex<Probe>) -> bool {
    probe.lock().unwrap().active.is_some()
}

#[test]
fn a_driver_finds_and_starts_the_device() {
    let (mut driver, probe) = cold(true);
    assert_eq!(driver.get(0), 0x7472_6976);
    assert_eq!((driver.get(4), driver.get(8)), (2, 42));
    assert_eq!(driver.offered(), ALL);
    driver.set(regs::DEVICE_FEATURES_SEL, 2);
    assert_eq!(driver.get(regs::DEVICE_FEATURES), 0);
    driver.negotiate(ALL);
    assert_eq!(driver.status(), 11);
    let sizes: Vec<u32> = (0..3)
        .map(|queue| {
            driver.set(regs::QUEUE_SEL, queue);
            driver.get(regs::QUEUE_NUM_MAX)
        })
        .collect();
    assert_eq!(sizes, [8, 64, 0]);
    driver.size = 8;
    driver.set_up_queue(1);
    assert_eq!(driver.get(regs::QUEUE_READY), 1);
    driver.set(regs::STATUS, 15);
    assert_eq!(driver.status(), 15);
    let probe = probe.lock().unwrap();
    assert_eq!(probe.active, Some(ALL));
    assert_eq!(probe.queues, [false, true]);
}

#[test]
fn the_status_goes_in_its_order_only() {
    let (mut driver, probe) = cold(false);
    driver.choose(ALL);
    for bits in [
        status::DRIVER,
        status::DRIVER_OK,
        status::FEATURES_OK,
        status::NEEDS_RESET,
        0x30,
        14,
    ] {
        driver.set(regs::STATUS, bits);
        assert_eq!(driver.status(), 0, "{bits:#x}");
    }
    // The features must be there before DRIVER_OK, which alone is too early.
    driver.set(regs::STATUS, 3);
    driver.set(regs::STATUS, 3 | status::DRIVER_OK);
    assert_eq!(driver.status(), 3);
    assert!(!activated(&probe));
    // A bit cannot be taken back.
    driver.set(regs::STATUS, 11);
    driver.set(regs::STATUS, 3 | status::DRIVER_OK);
    assert_eq!(driver.status(), 11);
    driver.set(regs::STATUS, 15);
    assert!(activated(&probe));
    driver.set(regs::STATUS, 15);
    driver.set(regs::STATUS, 0xffff_ff8f);
    assert_eq!(driver.status(), 15 | status::FAILED | status::NEEDS_RESET);
    assert!(!activated(&probe), "a driver that failed has no device");
    driver.set(regs::STATUS, 0);
    assert_eq!(driver.status(), 0);
    assert_eq!(driver.get(regs::INTERRUPT_STATUS), 0);
}

#[test]
fn features_are_refused_that_cannot_work() {
    let access = ALL & !feature::ACCESS_PLATFORM;
    for (protected, features, accepted) in [
        (false, ALL, true),
        (true, ALL, true),
        (false, feature::VERSION_1, true),
        (false, access, true),
        (true, access, false),
        (false, ALL & !feature::VERSION_1, false),
        (false, ALL | 1 << 6, false),
        (false, ALL | 1 << 63, false),
        (false, 0, false),
    ] {
        let (mut driver, probe) = cold(protected);
        driver.negotiate(features);
        assert_eq!(driver.status() == 11, accepted, "{features:#x}");
        // Once agreed they stay.
        driver.choose(0);
        driver.set(regs::STATUS, 15);
        assert_eq!(activated(&probe), accepted);
        if accepted {
            assert_eq!(probe.lock().unwrap().active, Some(features));
        }
    }
}

#[test]
fn only_usable_rings_become_ready() {
    let [desc, avail, used] = Driver::rings(0);
    let end = RAM + RAM_SIZE;
    for (size, addresses, good) in [
        (8, [desc, avail, used], true),
        (1, [end - 16, end - 8, end - 16], true),
        (0, [desc, avail, used], false),
        (3, [desc, avail, used], false),
        (16, [desc, avail, used], false),
        (0x1_0008, [desc, avail, used], false),
        (0x8000_0000, [desc, avail, used], false),
        (8, [desc + 8, avail, used], false),
        (8, [desc, avail + 1, used], false),
        (8, [desc, avail, used + 2], false),
        (8, [0, avail, used], false),
        (8, [end - 64, avail, used], false),
        (8, [desc, end - 20, used], false),
        (8, [desc, avail, end - 68], false),
        (8, [end, avail, used], false),
        (8, [desc, u64::MAX - 1, used], false),
        (8, [desc, avail, u64::MAX - 3], false),
        (8, [desc | 1 << 63, avail, used], false),
    ] {
        let (mut driver, _) = cold(false);
        driver.negotiate(ALL);
        driver.set(regs::QUEUE_NUM, size);
        for (register, address) in [0x80, 0x90, 0xa0].into_iter().zip(addresses) {
            driver.set(register + 4, (address >> 32) as u32);
            driver.set(register, address as u32);
        }
        driver.set(regs::QUEUE_READY, 1);
        let ready = driver.get(regs::QUEUE_READY) == 1;
        assert_eq!(ready, good, "{size} {addresses:x?}");
    }
}

#[test]
fn a_ready_queue_and_a_running_device_cannot_be_changed() {
    let (mut driver, probe) = cold(false);
    driver.size = 8;
    driver.negotiate(ALL);
    driver.set_up_queue(0);
    // Would no longer be usable.
    driver.set(regs::QUEUE_NUM, 3);
    driver.set(0x80, 1);
    driver.set(regs::STATUS, 15);
    assert_eq!(probe.lock().unwrap().queues, [true, false]);
    driver.set_up_queue(1);
    assert_eq!(driver.get(regs::QUEUE_READY), 0);
    // Taken back: the device stops.
    driver.set(regs::QUEUE_SEL, 0);
    driver.set(regs::QUEUE_READY, 0);
    assert_eq!(driver.get(regs::QUEUE_READY), 0);
    assert!(driver.broken());
    assert!(!activated(&probe));
    // A queue that does not exist.
    driver.set(regs::QUEUE_SEL, u32::MAX);
    driver.set_up_queue(7);
    assert_eq!(driver.get(regs::QUEUE_READY), 0);
}

#[test]
fn a_device_that_cannot_start_needs_a_reset() {
    let (mut driver, probe) = cold(false);
    probe.lock().unwrap().fails = true;
    driver.negotiate(ALL);
    driver.set(regs::STATUS, 15);
    assert!(driver.broken());
    assert_eq!(driver.get(regs::INTERRUPT_STATUS), 2);
    assert_eq!(driver.interrupts(), 1);
    probe.lock().unwrap().fails = false;
    driver.set(regs::STATUS, 0);
    assert!(!driver.broken());
    driver.negotiate(ALL);
    driver.set(regs::STATUS, 15);
    assert_eq!(driver.status(), 15);
}

#[test]
fn interrupts_have_causes_until_they_are_acknowledged() {
    let (mut driver, probe) = cold(false);
    driver.negotiate(ALL);
    driver.set(regs::STATUS, 15);
    let notifier = probe.lock().unwrap().notifier.clone().unwrap();
    notifier.queue();
    notifier.queue();
    assert_eq!(driver.interrupts(), 1, "the driver knows");
    assert_eq!(driver.get(regs::INTERRUPT_STATUS), 1);
    let generation = driver.get(regs::CONFIG_GENERATION);
    notifier.config();
    assert_ne!(driver.get(regs::CONFIG_GENERATION), generation);
    assert_eq!(driver.interrupts(), 2);
    driver.set(regs::INTERRUPT_ACK, 1);
    assert_eq!(driver.get(regs::INTERRUPT_STATUS), 2);
    notifier.queue();
    assert_eq!(driver.interrupts(), 3);
    // What the device says after a reset reaches nobody's registers.
    driver.set(regs::STATUS, 0);
    notifier.queue();
    notifier.broken();
    assert_eq!(driver.get(regs::INTERRUPT_STATUS), 0);
    assert_eq!(driver.status(), 0);
}

#[test]
fn vhosts_interrupts_always_have_a_cause() {
    let event = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let notifier = Notifier::new(event.clone());
    assert_eq!(notifier.causes(), 0);
    notifier.for_kernel().unwrap().trigger().unwrap();
    assert_eq!(event.read().unwrap(), 1);
    notifier.acknowledge(1);
    assert_eq!(notifier.causes(), 1);
    let without = Notifier::new(Arc::new(super::super::testing::TestInterrupt::default()));
    assert!(without.for_kernel().is_none());
}

#[test]
fn the_configuration_space_takes_every_width() {
    let (mut driver, probe) = cold(false);
    let mut data = [0; 8];
    driver.transport.read(0x100, &mut data);
    assert_eq!(data, [1, 2, 3, 4, 0, 0, 0, 0]);
    let mut two = [0; 2];
    driver.transport.read(0x103, &mut two);
    assert_eq!(two, [4, 0]);
    driver.transport.write(0x101, &[7]);
    assert!(probe.lock().unwrap().written.is_empty(), "too early");
    driver.negotiate(ALL);
    driver.transport.write(0x101, &[7]);
    assert_eq!(probe.lock().unwrap().written, [(1, vec![7])]);
}

#[test]
fn notifications_reach_the_queues_event() {
    let (mut driver, _) = cold(false);
    driver.set(regs::QUEUE_NOTIFY, 1);
    driver.set(regs::QUEUE_NOTIFY, 2);
    driver.set(regs::QUEUE_NOTIFY, u32::MAX);
    let events = driver.transport.queue_events();
    assert_eq!(events[1].read().unwrap(), 1);
    assert!(events[0].read().is_err(), "nothing");
}

#[test]
fn an_unused_slot_has_no_device() {
    let mut slot = Unused;
    for (offset, value) in [(0, regs::MAGIC_VALUE), (4, 2), (8, 0), (0x100, 0)] {
        let mut data = [0; 4];
        slot.read(offset, &mut data);
        assert_eq!(u32::from_le_bytes(data), value);
        slot.write(offset, &data);
    }
}

#[test]
fn every_register_survives_every_access_in_every_state() {
    for value in [0, 1, 0xff, u32::MAX, 15, DATA as u32] {
        let (mut driver, _) = cold(false);
        for offset in (0..0x200).chain([0xfff, u64::MAX - 0x100]) {
            for width in [1, 2, 4, 8] {
                let bytes = (u64::from(value) << 32 | u64::from(value)).to_le_bytes();
                driver.transport.write(offset, &bytes[..width]);
                driver.transport.read(offset, &mut [0; 8][..width]);
            }
        }
    }
}

/// As where a protected guest's kernel does not share: the process must live.
#[test]
fn rings_that_cannot_be_touched_do_not_start_the_device() {
    use vm_memory::{GuestAddress, GuestMemoryBackend};
    for ring in Driver::rings(0) {
        let (mut driver, probe) = cold(true);
        let page = driver.memory.get_host_address(GuestAddress(ring)).unwrap();
        let protect = |protection| {
            // SAFETY: a page of the test's own memory.
            assert_eq!(unsafe { libc::mprotect(page.cast(), 4096, protection) }, 0);
        };
        driver.size = 8;
        driver.negotiate(ALL);
        driver.set_up_queue(0);
        protect(libc::PROT_NONE);
        driver.set(regs::STATUS, 15);
        assert!(driver.broken());
        assert!(!activated(&probe));
        protect(libc::PROT_READ | libc::PROT_WRITE);
        driver.set(regs::STATUS, 0);
        driver.negotiate(ALL);
        driver.set_up_queue(0);
        driver.set(regs::STATUS, 15);
        assert!(activated(&probe));
    }
}

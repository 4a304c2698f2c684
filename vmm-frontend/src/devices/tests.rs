use super::*;
use crate::bus::lock;
use crate::event_loop::EventLoop;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A line that remembers its state and complains about what is no change.
#[derive(Default)]
pub(super) struct TestLine {
    state: AtomicBool,
    changes: AtomicU32,
}

impl TestLine {
    pub(super) fn high(&self) -> bool {
        self.state.load(Ordering::SeqCst)
    }
}

impl Line for TestLine {
    fn set(&self, high: bool) -> io::Result<()> {
        assert_ne!(self.state.swap(high, Ordering::SeqCst), high);
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

pub(super) fn read32(device: &mut impl MmioDevice, offset: u64) -> u32 {
    let mut data = [0; 4];
    device.read(offset, &mut data);
    u32::from_le_bytes(data)
}

pub(super) fn write32(device: &mut impl MmioDevice, offset: u64, value: u32) {
    device.write(offset, &value.to_le_bytes());
}

#[test]
fn the_clock_shows_the_hosts_time_until_it_is_set() {
    let mut clock = Clock::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(u64::from(read32(&mut clock, 0)).abs_diff(now.as_secs()) < 100);
    write32(&mut clock, 8, 1_000_000);
    assert!((1_000_000..1_000_100).contains(&read32(&mut clock, 0)));
    assert_eq!(read32(&mut clock, 0xfe0), 0x31);
    for offset in (0..0x1000).chain([0x10000, u64::MAX]) {
        for width in [1, 2, 4, 8] {
            clock.write(offset, &[0xff; 8][..width]);
            clock.read(offset, &mut [0; 8][..width]);
        }
    }
}

#[test]
fn the_guests_last_words_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = told.clone();
    let mut device = PvPanic::new(Box::new(move |events| ear.lock().unwrap().push(events)));
    let mut byte = [0];
    device.read(0, &mut byte);
    assert_eq!(byte, [7]);
    device.write(0, &[1]);
    device.write(0, &[6, 0]);
    for (offset, data) in [(0, &[0][..]), (0, &[0xf8]), (1, &[1]), (0, &[])] {
        device.write(offset, data);
    }
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert!(told[0].panicked() && !told[0].crash_loaded() && !told[0].shutdown());
    assert!(!told[1].panicked() && told[1].crash_loaded() && told[1].shutdown());
}

#[test]
fn the_power_button_is_pressed_and_released() {
    let line = Arc::new(TestLine::default());
    let gpio = Arc::new(Mutex::new(Pl061::new(line.clone())));
    // Rising edges of line 3 interrupt.
    write32(&mut *lock(&gpio), 0x40c, 8);
    write32(&mut *lock(&gpio), 0x410, 8);
    let button = PowerButton::new(gpio.clone(), 3).unwrap();
    let press = button.trigger().unwrap();
    let _thread = EventLoop::spawn(vec![Box::new(button)], || {}).unwrap();
    let pin = || read32(&mut *lock(&gpio), 8 << 2) != 0;
    let wait = |what: bool| {
        while pin() != what {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    for _ in 0..2 {
        press.write(1).unwrap();
        wait(true);
        assert!(line.high());
        write32(&mut *lock(&gpio), 0x41c, 8);
        wait(false);
    }
}

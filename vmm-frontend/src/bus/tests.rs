use super::*;

/// Answers with its number and the offset, remembers what was written.
struct Probe(u8, Vec<(u64, Vec<u8>)>);

impl MmioDevice for Probe {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data[0] = self.0 + offset as u8;
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.1.push((offset, data.to_vec()));
    }
}

fn probe(number: u8) -> Arc<Mutex<Probe>> {
    Arc::new(Mutex::new(Probe(number, Vec::new())))
}

#[test]
fn accesses_reach_the_device_that_has_all_of_their_bytes() {
    let (one, two) = (probe(1), probe(50));
    let mut bus = Bus::new();
    bus.insert(0x1000, 0x10, one.clone()).unwrap();
    bus.insert(0x1010, 0x1000, two.clone()).unwrap();
    let mut data = [9; 4];
    assert!(bus.read(0x100c, &mut data));
    assert_eq!(data, [13, 0, 0, 0]);
    assert!(bus.read(0x1010, &mut data));
    assert_eq!(data[0], 50);
    assert!(bus.write(0x1008, &[1; 8]));
    assert_eq!(lock(&one).1, [(8, vec![1; 8])]);
    for address in [0, 0xfff, 0x100e, 0x200e, 0x2010, u64::MAX - 1, u64::MAX] {
        data = [9; 4];
        assert!(!bus.read(address, &mut data), "{address:#x}");
        assert_eq!(data, [0; 4]);
        assert!(!bus.write(address, &data), "{address:#x}");
    }
    assert!(lock(&two).1.is_empty());
}

#[test]
fn ranges_do_not_overlap() {
    let mut bus = Bus::new();
    bus.insert(0x1000, 0x1000, probe(0)).unwrap();
    for (base, size) in [
        (0x1000, 0x1000),
        (0, 0x1001),
        (0x1fff, 1),
        (0x1800, 0x10),
        (0, u64::MAX),
        (0x3000, 0),
        (u64::MAX, 2),
    ] {
        assert!(
            bus.insert(base, size, probe(0)).is_err(),
            "{base:#x}+{size:#x}"
        );
    }
    bus.insert(0, 0x1000, probe(0)).unwrap();
    bus.insert(0x2000, 1, probe(0)).unwrap();
    bus.insert(u64::MAX, 1, probe(0)).unwrap();
}

#[test]
fn a_device_that_panicked_does_not_stop_the_bus() {
    let device = probe(7);
    let other = device.clone();
    let died = std::thread::spawn(move || {
        let _held = other.lock().unwrap();
        panic!("as a test");
    });
    assert!(died.join().is_err());
    let mut bus = Bus::new();
    bus.insert(0, 1, device).unwrap();
    let mut data = [0];
    assert!(bus.read(0, &mut data));
    assert_eq!(data, [7]);
}

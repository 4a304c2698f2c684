use super::super::tests::{TestLine, read32, write32};
use super::*;

fn controller() -> (Pl061, Arc<TestLine>) {
    let line = Arc::new(TestLine::default());
    (Pl061::new(line.clone()), line)
}

#[test]
fn both_edges_of_an_input_interrupt_as_linux_sets_up_a_key() {
    let (mut gpio, line) = controller();
    write32(&mut gpio, BOTH, 8);
    write32(&mut gpio, ENABLE, 8);
    for high in [true, false] {
        gpio.set(3, high);
        assert!(line.high());
        assert_eq!(read32(&mut gpio, MASKED), 8);
        assert_eq!(read32(&mut gpio, 8 << 2), u32::from(high) << 3);
        assert_eq!(read32(&mut gpio, !8 << 2 & DATA_END), 0);
        write32(&mut gpio, CLEAR, 8);
        assert!(!line.high());
    }
    gpio.set(3, false);
    assert!(!line.high(), "no edge");
}

#[test]
fn one_edge_or_a_level_interrupt_as_asked() {
    let (mut gpio, line) = controller();
    write32(&mut gpio, ENABLE, 0xff);
    write32(&mut gpio, EVENT, 1);
    gpio.set(0, true);
    assert!(line.high(), "rising");
    write32(&mut gpio, CLEAR, 1);
    gpio.set(0, false);
    assert!(!line.high());
    write32(&mut gpio, SENSE, 1);
    gpio.set(0, true);
    assert!(line.high(), "high");
    write32(&mut gpio, CLEAR, 1);
    assert!(line.high(), "still high");
    gpio.set(0, false);
    assert!(!line.high());
    write32(&mut gpio, SENSE, 0);
    write32(&mut gpio, EVENT, 0);
    gpio.set(1, true);
    assert!(!line.high());
    gpio.set(1, false);
    assert!(line.high(), "falling");
}

#[test]
fn a_disabled_line_is_remembered_and_an_output_never_interrupts() {
    let (mut gpio, line) = controller();
    write32(&mut gpio, BOTH, 0xff);
    gpio.set(3, true);
    assert!(!line.high());
    assert_eq!((read32(&mut gpio, RAW), read32(&mut gpio, MASKED)), (8, 0));
    write32(&mut gpio, ENABLE, 8);
    assert!(line.high());
    write32(&mut gpio, CLEAR, 8);
    write32(&mut gpio, DIR, 8);
    write32(&mut gpio, 8 << 2, 0xff);
    assert_eq!(read32(&mut gpio, DATA_END - 3), 8, "only the named line");
    gpio.set(3, false);
    assert!(!line.high());
    assert_eq!(read32(&mut gpio, DATA_END - 3), 8, "the guest's, not ours");
}

#[test]
fn every_register_survives_every_access() {
    let (mut gpio, _) = controller();
    for offset in 0..0x1000 {
        for width in [1, 2, 4, 8] {
            gpio.write(offset, &[0xff; 8][..width]);
            gpio.read(offset, &mut [0; 8][..width]);
        }
    }
    gpio.set(8, true);
    gpio.set(u32::MAX, true);
    assert_eq!(gpio.inputs, 0);
    assert_eq!(read32(&mut gpio, 0xfe0), 0x61);
}

use super::super::tests::{TestLine, read32, write32};
use super::*;
use std::sync::Mutex;

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn console() -> (Pl011, Screen, Arc<TestLine>) {
    let (screen, line) = (Screen::default(), Arc::new(TestLine::default()));
    let uart = Pl011::new(Box::new(screen.clone()), line.clone());
    (uart, screen, line)
}

#[test]
fn what_the_guest_sends_is_printed_even_before_the_uart_is_on() {
    let (mut uart, screen, line) = console();
    for byte in *b"boot" {
        assert_eq!(read32(&mut uart, FR) & (1 << 5 | 1 << 3), 0, "full or busy");
        uart.write(DR, &[byte]);
    }
    assert_eq!(*screen.0.lock().unwrap(), b"boot");
    assert!(!line.high(), "masked");
}

#[test]
fn sending_interrupts_until_it_is_cleared() {
    let (mut uart, _, line) = console();
    write32(&mut uart, IMSC, TX);
    assert!(!line.high());
    write32(&mut uart, DR, 65);
    assert!(line.high());
    assert_eq!(read32(&mut uart, MIS), TX);
    write32(&mut uart, ICR, TX);
    assert!(!line.high());
    assert_eq!(read32(&mut uart, RIS), 0);
}

#[test]
fn what_is_typed_waits_and_interrupts_until_it_is_read() {
    let (mut uart, _, line) = console();
    assert_eq!(uart.input(&[b'x'; 20]), 20);
    assert_eq!(read32(&mut uart, FR) & RXFE, RXFE, "the UART is off");
    write32(&mut uart, LCRH, FEN);
    write32(&mut uart, CR, UARTEN | RXE);
    write32(&mut uart, IMSC, RX | RT);
    assert!(line.high());
    assert_eq!(read32(&mut uart, FR) & (RXFE | RXFF), RXFF);
    // Clearing does not hide what waits.
    write32(&mut uart, ICR, RX | RT);
    assert!(line.high());
    for left in (0..20).rev() {
        assert_eq!(read32(&mut uart, DR), u32::from(b'x'));
        assert_eq!(line.high(), left > 0);
        assert_eq!(read32(&mut uart, FR) & RXFF != 0, left >= FIFO);
    }
    assert_eq!(read32(&mut uart, FR) & RXFE, RXFE);
    assert_eq!(read32(&mut uart, DR), 0);
}

#[test]
fn typing_is_bounded() {
    let (mut uart, ..) = console();
    assert_eq!(uart.input(&vec![0; WAITING + 5]), WAITING);
    assert_eq!((uart.room(), uart.input(b"x")), (0, 0));
    // Nor does the loop back grow it.
    write32(&mut uart, CR, UARTEN | RXE | LBE);
    write32(&mut uart, DR, 1);
    assert_eq!(uart.input.len(), WAITING);
    read32(&mut uart, DR);
    assert_eq!(uart.input(b"xy"), 1);
}

#[test]
fn linux_finds_a_pl011_of_16_bytes_of_fifo() {
    let (mut uart, ..) = console();
    let bytes = (0..8).map(|i| read32(&mut uart, 0xfe0 + 4 * i) as u8);
    let id: Vec<u8> = bytes.collect();
    assert_eq!(id, [0x11, 0x10, 0x14, 0, 0x0d, 0xf0, 0x05, 0xb1]);
}

#[test]
fn every_register_survives_every_access() {
    let (mut uart, ..) = console();
    for offset in 0..0x1000 {
        for width in [1, 2, 4, 8] {
            uart.write(offset, &[0xff; 8][..width]);
            uart.read(offset, &mut [0; 8][..width]);
        }
    }
    assert_eq!(read32(&mut uart, IMSC), INTERRUPTS);
}

use super::*;
use std::string::String;
use std::vec::Vec;

fn read_all(log: &Log, mut cursor: u64) -> (String, u64) {
    let mut out = Vec::new();
    loop {
        let chunk = log.read(cursor);
        out.extend_from_slice(&chunk.bytes[..chunk.len]);
        assert!(chunk.bytes[chunk.len..].iter().all(|&b| b == 0));
        cursor = chunk.next;
        if chunk.len == 0 {
            return (String::from_utf8(out).unwrap(), cursor);
        }
    }
}

#[test]
fn lines_come_back_in_order() {
    let mut log = Log::new();
    log.line(format_args!("vm {}: {}", 3, "refused"));
    let (text, next) = read_all(&log, 0);
    assert_eq!(text, "vm 3: refused\n");
    log.line(format_args!(
        "a line longer than what one call can return in its registers"
    ));
    assert_eq!(log.read(next).len, READ_BYTES);
    assert_eq!(
        read_all(&log, next).0,
        "a line longer than what one call can return in its registers\n"
    );
}

#[test]
fn a_cursor_too_old_or_too_new_is_moved() {
    let mut log = Log::new();
    for n in 0..1000 {
        log.line(format_args!("line {n:04}"));
    }
    let (text, next) = read_all(&log, 0);
    assert_eq!(next, 10_000);
    assert_eq!(text.len(), LOG_BYTES);
    assert!(text.ends_with("line 0999\n"));
    assert_eq!(
        log.read(u64::MAX),
        Chunk {
            next: 10_000,
            len: 0,
            bytes: [0; READ_BYTES]
        }
    );
    let oldest = 10_000 - LOG_BYTES as u64;
    assert_eq!(log.read(oldest - 1).next, oldest + READ_BYTES as u64);
    assert_eq!(log.read(oldest + 1).next, oldest + 1 + READ_BYTES as u64);
}

use super::*;

fn typed(pieces: &[&[u8]]) -> (Vec<u8>, Vec<Wish>) {
    let (mut keys, mut guest, mut wishes) = (Keys::default(), Vec::new(), Vec::new());
    for piece in pieces {
        wishes.extend(keys.typed(piece, &mut guest));
    }
    (guest, wishes)
}

#[test]
fn keys_go_to_the_guest() {
    assert_eq!(
        typed(&[b"ls -x\r\x03\x1b[A"]),
        (b"ls -x\r\x03\x1b[A".to_vec(), vec![])
    );
}

#[test]
fn wishes_come_after_the_escape() {
    assert_eq!(typed(&[b"a\x01xb"]), (b"ab".to_vec(), vec![Wish::Quit]));
    assert_eq!(typed(&[b"\x01X"]).1, [Wish::Quit]);
    assert_eq!(typed(&[b"\x01p\x01?"]).1, [Wish::PowerButton, Wish::Help]);
    assert_eq!(typed(&[b"\x01a\x01\x01"]), (vec![1, 1], vec![]));
}

#[test]
fn an_escape_at_the_end_of_a_read_counts() {
    assert_eq!(typed(&[b"\x01", b"x"]).1, [Wish::Quit]);
    assert_eq!(typed(&[b"\x01"]), (vec![], vec![]));
}

#[test]
fn what_is_no_terminal_stays_as_it_is() {
    let (reader, _writer) = io::pipe().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
    assert!(!remember(fd));
}

use super::*;
use serde_json::json;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

fn guest(claim: &Claim) -> Guest {
    Guest {
        name: claim.name.clone(),
        socket: claim.path.clone(),
    }
}

#[test]
fn names() {
    for good in ["a", "debian-13.1_x", "0", &"x".repeat(48)] {
        assert!(good_name(good), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        ".a",
        "a/b",
        "a b",
        "ü",
        "a\0",
        &"x".repeat(49),
    ] {
        assert!(!good_name(bad), "{bad}");
    }
}

#[test]
fn a_request_has_its_word() {
    for (request, word) in Request::ALL {
        assert_eq!(request.word(), word);
        assert_eq!(Request::from_word(word), Some(request));
    }
    assert_eq!(Request::from_word("Info"), None);
}

#[test]
fn questions_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let claim = Claim::new(dir.path(), "one", true).unwrap();
    let guest = guest(&claim);
    let server = std::thread::spawn(move || {
        answer(&claim.listener, |request| json!({ "word": request.word() })).unwrap();
        answer(&claim.listener, |_| json!({ "error": "not today" })).unwrap();
        // Whoever says nothing, or too much, does not stop the next.
        for _ in 0..3 {
            let _ = answer(&claim.listener, |_| json!(1));
        }
    });
    let reply = ask(&guest, Request::Stats).unwrap();
    assert_eq!(reply, json!({ "word": "stats" }));
    let refused = ask(&guest, Request::Kill).unwrap_err();
    assert!(matches!(refused, ControlError::Refused { why, .. } if why == "not today"));
    drop(UnixStream::connect(&guest.socket).unwrap());
    let mut long = UnixStream::connect(&guest.socket).unwrap();
    let _ = long.write_all(&[b'x'; 4096]);
    let _waits = UnixStream::connect(&guest.socket).unwrap();
    server.join().unwrap();
    // The claim went with the server's thread.
    assert!(!guest.socket.exists());
    assert!(matches!(
        ask(&guest, Request::Info).unwrap_err(),
        ControlError::Silent { .. }
    ));
}

#[test]
fn a_name_is_had_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = Claim::new(dir.path(), "vm", true).unwrap();
    let taken = Claim::new(dir.path(), "vm", true).err().unwrap();
    assert_eq!(taken.to_string(), "a guest named `vm` is running");
    let second = Claim::new(dir.path(), "vm", false).unwrap();
    assert_eq!(second.name, "vm-2");
    drop(first);
    assert_eq!(Claim::new(dir.path(), "vm", true).unwrap().name, "vm");
    assert!(Claim::new(dir.path(), "a/b", false).is_err());
    assert!(Claim::new(Path::new("/proc/nothing"), "vm", false).is_err());
}

#[test]
fn what_a_dead_one_left_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let dead = Claim::new(dir.path(), "vm", true).unwrap();
    let path = dead.path.clone();
    // As after SIGKILL: nobody listens, and the file is there.
    let file = dir.path().join("kept");
    std::fs::hard_link(&path, &file).unwrap();
    drop(dead);
    std::fs::rename(&file, &path).unwrap();
    assert!(path.exists());
    let next = Claim::new(dir.path(), "vm", true).unwrap();
    assert_eq!(next.name, "vm");
    assert_eq!(directory::sockets(dir.path()).len(), 1);
}

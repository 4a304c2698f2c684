use super::*;
use std::process::Command;

const ALL: [Thread; 3] = [Thread::Vcpu, Thread::Devices, Thread::Control];

#[test]
fn every_kind_has_a_list() {
    for thread in ALL {
        let Filter(program) = Filter::new(thread).unwrap();
        assert!(
            (50..4096).contains(&program.len()),
            "{thread:?}: {}",
            program.len()
        );
    }
}

/// Puts a list on and does what it must not: a process of its own, for it dies of it.
#[test]
fn what_is_not_on_the_list_ends_the_process() {
    // SAFETY: takes numbers only. An emulator of system calls (qemu-user) has no lists.
    if unsafe { libc::prctl(libc::PR_GET_SECCOMP) } < 0 {
        eprintln!("not tested: no seccomp here");
        return;
    }
    for forbidden in ["open", "socket", "exec", "nothing"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "sandbox::tests::child",
            "--ignored",
            "--nocapture",
        ]);
        let status = child
            .env("WARD_TEST_FORBIDDEN", forbidden)
            .output()
            .unwrap()
            .status;
        let died = std::os::unix::process::ExitStatusExt::signal(&status);
        match forbidden {
            "nothing" => assert_eq!((died, status.code()), (None, Some(0))),
            _ => assert_eq!(died, Some(libc::SIGSYS), "{forbidden}: {status:?}"),
        }
    }
}

#[test]
#[ignore = "dies; run by what_is_not_on_the_list_ends_the_process"]
fn child() {
    let Ok(forbidden) = std::env::var("WARD_TEST_FORBIDDEN") else {
        return;
    };
    Filter::new(Thread::Devices).unwrap().apply().unwrap();
    match forbidden.as_str() {
        "open" => drop(std::fs::File::open("/proc/self/maps")),
        "socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
        "exec" => drop(Command::new("/bin/true").status()),
        _ => (),
    }
    // SAFETY: ends the process, from whatever thread.
    unsafe { libc::_exit(0) };
}

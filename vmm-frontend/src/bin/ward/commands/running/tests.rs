use super::*;

#[test]
fn a_list_for_people() {
    let info = json!({
        "name": "debian", "pid": 7, "protection": "protected", "cpus": 2, "memory": 512 << 20,
        "uptime": 3700, "from": "/vm/debian.ward",
    });
    assert_eq!(
        List(vec![info]).text(),
        "NAME    PID  PROTECTION  CPUS  MEMORY   UP         FROM\n\
         debian  7    protected   2     512 MiB  1 h 1 min  /vm/debian.ward\n"
    );
    assert_eq!(List(vec![]).text().lines().count(), 1);
}

#[test]
fn numbers_for_people() {
    let stats = Stats {
        guests: vec![json!({
            "name": "vm", "protection": "normal", "uptime": 5, "memory": 64 << 20,
            "exits": [{ "mmio_reads": 3 }], "devices": { "disk0": { "requests": 9 } }, "ward": { "vm": 1 },
        })],
        ward: Ok(parse("frames 12\nnew_one 3\nodd\nbad x\n")),
    };
    let text = stats.text();
    for line in [
        "vm (normal, up 5 s)",
        "memory                64 MiB",
        "cpu0 mmio reads       3",
        "disk0 requests        9",
        "frames                12",
        "new one               3",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("odd") && !text.contains("bad"));
    let without = Stats {
        guests: vec![],
        ward: Err("no".into()),
    };
    assert_eq!(without.text(), "Ward: no\n");
    assert_eq!(without.json()["ward"], Value::Null);
}

#[test]
fn a_guest_that_does_not_end_is_no_success() {
    let stopped = |ended, force| Stopped {
        name: "vm".into(),
        ended,
        wait: 1,
        force,
    };
    assert_eq!(stopped(true, false).exit(), 0);
    assert_eq!(stopped(false, false).exit(), 1);
    assert!(stopped(false, false).warnings()[0].contains("--force"));
    assert!(stopped(false, true).warnings()[0].contains("kill -9"));
}

#[test]
fn durations() {
    let all = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(duration);
    assert_eq!(
        all,
        [
            "0 s",
            "59 s",
            "1 min",
            "59 min",
            "1 h 0 min",
            "47 h 59 min",
            "2 days"
        ]
    );
}

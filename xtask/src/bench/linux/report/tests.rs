use super::*;

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn costs(ward: u64) -> Costs {
    let one = |kib, share| Ward {
        boot: 5,
        memory: (kib, share),
    };
    let counts = |count| vec![("syscalls".to_owned(), count)];
    Costs {
        commands: vec!["qemu".to_owned()],
        counts: vec![counts(1000), counts(1000), counts(ward), counts(1001)],
        wards: vec![one(3388, 33), one(9000, 53)],
    }
}

#[test]
fn counts_are_read_and_torn_lines_refused() {
    let read_text = |text| read(&lines(text));
    let counts = read_text("x\nBENCH a 3 instructions\nBENCH b 4 instructions\n").unwrap();
    assert_eq!(counts, [("a".to_owned(), 3), ("b".to_owned(), 4)]);
    for torn in [
        "BENCH a",
        "BENCH a b instructions",
        "BENCH a 3 instr",
        "FAILED to fork",
    ] {
        assert!(read_text(torn).is_err(), "{torn}");
    }
}

#[test]
fn wards_own_lines_are_read() {
    assert_eq!(
        ticks_to_instructions("625 ticks of 62500000 Hz"),
        Some(10_000)
    );
    assert_eq!(ticks_to_instructions("625 ticks of 0 Hz"), None);
    assert_eq!(ticks_to_instructions("625 ticks"), None);
    let line = "ward: memory of Ward's own: 0x1..0x2, 0x3..0x4: 3388 KiB, 0.33 % of RAM";
    assert_eq!(memory(&lines(line)).unwrap(), (3388, 33));
    assert!(memory(&lines("ward: memory of Ward's own: 0x1..0x2")).is_err());
}

#[test]
fn misses_are_marked() {
    let table = render(&costs(1010));
    assert!(
        table.contains(
            "| syscalls | 1000 | 1000 | 1010 | 1001 | 1.010 | 1.010 | 1.001 | 1.010 |  |"
        ),
        "{table}"
    );
    assert!(
        table.contains("| the same | 0.33 | 0.53 | % of RAM | 0.30 without an SMMU | missed |"),
        "{table}"
    );
    assert!(render(&costs(1011)).contains("| 1.001 | 1.010 | missed |"));
    let mut smmu = costs(1000);
    smmu.counts[3][0].1 = 1011;
    assert!(render(&smmu).contains("| 1.000 | 1.000 | 1.011 | 1.010 | missed |"));
}

#[test]
fn what_does_not_repeat_is_named() {
    assert!(costs(1000).differences(&costs(1004), 5).is_empty());
    assert_eq!(
        costs(1000).differences(&costs(1006), 5),
        ["syscalls: 1000, then 1006"]
    );
    let mut other = costs(1000);
    other.counts[1][0].0 = "else".to_owned();
    assert!(other.check().is_err());
    assert!(costs(1).check().is_ok());
}

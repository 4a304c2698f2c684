use super::*;
use std::string::ToString;

fn read(reg: Encoding) -> Action {
    decide(SysAccess {
        reg,
        rt: 0,
        write: false,
    })
}

fn write(reg: Encoding) -> Action {
    decide(SysAccess {
        reg,
        rt: 0,
        write: true,
    })
}

fn named(name: &str) -> Encoding {
    match REGISTERS.iter().find(|row| row.name == name) {
        Some(row) => row.reg,
        None => panic!("no {name}"),
    }
}

#[test]
fn the_table_is_sorted_and_has_no_duplicates() {
    assert!(REGISTERS.is_sorted_by(|a, b| a.reg < b.reg));
    for (n, row) in REGISTERS.iter().enumerate() {
        assert!(REGISTERS[..n].iter().all(|other| other.name != row.name));
        assert_ne!(
            (row.read, row.write),
            (Rule::Undefined, Rule::Undefined),
            "{}",
            row.name
        );
        assert!(!(ID_FIRST..=ID_LAST).contains(&row.reg), "{}", row.name);
        assert_ne!(row.read, Rule::Id);
    }
    assert!(HIDDEN.is_sorted_by(|a, b| a.1 < b.0));
    assert!(HIDDEN.iter().all(|(first, last, _)| first <= last));
}

/// Every encoding there is, against the table and the block; a sample under Miri.
#[test]
fn every_access_does_what_its_row_says() {
    let step = if cfg!(miri) { 509 } else { 1 };
    for n in (0..=u16::MAX).step_by(step) {
        let field = |shift: u32| (n >> shift) as u8;
        check(Encoding::new(
            field(14),
            field(11),
            field(7),
            field(3),
            field(0),
        ));
    }
    for row in REGISTERS {
        check(row.reg);
    }
}

fn check(reg: Encoding) {
    let is_id = (reg.op0(), reg.op1(), reg.crn()) == (3, 0, 0) && (1..=7).contains(&reg.crm());
    if is_id {
        assert_eq!(
            read(reg),
            Action::ReadId {
                crm: reg.crm(),
                op2: reg.op2()
            }
        );
        assert_eq!(write(reg), Action::Undefined);
        return;
    }
    let Some(row) = REGISTERS.iter().find(|row| row.reg == reg) else {
        assert_eq!(
            (read(reg), write(reg)),
            (Action::Undefined, Action::Undefined)
        );
        return;
    };
    let reads = match row.read {
        Rule::Undefined | Rule::Id => Action::Undefined,
        Rule::Constant(value) => Action::Read(value),
        Rule::Own(own, mask) => Action::ReadOwn(own, mask),
        Rule::Host => Action::Host,
    };
    let writes = match row.write {
        Rule::Undefined | Rule::Id => Action::Undefined,
        Rule::Constant(_) => Action::Ignore,
        Rule::Own(own, mask) => Action::WriteOwn(own, mask),
        Rule::Host => Action::Host,
    };
    assert_eq!((read(reg), write(reg)), (reads, writes), "{}", row.name);
}

#[test]
fn a_linux_guest_boots_past_the_debug_registers() {
    let mask = 0x3001;
    let mdscr = named("MDSCR_EL1");
    assert_eq!(mdscr, Encoding::new(2, 0, 0, 2, 2));
    assert_eq!(read(mdscr), Action::ReadOwn(SysReg::MdscrEl1, mask));
    assert_eq!(write(mdscr), Action::WriteOwn(SysReg::MdscrEl1, mask));
    for n in 0..2 {
        for op2 in 4..8 {
            let reg = Encoding::new(2, 0, 0, n, op2);
            assert_eq!((read(reg), write(reg)), (Action::Read(0), Action::Ignore));
        }
    }
    // ID_AA64DFR0_EL1 says two of each.
    assert_eq!(write(Encoding::new(2, 0, 0, 2, 4)), Action::Undefined);
    let oslar = Encoding::new(2, 0, 1, 0, 4);
    assert_eq!(
        (read(oslar), write(oslar)),
        (Action::Undefined, Action::Ignore)
    );
    let oslsr = Encoding::new(2, 0, 1, 1, 4);
    assert_eq!(
        (read(oslsr), write(oslsr)),
        (Action::Read(8), Action::Undefined)
    );
    let claim = Encoding::new(2, 0, 7, 8, 6);
    assert_eq!(read(claim), Action::Read(0xff));
}

#[test]
fn the_host_emulates_sgis_deactivation_and_the_physical_timer() {
    for op2 in [1, 5, 6, 7] {
        let reg = Encoding::new(3, 0, 12, 11, op2);
        assert_eq!((read(reg), write(reg)), (Action::Undefined, Action::Host));
    }
    for op2 in 0..3 {
        let reg = Encoding::new(3, 3, 14, 2, op2);
        assert_eq!((read(reg), write(reg)), (Action::Host, Action::Host));
    }
    let sre = Encoding::new(3, 0, 12, 12, 5);
    assert_eq!((read(sre), write(sre)), (Action::Read(7), Action::Ignore));
    let actlr = Encoding::new(3, 0, 1, 0, 1);
    assert_eq!(read(actlr), Action::ReadOwn(SysReg::ActlrEl1, u64::MAX));
    assert_eq!(write(actlr), Action::Ignore);
    let identity = [Encoding::new(3, 0, 0, 0, 6), Encoding::new(3, 1, 0, 0, 7)];
    for reg in identity {
        assert_eq!(
            (read(reg), write(reg)),
            (Action::Read(0), Action::Undefined)
        );
    }
}

#[test]
fn item_32_a_read_always_gives_a_value() {
    // No row lets a read fall through: it is a value, the host's answer, or an exception.
    for row in REGISTERS {
        assert!(
            !matches!(read(row.reg), Action::Ignore | Action::WriteOwn(..)),
            "{}",
            row.name
        );
    }
}

#[test]
fn every_hidden_range_is_undefined_and_named() {
    for (first, last, feature) in HIDDEN {
        for reg in [*first, *last] {
            assert_eq!(
                (read(reg), write(reg)),
                (Action::Undefined, Action::Undefined)
            );
            let words = describe(reg).to_string();
            assert_eq!(words, std::format!("{reg} (hidden feature: {feature})"));
        }
    }
    let pmcr = Encoding::new(3, 3, 9, 12, 0);
    let words = "S3_3_C9_C12_0 (hidden feature: performance monitors)";
    assert_eq!(describe(pmcr).to_string(), words);
    assert_eq!(
        describe(named("ICC_SGI1R_EL1")).to_string(),
        "ICC_SGI1R_EL1"
    );
    assert_eq!(
        describe(Encoding::new(3, 7, 15, 15, 7)).to_string(),
        "S3_7_C15_C15_7"
    );
}

use super::*;

const ALL: u64 = u64::MAX;
const VIRTUAL_TIMER: u64 = 27;
const HW: u64 = 1 << 61;
const PENDING: u64 = 1 << 62;
const ACTIVE: u64 = 1 << 63;

fn request(lrs: &[u64]) -> Gic {
    let mut gic = Gic {
        used: lrs.len() as u64,
        ..Gic::default()
    };
    gic.lr[..lrs.len()].copy_from_slice(lrs);
    gic
}

fn sanitise(request: &Gic, saved: &Gic, protected: bool, list_registers: usize) -> Gic {
    let mut gic = *saved;
    let words = request.to_words();
    let hardware = Hardware {
        list_registers,
        virtual_timer: VIRTUAL_TIMER,
    };
    take(&mut gic, protected, hardware, |offset, out| {
        out.copy_from_slice(&words[offset / 8..][..out.len()]);
    });
    gic
}

fn sane(lrs: &[u64]) -> Gic {
    sanitise(&request(lrs), &Gic::default(), true, 16)
}

fn one(lr: u64) -> u64 {
    sane(&[lr]).lr[0]
}

fn pintid(intid: u64) -> u64 {
    intid << 32
}

#[test]
fn controls_are_masked() {
    let asked = Gic {
        hcr: ALL,
        vmcr: ALL,
        ap0r: [ALL; 4],
        ap1r: [ALL; 4],
        ..Gic::default()
    };
    let gic = sanitise(&asked, &Gic::default(), false, 4);
    assert_eq!(gic.hcr, 0xf800_45ff);
    assert_eq!(gic.vmcr, 0xfffc_021f);
    assert_eq!((gic.ap0r, gic.ap1r), ([0xffff_ffff; 4], [0xffff_ffff; 4]));
}

#[test]
fn a_protected_guest_keeps_its_own_registers() {
    let asked = Gic {
        hcr: 1,
        vmcr: ALL,
        ap0r: [ALL; 4],
        ap1r: [ALL; 4],
        ..Gic::default()
    };
    // As hardware gave them back.
    let (ap0r, ap1r) = ([1, 2, 3, 4], [5, 6, 7, 8]);
    let saved = Gic {
        hcr: 0,
        vmcr: 0xf0 << 24 | 1 << 17 | 2,
        ap0r,
        ap1r,
        ..Gic::default()
    };
    let gic = sanitise(&asked, &saved, true, 4);
    let expected = Gic {
        hcr: 1,
        vmcr: 0xf0 << 24 | 2,
        ap0r,
        ap1r,
        ..Gic::default()
    };
    assert_eq!(gic, expected);
}

#[test]
fn used_is_what_exists_and_the_rest_is_zero() {
    let lrs: [u64; 16] = core::array::from_fn(|n| PENDING | (32 + n as u64));
    for implemented in 0..=20 {
        for used in [0, 1, 4, 16, 17, ALL] {
            let asked = Gic {
                used,
                ..request(&lrs)
            };
            let gic = sanitise(&asked, &Gic::default(), true, implemented);
            let expected = used.min(implemented as u64).min(16);
            assert_eq!(gic.used, expected);
            for (n, lr) in gic.lr.iter().enumerate() {
                assert_eq!(*lr, if (n as u64) < expected { lrs[n] } else { 0 });
            }
        }
    }
}

#[test]
fn what_was_in_use_before_is_gone() {
    let lrs: [u64; 16] = core::array::from_fn(|n| PENDING | (32 + n as u64));
    for used in 0..16 {
        let gic = sanitise(&request(&lrs[..used]), &request(&lrs), true, 16);
        assert_eq!(gic, request(&lrs[..used]));
    }
}

#[test]
fn res0_and_nmi_are_cleared() {
    // Bits 47:42 and 40:32 mean nothing without HW, 58:56 never; 59 is NMI.
    assert_eq!(one(!(0xffff_ffff | HW) | 40), 0xd0ff_0200_0000_0028);
    assert_eq!(one(0xff << 48 | 40), 0xff << 48 | 40);
    assert_eq!(one(1 << 60 | 40), 1 << 60 | 40);
    assert_eq!(one(1 << 41 | 40), 1 << 41 | 40, "EOI");
}

#[test]
fn vintids_are_those_of_interrupts() {
    for vintid in [0, 15, 27, 31, 1019, 8192, 0xffff] {
        assert_eq!(one(PENDING | vintid), PENDING | vintid);
    }
    for vintid in [1020, 1023, 1024, 8191, 0x1_0000, 0x1_2000, 0xffff_ffff] {
        assert_eq!(one(PENDING | 1 << 60 | vintid), 0, "{vintid:#x}");
    }
}

#[test]
fn only_the_virtual_timer_is_a_hardware_interrupt() {
    for state in [0, PENDING, ACTIVE] {
        let timer = state | HW | pintid(27) | 27;
        assert_eq!(one(timer), timer);
        for other in [0, 1, 26, 28, 30, 27 | 1 << 10, 27 | 1 << 12, 0x1fff] {
            assert_eq!(one(state | HW | pintid(other) | 27), state | 27, "{other}");
        }
    }
    // Bits above the field are not part of it.
    assert_eq!(
        one(HW | PENDING | 7 << 45 | pintid(27) | 27),
        HW | PENDING | pintid(27) | 27
    );
    // Without HW the field means nothing, even with the timer's number in it.
    assert_eq!(one(PENDING | pintid(27) | 27), PENDING | 27);
    // EOI is not read into a dropped pINTID.
    assert_eq!(one(HW | PENDING | 1 << 41 | 27), PENDING | 27);
}

#[test]
fn a_hardware_interrupt_is_not_active_and_pending() {
    let timer = HW | pintid(27) | 27;
    assert_eq!(one(ACTIVE | PENDING | timer), ACTIVE | timer);
    assert_eq!(one(ACTIVE | PENDING | 40), ACTIVE | PENDING | 40);
}

#[test]
fn an_interrupt_is_in_one_list_register() {
    let gic = sane(&[
        PENDING | 40,
        ACTIVE | 1 << 60 | 40,
        PENDING | 41,
        PENDING | 41,
    ]);
    assert_eq!(gic.lr[..5], [PENDING | 40, 0, PENDING | 41, 0, 0]);
    assert_eq!(gic.used, 4);
    // Inactive ones do not conflict.
    let gic = sane(&[40, PENDING | 40, 40]);
    assert_eq!(gic.lr[..3], [40, PENDING | 40, 40]);
    // A list register that was dropped does not make a later one conflict with SGI 0.
    let gic = sane(&[PENDING | 1023, PENDING]);
    assert_eq!(gic.lr[..2], [0, PENDING]);
}

#[test]
fn a_physical_interrupt_is_in_one_list_register() {
    let timer = PENDING | HW | pintid(27) | 27;
    let software = PENDING | 1 << 41 | 40;
    let gic = sane(&[software, timer, PENDING | HW | pintid(27) | 28]);
    assert_eq!(gic.lr[..3], [software, timer, PENDING | 28]);
    let gic = sane(&[timer, software]);
    assert_eq!(gic.lr[..2], [timer, software]);
}

#[test]
fn the_virtual_timer_is_the_one_that_the_machine_has() {
    let lr = |pintid: u64| HW | PENDING | pintid << 32 | 27;
    let given = |pintid, virtual_timer| {
        let mut gic = Gic::default();
        let words = request(&[lr(pintid)]).to_words();
        let hardware = Hardware {
            list_registers: 4,
            virtual_timer,
        };
        take(&mut gic, true, hardware, |offset, out| {
            out.copy_from_slice(&words[offset / 8..][..out.len()]);
        });
        gic.lr[0]
    };
    assert_eq!(given(25, 25), lr(25));
    assert_eq!(given(27, 25), PENDING | 27, "another's interrupt");
}

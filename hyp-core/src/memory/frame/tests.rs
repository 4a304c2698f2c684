use super::*;

fn states() -> std::vec::Vec<FrameState> {
    let mut all = std::vec::Vec::new();
    let counts = [0, 1, 2, 0x7fff, u16::MAX];
    for pins in counts {
        all.extend(counts.map(|lent| FrameState::Host { pins, lent }));
    }
    for id in [0, 1, 0xff, u16::MAX] {
        all.push(FrameState::Hyp { for_vm: VmId(id) });
        for ipa in [0, 0x1000, 0x4000_0000, (1 << 52) - 0x1000] {
            for shared in [false, true] {
                all.push(FrameState::Vm {
                    vm: VmId(id),
                    ipa: Ipa::containing(ipa),
                    shared,
                });
            }
        }
    }
    all
}

#[test]
fn packs_and_unpacks_every_state_to_itself() {
    let all = states();
    for &state in &all {
        assert_eq!(FrameWord::new(state).state(), state);
    }
    for (n, &a) in all.iter().enumerate() {
        for &b in &all[n + 1..] {
            assert_ne!(FrameWord::new(a), FrameWord::new(b), "{a:?} and {b:?}");
        }
    }
}

#[test]
fn a_zeroed_array_is_the_hosts() {
    assert_eq!(FrameWord::HOST_IDLE, FrameWord(0));
    assert_eq!(FrameWord(0).state(), FrameState::HOST_IDLE);
}

#[test]
fn the_host_maps_its_own_and_what_is_shared() {
    for state in states() {
        let expected = match state {
            FrameState::Host { .. } => true,
            FrameState::Hyp { .. } => false,
            FrameState::Vm { shared, .. } => shared,
        };
        assert_eq!(state.host_may_map(), expected);
    }
}

#[test]
fn pins_and_loans_count_up_and_down_and_never_wrap() {
    let host = |pins, lent| FrameState::Host { pins, lent };
    for state in states() {
        let (pinned, unpinned, lent, returned) = match state {
            FrameState::Host { pins, lent } => (
                (lent == 0 && pins != u16::MAX).then(|| host(pins + 1, lent)),
                (pins != 0).then(|| host(pins - 1, lent)),
                (lent != u16::MAX).then(|| host(pins, lent + 1)),
                (lent != 0).then(|| host(pins, lent - 1)),
            ),
            _ => (None, None, None, None),
        };
        assert_eq!(state.pinned(), pinned, "{state:?}");
        let for_device = match state {
            FrameState::Host { pins, lent } if pins != u16::MAX => Some(host(pins + 1, lent)),
            _ => None,
        };
        assert_eq!(state.pinned_for_device(), for_device, "{state:?}");
        assert_eq!(state.unpinned(), unpinned, "{state:?}");
        assert_eq!(state.lent(), lent, "{state:?}");
        assert_eq!(state.returned(), returned, "{state:?}");
    }
}

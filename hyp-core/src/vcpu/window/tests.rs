use super::*;

#[test]
fn every_word_goes_round() {
    let mut words = [0; WINDOW_WORDS];
    for (n, word) in words.iter_mut().enumerate() {
        *word = 0x1000 + n as u64;
    }
    words[33] = 0xf000_03c5;
    let mut context = Context::reset(0, 0);
    context.set_window(&words);
    assert_eq!(context.x[30], 0x101e);
    assert_eq!(
        (context.sp_el0, context.pc, context.pstate),
        (0x101f, 0x1020, 0xf000_03c5)
    );
    assert_eq!(context.x[..], words[..31]);
    assert_eq!(context.sys[..], words[34..]);
}

#[test]
fn every_fp_word_goes_round() {
    let mut words = [0; FP_WORDS];
    for (n, word) in words.iter_mut().enumerate() {
        *word = 0x1000 + n as u64;
    }
    let mut context = Context::reset(0, 0);
    context.fp.set_words(&words);
    assert_eq!(context.fp.v[31], 0x103f << 64 | 0x103e);
    assert_eq!((context.fp.fpcr, context.fp.fpsr), (0x1040, 0x1041));
    let mut back = [0; FP_WORDS];
    context.fp.to_words(&mut back);
    assert_eq!(back, words);
}

#[test]
fn pstate_never_leaves_el1_and_el0() {
    let mut words = [0; WINDOW_WORDS];
    for mode in 0..32 {
        words[33] = mode | 0x3c0;
        let may = matches!(mode, 0 | 4 | 5);
        let expected = if may {
            Ok(())
        } else {
            Err(Error::InvalidArgument)
        };
        assert_eq!(check(&words), expected, "mode {mode:#x}");
    }
    // Only bits with a meaning: not SS, IL, nor what is RES0.
    let mut context = Context::reset(0, 0);
    for mode in MODES {
        words[33] = !0x1f | mode;
        context.set_window(&words);
        assert_eq!(context.pstate, 0xf3c0_1fc0 | mode);
    }
}

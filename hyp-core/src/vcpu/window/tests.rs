use super::*;
use crate::vcpu::context::Context;

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
    for mode in 0..32 {
        let word = mode | 0x3c0;
        let may = matches!(mode, 0 | 4 | 5);
        let expected = if may {
            Ok(word)
        } else {
            Err(Error::InvalidArgument)
        };
        assert_eq!(pstate(word), expected, "mode {mode:#x}");
    }
    // Only bits with a meaning: not SS, IL, nor what is RES0.
    for mode in MODES {
        assert_eq!(pstate(!0x1f | mode), Ok(0xf3c0_1fc0 | mode));
    }
}

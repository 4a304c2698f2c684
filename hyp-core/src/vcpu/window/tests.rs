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
    assert_eq!(context.sys[0], 0x1022);
    assert_eq!(context.window(), words);
}

#[test]
fn pstate_never_leaves_el1_and_el0() {
    for mode in 0..32 {
        let asked = mode | 0x3c0;
        let got = sanitised(asked);
        match mode {
            0 | 4 | 5 => assert_eq!(got, asked),
            _ => assert_eq!(got, RESET_PSTATE, "mode {mode:#x}"),
        }
    }
    // Only bits with a meaning: not SS, IL, nor what is RES0.
    assert_eq!(sanitised(!0x1f | 5), 0xf3c0_1fc5);
}

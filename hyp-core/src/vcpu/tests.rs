#[test]
fn a_host_may_ask_for_wait_traps_and_a_virtual_serror() {
    assert_eq!(super::HCR_REQUEST, 0x6100);
}

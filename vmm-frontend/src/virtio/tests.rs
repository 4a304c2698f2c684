//! Drivers that keep to nothing, at random. `cargo fuzz run virtio` looks longer.

use super::hostile;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_driver_stops_or_crosses_a_device(bytes in vec(any::<u8>(), 0..600)) {
        hostile::run(&bytes);
    }
}

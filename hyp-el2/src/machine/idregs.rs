//! The ID register space `S3_0_C0_C<1..7>_<0..7>` (DDI 0487 D24.1.2): what is not allocated reads
//! as zero, so all of it may be read.

use crate::cpu::get;

macro_rules! space {
    ($crm:ident, $op2:ident; $($c:literal)*) => {
        match ($crm, $op2) {
            $(
                ($c, 0) => get!(concat!("S3_0_C0_C", $c, "_0")),
                ($c, 1) => get!(concat!("S3_0_C0_C", $c, "_1")),
                ($c, 2) => get!(concat!("S3_0_C0_C", $c, "_2")),
                ($c, 3) => get!(concat!("S3_0_C0_C", $c, "_3")),
                ($c, 4) => get!(concat!("S3_0_C0_C", $c, "_4")),
                ($c, 5) => get!(concat!("S3_0_C0_C", $c, "_5")),
                ($c, 6) => get!(concat!("S3_0_C0_C", $c, "_6")),
                ($c, 7) => get!(concat!("S3_0_C0_C", $c, "_7")),
            )*
            _ => 0,
        }
    };
}

/// The hardware's value.
pub(crate) fn read(crm: u8, op2: u8) -> u64 {
    space!(crm, op2; 1 2 3 4 5 6 7)
}

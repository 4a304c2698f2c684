//! The ID registers as guests read them: a fixed, published set of features.
//!
//! [`FIELDS`] names every field that may be other than zero, and those whose absence is worth a
//! line in the manual. A field without a row, a register without rows and the AArch32 registers
//! read as zero, which is what the ID space reads where nothing is allocated (DDI 0487 D24.1.2).

mod table;
pub use table::FIELDS;

/// What a guest sees of one field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// What the CPU has.
    Pass,
    /// What the CPU has, at most this.
    AtMost(u64),
    /// The same of a signed field, where 0xf, less than zero, says "not implemented" (D24.1.3).
    AtMostSigned(u64),
    /// Always this.
    Fixed(u64),
    /// Zero: the feature is hidden. Its use is UNDEFINED, or a NOP where it is a hint.
    Hidden,
    /// The physical address range: the CPU's, at most the VM's IPA space.
    AddressRange,
}

/// One field of `S3_0_C0_C<crm>_<op2>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// CRm, 4 to 7.
    pub crm: u8,
    /// op2.
    pub op2: u8,
    /// Lowest bit; fields are four bits wide.
    pub shift: u32,
    /// Name in the architecture.
    pub name: &'static str,
    /// What of it guests see.
    pub rule: Rule,
}

/// Names of the registers that [`FIELDS`] has rows of.
pub const REGISTERS: &[(u8, u8, &str)] = &[
    (4, 0, "ID_AA64PFR0_EL1"),
    (4, 1, "ID_AA64PFR1_EL1"),
    (4, 2, "ID_AA64PFR2_EL1"),
    (5, 0, "ID_AA64DFR0_EL1"),
    (6, 0, "ID_AA64ISAR0_EL1"),
    (6, 1, "ID_AA64ISAR1_EL1"),
    (6, 2, "ID_AA64ISAR2_EL1"),
    (7, 0, "ID_AA64MMFR0_EL1"),
    (7, 1, "ID_AA64MMFR1_EL1"),
    (7, 2, "ID_AA64MMFR2_EL1"),
    (7, 3, "ID_AA64MMFR3_EL1"),
];

/// A [`Field`] without its name: the names are for the manual and stay out of the image.
#[derive(Clone, Copy)]
struct Plain {
    crm: u8,
    op2: u8,
    shift: u32,
    rule: Rule,
}

const PLAIN: [Plain; FIELDS.len()] = {
    let mut plain = [Plain {
        crm: 0,
        op2: 0,
        shift: 0,
        rule: Rule::Hidden,
    }; FIELDS.len()];
    let mut n = 0;
    while n < FIELDS.len() {
        let Field {
            crm,
            op2,
            shift,
            rule,
            ..
        } = FIELDS[n];
        plain[n] = Plain {
            crm,
            op2,
            shift,
            rule,
        };
        n += 1;
    }
    plain
};

/// Bits of the address ranges that PARange can say, by its value (DDI 0487 D24.2.80).
const ADDRESS_RANGES: [u32; 7] = [32, 36, 40, 42, 44, 48, 52];

/// What a guest reads from `S3_0_C0_C<crm>_<op2>` on a CPU that reads `hardware`, in a VM with
/// `ipa_bits` of IPA space.
pub fn id_register(crm: u8, op2: u8, hardware: u64, ipa_bits: u32) -> u64 {
    PLAIN
        .iter()
        .filter(|field| field.crm == crm && field.op2 == op2)
        .map(|field| {
            let value = hardware >> field.shift & 0xf;
            field.rule.apply(value, ipa_bits) << field.shift
        })
        .sum()
}

impl Rule {
    fn apply(self, value: u64, ipa_bits: u32) -> u64 {
        match self {
            Rule::Pass => value,
            Rule::AtMost(limit) => value.min(limit),
            Rule::AtMostSigned(limit) => {
                if value >= 8 {
                    value
                } else {
                    value.min(limit)
                }
            }
            Rule::Fixed(fixed) => fixed,
            Rule::Hidden => 0,
            Rule::AddressRange => {
                let fits = ADDRESS_RANGES.iter().filter(|bits| **bits <= ipa_bits);
                value.min((fits.count() as u64).saturating_sub(1))
            }
        }
    }
}

#[cfg(test)]
mod tests;

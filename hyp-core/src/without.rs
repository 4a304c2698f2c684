//! What a test image can be built without, so that the tests of a protection are seen to fail.
//!
//! `--cfg ward_without="NAME"` takes one protection out, at the place of its check:
//! `cfg!(ward_without = "NAME")`. No feature switches that on, and no product has it: such an image
//! says so in its first lines, does not build as anything but a test image, and `cargo xtask image`
//! refuses whatever holds [`MARK`]. `cargo xtask test --without NAME` builds and judges one.

/// What the console of an image that lacks a protection begins with.
pub const MARK: &str = "NOT FOR USE: built without the protection ";

macro_rules! protections {
    ($($name:literal $what:literal,)*) => {
        /// Every protection that can be left out, and what it is.
        pub const PROTECTIONS: &[(&str, &str)] = &[$(($name, $what)),*];

        /// The one that this build lacks.
        pub const WITHOUT: Option<&str> = {
            $(if cfg!(ward_without = $name) { Some($name) } else)* { None }
        };
    };
}

protections! {
    "unmapping" "what leaves the host is unmapped from it",
    "invalidation" "what is unmapped leaves the TLBs of all CPUs",
    "devices" "a device reaches only what its stream's table maps",
    "device-invalidation" "what leaves a stream's table leaves the SMMUs",
    "zeroing" "what comes back to the host is zeroed",
    "return" "what was a VM's comes back to the host when it ends",
    "stop" "memory is taken back from a VM only when nothing of it runs any more",
    "no-change" "the host changes no mapping of a protected VM",
    "filter" "an exit shows the fields of its row and no others",
    "registers-out" "a protected vCPU's registers are not shown",
    "registers-in" "a protected vCPU's registers are not taken from the host",
    "host-fp" "the host gets its own FP registers back after a run",
    "switch" "a vCPU's system registers come with it, whoever ran on the CPU before",
    "timer" "the guest's deadline is not left in the host's timer",
    "every-cpu" "the host runs behind its stage 2 on every CPU",
    "reuse" "a VM's number is another's when no TLB knows it any more",
    "vmid" "each VM has a VMID of its own",
    "one-manifest" "a VM has one manifest, for good",
    "signature" "a manifest is its owner's",
    "digest" "an image is the one that was signed",
    "write-protection" "a normal VM writes only where its host lets it",
}

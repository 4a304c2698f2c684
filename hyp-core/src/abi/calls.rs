//! The host's calls, as one table.
//!
//! HVC64 under the SMC Calling Convention 1.2 (DEN0028), vendor-hypervisor range. `x0` holds
//! [`Call::function_id`], `x1..x6` the arguments; on return `x0` holds 0, [`AGAIN`](super::error::AGAIN)
//! or an [`Error`](super::Error), `x1..x3` the results (0 where none is named; of a log read up to
//! `x7`), all else is kept.

/// One row of the table: what the manual and the C header print of a call.
#[derive(Clone, Copy, Debug)]
pub struct CallInfo {
    /// The call.
    pub call: Call,
    /// Its name in the C header and the log.
    pub name: &'static str,
    /// Arguments in `x1..`, each "name: meaning and unit".
    pub args: &'static [&'static str],
    /// Results in `x1..`, each "name: meaning and unit".
    pub results: &'static [&'static str],
    /// VM states in which it is permitted, in words.
    pub states: &'static str,
    /// What it does, in one or two sentences.
    pub what: &'static str,
    /// The KCore call it descends from, if any.
    pub kcore: &'static str,
}

macro_rules! calls {
    ($($number:literal $variant:ident $name:literal ($($arg:literal),*) -> ($($res:literal),*)
       states $states:literal kcore $kcore:literal $what:literal;)*) => {
        /// A host call. The discriminant is its number within the range.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Call {
            $(#[doc = $what] $variant = $number,)*
        }
        impl Call {
            /// The call with this number. (Not a search in [`CALLS`]: the table's words are for
            /// the manual, and stay out of the image.)
            const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Call::$variant),)*
                    _ => None,
                }
            }
        }
        /// All calls, in order of their number.
        pub const CALLS: &[CallInfo] = &[
            $(CallInfo {
                call: Call::$variant, name: $name, args: &[$($arg),*], results: &[$($res),*],
                states: $states, what: $what, kcore: $kcore,
            },)*
        ];
    };
}

calls! {
    0x00 Version "version" () -> ("version: major << 16 | minor") states "any" kcore ""
        "Says which version of this interface Ward speaks.";
    0x01 Info "info" ("key: see `info` keys") -> ("value") states "any" kcore ""
        "Says one fact about this machine that a host sizes its donations by.";
    0x02 HostDonate "host_donate" ("pa: first frame, page aligned", "frames: 1 to 512") -> ()
        states "any" kcore ""
        "Gives frames to the pool from which the host's own translation tables are split.";
    0x03 LogRead "log_read" ("cursor: 0 or the last call's next")
        -> ("next: cursor after these bytes", "len: bytes that follow, 0 to 40", "x3..x7: bytes, little endian")
        states "any" kcore ""
        "Reads Ward's log. A cursor older than the ring starts at the oldest byte kept.";
    0x04 StatRead "stat_read" ("vm: number, or 0 for the machine", "key: see statistics keys") -> ("value")
        states "any" kcore ""
        "Reads one counter of the machine or of a VM.";
    0x10 VmRegister "vm_register"
        ("flags: bit 0 protected; bit 1 the host answers ID registers, normal VMs only", "record_pa: 2 frames", "root_pa: table root, aligned to its size", "vcpus: 1 to 64")
        -> ("vm: number") states "unused" kcore "register_kvm"
        "Makes a VM of donated frames: its record and the root of its stage-2 table.";
    0x11 VcpuRegister "vcpu_register"
        ("vm", "vcpu: 0 to vcpus - 1", "record_pa: 1 frame, donated", "run_pa: 1 frame, stays the host's, pinned") -> ()
        states "ready" kcore "register_vcpu"
        "Makes a vCPU of a donated frame and ties it to a run page.";
    0x12 VmDonate "vm_donate" ("vm", "pa: first frame", "frames: 1 to 512") -> ()
        states "ready, verified" kcore "(fixed pools)"
        "Gives frames to the VM's pool of table pages.";
    0x13 VmReclaimPool "vm_reclaim_pool" ("vm") -> ("pa: the frame, zeroed")
        states "any but unused" kcore "(none)"
        "Takes one unused frame of the VM's pool back; not_found when there is none.";
    0x14 VmSetBootInfo "vm_set_boot_info" ("vm", "manifest_pa: one frame of the host", "len: bytes, up to 4096") -> ()
        states "ready, protected" kcore "set_boot_info"
        "Copies the signed manifest, checks key and signature, and fixes images, entry, vCPUs and memory layout by it.";
    0x15 VmRemapImage "vm_remap_image"
        ("vm", "image: index in the manifest", "page: first page of the image", "pa: first frame", "order: 0 or 9") -> ()
        states "ready, with boot info" kcore "remap_vm_image"
        "Takes frames from the host and maps them where the manifest puts that part of the image.";
    0x16 VmVerifyImages "vm_verify_images" ("vm") -> ("left: bytes still to hash, with AGAIN")
        states "ready, with all images" kcore "verify_vm_images"
        "Hashes a bounded piece of the images in place; when all agree with the manifest the VM is verified.";
    0x17 VcpuRun "vcpu_run" ("vm", "vcpu") -> ("exit: reason, as in the run page")
        states "verified (normal VMs: ready); powered off: exit system_off at once" kcore "vcpu_run"
        "Runs the vCPU on this CPU until it has an exit for the host.";
    0x18 VmMap "vm_map" ("vm", "ipa", "pa", "order: 0 or 9", "prot: bit 0 write, bit 1 execute; protected VMs: 3")
        -> ("pool: free frames left in the VM's pool")
        states "verified (normal VMs: ready)" kcore "prot_and_map_vm_s2pt"
        "Maps a page or block at fault time: donates and zeroes it for a protected VM, lends it to a normal one. What a host lends it has cleaned to the point of coherency, and instruction caches are its affair. A frame can be lent 65535 times.";
    0x19 VmUnmap "vm_unmap" ("vm", "ipa", "order: 0 or 9") -> ()
        states "ready or powered off, normal" kcore "(none)"
        "Ends the loan of a page or block to a normal VM: vm_unmap_range of one leaf.";
    0x1a VmWriteProtect "vm_write_protect" ("vm", "ipa", "order: 0 or 9") -> ()
        states "ready, normal" kcore "(none)"
        "Takes write permission from a leaf of a normal VM: vm_protect of one leaf.";
    0x1b VmAge "vm_age" ("vm", "ipa", "order: 0 or 9") -> ("young: 1 if used since the last call")
        states "ready, normal" kcore "(none)"
        "Tests and clears the access flag of a leaf of a normal VM: vm_age_range of one leaf.";
    0x1c VmMapIo "vm_map_io" ("vm", "ipa", "pa: device memory", "frames: 1 to 512", "flags: bit 0 write-combining (Normal non-cacheable), bit 1 read-only; protected VMs: 0") -> ()
        states "ready" kcore "phys_addr_ioremap"
        "Maps device memory that is not Ward's into a VM.";
    0x1d VmClearRange "vm_clear_range" ("vm", "pa: first frame", "frames: 1 to 512") -> ("done: frames returned")
        states "powered off, no vCPU active" kcore "clear_vm_range"
        "Zeroes the frames of the range that the VM owns and returns them to the host.";
    0x1e VmSetCntvoff "vm_set_cntvoff" ("vm", "offset: ticks of the counter; protected VMs: 0") -> ()
        states "ready (normal VMs: until powered off)" kcore "timer_set_cntvoff"
        "Sets the VM's virtual counter offset.";
    0x1f VmPowerOff "vm_power_off" ("vm") -> () states "ready, verified" kcore "set_vm_poweroff"
        "Stops new runs at once; vCPUs that run leave at their next exit.";
    0x20 VmDestroy "vm_destroy" ("vm") -> ("left: 0; with AGAIN at least one frame is left")
        states "powered off, no vCPU active" kcore "clear_vm_stage2_range"
        "Returns a bounded number of the VM's frames, zeroed; after the last the number is free.";
    0x21 VmProtect "vm_protect"
        ("vm", "ipa", "order: 0 or 9", "count: leaves in a row, up to 512; 0 is 1", "add: permissions, bit 0 write, bit 1 execute", "remove: permissions, none that `add` has")
        -> ("changed: leaves that changed")
        states "ready, normal" kcore "(none)"
        "Gives permissions to what a normal VM was lent, and takes them, with one TLB invalidation. A block in an order 0 range changes as a whole where it lies in it, and is split where it reaches over an end. With more than one leaf, holes are passed by. Leaves smaller than the order are not_found.";
    0x22 VmUnmapRange "vm_unmap_range"
        ("vm", "ipa", "order: 0 or 9", "count: leaves in a row, up to 512; 0 is 1")
        -> ("changed: leaves that are gone")
        states "ready or powered off, normal" kcore "(none)"
        "Ends the loan of what the range maps, with one TLB invalidation. Blocks, holes and smaller leaves as for vm_protect.";
    0x23 VmAgeRange "vm_age_range"
        ("vm", "ipa", "order: 0 or 9", "count: leaves in a row, up to 512; 0 is 1", "flags: bit 0 only look")
        -> ("young: leaves used since the flag was last cleared")
        states "ready, normal" kcore "(none)"
        "Counts and clears the access flags of a range, with one TLB invalidation; a block that reaches over an end counts too. Holes and smaller leaves as for vm_protect.";
    0x24 VcpuSync "vcpu_sync" ("vm", "vcpu", "what: see what vcpu_sync moves") -> ()
        states "ready or powered off, normal; the vCPU at rest" kcore "(none)"
        "Moves registers of a vCPU that does not run between Ward and its run page.";
    0x30 SmmuAlloc "smmu_alloc" ("smmu: number", "stream: number", "vm: 0, the host") -> () states "any" kcore "el2_alloc_smmu_pgd"
        "Gives a stream a table of its own, which maps nothing; without it a stream translates by the table of all that the host owns. Not for VMs in this version.";
    0x31 SmmuFree "smmu_free" ("smmu", "stream") -> ("left: 0; with AGAIN something is left") states "any" kcore "el2_free_smmu_pgd"
        "Ends a stream's own table, a bounded piece at a time; after the last the stream translates as one that nobody asked for.";
    0x32 SmmuMap "smmu_map" ("smmu", "stream", "iova: address of the device's", "pa: first frame", "order: 0 or 9", "prot: 1 read, 3 read and write") -> () states "any" kcore "smmu_lpae_map"
        "Maps frames of the host's in a stream's own table, and pins them until they are cleared. The page that interrupt messages are written to can be mapped too.";
    0x33 SmmuClear "smmu_clear" ("smmu", "stream", "iova", "order: 0 or 9, as it was mapped") -> () states "any" kcore "smmu_clear"
        "Unmaps a leaf of a stream's own table. When it returns no device reaches the frames by it, and they are unpinned.";
    0x34 SmmuIovaToPhys "smmu_iova_to_phys" ("smmu", "stream", "iova: any address") -> ("pa") states "any" kcore "smmu_lpae_iova_to_phys"
        "Translates an address by a stream's own table.";
    0x38 EncryptBuf "encrypt_buf" ("vm", "in_pa", "out_pa") -> () states "verified" kcore "encrypt_buf"
        "Encrypts a page of a VM for a snapshot. Not in this version.";
    0x39 DecryptBuf "decrypt_buf" ("vm", "pa", "len") -> () states "ready" kcore "decrypt_buf"
        "Decrypts a page of a snapshot into a VM. Not in this version.";
    0x3a SaveCryptVcpu "save_crypt_vcpu" ("vm", "vcpu", "out_pa") -> () states "verified" kcore "save_crypt_vcpu"
        "Encrypts a vCPU for a snapshot. Not in this version.";
    0x3b LoadCryptVcpu "load_crypt_vcpu" ("vm", "vcpu", "in_pa") -> () states "ready" kcore "load_crypt_vcpu"
        "Decrypts a vCPU of a snapshot. Not in this version.";
}

/// First function number of the range: fast, 64-bit, owner 6 (vendor hypervisor), DEN0028 table 2.
pub const FUNCTION_BASE: u32 = 0xc600_0100;

impl Call {
    /// What `x0` holds to make this call.
    pub const fn function_id(self) -> u32 {
        FUNCTION_BASE + self as u32
    }

    /// The call that `x0` names. Only the low 32 bits count (DEN0028 3.1), the rest must be zero.
    pub fn from_function_id(x0: u64) -> Option<Self> {
        let number = u32::try_from(x0).ok()?.checked_sub(FUNCTION_BASE)?;
        Self::from_number(number)
    }
}

/// Keys of [`Call::Info`].
pub mod info {
    /// Frames of a VM's table root, which is aligned to its size.
    pub const ROOT_FRAMES: u64 = 0;
    /// Bits of a VM's IPA space.
    pub const IPA_BITS: u64 = 1;
    /// VMs that can exist at once, limited by the VMID width and RAM.
    pub const MAX_VMS: u64 = 2;
    /// List registers of the virtual interrupt controller.
    pub const LIST_REGISTERS: u64 = 3;
    /// Free frames of the host's table pool.
    pub const HOST_POOL: u64 = 4;
    /// vCPUs a VM can have.
    pub const MAX_VCPUS: u64 = 5;
    /// Bits of an address in a stream's own table; 0 without an SMMU.
    pub const IOVA_BITS: u64 = 6;
    /// This, plus 8 times CRm (1 to 7), plus op2: what a guest reads on this CPU from the ID
    /// register `S3_0_C0_C<CRm>_<op2>`, if Ward answers it.
    pub const ID_REGISTERS: u64 = 0x100;
}

/// Keys of [`Call::StatRead`].
pub mod stat {
    /// Machine: frames of RAM under Ward's records.
    pub const FRAMES: u64 = 0;
    /// Machine: frames the host owns.
    pub const HOST_FRAMES: u64 = 1;
    /// Machine: frames Ward owns (its image, tables, records, pools).
    pub const HYP_FRAMES: u64 = 2;
    /// Machine: frames that protected VMs own.
    pub const VM_FRAMES: u64 = 3;
    /// Machine: host calls answered, refused ones included.
    pub const CALLS: u64 = 4;
    /// Machine: host calls refused.
    pub const REFUSED: u64 = 5;
    /// Machine: host aborts injected.
    pub const HOST_ABORTS: u64 = 6;
    /// Machine: 1 if an SMMU does not answer any more, so that no frame leaves the host.
    pub const DEVICE_LOST: u64 = 7;
    /// VM: state, see [`vm_state`](super::vm_state).
    pub const VM_STATE: u64 = 16;
    /// VM: frames of guest memory it owns or borrows.
    pub const VM_MAPPED: u64 = 17;
    /// VM: free frames in its table pool.
    pub const VM_POOL: u64 = 18;
    /// VM: exits to the host.
    pub const VM_EXITS: u64 = 19;
    /// VM: traps answered without the host.
    pub const VM_ANSWERED: u64 = 20;
    /// VM: pages it shares with the host now.
    pub const VM_SHARED: u64 = 21;
}

/// VM states as [`stat::VM_STATE`] numbers them (KCore's numbers).
pub mod vm_state {
    /// No such VM.
    pub const UNUSED: u64 = 0;
    /// Being built; a normal VM runs in this state.
    pub const READY: u64 = 2;
    /// Images verified; a protected VM runs in this state.
    pub const VERIFIED: u64 = 3;
    /// Powered off; memory can be reclaimed.
    pub const POWER_OFF: u64 = 4;
}

#[cfg(test)]
mod tests;

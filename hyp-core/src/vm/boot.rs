//! Calls by which a protected VM gets what its owner signed, and nothing else.
//!
//! The manifest is copied once into the VM's record and checked there. Image frames leave the
//! host *before* they are hashed, and are hashed at the very place where the guest will find
//! them: nobody can change them in between, and nothing is copied after the check.

use super::map::LeafRequest;
use super::{Boot, Power, State};
use crate::abi::Error;
use crate::abi::manifest::{Limits, Manifest};
use crate::addr::{Ipa, PAGE_SIZE, Pfn, Size};
use crate::lock::{Order, level};
use crate::machine::Machine;
use crate::verify::{self, Progress, Step};
use crate::ward::Ward;

/// Words of a manifest that one read moves: the copy is bounded and on the stack.
const MANIFEST_WORDS: usize = (PAGE_SIZE / 8) as usize;
/// Frames hashed in one call of [`Call::VmVerifyImages`](crate::abi::Call::VmVerifyImages),
/// the bound on how long it holds the VM's lock: 64 KiB.
pub const VERIFY_FRAMES: u64 = 16;

/// What a piece of verification left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verified {
    /// The VM is verified.
    All,
    /// Bytes still to hash.
    Left(u64),
}

impl<M: Machine> Ward<M> {
    /// [`Call::VmSetBootInfo`](crate::abi::Call::VmSetBootInfo).
    pub(crate) fn vm_set_boot_info(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        manifest_pa: u64,
        len: u64,
    ) -> Result<(), Error> {
        let frame = Pfn::from_host_pa(manifest_pa)?;
        if len == 0 || len > PAGE_SIZE {
            return Err(Error::InvalidArgument);
        }
        self.with_vm(order, vm, |vm, order| {
            vm.require_protected()?;
            vm.require(&[State::Ready])?;
            if vm.boot.is_some() && !cfg!(ward_without = "one-manifest") {
                return Err(Error::Exists);
            }
            let manifest = self.copy_manifest(order, frame, len as usize)?;
            let limits = Limits {
                ipa_bits: u32::from(self.config.geometry.ipa_bits()),
                max_vcpus: u32::from(vm.vcpus()),
            };
            manifest.check(&limits).map_err(|_| Error::BadManifest)?;
            if manifest.vcpus != u32::from(vm.vcpus()) {
                return Err(Error::BadManifest);
            }
            vm.boot = Some(Boot {
                manifest,
                progress: Progress::new(),
                pages: 0,
                verifying: false,
            });
            Ok(())
        })
    }

    /// Copies the manifest out of a host frame, once, and checks the copy.
    fn copy_manifest(
        &self,
        order: &mut Order<'_, level::Vm>,
        frame: Pfn,
        len: usize,
    ) -> Result<Manifest, Error> {
        let mut words = [0_u64; MANIFEST_WORDS];
        {
            // Under the lock, so that the frame is still the host's while it is read.
            let (memory, _) = self.memory.lock(order);
            memory.check_host_reads(frame)?;
            self.machine.read_host_words(frame, 0, &mut words);
        }
        let mut bytes = [0_u8; PAGE_SIZE as usize];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        verify::check_signature(&bytes[..len], self.config.keys).map_err(|refusal| {
            self.log_below(order, format_args!("manifest refused: {refusal}"));
            refusal.into()
        })
    }

    /// [`Call::VmRemapImage`](crate::abi::Call::VmRemapImage).
    pub(crate) fn vm_remap_image(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
        image: u64,
        page: u64,
        pa: u64,
        leaf_order: u64,
    ) -> Result<(), Error> {
        let size = Size::from_order(leaf_order)?;
        let frames = LeafRequest {
            ipa: Ipa::containing(0),
            size,
        }
        .frames(pa)?;
        self.with_vm(order, vm, |vm, order| {
            vm.require_protected()?;
            vm.require(&[State::Ready])?;
            let boot = vm.boot.as_ref().ok_or(Error::BadState)?;
            if boot.verifying {
                return Err(Error::BadState);
            }
            let index = usize::try_from(image).map_err(|_| Error::InvalidArgument)?;
            let pages = boot
                .manifest
                .image_pages(index)
                .ok_or(Error::InvalidArgument)?;
            let first = boot
                .manifest
                .image_page(index, page)
                .ok_or(Error::InvalidArgument)?;
            // A block never reaches past the image: it would pull in pages nobody signed
            // (kcore item 60).
            if size.frames() > pages - page {
                return Err(Error::InvalidArgument);
            }
            let leaf = LeafRequest::new(first.as_u64(), leaf_order)?;
            self.donate_leaf(order, vm, leaf, frames, |machine, frame| {
                machine.sync_frame(frame)
            })?;
            if let Some(boot) = &mut vm.boot {
                boot.pages += size.frames();
            }
            Ok(())
        })
    }

    /// [`Call::VmVerifyImages`](crate::abi::Call::VmVerifyImages).
    pub(crate) fn vm_verify_images(
        &self,
        order: &mut Order<'_, level::Top>,
        vm: u64,
    ) -> Result<Verified, Error> {
        self.with_vm(order, vm, |vm, order| {
            vm.require_protected()?;
            vm.require(&[State::Ready])?;
            let (id, stage2) = (vm.id, &vm.stage2);
            let boot = vm.boot.as_mut().ok_or(Error::BadState)?;
            let frame_of = |ipa| stage2.frame_of(&self.machine, ipa);
            // Every page of every image must be there before the first is hashed (kcore item 60).
            if boot.pages != boot.manifest.total_pages() {
                return Err(Error::BadState);
            }
            boot.verifying = true;
            match boot
                .progress
                .step(&self.machine, &boot.manifest, frame_of, VERIFY_FRAMES)
            {
                Ok(Step::Again { bytes_left }) => Ok(Verified::Left(bytes_left)),
                Ok(Step::Done) => {
                    vm.state = State::Verified;
                    let (entry, context) = (boot.manifest.entry, boot.manifest.boot_arg);
                    let version = boot.manifest.image_version;
                    if let Some((_, power)) = vm.slot_mut(0) {
                        *power = Power::Pending { entry, context };
                    }
                    self.log_below(
                        order,
                        format_args!("vm {}: verified, image version {version}", id.0),
                    );
                    Ok(Verified::All)
                }
                Err(refusal) => {
                    // What is in memory is not what was signed: the VM can only be destroyed.
                    vm.state = State::PowerOff;
                    self.log_below(order, format_args!("vm {}: {refusal}", id.0));
                    Err(refusal.into())
                }
            }
        })
    }
}

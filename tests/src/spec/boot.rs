//! Calls that give a protected VM what its owner signed.

use super::calls::{DONE, Outcome, again, frame, leaf_frames};
use super::{HOST_RESERVE, Life, Mapped, Owner, Power, Seen, Spec};
use ed25519_dalek::{Signature, VerifyingKey};
use hyp_core::abi::Error;
use hyp_core::abi::manifest::{Digest, Image, Limits, Manifest, SIGN_PREFIX, split_signature};
use sha2::{Digest as _, Sha256, Sha512};

/// Frames one piece of a verification hashes at most.
const PIECE: u64 = 16;

impl Spec {
    /// The first `len` bytes of a frame.
    fn bytes(&self, pfn: u64, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..512)
            .flat_map(|n| self.word(pfn, n).to_le_bytes())
            .collect();
        bytes.truncate(len);
        bytes
    }

    pub(super) fn vm_set_boot_info(
        &mut self,
        vm: u64,
        pa: u64,
        len: u64,
    ) -> Result<Outcome, Error> {
        let page = frame(pa)?;
        if len == 0 || len > 4096 || !self.vm(vm)?.protected {
            // An unknown VM is reported after a wrong length.
            return Err(Error::InvalidArgument);
        }
        if self.in_life(vm, &[Life::Ready])?.manifest.is_some() {
            return Err(Error::Exists);
        }
        if !self.is_ram(page) {
            return Err(Error::BadAddress);
        }
        if self.owners[&page] != Owner::Host {
            return Err(Error::Denied);
        }
        let bytes = self.bytes(page, len as usize);
        let manifest = Manifest::parse(&bytes).map_err(|_| Error::BadManifest)?;
        let (body, signature) = split_signature(&bytes).ok_or(Error::BadManifest)?;
        let signed = [SIGN_PREFIX, body].concat();
        if !self.setup.keys.contains(&manifest.key) {
            return Err(Error::UntrustedKey);
        }
        let key = VerifyingKey::from_bytes(&manifest.key).map_err(|_| Error::BadSignature)?;
        key.verify_strict(&signed, &Signature::from_bytes(signature))
            .map_err(|_| Error::BadSignature)?;
        let limits = Limits {
            ipa_bits: self.setup.ipa_bits,
            max_vcpus: 64,
        };
        let vcpus = self.vm(vm)?.vcpu_limit;
        if manifest.check(&limits).is_err() || u64::from(manifest.vcpus) != vcpus {
            return Err(Error::BadManifest);
        }
        self.vm(vm)?.manifest = Some(manifest);
        Ok(DONE)
    }

    pub(super) fn vm_remap_image(
        &mut self,
        vm: u64,
        image: u64,
        page: u64,
        pa: u64,
        order: u64,
        seen: &Seen<'_>,
    ) -> Result<Outcome, Error> {
        let frames = leaf_frames(order)?;
        let first = frame(pa)?;
        if first % frames != 0 {
            return Err(Error::BadAddress);
        }
        if !self.vm(vm)?.protected {
            return Err(Error::InvalidArgument);
        }
        let it = self.in_life(vm, &[Life::Ready])?;
        let manifest = it
            .manifest
            .as_ref()
            .filter(|_| !it.verifying)
            .ok_or(Error::BadState)?;
        let signed = manifest
            .images()
            .get(image as usize)
            .ok_or(Error::InvalidArgument)?;
        if page >= signed.pages() {
            return Err(Error::InvalidArgument);
        }
        let at = signed.ipa / 4096 + page;
        if frames > signed.pages() - page {
            return Err(Error::InvalidArgument);
        }
        if !at.is_multiple_of(frames) {
            return Err(Error::BadAddress);
        }
        self.enter(vm as u16, at, first, frames, seen)?;
        Ok(DONE)
    }

    /// Frames leave the host and become a protected VM's, at `page` and following.
    pub(super) fn enter(
        &mut self,
        vm: u16,
        page: u64,
        first: u64,
        frames: u64,
        seen: &Seen<'_>,
    ) -> Result<(), Error> {
        self.idle(first..first + frames)?;
        let it = &self.vms[&vm];
        if (page..page + frames).any(|at| it.maps.contains_key(&at) || it.guards.contains(&at)) {
            return Err(Error::Exists);
        }
        // A block needs an empty 2 MiB: `maps` and `guards` above said so.
        seen.room(3 - self.setup.start_level, HOST_RESERVE)?;
        self.devices_let_go()?;
        for n in 0..frames {
            self.own(first + n, Owner::Vm(vm, page + n, false));
            // The frame's contents were cleaned or zeroed all the way to memory.
            self.cached.remove(&(first + n));
            let mapped = Mapped {
                pfn: first + n,
                write: true,
                exec: true,
                device: false,
                combining: false,
                block: frames > 1,
            };
            if let Some(it) = self.vms.get_mut(&vm) {
                it.maps.insert(page + n, mapped);
            }
        }
        Ok(())
    }

    /// Does an image in the VM's memory have the signed digest? Its last page's tail is no part.
    fn image_good(&self, vm: u16, image: &Image) -> bool {
        let maps = &self.vms[&vm].maps;
        let mut bytes = Vec::new();
        for page in 0..image.pages() {
            bytes.extend(self.bytes(maps[&(image.ipa / 4096 + page)].pfn, 4096));
        }
        bytes.truncate(image.size as usize);
        match image.digest {
            Digest::Sha256(want) => Sha256::digest(&bytes).as_slice() == want,
            Digest::Sha512(want) => Sha512::digest(&bytes).as_slice() == want,
        }
    }

    pub(super) fn vm_verify_images(&mut self, vm: u64, seen: &Seen<'_>) -> Result<Outcome, Error> {
        if !self.vm(vm)?.protected {
            return Err(Error::InvalidArgument);
        }
        let it = self.in_life(vm, &[Life::Ready])?;
        let manifest = it.manifest.ok_or(Error::BadState)?;
        let pages = |image: &Image| image.ipa / 4096..image.ipa / 4096 + image.pages();
        if manifest
            .images()
            .iter()
            .flat_map(pages)
            .any(|page| !it.maps.contains_key(&page))
        {
            return Err(Error::BadState);
        }
        let total: u64 = manifest.images().iter().map(|image| image.size).sum();
        let before = if it.verifying { it.left } else { total };
        it.verifying = true;
        // How large a piece is, is Ward's choice within the bound; but it must get on.
        if seen.x[0] as i64 == hyp_core::abi::error::AGAIN {
            let left = seen.x[1];
            self.vm(vm)?.left = left;
            self.zero_tails(vm as u16, &manifest, false, seen);
            let fair = left > 0 && left < before && before - left <= PIECE * 4096;
            return Ok(again(fair.then_some(left)));
        }
        if !manifest
            .images()
            .iter()
            .all(|image| self.image_good(vm as u16, image))
        {
            self.zero_tails(vm as u16, &manifest, false, seen);
            self.vm(vm)?.life = Life::PowerOff;
            return Err(Error::BadDigest);
        }
        self.zero_tails(vm as u16, &manifest, true, seen);
        let it = self.vm(vm)?;
        it.life = Life::Verified;
        if let Some(first) = it.vcpus.get_mut(&0) {
            first.power = Power::Pending(manifest.entry, manifest.boot_arg);
        }
        if before > PIECE * 4096 {
            return Ok(again(None));
        }
        Ok(DONE)
    }

    /// The bytes behind each image become zero at some moment of the verification; at its end
    /// all of them are.
    fn zero_tails(&mut self, vm: u16, manifest: &Manifest, must: bool, seen: &Seen<'_>) {
        for image in manifest.images() {
            let (pages, tail) = (image.pages(), image.size as usize % 4096);
            let pfn = self.vms[&vm].maps[&(image.ipa / 4096 + pages - 1)].pfn;
            if tail == 0 {
                continue;
            }
            let mut bytes = self.bytes(pfn, 4096);
            bytes[tail..].fill(0);
            let words = bytes
                .chunks_exact(8)
                .map(|b| u64::from_le_bytes(b.try_into().unwrap_or([0; 8])));
            let zeroed: Vec<u64> = words.collect();
            if must || (0..512).all(|n| (seen.word)(pfn, n as u16) == zeroed[n]) {
                for (n, word) in zeroed.into_iter().enumerate() {
                    self.write(pfn, n as u16, word);
                }
            }
        }
    }
}

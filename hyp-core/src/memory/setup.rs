//! The records and the host's map as Ward leaves boot.

use super::dma::HostDma;
use super::streams::MAX_STREAMS;
use super::{Counts, FrameState, FrameWord, HOST_RAM, Memory, Range};
use crate::addr::{Ipa, Pfn, Size, VmId};
use crate::config::{BootError, Config};
use crate::machine::Machine;
use crate::stage2::{Pool, Stage2};

/// The frames from one to before another, none if they are the other way round.
fn between(first: Pfn, end: Pfn) -> Range {
    Range {
        first,
        frames: end.0.saturating_sub(first.0),
    }
}

/// Leaves, the largest first.
const SIZES: [Size; 3] = [Size::Block1G, Size::Block2M, Size::Page];

impl<M: Machine> Memory<M> {
    /// Records Ward's frames as Ward's and all other RAM as the host's, and maps the latter in
    /// the host's stage 2 with the largest leaves that alignment allows.
    ///
    /// `root` is the first of the root table's frames, zeroed; `pool` the frames for tables.
    /// Both lie in [`Config::hyp`].
    ///
    /// # Errors
    /// [`BootError`], when the pieces do not fit together.
    pub fn new(
        machine: &M,
        config: &Config,
        frames: M::Frames,
        root: Pfn,
        pool: Range,
    ) -> Result<Self, BootError> {
        if frames.len() as u64 != config.ram.frames() {
            return Err(BootError::Arrays);
        }
        let roots = Range {
            first: root,
            frames: config.geometry.root_frames(),
        };
        if !config.hyp.contains_all(roots) || !config.hyp.contains_all(pool) || roots.overlaps(pool)
        {
            return Err(BootError::Memory);
        }
        for &range in config.hyp.as_slice() {
            if !config.ram.contains_all(range) {
                return Err(BootError::Memory);
            }
        }
        let mut memory = Memory::<M> {
            counts: Counts {
                host: config.ram.frames(),
                hyp: 0,
                vm: 0,
            },
            ram: config.ram.clone(),
            hyp_devices: config.hyp_devices.clone(),
            frames,
            host: Stage2::new(VmId::HOST, root, config.geometry),
            pool: Pool::new(),
            dma: None,
            streams: [const { None }; MAX_STREAMS],
        };
        memory.frames.fill(FrameWord::HOST_IDLE);
        for range in config.hyp.as_slice() {
            for n in 0..range.frames {
                memory.set(range.first.add(n), FrameState::Hyp { for_vm: VmId::HOST });
            }
        }
        for n in 0..pool.frames {
            memory.pool.push(machine, pool.first.add(n));
        }
        let mut leaves = [0; SIZES.len()];
        for &range in config.ram.as_slice() {
            memory.map_range(machine, config, range, &mut leaves)?;
        }
        if let Some(dma) = &config.dma {
            memory.dma = Some(HostDma::new(machine, config, dma)?);
            for &range in config.ram.as_slice() {
                memory.dma_grant_all(machine, config, range);
            }
        }
        let [huge, large, small] = leaves;
        machine.console(format_args!(
            "the host's memory: {huge} x 1 GiB, {large} x 2 MiB, {small} x 4 KiB"
        ));
        Ok(memory)
    }

    /// Lets devices reach what of `range` is not Ward's.
    fn dma_grant_all(&mut self, machine: &M, config: &Config, range: Range) {
        let mut at = range.first;
        for hole in config.hyp.as_slice() {
            if range.overlaps(*hole) {
                self.dma_grant(machine, between(at, hole.first));
                at = hole.end();
            }
        }
        self.dma_grant(machine, between(at, range.end()));
    }

    /// Maps what of `range` is not Ward's, and counts the leaves, in the order of [`SIZES`].
    fn map_range(
        &mut self,
        machine: &M,
        config: &Config,
        range: Range,
        leaves: &mut [u64; SIZES.len()],
    ) -> Result<(), BootError> {
        let mut at = range.first;
        while at < range.end() {
            if let Some(hole) = config.hyp.as_slice().iter().find(|hole| hole.contains(at)) {
                at = hole.end();
                continue;
            }
            let fits = |size: Size| {
                let block = Range {
                    first: at,
                    frames: size.frames(),
                };
                at.0.is_multiple_of(size.frames())
                    && config.ram.contains_all(block)
                    && !config.hyp.overlaps(block)
            };
            let (size, count) = SIZES
                .into_iter()
                .zip(leaves.iter_mut())
                .find(|(size, _)| fits(*size))
                .expect("a page of RAM that is not Ward's fits itself");
            *count += 1;
            let ipa = Ipa::identity(at);
            if !config.geometry.contains(ipa, size) {
                return Err(BootError::Memory);
            }
            if self
                .host
                .can_map(machine, self.pool.len(), ipa, at, size)
                .is_err()
            {
                return Err(BootError::Pool);
            }
            self.host
                .map(machine, &mut self.pool, ipa, at, size, HOST_RAM);
            at = at.add(size.frames());
        }
        Ok(())
    }
}

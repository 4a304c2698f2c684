//! Frames leave the host: for Ward, or for a protected VM.

use super::{FrameState, Memory, Range};
use crate::abi::Error;
use crate::addr::{BLOCK_FRAMES, Ipa, PAGE_SIZE, Pfn, Size, VmId};
use crate::machine::Machine;
use crate::stage2::UnmapError;

/// Table pages that taking one range of up to 512 frames can need: it lies in two regions of
/// 2 MiB, each to be split from 1 GiB and then from 2 MiB. Nobody but
/// [`Call::HostDonate`](crate::abi::Call::HostDonate) may use the pool's last ones, so that a host
/// can always refill it.
const RANGE_TABLES: u64 = 4;
/// What a call that takes frames must find: registering a VM takes two ranges, and as much again
/// is left for host faults and frames that come back.
const TAKE_TABLES: u64 = 4 * RANGE_TABLES;

/// What frames are taken for, which decides how far down they may empty the host's pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    /// A VM: its record, tables, pool or memory.
    Vm,
    /// The host's pool itself.
    HostPool,
}

/// Whose taken frames become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Ward's, for this VM or ([`VmId::HOST`]) for itself.
    Hyp(VmId),
    /// This protected VM's, from this IPA on.
    Vm(VmId, Ipa),
}

impl Owner {
    /// The record of the `n`th frame of the range.
    fn state(self, n: u64) -> FrameState {
        match self {
            Owner::Hyp(for_vm) => FrameState::Hyp { for_vm },
            Owner::Vm(vm, first) => FrameState::Vm {
                vm,
                ipa: Ipa::containing(first.as_u64() + n * PAGE_SIZE),
                shared: false,
            },
        }
    }
}

impl<M: Machine> Memory<M> {
    /// May the host give the range away?
    ///
    /// # Errors
    /// [`Error::BadAddress`] unless all of it is RAM; [`Error::Denied`] if one frame is not an
    /// idle frame of the host's.
    pub fn check_take(&self, range: Range) -> Result<(), Error> {
        self.check_ram(range)?;
        for n in 0..range.frames {
            if self.ram_state(range.first.add(n))? != FrameState::HOST_IDLE {
                return Err(Error::Denied);
            }
        }
        Ok(())
    }

    /// Has the host's pool the tables that splitting its map can take? The last thing to check.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if not.
    pub fn check_tables(&self, purpose: For) -> Result<(), Error> {
        let needed = match purpose {
            For::Vm => TAKE_TABLES,
            For::HostPool => RANGE_TABLES,
        };
        if self.pool.len() < needed {
            Err(Error::NoMemory)
        } else {
            Ok(())
        }
    }

    /// Takes ranges from the host: out of its devices' reach, unmapped and invalidated, then
    /// recorded as the new owners'. All of them or none, after [`Memory::check_take`] and
    /// [`Memory::check_tables`] under the same lock.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], with nothing changed: a device may reach the frames for ever.
    pub fn take(&mut self, machine: &M, parts: &[(Range, Owner)]) -> Result<(), Error> {
        self.dma_take(machine, parts.iter().map(|(range, _)| *range))?;
        for &(range, owner) in parts {
            self.take_part(machine, range, owner);
        }
        Ok(())
    }

    fn take_part(&mut self, machine: &M, range: Range, owner: Owner) {
        if range.frames == BLOCK_FRAMES && range.first.0.is_multiple_of(BLOCK_FRAMES) {
            self.unmap_host(machine, range.first, Size::Block2M);
        } else {
            for n in 0..range.frames {
                self.unmap_host(machine, range.first.add(n), Size::Page);
            }
        }
        for n in 0..range.frames {
            self.set(range.first.add(n), owner.state(n));
        }
    }

    /// Removes what the host maps at these frames; a part that is not mapped stays so.
    pub(super) fn unmap_host(&mut self, machine: &M, first: Pfn, size: Size) {
        if cfg!(ward_without = "unmapping") {
            return;
        }
        let ipa = Ipa::identity(first);
        match self.host.can_unmap(machine, self.pool.len(), ipa, size) {
            Ok(_) => {
                self.host.unmap(machine, &mut self.pool, ipa, size);
            }
            // A frame that came back while the pool was empty waits for the host's next access.
            Err(UnmapError::NotMapped) => {}
            // Pages of the block are mapped apart.
            Err(UnmapError::Mixed) => {
                for n in 0..size.frames() {
                    self.unmap_host(machine, first.add(n), Size::Page);
                }
            }
            Err(error) => unreachable!("unmapping {first:?} from the host: {error:?}"),
        }
    }

    /// Table pages that mapping for the host may use.
    pub(super) fn spare_tables(&self) -> u64 {
        self.pool.len().saturating_sub(RANGE_TABLES)
    }

    /// Adds frames that were taken and zeroed to the pool of the host's tables.
    pub fn add_to_pool(&mut self, machine: &M, range: Range) {
        for n in 0..range.frames {
            self.pool.push_zeroed(machine, range.first.add(n));
        }
    }
}

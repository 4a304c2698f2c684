//! One SMMUv3, running: streams get entries, translations are forgotten, events are read.

use super::register;
use super::table::{self, Slot};
use super::{Capabilities, Command, CommandQueue, EventQueue, GlobalErrors, Hardware};
use super::{Placement, Polled, QueueError, Retired, StartError, Ste, StreamId, StreamTable, Vmid};
use super::{enable, invalidate};

/// The SMMU no longer does what it is told. It has been told to abort everything (which it may
/// not hear), but accesses that were under way may still end (6.3.9.6), and its caches are as
/// they were. So whoever gets this must not let a frame change its owner that one of the
/// SMMU's streams could reach, now or later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

/// Why a stream did not get its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError {
    /// The stream has no entry of its own yet: [`Smmu::separate`] first.
    Shared,
    /// The memory given is not aligned to [`StreamTable::PAGE_BYTES`], or out of the SMMU's reach.
    Page,
    /// There is no such stream.
    NoStream,
    /// See [`Lost`]. The stream may have its old entry, none or the new one.
    Lost,
}

impl From<Lost> for SetError {
    fn from(Lost: Lost) -> Self {
        SetError::Lost
    }
}

/// One SMMUv3 that Ward drives.
#[derive(Debug)]
pub struct Smmu {
    caps: Capabilities,
    streams: StreamTable,
    commands: CommandQueue,
    events: EventQueue,
    lost: bool,
}

impl Smmu {
    /// Takes the SMMU over; every stream then behaves as `default` says.
    ///
    /// # Errors
    /// [`StartError`]; unless it is `NoAnswer`, all streams abort.
    pub fn start<H: Hardware>(
        hw: &H,
        place: &Placement,
        default: &Ste,
    ) -> Result<Self, StartError> {
        let started = enable::start(hw, place, default);
        if started.is_err() {
            // Idempotent, and whatever was half enabled is off.
            enable::abort_all(hw)?;
        }
        let (caps, commands, events) = started?;
        Ok(Smmu {
            caps,
            streams: place.streams,
            commands,
            events,
            lost: false,
        })
    }

    /// What it can do.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.caps
    }

    /// It no longer does what it is told.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Is there an entry for the stream? All others abort.
    pub const fn has(&self, stream: StreamId) -> bool {
        self.streams.contains(stream)
    }

    /// Does the stream lack an entry of its own, so that [`Smmu::separate`] is needed?
    pub fn is_shared<H: Hardware>(&self, hw: &H, stream: StreamId) -> bool {
        self.streams.contains(stream)
            && matches!(self.streams.find(hw, stream), Slot::Shared { .. })
    }

    /// Gives the streams around `stream` entries of their own, in [`StreamTable::PAGE_BYTES`] of
    /// Ward's memory at `page`, aligned to that size. They mean what they meant. The page is the
    /// SMMU's from then on, whatever this returns but [`SetError::NoStream`] and
    /// [`SetError::Page`].
    ///
    /// # Errors
    /// [`SetError::NoStream`], [`SetError::Page`] or [`SetError::Lost`].
    pub fn separate<H: Hardware>(
        &mut self,
        hw: &H,
        stream: StreamId,
        page: u64,
    ) -> Result<(), SetError> {
        self.check(stream)?;
        if let Slot::Shared { descriptor } = self.streams.find(hw, stream) {
            if !table::is_page(page, &self.caps) {
                return Err(SetError::Page);
            }
            self.streams.separate(hw, descriptor, page);
            self.command(hw, Command::config_all())?;
            self.sync(hw)?;
        }
        Ok(())
    }

    /// Gives a stream its entry. Accesses abort while it changes; when this returns, none is
    /// under way that the old entry let through (3.21.3).
    ///
    /// # Errors
    /// [`SetError`].
    pub fn set<H: Hardware>(
        &mut self,
        hw: &H,
        stream: StreamId,
        entry: &Ste,
    ) -> Result<(), SetError> {
        self.check(stream)?;
        let Slot::Own(at) = self.streams.find(hw, stream) else {
            return Err(SetError::Shared);
        };
        let words = entry.encode();
        // Invalid, and known to be.
        hw.store(at, 0);
        self.refetch(hw, stream)?;
        if *entry == Ste::Invalid {
            return Ok(());
        }
        // Filled. What the SMMU kept of the words meanwhile is forgotten before they count.
        table::prepare(hw, at, &words);
        self.refetch(hw, stream)?;
        hw.store(at, words[0]);
        self.refetch(hw, stream)?;
        Ok(())
    }

    fn check(&self, stream: StreamId) -> Result<(), SetError> {
        if self.lost {
            return Err(SetError::Lost);
        }
        if self.streams.contains(stream) {
            Ok(())
        } else {
            Err(SetError::NoStream)
        }
    }

    fn refetch<H: Hardware>(&mut self, hw: &H, stream: StreamId) -> Result<(), Lost> {
        // The store is in memory before the command is told of, as every command's own words are.
        self.command(hw, Command::config(stream, true))?;
        self.sync(hw)
    }

    /// Asks that `pages` pages from `ipa` be forgotten. Done when [`Smmu::sync`] returns, one for
    /// many. The table no longer says it, and that is in memory (`TableMemory::publish`).
    ///
    /// # Errors
    /// [`Lost`].
    pub fn forget<H: Hardware>(
        &mut self,
        hw: &H,
        vmid: Vmid,
        ipa: u64,
        pages: u64,
    ) -> Result<(), Lost> {
        let with_range = self.caps.range;
        invalidate::range(with_range, vmid, ipa, pages, |command| {
            self.command(hw, command)
        })
    }

    /// Asks that all of a VMID be forgotten. Done when [`Smmu::sync`] returns.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn forget_all<H: Hardware>(&mut self, hw: &H, vmid: Vmid) -> Result<(), Lost> {
        self.command(hw, Command::all_of(vmid))
    }

    /// Ends the use of a VMID. No stream has an entry with it any more.
    ///
    /// # Errors
    /// [`Lost`]; the VMID must not be used again.
    pub fn retire<H: Hardware>(&mut self, hw: &H, vmid: Vmid) -> Result<Retired, Lost> {
        self.forget_all(hw, vmid)?;
        self.sync(hw)?;
        Ok(Retired(vmid))
    }

    fn command<H: Hardware>(&mut self, hw: &H, command: Command) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        let pushed = self.commands.push(hw, command);
        pushed.map_err(|_| self.lose(hw))
    }

    /// Waits until all that was asked for is done: no access that used what is forgotten is
    /// under way.
    ///
    /// If the SMMU refused a command, everything is forgotten instead; only if that fails too is
    /// it lost.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn sync<H: Hardware>(&mut self, hw: &H) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        match self.commands.sync(hw) {
            Ok(()) => Ok(()),
            Err(QueueError::Illegal(_)) => {
                let everything = [Command::config_all(), Command::all()];
                let pushed = everything
                    .into_iter()
                    .try_for_each(|command| self.commands.push(hw, command));
                pushed
                    .and_then(|()| self.commands.sync(hw))
                    .map_err(|_| self.lose(hw))
            }
            Err(_) => Err(self.lose(hw)),
        }
    }

    /// The next event or overflow. A lost SMMU may still tell something.
    pub fn event<H: Hardware>(&mut self, hw: &H) -> Option<Polled> {
        self.events.poll(hw)
    }

    /// Global errors since the last time. Service failure makes the SMMU lost; an event that could
    /// not be written takes all that wait with it (7.2.2).
    pub fn errors<H: Hardware>(&mut self, hw: &H) -> GlobalErrors {
        let errors = GlobalErrors::take(hw);
        if errors.service_failure() {
            self.lose(hw);
        }
        if errors.event_lost() {
            self.events.discard(hw);
        }
        errors
    }

    /// New accesses abort, if the SMMU hears it: `GBPA.ABORT` has been set since the start.
    fn lose<H: Hardware>(&mut self, hw: &H) -> Lost {
        self.lost = true;
        let enables = hw.read32(register::CR0) & !register::CR0_SMMUEN;
        // Whether it heard makes no difference to what the caller may do.
        let _ = enable::set_enables(hw, enables);
        Lost
    }
}

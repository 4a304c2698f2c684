//! The console's two directions.

use super::parent::ConsoleFiles;
use event_manager::{EventOps, Events, MutEventSubscriber};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use vmm_frontend::bus::{Shared, lock};
use vmm_frontend::devices::Pl011;
use vmm_frontend::terminal::{HELP, Keys, Wish};
use vmm_frontend::vm::{Board, Ending, Outcome, Stop};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

/// How soon to look again when the guest had no room, or when a file cannot be waited for.
const AGAIN: Duration = Duration::from_millis(20);
/// Bytes read at once.
const PIECE: usize = 1024;

/// Where the guest's output goes.
pub fn output(console: &ConsoleFiles) -> io::Result<Box<dyn Write + Send>> {
    Ok(match &console.output {
        // Not through `Stdout`, which waits for the end of a line.
        Some(file) => Box::new(File::from(file.try_clone()?)),
        None => Box::new(io::sink()),
    })
}

/// What the user types, on the device thread.
pub struct Input {
    file: File,
    /// Escapes are looked for: the file is a terminal.
    keys: Option<Keys>,
    console: Shared<Pl011>,
    power: EventFd,
    ending: Arc<Ending>,
    again: TimerFd,
    /// The file is waited for.
    watched: bool,
}

impl Input {
    pub fn new(
        file: &OwnedFd,
        terminal: bool,
        board: &Board,
        ending: Arc<Ending>,
    ) -> io::Result<Self> {
        Ok(Input {
            file: file.try_clone()?.into(),
            keys: terminal.then(Keys::default),
            console: board.console.clone(),
            power: board.power.try_clone()?,
            ending,
            again: TimerFd::new().map_err(|e| io::Error::from_raw_os_error(e.errno()))?,
            watched: false,
        })
    }

    /// Files and `/dev/null` cannot be waited for: they are looked at from time to time.
    fn watch(&mut self, ops: &mut EventOps) {
        self.watched = ops
            .add(Events::with_data(&self.file, 0, EventSet::IN))
            .is_ok();
        if !self.watched {
            self.later();
        }
    }

    fn unwatch(&mut self, ops: &mut EventOps) {
        if std::mem::take(&mut self.watched) {
            let _ = ops.remove(Events::with_data(&self.file, 0, EventSet::IN));
        }
    }

    fn later(&mut self) {
        if let Err(error) = self.again.reset(AGAIN, None) {
            log::error!("the console's input stops: {error}");
        }
    }

    fn take(&mut self, typed: &[u8]) {
        let mut guest = Vec::new();
        let wishes = match &mut self.keys {
            Some(keys) => keys.typed(typed, &mut guest),
            None => {
                guest.extend_from_slice(typed);
                Vec::new()
            }
        };
        lock(&self.console).input(&guest);
        for wish in wishes {
            match wish {
                Wish::Quit => self.ending.end(Outcome::Stopped(Stop::Console)),
                Wish::PowerButton => drop(self.power.write(1)),
                Wish::Help => eprintln!("\nward: {HELP}"),
            }
        }
    }
}

impl MutEventSubscriber for Input {
    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::with_data(&self.again, 1, EventSet::IN)) {
            log::error!("the console's input does not work: {error:?}");
        }
        self.watch(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        if events.data() == 1 {
            let _ = self.again.wait();
        }
        let room = lock(&self.console).room().min(PIECE);
        if room == 0 {
            self.unwatch(ops);
            self.later();
            return;
        }
        let mut piece = [0; PIECE];
        match self.file.read(&mut piece[..room]) {
            // Nothing will come any more.
            Ok(0) => self.unwatch(ops),
            Ok(read) => {
                self.take(&piece[..read]);
                if !self.watched {
                    self.watch(ops);
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => (),
                _ => self.unwatch(ops),
            },
        }
    }
}

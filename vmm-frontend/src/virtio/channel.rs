//! A running queue: takes requests, gives them back, tells the driver when it wants to know.

use super::request::{Malformed, Request};
use super::{ActiveQueue, Memory, Notifier, Progress};
use std::sync::Arc;
use virtio_queue::{Queue, QueueOwnedT, QueueT};

/// What one turn of a device may do before the others get theirs, in units of [`Served::cost`].
const TURN: usize = 8 << 20;
/// What a request costs besides its bytes: 512 of them are a turn.
const REQUEST: usize = 16 << 10;

/// The driver's ring is broken; nothing in it can be believed any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken;

/// How a request ended.
#[derive(Default)]
pub(crate) struct Served {
    /// Bytes that the device wrote.
    pub(crate) written: usize,
    /// Bytes that it moved.
    pub(crate) cost: usize,
}

/// What became of the next request.
enum Next {
    /// Served: its first descriptor.
    Done(u16, Served),
    /// Left in the queue.
    Unused,
    /// There is none.
    Empty,
}

/// A queue of an active device.
pub(crate) struct Channel {
    queue: Queue,
    memory: Memory,
    notifier: Arc<Notifier>,
    broken: bool,
}

impl Channel {
    /// A queue at its beginning.
    pub(crate) fn new(active: ActiveQueue, memory: &Memory, notifier: &Arc<Notifier>) -> Self {
        Channel {
            queue: active.queue,
            memory: memory.clone(),
            notifier: notifier.clone(),
            broken: false,
        }
    }

    /// Serves what waits, up to a limit. `serve` gets each request; a malformed one too, which it
    /// can only count.
    pub(crate) fn serve(
        &mut self,
        mut serve: impl FnMut(Result<Request<'_>, Malformed>) -> Served,
    ) -> Progress {
        self.serve_some(|request| Some(serve(request)))
    }

    /// Serves until `serve` has no use for a request. That one stays in the queue, and the driver
    /// need not notify for it: something else will call again.
    pub(crate) fn serve_some(
        &mut self,
        serve: impl FnMut(Result<Request<'_>, Malformed>) -> Option<Served>,
    ) -> Progress {
        if self.broken {
            return Progress::Done;
        }
        let progress = self.turn(serve);
        self.end(progress)
    }

    fn turn(
        &mut self,
        mut serve: impl FnMut(Result<Request<'_>, Malformed>) -> Option<Served>,
    ) -> Result<Progress, Broken> {
        let mut cost = 0;
        loop {
            self.quiet(true)?;
            while cost < TURN {
                match self.take(&mut serve)? {
                    Next::Done(head, served) => {
                        cost += served.cost.saturating_add(REQUEST);
                        self.give(head, served.written)?;
                    }
                    Next::Unused => return Ok(Progress::Done),
                    Next::Empty => break,
                }
            }
            if cost >= TURN {
                return Ok(Progress::More);
            }
            if !self.quiet(false)? {
                return Ok(Progress::Done);
            }
        }
    }

    /// Looks at the next request.
    fn take(
        &mut self,
        serve: &mut dyn FnMut(Result<Request<'_>, Malformed>) -> Option<Served>,
    ) -> Result<Next, Broken> {
        let memory = &self.memory;
        let Some(chain) = self.queue.iter(memory).map_err(|_| Broken)?.next() else {
            return Ok(Next::Empty);
        };
        let head = chain.head_index();
        if head >= self.queue.size() {
            return Err(Broken);
        }
        Ok(match serve(Request::new(chain, memory)) {
            Some(served) => Next::Done(head, served),
            None => {
                self.queue.go_to_previous_position();
                Next::Unused
            }
        })
    }

    fn give(&mut self, head: u16, written: usize) -> Result<(), Broken> {
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        let given = self.queue.add_used(&self.memory, head, written);
        given.map_err(|_| Broken)
    }

    /// Asks the driver not to notify, or to do so again; then says whether there is work already.
    fn quiet(&mut self, quiet: bool) -> Result<bool, Broken> {
        let changed = if quiet {
            let changed = self.queue.disable_notification(&self.memory);
            changed.map(|()| false)
        } else {
            self.queue.enable_notification(&self.memory)
        };
        changed.map_err(|_| Broken)
    }

    /// Tells the driver what was done.
    fn end(&mut self, progress: Result<Progress, Broken>) -> Progress {
        let notify = progress.and_then(|progress| {
            let notify = self.queue.needs_notification(&self.memory);
            Ok((progress, notify.map_err(|_| Broken)?))
        });
        match notify {
            Ok((progress, notify)) => {
                if notify {
                    self.notifier.queue();
                }
                progress
            }
            Err(Broken) => {
                self.broken = true;
                self.notifier.broken();
                Progress::Done
            }
        }
    }
}

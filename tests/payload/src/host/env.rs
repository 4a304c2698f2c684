//! What every test works with.

use super::calls;
use super::owner::Owner;
use super::text::Outcome;
use crate::rt::dt::{Board, Range};
use crate::rt::{pages, smp};
use hyp_core::abi::Call;
use hyp_core::abi::calls::info;

/// The machine, the guest's owner, and facts that Ward tells.
pub(crate) struct Env {
    /// The machine.
    pub(crate) board: Board,
    /// The guest's owner.
    pub(crate) owner: Owner,
    /// Frames of a VM's root table.
    pub(crate) root_frames: u64,
    /// A page of Ward's, found as a hole in RAM.
    pub(crate) ward: u64,
}

/// Counts of frames before a test.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    owners: [u64; 3],
    in_use: u32,
    host_pool: u64,
}

impl Env {
    /// Asks Ward and starts the other CPUs.
    pub(crate) fn new(board: Board) -> Self {
        // What the host's own tables may ever need for the window that tests give frames from:
        // one page for each 2 MiB of it, and those above.
        let _ = calls::host_call(Call::HostDonate, &[pages::take(96, 1), 96]);
        for index in 1..board.cpus {
            let result = smp::start(index, board.mpidr[index]);
            assert_eq!(result, 0, "PSCI CPU_ON of CPU {index}");
        }
        let owner = Owner::find(&board);
        Env {
            owner,
            root_frames: calls::info(info::ROOT_FRAMES),
            ward: ward_page(&board),
            board,
        }
    }

    /// CPUs, this one included.
    pub(crate) fn cpus(&self) -> usize {
        1 + super::others().count()
    }

    /// Who has how many frames.
    pub(crate) fn frames(&self) -> Counts {
        Counts {
            owners: calls::owners(),
            in_use: pages::in_use(),
            host_pool: calls::info(info::HOST_POOL),
        }
    }

    /// Every frame must be with whom it was.
    pub(crate) fn all_back(&self, before: Counts) -> Outcome {
        let now = self.frames();
        same!(
            now.in_use,
            before.in_use,
            "frames that the test holds at its end"
        );
        let host = |counts: &Counts| counts.owners[0];
        // What went to the host's table pool stays Ward's.
        let donated = now.owners[1] - before.owners[1].min(now.owners[1]);
        same!(
            host(&now) + donated,
            host(&before),
            "frames of the host after the test"
        );
        same!(
            now.owners[2],
            before.owners[2],
            "frames of VMs after the test"
        );
        ensure!(
            donated == 0 || now.host_pool != before.host_pool,
            "Ward kept {donated} frames"
        );
        Ok(())
    }
}

/// RAM that the device tree does not give the host: Ward's.
fn ward_page(board: &Board) -> u64 {
    let (base, end) = (board.ram_gib(), board.ram_end());
    let in_ram = |at: u64| board.ram.overlap(&Range::sized(at, 1));
    let hole = (base..end).step_by(1 << 16).find(|at| !in_ram(*at));
    hole.or_else(|| {
        board
            .reserved
            .get()
            .iter()
            .map(|range| range.start)
            .find(|at| *at >= base)
    })
    .unwrap_or(base)
}

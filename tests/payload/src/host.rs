//! The test host. Its boot arguments say what it does, in words:
//!
//! * `demo`: a readable story of one guest's life;
//! * `all`, or `suite=NAME` (see `suites`): named tests;
//! * `dma`: the attacks by DMA, for a machine with an SMMU and two `edu` devices; not in `all`;
//! * `only=NAME,NAME`: of these the tests with such a name;
//! * `soak` or `soak=ROUNDS`: create, run and destroy, over and over;
//! * `fuzz=CALLS,SEED`: random calls from every CPU;
//! * `bench`: counts, for QEMU with `-icount`;
//! * `signing-key=HEX`: the 32-byte Ed25519 seed of an owner whose guests Ward starts. With it the
//!   test host signs the variations that must be refused.
//!
//! The guest is the first boot module: a signed bundle, or the flat program, which is then signed
//! here.

#[macro_use]
mod text;
mod attack;
mod bench;
mod calls;
mod demo;
mod device;
mod dma;
mod env;
mod log;
mod owner;
mod run;
mod scan;
mod suites;
mod tally;
mod vm;

use crate::rt::console::{self, Console};
use crate::rt::{call, dt, gic, head, memory, mmu, pages, smp};
use env::Env;

/// Runs on the boot CPU with the address of the device tree.
///
/// # Panics
/// When the device tree does not describe a machine that the test host knows.
pub fn main(boot: u64) -> ! {
    let board = dt::read(boot);
    let is_ram = |gib| match &board {
        Some(board) => board.ram.overlap(&dt::Range::sized(gib, 1 << 30)),
        None => gib != 0,
    };
    mmu::enable(is_ram);
    let Some(board) = board else {
        panic!("no device tree at {boot:#x}")
    };
    call::set_psci_conduit(board.psci_smc);
    console::set(Console::Pl011(board.uart));
    let (start, end) = head::image_range();
    let free = board.free(dt::Range { start, end });
    let Some(largest) = free.get().iter().max_by_key(|range| range.size()) else {
        panic!("no free memory")
    };
    pages::init(*largest);
    gic::init_distributor(board.gicd, board.gicr);
    gic::init_cpu();
    let env = Env::new(board);
    suites::run_words(&env);
    call::system_off()
}

/// Reads a word that may be anyone's: what a test calls an attack.
fn is_zero(page: u64) -> bool {
    (0..512).all(|n| memory::peek(page + 8 * n) == 0)
}

/// CPUs that run and wait for work, beside this one.
fn others() -> impl Iterator<Item = usize> {
    (1..head::MAX_CPUS).filter(|cpu| smp::is_idle(*cpu))
}

//! Random calls from every CPU at once. Ward must answer each, and at the end every frame must be
//! accounted for and a guest must still run.

use crate::host::calls::machine;
use crate::host::env::Env;
use crate::host::others;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{MMIO, RAM, SPARE};
use crate::rt::{call, pages, smp};
use core::sync::atomic::{AtomicU64, Ordering};
use hyp_core::abi::Call;
use hyp_core::abi::calls::{CALLS, FUNCTION_BASE, info as key, stat};

/// The tests.
pub(super) const TESTS: &[Test] = &[test("random-calls-from-every-cpu", random)];

static COUNT: AtomicU64 = AtomicU64::new(20_000);
static SEED: AtomicU64 = AtomicU64::new(1);
/// Frames that the random calls may name.
const FRAMES: u64 = 64;
/// Frames that they may lose: a range of up to 513 may begin at any of them.
const REACH: u64 = FRAMES + 513;

/// Chooses how many calls each CPU makes, and the seed.
pub(super) fn set(count: u64, seed: u64) {
    COUNT.store(count, Ordering::Relaxed);
    SEED.store(seed, Ordering::Relaxed);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick(&mut self, from: &[u64]) -> u64 {
        from[self.below(from.len() as u64) as usize]
    }
}

fn random(env: &Env) -> Outcome {
    let frames = pages::take(REACH as usize, 1);
    println!(
        "fuzz: seed {}, {} calls on each CPU",
        SEED.load(Ordering::Relaxed),
        COUNT.load(Ordering::Relaxed)
    );
    on_all(env, frames);
    // Whatever was built is taken down; then every frame is the host's, but for those that went
    // to the pool of the host's own tables, from which none comes back.
    for vm in 1..crate::host::calls::info(key::MAX_VMS) {
        crate::host::calls::host_call(Call::VmPowerOff, &[vm]).ok();
        crate::host::calls::whole(Call::VmDestroy, &[vm]).ok();
    }
    same!(
        machine(stat::VM_FRAMES),
        0,
        "frames of VMs after all were destroyed"
    );
    let sum = machine(stat::HOST_FRAMES) + machine(stat::HYP_FRAMES);
    same!(sum, machine(stat::FRAMES), "frames of host and Ward");
    // What the host can use it can give away again: nothing is pinned or lent any more.
    let vm = Vm::protected(env)?;
    let mut lost = 0;
    for frame in (0..REACH).map(|n| frames + n * pages::PAGE) {
        if crate::rt::probe::write(frame, 1).is_err() {
            lost += 1;
            continue;
        }
        crate::host::calls::ok(Call::VmDonate, &[vm.id, frame, 1])?;
        vm.took_by_ward(frame);
    }
    vm.end()?;
    println!("fuzz: {lost} frames went to the pool of the host's tables");
    pages::write_off(lost as u32);
    Vm::verified(env)?.end()
}

/// All CPUs at once: each of them starts the next, then makes its calls.
fn on_all(env: &Env, frames: u64) {
    fn from(env: &Env, cpus: &[usize], frames: u64) {
        let work = || calls(env, frames);
        match cpus.split_first() {
            Some((cpu, rest)) => smp::while_on(*cpu, &work, || from(env, rest, frames)),
            None => work(),
        }
    }
    let mut list = [0; crate::rt::head::MAX_CPUS];
    let count = others()
        .zip(&mut list)
        .map(|(cpu, slot)| *slot = cpu)
        .count();
    from(env, &list[..count], frames);
}

fn calls(env: &Env, frames: u64) {
    let mut random = Random(SEED.load(Ordering::Relaxed) << 8 | smp::current() as u64);
    for _ in 0..COUNT.load(Ordering::Relaxed) {
        let info = CALLS[random.below(CALLS.len() as u64) as usize];
        let function = match random.below(20) {
            0 => random.next(),
            1 => u64::from(FUNCTION_BASE) + random.below(256),
            _ => u64::from(info.call.function_id()),
        };
        let mut words = [0; 8];
        words[0] = function;
        for word in &mut words[1..7] {
            *word = argument(env, frames, &mut random);
        }
        // A vCPU that runs for ever would end the test; none can be verified by chance, and a
        // normal one is not entered here.
        // What goes to the host's tables never comes back: seldom, lest nothing is left to try.
        if info.call == Call::HostDonate && random.below(64) != 0 {
            words[2] = 0;
        }
        if info.call == Call::VcpuRun {
            words[1] |= 1 << 20;
        }
        call::hvc(words);
    }
}

fn argument(env: &Env, frames: u64, random: &mut Random) -> u64 {
    match random.below(12) {
        0 => random.next(),
        1 => random.next() & 0x000f_ffff_ffff_f000,
        2 => random.pick(&[
            0,
            1,
            2,
            3,
            9,
            64,
            511,
            512,
            513,
            4096,
            u64::MAX,
            1 << 52,
            !0xfff,
        ]),
        3 => random.pick(&[
            env.ward,
            env.board.uart,
            env.board.gicd,
            env.board.ram.get()[0].start,
        ]),
        4 => random.pick(&[RAM, SPARE, MMIO]),
        5 => frames + random.below(FRAMES) * pages::PAGE + random.pick(&[0, 0, 0, 8]),
        6 | 7 => random.below(4),
        _ => frames + random.below(FRAMES) * pages::PAGE,
    }
}

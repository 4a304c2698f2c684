//! The interrupt controller as a bus master: it reads and writes tables in memory, wherever its
//! registers and commands say (IHI 0069, 5 and 12).

use super::{end, hiding, kept};
use crate::host::calls::refused;
use crate::host::env::Env;
use crate::host::others;
use crate::host::tally::{Test, smp_test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};
use crate::rt::{cpu, memory, pages, probe, smp, time};
use core::sync::atomic::{AtomicBool, Ordering};
use hyp_core::abi::{Call, Error};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("own-interrupt-tables-work", own_tables),
    test(
        "interrupt-tables-in-use-cannot-be-given-away",
        tables_in_use,
    ),
    test("its-device-table-in-a-guests-page", device_table),
    test("its-translation-table-in-a-guests-page", translation_table),
    test(
        "its-translation-table-up-to-a-guests-page",
        translation_table_end,
    ),
    test("its-indirect-table-to-a-guests-page", indirect_table),
    test("its-commands-in-a-guests-page", commands),
    smp_test("race-of-its-commands-with-their-check", command_race),
    test("pending-table-in-a-guests-page", pending_table),
    test("pending-table-up-to-a-guests-page", pending_table_end),
    test("configuration-table-in-a-guests-page", configuration_table),
];

const GITS_CTLR: u64 = 0;
const GITS_CBASER: u64 = 0x80;
const GITS_CWRITER: u64 = 0x88;
const GITS_CREADR: u64 = 0x90;
const GITS_BASER: u64 = 0x100;
const GICR_CTLR: u64 = 0;
const GICR_PROPBASER: u64 = 0x70;
const GICR_PENDBASER: u64 = 0x78;
const VALID: u64 = 1 << 63;
/// `GITS_BASERn.Indirect`.
const INDIRECT: u64 = 1 << 62;
/// `GITS_BASERn.Type`.
const DEVICES: u64 = 1;
/// See [`DEVICES`].
const COLLECTIONS: u64 = 4;
/// Interrupt numbers of 16 bits.
const ID_BITS: u64 = 15;
/// The device of the attacks, its event, and the interrupt that it is.
const DEVICE: u64 = 16;
const EVENT: u64 = 3;
const INTERRUPT: u64 = 8200;

/// Writes a register; one that is out of reach takes nothing.
fn write(at: u64, value: u64) {
    let _ = probe::write(at, value);
}

fn write32(at: u64, value: u64) {
    let _ = probe::write_sized(at, 4, value);
}

fn address(register: u64) -> u64 {
    register & 0x000f_ffff_ffff_f000
}

/// The translation service with tables in the host's pages.
struct Its {
    base: u64,
    /// Commands, devices, collections, translations.
    own: [u64; 4],
    sent: u64,
}

impl Its {
    /// Switched on, with this table of devices and these commands where they are given.
    fn start(env: &Env, devices: Option<u64>, commands: Option<u64>) -> Outcome<Its> {
        ensure!(env.board.its != 0, "no ITS in the device tree");
        let own = [(); 4].map(|()| pages::take_one());
        own.iter().for_each(|page| memory::fill(*page, 4096, 0));
        let its = Its {
            base: env.board.its,
            own,
            sent: 0,
        };
        write32(its.base + GITS_CTLR, 0);
        for register in (0..8).map(|n| its.base + GITS_BASER + 8 * n) {
            let kind = probe::read(register).unwrap_or(0) >> 56 & 7;
            let table = match kind {
                DEVICES => devices.unwrap_or(own[1]),
                COLLECTIONS => own[2],
                _ => continue,
            };
            write(register, VALID | table);
        }
        write(its.base + GITS_CBASER, VALID | commands.unwrap_or(own[0]));
        write(its.base + GITS_CWRITER, 0);
        write32(its.base + GITS_CTLR, 1);
        Ok(its)
    }

    /// Sends a command, and gives the service a moment to do it.
    fn send(&mut self, words: [u64; 3]) {
        for (n, word) in (0..).zip(words) {
            memory::poke(self.own[0] + self.sent + 8 * n, word);
        }
        self.sent = (self.sent + 32) % 4096;
        write(self.base + GITS_CWRITER, self.sent);
        let limit = time::now() + time::ticks_of_us(100_000);
        while self.read_to() != self.sent && time::now() < limit {
            core::hint::spin_loop();
        }
    }

    /// How far it read its commands.
    fn read_to(&self) -> u64 {
        probe::read(self.base + GITS_CREADR).unwrap_or(0) & 0xf_ffe0
    }

    /// A device whose events have one bit more than that.
    fn map_device(&mut self, table: u64, bits: u64) {
        self.send([0x08 | DEVICE << 32, bits, VALID | table]);
    }

    /// Collection 0 is the first CPU.
    fn map_collection(&mut self) {
        self.send([0x09, 0, VALID]);
    }

    fn map_event_only(&mut self, event: u64, interrupt: u64) {
        self.send([0x0a | DEVICE << 32, event | interrupt << 32, 0]);
    }

    fn map_event(&mut self, event: u64, interrupt: u64) {
        self.map_collection();
        self.map_event_only(event, interrupt);
    }

    fn raise(&mut self, event: u64) {
        self.send([0x03 | DEVICE << 32, event, 0]);
    }

    fn clear(&mut self, event: u64) {
        self.send([0x04 | DEVICE << 32, event, 0]);
    }

    /// Switched off, without any table.
    fn stop(mut self) {
        self.send([0x08 | DEVICE << 32, 0, 0]);
        write32(self.base + GITS_CTLR, 0);
        for register in (0..8).map(|n| self.base + GITS_BASER + 8 * n) {
            write(register, 0);
        }
        write(self.base + GITS_CBASER, 0);
        self.own.iter().for_each(|page| pages::give(*page, 1));
    }
}

/// Mapping a device writes its entry into the table of devices.
fn device_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let mut its = Its::start(env, Some(frame), None)?;
    its.map_device(its.own[3], 4);
    its.stop();
    kept(&vm)?;
    end(vm)
}

/// A table of tables says in memory where tables are.
fn indirect_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let first = pages::take_one();
    memory::fill(first, 4096, 0);
    memory::poke(first, VALID | frame);
    let mut its = Its::start(env, Some(INDIRECT | first), None)?;
    its.map_device(its.own[3], 4);
    its.stop();
    pages::give(first, 1);
    kept(&vm)?;
    end(vm)
}

/// A table begins in a page of the host's, and is longer.
fn translation_table_end(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let frames = pages::take(2, 1);
    vm.took_by_map(SPARE, frames + 4096)?;
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    let mut its = Its::start(env, None, None)?;
    its.map_device(frames, 9);
    its.map_event(400, INTERRUPT);
    its.stop();
    pages::give(frames, 1);
    kept(&vm)?;
    end(vm)
}

/// Mapping an event writes an entry into the device's table of translations.
fn translation_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let mut its = Its::start(env, None, None)?;
    its.map_device(frame, 4);
    its.map_event(EVENT, INTERRUPT);
    its.stop();
    kept(&vm)?;
    end(vm)
}

/// The service reads a guest's page as its commands: an oracle, and a guest that plays along makes
/// commands that nobody checks.
fn commands(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let mut its = Its::start(env, None, Some(frame))?;
    let register = probe::read(its.base + GITS_CBASER).unwrap_or(0);
    its.sent = 0;
    write(its.base + GITS_CWRITER, 32);
    let limit = time::now() + time::ticks_of_us(100_000);
    while its.read_to() == 0 && time::now() < limit {
        core::hint::spin_loop();
    }
    let read = its.read_to();
    its.stop();
    ensure!(
        read == 0 || register & VALID == 0 || address(register) != frame,
        "the ITS read commands in the guest's page {frame:#x}, up to {read:#x}"
    );
    kept(&vm)?;
    end(vm)
}

/// A guest with secrets in one page of sixteen that are aligned as a pending table is.
fn hiding_aligned(env: &Env, page: u64) -> Outcome<(Vm, u64)> {
    let vm = Vm::verified(env)?;
    let frames = pages::take(16, 16);
    vm.took_by_map(SPARE, frames + 4096 * page)?;
    pages::give(frames, page as usize);
    pages::give(frames + 4096 * (page + 1), 15 - page as usize);
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    Ok((vm, frames))
}

/// The tables of a redistributor.
struct Tables {
    frame: u64,
    own: u64,
}

impl Tables {
    /// Switched on with these tables, where they are given, and else with empty ones.
    fn start(env: &Env, configuration: Option<u64>, pending: Option<u64>) -> Tables {
        let own = pages::take(32, 16);
        memory::fill(own, 32 * 4096, 0);
        // Enabled, in the middle of the priorities.
        memory::poke(own + (INTERRUPT - 8192), 0xa1);
        let frame = env.board.gicr;
        write(
            frame + GICR_PROPBASER,
            configuration.unwrap_or(own) | ID_BITS,
        );
        write(frame + GICR_PENDBASER, pending.unwrap_or(own + 16 * 4096));
        write32(frame + GICR_CTLR, 1);
        Tables { frame, own }
    }

    fn is_on(&self) -> bool {
        probe::read_sized(self.frame + GICR_CTLR, 4).unwrap_or(0) & 1 != 0
    }

    fn stop(self) {
        write32(self.frame + GICR_CTLR, 0);
        write(self.frame + GICR_PENDBASER, 0);
        write(self.frame + GICR_PROPBASER, 0);
        pages::give(self.own, 32);
    }
}

/// With tables of the host's own all works: an interrupt comes.
fn own_tables(env: &Env) -> Outcome {
    let tables = Tables::start(env, None, None);
    ensure!(tables.is_on(), "message interrupts cannot be switched on");
    let mut its = Its::start(env, None, None)?;
    its.map_device(its.own[3], 4);
    its.map_event(EVENT, INTERRUPT);
    // No timer of an earlier test's comes first.
    write_sysreg!("cntp_ctl_el0", 0);
    write_sysreg!("cntv_ctl_el0", 0);
    cpu::take_interrupts();
    its.raise(EVENT);
    let limit = time::now() + time::frequency();
    while pending() != INTERRUPT && time::now() < limit {
        core::hint::spin_loop();
    }
    let found = pending();
    its.clear(EVENT);
    its.stop();
    tables.stop();
    same!(found, INTERRUPT, "the interrupt that is pending");
    Ok(())
}

/// The interrupt that this CPU would take next.
fn pending() -> u64 {
    cpu::isb();
    read_sysreg!("s3_0_c12_c12_2") // ICC_HPPIR1_EL1
}

/// An interrupt that becomes pending sets a bit in the pending table.
fn pending_table(env: &Env) -> Outcome {
    raise_into(env, 0, INTERRUPT)
}

/// The register names the first of several pages.
fn pending_table_end(env: &Env) -> Outcome {
    raise_into(env, 1, 40_008)
}

fn raise_into(env: &Env, page: u64, interrupt: u64) -> Outcome {
    let (vm, frames) = hiding_aligned(env, page)?;
    let tables = Tables::start(env, None, Some(frames));
    let mut its = Its::start(env, None, None)?;
    its.map_device(its.own[3], 4);
    its.map_event(EVENT, interrupt);
    its.raise(EVENT);
    its.stop();
    tables.stop();
    kept(&vm)?;
    end(vm)
}

/// The redistributor reads priorities in the configuration table. Nothing of that is to be seen in
/// memory: the register must not keep the address while it counts.
fn configuration_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let tables = Tables::start(env, Some(frame), None);
    let on = tables.is_on();
    let register = probe::read(tables.frame + GICR_PROPBASER).unwrap_or(0);
    tables.stop();
    ensure!(
        !on || address(register) != frame,
        "a redistributor reads its configuration in the guest's page {frame:#x}"
    );
    kept(&vm)?;
    end(vm)
}

/// What the interrupt controller uses is nobody's else as long as it does.
fn tables_in_use(env: &Env) -> Outcome {
    let vm = Vm::verified(env)?;
    let tables = Tables::start(env, None, None);
    let mut its = Its::start(env, None, None)?;
    its.map_device(its.own[3], 4);
    let pages = [tables.own, tables.own + 16 * 4096, its.own[3]];
    for (n, page) in (0..).zip(pages) {
        let ipa = SPARE + 4096 * n;
        refused(Call::VmMap, &[vm.id, ipa, page, 0, 3], Error::Denied)?;
    }
    let after = its.own[3];
    its.stop();
    tables.stop();
    // And then they are free.
    vm.took_by_map(SPARE, pages::take_this(after))?;
    vm.end()
}

/// Another CPU changes the commands while they are read and checked.
fn command_race(env: &Env) -> Outcome {
    let Some(cpu) = others().next() else {
        return Ok(());
    };
    let (vm, frame) = hiding(env)?;
    let mut its = Its::start(env, None, None)?;
    let (queue, own) = (its.own[0], its.own[3]);
    let stop = AtomicBool::new(false);
    let change = || {
        while !stop.load(Ordering::Relaxed) {
            for table in [own, frame] {
                // Every second command maps the device.
                (0..4096)
                    .step_by(64)
                    .for_each(|at| memory::poke(queue + at + 16, VALID | table));
            }
        }
    };
    let here = smp::while_on(cpu, &change, || {
        let limit = time::now() + 5 * time::frequency();
        let mut outcome = Ok(());
        its.send([0, 0, 0]);
        its.map_collection();
        while outcome.is_ok() && time::now() < limit {
            for _ in 0..16 {
                its.map_device(own, 4);
                its.map_event_only(EVENT, INTERRUPT);
            }
            outcome = kept(&vm);
        }
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    its.stop();
    here?;
    end(vm)
}

//! The interrupt controller as a bus master: it reads and writes tables in memory, wherever its
//! registers and commands say (IHI 0069, 5 and 12).

use super::{end, hiding, kept};
use crate::host::env::Env;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};
use crate::rt::{memory, pages, probe, time};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("its-device-table-in-a-guests-page", device_table),
    test("its-translation-table-in-a-guests-page", translation_table),
    test("its-commands-in-a-guests-page", commands),
    test("pending-table-in-a-guests-page", pending_table),
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
        self.sent += 32;
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

    fn map_device(&mut self, table: u64) {
        self.send([0x08 | DEVICE << 32, 4, VALID | table]);
    }

    fn map_event(&mut self) {
        // Collection 0 is the first CPU.
        self.send([0x09, 0, VALID]);
        self.send([0x0a | DEVICE << 32, EVENT | INTERRUPT << 32, 0]);
    }

    fn raise(&mut self) {
        self.send([0x03 | DEVICE << 32, EVENT, 0]);
    }

    /// Switched off, without any table.
    fn stop(self) {
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
    its.map_device(its.own[3]);
    its.stop();
    kept(&vm)?;
    end(vm)
}

/// Mapping an event writes an entry into the device's table of translations.
fn translation_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let mut its = Its::start(env, None, None)?;
    its.map_device(frame);
    its.map_event();
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

/// A guest with secrets in a page that is aligned as a pending table is.
fn hiding_aligned(env: &Env) -> Outcome<(Vm, u64)> {
    let vm = Vm::verified(env)?;
    let frames = pages::take(16, 16);
    vm.took_by_map(SPARE, frames)?;
    pages::give(frames + 4096, 15);
    same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
    Ok((vm, frames))
}

/// An interrupt that becomes pending sets a bit in the pending table.
fn pending_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding_aligned(env)?;
    let table = pages::take(16, 16);
    memory::fill(table, 16 * 4096, 0);
    let gicr = env.board.gicr;
    write(gicr + GICR_PROPBASER, table | ID_BITS);
    write(gicr + GICR_PENDBASER, frame);
    write32(gicr + GICR_CTLR, 1);
    let mut its = Its::start(env, None, None)?;
    its.map_device(its.own[3]);
    its.map_event();
    its.raise();
    its.stop();
    write32(gicr + GICR_CTLR, 0);
    write(gicr + GICR_PENDBASER, 0);
    write(gicr + GICR_PROPBASER, 0);
    pages::give(table, 16);
    kept(&vm)?;
    end(vm)
}

/// The redistributor reads priorities in the configuration table. Nothing of that is to be seen in
/// memory: the register must not keep the address while it counts.
fn configuration_table(env: &Env) -> Outcome {
    let (vm, frame) = hiding(env)?;
    let table = pages::take(16, 16);
    memory::fill(table, 16 * 4096, 0);
    let gicr = env.board.gicr;
    write(gicr + GICR_PROPBASER, frame | ID_BITS);
    write(gicr + GICR_PENDBASER, table);
    write32(gicr + GICR_CTLR, 1);
    let on = probe::read_sized(gicr + GICR_CTLR, 4).unwrap_or(0) & 1;
    let register = probe::read(gicr + GICR_PROPBASER).unwrap_or(0);
    write32(gicr + GICR_CTLR, 0);
    write(gicr + GICR_PENDBASER, 0);
    write(gicr + GICR_PROPBASER, 0);
    pages::give(table, 16);
    ensure!(
        on == 0 || address(register) != frame,
        "a redistributor reads its configuration in the guest's page {frame:#x}"
    );
    kept(&vm)?;
    end(vm)
}

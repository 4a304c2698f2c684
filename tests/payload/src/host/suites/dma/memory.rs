//! Whose memory a device reaches: its owner's, and no more.

use super::{end, hiding, kept, place, with_devices};
use crate::host::calls::{host_call, ok};
use crate::host::dma::ATTACK;
use crate::host::env::Env;
use crate::host::log::Log;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::host::{attack, is_zero};
use crate::protocol::{SPARE, mode};
use crate::rt::{memory, pages};
use hyp_core::abi::Call;

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("own-memory-works", own_memory),
    test("read-of-wards-memory", read_ward),
    test("write-to-wards-memory", write_ward),
    test("read-of-a-guests-page", read_guest),
    test("write-to-a-guests-page", write_guest),
    test("read-of-records-and-tables", read_tables),
    test("write-to-a-guests-table", write_table),
    test("stale-translation-after-donation", stale),
    test("stale-translation-after-donation-of-a-block", stale_block),
    test("neighbours-of-a-donated-page-work", neighbours),
    test("reclaimed-page-reads-zero-and-works", reclaimed),
    test("memory-of-a-guest-that-is-off", powered_off),
    test("lent-page-works", lent),
    test("shared-page-works", shared),
    test("unshared-page", unshared),
    test("device-memory", device_memory),
    test(
        "registers-of-the-interrupt-controller",
        interrupt_controller,
    ),
    test("registers-of-the-smmu-from-the-cpu", smmu_from_cpu),
    test("registers-of-the-smmu-by-dma", smmu_by_dma),
    test("beyond-memory", beyond),
    test("flood-of-refused-accesses", flood),
];

/// Without this the rest proves nothing.
fn own_memory(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let page = pages::take_one();
        for (n, dma) in (1..).zip(devices) {
            dma.poke(page + 64, ATTACK + n, 8)?;
            same!(memory::peek(page + 64), ATTACK + n, "written by DMA");
            memory::poke(page + 128, ATTACK - n);
            same!(dma.peek(page + 128, 8)?, Some(ATTACK - n), "read by DMA");
        }
        pages::give(page, 1);
        Ok(())
    })
}

/// Where an arm64 image says that it is one.
const MAGIC: u64 = 56;
/// A word of an image's header that says nothing.
const RESERVED: u64 = 32;

fn read_ward(env: &Env) -> Outcome {
    with_devices(env, |[one, two]| {
        one.must_not_read(env.ward + MAGIC, 8, "Ward's memory")?;
        two.must_not_read(env.ward + MAGIC, 8, "Ward's memory")?;
        one.must_not_read(env.ward + 0x1_0000, 8, "Ward's memory")
    })
}

fn write_ward(env: &Env) -> Outcome {
    with_devices(env, |[one, two]| {
        one.must_not_write(env.ward + RESERVED, 8, "Ward's memory")?;
        two.must_not_write(env.ward + RESERVED, 8, "Ward's memory")
    })
}

fn read_guest(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let (vm, frame) = hiding(env)?;
        for dma in devices {
            dma.must_not_read(frame + 8, 8, "the guest's page")?;
        }
        kept(&vm)?;
        end(vm)
    })
}

fn write_guest(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let (vm, frame) = hiding(env)?;
        for dma in devices {
            let log = Log::end();
            dma.poke(frame + 0x108, ATTACK, 8)?;
            kept(&vm)?;
            dma.must_be_told(log, "a write", frame, "the guest's page")?;
        }
        end(vm)
    })
}

fn read_tables(env: &Env) -> Outcome {
    with_devices(env, |[one, two]| {
        let (vm, _) = hiding(env)?;
        for (n, what) in ["the VM's record", "its root table", "its pool"]
            .iter()
            .enumerate()
        {
            let Some(frame) = vm.range_of_ward(n) else {
                fail!("no frame for {what}")
            };
            // The second GiB of the guest's addresses is what is mapped. Of one page and one device
            // the log tells once.
            one.must_not_read(frame, 8, what)?;
            two.must_not_read(frame + 8, 8, what)?;
        }
        end(vm)
    })
}

fn write_table(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let (vm, _) = hiding(env)?;
        let Some(root) = vm.range_of_ward(1) else {
            fail!("no root table")
        };
        // An entry of addresses that no guest has; bit 0 of what is written is 0: invalid.
        dma.must_not_write(root + 4088, 8, "the VM's root table")?;
        kept(&vm)?;
        end(vm)
    })
}

fn stale(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let vm = Vm::verified(env)?;
        let page = pages::take_one();
        for (n, dma) in (1..).zip(devices) {
            // The SMMU has the translation now.
            dma.poke(page + 8 * n, ATTACK, 8)?;
            same!(memory::peek(page + 8 * n), ATTACK, "written by DMA");
        }
        vm.took_by_map(SPARE, page)?;
        same!(vm.ask(mode::READ, SPARE + 8)?, 0, "what the guest reads");
        same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
        for dma in devices {
            let log = Log::end();
            dma.poke(page + 0x200, ATTACK, 8)?;
            kept(&vm)?;
            dma.must_be_told(log, "a write", page, "a page given to the guest")?;
            dma.must_not_read(page, 8, "a page given to the guest")?;
        }
        end(vm)
    })
}

fn stale_block(env: &Env) -> Outcome {
    with_devices(env, |[dma, other]| {
        let vm = Vm::verified(env)?;
        let block = pages::take(512, 512);
        pages::give(block, 512);
        for page in [block, block + 300 * 4096, block + 511 * 4096] {
            dma.poke(page + 8, ATTACK, 8)?;
            same!(memory::peek(page + 8), ATTACK, "written by DMA");
        }
        same!(vm.give(SPARE, 9)?, block, "the block that is given");
        same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
        for page in [block, block + 300 * 4096, block + 511 * 4096] {
            dma.must_not_reach(page + 8, 8, "a block given to the guest")?;
        }
        other.must_not_read(block + 8, 8, "a block given to the guest")?;
        kept(&vm)?;
        end(vm)?;
        dma.poke(block + 300 * 4096, ATTACK, 8)?;
        same!(memory::peek(block + 300 * 4096), ATTACK, "written by DMA");
        Ok(())
    })
}

fn neighbours(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let vm = Vm::verified(env)?;
        let frames = pages::take(3, 1);
        vm.took_by_map(SPARE, frames + 4096)?;
        same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
        for page in [frames, frames + 0x2000] {
            dma.poke(page + 16, ATTACK, 8)?;
            same!(memory::peek(page + 16), ATTACK, "written by DMA beside");
        }
        dma.must_not_read(frames + 4096, 8, "a page given to the guest")?;
        vm.end()?;
        pages::give(frames, 1);
        pages::give(frames + 0x2000, 1);
        Ok(())
    })
}

fn reclaimed(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let (vm, frame) = hiding(env)?;
        let Some(record) = vm.range_of_ward(0) else {
            fail!("no record")
        };
        end(vm)?;
        for page in [frame, record] {
            for dma in devices {
                same!(dma.peek(page + 8, 8)?, None, "a page that came back");
                dma.poke(page + 16, ATTACK, 8)?;
                same!(memory::peek(page + 16), ATTACK, "written by DMA");
                memory::poke(page + 16, 0);
            }
            ensure!(is_zero(page), "a page that came back is not zero");
        }
        Ok(())
    })
}

fn powered_off(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let (vm, frame) = hiding(env)?;
        vm.shut_down()?;
        dma.must_not_read(frame + 8, 8, "the memory of a guest that is off")?;
        // Given back by itself, before the VM is destroyed.
        same!(
            ok(Call::VmClearRange, &[vm.id, frame, 1])?,
            1,
            "frames returned"
        );
        ensure!(is_zero(frame), "a page that came back is not zero");
        dma.poke(frame, ATTACK, 8)?;
        same!(memory::peek(frame), ATTACK, "written by DMA");
        memory::poke(frame, 0);
        vm.destroy()
    })
}

/// What a normal VM borrows stays the host's.
fn lent(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let vm = Vm::register(env, 0)?;
        let page = pages::take_one();
        ok(Call::VmMap, &[vm.id, SPARE, page, 0, 3])?;
        dma.poke(page, ATTACK, 8)?;
        same!(memory::peek(page), ATTACK, "written by DMA");
        vm.end()?;
        dma.poke(page, ATTACK + 1, 8)?;
        same!(memory::peek(page), ATTACK + 1, "written by DMA");
        pages::give(page, 1);
        Ok(())
    })
}

fn shared(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let (vm, frame) = hiding(env)?;
        same!(vm.ask(mode::SHARE, SPARE)?, 0, "MEM_SHARE");
        for (n, dma) in (1..).zip(devices) {
            ensure!(
                dma.peek(frame + 8, 8)?.is_some(),
                "a shared page is not readable by DMA"
            );
            dma.poke(frame + 256 * n, ATTACK, 8)?;
            same!(
                vm.ask(mode::READ, SPARE + 256 * n)?,
                ATTACK,
                "what the guest reads"
            );
        }
        end(vm)
    })
}

fn unshared(env: &Env) -> Outcome {
    with_devices(env, |devices| {
        let (vm, frame) = hiding(env)?;
        for dma in devices {
            same!(vm.ask(mode::SHARE, SPARE)?, 0, "MEM_SHARE");
            ensure!(
                dma.peek(frame + 8, 8)?.is_some(),
                "a shared page is not readable by DMA"
            );
            same!(vm.ask(mode::UNSHARE, SPARE)?, 0, "MEM_UNSHARE");
            let log = Log::end();
            dma.poke(frame + 0x300, ATTACK, 8)?;
            kept(&vm)?;
            dma.must_be_told(log, "a write", frame, "a page shared no more")?;
            dma.must_not_read(frame + 8, 8, "a page shared no more")?;
        }
        end(vm)
    })
}

fn device_memory(env: &Env) -> Outcome {
    with_devices(env, |[one, two]| {
        // PrimeCell identification of the PL011; what the other device says it is.
        one.must_not_read(env.board.uart + 0xfe0, 4, "the UART")?;
        one.must_not_read(two.edu().registers(), 4, "another device")?;
        one.must_not_read(env.board.ecam, 4, "configuration space")
    })
}

fn interrupt_controller(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        // PIDR2 of each frame says which architecture it is; a priority of an interrupt that
        // nobody uses.
        let (gicd, gicr, its) = (env.board.gicd, env.board.gicr, env.board.its);
        let priority = gicd + 0x400 + 64;
        let before = memory::read_device32(priority);
        let log = Log::end();
        dma.poke(priority, 0xa0a0_a0a0, 4)?;
        same!(
            memory::read_device32(priority),
            before,
            "a priority of the distributor"
        );
        dma.must_be_told(log, "a write", priority, "the distributor")?;
        dma.must_not_read(gicd + 0xffe8, 4, "the distributor")?;
        dma.must_not_read(gicr + 0xffe8, 4, "a redistributor")?;
        if its != 0 {
            dma.must_not_read(its + 0xffe8, 4, "the ITS")?;
        }
        Ok(())
    })
}

fn smmu_from_cpu(_: &Env) -> Outcome {
    let pages = (place::SMMU..place::SMMU + place::SMMU_SIZE).step_by(4096);
    for page in pages {
        attack::must_abort(page, "a register of the SMMU")?;
    }
    attack::must_abort_everywhere(place::SMMU + 0x20, "a register of the SMMU")
}

fn smmu_by_dma(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        dma.must_not_read(place::SMMU, 4, "a register of the SMMU")?;
        // CR0: off would be bypass.
        let log = Log::end();
        dma.poke(place::SMMU + 0x20, 0, 4)?;
        dma.must_be_told(log, "a write", place::SMMU, "a register of the SMMU")?;
        dma.must_not_read(env.ward + MAGIC, 8, "Ward's memory")
    })
}

fn beyond(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        dma.must_not_reach(env.board.hole(), 8, "a hole")?;
        dma.must_not_read(1 << 40, 8, "an address beyond the CPU's")?;
        // More than the SMMU has: QEMU ends these without a record.
        for bit in [46, 51, 63] {
            let read = dma.peek(1 << bit, 8)?;
            same!(read, None, "read by DMA beyond all addresses");
        }
        Ok(())
    })
}

/// A thousand faults at once neither stop Ward nor hide the one that comes later.
fn flood(env: &Env) -> Outcome {
    with_devices(env, |[one, two]| {
        for _ in 0..3 {
            one.edu().start_write(env.board.hole(), 4096);
            two.edu().start_write(env.board.hole() + 4096, 4096);
            ensure!(
                one.edu().wait() && two.edu().wait(),
                "a transfer did not end"
            );
            ensure!(host_call(Call::Version, &[]).is_ok(), "version is refused");
        }
        let page = pages::take_one();
        two.poke(page, ATTACK, 8)?;
        same!(memory::peek(page), ATTACK, "written by DMA");
        pages::give(page, 1);
        // What is told in a time is limited, too.
        let limit = crate::rt::time::now() + 3 * crate::rt::time::frequency();
        while crate::rt::time::now() < limit {
            ensure!(host_call(Call::Version, &[]).is_ok(), "version is refused");
        }
        one.must_not_read(env.ward + MAGIC, 8, "Ward's memory")
    })
}

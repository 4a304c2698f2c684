//! Devices with a table of their own: they reach what the host mapped for them, and no more.

use super::{end, hiding, kept, with_devices};
use crate::host::calls::{ok, refused, refused_as, whole};
use crate::host::dma::{ATTACK, Dma};
use crate::host::env::Env;
use crate::host::log::Log;
use crate::host::tally::{Test, test};
use crate::host::text::Outcome;
use crate::host::vm::Vm;
use crate::protocol::{SPARE, mode};
use crate::rt::{memory, pages};
use hyp_core::abi::{Call, Error};

/// The tests.
pub(super) const TESTS: &[Test] = &[
    test("own-table-works", own_table),
    test("past-a-mapping", past),
    test("another-streams-addresses", another),
    test("read-only-mapping", read_only),
    test("stale-translation-after-clear", cleared),
    test("mapped-page-cannot-be-given-away", pinned),
    test("mapping-of-what-is-not-the-hosts", foreign),
    test("stream-given-back", given_back),
    test("streams-one-after-another", one_after_another),
];

/// An address that no memory has.
const IOVA: u64 = 0x2_0000_0000;
const READ: u64 = 1;
const READ_WRITE: u64 = 3;

fn stream(dma: &Dma) -> u64 {
    u64::from(dma.edu().stream)
}

fn map(dma: &Dma, iova: u64, page: u64, access: u64) -> Outcome {
    ok(Call::SmmuMap, &[0, stream(dma), iova, page, 0, access]).map(drop)
}

fn clear(dma: &Dma, iova: u64) -> Outcome {
    ok(Call::SmmuClear, &[0, stream(dma), iova, 0]).map(drop)
}

/// Takes the stream, with the page for the device's results at its own address.
fn take(dma: &Dma) -> Outcome {
    // What a test left that failed.
    whole(Call::SmmuFree, &[0, stream(dma)]).ok();
    ok(Call::SmmuAlloc, &[0, stream(dma), 0])?;
    map(dma, dma.page(), dma.page(), READ_WRITE)
}

/// Gives it back with all that is still mapped.
fn give(dma: &Dma) -> Outcome {
    give_stream(stream(dma))
}

fn give_stream(stream: u64) -> Outcome {
    match whole(Call::SmmuFree, &[0, stream]) {
        Ok(_) => Ok(()),
        Err(error) => fail!("smmu_free: {error:?}"),
    }
}

fn own_table(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let page = pages::take_one();
        take(dma)?;
        map(dma, IOVA, page, READ_WRITE)?;
        dma.poke(IOVA + 8, ATTACK, 8)?;
        same!(memory::peek(page + 8), ATTACK, "written by DMA");
        memory::poke(page + 16, ATTACK + 1);
        same!(dma.peek(IOVA + 16, 8)?, Some(ATTACK + 1), "read by DMA");
        same!(
            ok(Call::SmmuIovaToPhys, &[0, stream(dma), IOVA + 8])?,
            page + 8,
            "smmu_iova_to_phys"
        );
        give(dma)?;
        pages::give(page, 1);
        Ok(())
    })
}

fn past(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let pages = pages::take(2, 1);
        (0..2).for_each(|n| memory::poke(pages + 4096 * n, 0x686f_7374));
        take(dma)?;
        map(dma, IOVA, pages, READ_WRITE)?;
        for address in [IOVA + 4096, IOVA - 4096, pages, pages + 4096] {
            dma.must_not_reach(address, 8, "what is not mapped")?;
        }
        same!(memory::peek(pages), 0x686f_7374, "the page");
        same!(memory::peek(pages + 4096), 0x686f_7374, "the page behind");
        give(dma)?;
        pages::give(pages, 2);
        Ok(())
    })
}

fn another(env: &Env) -> Outcome {
    with_devices(env, |[one, two]| {
        let page = pages::take(2, 1);
        memory::poke(page, 0x686f_7374);
        take(one)?;
        map(one, IOVA, page, READ_WRITE)?;
        map(one, IOVA + 4096, page + 4096, READ_WRITE)?;
        // With the table of all that the host owns, and with one of its own.
        two.must_not_reach(IOVA, 8, "another stream's address")?;
        take(two)?;
        two.must_not_reach(IOVA + 4096, 8, "another stream's address")?;
        same!(memory::peek(page), 0x686f_7374, "the page");
        same!(one.peek(IOVA, 8)?, Some(0x686f_7374), "read by its owner");
        give(one)?;
        give(two)?;
        pages::give(page, 2);
        Ok(())
    })
}

fn read_only(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let page = pages::take_one();
        memory::poke(page, 0x686f_7374);
        take(dma)?;
        map(dma, IOVA, page, READ)?;
        // First: QEMU records no write that a translation refuses which it has cached.
        let log = Log::end();
        dma.poke(IOVA, ATTACK, 8)?;
        same!(memory::peek(page), 0x686f_7374, "a page mapped to be read");
        dma.must_be_told(log, "a write", IOVA, "a page mapped to be read")?;
        same!(dma.peek(IOVA, 8)?, Some(0x686f_7374), "read by DMA");
        dma.poke(IOVA, ATTACK, 8)?;
        same!(memory::peek(page), 0x686f_7374, "a page mapped to be read");
        give(dma)?;
        pages::give(page, 1);
        Ok(())
    })
}

fn cleared(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let page = pages::take_one();
        take(dma)?;
        map(dma, IOVA, page, READ_WRITE)?;
        // The SMMU has the translation now.
        dma.poke(IOVA, ATTACK, 8)?;
        same!(memory::peek(page), ATTACK, "written by DMA");
        clear(dma, IOVA)?;
        memory::poke(page, 0x686f_7374);
        dma.must_not_reach(IOVA, 8, "what was cleared")?;
        same!(memory::peek(page), 0x686f_7374, "the page");
        give(dma)?;
        pages::give(page, 1);
        Ok(())
    })
}

fn pinned(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let vm = Vm::verified(env)?;
        let page = pages::take_one();
        take(dma)?;
        map(dma, IOVA, page, READ_WRITE)?;
        dma.poke(IOVA, ATTACK, 8)?;
        refused(Call::VmMap, &[vm.id, SPARE, page, 0, 3], Error::Denied)?;
        refused(Call::VmDonate, &[vm.id, page, 1], Error::Denied)?;
        refused(Call::HostDonate, &[page, 1], Error::Denied)?;
        clear(dma, IOVA)?;
        vm.took_by_map(SPARE, page)?;
        same!(vm.ask(mode::HIDE, SPARE)?, 0, "secrets written");
        let log = Log::end();
        dma.poke(IOVA, ATTACK, 8)?;
        kept(&vm)?;
        dma.must_be_told(log, "a write", IOVA, "what was cleared")?;
        give(dma)?;
        end(vm)
    })
}

fn foreign(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let (vm, frame) = hiding(env)?;
        let Some(root) = vm.range_of_ward(1) else {
            fail!("no root table")
        };
        take(dma)?;
        let board = &env.board;
        let others = [frame, root, env.ward, board.gicd, board.uart, board.hole()];
        for (n, page) in (0..).zip(others) {
            let iova = IOVA + 4096 * n;
            refused_as(
                Call::SmmuMap,
                &[0, stream(dma), iova, page & !0xfff, 0, READ_WRITE],
                &[Error::Denied, Error::BadAddress],
            )?;
            dma.must_not_read(iova, 8, "what could not be mapped")?;
        }
        kept(&vm)?;
        give(dma)?;
        end(vm)
    })
}

/// A stream that was given back takes no room of the next one's.
fn one_after_another(_: &Env) -> Outcome {
    // No device has these; all are in one page of the stream table.
    for stream in 0x1000..0x1040 {
        ok(Call::SmmuAlloc, &[0, stream, 0])?;
        give_stream(stream)?;
    }
    Ok(())
}

/// It has the host's memory again, and nothing of its own table.
fn given_back(env: &Env) -> Outcome {
    with_devices(env, |[dma, _]| {
        let page = pages::take_one();
        take(dma)?;
        map(dma, IOVA, page, READ_WRITE)?;
        dma.poke(IOVA, ATTACK, 8)?;
        give(dma)?;
        dma.must_not_reach(IOVA, 8, "an address of a table that is gone")?;
        dma.poke(page, ATTACK + 1, 8)?;
        same!(memory::peek(page), ATTACK + 1, "written by DMA");
        refused(
            Call::SmmuMap,
            &[0, stream(dma), IOVA, page, 0, READ_WRITE],
            Error::BadState,
        )?;
        // And the page is free to be given.
        let vm = Vm::verified(env)?;
        vm.took_by_map(SPARE, page)?;
        dma.must_not_read(page, 8, "a page given to the guest")?;
        vm.end()
    })
}

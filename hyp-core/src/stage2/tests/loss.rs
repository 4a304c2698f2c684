//! The test memory notices what it is there for: each barrier and invalidation, lost on purpose,
//! turns the operation that needs it red.

use super::memory::Lose;
use super::{Fixture, G, K4, M2, RO, ipa};
use crate::addr::{Pfn, Size};
use crate::machine::TableMemory;
use crate::stage2::{Change, Note, Span};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn fixture() -> Fixture {
    let mut f = Fixture::new(48, 8).probing(&[0, K4, M2 - K4, M2, G, G + M2]);
    f.identity(G, Size::Block1G);
    f.fill(0, 0);
    f.table.set_note(&f.mem, &mut f.pool, ipa(3 * G), Note(1));
    f.mem.check();
    f
}

type Operation = (&'static str, fn(&mut Fixture));

const MAP: Operation = ("map", |f| f.identity(M2, Size::Page));
const UNMAP: Operation = ("unmap", |f| {
    f.unmap(0, Size::Page);
});
const SPLIT: Operation = ("split", |f| {
    f.unmap(G, Size::Page);
});
const PROTECT: Operation = ("protect", |f| f.protect(0, Size::Page, RO));
const RANGE: Operation = ("range", |f| {
    let span = Span {
        ipa: ipa(0),
        size: Size::Page,
        count: 512,
    };
    f.table
        .change(&f.mem, &mut f.pool, span, |_| Some(Change::Unmap));
});
const MERGE: Operation = ("merge", |f| {
    f.merge(0);
});
const AGE: Operation = ("age", |f| {
    f.table.take_accessed(&f.mem, ipa(0), Size::Block2M);
});
const TOUCH: Operation = ("touch", |f| {
    f.table.take_accessed(&f.mem, ipa(0), Size::Page);
    f.table.set_accessed(&f.mem, ipa(0));
});
const LAST: Operation = ("last of its table", |f| {
    f.identity(M2, Size::Page);
    f.unmap(M2, Size::Page);
});
const FREE: Operation = ("free", |f| {
    let lose = f.mem.lose.get();
    *f = Fixture::new(48, 8).probing(&[3 * G]);
    f.table.set_note(&f.mem, &mut f.pool, ipa(3 * G), Note(1));
    f.mem.check();
    f.mem.lose.set(lose);
    f.table.free_tables(&f.mem, &mut f.pool);
});

fn goes_red(lose: Lose, (name, operation): Operation) -> bool {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut f = fixture();
        f.mem.lose.set(lose);
        operation(&mut f);
        f.mem.check();
    }));
    std::println!(
        "{name}: {lose:?}: {}",
        if run.is_err() { "noticed" } else { "passed" }
    );
    run.is_err()
}

#[test]
fn nothing_lost_passes() {
    for operation in [
        MAP, UNMAP, SPLIT, PROTECT, RANGE, MERGE, AGE, TOUCH, LAST, FREE,
    ] {
        assert!(!goes_red(Lose::Nothing, operation), "{}", operation.0);
    }
}

#[test]
fn lost_publish() {
    for operation in [MAP, SPLIT, MERGE, TOUCH] {
        assert!(goes_red(Lose::Publish, operation), "{}", operation.0);
    }
}

#[test]
fn lost_invalidation_or_wrong_vmid() {
    for lose in [Lose::Invalidate, Lose::Vmid] {
        for operation in [UNMAP, SPLIT, PROTECT, RANGE, MERGE, AGE, LAST, FREE] {
            assert!(goes_red(lose, operation), "{}", operation.0);
        }
    }
}

#[test]
fn too_small_a_scope() {
    for operation in [MERGE, AGE, RANGE] {
        assert!(goes_red(Lose::Scope, operation), "{}", operation.0);
    }
}

#[test]
fn walks_not_invalidated() {
    for operation in [LAST, FREE] {
        assert!(goes_red(Lose::Walks, operation), "{}", operation.0);
    }
}

/// Whatever the code under test does, these are violations.
#[test]
fn violations_of_the_rules() {
    let violations: [fn(&Fixture); 4] = [
        // The root entry for the first 512 GiB, valid, becomes another valid one.
        |f| {
            f.mem
                .write_entry(Pfn(super::FIRST), 0, (super::FIRST + 20) << 12 | 3)
        },
        // A table in use is zeroed.
        |f| f.mem.zero_frame(Pfn(f.mem.raw(Pfn(super::FIRST), 0) >> 12)),
        // A page that nobody prepared is linked.
        |f| {
            f.mem
                .write_entry(Pfn(super::FIRST), 9, super::FIRST << 12 | 1 << 12 | 3)
        },
        // A descriptor that is reserved at its level.
        |f| {
            f.mem
                .write_entry(Pfn(super::FIRST), 9, 0x4000_0000_0000 | 1)
        },
    ];
    for (n, violation) in violations.into_iter().enumerate() {
        let f = fixture();
        assert!(
            catch_unwind(AssertUnwindSafe(|| violation(&f))).is_err(),
            "{n}"
        );
    }
}

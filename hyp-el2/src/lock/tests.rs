//! The lock under loom (every interleaving the C11 model allows) and under threads.

use super::TicketLock;

#[cfg(loom)]
mod model {
    use super::TicketLock;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// loom's cell inside the lock: two accesses that no acquire/release pair orders fail.
    #[test]
    fn holders_exclude_and_see_each_other() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let lock = Arc::new(TicketLock::new(UnsafeCell::new(0u32)));
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let lock = lock.clone();
                    thread::spawn(move || {
                        let guard = lock.lock();
                        guard.with_mut(|value| {
                            // SAFETY: loom checks that nobody else is in here.
                            unsafe { *value += 1 }
                        });
                    })
                })
                .collect();
            for other in others {
                other.join().unwrap();
            }
            let guard = lock.lock();
            let total = guard.with(|value| {
                // SAFETY: as above.
                unsafe { *value }
            });
            assert_eq!(total, 2);
        });
    }
}

#[cfg(not(loom))]
#[test]
fn counts_under_threads() {
    let lock = TicketLock::new(0u64);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    *lock.lock() += 1;
                }
            });
        }
    });
    assert_eq!(*lock.lock(), 4000);
}

#[cfg(not(loom))]
#[test]
fn tickets_wrap() {
    let lock = TicketLock::new(());
    lock.next
        .store(u32::MAX, core::sync::atomic::Ordering::Relaxed);
    lock.serving
        .store(u32::MAX, core::sync::atomic::Ordering::Relaxed);
    drop(lock.lock());
    drop(lock.lock());
    assert_eq!(lock.serving.load(core::sync::atomic::Ordering::Relaxed), 1);
}

//! One call, one host access or one run on both sides.

use super::check::record;
use super::{Inner, World};
use crate::fake::Sched;
use crate::spec::{Outcome, Owner, Seen};
use hyp_core::abi::Call;
use hyp_core::abi::Error;
use hyp_core::addr::{Ipa, Pfn};
use hyp_core::memory::{HostFault, HostFaultAction};

/// What Ward answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `x0..x7`.
    pub x: [u64; 8],
}

impl Answer {
    /// The error, if it was refused.
    pub fn error(&self) -> Option<Error> {
        Error::from_code(self.x[0] as i64)
    }
}

/// The pools before a call.
pub(super) struct Pools {
    host: u64,
    vms: Vec<u64>,
}

impl<S: Sched> World<S> {
    pub(super) fn pools(&self, max_vm: u64) -> Pools {
        let vm = |n| {
            self.ward
                .inspect_vm(n, |vm| vm.map_or(0, |vm| vm.pool.len()))
        };
        Pools {
            host: self.host_pool(),
            vms: (1..=max_vm).map(vm).collect(),
        }
    }

    /// Gives `look` what Ward did: the answer and the state after it.
    pub(super) fn seen<R>(
        &self,
        x: [u64; 8],
        vm: u64,
        before: &Pools,
        after: &Pools,
        stopped: Option<usize>,
        look: impl FnOnce(&Seen<'_>) -> R,
    ) -> R {
        let pool = |pools: &Pools| {
            (vm as usize)
                .checked_sub(1)
                .and_then(|n| pools.vms.get(n))
                .copied()
                .unwrap_or(0)
        };
        let owner = |pfn: u64| -> Option<Owner> {
            self.ward
                .inspect_memory(|memory| memory.state(Pfn(pfn)))
                .map(|state| record(state).0)
        };
        let word = |pfn: u64, index: u16| self.fake.state().ram.word(pfn, index.into());
        let streams = || {
            self.ward
                .inspect_memory(|memory| memory.stream_tables().count())
        };
        let mapped =
            |vm: u16, page: u64| self.fake.state().tables.leaf_at(vm, page << 12).is_some();
        look(&Seen {
            x,
            host_pool: before.host,
            vm_pool: pool(before),
            vm_pool_after: pool(after),
            stopped,
            streams: &streams,
            owner: &owner,
            word: &word,
            mapped: &mapped,
        })
    }

    /// A host call other than a run.
    ///
    /// # Errors
    /// What Ward did otherwise than specified.
    pub fn call(&self, call: Call, args: &[u64]) -> Result<Answer, String> {
        let mut a = [0; 6];
        a[..args.len()].copy_from_slice(args);
        if call == Call::VcpuRun {
            return self.run(a[0], a[1]);
        }
        let mut x = [
            call.function_id().into(),
            a[0],
            a[1],
            a[2],
            a[3],
            a[4],
            a[5],
            0,
        ];
        let mut inner = self.inner();
        let before = self.pools(inner.spec.setup.max_vm);
        inner.calls += 1;
        inner.note(format!("cpu {} {call:?} {:x?}", S::cpu(), &a[..args.len()]));
        let sent = x;
        self.ward.host_call(&mut x);
        if call != Call::LogRead && x[4..] != sent[4..] {
            return Err(format!(
                "x4 to x7 became {:x?}: they are the caller's",
                &x[4..]
            ));
        }
        let after = self.pools(inner.spec.setup.max_vm);
        let known = inner.spec.vms.keys().copied().collect::<Vec<_>>();
        let want = self.seen(x, a[0], &before, &after, None, |seen| {
            inner.spec.call(call, a, seen)
        });
        self.agree(&mut inner, call, x, want, &before)?;
        let refused = want.is_err() && want != Err(Error::BadDigest);
        // What an SMMU was told of when it was lost stays its own.
        let kept = matches!(call, Call::SmmuAlloc) && want == Err(Error::DeviceLost);
        let host = if kept { after.host } else { before.host };
        if refused && (host, &before.vms) != (after.host, &after.vms) {
            return Err("I9: refused, yet a pool changed".into());
        }
        self.regimes(&mut inner, &known)?;
        let full = inner.full();
        self.compare(&mut inner.spec, refused && !kept, full)?;
        Ok(Answer { x })
    }

    fn agree(
        &self,
        inner: &mut Inner,
        call: Call,
        x: [u64; 8],
        want: Result<Outcome, Error>,
        before: &Pools,
    ) -> Result<(), String> {
        let code = x[0] as i64;
        let name = Error::from_code(code).map_or(format!("{code}"), |error| format!("{error:?}"));
        *inner.tally.entry(format!("{call:?}: {name}")).or_default() += 1;
        let right = match want {
            Ok(outcome) => code == outcome.code && outcome.x1.is_none_or(|x1| x1 == x[1]),
            Err(error) => {
                // Which pool is to be filled: the host's first.
                let host = error == Error::NoMemory && before.host < crate::spec::HOST_RESERVE;
                code == error.code() && x[1..4] == [u64::from(host), 0, 0]
            }
        };
        if matches!(call, Call::Info | Call::LogRead | Call::StatRead) || right {
            return Ok(());
        }
        Err(format!(
            "{call:?} returned {name} ({:#x}), specified is {want:x?}",
            x[1]
        ))
    }

    /// The fake learns of new VMs' tables and forgets those of VMs that are gone.
    fn regimes(&self, inner: &mut Inner, known: &[u16]) -> Result<(), String> {
        for (vm, it) in &inner.spec.vms {
            if !known.contains(vm) {
                let regime = self
                    .fake
                    .state()
                    .tables
                    .regime(0)
                    .map(|host| crate::fake::Regime {
                        root: it.root,
                        ..host
                    });
                self.fake
                    .add_regime(*vm, regime.ok_or("the host has no table")?);
            }
        }
        for vm in known.iter().filter(|vm| !inner.spec.vms.contains_key(vm)) {
            inner.plans.remove(vm);
            let state = &mut *self.fake.state();
            state.programs.retain(|(owner, _), _| owner != vm);
            state.tables.retire(*vm);
        }
        Ok(())
    }

    /// The host loads or stores 8 bytes, with as many aborts taken to Ward as that needs.
    ///
    /// # Errors
    /// What Ward did otherwise than specified.
    pub fn host_access(&self, pa: u64, write: Option<u64>) -> Result<Option<u64>, String> {
        let mut inner = self.inner();
        let pool = self.host_pool();
        inner.note(format!(
            "cpu {} host access {pa:#x}, store {write:x?}",
            S::cpu(),
        ));
        let mut result = None;
        for _ in 0..4 {
            let access = match write {
                Some(value) => self.fake.host_write(pa, value).map(|()| value),
                None => self.fake.host_read(pa),
            };
            let fault = match access {
                Ok(value) => {
                    result = Some(value);
                    break;
                }
                Err(fault) => fault,
            };
            let fault = HostFault {
                ipa: Ipa::containing(pa),
                permission: fault.permission,
            };
            if self.ward.host_fault(fault) == HostFaultAction::Abort {
                break;
            }
        }
        let (pfn, index) = (pa >> 12, (pa >> 3 & 511) as u16);
        let spec = &mut inner.spec;
        let may = spec.host_may_access(pfn) && pa >> spec.setup.ipa_bits == 0;
        // What was never mapped before needs table pages.
        if result.is_some() != may && !(may && pool < 8) {
            return Err(format!(
                "the host's access to {pa:#x} gave {result:x?}, permitted is {may}"
            ));
        }
        match (result.filter(|_| may && spec.is_ram(pfn)), write) {
            (Some(_), Some(value)) => {
                spec.write(pfn, index, value);
                spec.cached.insert(pfn);
            }
            (Some(value), None) if value != spec.word(pfn, index) => {
                return Err(format!("the host reads {value:#x} at {pa:#x}"));
            }
            _ => {}
        }
        *inner
            .tally
            .entry(format!("host access: {}", result.is_some()))
            .or_default() += 1;
        let full = inner.full();
        self.compare(&mut inner.spec, false, full)?;
        Ok(result)
    }
}

impl Inner {
    /// A line for the report.
    pub(super) fn note(&mut self, line: String) {
        self.log.push(line);
        if self.log.len() > 400 {
            self.log.drain(..200);
        }
    }

    /// Is this a step at which everything is compared?
    pub(super) fn full(&mut self) -> bool {
        self.steps += 1;
        self.steps.is_multiple_of(self.full_every)
    }
}

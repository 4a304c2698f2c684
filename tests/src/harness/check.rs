//! Is Ward's state the specification's?

use super::World;
use super::invariants::{Scope, check};
use crate::fake::{Page, Ram, Sched, State, is_dma};
use crate::spec::{Life, Owner, Power, Spec};
use hyp_core::memory::FrameState;
use hyp_core::vm::State as VmState;
use std::collections::BTreeMap;

/// A frame's owner and uses, as Ward records them.
pub(super) fn record(state: FrameState) -> (Owner, (usize, usize)) {
    match state {
        FrameState::Host { pins, lent } => (Owner::Host, (pins.into(), lent.into())),
        FrameState::Hyp { for_vm } => (Owner::Ward(for_vm.0), (0, 0)),
        FrameState::Vm { vm, ipa, shared } => (Owner::Vm(vm.0, ipa.page_number(), shared), (0, 0)),
    }
}

/// The words of a frame as the specification has them.
fn page(spec: &Spec, pfn: u64) -> Page {
    let words = spec.words.get(&pfn).filter(|words| !words.is_empty())?;
    let mut page = Box::new([0; 512]);
    for (index, word) in words {
        page[usize::from(*index)] = *word;
    }
    Some(page)
}

/// I9 and I5, in contents: what changed is what the specification says changed.
fn contents(spec: &Spec, state: &State, journal: &BTreeMap<u64, Page>) -> Result<(), String> {
    for pfn in journal.keys() {
        if let Some(Owner::Ward(_)) = spec.owners.get(pfn) {
            continue;
        }
        let (have, want) = (&state.ram.frame(*pfn).data, page(spec, *pfn));
        if !Ram::same(have, &want) {
            let word = |page: &Page, n: usize| page.as_ref().map_or(0, |words| words[n]);
            let at = (0..512)
                .find(|n| word(have, *n) != word(&want, *n))
                .unwrap_or(0);
            return Err(format!(
                "frame {pfn:#x} ({:?}) word {at:#x} is {:#x}, not {:#x}",
                spec.owners.get(pfn),
                word(have, at),
                word(&want, at)
            ));
        }
    }
    Ok(())
}

impl<S: Sched> World<S> {
    /// Compares what a step touched, and now and then everything.
    ///
    /// # Errors
    /// The first difference or broken invariant.
    pub(super) fn compare(&self, spec: &mut Spec, refused: bool, full: bool) -> Result<(), String> {
        let touched = std::mem::take(&mut spec.touched);
        let (scope, journal) = {
            let state = &mut *self.fake.state();
            let journal = state.ram.take_journal();
            let changed = std::mem::take(&mut state.tables.changed);
            if refused && !changed.is_empty() {
                return Err(format!("I9: refused, yet leaves changed: {changed:x?}"));
            }
            if refused {
                let moved = journal
                    .iter()
                    .find(|(pfn, old)| !Ram::same(old, &state.ram.frame(**pfn).data));
                if let Some((pfn, _)) = moved {
                    return Err(format!("I9: refused, yet frame {pfn:#x} changed"));
                }
            }
            let scope = if full {
                Scope::all(spec, state)
            } else {
                let frames = touched.iter().copied().chain(journal.keys().copied());
                Scope {
                    frames: frames.collect(),
                    leaves: changed.into_iter().collect(),
                }
            };
            (scope, journal)
        };
        self.records(spec, &scope)?;
        self.vms(spec)?;
        let state = &mut *self.fake.state();
        if let Some(text) = state.violations.first() {
            return Err(format!("the machine: {text}"));
        }
        contents(spec, state, &journal)?;
        self.maps(spec, state, &scope)?;
        check(spec, state, &scope)
    }

    fn records(&self, spec: &Spec, scope: &Scope) -> Result<(), String> {
        self.ward.inspect_memory(|memory| {
            for pfn in &scope.frames {
                let have = memory.state(hyp_core::addr::Pfn(*pfn)).map(record);
                let want = spec.owners.get(pfn).map(|owner| (*owner, spec.uses(*pfn)));
                if have != want {
                    return Err(format!(
                        "frame {pfn:#x}: Ward says {have:x?}, the specification {want:x?}"
                    ));
                }
            }
            Ok(())
        })
    }

    fn vms(&self, spec: &Spec) -> Result<(), String> {
        for number in 1..=spec.setup.max_vm {
            let want = spec.vms.get(&(number as u16));
            self.ward.inspect_vm(number, |have| {
                let (have, want) = match (have, want) {
                    (None, None) => return Ok(()),
                    (Some(have), Some(want)) => (have, want),
                    (have, _) => {
                        return Err(format!("vm {number}: exists for Ward: {}", have.is_some()));
                    }
                };
                let life = match have.state {
                    VmState::Ready => Life::Ready,
                    VmState::Verified => Life::Verified,
                    VmState::PowerOff => Life::PowerOff,
                };
                let active = want.vcpus.values().any(|vcpu| vcpu.active);
                if (have.protected, life, have.any_active()) != (want.protected, want.life, active)
                {
                    return Err(format!(
                        "vm {number}: {life:?}, not {:?}; active {active}",
                        want.life
                    ));
                }
                for index in 0..want.vcpu_limit {
                    let power = have.power(index).map(|power| match power {
                        hyp_core::vm::Power::On => Power::On,
                        hyp_core::vm::Power::Off => Power::Off,
                        hyp_core::vm::Power::Pending { entry, context } => {
                            Power::Pending(entry, context)
                        }
                    });
                    if power != want.vcpus.get(&index).map(|vcpu| vcpu.power) {
                        return Err(format!("vm {number} vcpu {index}: power {power:?}"));
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The VMs' maps are the specification's, page for page.
    fn maps(&self, spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
        for (vm, ipa) in scope
            .leaves
            .iter()
            .filter(|(vm, _)| *vm != 0 && !is_dma(*vm))
        {
            let leaf = state.tables.leaves.get(&(*vm, *ipa));
            let want = spec.vms.get(vm).and_then(|it| it.maps.get(&(ipa >> 12)));
            let agree = match (leaf, want) {
                (None, None) => true,
                // Part of a larger leaf now, or of a table again: its pages are looked at below.
                (None, Some(_)) => state.tables.leaf_at(*vm, *ipa).is_some(),
                (Some(_), None) => false,
                (Some(leaf), Some(want)) => {
                    let perms = leaf.perms();
                    leaf.pfn == want.pfn
                        && (perms.write, perms.exec) == (want.write, want.exec)
                        && (perms.normal, perms.combining) == (!want.device, want.combining)
                }
            };
            if !agree {
                return Err(format!("vm {vm} at {ipa:#x}: {leaf:x?}, not {want:x?}"));
            }
        }
        Ok(())
    }
}

/// What test images check of themselves must hold too.
///
/// # Errors
/// What Ward finds broken.
pub fn ward_agrees<S: Sched>(world: &World<S>) -> Result<(), String> {
    let checked = world.ward.check_invariants();
    checked.map(drop).map_err(|broken| broken.to_string())
}

/// Compares everything there is, maps in both directions.
///
/// # Errors
/// The first difference.
pub fn compare_all<S: Sched>(world: &World<S>) -> Result<(), String> {
    let spec = &mut world.inner().spec;
    world.compare(spec, false, true)?;
    ward_agrees(world)?;
    let state = world.fake.state();
    for (key, it) in spec.streams.iter().filter(|(_, it)| !it.ended) {
        let regime = state.dma.streams[key].unwrap_or(0);
        for (page, reach) in &it.maps {
            let leaf = state.tables.leaf_at(regime, page << 12);
            let pfn = leaf.map(|leaf| leaf.pfn + (page & (leaf.frames() - 1)));
            if pfn != Some(reach.pfn) {
                return Err(format!(
                    "{key:x?} page {page:#x}: {leaf:x?}, not {reach:x?}"
                ));
            }
        }
    }
    for (vm, it) in &spec.vms {
        for (page, mapped) in &it.maps {
            let leaf = state.tables.leaf_at(*vm, page << 12);
            let pfn = leaf.map(|leaf| leaf.pfn + (page & (leaf.frames() - 1)));
            if pfn != Some(mapped.pfn) {
                return Err(format!(
                    "vm {vm} page {page:#x}: {leaf:x?}, not {mapped:x?}"
                ));
            }
        }
        for page in &it.guards {
            if !state.tables.notes.contains_key(&(*vm, page << 12, 3)) {
                return Err(format!("vm {vm}: guard of page {page:#x} is gone"));
            }
        }
        // Every frame of Ward's for this VM is record, root, vCPU, table or pool: none leaked.
        let hyp = spec
            .owners
            .values()
            .filter(|owner| **owner == Owner::Ward(*vm))
            .count() as u64;
        let tables = state.tables.tables_of(*vm).len() as u64 - spec.setup.root_frames;
        let used = it.frames_in_use(spec.setup.root_frames).len() as u64;
        let pool = world
            .ward
            .inspect_vm(u64::from(*vm), |vm| vm.map_or(0, |vm| vm.pool.len()));
        if hyp != tables + used + pool {
            return Err(format!(
                "vm {vm}: {hyp} frames, {tables} tables, {used} records, {pool} pool"
            ));
        }
    }
    Ok(())
}

/// A specification of what Ward's records say now, for runs whose outcome is not predicted: what
/// must hold of them is what must hold of any state.
///
/// # Errors
/// When records and tables disagree about loans, or frames of Ward's are lost.
pub fn spec_of<S: Sched>(world: &World<S>) -> Result<Spec, String> {
    let mut spec = Spec::new(world.inner().spec.setup.clone());
    let mut lent = BTreeMap::new();
    world.ward.inspect_memory(|memory| {
        for (pfn, owner) in &mut spec.owners {
            let Some((now, uses)) = memory.state(hyp_core::addr::Pfn(*pfn)).map(record) else {
                continue;
            };
            *owner = now;
            lent.insert(*pfn, uses.1);
        }
    });
    let state = world.fake.state();
    for number in 1..=spec.setup.max_vm {
        let id = number as u16;
        world.ward.inspect_vm(number, |vm| {
            let Some(vm) = vm else { return Ok(()) };
            let life = match vm.state {
                VmState::Ready => Life::Ready,
                VmState::Verified => Life::Verified,
                VmState::PowerOff => Life::PowerOff,
            };
            let hyp = spec
                .owners
                .values()
                .filter(|owner| **owner == Owner::Ward(id))
                .count() as u64;
            let slots = (0..u64::from(vm.vcpus()))
                .filter(|n| !matches!(vm.slot(*n), None | Some(hyp_core::vm::Slot::Empty)))
                .count() as u64;
            let tables = state.tables.tables_of(id).len() as u64;
            if hyp != 2 + tables + slots + vm.pool.len() {
                return Err(format!(
                    "vm {id}: {hyp} frames, {tables} tables, {slots} vCPUs, {} pool",
                    vm.pool.len()
                ));
            }
            let root = vm.stage2.root().root.0;
            let manifest = vm.boot.as_ref().map(|boot| boot.manifest);
            spec.vms.insert(
                id,
                crate::spec::Vm::bare(vm.protected, life, vm.record.0, root, manifest),
            );
            Ok(())
        })?;
        if spec.vms.get(&id).is_some_and(|vm| !vm.protected) {
            for ((_, ipa), leaf) in state.tables.leaves.range((id, 0)..=(id, u64::MAX)) {
                for n in (0..leaf.frames()).filter(|n| spec.owners.contains_key(&(leaf.pfn + n))) {
                    spec.loans.insert((leaf.pfn + n, id, (ipa >> 12) + n));
                }
            }
        }
    }
    for (pfn, count) in lent {
        if spec.uses(pfn).1 != count {
            return Err(format!(
                "frame {pfn:#x} is lent {count} times, mapped {}",
                spec.uses(pfn).1
            ));
        }
    }
    Ok(spec)
}

//! The invariants of the design, each a function that looks at the machine.
//!
//! They judge the fake's tables, TLBs and memory by the *specification's* owners; that Ward's own
//! records agree with those is for [`super::check`].

use crate::fake::{Fake, HOST_DMA, Leaf, Sched, State, is_dma};
use crate::spec::{Life, Owner, Spec};
use hyp_core::abi::manifest::Manifest;

/// What to look at: everything, or what a step touched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Frames.
    pub frames: Vec<u64>,
    /// Leaves by VM and IPA.
    pub leaves: Vec<(u16, u64)>,
}

impl Scope {
    /// Everything there is.
    pub fn all(spec: &Spec, state: &State) -> Self {
        Scope {
            frames: spec.owners.keys().copied().collect(),
            leaves: state.tables.leaves.keys().copied().collect(),
        }
    }
}

/// A check of one invariant.
pub type Check = fn(&Spec, &State, &Scope) -> Result<(), String>;

/// All that can be seen in one state. I9 compares two, see [`super::check`].
pub const INVARIANTS: &[(&str, Check)] = &[
    ("I1", i1),
    ("I2", i2),
    ("I3", i3),
    ("I4", i4),
    ("I5", i5),
    ("I6", i6),
    ("I7", i7),
];

fn leaves<'a>(state: &'a State, scope: &'a Scope) -> impl Iterator<Item = (u16, u64, Leaf)> + 'a {
    scope
        .leaves
        .iter()
        .filter_map(|key| Some((key.0, key.1, *state.tables.leaves.get(key)?)))
}

fn err(text: String) -> Result<(), String> {
    Err(text)
}

/// I1: Ward's memory is mapped by nobody.
fn i1(spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
    for pfn in &scope.frames {
        if let Some(Owner::Ward(_)) = spec.owners.get(pfn)
            && let Some((vm, ipa)) = state.tables.mappers(*pfn).first()
        {
            return err(format!(
                "Ward's frame {pfn:#x} mapped by vm {vm} at {ipa:#x}"
            ));
        }
    }
    Ok(())
}

/// I2: the host maps, one to one, what it owns, what is shared with it, and devices not Ward's.
fn i2(spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
    for (vm, ipa, leaf) in leaves(state, scope).filter(|(vm, ..)| *vm == 0) {
        if ipa >> 12 != leaf.pfn {
            return err(format!("the host maps {:#x} at {ipa:#x}", leaf.pfn));
        }
        for pfn in leaf.pfn..leaf.pfn + leaf.frames() {
            if !spec.host_may_access(pfn) {
                return err(format!(
                    "vm {vm} (host) maps {pfn:#x} of {:?}",
                    spec.owners.get(&pfn)
                ));
            }
            if spec.is_ram(pfn) != leaf.perms().normal {
                return err(format!("the host maps {pfn:#x} with the wrong memory type"));
            }
        }
    }
    for pfn in &scope.frames {
        let host = state.tables.leaf_at(0, pfn << 12).is_some();
        if host && !spec.host_may_access(*pfn) {
            return err(format!(
                "the host maps {pfn:#x} of {:?}",
                spec.owners.get(pfn)
            ));
        }
    }
    Ok(())
}

/// I3: a protected VM maps RAM that it owns, where the record says; a normal one what it borrows.
fn i3(spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
    for (vm, ipa, leaf) in leaves(state, scope).filter(|(vm, ..)| *vm != 0 && !is_dma(*vm)) {
        let Some(it) = spec.vms.get(&vm) else {
            return err(format!("vm {vm} is none and maps {ipa:#x}"));
        };
        for n in 0..leaf.frames() {
            let (page, pfn) = ((ipa >> 12) + n, leaf.pfn + n);
            let right = match spec.owners.get(&pfn) {
                Some(Owner::Vm(owner, at, _)) => it.protected && *owner == vm && *at == page,
                Some(Owner::Host) => !it.protected && spec.loans.contains(&(pfn, vm, page)),
                Some(Owner::Ward(_)) => false,
                None => {
                    let signed = |m: &Manifest| m.mmio_contains(page << 12, 4096);
                    let may = !it.protected || it.manifest.as_ref().is_some_and(signed);
                    may && spec.is_free_device(pfn) && !leaf.perms().normal && !leaf.perms().exec
                }
            };
            if !right {
                return err(format!(
                    "vm {vm} maps {pfn:#x} of {:?} at page {page:#x}",
                    spec.owners.get(&pfn)
                ));
            }
        }
    }
    Ok(())
}

/// I4: the host's devices reach what the host may access of RAM, at its physical address, and the
/// doorbells; nothing else, and nothing less. What an SMMU may still have in its TLB is no more.
fn i4(spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
    for (_, ipa, leaf) in leaves(state, scope).filter(|(vm, ..)| *vm == HOST_DMA) {
        if ipa >> 12 != leaf.pfn || leaf.level != 3 {
            return err(format!("devices reach {:#x} at {ipa:#x}", leaf.pfn));
        }
        if !spec.device_may_access(leaf.pfn) || spec.is_ram(leaf.pfn) != leaf.perms().normal {
            return err(format!(
                "devices reach {:#x} of {:?}",
                leaf.pfn,
                spec.owners.get(&leaf.pfn)
            ));
        }
    }
    for (regime, ipa, leaf) in leaves(state, scope).filter(|(vm, ..)| *vm > HOST_DMA) {
        let led = state
            .dma
            .streams
            .iter()
            .find(|(_, to)| **to == Some(regime));
        let own = led.and_then(|(key, _)| spec.streams.get(key));
        for n in 0..leaf.frames() {
            let reach = own.and_then(|own| own.maps.get(&((ipa >> 12) + n)));
            let right = reach.is_some_and(|reach| {
                let perms = leaf.perms();
                (reach.pfn, reach.write) == (leaf.pfn + n, perms.write)
                    && spec.is_ram(reach.pfn) == perms.normal
                    && (spec.owners.get(&reach.pfn) == Some(&Owner::Host)
                        || spec.setup.doorbells.contains(&reach.pfn))
            });
            if !right {
                return err(format!(
                    "a device reaches {:#x} at {ipa:#x}, not {reach:x?}",
                    leaf.pfn + n
                ));
            }
        }
    }
    for pfn in scope.frames.iter().filter(|pfn| spec.is_ram(**pfn)) {
        let reached = state.tables.leaf_at(HOST_DMA, pfn << 12).is_some();
        if reached != spec.device_may_access(*pfn) {
            return err(format!(
                "devices reach {pfn:#x} of {:?}: {reached}",
                spec.owners.get(pfn)
            ));
        }
    }
    let cached = state.dma.tlb.leaves.iter();
    let cached = cached.map(|((_, _, ipa), entry)| (crate::fake::output_of(*entry), *ipa));
    for (pfn, iova) in cached.chain(state.tables.lingering_dma()) {
        if !spec.device_may_access(pfn) {
            return err(format!(
                "the SMMUs may have {pfn:#x} of {:?} at {iova:#x}",
                spec.owners.get(&pfn)
            ));
        }
    }
    Ok(())
}

/// I5: a frame of the host's is in no protected VM's map and no TLB; that it was zeroed on the
/// way is seen by its contents, and that this came last by the fake.
fn i5(spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
    for pfn in &scope.frames {
        if spec.owners.get(pfn) != Some(&Owner::Host) {
            continue;
        }
        for (vm, ipa) in state.tables.mappers(*pfn) {
            let lent = spec.loans.contains(&(*pfn, vm, ipa >> 12));
            if vm != 0 && !is_dma(vm) && !lent {
                return err(format!(
                    "the host's {pfn:#x} is still mapped by vm {vm} at {ipa:#x}"
                ));
            }
        }
    }
    Ok(())
}

/// I6: no TLB, the SMMUs' after the CPUs', and no walk cache holds what the tables do not say, and nothing waits to be
/// invalidated or published.
fn i6(_spec: &Spec, state: &State, _scope: &Scope) -> Result<(), String> {
    if let Some(text) = state.tables.unfinished(state.dma.lost).first() {
        return err(text.clone());
    }
    let cpus = state.cpus.iter().map(|it| &it.tlb);
    let smmus = (!state.dma.lost).then_some(&state.dma.tlb);
    for (cpu, tlb) in cpus.chain(smmus).enumerate() {
        for ((vm, level, ipa), entry) in &tlb.leaves {
            let Some(leaf) = state.tables.leaves.get(&(*vm, *ipa)) else {
                return err(format!(
                    "cpu {cpu}: TLB of vm {vm} maps {ipa:#x}, no table does"
                ));
            };
            let cached = Leaf {
                entry: *entry,
                ..*leaf
            };
            let same = leaf.level == *level && crate::fake::output_of(*entry) == leaf.pfn;
            if !same || !cached.perms().within(leaf.perms()) {
                return err(format!(
                    "cpu {cpu}: TLB of vm {vm} has {entry:#x} at {ipa:#x}, table {:#x}",
                    leaf.entry
                ));
            }
        }
        for ((vm, level, ipa), table) in &tlb.walks {
            let live = state.tables.live_table(*table);
            if live.is_none_or(|(owner, at, base)| (owner, at) != (*vm, *level) || base != *ipa) {
                return err(format!(
                    "cpu {cpu}: walk cache of vm {vm} goes to {table:#x} for {ipa:#x}"
                ));
            }
        }
    }
    Ok(())
}

/// I7: what is loaded on a CPU is a vCPU that may run: of a verified VM if protected, or of one
/// that was powered off meanwhile.
fn i7(spec: &Spec, state: &State, _scope: &Scope) -> Result<(), String> {
    for (cpu, it) in state.cpus.iter().enumerate() {
        let Some(loaded) = &it.loaded else { continue };
        let vm = loaded.params.stage2.vm.0;
        let life = spec.vms.get(&vm).map(|it| (it.protected, it.life));
        let right = match life {
            Some((true, life)) => life != Life::Ready && loaded.params.protected,
            Some((false, life)) => life != Life::Verified && !loaded.params.protected,
            None => false,
        };
        if !right {
            return err(format!("cpu {cpu} runs vm {vm}, which is {life:?}"));
        }
    }
    Ok(())
}

/// All of them over all of the machine.
///
/// # Errors
/// The first that does not hold, by name.
pub fn check_all<S: Sched>(spec: &Spec, fake: &Fake<S>) -> Result<(), String> {
    let state = fake.state();
    let scope = Scope::all(spec, &state);
    check(spec, &state, &scope)
}

/// All of them over a part.
///
/// # Errors
/// As [`check_all`].
pub fn check(spec: &Spec, state: &State, scope: &Scope) -> Result<(), String> {
    for (name, invariant) in INVARIANTS {
        invariant(spec, state, scope).map_err(|text| format!("{name}: {text}"))?;
    }
    Ok(())
}

//! What to do next: mostly something that gets a VM further, sometimes anything at all.

use super::images::{Content, Plan};
use super::{DOORBELL, HYP_DEVICE, Inner, Rng, free_device};
use crate::fake::STREAMS;
use crate::spec::{Life, Owner, Spec};
use hyp_core::abi::Call;
use hyp_core::abi::calls::CALLS;
use hyp_core::dma::StreamKey;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Action {
    /// A host call.
    Call(Call, Vec<u64>),
    /// The same with frames that the host fills first: each page's words.
    Filled(Vec<(u64, Content)>, Call, Vec<u64>),
    /// The host accesses an address.
    Access(u64, Option<u64>),
    /// A device of the host's does.
    Dma(u64, Option<u64>),
    /// The device of this stream does.
    StreamDma(StreamKey, u64, Option<u64>),
    /// An SMMU answers no more.
    LoseSmmu,
    /// A run, after these words were written to the run page.
    Run(u64, u64, Vec<(u64, u64)>),
}

/// A frame that `fit` likes, if one is found quickly.
fn find(spec: &Spec, rng: &mut Rng, fit: impl Fn(u64) -> bool) -> Option<u64> {
    (0..40).map(|_| any_frame(spec, rng)).find(|pfn| fit(*pfn))
}

fn any_frame(spec: &Spec, rng: &mut Rng) -> u64 {
    let (first, frames) = rng.pick(&spec.setup.ram);
    first + rng.below(frames)
}

fn is_idle(spec: &Spec, pfn: u64) -> bool {
    spec.owners.get(&pfn) == Some(&Owner::Host) && spec.uses(pfn) == (0, 0)
}

/// `count` idle frames in a row, aligned to `align`. Small ranges mostly leave the upper part of
/// the first bank alone, so that whole blocks stay there.
fn idle(spec: &Spec, rng: &mut Rng, count: u64, align: u64) -> u64 {
    let fits = |pfn: u64| (0..count).all(|n| is_idle(spec, pfn + n));
    let low = spec.setup.ram[0].0 + 1024;
    for _ in 0..40 {
        let pfn = any_frame(spec, rng) / align * align;
        let reserved = count < 512 && (low..low + 1536).contains(&pfn);
        if fits(pfn) && (!reserved || rng.percent(4)) {
            return pfn;
        }
    }
    any_frame(spec, rng)
}

/// An address a host should not name, or at least not often.
fn wild_address(spec: &Spec, rng: &mut Rng) -> u64 {
    match rng.below(12) {
        0 => rng.next(),
        1 => u64::MAX - rng.below(3) * 4096,
        2 => !0xfff,
        3 => HYP_DEVICE << 12,
        4 => free_device(rng.below(8)) << 12,
        5 => (any_frame(spec, rng) << 12) + 8 * rng.below(3),
        6 => (1 << spec.setup.ipa_bits) - 4096 * rng.below(3),
        7 => (1 << 52) - 4096 * rng.below(3),
        8 => rng.pick(&spec.setup.hyp).0 << 12,
        9 => {
            let (first, frames) = rng.pick(&spec.setup.ram);
            (first + frames - rng.below(3)) << 12
        }
        10 => (Plan::RAM_PAGE + rng.below(Plan::RAM_PAGES + 4)) << 12,
        _ => any_frame(spec, rng) << 12,
    }
}

/// Anything at all.
fn wild_call(inner: &mut Inner) -> Action {
    let call = CALLS[inner.rng.below(CALLS.len() as u64) as usize].call;
    let (spec, rng) = (&inner.spec, &mut inner.rng);
    let mut args: Vec<u64> = (0..6)
        .map(|_| match rng.below(6) {
            0 | 1 => rng.below(6),
            2 => rng.pick(&[9, 64, 65, 512, 513, 0x1_0001, u64::MAX]),
            _ => wild_address(spec, rng),
        })
        .collect();
    // Most calls name a VM first: one that is there, to get further.
    let smmu = matches!(
        call,
        Call::SmmuAlloc | Call::SmmuFree | Call::SmmuMap | Call::SmmuClear | Call::SmmuIovaToPhys
    );
    if smmu && spec.setup.dma_bits.is_some() && rng.percent(70) {
        (args[0], args[1]) = (rng.below(2), rng.pick(&[8, 8, 9]));
    } else if rng.percent(70) && !matches!(call, Call::HostDonate | Call::VmRegister) {
        args[0] = 1 + rng.below(spec.setup.max_vm);
    }
    if call == Call::VcpuRun {
        return Action::Run(args[0], args[1] & 3, Vec::new());
    }
    Action::Call(call, args)
}

/// A mistake in an otherwise sensible call.
fn spoil(inner: &mut Inner, args: &mut [u64]) {
    let at = inner.rng.below(args.len() as u64) as usize;
    args[at] = match inner.rng.below(4) {
        0 => args[at].wrapping_add(1),
        1 => args[at].wrapping_add(4096),
        2 => args[at] ^ 1 << inner.rng.below(64),
        _ => wild_address(&inner.spec, &mut inner.rng),
    };
}

/// What comes next.
pub(super) fn next(inner: &mut Inner) -> Action {
    let smmu = inner.spec.setup.dma_bits.is_some() && !inner.spec.lost;
    if smmu && inner.rng.below(15_000) == 0 {
        return Action::LoseSmmu;
    }
    match inner.rng.below(100) {
        0..12 => access(inner),
        12..26 => wild_call(inner),
        26..52 => run(inner).unwrap_or_else(|| wild_call(inner)),
        _ => {
            let action = further(inner);
            match action {
                Action::Call(call, mut args) if inner.rng.percent(8) && !args.is_empty() => {
                    spoil(inner, &mut args);
                    Action::Call(call, args)
                }
                other => other,
            }
        }
    }
}

fn access(inner: &mut Inner) -> Action {
    let (spec, rng) = (&inner.spec, &mut inner.rng);
    let pa = match rng.below(10) {
        0 => wild_address(spec, rng) & !7 & ((1 << spec.setup.ipa_bits) - 1),
        1..4 => {
            let guest = |pfn| matches!(spec.owners.get(&pfn), Some(Owner::Vm(..)));
            find(spec, rng, guest).unwrap_or(0x4_0000) << 12
        }
        _ => any_frame(spec, rng) << 12,
    };
    // Mostly the first word, so that a reader meets a writer.
    let pa = pa
        + if rng.percent(20) {
            rng.below(512) * 8
        } else {
            0
        };
    let write = rng.percent(50).then(|| rng.next());
    // Not into run pages: what a host writes there is chosen in `run`.
    let run_page = spec
        .pins
        .range((pa >> 12, 0, 0)..((pa >> 12) + 1, 0, 0))
        .next()
        .is_some();
    let write = write.filter(|_| !run_page);
    if spec.setup.dma_bits.is_some() && rng.percent(60) {
        let doorbell = rng.percent(3);
        return Action::Dma(if doorbell { DOORBELL << 12 } else { pa }, write);
    }
    Action::Access(pa, write)
}

fn run(inner: &mut Inner) -> Option<Action> {
    let vms: Vec<(u16, u64)> = inner
        .spec
        .vms
        .iter()
        .flat_map(|(id, vm)| vm.vcpus.keys().map(|vcpu| (*id, *vcpu)))
        .collect();
    if vms.is_empty() {
        return None;
    }
    let (vm, vcpu) = inner.rng.pick(&vms);
    let words = super::programs::run_words(inner, vm, vcpu);
    Some(Action::Run(vm.into(), vcpu, words))
}

/// Something that gets some VM further.
fn further(inner: &mut Inner) -> Action {
    let number = 1 + inner.rng.below(inner.spec.setup.max_vm);
    let (spec, rng) = (&inner.spec, &mut inner.rng);
    let Some(vm) = spec.vms.get(&(number as u16)) else {
        let roots = spec.setup.root_frames;
        let (record, root) = (idle(spec, rng, 2, 1), idle(spec, rng, roots, roots));
        let flags = match rng.below(40) {
            0..26 => 1,
            26..33 => 0,
            33..39 => 2,
            _ => 3,
        };
        return Action::Call(
            Call::VmRegister,
            vec![flags, record << 12, root << 12, 1 + rng.below(3)],
        );
    };
    if spec.setup.dma_bits.is_some() && rng.percent(15) {
        return streams(spec, rng);
    }
    if rng.percent(2) {
        return Action::Call(Call::VmReclaimPool, vec![number]);
    }
    if rng.percent(2) {
        let n = 1 + rng.below(4);
        return Action::Call(Call::HostDonate, vec![idle(spec, rng, n, 1) << 12, n]);
    }
    let vcpus = vm.vcpus.len() as u64;
    match vm.life {
        Life::PowerOff if rng.percent(60) => Action::Call(Call::VmDestroy, vec![number]),
        Life::PowerOff => {
            let mine = |pfn| matches!(spec.owners.get(&pfn), Some(Owner::Vm(id, ..)) if u64::from(*id) == number);
            let pfn = find(spec, rng, mine).unwrap_or_else(|| any_frame(spec, rng));
            let n = rng.pick(&[1, 1, 2, 7, 512]);
            if vm.protected || rng.percent(50) {
                return Action::Call(Call::VmClearRange, vec![number, pfn << 12, n]);
            }
            unmap_like(vm, number, rng, Call::VmUnmapRange)
        }
        _ if rng.percent(1) => Action::Call(Call::VmPowerOff, vec![number]),
        Life::Ready if vcpus < vm.vcpu_limit && rng.percent(70) => {
            let run = if rng.percent(30) {
                any_run_page(spec, rng)
            } else {
                idle(spec, rng, 1, 1)
            };
            Action::Call(
                Call::VcpuRegister,
                vec![number, vcpus, idle(spec, rng, 1, 1) << 12, run << 12],
            )
        }
        _ if rng.percent(6) => {
            let n = 1 + rng.below(8);
            Action::Call(Call::VmDonate, vec![number, idle(spec, rng, n, 1) << 12, n])
        }
        _ if !vm.protected => normal(inner, number),
        Life::Ready => build(inner, number),
        _ => {
            let wanted = inner.wanted.get(&(number as u16)).copied();
            let reach = if rng.percent(50) { 48 } else { Plan::RAM_PAGES };
            let near = Plan::RAM_PAGE + rng.below(reach);
            let page = wanted.filter(|_| rng.percent(70)).unwrap_or(near);
            let (order, count) = if rng.percent(8) { (9, 512) } else { (0, 1) };
            let page = if order == 9 {
                Plan::RAM_PAGE + 512 * (1 + rng.below(3))
            } else {
                page
            };
            let pfn = idle(spec, rng, count, count);
            Action::Call(
                Call::VmMap,
                vec![number, (page / count * count) << 12, pfn << 12, order, 3],
            )
        }
    }
}

/// The host's work on streams of its own.
fn streams(spec: &Spec, rng: &mut Rng) -> Action {
    let key = rng.pick(&STREAMS[..3]);
    let [smmu, stream] = [u64::from(key.smmu), u64::from(key.stream)];
    let Some(it) = spec.streams.get(&key) else {
        let vm = u64::from(rng.percent(5));
        return Action::Call(Call::SmmuAlloc, vec![smmu, stream, vm]);
    };
    let near = rng.below(12) + rng.pick(&[0, 512, 1024, (1 << (spec.iova_bits() - 12)) - 6]);
    let mapped = it.maps.range(near..).next().map_or(near, |(page, _)| *page);
    let block = it.maps.get(&mapped).is_some_and(|reach| reach.block);
    match rng.below(40) {
        0 => Action::Call(Call::SmmuFree, vec![smmu, stream]),
        _ if it.ended => Action::Call(Call::SmmuFree, vec![smmu, stream]),
        1..12 => {
            let order = if block != rng.percent(4) { 9 } else { 0 };
            let page = if order == 9 { mapped & !511 } else { mapped };
            Action::Call(Call::SmmuClear, vec![smmu, stream, page << 12, order])
        }
        12..16 => {
            let iova = (mapped << 12) + rng.below(4096);
            Action::Call(Call::SmmuIovaToPhys, vec![smmu, stream, iova])
        }
        16..26 => {
            let write = rng.percent(50).then(|| rng.next());
            // Not into run pages.
            let run_page = it.maps.get(&mapped).is_some_and(|reach| {
                let mut pins = spec.pins.range((reach.pfn, 0, 0)..(reach.pfn + 1, 0, 0));
                pins.next().is_some()
            });
            Action::StreamDma(key, mapped << 12, write.filter(|_| !run_page))
        }
        _ => {
            let (order, count) = if rng.percent(15) { (9, 512) } else { (0, 1) };
            let page = near / count * count;
            let host = |pfn: u64| spec.owners.get(&pfn) == Some(&Owner::Host);
            let pfn = match rng.below(20) {
                0 => DOORBELL,
                1 => any_frame(spec, rng),
                2..12 => find(spec, rng, host).unwrap_or(0),
                _ => idle(spec, rng, count, count),
            };
            let pfn = pfn / count * count;
            let prot = rng.pick(&[1, 3, 3, 3, 3, 3, 3, 0, 2, 7]);
            let args = vec![smmu, stream, page << 12, pfn << 12, order, prot];
            Action::Call(Call::SmmuMap, args)
        }
    }
}

fn any_run_page(spec: &Spec, rng: &mut Rng) -> u64 {
    let pages: Vec<u64> = spec.pins.iter().map(|(pfn, ..)| *pfn).collect();
    if pages.is_empty() {
        any_frame(spec, rng)
    } else {
        rng.pick(&pages)
    }
}

fn unmap_like(vm: &crate::spec::Vm, number: u64, rng: &mut Rng, call: Call) -> Action {
    let near = Plan::RAM_PAGE + rng.below(1100);
    let page = vm.maps.range(near..).next().map_or(near, |(page, _)| *page);
    let block = vm.maps.get(&page).is_some_and(|m| m.block);
    let mut args = if rng.percent(if block { 60 } else { 5 }) {
        vec![number, (page & !511) << 12, 9]
    } else {
        // A little before it, now and then: a range may begin with holes.
        let before = if rng.percent(20) { rng.below(8) } else { 0 };
        vec![number, (page - before) << 12, 0]
    };
    args.push(match rng.below(8) {
        0 => rng.below(2),
        1 => 512 + rng.below(2),
        2 => rng.below(512),
        _ => rng.below(24),
    });
    match call {
        Call::VmProtect => args.extend(rng.pick(&[
            [0, 1],
            [0, 1],
            [1, 0],
            [1, 0],
            [3, 0],
            [0, 3],
            [2, 1],
            [1, 2],
            [0, 2],
            [0, 0],
            [1, 1],
            [4, 0],
            [0, 4],
        ])),
        Call::VmAgeRange => args.push(rng.pick(&[0, 0, 0, 1, 1, 2])),
        Call::VmUnmapRange => {}
        _ => args.truncate(3),
    }
    Action::Call(call, args)
}

/// The host's work on a normal VM.
fn normal(inner: &mut Inner, number: u64) -> Action {
    let (spec, rng) = (&inner.spec, &mut inner.rng);
    let vm = &spec.vms[&(number as u16)];
    match rng.below(10) {
        0 => Action::Call(
            Call::VmMapIo,
            vec![
                number,
                (Plan::MMIO_PAGE + rng.below(64)) << 12,
                free_device(rng.below(64)) << 12,
                1 + rng.below(3),
                rng.below(5),
            ],
        ),
        1 if rng.percent(20) => unmap_like(vm, number, rng, Call::VmUnmap),
        1 => unmap_like(vm, number, rng, Call::VmUnmapRange),
        2 if rng.percent(20) => unmap_like(vm, number, rng, Call::VmWriteProtect),
        2 => unmap_like(vm, number, rng, Call::VmProtect),
        3 if rng.percent(20) => unmap_like(vm, number, rng, Call::VmAge),
        3 => unmap_like(vm, number, rng, Call::VmAgeRange),
        4 if rng.percent(60) => {
            let vcpu = rng.below(vm.vcpus.len() as u64 + 1);
            Action::Call(Call::VcpuSync, vec![number, vcpu, rng.below(9)])
        }
        4 => Action::Call(Call::VmSetCntvoff, vec![number, rng.next()]),
        _ => {
            let wanted = inner.wanted.get(&(number as u16)).copied();
            let reach = if rng.percent(60) { 48 } else { 1100 };
            let near = Plan::RAM_PAGE + rng.below(reach);
            let page = wanted.filter(|_| rng.percent(60)).unwrap_or(near);
            let (order, count) = if rng.percent(12) { (9, 512) } else { (0, 1) };
            let host = |pfn: u64| spec.owners.get(&pfn) == Some(&Owner::Host);
            let pfn = if order == 9 || rng.percent(50) {
                idle(spec, rng, count, count)
            } else {
                find(spec, rng, host).unwrap_or(0)
            };
            let prot = if rng.percent(70) { 3 } else { rng.below(4) };
            Action::Call(
                Call::VmMap,
                vec![number, (page / count * count) << 12, pfn << 12, order, prot],
            )
        }
    }
}

/// The next piece of building a protected VM.
fn build(inner: &mut Inner, number: u64) -> Action {
    let id = number as u16;
    let (spec, rng) = (&inner.spec, &mut inner.rng);
    let vm = &spec.vms[&id];
    if vm.vcpus.is_empty() && rng.percent(90) {
        return Action::Call(Call::VmDonate, vec![number, idle(spec, rng, 6, 1) << 12, 6]);
    }
    if vm.manifest.is_none() {
        let wrong = u32::from(rng.percent(4));
        let mut plan = Plan::random(rng, vm.vcpu_limit as u32 + wrong);
        if rng.percent(3) {
            plan.bytes = super::images::sign(&mut plan.manifest, 1);
        }
        let mut words: Content = plan
            .words()
            .into_iter()
            .enumerate()
            .map(|(n, word)| (n as u16, word))
            .collect();
        let len = plan.bytes.len() as u64;
        if rng.percent(5) {
            *words.entry(rng.below(len / 8) as u16).or_default() ^= 1 << rng.below(64);
        }
        inner.plans.insert(id, plan);
        let pfn = idle(spec, rng, 1, 1);
        return Action::Filled(
            vec![(pfn, words)],
            Call::VmSetBootInfo,
            vec![number, pfn << 12, len],
        );
    }
    if rng.percent(3) {
        let args = vec![
            number,
            (Plan::MMIO_PAGE + rng.below(64)) << 12,
            free_device(rng.below(8)) << 12,
            1 + rng.below(3),
        ];
        return Action::Call(Call::VmMapIo, args);
    }
    let Some(plan) = inner.plans.get(&id).filter(|_| !vm.verifying) else {
        return Action::Call(Call::VmVerifyImages, vec![number]);
    };
    for (index, image) in plan.manifest.images().iter().enumerate() {
        let first = image.ipa >> 12;
        let Some(page) = (0..image.pages()).find(|page| !vm.maps.contains_key(&(first + page)))
        else {
            continue;
        };
        let block = image.pages() >= 512 && page == 0 && rng.percent(70);
        let (order, count) = if block { (9, 512) } else { (0, 1) };
        let pfn = idle(spec, rng, count, count);
        let mut fill: Vec<(u64, Content)> = (0..count)
            .map(|n| (pfn + n, plan.images[index][(page + n) as usize].clone()))
            .collect();
        if rng.below(60) == 0 {
            fill[0].1.insert(5, 0xbad);
        }
        return Action::Filled(
            fill,
            Call::VmRemapImage,
            vec![number, index as u64, page, pfn << 12, order],
        );
    }
    Action::Call(Call::VmVerifyImages, vec![number])
}

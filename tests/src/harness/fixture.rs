//! Machines to test on.

use crate::fake::{Fake, Regime, Sched};
use crate::spec::{Setup, Spec};
use hyp_core::Ward;
use hyp_core::addr::Pfn;
use hyp_core::config::Config;
use hyp_core::dma::{DmaConfig, DmaTable};
use hyp_core::memory::{FrameWord, Range, Ranges};
use hyp_core::stage2::Geometry;
use hyp_core::vm::VmSlot;

/// A page of device memory that is Ward's.
pub const HYP_DEVICE: u64 = 0x9_000;

/// The page that devices write interrupt messages to.
pub const DOORBELL: u64 = 0xb_007;

/// Device memory that is anyone's.
pub const fn free_device(n: u64) -> u64 {
    0xa_000 + n
}

/// What a machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bits of an IPA: 32 to 48.
    pub ipa_bits: u8,
    /// RAM: first frame and frames.
    pub ram: [(u64, u64); 2],
    /// Frames in Ward's boot pool.
    pub pool: u64,
    /// VMs at once.
    pub vms: u64,
    /// CPUs set access flags themselves.
    pub hardware_af: bool,
    /// Bits of the addresses that devices send to SMMUs, if there are any.
    pub smmu: Option<u8>,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            ipa_bits: 40,
            ram: [(0x4_0000, 2560), (0x8_0103, 900)],
            pool: 48,
            vms: 4,
            hardware_af: false,
            smmu: None,
        }
    }
}

/// First of Ward's own frames, at the start of the first bank.
const HYP_FRAMES: u64 = 64;

fn ranges(list: &[(u64, u64)]) -> Ranges {
    let mut all = Ranges::new();
    for (first, frames) in list {
        assert!(
            all.add(Range {
                first: Pfn(*first),
                frames: *frames
            }),
            "a range that does not fit"
        );
    }
    all
}

/// The pieces of such a machine: what Ward is told of it and what the specification is.
///
/// # Panics
/// When the shape is none the architecture has.
pub fn machine(shape: Shape) -> (Config, Setup) {
    let geometry = Geometry::new(shape.ipa_bits).expect("a width the architecture has");
    let ram = ranges(&shape.ram);
    let end = shape.ram[0].0 + HYP_FRAMES + shape.pool;
    let dma = shape.smmu.map(|bits| {
        let geometry = Geometry::new(bits).expect("a width the architecture has");
        let doorbells = ranges(&[(DOORBELL, 1)]);
        let frames = DmaConfig::frames(geometry, &ram, &doorbells);
        let first = Pfn(end.next_multiple_of(geometry.root_frames()));
        DmaConfig {
            geometry,
            doorbells,
            tables: Range { first, frames },
        }
    });
    let end = dma.as_ref().map_or(end, |dma| dma.tables.end().0);
    let hyp = [(shape.ram[0].0, end - shape.ram[0].0)];
    let config = Config {
        ram,
        hyp: ranges(&hyp),
        hyp_devices: ranges(&[(HYP_DEVICE, 2)]),
        geometry,
        keys: super::images::keys(),
        list_registers: 4,
        virtual_timer: 27,
        dma,
    };
    let setup = Setup {
        ram: shape.ram.to_vec(),
        hyp: hyp.to_vec(),
        hyp_devices: vec![(HYP_DEVICE, 2)],
        ipa_bits: shape.ipa_bits.into(),
        start_level: geometry.start_level().into(),
        root_frames: geometry.root_frames(),
        max_vm: shape.vms,
        keys: super::images::keys().to_vec(),
        dma_bits: shape.smmu.map(u32::from),
        doorbells: shape.smmu.map(|_| DOORBELL).into_iter().collect(),
    };
    (config, setup)
}

/// Boots Ward on it.
pub(super) fn boot<S: Sched>(shape: Shape) -> (Fake<S>, Ward<Fake<S>>, Spec) {
    let (config, setup) = machine(shape);
    let fake = Fake::<S>::new(&shape.ram.map(|(first, frames)| (Pfn(first), frames)));
    fake.state().hardware_af = shape.hardware_af;
    let frames: u64 = shape.ram.iter().map(|(_, frames)| frames).sum();
    let records = vec![FrameWord::HOST_IDLE; frames as usize].into_boxed_slice();
    let slots: Box<[VmSlot<Fake<S>>]> = (0..=shape.vms)
        .map(|_| VmSlot::<Fake<S>>::new(None))
        .collect();
    let root = shape.ram[0].0.next_multiple_of(setup.root_frames);
    let pool = Range {
        first: Pfn(shape.ram[0].0 + HYP_FRAMES),
        frames: shape.pool,
    };
    let ward = Ward::new(fake.clone(), config, records, slots, Pfn(root), pool)
        .expect("the machine boots");
    let regime = Regime {
        root,
        frames: setup.root_frames,
        level: setup.start_level as u8,
    };
    fake.add_regime(0, regime);
    if let Some(DmaTable { root, geometry, .. }) = ward.dma_table() {
        fake.add_smmus(Regime {
            root: root.0,
            frames: geometry.root_frames(),
            level: geometry.start_level(),
        });
    }
    fake.state().tables.changed.clear();
    fake.state().ram.take_journal();
    fake.state().tables.publish();
    (fake, ward, Spec::new(setup))
}

//! Devices that reach memory by themselves: what stands before them, and what the host does not
//! get for want of it.

use super::{Arena, Fatal, ranges};
use crate::fdt::{DmaNodes, Master, Span, asks_for_iommu};
use crate::gic::Controllers;
use crate::glue;
use crate::machine::El2;
use crate::smmu::{self, Takeover};
use arrayvec::ArrayVec;
use dtoolkit::fdt::Fdt;
use hyp_core::Ward;
use hyp_core::config::{BootError, Config};
use hyp_core::dma::DmaConfig;
use hyp_core::memory::{Range, Ranges};
use hyp_core::stage2::Geometry;

/// What the device tree says about DMA, and the SMMUs.
pub(super) struct Devices {
    nodes: DmaNodes,
    smmus: Takeover,
    geometry: Option<Geometry>,
    hidden: ArrayVec<Master, { Master::ALL.len() }>,
    /// The host's driver of an SMMUv2 is told to lead streams to bypass.
    bypass: bool,
    /// The host maps memory for its devices itself.
    iommu: bool,
    /// The interrupt controller, if it is to be filtered.
    controllers: Option<Controllers>,
    /// Why it is not, or not all of it.
    open: Option<&'static str>,
}

impl Devices {
    /// Finds the SMMUs and has them abort everything.
    #[inline(never)]
    pub(super) fn begin(fdt: Fdt<'_>) -> Result<Self, Fatal> {
        let nodes = DmaNodes::read(fdt)?;
        let smmus = Takeover::begin(&nodes)?;
        let geometry = smmus.geometry(crate::mmu::pa_bits());
        // Without an SMMU everything is open anyhow.
        let controllers = if smmus.is_empty() {
            None
        } else {
            Some(Controllers::begin(&nodes)?)
        };
        Ok(Devices {
            nodes,
            smmus,
            geometry,
            hidden: ArrayVec::new(),
            bypass: false,
            iommu: false,
            controllers,
            open: None,
        })
    }

    /// Where devices write message interrupts.
    fn doorbells(&self) -> Result<Ranges, Fatal> {
        ranges(&self.nodes.doorbells)
    }

    /// Frames for tables and queues, wherever they begin.
    pub(super) fn frames(&self, ram: &Ranges) -> Result<u64, Fatal> {
        let gic = self.controllers.as_ref().map_or(0, Controllers::frames);
        let Some(geometry) = self.geometry else {
            return Ok(gic);
        };
        let tables = DmaConfig::frames(geometry, ram, &self.doorbells()?);
        Ok(gic + tables + (geometry.root_frames() - 1) + self.smmus.frames())
    }

    /// Takes those frames, which are mapped, and decides what the host does not get.
    #[inline(never)]
    pub(super) fn configure(
        &mut self,
        config: &mut Config,
        arena: &mut Arena,
        bootargs: &str,
    ) -> Result<(), Fatal> {
        let guarded = !self.smmus.is_empty();
        self.bypass = smmu::v2::asks_for_bypass(bootargs);
        let mut hidden = self.nodes.hidden.clone();
        for (master, spans) in Master::ALL.into_iter().zip(&self.nodes.masters) {
            if !guarded || spans.is_empty() {
                continue;
            }
            if master.is_allowed(bootargs) {
                warn_allowed(master, spans);
            } else {
                self.hidden.push(master);
                for &span in spans {
                    super::take(&mut hidden, span)?;
                }
            }
        }
        config.hyp_devices = ranges(&hidden)?;
        if let Some(controllers) = self.controllers.take() {
            for range in controllers.hidden() {
                if !config.hyp_devices.add(range) {
                    return Err(Fatal::Core(BootError::Memory));
                }
            }
            self.open = controllers.configure(|frames, align| arena.take(frames, align));
        }
        let Some(geometry) = self.geometry else {
            return Ok(());
        };
        let doorbells = self.doorbells()?;
        let frames = DmaConfig::frames(geometry, &config.ram, &doorbells);
        config.dma = Some(DmaConfig {
            geometry,
            doorbells,
            tables: Range {
                first: arena.take(frames, geometry.root_frames()),
                frames,
            },
        });
        self.iommu = asks_for_iommu(bootargs);
        let first = arena.next;
        self.smmus.place(|frames, align| arena.take(frames, align));
        smmu::zero(first, arena.next.0 - first.0);
        Ok(())
    }

    /// Bus masters that are not in the host's tree.
    pub(super) fn hidden(&self) -> &[Master] {
        &self.hidden
    }

    /// Whether the host's tree says how devices are led to SMMUs.
    pub(super) fn has_iommu(&self) -> bool {
        self.iommu
    }

    /// DMA is as the host's table says from now on. Says what is not.
    #[inline(never)]
    pub(super) fn start(self, ward: &Ward<El2>) {
        let guarded = !self.smmus.is_empty();
        self.smmus.start(ward.dma_table(), self.bypass);
        let nodes = &self.nodes;
        if !guarded {
            glue::say(format_args!(
                "WARNING: NO SMMU: the host's devices reach all memory, Ward's and the guests' too"
            ));
            return;
        }
        if self.iommu {
            glue::say(format_args!(
                "the host's device tree has a ward,iommu for each SMMU (ward.iommu=on)"
            ));
        }
        for master in &self.hidden {
            let at = nodes.masters[*master as usize].first();
            glue::say(format_args!(
                "{} at {:#x} is a bus master without an SMMU: not the host's (ward.allow={})",
                master.name(),
                at.map_or(0, |span| span.base),
                master.name()
            ));
        }
        if nodes.others > 0 {
            glue::say(format_args!(
                "WARNING: {} SMMUs are of kinds that Ward does not drive: devices behind them reach all \
                 memory",
                nodes.others
            ));
        }
        if nodes.open_bridges > 0 {
            glue::say(format_args!(
                "WARNING: {} PCI host bridges have devices without an SMMU: those reach all memory",
                nodes.open_bridges
            ));
        }
        if let Some(why) = self.open {
            glue::say(format_args!(
                "WARNING: the interrupt controller may reach all memory for the host: {why}"
            ));
        }
    }
}

fn warn_allowed(master: Master, spans: &[Span]) {
    let at = spans.first().map_or(0, |span| span.base);
    glue::say(format_args!(
        "WARNING: ward.allow: by {} at {at:#x} the host reaches all memory, Ward's and the guests' too",
        master.name()
    ));
}

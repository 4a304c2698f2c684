//! Reads a linked arm64 program: its segments, relocations and sizes.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::LittleEndian;
use object::elf::{self, RelocationType, SectionFlags, SectionType};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

type Header = elf::FileHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// The aim for code and read-only data, in bytes.
const AIM: u64 = 128 * 1024;
/// Above this the image is refused.
const LIMIT: u64 = 284 * 1024;
/// A flat image larger than this means that two segments are linked far apart by mistake.
const MAX_FLAT: u64 = 64 * 1024 * 1024;

/// One loaded segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Physical address, as linked.
    pub(crate) address: u64,
    /// Bytes in the file; what is beyond them in memory is zero.
    pub(crate) bytes: Vec<u8>,
    /// Bytes in memory.
    pub(crate) memory: u64,
    /// Writable at run time.
    pub(crate) write: bool,
    /// Executable at run time.
    pub(crate) execute: bool,
}

/// A linked program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// Entry point, as linked.
    pub(crate) entry: u64,
    /// Loaded segments, lowest address first.
    pub(crate) segments: Vec<Segment>,
    /// Type and place of each relocation that is left for run time.
    pub(crate) relocations: Vec<(RelocationType, u64)>,
    /// How large the parts are.
    pub(crate) sizes: Sizes,
}

impl Image {
    /// Reads the program at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let data = fs::read(path)
            .with_context(|| format!("cannot read {}: did the build make it?", path.display()))?;
        Self::parse(&data)
            .with_context(|| format!("cannot use {} as a linked arm64 program", path.display()))
    }

    fn parse(data: &[u8]) -> Result<Self> {
        let header = Header::parse(data)?;
        let mut image = Image {
            entry: header.e_entry(LE),
            ..Image::default()
        };
        for segment in header
            .program_headers(LE, data)?
            .iter()
            .filter(|segment| segment.p_type(LE) == elf::PT_LOAD)
        {
            let bytes = segment
                .data(LE, data)
                .ok()
                .context("a segment lies outside the file")?;
            let flags = segment.p_flags(LE);
            image.segments.push(Segment {
                address: segment.p_paddr(LE),
                bytes: bytes.to_vec(),
                memory: segment.p_memsz(LE),
                write: flags.0 & elf::PF_W.0 != 0,
                execute: flags.0 & elf::PF_X.0 != 0,
            });
        }
        image.segments.sort_by_key(|segment| segment.address);
        let sections = header.sections(LE, data)?;
        for section in sections.iter() {
            let name = sections.section_name(LE, section)?;
            image.sizes.add(
                name,
                section.sh_type(LE),
                section.sh_flags(LE),
                section.sh_size(LE),
            );
            if let Some((rela, _)) = section.rela(LE, data)? {
                image.relocations.extend(
                    rela.iter()
                        .map(|entry| (entry.r_type(LE, false), entry.r_offset.get(LE))),
                );
            }
            // The start-up code applies RELA only; other kinds would be left undone in silence.
            if section.sh_type(LE) == elf::SHT_REL && section.sh_size(LE) > 0 {
                bail!(
                    "section {} holds relocations of a kind that the start-up code does not apply",
                    String::from_utf8_lossy(name)
                );
            }
        }
        Ok(image)
    }

    /// The bytes from the lowest to the highest loaded address; zeroed data at the end is left out.
    pub(crate) fn flat(&self) -> Result<Vec<u8>> {
        let base = self
            .segments
            .first()
            .context("it has no loaded segment")?
            .address;
        let mut flat = Vec::new();
        for segment in self
            .segments
            .iter()
            .filter(|segment| !segment.bytes.is_empty())
        {
            let start = segment.address - base;
            if start > MAX_FLAT || (start as usize) < flat.len() {
                bail!(
                    "the segment at {:#x} overlaps another or lies too far above {base:#x}: see the linker script",
                    segment.address
                );
            }
            flat.resize(start as usize, 0);
            flat.extend_from_slice(&segment.bytes);
        }
        Ok(flat)
    }

    /// From the lowest to the highest address in memory, zeroed data included.
    pub(crate) fn memory_size(&self) -> u64 {
        let base = self.segments.first().map_or(0, |segment| segment.address);
        self.segments
            .iter()
            .map(|segment| segment.address + segment.memory - base)
            .max()
            .unwrap_or(0)
    }
}

/// Bytes of an image by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Instructions.
    pub(crate) code: u64,
    /// Read-only data, with what is read-only once relocations are applied.
    pub(crate) rodata: u64,
    /// Initialised writable data.
    pub(crate) data: u64,
    /// Zeroed data and stacks.
    pub(crate) bss: u64,
}

impl Sizes {
    fn add(&mut self, name: &[u8], kind: SectionType, flags: SectionFlags, size: u64) {
        let flag = |bit: SectionFlags| flags.0 & bit.0 != 0;
        // The tables that relocation fills in and nothing writes later.
        let constant = name.starts_with(b".data.rel.ro") || name == b".got" || name == b".dynamic";
        if !flag(elf::SHF_ALLOC) {
        } else if flag(elf::SHF_EXECINSTR) {
            self.code += size;
        } else if kind == elf::SHT_NOBITS {
            self.bss += size;
        } else if constant || !flag(elf::SHF_WRITE) {
            self.rodata += size;
        } else {
            self.data += size;
        }
    }

    /// What is wrong when the code and read-only data are too large; between aim and limit only a
    /// warning is printed.
    pub(super) fn over_limit(&self) -> Option<String> {
        let constant = self.code + self.rodata;
        if constant > AIM && constant <= LIMIT {
            eprintln!(
                "warning: code and read-only data are {constant} bytes, above the aim of {AIM}"
            );
        }
        (constant > LIMIT)
            .then(|| format!("code and read-only data are {constant} bytes; the limit is {LIMIT}"))
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes {
            code,
            rodata,
            data,
            bss,
        } = self;
        write!(
            f,
            "code {code} + rodata {rodata} = {} of {AIM} bytes; data {data}, bss {bss}",
            code + rodata
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(address: u64, bytes: &[u8], memory: u64) -> Segment {
        Segment {
            address,
            bytes: bytes.to_vec(),
            memory,
            write: false,
            execute: false,
        }
    }

    #[test]
    fn the_flat_image_fills_gaps_and_leaves_zeroed_data_out() {
        let segments = vec![
            segment(0x1000, b"ab", 2),
            segment(0x1004, b"c", 8),
            segment(0x100c, b"", 4096),
        ];
        let image = Image {
            segments,
            ..Image::default()
        };
        assert_eq!(image.flat().unwrap(), b"ab\0\0c");
        assert_eq!(image.memory_size(), 12 + 4096);
    }

    #[test]
    fn overlapping_and_distant_segments_are_refused() {
        for second in [0x1001, 0x1000 + MAX_FLAT + 1] {
            let image = Image {
                segments: vec![segment(0x1000, b"ab", 2), segment(second, b"c", 1)],
                ..Image::default()
            };
            assert!(image.flat().is_err(), "{second:#x}");
        }
        assert!(Image::default().flat().is_err());
    }

    #[test]
    fn sizes_follow_section_flags_and_the_limit_is_enforced() {
        let mut sizes = Sizes::default();
        let (a, w, x) = (elf::SHF_ALLOC, elf::SHF_WRITE, elf::SHF_EXECINSTR);
        sizes.add(b".text", elf::SHT_PROGBITS, SectionFlags(a.0 | x.0), 10);
        sizes.add(b".rodata", elf::SHT_PROGBITS, a, 20);
        sizes.add(
            b".data.rel.ro",
            elf::SHT_PROGBITS,
            SectionFlags(a.0 | w.0),
            3,
        );
        sizes.add(b".data", elf::SHT_PROGBITS, SectionFlags(a.0 | w.0), 4);
        sizes.add(b".bss", elf::SHT_NOBITS, SectionFlags(a.0 | w.0), 5);
        sizes.add(b".debug_info", elf::SHT_PROGBITS, SectionFlags(0), 1000);
        assert_eq!(
            sizes,
            Sizes {
                code: 10,
                rodata: 23,
                data: 4,
                bss: 5
            }
        );
        assert_eq!(sizes.over_limit(), None);
        assert_eq!(
            Sizes {
                code: LIMIT,
                ..Sizes::default()
            }
            .over_limit(),
            None
        );
        assert!(
            Sizes {
                code: LIMIT,
                rodata: 1,
                ..Sizes::default()
            }
            .over_limit()
            .is_some()
        );
    }
}

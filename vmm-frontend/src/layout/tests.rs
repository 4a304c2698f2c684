use super::*;

const KERNEL: KernelShape = KernelShape {
    file: 20 << 20,
    text_offset: 0,
    image_size: (30 << 20) + 4096,
};

fn machine(cpus: u32, mib: u64) -> Machine {
    Machine::new(cpus, mib << 20).expect("a machine")
}

#[test]
fn no_two_places_overlap_and_each_device_has_its_page() {
    for cpus in [1, 2, 16, 64] {
        let mut spans = machine(cpus, 128).mmio();
        spans.push(machine(cpus, 128).ram());
        for (i, span) in spans.iter().enumerate() {
            assert!(span.start.is_multiple_of(PAGE) && span.size.is_multiple_of(PAGE));
            assert!(
                spans[..i].iter().all(|other| other.end() <= span.start),
                "{span:x?}"
            );
        }
        assert!(spans.len() <= hyp_core::abi::MAX_REGIONS);
    }
    assert_eq!(virtio(15).end(), 0x0a01_0000);
    const { assert!(VIRTIO_SPI + VIRTIO_SLOTS + 32 <= INTERRUPTS) };
}

#[test]
fn a_kernel_keeps_the_memory_behind_its_file() {
    let layout = Layout::new(machine(2, 512), KERNEL, Some(5000)).expect("fits");
    assert_eq!(layout.kernel, Span::new(0x4000_0000, 20 << 20));
    assert_eq!(layout.kernel_memory.size, KERNEL.image_size);
    let initrd = layout.initrd.expect("one");
    assert_eq!(initrd, Span::new(0x4200_0000, 5000));
    assert_eq!(layout.tree, 0x4200_2000);
    assert_eq!(layout.pool, Some(Span::new(0x5c00_0000, 64 << 20)));
    let bare = Layout::new(machine(1, 128), KERNEL, None).expect("fits");
    assert_eq!((bare.initrd, bare.tree), (None, 0x4200_0000));
    assert_eq!(bare.pool.map(|pool| pool.size), Some(16 << 20));
    let offset = KernelShape {
        text_offset: 0x8_0000,
        ..KERNEL
    };
    let layout = Layout::new(machine(1, 128), offset, None).expect("fits");
    assert_eq!(layout.kernel.start, 0x4008_0000);
}

#[test]
fn a_guest_above_four_gib_has_its_pool_below() {
    let layout = Layout::new(machine(4, 8192), KERNEL, Some(1 << 20)).expect("fits");
    assert_eq!(layout.pool.map(|pool| pool.end()), Some(1 << 32));
}

#[test]
fn too_little_memory_is_refused_with_what_would_do() {
    let error = Layout::new(machine(1, 32), KERNEL, Some(100 << 20)).unwrap_err();
    let text = error.to_string();
    for part in ["32 MiB of memory", "30.1 MiB", "initrd 100 MiB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let remedy = error.remedy();
    assert!(remedy.contains("at least 152 MiB"), "{remedy}");
    assert!(Layout::new(machine(1, 152), KERNEL, Some(100 << 20)).is_ok());
    assert!(Layout::new(machine(1, 150), KERNEL, Some(100 << 20)).is_err());
    let endless = KernelShape {
        image_size: u64::MAX,
        ..KERNEL
    };
    let error = Layout::new(machine(1, 128), endless, Some(u64::MAX)).unwrap_err();
    assert!(error.remedy().contains("no guest"), "{}", error.remedy());
    // The pool does not move above 4 GiB, so neither does what must be below it.
    let error = Layout::new(machine(1, 8192), KERNEL, Some(3 << 30)).unwrap_err();
    assert!(error.remedy().contains("no guest"));
}

#[test]
fn machines_that_cannot_be() {
    for (cpus, memory, part) in [
        (0, 128 << 20, "1 to 64"),
        (65, 128 << 20, "1 to 64"),
        (1, 0, "2 MiB"),
        (1, (128 << 20) + 4096, "2 MiB"),
        (1, 1 << 40, "1023 GiB"),
        (1, u64::MAX, "2 MiB"),
    ] {
        let error = Machine::new(cpus, memory).unwrap_err();
        assert!(error.remedy().contains(part), "{cpus} {memory}: {error}");
    }
}

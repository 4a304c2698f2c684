use super::super::device;
use super::super::testing::{DATA, Driver, NO_EVENT_IDX, RAM2};
use super::*;
use std::io::Write;
use std::os::unix::fs::FileExt;
use tempfile::NamedTempFile;

const SECTORS: u64 = 64;
const HEADER: u64 = DATA;
const STATUS: u64 = DATA + 0x800;
const BUFFER: u64 = DATA + 0x1000;

fn image() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let content: Vec<u8> = (0..SECTORS * SECTOR)
        .map(|i| (i / SECTOR) as u8 + 1)
        .collect();
    file.write_all(&content).unwrap();
    file
}

struct Guest {
    driver: Driver,
    file: NamedTempFile,
}

fn guest(read_only: bool, without: u64) -> Guest {
    let file = image();
    let disk = Disk::open(file.path(), read_only).unwrap();
    let driver = Driver::running(Block::new(disk, "disk-with-a-name-too-long"), without);
    Guest { driver, file }
}

impl Guest {
    fn header(&self, kind: u32, sector: u64) {
        self.driver.write(HEADER, kind);
        self.driver.write(HEADER + 4, 0u32);
        self.driver.write(HEADER + 8, sector);
        self.driver.write(STATUS, 0xeeu8);
    }

    /// One request with data at the addresses; its status and what was said to be written.
    fn request(&mut self, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> (u8, u32) {
        self.header(kind, sector);
        let mut parts = vec![(HEADER, 16, false)];
        parts.extend(data);
        parts.push((STATUS, 1, true));
        self.driver.chain(0, 0, &parts);
        self.driver.kick(0);
        let used = self.driver.used(0);
        assert_eq!((used.len(), used[0].0), (1, 0));
        assert!(!self.driver.broken());
        (self.driver.read(STATUS), used[0].1)
    }

    fn on_disk(&self, sector: u64) -> [u8; 512] {
        let mut bytes = [0; 512];
        let file = self.file.as_file();
        file.read_exact_at(&mut bytes, sector * SECTOR).unwrap();
        bytes
    }

    fn counts(&self) -> super::super::Counts {
        device(&self.driver.device).counters().now()
    }
}

#[test]
fn sectors_are_read_and_written() {
    for without in [0, NO_EVENT_IDX, feature::FLUSH] {
        let mut guest = guest(false, without);
        let pieces = [(BUFFER, 100, true), (BUFFER + 0x1000, 924, true)];
        assert_eq!(guest.request(kind::IN, 3, &pieces), (0, 1025));
        assert_eq!(guest.driver.bytes(BUFFER, 100), [4; 100]);
        assert_eq!(guest.driver.bytes(BUFFER + 0x1000, 412), [4; 412]);
        assert_eq!(guest.driver.bytes(BUFFER + 0x1000 + 412, 512), [5; 512]);
        guest.driver.put(BUFFER, &[0xaa; 1024]);
        assert_eq!(
            guest.request(kind::OUT, 62, &[(BUFFER, 1024, false)]),
            (0, 1)
        );
        assert_eq!(
            (guest.on_disk(61), guest.on_disk(63)),
            ([62; 512], [0xaa; 512])
        );
        assert_eq!(guest.request(kind::FLUSH, 0, &[]), (0, 1));
        let counts = guest.counts();
        assert_eq!((counts.requests, counts.errors), (3, 0));
        assert_eq!((counts.to_guest, counts.from_guest), (1024, 1024));
    }
}

#[test]
fn the_header_may_lie_in_pieces_and_the_status_in_the_datas_last_byte() {
    let mut guest = guest(false, 0);
    guest.header(kind::IN, 1);
    let parts = [
        (HEADER, 3, false),
        (HEADER + 3, 13, false),
        (BUFFER, 513, true),
    ];
    guest.driver.chain(0, 4, &parts);
    guest.driver.kick(0);
    assert_eq!(guest.driver.used(0), [(4, 513)]);
    assert_eq!(guest.driver.bytes(BUFFER, 512), [2; 512]);
    assert_eq!(guest.driver.read::<u8>(BUFFER + 512), 0);
}

#[test]
fn the_driver_reads_size_limits_and_name() {
    let mut guest = guest(true, 0);
    assert_eq!(guest.driver.get(0x100), SECTORS as u32);
    assert_eq!(guest.driver.get(0x10c), PIECES);
    assert_eq!(guest.driver.get(0x114), 512);
    assert_eq!(guest.driver.offered() & feature::RO, feature::RO);
    assert_eq!(guest.driver.offered() & feature::DISCARD, 0);
    assert_eq!(
        guest.request(kind::GET_ID, 0, &[(BUFFER, 20, true)]),
        (0, 21)
    );
    assert_eq!(guest.driver.bytes(BUFFER, 20), b"disk-with-a-name-too");
}

#[test]
fn what_is_not_on_the_disk_is_refused() {
    let mut guest = guest(false, 0);
    for (sector, bytes) in [
        (SECTORS, 512),
        (SECTORS - 1, 1024),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (1 << 55, 512),
        (0, 511),
        (0, 1),
    ] {
        for (kind, writable) in [(kind::IN, true), (kind::OUT, false)] {
            let (status, _) = guest.request(kind, sector, &[(BUFFER, bytes, writable)]);
            assert_eq!(status, 1, "{kind} {sector} {bytes}");
        }
    }
    assert_eq!(guest.on_disk(0), [1; 512]);
    assert_eq!(guest.counts().errors, 14);
    assert_eq!(guest.request(99, 0, &[]).0, 2);
    assert_eq!(guest.request(kind::IN, 0, &[]).0, 0, "nothing, done");
}

#[test]
fn a_read_only_disk_is_not_written() {
    let mut guest = guest(true, 0);
    let range = [(BUFFER, 16, false)];
    guest
        .driver
        .put(BUFFER, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(guest.request(kind::OUT, 0, &[(BUFFER, 512, false)]).0, 1);
    assert_eq!(guest.request(kind::DISCARD, 0, &range).0, 1);
    assert_eq!(guest.request(kind::WRITE_ZEROES, 0, &range).0, 1);
    assert_eq!(guest.request(kind::FLUSH, 0, &[]).0, 0);
    assert_eq!(guest.on_disk(0), [1; 512]);
}

#[test]
fn ranges_are_zeroed_or_discarded_all_or_none() {
    let mut guest = guest(false, 0);
    let range = |sector: u64, count: u32, flags: u32| {
        let mut bytes = sector.to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes
    };
    let mut ask = |kind, ranges: &[Vec<u8>]| {
        let bytes = ranges.concat();
        guest.driver.put(BUFFER, &bytes);
        let (status, _) = guest.request(kind, 0, &[(BUFFER, bytes.len() as u32, false)]);
        (status, guest.on_disk(5), guest.on_disk(8))
    };
    let (old, zero) = (([6; 512], [9; 512]), [0; 512]);
    let last = SECTORS;
    for (kind, ranges, status) in [
        (
            kind::WRITE_ZEROES,
            vec![range(5, 1, 0), range(last, 1, 0)],
            1,
        ),
        (kind::WRITE_ZEROES, vec![range(5, 0, 0)], 1),
        (kind::WRITE_ZEROES, vec![range(5, u32::MAX, 0)], 1),
        (kind::WRITE_ZEROES, vec![range(u64::MAX, 1, 0)], 1),
        (kind::WRITE_ZEROES, vec![range(5, 1, 2)], 2),
        (kind::DISCARD, vec![range(5, 1, 1)], 2),
        (kind::DISCARD, vec![], 1),
        (kind::DISCARD, vec![vec![0; 15]], 1),
        (kind::DISCARD, vec![range(5, 1, 0); 17], 1),
    ] {
        assert_eq!(ask(kind, &ranges), (status, old.0, old.1), "{ranges:?}");
    }
    let both = [range(5, 1, 0), range(8, 2, 1)];
    assert_eq!(ask(kind::WRITE_ZEROES, &both), (0, zero, zero));
    assert_eq!(ask(kind::DISCARD, &[range(10, 4, 0)]).0, 0);
    assert_eq!((guest.on_disk(4), guest.on_disk(14)), ([5; 512], [15; 512]));
    assert_eq!(
        guest.file.as_file().metadata().unwrap().len(),
        SECTORS * SECTOR
    );
}

#[test]
fn a_request_without_header_or_status_comes_back() {
    let mut guest = guest(false, 0);
    guest.header(kind::IN, 0);
    for parts in [
        &[(HEADER, 16, false)][..],
        &[(HEADER, 15, false), (STATUS, 1, true)],
        &[(STATUS, 1, true)],
        &[(HEADER, 0, false), (STATUS, 0, true)],
    ] {
        guest.driver.chain(0, 0, parts);
        guest.driver.kick(0);
        let status = parts.last().unwrap().1 == 1;
        assert_eq!(guest.driver.used(0), [(0, status.into())]);
        assert_eq!(
            guest.driver.read::<u8>(STATUS),
            if status { 1 } else { 0xee }
        );
        guest.driver.write(STATUS, 0xeeu8);
    }
    assert_eq!(guest.counts().errors, 4);
}

/// As a protected guest does that has not shared a page: the kernel says EFAULT.
#[test]
fn memory_that_cannot_be_touched_is_an_error_of_the_request() {
    let mut guest = guest(false, 0);
    let region = vm_memory::GuestMemoryBackend::get_host_address(
        &guest.driver.memory,
        vm_memory::GuestAddress(BUFFER + 0x1000),
    );
    let page = region.unwrap();
    // SAFETY: a page of the test's own memory, touched by system calls only until it is back.
    let done = unsafe { libc::mprotect(page.cast(), 0x1000, libc::PROT_NONE) };
    assert_eq!(done, 0);
    let data = (BUFFER, 0x2000, true);
    assert_eq!(guest.request(kind::IN, 0, &[data]).0, 1);
    assert_eq!(
        guest
            .request(kind::OUT, 0, &[(BUFFER + 0x1000, 512, false)])
            .0,
        1
    );
    assert_eq!(guest.request(kind::IN, 7, &[(BUFFER, 512, true)]).0, 0);
    assert_eq!(guest.driver.bytes(BUFFER, 512), [8; 512]);
    assert_eq!(guest.counts().errors, 2);
    // SAFETY: as above.
    unsafe { libc::mprotect(page.cast(), 0x1000, libc::PROT_READ | libc::PROT_WRITE) };
}

#[test]
fn a_file_that_shrank_is_an_error_of_the_request() {
    let mut guest = guest(false, 0);
    guest.file.as_file().set_len(10 * SECTOR).unwrap();
    assert_eq!(guest.request(kind::IN, 9, &[(BUFFER, 1024, true)]).0, 1);
    assert_eq!(guest.request(kind::IN, 9, &[(BUFFER, 512, true)]).0, 0);
}

#[test]
fn much_work_is_done_in_turns() {
    // Sixteen requests of a MiB: more than a turn's worth.
    let file = image();
    file.as_file().set_len(4 << 20).unwrap();
    let mut driver = Driver::running(Block::new(Disk::open(file.path(), false).unwrap(), ""), 0);
    driver.write(HEADER, [kind::IN, 0, 0, 0]);
    for request in 0..16 {
        let table = DATA + 0x2000;
        driver.describe(table, 0, (HEADER, 16, 1, 1));
        driver.describe(table, 1, (RAM2, 1 << 20, 3, 2));
        driver.describe(table, 2, (STATUS, 1, 2, 0));
        driver.describe(Driver::rings(0)[0], request, (table, 48, 4, 0));
        driver.offer(0, request);
    }
    let progress = device(&driver.device).process(Ready::Queue(0));
    assert_eq!(progress, Progress::More);
    let first = driver.used(0).len();
    assert!((1..16).contains(&first), "{first}");
    driver.run(Ready::Again);
    assert_eq!(first + driver.used(0).len(), 16);
}

#[test]
fn a_disk_has_one_writer_or_many_readers() {
    let file = image();
    let writer = Disk::open(file.path(), false).unwrap();
    for read_only in [false, true] {
        let error = Disk::open(file.path(), read_only).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
    }
    drop(writer);
    let _readers = [true; 2].map(|ro| Disk::open(file.path(), ro).unwrap());
    assert!(Disk::open(file.path(), false).is_err());
}

#[test]
fn what_is_no_disk_is_told() {
    let file = NamedTempFile::new().unwrap();
    for (bytes, sectors) in [(0, None), (511, None), (512, Some(1)), (1500, Some(2))] {
        file.as_file().set_len(bytes).unwrap();
        let disk = Disk::open(file.path(), true);
        assert_eq!(disk.ok().map(|disk| disk.sectors()), sectors);
    }
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for (path, what) in [
        (directory.path(), "neither a file nor"),
        (std::path::Path::new("/dev/null"), "neither a file nor"),
        (&missing, "cannot open"),
    ] {
        let error = Disk::open(path, true).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

//! The host's end of a network card.

use crate::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// The longest name of an interface.
const NAME: usize = libc::IFNAMSIZ - 1;

/// An open tap interface: packets with the header of virtio-net.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Opens the interface `name`. One that does not exist is made, when the user may; it is then
    /// gone when the guest is.
    ///
    /// # Errors
    /// [`Error::Machine`] with what the user has to do.
    pub fn open(name: &str) -> Result<Self, Error> {
        let bad = |what: String, remedy: String| Error::Machine { what, remedy };
        let good = |c: char| c.is_ascii_graphic() && c != '/' && c != '%';
        if name.is_empty() || name.len() > NAME || !name.chars().all(good) {
            return Err(bad(
                format!("`{name}` is no name of an interface"),
                format!("names have 1 to {NAME} letters, digits or marks, as in tap0"),
            ));
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true);
        let options = options.custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
        let file = options.open("/dev/net/tun").map_err(|error| {
            bad(
                format!("cannot open /dev/net/tun: {error}"),
                "load the module with `modprobe tun`, and give your user access to the file".into(),
            )
        })?;
        let tap = Tap { file };
        tap.attach(name).map_err(|error| {
            let what = format!("cannot use the interface {name}: {error}");
            let remedy = match error.raw_os_error() {
                Some(libc::EBUSY) => "another program uses it: give each guest its own".to_owned(),
                Some(libc::EINVAL) => {
                    "it is no tap interface of one queue: delete it, or give another name".into()
                }
                _ => format!("make it for your user: `ip tuntap add {name} mode tap user $USER`"),
            };
            bad(what, remedy)
        })?;
        Ok(tap)
    }

    /// A connected socket, or another file of packets, in place of a tap.
    #[cfg(any(test, fuzzing))]
    pub(in super::super) fn from_file(file: File) -> Self {
        Tap { file }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn attach(&self, name: &str) -> io::Result<()> {
        // SAFETY: all zeroes are a value of this plain structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: the kernel reads and writes one `ifreq`.
        let done = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETIFF, &mut request) };
        check(done)?;
        let size = super::HEADER as libc::c_int;
        // SAFETY: the kernel reads one `int`.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &size) })
    }

    /// What the guest's driver does itself: packets with partial checksums, and larger ones.
    pub(super) fn set_offloads(&self, checksum: bool, tso4: bool, tso6: bool) -> io::Result<()> {
        let mut offloads = 0;
        for (on, bit) in [
            (checksum, libc::TUN_F_CSUM),
            (checksum && tso4, libc::TUN_F_TSO4),
            (checksum && tso6, libc::TUN_F_TSO6),
        ] {
            offloads |= if on { bit } else { 0 };
        }
        let offloads = libc::c_ulong::from(offloads);
        // SAFETY: a plain call with a number.
        let done = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) };
        match check(done) {
            // In tests a socket is in its place.
            #[cfg(any(test, fuzzing))]
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(()),
            done => done,
        }
    }
}

fn check(done: libc::c_int) -> io::Result<()> {
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

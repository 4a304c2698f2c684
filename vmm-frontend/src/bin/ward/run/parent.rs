//! The process that the user started: starts the VMM's, again when the guest restarts, and puts
//! everything back when it is over.

use super::config::Config;
use super::logger::say;
use super::signals::Watch;
use super::vmm;
use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use vmm_frontend::control::{Claim, own_directory};
use vmm_frontend::vm::HostError;
use vmm_frontend::{Error, exit, terminal};

use super::args::ConsoleArg;

/// What the VMM's process is told.
pub const PRESS: u8 = b'p';
pub const KILL: u8 = b'k';

/// How long the VMM may take to end its guest when told to, before it is ended itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The files of the guest's console. They are the same for each start of the guest.
pub struct ConsoleFiles {
    pub input: Option<OwnedFd>,
    pub output: Option<OwnedFd>,
    /// The user's terminal is the guest's console.
    pub terminal: bool,
    /// The other side of a pseudo-terminal, held so that it lives between its users.
    _held: Option<OwnedFd>,
}

/// Runs a guest to its end and gives the exit status.
pub fn run(config: &Config) -> Result<u8, Error> {
    if cfg!(not(target_arch = "aarch64")) {
        return Err(HostError::Machine(std::env::consts::ARCH).into());
    }
    let claim = Claim::new(&own_directory(), &config.name, config.named)?;
    let console = open_console(&config.console)?;
    let watch = Watch::new().map_err(|e| system("watch for signals", e))?;
    loop {
        let status = life(config, &claim, &console, &watch)?;
        terminal::restore();
        if status != exit::RESET || !config.reboot {
            return Ok(status);
        }
        log::info!("{}: starts anew", claim.name);
    }
}

/// One life of the guest.
fn life(
    config: &Config,
    claim: &Claim,
    console: &ConsoleFiles,
    watch: &Watch,
) -> Result<u8, Error> {
    let (reader, writer) = io::pipe().map_err(|e| system("make a pipe", e))?;
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    match unsafe { libc::fork() } {
        -1 => Err(system("start a process", io::Error::last_os_error())),
        0 => {
            drop(writer);
            watch.become_vmm();
            end(child(config, claim, console, reader))
        }
        pid => {
            drop(reader);
            wait(pid, writer, watch).map_err(|e| system("wait for the VMM", e))
        }
    }
}

fn child(config: &Config, claim: &Claim, console: &ConsoleFiles, commands: PipeReader) -> u8 {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        terminal::restore();
        hook(info);
        end(exit::BUG)
    }));
    vmm::run(config, claim, console, commands)
}

/// Ends this process without what it shares with its parent being put away.
fn end(status: u8) -> ! {
    let _ = io::stdout().flush();
    // SAFETY: ends the process, whatever its threads do.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Waits for the VMM's end, and tells it of signals meanwhile.
fn wait(pid: i32, mut writer: PipeWriter, watch: &Watch) -> io::Result<u8> {
    let mut told: Option<Instant> = None;
    loop {
        let signal = watch.next()?;
        if signal == libc::SIGCHLD {
            match reap(pid)? {
                Some(status) => return Ok(status),
                None => continue,
            }
        }
        // A VMM that has just ended does not read any more.
        match told {
            None => {
                let _ = writer.write_all(&[PRESS]);
                say(format_args!(
                    "pressed the guest's power button; the same signal again ends it at once"
                ));
                told = Some(Instant::now());
            }
            Some(_) => {
                let _ = writer.write_all(&[KILL]);
                insist(pid);
            }
        }
    }
}

/// Ends a VMM that does not end by itself.
fn insist(pid: i32) {
    let until = Instant::now() + PATIENCE;
    // SIGCHLD stays pending, so the loop that called learns of the end.
    while Instant::now() < until {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` has room for what the call writes; zeroed it says that no child ended.
        unsafe { libc::waitid(libc::P_PID, pid as u32, info.as_mut_ptr(), how) };
        // SAFETY: zeroed or filled in.
        let info = unsafe { info.assume_init() };
        // SAFETY: of a child's end, or zeroed; both have a PID, or 0, there.
        if unsafe { info.si_pid() } == pid {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // SAFETY: takes numbers only; the child is not reaped yet, so the number is its.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// The status of the VMM, if it has ended.
fn reap(pid: i32) -> io::Result<Option<u8>> {
    let mut status = 0;
    // SAFETY: `status` is this frame's.
    match unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } {
        0 => return Ok(None),
        -1 => return Err(io::Error::last_os_error()),
        _ => (),
    }
    let status = ExitStatus::from_raw(status);
    if let Some(code) = status.code() {
        return Ok(Some(code as u8));
    }
    terminal::restore();
    let signal = status.signal().unwrap_or(0);
    if signal == libc::SIGKILL {
        say(format_args!(
            "the VMM was killed (SIGKILL)\n help: if it was not you, the host was out of memory: see `dmesg`"
        ));
        return Ok(Some(exit::STOPPED));
    }
    say(format_args!(
        "the VMM ended by signal {signal}\n help: please report it"
    ));
    Ok(Some(exit::BUG))
}

fn open_console(console: &ConsoleArg) -> Result<ConsoleFiles, Error> {
    let mut files = ConsoleFiles {
        input: None,
        output: None,
        terminal: false,
        _held: None,
    };
    let duplicate = |fd| duplicate(fd).map_err(|e| system("use standard input and output", e));
    match console {
        ConsoleArg::None => (),
        ConsoleArg::Stdio => {
            files.terminal = terminal::remember(0);
            // A terminal that another job has in front is not ours to read.
            // SAFETY: takes a number and touches no memory.
            let other_job = !files.terminal && unsafe { libc::isatty(0) } == 1;
            files.input = if other_job { None } else { duplicate(0).ok() };
            files.output = Some(duplicate(1)?);
        }
        ConsoleArg::File(path) => {
            let mut options = OpenOptions::new();
            let file = options.create(true).write(true).truncate(true).open(path);
            let failed = |source| Error::File {
                doing: "create",
                path: path.clone(),
                source,
            };
            files.output = Some(file.map_err(failed)?.into());
        }
        ConsoleArg::Pty => {
            let (main, side, name) = pty().map_err(|e| system("make a pseudo-terminal", e))?;
            say(format_args!(
                "the guest's console is {name}; for example: screen {name}"
            ));
            let again = main.try_clone().map_err(|e| system("use the console", e))?;
            (files.input, files.output) = (Some(again), Some(main));
            files._held = Some(side);
        }
    }
    Ok(files)
}

fn duplicate(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor is new and nobody else's.
        new => Ok(unsafe { OwnedFd::from_raw_fd(new) }),
    }
}

/// Both sides of a raw pseudo-terminal, and its name. Writing never waits: what nobody reads is
/// lost.
fn pty() -> io::Result<(OwnedFd, OwnedFd, String)> {
    let (mut main, mut side) = (0, 0);
    // SAFETY: all zeros are a `termios`.
    let mut raw: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `raw` is whole.
    unsafe { libc::cfmakeraw(&mut raw) };
    raw.c_cflag |= libc::CREAD;
    let null = std::ptr::null_mut();
    // SAFETY: two numbers are written; name and size may be null.
    if unsafe {
        libc::openpty(
            &mut main,
            &mut side,
            null,
            &raw const raw as *mut _,
            std::ptr::null_mut(),
        )
    } != 0
    {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let main = unsafe { OwnedFd::from_raw_fd(main) };
    // SAFETY: the same.
    let side = unsafe { OwnedFd::from_raw_fd(side) };
    // SAFETY: takes numbers only.
    unsafe {
        libc::fcntl(
            main.as_raw_fd(),
            libc::F_SETFL,
            libc::O_NONBLOCK | libc::O_RDWR,
        )
    };
    let name = std::fs::read_link(format!("/proc/self/fd/{}", side.as_raw_fd()))?;
    Ok((main, side, name.display().to_string()))
}

fn system(doing: &str, source: io::Error) -> Error {
    let doing = doing.into();
    HostError::System { doing, source }.into()
}

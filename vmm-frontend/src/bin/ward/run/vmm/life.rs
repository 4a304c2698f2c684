//! From the bundle to the guest's end.

use super::super::config::{Config, Protection, Source};
use super::super::console::{Input, output};
use super::super::logger::say;
use super::super::parent::{ConsoleFiles, KILL, PRESS};
use super::super::stats::Facts;
use super::super::{devices, signals};
use crate::args::Output;
use serde_json::json;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};
use vmm_frontend::bundle;
use vmm_frontend::control::{Claim, Request, answer};
use vmm_frontend::event_loop::EventLoop;
use vmm_frontend::keys::PublicKey;
use vmm_frontend::sandbox::{Filter, Thread};
use vmm_frontend::vm::{Board, Ending, Host, HostError, Mode, Outcome, Payload, Running, Stop, Vm};
use vmm_frontend::{Error, exit, terminal};

/// How long the user waits without a word.
const LOOK: Duration = Duration::from_secs(2);

pub fn run(
    config: &Config,
    claim: &Claim,
    console: &ConsoleFiles,
    mut commands: PipeReader,
) -> Result<Outcome, Error> {
    let payload = config.payload()?;
    let host = Host::open(&config.kvm)?;
    let devices = devices::open(config)?;
    let mode = match config.protection {
        Protection::Ward => Mode::Protected,
        Protection::Unverified => Mode::Unverified,
        Protection::None => Mode::Normal,
    };
    if config.protection == Protection::Unverified {
        say(format_args!(
            "NOT VERIFIED: nobody checks what starts, so this host chose all of it; only its memory is \
             kept from the host, by KVM"
        ));
    }
    let patience = Patience::new(&payload);
    let mut vm = Vm::build(&host, &payload, mode).map_err(|error| explain(error, config))?;
    drop(patience);
    greet(config, console, claim, payload.vcpus, payload.ram_bytes());
    let mut facts = Facts::new(config, claim, &payload, &vm);
    drop(payload);
    signals::guest_memory(vm.memory().iter().filter_map(|region| {
        let start = region.get_host_address(MemoryRegionAddress(0)).ok()?;
        Some((start as usize, region.len() as usize))
    }));

    let ending = Arc::new(Ending::new().map_err(|e| system("wait for the guest's end", e))?);
    let output = output(console).map_err(|e| system("open the console", e))?;
    let slots = devices.slots(config, vm.memory())?;
    let mut board = Board::new(&vm, &ending, output, slots)?;
    let mut subscribers = std::mem::take(&mut board.subscribers);
    if let Some(file) = &console.input {
        let input = Input::new(file, console.terminal, &board, ending.clone());
        subscribers.push(Box::new(input.map_err(|e| system("read the console", e))?));
    }
    let sandboxes = Sandboxes {
        on: config.seccomp,
        ending: ending.clone(),
    };
    let (in_devices, in_vcpus) = (sandboxes.of(Thread::Devices)?, sandboxes.of(Thread::Vcpu)?);
    let in_control = sandboxes.of(Thread::Control)?;

    if console.terminal {
        terminal::make_raw().map_err(|e| system("put the terminal into raw mode", e))?;
    }
    let mut events = EventLoop::spawn(subscribers, in_devices)
        .map_err(|e| system("start the device thread", e))?;
    let mut running = Running::start(&mut vm, &board.bus, &ending, in_vcpus)?;
    facts.started(&board, running.exits());
    in_control();
    let outcome = supervise(claim, &mut commands, &board, &ending, &mut facts);
    running.stop();
    events.stop();
    terminal::restore();
    outcome.map_err(|e| system("wait for the guest's end", e).into())
}

/// Waits for the end, and answers meanwhile.
fn supervise(
    claim: &Claim,
    commands: &mut PipeReader,
    board: &Board,
    ending: &Ending,
    facts: &mut Facts,
) -> io::Result<Outcome> {
    let poll = |fd: &dyn AsRawFd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        if let Some(outcome) = ending.outcome() {
            return Ok(outcome);
        }
        let mut polled = [poll(&claim.listener), poll(commands), poll(ending.event())];
        // SAFETY: the array has as many entries as are named.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            continue;
        }
        if polled[0].revents != 0 {
            let answered = answer(&claim.listener, |request| match request {
                Request::Info => facts.info(),
                Request::Stats => facts.stats(),
                Request::Power => {
                    let _ = board.power.write(1);
                    json!({ "done": "pressed the power button" })
                }
                Request::Kill => {
                    ending.end(Outcome::Stopped(Stop::Command));
                    json!({ "done": "ended" })
                }
            });
            if let Err(error) = answered {
                log::debug!("a request at the control socket: {error}");
            }
        }
        if polled[1].revents != 0 {
            let mut byte = [0];
            match commands.read(&mut byte)? {
                // The other process is gone: nobody is left to wait for this one.
                0 => signals::die(
                    exit::STOPPED,
                    format_args!("the program that started it is gone"),
                ),
                _ if byte[0] == PRESS => drop(board.power.write(1)),
                _ if byte[0] == KILL => ending.end(Outcome::Stopped(Stop::Signal)),
                _ => (),
            }
        }
    }
}

/// What a thread may ask of the kernel, put on by the thread itself.
struct Sandboxes {
    on: bool,
    ending: Arc<Ending>,
}

impl Sandboxes {
    fn of(&self, thread: Thread) -> Result<impl Fn() + Send + Clone + 'static, Error> {
        let failed = |error| {
            system(
                "make the list of permitted system calls",
                io::Error::other(error),
            )
        };
        let filter = match self.on {
            true => Some(Filter::new(thread).map_err(failed)?),
            false => None,
        };
        let ending = self.ending.clone();
        Ok(move || {
            if let Some(Err(error)) = filter.as_ref().map(Filter::apply) {
                let why = format!(
                    "{error}: this host's kernel may lack CONFIG_SECCOMP_FILTER; --no-seccomp runs without"
                );
                ending.end(Outcome::Failed(why));
            }
        })
    }
}

/// Says that something is going on, when it takes longer than a look.
struct Patience(#[allow(dead_code, reason = "its end is the message")] mpsc::Sender<()>);

impl Patience {
    fn new(payload: &Payload) -> Self {
        let (sender, receiver) = mpsc::channel();
        let bytes: usize = payload.pieces.iter().map(|piece| piece.bytes.len()).sum();
        std::thread::spawn(move || {
            if receiver.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                say(format_args!(
                    "{} MiB are put into place and verified ...",
                    bytes >> 20
                ));
            }
        });
        Patience(sender)
    }
}

/// Says what starts, and how to get out of it.
fn greet(config: &Config, console: &ConsoleFiles, claim: &Claim, cpus: u32, ram: u64) {
    let protection = config.protection.name();
    let plural = if cpus == 1 { "" } else { "s" };
    if console.terminal {
        say(format_args!(
            "{} starts: {protection}, {cpus} CPU{plural}, {} MiB. {}",
            claim.name,
            ram >> 20,
            terminal::HELP
        ));
    } else {
        log::info!(
            "{} starts: {protection}, {cpus} CPU{plural}, {} MiB",
            claim.name,
            ram >> 20
        );
    }
}

/// Ward says that an image is wrong; its file says which.
fn explain(error: HostError, config: &Config) -> Error {
    if let (HostError::Refused { .. }, Source::Bundle(path)) = (&error, &config.source)
        && let Ok(file) = std::fs::read(path)
        && let Ok(manifest) = bundle::read_manifest(&file)
        && let Err(own) = bundle::verify(&file, &[PublicKey(manifest.key)], &bundle::WIDEST)
    {
        return own;
    }
    error.into()
}

/// How it ended, for people or programs.
pub fn tell(outcome: &Outcome, name: &str, output: Output) {
    match output {
        Output::Text => say(format_args!("{name}: {outcome}")),
        Output::Json => {
            let status = outcome.exit_code();
            let object = json!({ "name": name, "outcome": outcome.to_string(), "status": status });
            eprintln!("{object:#}");
        }
    }
}

fn system(doing: &str, source: io::Error) -> HostError {
    let doing = doing.into();
    HostError::System { doing, source }
}

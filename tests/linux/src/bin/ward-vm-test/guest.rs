//! A guest that runs: a thread for each vCPU, which is the guest's one device as well.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::memory::{Memory, PAGE};
use crate::vm::{self, Config, Vm};

/// What host and guest agree on, as the guest has it.
#[expect(dead_code, reason = "not all of it is used here")]
#[path = "../../../../payload/src/protocol.rs"]
pub(crate) mod protocol;

use protocol::{MMIO, MMIO_SIZE, RAM, SPARE, mode, reg};

/// How long an answer may take. A guest that was destroyed never answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the guest hides its secrets.
pub(crate) const SECRETS: u64 = SPARE;

/// What the device is told.
enum Order {
    /// Have the guest do this.
    Mode(u64, u64),
    /// Go on after [`Answer::Held`].
    GoOn,
}

/// What comes back.
#[derive(Debug)]
enum Answer {
    /// The result of a mode.
    Result(u64),
    /// The guest waits in an access to its device, with secrets in its registers.
    Held,
    /// A measured value.
    Measured(u64),
    /// The guest wrote to this address, where it has no device and no memory that it may write.
    Elsewhere(u64),
    /// The vCPU does not run any more, and why.
    Ended(String),
}

/// One vCPU's side.
struct Cpu {
    orders: Sender<Order>,
    // One thread at a time asks.
    answers: Mutex<Receiver<Answer>>,
    thread: JoinHandle<()>,
    fd: RawFd,
    task: i32,
}

/// A guest that runs.
pub(crate) struct Guest {
    cpus: Vec<Cpu>,
    holds: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    // Behind the threads.
    vm: kvm_ioctls::VmFd,
    memory: Memory,
}

impl Guest {
    /// Builds a VM and starts its vCPUs.
    pub(crate) fn start(config: Config) -> Result<Self> {
        let bundle = vm::bundle()?;
        Self::run(Vm::build(&bundle, config, &|_| ())?)
    }

    /// Starts the vCPUs of a VM.
    pub(crate) fn run(vm: Vm) -> Result<Self> {
        catch();
        let [holds, stops] = [(), ()].map(|()| Arc::new(AtomicBool::new(false)));
        let cpus = vm
            .vcpus
            .into_iter()
            .map(|vcpu| cpu(vcpu, Arc::clone(&holds), Arc::clone(&stops)))
            .collect::<Result<_>>()?;
        Ok(Guest {
            cpus,
            holds,
            stops,
            vm: vm.fd,
            memory: vm.memory,
        })
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The VM's file.
    pub(crate) fn vm(&self) -> RawFd {
        self.vm.as_raw_fd()
    }

    /// The file of a vCPU.
    pub(crate) fn vcpu(&self, index: usize) -> RawFd {
        self.cpus[index].fd
    }

    /// The thread of a vCPU, as the kernel numbers it.
    pub(crate) fn task(&self, index: usize) -> i32 {
        self.cpus[index].task
    }

    /// Has a vCPU do something, and returns its result.
    pub(crate) fn ask(&self, cpu: usize, mode: u64, argument: u64) -> Result<u64> {
        self.tell(cpu, mode, argument)?;
        self.result(cpu)
    }

    /// Has a vCPU do something, whose result is taken later.
    pub(crate) fn tell(&self, cpu: usize, mode: u64, argument: u64) -> Result<()> {
        self.cpus[cpu]
            .orders
            .send(Order::Mode(mode, argument))
            .map_err(|_| anyhow!("vCPU {cpu} has ended: {}", self.why(cpu)))
    }

    /// The result of what a vCPU was told.
    pub(crate) fn result(&self, cpu: usize) -> Result<u64> {
        match self.answer(cpu)? {
            Answer::Result(value) => Ok(value),
            other => bail!("vCPU {cpu} said {other:?}"),
        }
    }

    /// Has a vCPU write where it may not; the VMM hears of it, and the guest goes on.
    pub(crate) fn write_elsewhere(&self, cpu: usize, address: u64) -> Result<()> {
        self.tell(cpu, mode::WRITE, address)?;
        let answer = self.answer(cpu)?;
        ensure!(
            matches!(answer, Answer::Elsewhere(where_) if where_ == address),
            "of a write to {address:#x} the VMM heard {answer:?}"
        );
        self.result(cpu).map(drop)
    }

    /// The next measured value, or nothing when the guest has ended.
    pub(crate) fn measured(&self, cpu: usize) -> Result<Option<u64>> {
        match self.answer(cpu)? {
            Answer::Measured(value) => Ok(Some(value)),
            Answer::Ended(_) => Ok(None),
            other => bail!("vCPU {cpu} said {other:?}"),
        }
    }

    /// Does something while a vCPU rests with secrets in all its registers.
    pub(crate) fn held<T>(&self, cpu: usize, what: impl FnOnce() -> Result<T>) -> Result<T> {
        self.holds.store(true, Ordering::SeqCst);
        self.tell(cpu, mode::KEEP, 0)?;
        let held = self.answer(cpu)?;
        ensure!(matches!(held, Answer::Held), "vCPU {cpu} said {held:?}");
        let done = what();
        self.holds.store(false, Ordering::SeqCst);
        self.cpus[cpu]
            .orders
            .send(Order::GoOn)
            .map_err(|_| anyhow!("vCPU {cpu} has ended"))?;
        let wrong = self.result(cpu)?;
        ensure!(wrong == 0, "the guest's registers are not what they were");
        done
    }

    /// Has the guest write secrets to a page.
    pub(crate) fn hide(&self, page: u64) -> Result<()> {
        self.ask(0, mode::HIDE, page)
            .context("hiding a secret")
            .map(drop)
    }

    /// Has the guest look whether they are still there.
    pub(crate) fn intact(&self, page: u64) -> Result<()> {
        let wrong = self
            .ask(0, mode::VERIFY, page)
            .context("the guest does not go on")?;
        ensure!(
            wrong == 0,
            "{wrong} words of the guest's page at {page:#x} are not what they were"
        );
        Ok(())
    }

    /// Starts the second vCPU as a second servant.
    pub(crate) fn second(&self) -> Result<()> {
        let result = self.ask(0, mode::SECOND, 0)?;
        ensure!(result == 0, "CPU_ON said {:#x}", result);
        Ok(())
    }

    /// Has the kernel note which pages of a normal guest's are written.
    pub(crate) fn log_dirty(&self, on: bool) -> Result<()> {
        let flags = u32::from(on) * kvm_bindings::KVM_MEM_LOG_DIRTY_PAGES;
        vm::set_slot(&self.vm, 0, flags, RAM, Some(&self.memory))
    }

    /// Gives it memory besides its own that it may not write, or takes that away.
    pub(crate) fn read_only(&self, at: u64, memory: Option<&Memory>) -> Result<()> {
        vm::set_slot(&self.vm, 1, kvm_bindings::KVM_MEM_READONLY, at, memory)
    }

    /// Takes its own memory away.
    pub(crate) fn forget(&self) -> Result<()> {
        vm::set_slot(&self.vm, 0, 0, RAM, None)
    }

    /// Where a page of the guest's is in this process.
    pub(crate) fn address(&self, page: u64) -> usize {
        self.memory.start() + usize::try_from(page - RAM).unwrap_or(usize::MAX)
    }

    /// Switches the guest off.
    pub(crate) fn end(self) -> Result<()> {
        self.tell(0, mode::OFF, 0)?;
        loop {
            match self.answer(0)? {
                Answer::Ended(why) if why == "off" => break,
                Answer::Ended(why) => bail!("the guest ended: {why}"),
                _ => (),
            }
        }
        self.stops.store(true, Ordering::SeqCst);
        for cpu in self.cpus {
            // One that waits for an order gets none any more.
            drop(cpu.orders);
            // One that the guest has switched off is in the kernel until a signal comes; the signal
            // may come just before it enters.
            while !cpu.thread.is_finished() {
                interrupt(cpu.task);
                thread::sleep(Duration::from_millis(1));
            }
            let _ = cpu.thread.join();
        }
        Ok(())
    }

    fn answer(&self, cpu: usize) -> Result<Answer> {
        let answer = self.receive(cpu);
        answer.with_context(|| format!("vCPU {cpu} said nothing for {} s", PATIENCE.as_secs()))
    }

    fn receive(&self, cpu: usize) -> Result<Answer, RecvTimeoutError> {
        let answers = self.cpus[cpu].answers.lock();
        answers
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(PATIENCE)
    }

    fn why(&self, cpu: usize) -> String {
        match self.receive(cpu) {
            Ok(Answer::Ended(why)) => why,
            other => format!("{other:?}"),
        }
    }
}

/// A signal that does nothing but to interrupt.
fn catch() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a handler that does nothing, for a signal of this program's.
    unsafe {
        libc::signal(
            libc::SIGUSR1,
            nothing as extern "C" fn(_) as libc::sighandler_t,
        )
    };
}

/// Interrupts a thread's system call.
fn interrupt(task: i32) {
    // SAFETY: a signal to a thread of this process, or to nobody.
    unsafe { libc::syscall(libc::SYS_tkill, task, libc::SIGUSR1) };
}

fn cpu(vcpu: VcpuFd, holds: Arc<AtomicBool>, stops: Arc<AtomicBool>) -> Result<Cpu> {
    let (orders, to_do) = mpsc::channel();
    let (to_say, answers) = mpsc::channel();
    let (say_task, task) = mpsc::channel();
    let fd = vcpu.as_raw_fd();
    let thread = thread::Builder::new()
        .spawn(move || {
            let _ = say_task.send(rustix::thread::gettid().as_raw_nonzero().get());
            let device = Device {
                orders: to_do,
                answers: to_say,
                holds,
                stops,
                argument: 0,
                scratch: 0,
                said: String::new(),
            };
            device.run(vcpu);
        })
        .context("no thread for a vCPU")?;
    Ok(Cpu {
        orders,
        answers: Mutex::new(answers),
        thread,
        fd,
        task: task.recv()?,
    })
}

/// The guest's device, as one vCPU sees it.
struct Device {
    orders: Receiver<Order>,
    answers: Sender<Answer>,
    holds: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    argument: u64,
    scratch: u64,
    said: String,
}

impl Device {
    fn run(mut self, mut vcpu: VcpuFd) {
        let why = loop {
            if self.stops.load(Ordering::SeqCst) {
                break "stopped".to_owned();
            }
            match vcpu.run() {
                Ok(VcpuExit::MmioRead(address, data)) => {
                    let value = self.read(address).to_le_bytes();
                    let size = data.len();
                    data.copy_from_slice(&value[..size]);
                }
                Ok(VcpuExit::MmioWrite(address, data)) => {
                    let mut value = [0; 8];
                    value[..data.len()].copy_from_slice(data);
                    self.write(address, u64::from_le_bytes(value));
                }
                Ok(VcpuExit::SystemEvent(1, _)) => break "off".to_owned(),
                Ok(other) => break format!("{other:?}"),
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => (),
                Err(error) => break format!("KVM_RUN: {error}"),
            }
        };
        // What a guest says on its console is why it ended of itself.
        let why = [why, self.said].join(" ").trim_end().to_owned();
        let _ = self.answers.send(Answer::Ended(why));
    }

    fn read(&mut self, address: u64) -> u64 {
        match offset(address) {
            Some(reg::MODE) => match self.orders.recv() {
                Ok(Order::Mode(mode, argument)) => {
                    self.argument = argument;
                    mode
                }
                Ok(Order::GoOn) => mode::SPIN,
                Err(_) => mode::OFF,
            },
            Some(reg::ARGUMENT) => self.argument,
            Some(reg::SCRATCH) => {
                if self.holds.load(Ordering::SeqCst) {
                    let _ = self.answers.send(Answer::Held);
                    let _ = self.orders.recv();
                }
                self.scratch
            }
            _ => 0,
        }
    }

    fn write(&mut self, address: u64, value: u64) {
        let answer = match offset(address) {
            Some(reg::RESULT) => Answer::Result(value),
            Some(reg::MEASURED) => Answer::Measured(value),
            Some(reg::SCRATCH) => {
                self.scratch = value;
                return;
            }
            Some(reg::CONSOLE) => {
                self.said.push(char::from(value as u8));
                return;
            }
            Some(_) => return,
            None => Answer::Elsewhere(address),
        };
        let _ = self.answers.send(answer);
    }
}

fn offset(address: u64) -> Option<u64> {
    let offset = address.checked_sub(MMIO)?;
    (offset < MMIO_SIZE).then_some(offset)
}

/// Whether these bytes hold a secret of the guest's in some word.
pub(crate) fn has_secret(bytes: &[u8]) -> bool {
    bytes.chunks_exact(8).any(|word| {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        protocol::is_secret(word)
    })
}

/// Pages that the guest hides secrets in, one after the other.
pub(crate) fn pages(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| SECRETS + n * PAGE as u64)
}

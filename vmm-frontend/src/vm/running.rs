//! A guest that runs: a thread for each vCPU.

use super::vcpu::{Vcpu, handle_kicks, kick_signal};
use super::{Ending, Exits, HostError, Vm};
use crate::bus::Bus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use vmm_sys_util::signal::Killable;

/// A running guest. Stops when dropped.
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    exits: Arc<Vec<Exits>>,
}

impl Running {
    /// Runs all vCPUs of `vm`; `ending` hears how it ends. `prepare` runs first in each thread:
    /// there a sandbox can be put on.
    ///
    /// # Errors
    /// [`HostError::System`] when there are no more threads.
    pub fn start(
        vm: &mut Vm,
        bus: &Arc<Bus>,
        ending: &Arc<Ending>,
        prepare: impl Fn() + Send + Clone + 'static,
    ) -> Result<Self, HostError> {
        let failed = |source| HostError::System {
            doing: "start the guest's CPUs".into(),
            source,
        };
        handle_kicks().map_err(failed)?;
        let fds = std::mem::take(&mut vm.vcpus);
        let mut running = Running {
            threads: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            exits: Arc::new(fds.iter().map(|_| Exits::default()).collect()),
        };
        for (index, fd) in fds.into_iter().enumerate() {
            let vcpu = Vcpu {
                fd,
                index,
                bus: bus.clone(),
                ending: ending.clone(),
                exits: running.exits.clone(),
                stop: running.stop.clone(),
            };
            let prepare = prepare.clone();
            let thread = std::thread::Builder::new().name(format!("vcpu{index}"));
            let thread = thread.spawn(move || {
                prepare();
                vcpu.run();
            });
            running.threads.push(thread.map_err(failed)?);
        }
        Ok(running)
    }

    /// What the vCPUs came back for, one for each.
    pub fn exits(&self) -> &Arc<Vec<Exits>> {
        &self.exits
    }

    /// Gets all vCPUs out of the guest and ends their threads.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in &self.threads {
            // Fails for a thread that has ended, which is as well.
            let _ = thread.kill(kick_signal());
        }
        for thread in self.threads.drain(..) {
            // It panicked: told by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

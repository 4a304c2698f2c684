//! The devices of the guest's machine, on its bus.

use super::{Ending, HostError, Mode, Outcome, Vm};
use crate::bus::{Bus, Line, MmioDevice, Shared};
use crate::devices::{Clock, Pl011, Pl061, PowerButton, PvPanic};
use crate::event_loop::Subscriber;
use crate::layout::{self, Span};
use crate::virtio::mmio::{Transport, Unused, regs};
use crate::virtio::{Counters, SharedDevice};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use vmm_sys_util::eventfd::EventFd;

/// A virtio device for the next free slot.
pub struct Slot {
    /// What `ward stats` calls it.
    pub name: String,
    /// The device.
    pub device: SharedDevice,
}

/// All devices of a guest.
pub struct Board {
    /// The devices by address.
    pub bus: Arc<Bus>,
    /// What the device thread serves.
    pub subscribers: Vec<Subscriber>,
    /// The console, to type into.
    pub console: Shared<Pl011>,
    /// Written to press the power button.
    pub power: EventFd,
    /// What the virtio devices have done, by their names.
    pub counters: Vec<(String, Arc<Counters>)>,
}

impl Board {
    /// Puts a console that writes to `output`, a clock, a power button, a panic register and the
    /// devices of `slots` on the bus of `vm`. A panic ends the run.
    ///
    /// # Errors
    /// [`HostError`]: more devices than slots, or no more descriptors.
    pub fn new(
        vm: &Vm,
        ending: &Arc<Ending>,
        output: Box<dyn Write + Send>,
        slots: Vec<Slot>,
    ) -> Result<Self, HostError> {
        let level = |number| Arc::new(vm.level(number)) as Arc<dyn Line>;
        let console = Arc::new(Mutex::new(Pl011::new(output, level(layout::UART_SPI))));
        let gpio = Arc::new(Mutex::new(Pl061::new(level(layout::GPIO_SPI))));
        let button = PowerButton::new(gpio.clone(), layout::POWER_LINE);
        let button = button.map_err(|e| system("make the power button", e))?;
        let power = button.trigger();
        let heard = ending.clone();
        let panic = PvPanic::new(Box::new(move |events| {
            if events.panicked() {
                heard.end(Outcome::Panicked);
            }
        }));
        let mut board = Board {
            bus: Arc::default(),
            power: power.map_err(|e| system("make the power button", e))?,
            subscribers: vec![Box::new(button)],
            counters: Vec::new(),
            console: console.clone(),
        };
        let mut bus = Bus::new();
        place(&mut bus, layout::UART, console)?;
        place(&mut bus, layout::RTC, Arc::new(Mutex::new(Clock::new())))?;
        place(&mut bus, layout::GPIO, gpio)?;
        place(&mut bus, layout::PANIC, Arc::new(Mutex::new(panic)))?;
        let most = layout::VIRTIO_SLOTS;
        if slots.len() > most as usize {
            let what = format!(
                "give the guest {} devices: it has {most} slots",
                slots.len()
            );
            return Err(system(what, io::ErrorKind::InvalidInput.into()));
        }
        let mut slots = slots.into_iter();
        for number in 0..most {
            let span = layout::virtio(number);
            match slots.next() {
                Some(slot) => {
                    let transport = board.plug(vm, number, slot)?;
                    place(&mut bus, span, Arc::new(Mutex::new(transport)))?;
                }
                None => place(&mut bus, span, Arc::new(Mutex::new(Unused)))?,
            }
        }
        board.bus = Arc::new(bus);
        Ok(board)
    }

    /// A device's registers, with interrupt and notifications connected.
    fn plug(&mut self, vm: &Vm, number: u32, slot: Slot) -> Result<Transport, HostError> {
        let failed = |error| system(format!("connect the device {}", slot.name), error);
        let interrupt = Arc::new(vm.edge(layout::VIRTIO_SPI + number)?);
        let memory = vm.memory().clone();
        let protected = vm.mode() != Mode::Normal;
        let counters = crate::bus::lock(&slot.device).counters();
        let transport = Transport::new(slot.device, memory, interrupt, protected);
        let transport = transport.map_err(failed)?;
        let notify = layout::virtio(number).start + regs::QUEUE_NOTIFY;
        for (queue, event) in transport.queue_events().iter().enumerate() {
            vm.notify(event, notify, queue as u32)?;
        }
        let worker = transport.worker();
        self.subscribers.push(Box::new(worker));
        self.counters.push((slot.name.clone(), counters));
        Ok(transport)
    }
}

fn place<D: MmioDevice + 'static>(
    bus: &mut Bus,
    span: Span,
    device: Shared<D>,
) -> Result<(), HostError> {
    let placed = bus.insert(span.start, span.size, device);
    placed.map_err(|error| system("lay out the devices", io::Error::other(error)))
}

fn system(doing: impl Into<String>, source: io::Error) -> HostError {
    let doing = doing.into();
    HostError::System { doing, source }
}

//! The scenarios: which checks run in which boot, and how one boot leads to the next.

use std::cell::Cell;

use anyhow::{Context as _, Result, bail};
use rustix::system::RebootCommand;

use crate::args::Args;
use crate::checks::{
    attack, cpus, devices, devmem, guests, hotplug, iommu, kexec, load, log, memory, sleep, timer,
};
use crate::report::Report;
use crate::{disk, proc, system};

/// What every check may look at.
pub(crate) struct Context {
    /// The command line.
    pub(crate) args: Args,
    /// CPUs of the machine.
    pub(crate) cpus: usize,
    /// RAM of the machine, in bytes.
    pub(crate) memory: u64,
    /// The check that runs: several do the same with what their name says.
    pub(crate) check: Cell<&'static str>,
}

/// One check.
struct Check {
    name: &'static str,
    run: fn(&Context, &mut Report) -> Result<()>,
    /// Machines with fewer CPUs leave it out.
    least_cpus: usize,
}

const fn check(name: &'static str, run: fn(&Context, &mut Report) -> Result<()>) -> Check {
    Check {
        name,
        run,
        least_cpus: 1,
    }
}

/// The checks of one boot, and how it ends.
struct Boot {
    name: &'static str,
    /// In groups, so that some may stand in several boots.
    checks: &'static [&'static [Check]],
    end: End,
}

/// How a boot ends.
#[derive(Clone, Copy)]
enum End {
    PowerOff,
    Kexec,
    Reboot,
    Panic,
}

const CPUS: Check = check("cpus", cpus::all_online);
const MEMORY: Check = check("memory", memory::all_there);
const TIMER: Check = check("timer", timer::ticks_everywhere);
const NVME: Check = check("nvme", devices::nvme);
/// Disks and network.
const DEVICES: &[Check] = &[
    NVME,
    check("virtio-blk", devices::virtio_blk),
    check("virtio-net", devices::virtio_net),
];
const MEMORY_BUT_TABLES: Check = check("memory", memory::all_there_but_tables);
const MIXED_LOAD: Check = check("mixed-load", load::mixed);
const HOTPLUG: Check = Check {
    name: "hotplug",
    run: hotplug::while_loaded,
    least_cpus: 2,
};
const LOG: Check = check("ward-log", log::readable);
const QUIET: Check = check("ward-did-not-crash", log::no_crash);

/// Boots in which nothing else is done than to look whether all is there.
const STILL_WELL: &[Check] = &[
    CPUS,
    MEMORY,
    TIMER,
    NVME,
    LOG,
    QUIET,
    check("this-boot", kexec::not_by_kexec),
];

/// The whole list, over four boots.
const MAIN: &[Boot] = &[
    Boot {
        name: "first",
        checks: &[
            &[
                CPUS,
                MEMORY,
                check("memory-readable", memory::readable),
                LOG,
                TIMER,
            ],
            DEVICES,
            &[
                HOTPLUG,
                check("suspend-to-idle", sleep::to_idle),
                check("hole-load", devmem::hole_load),
                check("hole-store", devmem::hole_store),
                check("hole-syscall", devmem::hole_syscall),
                check("ward-load", devmem::ward_load),
                check("ward-store", devmem::ward_store),
                check("ward-syscall", devmem::ward_syscall),
                check("still-alive", cpus::all_online),
            ],
        ],
        end: End::Kexec,
    },
    Boot {
        name: "kexec",
        checks: &[&[
            check("this-boot", kexec::by_kexec),
            CPUS,
            MEMORY,
            TIMER,
            NVME,
            HOTPLUG,
            check("ward-load", devmem::ward_load),
            LOG,
            QUIET,
        ]],
        end: End::Reboot,
    },
    Boot {
        name: "reboot",
        checks: &[STILL_WELL],
        end: End::Panic,
    },
    Boot {
        name: "panic",
        checks: &[STILL_WELL],
        end: End::PowerOff,
    },
];

/// The machines at the ends of the range.
const SHORT: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        CPUS,
        MEMORY,
        check("memory-readable", memory::readable),
        TIMER,
        NVME,
        HOTPLUG,
        LOG,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// A kernel that is not ours, and takes no module of ours.
const STOCK: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[CPUS, MEMORY, TIMER], DEVICES, &[HOTPLUG]],
    end: End::PowerOff,
}];

/// The same behind an SMMU that only Ward knows of, with all devices busy for a while.
const DMA: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[CPUS, MEMORY_BUT_TABLES], DEVICES, &[MIXED_LOAD, HOTPLUG]],
    end: End::PowerOff,
}];

/// The same through domains of the host's own, and a device that a program has.
const DMA_IOMMU: &[Boot] = &[Boot {
    name: "only",
    checks: &[
        &[
            CPUS,
            MEMORY_BUT_TABLES,
            check("iommu-domains", iommu::domains),
        ],
        DEVICES,
        &[
            MIXED_LOAD,
            check("vfio", iommu::vfio),
            HOTPLUG,
            check("refused-accesses", iommu::refused),
        ],
    ],
    end: End::PowerOff,
}];

/// A malicious host.
const ATTACK: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        CPUS,
        // Before its first lines are lost: an attack fills Ward's log many times.
        LOG,
        check("attack", attack::run),
        NVME,
        TIMER,
        HOTPLUG,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// Whether there is a check of that name among the attacks on guests.
pub(crate) fn attacks(name: &str) -> bool {
    ATTACKS.iter().any(|check| check.name == name)
}

const SWAP: Check = check("swap", guests::swap);
const KVM: Check = check("kvm", guests::kvm);
const NUMBERS_BACK: Check = check("numbers-back", guests::numbers);
const ALL_BACK: Check = check("all-back", guests::all_back);

/// Every attack on a guest that `ward-vm-test attack list` names.
const ATTACKS: &[Check] = &[
    check("attack-mapping-load", guests::attack),
    check("attack-mapping-store", guests::attack),
    check("attack-syscall-buffer", guests::attack),
    check("attack-vmsplice", guests::attack),
    check("attack-fork", guests::attack),
    check("attack-proc-mem-read", guests::attack),
    check("attack-proc-mem-write", guests::attack),
    check("attack-process-vm-readv", guests::attack),
    check("attack-process-vm-writev", guests::attack),
    check("attack-ptrace", guests::attack),
    check("attack-dev-mem-mapped", guests::attack),
    check("attack-dev-mem-read", guests::attack),
    check("attack-module-read", guests::attack),
    check("attack-module-write", guests::attack),
    check("attack-module-search", guests::attack),
    check("attack-left-behind", guests::attack),
    check("attack-page-out", guests::attack),
    check("attack-move-pages", guests::attack),
    check("attack-compact", guests::attack),
    check("attack-same-page-merging", guests::attack),
    check("attack-direct-io", guests::attack),
    check("attack-discard", guests::attack),
    check("attack-unmap", guests::attack),
    check("attack-get-one-reg", guests::attack),
    check("attack-set-one-reg", guests::attack),
    check("attack-run-page", guests::attack),
];

/// A host that attacks its guests, one way after the other.
const GUEST_ATTACK: &[Boot] = &[Boot {
    name: "only",
    checks: &[
        &[KVM, SWAP, check("attacks-named", guests::named)],
        ATTACKS,
        &[
            check("race-threads", guests::race),
            check("race-processes", guests::race),
            ALL_BACK,
            NUMBERS_BACK,
            LOG,
            QUIET,
        ],
    ],
    end: End::PowerOff,
}];

/// What a demonstration shows: a guest's own proof, and all attacks.
const DEMO: &[Boot] = &[Boot {
    name: "demo",
    checks: &[
        &[
            KVM,
            SWAP,
            check("guest-demo", guests::linux),
            check("guest-attacked", guests::attacked),
            check("attacks-named", guests::named),
        ],
        ATTACKS,
        &[ALL_BACK, QUIET],
    ],
    end: End::PowerOff,
}];

/// Guests come, go and are killed; the host is short of memory.
const GUEST_LIFE: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        SWAP,
        check("load-normal", guests::load),
        check("load-read-only", guests::load),
        check("load-file", guests::load),
        check("load-slots", guests::load),
        check("load-balloon", guests::load),
        check("load-migrate", guests::load),
        check("load-many", guests::load),
        check("load-pressure", guests::load),
        ALL_BACK,
        check("killed-at-each-stage", guests::killed_at_each_stage),
        check("killed-at-random", guests::killed_at_random),
        ALL_BACK,
        NUMBERS_BACK,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// Linux guests, by `ward run`.
const GUEST_LINUX: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        check("guest-c1m128", guests::linux),
        check("guest-c2m512", guests::linux),
        check("guest-c4m2048", guests::linux),
        check("guest-normal", guests::linux),
        check("guest-stock", guests::linux),
        check("guest-stock-normal", guests::linux),
        check("guest-attacked", guests::attacked),
        ALL_BACK,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// What `ward run` does when not all is well, and its other ways to a guest.
const GUEST_RUN: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        // First: it looks for the first guest in Ward's log.
        check("run-log-follow", guests::run::log_follow),
        check("run-locked-memory", guests::run::memlock),
        check("run-panic", guests::run::panics),
        check("run-disks", guests::run::disks),
        check("run-pty", guests::run::pty),
        check("run-second-signal", guests::run::second_signal),
        ALL_BACK,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// The same kernel without Ward: an ordinary KVM.
const GUEST_ALONE: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        check("load-normal", guests::load),
        check("load-read-only", guests::load),
        check("guest-normal", guests::linux),
        check("run-without-ward", guests::run::without_ward),
        ALL_BACK,
    ]],
    end: End::PowerOff,
}];

/// The same with KVM's own protected mode.
const GUEST_PKVM: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        check("load-normal", guests::load),
        check("load-read-only", guests::load),
        check("load-slots", guests::load),
        check("load-migrate", guests::load),
        check("load-many", guests::load),
        check("run-without-ward", guests::run::without_ward),
        ALL_BACK,
    ]],
    end: End::PowerOff,
}];

/// Debian in a protected guest.
const GUEST_DEBIAN: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        check("guest-debian", guests::debian),
        check("guest-debian-disk", guests::debian_disk),
        ALL_BACK,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// Another VMM: Debian's QEMU.
const GUEST_QEMU: &[Boot] = &[Boot {
    name: "only",
    checks: &[&[
        KVM,
        check("qemu-starts", guests::qemu_root),
        check("guest-qemu-normal", guests::qemu),
        check("guest-qemu-pci-normal", guests::qemu),
        check("guest-qemu-stock-normal", guests::qemu),
        ALL_BACK,
        QUIET,
    ]],
    end: End::PowerOff,
}];

/// Does the scenario's next boot.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    let context = context()?;
    let boots = match context.args.text("scenario") {
        Some("main") => MAIN,
        Some("short") => SHORT,
        Some("stock") => STOCK,
        Some("dma") => DMA,
        Some("dma-iommu") => DMA_IOMMU,
        Some("attack") => ATTACK,
        Some("guest-attack") => GUEST_ATTACK,
        Some("guest-life") => GUEST_LIFE,
        Some("guest-linux") => GUEST_LINUX,
        Some("guest-run") => GUEST_RUN,
        Some("guest-alone") => GUEST_ALONE,
        Some("guest-pkvm") => GUEST_PKVM,
        Some("guest-debian") => GUEST_DEBIAN,
        Some("guest-qemu") => GUEST_QEMU,
        Some("demo") => DEMO,
        other => bail!("there is no scenario {other:?}"),
    };
    system::load_modules()?;
    let state = match boots.len() {
        1 => String::new(),
        _ => disk::state()?,
    };
    let index = match state.as_str() {
        "" => 0,
        name => boots
            .iter()
            .position(|boot| boot.name == name)
            .with_context(|| format!("the disk says that this is the boot {name:?}"))?,
    };
    let boot = &boots[index];
    checks(boot, &context, report);
    report.end();
    let next = boots.get(index + 1).map(|next| next.name);
    end(boot.end, next, &context)
}

fn context() -> Result<Context> {
    let args = Args::read()?;
    Ok(Context {
        cpus: args.value("cpus")?,
        memory: args.value::<u64>("memory")? << 20,
        check: Cell::new(""),
        args,
    })
}

fn checks(boot: &Boot, context: &Context, report: &mut Report) {
    let only = context.args.text("only");
    let wanted = |name| only.is_none_or(|only| only.split(',').any(|word| word == name));
    let planned = || {
        let checks = boot.checks.iter().copied().flatten();
        checks.filter(|check| check.least_cpus <= context.cpus && wanted(check.name))
    };
    let names: Vec<&str> = planned().map(|check| check.name).collect();
    report.plan(boot.name, &names);
    for check in planned() {
        report.begin(check.name);
        context.check.set(check.name);
        match (check.run)(context, report) {
            Ok(()) => report.ok(check.name),
            Err(error) => report.failed(check.name, &format!("{error:#}")),
        }
    }
}

/// Goes on to the next boot; returns only when that does not work or nothing is left to do.
fn end(how: End, next: Option<&str>, context: &Context) -> Result<()> {
    if let Some(next) = next {
        disk::set_state(next)?;
    }
    match how {
        End::PowerOff => Ok(()),
        End::Kexec => kexec::go(context),
        End::Reboot => system::leave(RebootCommand::Restart),
        End::Panic => {
            rustix::fs::sync();
            // Seconds until a kernel that panicked restarts the machine.
            proc::write("/proc/sys/kernel/panic", "1\n")?;
            proc::write("/proc/sysrq-trigger", "c")?;
            bail!("the kernel did not panic")
        }
    }
}

//! What `ward list` and `ward stats` are told of a running guest.

use super::config::{Config, Source};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vmm_frontend::control::Claim;
use vmm_frontend::virtio::Counters;
use vmm_frontend::vm::{Board, Exits, Payload, Vm};

pub struct Facts {
    info: Value,
    since: Instant,
    /// `/proc/self/status`, opened before the sandbox: it shows what it is at each reading.
    status: Option<File>,
    counters: Vec<(String, Arc<Counters>)>,
    exits: Arc<Vec<Exits>>,
}

impl Facts {
    pub fn new(config: &Config, claim: &Claim, payload: &Payload, vm: &Vm) -> Self {
        let (Source::Bundle(file) | Source::Kernel { kernel: file, .. }) = &config.source;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let vmm = std::process::id();
        let info = json!({
            "name": claim.name,
            "pid": std::os::unix::process::parent_id(),
            "vmm_pid": vmm,
            "from": file.canonicalize().unwrap_or_else(|_| file.clone()),
            "protection": config.protection.name(),
            "cpus": payload.vcpus,
            "memory": payload.ram_bytes(),
            "started": now.map_or(0, |time| time.as_secs()),
            // Its directory in /sys/kernel/debug/kvm.
            "kvm": format!("{vmm}-{}", vm.descriptor()),
        });
        Facts {
            info,
            since: Instant::now(),
            status: File::open("/proc/self/status").ok(),
            counters: Vec::new(),
            exits: Arc::default(),
        }
    }

    pub fn started(&mut self, board: &Board, exits: &Arc<Vec<Exits>>) {
        self.counters = board.counters.clone();
        self.exits = exits.clone();
        self.since = Instant::now();
    }

    pub fn info(&self) -> Value {
        let mut info = self.info.clone();
        info["uptime"] = json!(self.since.elapsed().as_secs());
        info
    }

    pub fn stats(&self) -> Value {
        let mut stats = self.info();
        let exits = self.exits.iter().map(|exits| object(exits.now()));
        stats["exits"] = exits.collect();
        let devices = self.counters.iter().map(|(name, counters)| {
            let now = counters.now();
            let counts = object([
                ("requests", now.requests),
                ("from_guest", now.from_guest),
                ("to_guest", now.to_guest),
                ("errors", now.errors),
            ]);
            (name.clone(), counts)
        });
        stats["devices"] = Value::Object(devices.collect());
        stats["resident"] = json!(self.of_status("VmRSS:"));
        stats["locked"] = json!(self.of_status("VmLck:"));
        stats
    }

    /// Bytes, which the file gives in KiB.
    fn of_status(&self, key: &str) -> Option<u64> {
        let mut text = [0; 4096];
        let read = self.status.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..read]).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    }
}

fn object<const N: usize>(pairs: [(&str, u64); N]) -> Value {
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), json!(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

//! A plan, for people.

use std::fmt::{self, Write};

use schism_units::{Span, counted};
use serde_json::Value;

use super::{Length, Plan, controller_address};
use crate::agent::protocol::Command;
use crate::spec::{Cluster, SshCluster, SshHosts, Workload};
use crate::system::{HttpSetup, NodeSetup};

impl Plan {
    /// The whole plan in plain text. The same plan always gives the same bytes.
    pub fn print(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "test       {} ({})", self.name, self.file)?;
        for option in &self.overrides {
            writeln!(out, "           --set {option}")?;
        }
        writeln!(out, "seed       {}", self.seed)?;
        self.write_cluster(out)?;
        self.write_system(out)?;
        self.write_workload(out)?;
        self.write_phases(out)?;
        self.write_faults(out)?;
        self.write_checks(out)?;
        for setup in &self.setups {
            write_node(out, setup)?;
        }
        Ok(())
    }

    fn write_cluster(&self, out: &mut String) -> fmt::Result {
        match &self.cluster.kind {
            Cluster::Local(count) => writeln!(
                out,
                "cluster    {} on this machine, in Linux namespaces; the controller is {}",
                counted(count.count(), "node"),
                controller_address()
            )?,
            Cluster::Ssh(ssh) => return self.write_ssh(out, ssh),
        }
        for node in &self.cluster.nodes {
            writeln!(out, "           {} {}", node.name, node.address)?;
        }
        Ok(())
    }

    fn write_ssh(&self, out: &mut String, ssh: &SshCluster) -> fmt::Result {
        let SshHosts::List(hosts) = &ssh.hosts else { return Ok(()) };
        writeln!(out, "cluster    {} over SSH", counted(hosts.len(), "host"))?;
        for (node, host) in self.cluster.nodes.iter().zip(hosts) {
            write!(out, "           {} is {}, ", node.name, host.target())?;
            match host.known_address() {
                Some(address) => writeln!(out, "{address}")?,
                None => writeln!(
                    out,
                    "its address is found when the run begins; {} stands for it here",
                    node.address
                )?,
            }
        }
        Ok(())
    }

    fn write_system(&self, out: &mut String) -> fmt::Result {
        let system = &self.system;
        let version = system
            .version
            .as_ref()
            .map_or_else(|| "any version".to_owned(), |wanted| format!("version {wanted}"));
        writeln!(out, "system     {}, {version}: {}", system.def.name, system.def.description)?;
        let origin = match (&system.package, system.def.install.packages.as_slice()) {
            (Some(package), _) => format!("from {package}"),
            (None, []) => "already there".to_owned(),
            (None, packages) => {
                format!("from PATH, else unpacked from the Debian package {}", packages.join(", "))
            }
        };
        writeln!(out, "           {}: {origin}", system.def.install.binaries.join(", "))?;
        for (name, value) in &system.settings {
            writeln!(out, "           {name} = {}", plain(value))?;
        }
        Ok(())
    }

    fn write_workload(&self, out: &mut String) -> fmt::Result {
        let workload = &self.workload;
        match &workload.spec {
            Workload::Register(register) => {
                writeln!(
                    out,
                    "workload   register: {} at once, {} operations each, {} by {}, deadline {}",
                    counted(register.keys.get(), "key"),
                    register.ops_per_key,
                    register.rate,
                    counted(workload.workers, "worker"),
                    register.deadline
                )?;
            }
        }
        write!(
            out,
            "           client {} on port {}: {}",
            workload.client,
            workload.port,
            workload.operations.join(", ")
        )?;
        match &workload.reads {
            Some(reads) => writeln!(out, "; {reads} reads"),
            None => writeln!(out),
        }
    }

    fn write_phases(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "phases")?;
        for (index, phase) in self.phases.iter().enumerate() {
            let length = match phase.length {
                Length::Open => String::new(),
                Length::AtMost(span) => format!(" (at most {span})"),
                Length::Exactly(span) => format!(" ({span})"),
            };
            writeln!(out, "  {:>2}  {}{length}: {}", index + 1, phase.name, phase.what)?;
        }
        Ok(())
    }

    fn write_faults(&self, out: &mut String) -> fmt::Result {
        let faults = &self.faults.faults;
        writeln!(
            out,
            "faults     {}",
            if faults.is_empty() { "none".to_owned() } else { faults.len().to_string() }
        )?;
        if self.capture {
            writeln!(out, "           every node records its packets meanwhile")?;
        }
        for fault in faults {
            writeln!(
                out,
                "  {:>9} to {:>9}  {:<12} {}",
                seconds(fault.at_ns),
                seconds(fault.end_ns()),
                fault.id,
                fault.fault.describe()
            )?;
        }
        Ok(())
    }

    fn write_checks(&self, out: &mut String) -> fmt::Result {
        for check in &self.checks {
            writeln!(
                out,
                "check      {} against {}, at most {} and {}",
                check.checker, check.model, check.time_limit, check.memory_limit
            )?;
        }
        writeln!(
            out,
            "pass needs every fault seen to bite and to heal, and {} acknowledged operations",
            self.power.ok
        )
    }
}

fn write_node(out: &mut String, setup: &NodeSetup) -> fmt::Result {
    writeln!(out, "\n{} ({})", setup.node, setup.address)?;
    writeln!(out, "  mkdir -p {} {}", quoted(&setup.data), quoted(&setup.log_dir))?;
    for file in &setup.files {
        writeln!(out, "  write {} (mode {:04o})", quoted(&file.path), file.mode)?;
        for line in file.content.lines() {
            writeln!(out, "    {line}")?;
        }
    }
    for process in &setup.processes {
        writeln!(out, "  start {}, output to {}", process.name, process.log)?;
        writeln!(out, "    {}", command_line(&process.command))?;
    }
    let health = &setup.health;
    writeln!(out, "  healthy when {}, within {}", request(&health.http), health.deadline)?;
    if let Some(leader) = &setup.leader {
        writeln!(out, "  leads when {}", request(&leader.http))?;
    }
    writeln!(out, "  stop with signal {}, killed after {}", setup.stop_signal, setup.stop_grace)
}

fn request(http: &HttpSetup) -> String {
    let mut text = format!("{} {} on port {}", http.method.as_str(), http.path, http.port);
    if let Some(body) = &http.body {
        _ = write!(text, " with {}", quoted(body));
    }
    _ = write!(text, " gives {}", http.status);
    if let Some(when) = &http.when {
        _ = write!(text, " and {when}");
    }
    text
}

/// As a shell would take it.
pub(super) fn command_line(command: &Command) -> String {
    let env = command.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
    env.chain(command.argv.iter().map(|argument| quoted(argument))).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// To the millisecond: nobody reads on.
pub(super) fn seconds(nanos: u64) -> String {
    let millis = Span::millis(nanos / 1_000_000).nanos() / 1_000_000;
    format!("{}.{:03} s", millis / 1000, millis % 1000)
}

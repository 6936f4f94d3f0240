//! What the faults of a plan do on the nodes, command by command.

use std::fmt::{self, Write};
use std::time::Duration;

use schism_nemesis::linux;
use schism_nemesis::node::Peer;
use schism_nemesis::resolve::{Roles, resolve};
use schism_nemesis::timeline::PlannedFault;

use super::Plan;
use super::print::{command_line, seconds};

impl Plan {
    /// [`Plan::print`], and every command of every fault under this lease. Who leads is known only when a fault starts: those
    /// faults are shown as if the first node did.
    pub fn print_commands(&self, lease: Duration) -> String {
        let mut text = self.print();
        // Writing to a string cannot fail.
        _ = self.write_commands(&mut text, lease);
        text
    }

    fn write_commands(&self, out: &mut String, lease: Duration) -> fmt::Result {
        if self.faults.faults.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nWhat the faults do. The agents ask the kernel themselves, to the effect of these commands; before each they note \
             in their journal how to undo it, and every fault ends by itself {} s after its controller was last heard.",
            lease.as_secs_f64()
        )?;
        let peers: Vec<Peer> = self
            .cluster
            .nodes
            .iter()
            .map(|node| Peer { node: node.name.clone(), address: node.address })
            .collect();
        for fault in &self.faults.faults {
            self.write_fault(out, fault, &peers, lease)?;
        }
        Ok(())
    }

    fn write_fault(
        &self,
        out: &mut String,
        fault: &PlannedFault,
        peers: &[Peer],
        lease: Duration,
    ) -> fmt::Result {
        let process = self.setups.first().and_then(|setup| setup.processes.first());
        let process = process.map_or("", |process| &process.name);
        let first = peers.first().map(|peer| peer.node.clone());
        let (unknown, resolved) = match resolve(&fault.fault, peers, &Roles::default(), process) {
            Ok(resolved) => (false, resolved),
            Err(_) => match resolve(&fault.fault, peers, &Roles { leader: first.clone() }, process) {
                Ok(resolved) => (true, resolved),
                Err(error) => return writeln!(out, "\n{}: {error}", fault.id),
            },
        };
        let supposing =
            if unknown { format!(" (if {} leads then)", first.unwrap_or_default()) } else { String::new() };
        writeln!(out, "\n{}: {}{supposing}", fault.id, fault.describe())?;
        for (when, heals) in [(fault.at_ns, false), (fault.end_ns(), true)] {
            writeln!(out, "  at {}", seconds(when))?;
            for (node, parts) in &resolved.nodes {
                for (number, part) in parts.iter().enumerate() {
                    let setup = self.setups.iter().find(|setup| setup.node == *node);
                    let start = setup.and_then(|setup| setup.processes.first());
                    let start = start.map(|process| command_line(&process.command)).unwrap_or_default();
                    let commands = linux::commands(&format!("{}.{number}", fault.id), part, lease, &start);
                    for command in if heals { commands.heal } else { commands.make } {
                        writeln!(out, "    {node}  {command}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

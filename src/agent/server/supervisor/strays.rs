//! What of ours runs or stands still on a node, also what no record knows.

use std::collections::BTreeSet;

use super::Supervisor;
use crate::agent::server::proc::{Stat, Table, kill_tree};
use crate::agent::server::run::KILL_PATIENCE;

impl Supervisor {
    /// Continues whatever of ours is stopped, and says what that was. An agent that is killed while it stops a process tree
    /// leaves one that no journal knows. Only when no fault is in force.
    ///
    /// # Errors
    /// `/proc` cannot be read, or a process cannot be signalled: a sentence.
    pub fn continue_stopped(&self) -> Result<Vec<String>, String> {
        let mut members = BTreeSet::new();
        let table = Table::read().map_err(|error| format!("read /proc: {error}"))?;
        for instance in self.lock().values().filter_map(|process| process.instance.as_ref()) {
            members.extend(table.tree(Some(instance.identity), &instance.mark));
        }
        let ours = format!("{}/", self.state.owner());
        let mut continued = Vec::new();
        for stat in table.iter().filter(|stat| stat.state == 'T') {
            let identity = stat.identity;
            if members.contains(&identity) || stat.mark().is_some_and(|mark| mark.starts_with(&ours)) {
                identity
                    .signal(libc::SIGCONT)
                    .map_err(|error| format!("continue process {} ({}): {error}", identity.pid, stat.name))?;
                tracing::warn!(event = "process continued", pid = identity.pid, name = stat.name);
                continued.push(format!("process {} ({}) was stopped", identity.pid, stat.name));
            }
        }
        Ok(continued)
    }

    /// Kills whatever else carries our mark: what commands left in the background, what outlived its record.
    pub(super) fn sweep(&self) -> Result<(), String> {
        let ours = format!("{}/", self.state.owner());
        let table = Table::read().map_err(|error| format!("read /proc: {error}"))?;
        let marks: BTreeSet<String> =
            table.iter().filter_map(Stat::mark).filter(|mark| mark.starts_with(&ours)).collect();
        for mark in marks {
            kill_tree(None, &mark, KILL_PATIENCE).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What still runs and what cannot be understood, one line each. `known` are the marks of what else we run.
    pub fn residue(&self, known: &[String]) -> Vec<String> {
        let mut found = self.unreadable.clone();
        let Ok(table) = Table::read() else {
            found.push("/proc cannot be read, so what still runs is unknown".to_owned());
            return found;
        };
        let mut accounted = BTreeSet::new();
        let processes = self.lock();
        for (name, process) in processes.iter() {
            let Some(instance) = &process.instance else { continue };
            let tree = table.tree(Some(instance.identity), &instance.mark);
            if tree.is_empty() {
                continue;
            }
            let pids: Vec<String> = tree.iter().map(|member| member.pid.to_string()).collect();
            found.push(format!("process `{name}` runs ({})", pids.join(", ")));
            accounted.extend(tree);
        }
        for mark in known {
            accounted.extend(table.tree(None, mark));
        }
        let ours = format!("{}/", self.state.owner());
        for stat in table.iter() {
            let identity = stat.identity;
            if !accounted.contains(&identity) && stat.mark().is_some_and(|mark| mark.starts_with(&ours)) {
                found.push(format!(
                    "process {} ({}) was left by something of ours that ended",
                    identity.pid, stat.name
                ));
            }
        }
        found
    }
}

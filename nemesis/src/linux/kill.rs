//! Kills a supervised process with everything it started, and keeps it down until healed.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::poll;
use super::process::{self, Identity, Prospect, State};
use crate::node::{Evidence, FaultError, Host, Mechanism};

/// How long the tree may take to stand still before it is killed as it is.
const FREEZE_PATIENCE: Duration = Duration::from_millis(500);
/// How long the killed may take to be gone before healing starts the process again.
const GONE_PATIENCE: Duration = Duration::from_secs(5);

/// The fault.
#[derive(Clone, Debug)]
pub struct Kill {
    process: String,
    /// Whom this very mechanism killed; empty in another process.
    victims: Vec<Identity>,
}

impl Kill {
    /// Kills the supervised process of this name.
    pub fn new(process: &str) -> Self {
        Self { process: process.to_owned(), victims: Vec::new() }
    }

    /// Waits until nothing of the process is on its way to death, so that what is alive then lives. An earlier agent may have
    /// died while it killed them: what it stopped first and did not come to kill is killed now, since it would keep the
    /// process from being started.
    fn finish(&self, host: &dyn Host, deadline: Instant) -> Result<(), FaultError> {
        loop {
            let prospects: Vec<(i32, Prospect)> = process::alive(host, &self.process)
                .into_iter()
                .map(|pid| (pid, process::prospect(pid)))
                .filter(|(_, prospect)| *prospect != Prospect::Lives)
                .collect();
            if prospects.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let pids: Vec<i32> = prospects.iter().map(|(pid, _)| *pid).collect();
                return Err(Self::failed("heal", format!("still dying: {}", process::describe(&pids))));
            }
            if prospects.iter().any(|(_, prospect)| *prospect == Prospect::Stops) {
                for pid in process::alive(host, &self.process) {
                    process::signal(pid, Signal::SIGKILL).map_err(|reason| Self::failed("heal", reason))?;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn failed(step: &'static str, reason: impl Into<String>) -> FaultError {
        FaultError { step, fault: "kill", reason: reason.into() }
    }
}

impl Mechanism for Kill {
    fn precheck(&self, host: &dyn Host) -> Result<(), FaultError> {
        if process::alive(host, &self.process).is_empty() {
            return Err(Self::failed("precheck", super::not_running(&self.process)));
        }
        Ok(())
    }

    fn inject(&mut self, host: &dyn Host, _lease: Duration) -> Result<(), FaultError> {
        if process::alive(host, &self.process).is_empty() {
            return Err(Self::failed("inject", super::not_running(&self.process)));
        }
        host.hold_down(&self.process, true);
        // What stands still starts nothing that could escape. What does not stand still in time is killed all the same.
        if let Err(reason) = process::freeze(host, &self.process, FREEZE_PATIENCE) {
            tracing::debug!(process = self.process, reason, "killing what would not stop first");
        }
        let deadline = Instant::now() + GONE_PATIENCE;
        while Instant::now() < deadline {
            let fresh: Vec<Identity> = process::alive(host, &self.process)
                .into_iter()
                .filter_map(process::identify)
                .filter(|process| !self.victims.contains(process))
                .collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for victim in fresh {
                process::signal(victim.pid, Signal::SIGKILL)
                    .map_err(|reason| Self::failed("inject", reason))?;
                self.victims.push(victim);
            }
        }
        let seconds = GONE_PATIENCE.as_secs();
        let reason =
            format!("{} starts processes faster than they can be killed, for {seconds} s now", self.process);
        Err(Self::failed("inject", reason))
    }

    fn verify(&mut self, host: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        poll::until(patience, || {
            let mut left = process::alive(host, &self.process);
            left.extend(
                self.victims.iter().filter(|victim| !process::is_gone(**victim)).map(|victim| victim.pid),
            );
            left.sort_unstable();
            left.dedup();
            if !left.is_empty() {
                return Ok(Evidence { holds: false, seen: process::describe(&left) });
            }
            let pids: Vec<i32> = self.victims.iter().map(|victim| victim.pid).collect();
            let seen = match pids.as_slice() {
                [] => format!("nothing of {} runs", self.process),
                [_] => format!("{} is gone", process::list(&pids)),
                _ => format!("{} are gone", process::list(&pids)),
            };
            Ok(Evidence { holds: true, seen })
        })
    }

    fn renew(&mut self, _: &dyn Host, _: Duration) -> Result<(), FaultError> {
        // The kernel brings nothing back by itself: the agent's watch over the lease starts the process again.
        Ok(())
    }

    fn heal(&mut self, host: &dyn Host) -> Result<(), FaultError> {
        // Whoever is dying still looks as if it ran, and would not be started again.
        let deadline = Instant::now() + GONE_PATIENCE;
        while !self.victims.iter().all(|victim| process::is_gone(*victim)) {
            if Instant::now() >= deadline {
                let pids: Vec<i32> = self.victims.iter().map(|victim| victim.pid).collect();
                let reason =
                    format!("still dying after {} s: {}", GONE_PATIENCE.as_secs(), process::describe(&pids));
                return Err(Self::failed("heal", reason));
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.victims.clear();
        self.finish(host, deadline)?;
        host.hold_down(&self.process, false);
        host.start(&self.process)
    }

    fn verify_healed(&mut self, host: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        poll::until(patience, || {
            let pids = process::alive(host, &self.process);
            let running: Vec<i32> =
                pids.iter().copied().filter(|pid| matches!(process::state(*pid), State::Going(_))).collect();
            let seen = match (pids.as_slice(), running.as_slice()) {
                ([], _) => format!("nothing of {} runs", self.process),
                (_, []) => process::describe(&pids),
                (_, [_]) => format!("{} runs", process::list(&running)),
                _ => format!("{} run", process::list(&running)),
            };
            Ok(Evidence { holds: !running.is_empty(), seen })
        })
    }
}

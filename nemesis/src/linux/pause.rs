//! Stops a supervised process with everything it started, and continues it when healed.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::poll;
use super::process::{self, State};
use crate::node::{Evidence, FaultError, Host, Mechanism};

/// How long the tree may take to stand still.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);

/// The fault.
#[derive(Clone, Debug)]
pub struct Pause {
    process: String,
}

impl Pause {
    /// Stops the supervised process of this name.
    pub fn new(process: &str) -> Self {
        Self { process: process.to_owned() }
    }

    fn failed(step: &'static str, reason: impl Into<String>) -> FaultError {
        FaultError { step, fault: "pause", reason: reason.into() }
    }

    fn stop(&self, host: &dyn Host, step: &'static str) -> Result<(), FaultError> {
        match process::freeze(host, &self.process, FREEZE_PATIENCE) {
            Ok(pids) if pids.is_empty() => Err(Self::failed(step, super::not_running(&self.process))),
            Ok(_) => Ok(()),
            Err(reason) => Err(Self::failed(step, reason)),
        }
    }

    fn stopped(&self, host: &dyn Host) -> Vec<i32> {
        let mut pids = process::alive(host, &self.process);
        // One whose state cannot be read may be stopped, too.
        pids.retain(|pid| matches!(process::state(*pid), State::Stopped | State::Unknown));
        pids
    }
}

impl Mechanism for Pause {
    fn precheck(&self, host: &dyn Host) -> Result<(), FaultError> {
        if process::alive(host, &self.process).is_empty() {
            return Err(Self::failed("precheck", super::not_running(&self.process)));
        }
        Ok(())
    }

    fn inject(&mut self, host: &dyn Host, _lease: Duration) -> Result<(), FaultError> {
        self.stop(host, "inject")
    }

    fn verify(&mut self, host: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        poll::until(patience, || {
            let pids = process::alive(host, &self.process);
            if pids.is_empty() {
                return Ok(Evidence { holds: false, seen: format!("nothing of {} runs", self.process) });
            }
            let holds = pids.iter().all(|pid| process::state(*pid) == State::Stopped);
            Ok(Evidence { holds, seen: process::describe(&pids) })
        })
    }

    fn renew(&mut self, host: &dyn Host, _lease: Duration) -> Result<(), FaultError> {
        // Somebody else's SIGCONT would end the fault unseen.
        self.stop(host, "renew")
    }

    fn heal(&mut self, host: &dyn Host) -> Result<(), FaultError> {
        // Whoever stopped them may have died a moment ago, and what was sent has not arrived: to look stopped, a process has to
        // notice. SIGCONT takes back a SIGSTOP that is on its way, and does nothing to a process that runs.
        for pid in process::alive(host, &self.process) {
            process::signal(pid, Signal::SIGCONT).map_err(|reason| Self::failed("heal", reason))?;
        }
        // Until none is left: one that was continued may have been about to stop, and its children are listed later.
        for _ in 0..100 {
            let stopped = self.stopped(host);
            if stopped.is_empty() {
                return Ok(());
            }
            for pid in stopped {
                process::signal(pid, Signal::SIGCONT).map_err(|reason| Self::failed("heal", reason))?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Self::failed(
            "heal",
            format!("still stopped after SIGCONT: {}", process::describe(&self.stopped(host))),
        ))
    }

    fn verify_healed(&mut self, host: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        poll::until(patience, || {
            let pids = process::alive(host, &self.process);
            if pids.is_empty() {
                let seen =
                    format!("nothing of {} runs (it died meanwhile), so nothing is stopped", self.process);
                return Ok(Evidence { holds: true, seen });
            }
            let stopped = self.stopped(host);
            let seen =
                if stopped.is_empty() { process::describe(&pids) } else { process::describe(&stopped) };
            Ok(Evidence { holds: stopped.is_empty(), seen })
        })
    }
}

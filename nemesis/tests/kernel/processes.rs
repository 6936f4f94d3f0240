//! Kills and pauses of real process trees.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schism_nemesis::linux::mechanism;
use schism_nemesis::node::{FaultError, Host, Mechanism, NodeFault};

const PATIENCE: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::ZERO;
const LEASE: Duration = Duration::from_secs(60);
const NAME: &str = "store";

/// Supervises one shell script, as an agent would.
struct Supervisor {
    script: &'static str,
    child: Mutex<Option<Child>>,
    held_down: Mutex<bool>,
}

impl Supervisor {
    fn of(script: &'static str) -> Self {
        let supervisor = Self { script, child: Mutex::new(None), held_down: Mutex::new(false) };
        supervisor.start(NAME).unwrap();
        supervisor
    }

    /// Waits until the script has started `count` processes, itself included.
    fn with(self, count: usize) -> Self {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.pids(NAME).len() < count {
            assert!(std::time::Instant::now() < deadline, "never {count} processes: {:?}", self.pids(NAME));
            std::thread::yield_now();
        }
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill_main(&self) {
        let mut child = self.lock();
        child.as_mut().unwrap().kill().unwrap();
        child.as_mut().unwrap().wait().unwrap();
    }
}

/// State, parent, group of a process.
fn stat(pid: i32) -> Option<(char, i32, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn state(pid: i32) -> Option<char> {
    stat(pid).map(|(state, _, _)| state)
}

impl Host for Supervisor {
    /// Everything in the process group of the script.
    fn pids(&self, process: &str) -> Vec<i32> {
        let mut child = self.lock();
        let Some(main) = child.as_mut().filter(|_| process == NAME) else { return Vec::new() };
        let _ = main.try_wait();
        let group = main.id().cast_signed();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| stat(*pid).is_some_and(|(state, _, of)| of == group && state != 'Z')).collect()
    }

    fn hold_down(&self, _: &str, down: bool) {
        *self.held_down.lock().unwrap() = down;
    }

    fn start(&self, process: &str) -> Result<(), FaultError> {
        if self.pids(process).is_empty() {
            let mut command = Command::new("sh");
            command.args(["-c", self.script]).process_group(0).stdin(Stdio::null());
            *self.lock() = Some(command.spawn().unwrap());
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(main) = self.lock().as_mut() {
            let _ = kill(Pid::from_raw(-main.id().cast_signed()), Signal::SIGKILL);
            let _ = main.wait();
        }
    }
}

const FAMILY: &str = "sleep 300 & (sleep 300 & sleep 300; :) & wait";
/// Starts short-lived children without end, each of which starts another.
const BROOD: &str = "while :; do (sleep 0.005 & sleep 0.005) & sleep 0.002; done";

fn kill_of(process: &str) -> Box<dyn Mechanism> {
    mechanism("kill-1", &NodeFault::Kill { process: process.to_owned() })
}

fn pause_of(process: &str) -> Box<dyn Mechanism> {
    mechanism("pause-1", &NodeFault::Pause { process: process.to_owned() })
}

#[test]
fn kills_the_whole_family_and_starts_it_again() {
    for (script, count) in [(FAMILY, 5), (BROOD, 1)] {
        let host = Supervisor::of(script).with(count);
        let before = host.pids(NAME);
        let mut fault = kill_of(NAME);
        fault.precheck(&host).unwrap();
        assert_eq!(host.pids(NAME).first(), before.first(), "precheck changes nothing");
        fault.inject(&host, LEASE).unwrap();
        assert!(*host.held_down.lock().unwrap());
        let evidence = fault.verify(&host, PATIENCE).unwrap();
        assert!(evidence.holds && evidence.seen.ends_with(" gone"), "{evidence:?}");
        for pid in &before {
            assert!(matches!(state(*pid), None | Some('Z')), "{pid} lives");
        }
        assert!(host.pids(NAME).is_empty());
        assert!(!fault.verify_healed(&host, AT_ONCE).unwrap().holds);
        fault.renew(&host, LEASE).unwrap();

        fault.heal(&host).unwrap();
        assert!(!*host.held_down.lock().unwrap());
        let healed = fault.verify_healed(&host, PATIENCE).unwrap();
        assert!(healed.holds && healed.seen.contains("run"), "{healed:?}");
        let after = host.pids(NAME);
        fault.heal(&host).unwrap();
        assert_eq!(host.pids(NAME).first(), after.first(), "healing twice starts nothing twice");
        let evidence = fault.verify(&host, AT_ONCE).unwrap();
        assert!(!evidence.holds, "it runs: {evidence:?}");
    }
}

#[test]
fn another_process_heals_a_kill_from_the_data_alone() {
    let host = Supervisor::of(FAMILY).with(5);
    kill_of(NAME).inject(&host, LEASE).unwrap();
    let mut other = kill_of(NAME);
    assert!(other.verify(&host, PATIENCE).unwrap().holds);
    other.heal(&host).unwrap();
    assert!(other.verify_healed(&host, PATIENCE).unwrap().holds);
}

#[test]
fn pauses_the_whole_family_until_nothing_moves() {
    for (script, count) in [(FAMILY, 5), (BROOD, 1)] {
        let host = Supervisor::of(script).with(count);
        let mut fault = pause_of(NAME);
        fault.precheck(&host).unwrap();
        assert!(!fault.verify(&host, AT_ONCE).unwrap().holds);
        fault.inject(&host, LEASE).unwrap();
        let evidence = fault.verify(&host, AT_ONCE).unwrap();
        assert!(evidence.holds && evidence.seen.contains("is in state T"), "{evidence:?}");
        let stopped = host.pids(NAME);
        assert!(stopped.len() >= count && stopped.iter().all(|pid| state(*pid) == Some('T')), "{stopped:?}");
        assert!(!fault.verify_healed(&host, AT_ONCE).unwrap().holds);

        // Somebody continues one of them: renewing stops it again.
        kill(Pid::from_raw(stopped[0]), Signal::SIGCONT).unwrap();
        fault.renew(&host, LEASE).unwrap();
        assert!(fault.verify(&host, AT_ONCE).unwrap().holds);

        pause_of(NAME).heal(&host).unwrap();
        let healed = fault.verify_healed(&host, PATIENCE).unwrap();
        assert!(healed.holds && !healed.seen.contains("state T"), "{healed:?}");
        assert!(host.pids(NAME).iter().all(|pid| state(*pid) != Some('T')));
        fault.heal(&host).unwrap();
    }
}

#[test]
fn who_died_while_paused_is_not_paused() {
    let host = Supervisor::of("exec sleep 300");
    let mut fault = pause_of(NAME);
    fault.inject(&host, LEASE).unwrap();
    host.kill_main();
    let evidence = fault.verify(&host, AT_ONCE).unwrap();
    assert!(!evidence.holds && evidence.seen.contains("nothing of store runs"), "{evidence:?}");
    fault.heal(&host).unwrap();
    let healed = fault.verify_healed(&host, AT_ONCE).unwrap();
    assert!(healed.holds && healed.seen.contains("died meanwhile"), "{healed:?}");
}

#[test]
fn a_paused_process_can_be_killed() {
    let host = Supervisor::of(FAMILY).with(5);
    pause_of(NAME).inject(&host, LEASE).unwrap();
    let mut fault = kill_of(NAME);
    fault.inject(&host, LEASE).unwrap();
    assert!(fault.verify(&host, PATIENCE).unwrap().holds);
}

#[test]
fn says_when_nothing_runs() {
    let host = Supervisor::of("exec sleep 300");
    for mut fault in [kill_of("stoer"), pause_of("stoer")] {
        let error = fault.precheck(&host).unwrap_err().to_string();
        assert!(error.contains("`stoer`"), "{error}");
        assert!(fault.inject(&host, LEASE).is_err());
        assert!(!*host.held_down.lock().unwrap());
    }
    assert_eq!(host.pids(NAME).len(), 1);
}

//! What `/proc` says about processes, and signals to whole trees of them.

use std::fmt;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::Host;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(1);

/// A process, told apart from a later one that got the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub pid: i32,
    /// Its start, in clock ticks since boot.
    started: u64,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Every thread of it is stopped.
    Stopped,
    /// It is not: the letter is that of a thread which is not stopped.
    Going(char),
    /// It is dead, at most a zombie that nobody has collected yet.
    Dead,
    /// The kernel could not be asked (no file descriptor left, say). Proves nothing: neither that a fault bites nor that it
    /// is gone.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("in state T"),
            Self::Going(letter) => write!(f, "in state {letter}"),
            Self::Dead => f.write_str("gone"),
            Self::Unknown => f.write_str("in a state that cannot be read"),
        }
    }
}

/// What a `stat` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    letter: char,
    parent: i32,
    flags: u64,
    started: u64,
}

/// Reads a `stat` file. The program's name may contain anything, also parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // Fields 3, 4, 9 and 22 of the file.
    let letter = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let flags = fields.nth(4)?.parse().ok()?;
    let started = fields.nth(12)?.parse().ok()?;
    Some(Stat { letter, parent, flags, started })
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The process that has this id now.
pub fn identify(pid: i32) -> Option<Identity> {
    stat(pid).map(|stat| Identity { pid, started: stat.started })
}

/// What the process with this id is doing. Looks at every thread: the first one may be over while others run.
pub fn state(pid: i32) -> State {
    let threads = match fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(threads) => threads,
        Err(error) => return if is_over(&error) { State::Dead } else { State::Unknown },
    };
    let mut state = State::Dead;
    for thread in threads {
        let text = match thread.and_then(|thread| fs::read_to_string(thread.path().join("stat"))) {
            Ok(text) => text,
            Err(error) if is_over(&error) => continue,
            Err(_) => return State::Unknown,
        };
        match parse_stat(&text).map(|stat| stat.letter) {
            Some('T' | 't') => state = State::Stopped,
            Some('Z' | 'X' | 'x') | None => {}
            Some(letter) => return State::Going(letter),
        }
    }
    state
}

/// What becomes of a process by what was already sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// Nothing that is known of.
    Lives,
    /// It is stopped, or about to be.
    Stops,
    /// It is dying, or about to.
    Dies,
}

/// What becomes of the process with this id. A signal takes a moment from being sent to being noticed; until then the process
/// looks as if nothing had happened.
pub fn prospect(pid: i32) -> Prospect {
    /// `PF_EXITING` of the kernel's `sched.h`.
    const EXITING: u64 = 0x4;
    let Some(stat) = stat(pid) else { return Prospect::Dies };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = pending(&status);
    let has = |signal: Signal| pending >> (signal as i32 - 1) & 1 == 1;
    if stat.flags & EXITING != 0 || has(Signal::SIGKILL) {
        Prospect::Dies
    } else if state(pid) == State::Stopped || has(Signal::SIGSTOP) {
        Prospect::Stops
    } else {
        Prospect::Lives
    }
}

/// The signals that a process has been sent and not noticed, as a `status` file says: those of the thread and those of the
/// process, a bit each.
fn pending(status: &str) -> u64 {
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    of("SigPnd:").unwrap_or(0) | of("ShdPnd:").unwrap_or(0)
}

/// Whether this very process is dead, as far as the kernel says so: what cannot be read is not gone.
pub fn is_gone(process: Identity) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", process.pid)) {
        Ok(text) => match parse_stat(&text) {
            Some(stat) => stat.started != process.started || state(process.pid) == State::Dead,
            None => false,
        },
        Err(error) => is_over(&error),
    }
}

/// Whether an error about a file below `/proc` means that the process or thread is no more, and nothing else.
fn is_over(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The supervised process and everything it started, without the dead.
pub fn alive(host: &dyn Host, process: &str) -> Vec<i32> {
    let mut pids = host.pids(process);
    pids.retain(|pid| state(*pid) != State::Dead);
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Sends a signal. A process that is already gone needs none.
///
/// # Errors
/// The kernel refused; says what that means.
pub fn signal(pid: i32, signal: Signal) -> Result<(), String> {
    // 0 and below would mean whole groups.
    if pid <= 0 {
        return Err(format!("{pid} is not a process id"));
    }
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(Errno::EPERM) => {
            Err(format!("may not send {signal} to pid {pid}; run the agent as root or as the process's user"))
        }
        Err(error) => Err(format!("cannot send {signal} to pid {pid}: {error}")),
    }
}

/// Stops the supervised process and everything it started, until nothing of it is going and nothing new has come: a process
/// can start another one before the signal reaches it. Gives the ids; none when nothing runs.
///
/// Parents are stopped before their children. A parent that waits for its child to call `exec` (after `vfork`, which is how
/// many runtimes start programs) cannot be stopped while it waits, and would wait for ever for a stopped child.
///
/// # Errors
/// What did not stop within `patience`, or the kernel refused.
pub fn freeze(host: &dyn Host, process: &str, patience: Duration) -> Result<Vec<i32>, String> {
    let deadline = Instant::now() + patience;
    loop {
        let pids = alive(host, process);
        let going: Vec<i32> = pids
            .iter()
            .copied()
            .filter(|pid| matches!(state(*pid), State::Going(_) | State::Unknown))
            .collect();
        // Nobody was going after the list was made, so a second list shows whether somebody was missing from it.
        if going.is_empty() && alive(host, process) == pids {
            return Ok(pids);
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "not everything stopped within {} ms: {}",
                patience.as_millis(),
                describe(&pids)
            ));
        }
        for pid in &going {
            if stat(*pid).is_some_and(|stat| !going.contains(&stat.parent)) {
                signal(*pid, Signal::SIGSTOP)?;
            }
        }
        thread::sleep(INTERVAL);
    }
}

/// The processes with their states: `pid 714 is in state T, pid 715 is gone`.
pub fn describe(pids: &[i32]) -> String {
    let each: Vec<String> = pids.iter().map(|pid| format!("pid {pid} is {}", state(*pid))).collect();
    each.join(", ")
}

/// The ids: `pid 714`, `pids 714, 715`.
pub fn list(pids: &[i32]) -> String {
    let noun = if pids.len() == 1 { "pid" } else { "pids" };
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    format!("{noun} {}", pids.join(", "))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::node::FaultError;

    #[test]
    fn reads_stat_of_programs_with_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        for name in ["etcd", "a b", "x) S 9 (y", ""] {
            let expected = Stat { letter: 'S', parent: 1, flags: 6, started: 777 };
            assert_eq!(parse_stat(&format!("12 ({name}) {fields}")), Some(expected), "{name}");
        }
        for text in ["", "12 (etcd", "12 (etcd)", "12 (etcd) S 1 2"] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn knows_what_is_on_its_way() {
        let status =
            "Name:\tx\nSigPnd:\t0000000000040000\nShdPnd:\t0000000000000100\nSigBlk:\t00000000ffffffff\n";
        assert_eq!(pending(status), 1 << 18 | 1 << 8);
        assert_eq!(pending(""), 0);
        let mut child = Command::new("sleep").arg("300").spawn().unwrap();
        let pid = child.id().cast_signed();
        assert_eq!(prospect(pid), Prospect::Lives);
        // From the very moment on that it was sent, and not only from when it is seen.
        signal(pid, Signal::SIGSTOP).unwrap();
        assert_eq!(prospect(pid), Prospect::Stops);
        signal(pid, Signal::SIGCONT).unwrap();
        assert_eq!(prospect(pid), Prospect::Lives);
        child.kill().unwrap();
        assert_eq!(prospect(pid), Prospect::Dies);
        child.wait().unwrap();
        assert_eq!(prospect(pid), Prospect::Dies);
    }

    #[test]
    fn knows_itself_and_not_the_dead() {
        let pid = std::process::id().cast_signed();
        let me = identify(pid).unwrap();
        assert!(!is_gone(me));
        assert!(matches!(state(pid), State::Going(_)));
        assert!(is_gone(Identity { started: me.started + 1, ..me }), "another process with the same id");
        assert_eq!(state(i32::MAX), State::Dead);
    }

    /// In a process of its own that may open no more files: reading `/proc` fails, and failure proves nothing.
    #[test]
    fn what_cannot_be_read_is_neither_dead_nor_stopped() {
        const ROLE: &str = "SCHISM_TEST_NO_FILES";
        if std::env::var_os(ROLE).is_none() {
            let test = "linux::process::tests::what_cannot_be_read_is_neither_dead_nor_stopped";
            let status = Command::new(std::env::current_exe().unwrap())
                .args([test, "--exact", "--nocapture"])
                .env(ROLE, "1")
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            return;
        }
        let pid = std::process::id().cast_signed();
        let me = identify(pid).unwrap();
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 0, 0).unwrap();
        assert_eq!(state(pid), State::Unknown);
        assert!(!is_gone(me));
    }

    /// A process and its child, which is on the list only from the second time on that its parent was seen stopped.
    struct Late {
        parent: i32,
        child: i32,
        looks: AtomicUsize,
    }

    impl Host for Late {
        fn pids(&self, _: &str) -> Vec<i32> {
            let stopped = state(self.parent) == State::Stopped;
            let late = stopped && self.looks.fetch_add(1, Ordering::Relaxed) > 0;
            if late { vec![self.parent, self.child] } else { vec![self.parent] }
        }
        fn hold_down(&self, _: &str, _: bool) {}
        fn start(&self, _: &str) -> Result<(), FaultError> {
            Ok(())
        }
    }

    #[test]
    fn a_child_that_was_born_during_the_look_is_stopped_too() {
        let mut processes: Vec<Child> =
            (0..2).map(|_| Command::new("sleep").arg("300").spawn().unwrap()).collect();
        let [parent, child] = [0, 1].map(|at| processes[at].id().cast_signed());
        let frozen =
            freeze(&Late { parent, child, looks: AtomicUsize::new(0) }, "store", Duration::from_secs(10));
        let states = [parent, child].map(state);
        for process in &mut processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        assert_eq!(states, [State::Stopped; 2], "{frozen:?}");
        assert_eq!(frozen.unwrap().len(), 2);
    }

    #[test]
    fn never_signals_a_group() {
        assert!(signal(0, Signal::SIGCONT).is_err());
        assert!(signal(-1, Signal::SIGCONT).is_err());
    }
}

//! Which processes there are, and which of them belong together, from `/proc`.
//!
//! A process number alone names nothing: it may belong to somebody else a moment later. An [`Identity`] adds the start
//! time, which makes it unique as long as the machine runs.
//!
//! What belongs to something we started is found in three ways, since a program can escape each one of them: by parents
//! (lost when an intermediate process exits), by session (lost with `setsid`), and by an environment variable that all
//! descendants inherit (lost when a program clears its environment).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pidfd::PidFd;

/// The environment variable that marks what we start: `<owner>/<token>`.
pub const MARK: &str = "SCHISM_OWNER";

/// How often to look again at a process that is replacing its program.
const EXEC_LOOKS_MAX: usize = 100;
/// The pause in between.
const EXEC_PAUSE: Duration = Duration::from_micros(200);
/// Hardly an environment is longer, in bytes.
const ENVIRONMENT_LEN: usize = 32 << 10;
/// How often an environment has to be found empty to be believed.
const EMPTY_LOOKS: usize = 3;
/// `PF_KTHREAD` of the kernel's `sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// `PF_EXITING` of the same.
const EXITING: u64 = 0x4;

/// How often to look again while stopping a tree that still grows.
const FREEZE_ROUNDS_MAX: usize = 64;

/// One process for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

/// A line of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Who.
    pub identity: Identity,
    /// The first 15 bytes of the program's name.
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub state: char,
    /// The parent's number.
    pub parent: i32,
    /// The session's number.
    pub session: i32,
    threads: u64,
    flags: u64,
    environment_end: u64,
}

impl Stat {
    /// The process with this number, `None` when there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The name is in parentheses and may itself hold parentheses and spaces.
        let (head, rest) = line.rsplit_once(')')?;
        let (pid, name) = head.split_once(" (")?;
        let field: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            identity: Identity { pid: pid.parse().ok()?, start: field.get(19)?.parse().ok()? },
            name: name.to_owned(),
            state: field.first()?.chars().next()?,
            parent: field.get(1)?.parse().ok()?,
            session: field.get(3)?.parse().ok()?,
            threads: field.get(17)?.parse().ok()?,
            flags: field.get(6)?.parse().ok()?,
            environment_end: field.get(48).and_then(|end| end.parse().ok()).unwrap_or(0),
        })
    }

    /// Whether it has ended and only waits to be reaped. (A main thread that ended before the others looks like that, too.)
    pub fn is_dead(&self) -> bool {
        self.state == 'X' || (self.state == 'Z' && self.threads <= 1)
    }

    /// The value of [`MARK`] in the environment it was started with; `None` when it has none or we may not look.
    pub fn mark(&self) -> Option<String> {
        if self.is_dead() || self.flags & KERNEL_THREAD != 0 { None } else { mark_of(self.identity.pid) }
    }
}

impl Identity {
    /// The process with this number now.
    pub fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| stat.identity)
    }

    /// Its line of the process table; `None` when it is gone, also if another process has its number.
    pub fn stat(self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.identity == self)
    }

    /// Whether it runs (or is stopped, but not dead).
    pub fn is_alive(self) -> bool {
        self.stat().is_some_and(|stat| !stat.is_dead())
    }

    /// Sends `signal`; fine when it is gone, and never to another process.
    ///
    /// # Errors
    /// It is not ours to signal.
    pub fn signal(self, signal: i32) -> io::Result<()> {
        let result = match PidFd::open(self.pid) {
            // Compared after opening: from then on the descriptor cannot mean another process.
            Ok(_) if self.stat().is_none() => return Ok(()),
            Ok(fd) => fd.signal(signal),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            // No such system call: the check and the signal are two steps then, as they are in every other tool.
            Err(_) if self.stat().is_none() => return Ok(()),
            Err(_) => nix::sys::signal::Signal::try_from(signal)
                .and_then(|signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal))
                .map_err(io::Error::from),
        };
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }
}

/// Every process there is at one moment, as far as a walk through `/proc` is one.
pub struct Table(BTreeMap<i32, Stat>);

impl Table {
    /// Reads `/proc`.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn read() -> io::Result<Self> {
        let mut table = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok())
                && let Some(stat) = Stat::of(pid)
            {
                table.insert(pid, stat);
            }
        }
        Ok(Self(table))
    }

    /// Every process, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Stat> {
        self.0.values()
    }

    /// `root` and everything it started, as far as it lives: `root` first, the others by number. `mark` is the value of [`MARK`]
    /// that `root` was given.
    pub fn tree(&self, root: Option<Identity>, mark: &str) -> Vec<Identity> {
        let me = std::process::id();
        let root = root.filter(|root| self.0.get(&root.pid).is_some_and(|stat| stat.identity == *root));
        let mut members: BTreeSet<i32> = self
            .0
            .values()
            .filter(|stat| {
                // A session's number is its first process's, and as long as that is there it means this session.
                root.is_some_and(|root| stat.identity == root || stat.session == root.pid)
                    || stat.mark().is_some_and(|found| found == mark)
            })
            .map(|stat| stat.identity.pid)
            .collect();
        loop {
            let before = members.len();
            for stat in self.0.values() {
                if members.contains(&stat.parent) {
                    members.insert(stat.identity.pid);
                }
            }
            if members.len() == before {
                break;
            }
        }
        let mut tree: Vec<Identity> = members
            .iter()
            .filter_map(|pid| self.0.get(pid))
            .filter(|stat| !stat.is_dead() && u32::try_from(stat.identity.pid) != Ok(me))
            .map(|stat| stat.identity)
            .collect();
        tree.sort_by_key(|identity| (Some(*identity) != root, *identity));
        tree
    }
}

fn mark_of(pid: i32) -> Option<String> {
    let prefix = format!("{MARK}=");
    let mut empty = 0;
    for _ in 0..EXEC_LOOKS_MAX {
        let environment = environment(pid).ok()?;
        if !environment.is_empty() {
            return environment.split(|byte| *byte == 0).find_map(|variable| {
                let mark = variable.strip_prefix(prefix.as_bytes())?;
                Some(String::from_utf8_lossy(mark).into_owned())
            });
        }
        if is_in_exec(pid) {
            std::thread::sleep(EXEC_PAUSE);
            continue;
        }
        // It may have been in the middle of it a moment ago, when the environment was read.
        empty += 1;
        if empty == EMPTY_LOOKS {
            break;
        }
    }
    None
}

/// The environment a process was started with. Read in one go where it can be: between two reads the process may replace
/// its program, and the second would find the end.
pub fn environment(pid: i32) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(format!("/proc/{pid}/environ"))?;
    let mut environment = vec![0; ENVIRONMENT_LEN];
    let len = file.read(&mut environment)?;
    environment.truncate(len);
    if len == ENVIRONMENT_LEN {
        file.read_to_end(&mut environment)?;
    }
    Ok(environment)
}

/// Whether a process is just replacing its program: for a moment the end of its new environment is not known. Kernel
/// threads have none, and the dying have none any more.
fn is_in_exec(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| {
        stat.environment_end == 0 && !stat.is_dead() && stat.flags & (KERNEL_THREAD | EXITING) == 0
    })
}

/// Where process numbers and start times mean what they mean: this boot, this pid namespace. The kernel gives the number of a
/// namespace that is gone to another one, hence also the start of its first process.
pub fn scope() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link(Path::new("/proc/self/ns/pid")).unwrap_or_default();
    let first = Stat::of(1).map_or(0, |stat| stat.identity.start);
    format!("{} {} {first}", boot.trim(), namespace.display())
}

/// Kills `root` and everything it started, and returns when all of it is gone. Blocks for at most `patience`.
///
/// Everything is stopped first and killed then: a stopped process starts nothing, so the tree holds still and the links
/// from child to parent survive until all of it is known.
///
/// # Errors
/// What is still there, and why.
pub fn kill_tree(root: Option<Identity>, mark: &str, patience: Duration) -> io::Result<()> {
    let end = Instant::now() + patience;
    let mut known = BTreeSet::new();
    for _ in 0..FREEZE_ROUNDS_MAX {
        let fresh: Vec<Identity> =
            Table::read()?.tree(root, mark).into_iter().filter(|member| !known.contains(member)).collect();
        if fresh.is_empty() {
            break;
        }
        for member in fresh {
            // Not ours to signal: killing will say so.
            let _ = member.signal(libc::SIGSTOP);
            known.insert(member);
        }
    }
    let mut pause = Duration::from_millis(1);
    loop {
        known.extend(Table::read()?.tree(root, mark));
        known.retain(|member| member.is_alive());
        if known.is_empty() {
            return Ok(());
        }
        let mut refused = None;
        for member in &known {
            if let Err(error) = member.signal(libc::SIGKILL) {
                refused = Some(error);
            }
        }
        if Instant::now() >= end {
            let left: Vec<String> = known.iter().map(|member| member.pid.to_string()).collect();
            let why = refused.map_or_else(
                || "it does not die; look for a stuck disk or network file system".to_owned(),
                |error| error.to_string(),
            );
            return Err(io::Error::other(format!("cannot kill process {}: {why}", left.join(", "))));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hostile_names() {
        let line = "714 (a) b (c)) T 1 700 699 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 10 18446744073709551615";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.identity, Identity { pid: 714, start: 123_456 });
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.session), ("a) b (c)", 'T', 1, 699));
        assert_eq!(Stat::parse("714 (x) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_recycled_number_is_another_process() {
        let me = Identity::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        let impostor = Identity { start: me.start + 1, ..me };
        assert!(!impostor.is_alive());
        // Would end this test.
        impostor.signal(libc::SIGKILL).unwrap();
        assert!(Table::read().unwrap().tree(Some(impostor), "no such mark").is_empty());
    }

    #[test]
    fn a_mark_is_seen_also_in_the_middle_of_exec() {
        // Replaces its program over and over, and is in the middle of that most of the time.
        let script = r#"n=$((${1:-0} + 1)); [ $n -lt 300 ] && exec sh -c "$0" "$0" $n"#;
        let mut child = std::process::Command::new("sh")
            .args(["-c", script, script])
            .env(MARK, "exec test")
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let (mut seen, mut missed) = (0, 0);
        while child.try_wait().unwrap().is_none() {
            match mark_of(pid) {
                Some(mark) => {
                    assert_eq!(mark, "exec test");
                    seen += 1;
                }
                // Who is ending has no environment any more.
                None if Stat::of(pid).is_none_or(|stat| stat.is_dead() || stat.flags & EXITING != 0) => {}
                None => missed += 1,
            }
        }
        assert!(seen > 0);
        assert_eq!(missed, 0, "of {seen}");
    }
}

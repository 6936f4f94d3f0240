//! What a cluster can leave behind, and how to find it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::process::MARK;

/// Waits until something holds, looking again and again.
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_or(what, holds, String::new);
}

/// Waits until something holds, and tells the rest where it does not.
#[track_caller]
pub fn until_or(what: &str, mut holds: impl FnMut() -> bool, rest: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what} {}", rest());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Every process, by number.
fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

/// The processes that run with this mark.
pub fn marked(mark: &str) -> BTreeSet<i32> {
    let variable = format!("{MARK}={mark}").into_bytes();
    let has = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|found| found == variable))
    };
    all().filter(has).collect()
}

/// State and parent of a process, while it is there.
fn status(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, but no line of it ends the last parenthesis.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// What these processes are and what they wait for, for the message of a test that fails.
pub fn describe(processes: &BTreeSet<i32>) -> String {
    let read = |pid: i32, what: &str| {
        let said = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_else(|error| error.to_string().into());
        String::from_utf8_lossy(&said).replace('\0', " ").trim_end().to_owned()
    };
    processes
        .iter()
        .map(|&pid| {
            let [line, wchan, stack] = ["cmdline", "wchan", "stack"].map(|what| read(pid, what));
            format!("\n{pid} {:?}: {line}\n  in {wchan}\n{stack}", status(pid))
        })
        .collect()
}

/// A child of this process.
pub fn child_of(parent: i32) -> Option<i32> {
    all().find(|&pid| status(pid).is_some_and(|(_, of)| of == parent))
}

/// Whether a process is no more, or only waits to be collected.
pub fn ended(pid: i32) -> bool {
    status(pid).is_none_or(|(state, _)| state == 'Z')
}

/// How many processes are in this user namespace.
pub fn in_user_namespace(namespace: &Path) -> usize {
    all().filter(|pid| fs::read_link(format!("/proc/{pid}/ns/user")).is_ok_and(|of| of == namespace)).count()
}

fn namespaces(pid: i32) -> BTreeSet<PathBuf> {
    fs::read_dir(format!("/proc/{pid}/ns"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .collect()
}

/// The namespaces that processes with a mark were seen in, and that are not this process's own. Held open: the kernel gives
/// the number of a namespace that is gone to the next one, which may be another test's.
pub struct Seen(BTreeMap<PathBuf, fs::File>);

impl Seen {
    pub fn of(mark: &str) -> Self {
        let own = namespaces(std::process::id().cast_signed());
        let mut seen = BTreeMap::new();
        for pid in marked(mark) {
            for entry in fs::read_dir(format!("/proc/{pid}/ns")).into_iter().flatten().flatten() {
                let Ok(file) = fs::File::open(entry.path()) else { continue };
                // The name of what was opened, whatever became of the process meanwhile.
                let name = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
                if !own.contains(&name) {
                    seen.insert(name, file);
                }
            }
        }
        Self(seen)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no process but this one is in any of them or holds one open, and none is mounted.
    pub fn gone(&self) -> bool {
        let held = |pid: i32| {
            namespaces(pid).into_iter().chain(
                fs::read_dir(format!("/proc/{pid}/fd"))
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()),
            )
        };
        let me = std::process::id().cast_signed();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // A dead process shows its namespace until its parent collects it, which is not always soon.
        !all()
            .filter(|pid| *pid != me && !ended(*pid))
            .flat_map(held)
            .any(|namespace| self.0.contains_key(&namespace))
            && !self.0.keys().any(|namespace| mounts.contains(&*namespace.to_string_lossy()))
    }
}

/// What the machine had before: its interfaces, its mounts of a cluster's kind, and the files where a cluster could leave some.
#[derive(Debug, PartialEq, Eq)]
pub struct Audit {
    interfaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

impl Audit {
    pub fn begin() -> Self {
        let names = |path: &Path| {
            fs::read_dir(path)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()))
                .collect::<BTreeSet<_>>()
        };
        // Only names that a cluster uses: other tests and programs come and go meanwhile.
        let interfaces = names(Path::new("/sys/class/net"))
            .into_iter()
            .filter(|name| name.starts_with("schism") || name.starts_with('v'))
            .collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .filter(|line| ["/machine", "/nodes", "schism"].iter().any(|ours| line.contains(ours)))
            .map(str::to_owned)
            .collect();
        let files = ["/", "/tmp", "/run", "/var/tmp"]
            .into_iter()
            .map(Path::new)
            .flat_map(|place| ["machine", "nodes", "n1", "root", "layers"].map(|name| place.join(name)))
            .filter(|path| path != Path::new("/root") && path.exists())
            .collect();
        Self { interfaces, mounts, files }
    }

    /// Fails where something is there that was not.
    #[track_caller]
    pub fn clean(&self) {
        assert_eq!(*self, Self::begin(), "a cluster left something");
    }
}

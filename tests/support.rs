//! What the integration tests share: the binary, directories of their own, and looking at what is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// The binary under test.
pub const SCHISM: &str = env!("CARGO_BIN_EXE_schism");

/// A directory of the test's own, gone at its end; `schism` runs in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file below the place.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `schism ARGUMENTS`, run in the place.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SCHISM);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null()).env_remove("SCHISM_RUNS");
        command
    }

    /// Runs it to its end.
    pub fn schism(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments).output().unwrap())
    }

    /// Runs it to its end with this on standard input.
    pub fn schism_with(&self, arguments: &[&str], input: &str) -> Finished {
        use std::io::Write;
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // It may end without having read everything.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let finished = Finished::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        finished
    }

    /// Starts it with its output in pipes.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The newest run directory.
    pub fn latest(&self) -> PathBuf {
        fs::canonicalize(self.path().join("runs/latest")).unwrap()
    }

    /// `results.json` of the newest run.
    pub fn results(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.latest().join("results.json")).unwrap()).unwrap()
    }
}

/// How a command ended.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code, and shows everything when it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Everything it printed.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Waits for a condition; panics with `what` when it does not come.
#[track_caller]
pub fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", patience.as_secs_f64());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a program is on this machine; says so when a test is skipped for its absence.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
        || Path::new("/usr/sbin").join(program).is_file();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Every process on this machine whose environment carries `mark`: those that a test started, and all they started.
pub fn marked_processes(mark: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// A run of one or two seconds of the demo system; what is not said here can be said with `--set` and in `more`.
pub fn short_test(more: &str) -> String {
    format!(
        "name: short
system: demo
cluster: {{ local: 3 }}
workload: {{ register: {{ keys: 3, rate: 300/s, concurrency: 1n, deadline: 1s }} }}
time-limit: 1s
settle: 100ms
seed: 1
power: {{ ok: 20 }}
{more}
"
    )
}

/// A `schism` on its way. Its output goes to files of the place, so that no pipe can fill up; everything it starts carries
/// its mark.
pub struct Started {
    child: Child,
    pub mark: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Started {
    /// Starts `command`. Its temporary files and its home are directories of the place, `tmp` and `home`.
    pub fn new(place: &Place, mut command: Command) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!("SCHISM_TEST_MARK={}-{number}-run", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let output = |kind: &str| place.path().join(format!("{kind}-{number}"));
        let (stdout, stderr) = (output("stdout"), output("stderr"));
        for own in ["tmp", "home"] {
            fs::create_dir_all(place.path().join(own)).unwrap();
        }
        command.env(name, value);
        command.env("TMPDIR", place.path().join("tmp")).env("HOME", place.path().join("home"));
        command.stdin(Stdio::null());
        command.stdout(fs::File::create(&stdout).unwrap()).stderr(fs::File::create(&stderr).unwrap());
        Self { child: command.spawn().unwrap(), mark, stdout, stderr }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        format!(
            "stdout:\n{}\nstderr:\n{}",
            fs::read_to_string(&self.stdout).unwrap(),
            fs::read_to_string(&self.stderr).unwrap()
        )
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until something holds; fails when the run ends before.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(!self.has_ended(), "ended before {what}: {}", self.printed());
            assert!(Instant::now() < deadline, "not within a minute: {what}; {}", self.printed());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `schism.log` of the place's newest run has these words.
    #[track_caller]
    pub fn until_logged(&mut self, place: &Place, words: &str) {
        let log = place.path().join("runs/latest/schism.log");
        self.until(words, || fs::read_to_string(&log).is_ok_and(|log| log.contains(words)));
    }

    /// Waits until the place's newest run has this many events in its history.
    #[track_caller]
    pub fn until_events(&mut self, place: &Place, events: usize) {
        let history = place.path().join("runs/latest/history.jsonl");
        self.until("events", || {
            fs::read(&history).is_ok_and(|text| text.iter().filter(|byte| **byte == b'\n').count() >= events)
        });
    }

    /// Waits for its end, and that nothing it started is left.
    #[track_caller]
    pub fn finish(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "still there after {} s: {}", patience.as_secs_f64(), self.printed());
            std::thread::sleep(Duration::from_millis(5));
        };
        eventually("no process of the run is left", Duration::from_secs(20), || {
            marked_processes(&self.mark).is_empty()
        });
        Finished {
            code: status.code(),
            stdout: fs::read_to_string(&self.stdout).unwrap(),
            stderr: fs::read_to_string(&self.stderr).unwrap(),
        }
    }

    /// Kills it as nobody can prevent, and collects it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Those of `processes` whose second argument is `command`: `agent`, `cluster-init`, `demo-node`.
pub fn running(mark: &str, command: &str) -> Vec<i32> {
    let is = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).nth(1) == Some(command.as_bytes())
    };
    marked_processes(mark).into_iter().filter(is).collect()
}

/// The node that a process of a local cluster is on.
pub fn node_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/root/etc/hostname")).unwrap_or_default().trim().to_owned()
}

/// `schism run test.yaml OPTIONS`, on its way.
pub fn start(place: &Place, options: &[&str]) -> Started {
    Started::new(place, place.command(&[&["run", "test.yaml"], options].concat()))
}

/// Asserts that a text has all these parts.
#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

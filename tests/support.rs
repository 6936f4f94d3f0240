//! What the integration tests share: the binary, directories of their own, and looking at what is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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

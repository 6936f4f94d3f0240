//! Processes that take part in a test: this test binary with a role, as this user or another.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The variable that says what a process of this test binary is to do.
pub const ROLE: &str = "SCHISM_TEST_ROLE";
/// The variable by which the processes of one cluster are known; it is handed on to everything in it.
pub const MARK: &str = "SCHISM_TEST_MARK";
const EXECUTABLE: &str = "SCHISM_TEST_EXECUTABLE";
/// The arguments that make this test binary play its role.
pub const AS_ROLE: &[&str] = &["--exact", "local_cluster::role", "--ignored", "--nocapture"];
/// An ordinary user without an entry anywhere, and not the kernel's "nobody".
const ORDINARY: u32 = 61_234;

pub fn own_executable() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub fn schism_executable() -> PathBuf {
    std::env::var_os(EXECUTABLE).map_or_else(|| env!("CARGO_BIN_EXE_schism").into(), PathBuf::from)
}

/// A command with the directory it needs, which goes when it does.
pub struct Prepared {
    command: Command,
    directory: Option<tempfile::TempDir>,
}

/// This test binary as the user who runs the tests.
pub fn plain() -> Prepared {
    let mut command = Command::new(own_executable());
    command.args(AS_ROLE).env(EXECUTABLE, schism_executable());
    Prepared { command, directory: None }
}

/// This test binary as an ordinary user, with links to what that user may not reach.
pub fn ordinary_user() -> Prepared {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |from: &Path, name: &str| {
        let to = directory.path().join(name);
        // A link where the directory is on the same file system: nothing is copied.
        if std::fs::hard_link(from, &to).is_err() {
            std::fs::copy(from, &to).unwrap();
        }
        to
    };
    let own = copy(&own_executable(), "tests");
    let schism = copy(&schism_executable(), "schism");
    // For what the ordinary user makes himself.
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = Command::new(own);
    command.args(AS_ROLE).uid(ORDINARY).gid(ORDINARY).current_dir("/").env_clear();
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("TMPDIR", temporary).env(EXECUTABLE, schism);
    Prepared { command, directory: Some(directory) }
}

/// Runs a scenario to its end, and returns what it said.
pub fn take_part(mut prepared: Prepared, role: &str) -> String {
    let output = prepared.command.env(ROLE, role).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{role}: {}\n{said}\n{complained}", output.status);
    assert!(said.contains("1 passed"), "{role} did not run: {said}");
    if let Some(directory) = prepared.directory {
        let left: Vec<_> = std::fs::read_dir(directory.path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{role} left {left:?}");
        directory.close().unwrap();
    }
    said
}

/// Runs a scenario on a machine that `script` has changed, in namespaces where it may.
pub fn take_part_after(script: &str, role: &str) -> String {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!("{script} && exec \"$0\" \"$@\"")).arg(own_executable()).args(AS_ROLE);
    command.env(EXECUTABLE, schism_executable());
    take_part(Prepared { command, directory: None }, role)
}

/// A running process with a role, in a process group of its own.
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub mark: String,
    _directory: Option<tempfile::TempDir>,
}

/// Starts a scenario.
pub fn start(mut prepared: Prepared, role: &str) -> Running {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}-{}-{role}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let command = prepared.command.env(ROLE, role).env(MARK, &mark).process_group(0);
    // Some of these are meant to lose their cluster, and finding the lines of a backtrace takes longer than all the rest.
    command.env("RUST_BACKTRACE", "0");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    Running { child, stdout, mark, _directory: prepared.directory }
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The next line with these words, from them on; what was said instead when it ended without.
    pub fn hears(&mut self, words: &str) -> String {
        let mut heard = String::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                return heard;
            }
            if let Some(at) = line.find(words) {
                return line[at..].trim_end().to_owned();
            }
            heard.push_str(&line);
        }
    }

    pub fn signal_group(&self, signal: Signal) {
        killpg(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills it and collects it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

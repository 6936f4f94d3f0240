//! What this node is like: looked at when the controller asks, without changing anything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use schism_nemesis::linux::{Found, features};
use schism_nemesis::node::{FaultError, Host, NodeFault};

use super::session::{Session, blocking};
use crate::agent::facts::{Facts, unix_micros};
use crate::agent::protocol::Response;

/// Programs, and faults, in one request.
const ASKED_MAX: usize = 100;
/// The directories that are searched where the environment names none.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is written to see whether that is possible.
const TRIAL: &str = "trial.partial";

/// Stands for the system under test, which does not run yet: whatever process a fault names, it is this one. For looking ahead
/// only; nothing is ever done to it.
pub struct Bystander;

impl Host for Bystander {
    fn pids(&self, _: &str) -> Vec<i32> {
        vec![std::process::id().cast_signed()]
    }

    fn hold_down(&self, _: &str, _: bool) {}

    fn start(&self, _: &str) -> Result<(), FaultError> {
        Ok(())
    }
}

impl Session {
    /// Answers what this node is like.
    pub(super) async fn facts(&self, tools: Vec<String>, faults: Vec<NodeFault>) -> Result<Response, String> {
        let asked_us = unix_micros();
        if tools.len().max(faults.len()) > ASKED_MAX {
            return Err(format!("at most {ASKED_MAX} programs and faults can be asked for at a time"));
        }
        let mut prechecks = Vec::new();
        for mut fault in faults {
            fault.spare(&self.spared_ports);
            prechecks.push(match self.leases.rehearse(&fault).await {
                Ok(()) => Found::Yes,
                Err(reason) => Found::No(reason),
            });
        }
        let directory = self.state.directory().to_owned();
        let facts = blocking(move || Ok(look(&directory, &tools))).await?;
        let spared_ports = self.spared_ports.clone();
        let facts = Facts { asked_us, spared_ports, prechecks, answered_us: unix_micros(), ..facts };
        Ok(Response::Facts { facts: Box::new(facts) })
    }
}

/// Everything that takes no more than looking.
fn look(state: &Path, tools: &[String]) -> Facts {
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    let path = path.as_deref().unwrap_or(USUAL_PATH);
    let tools: BTreeMap<_, _> = tools.iter().map(|name| (name.clone(), search(name, path))).collect();
    let uname = nix::sys::utsname::uname().ok();
    let disk = statvfs(state).map_err(io::Error::from);
    Facts {
        asked_us: 0,
        answered_us: 0,
        uid: nix::unistd::geteuid().as_raw(),
        by_sudo: std::env::var_os("SUDO_USER").is_some(),
        kernel: uname.as_ref().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default(),
        machine: uname.as_ref().map(|name| name.machine().to_string_lossy().into_owned()).unwrap_or_default(),
        features: features(),
        tools,
        executable: fs::read_link("/proc/self/exe").unwrap_or_default().display().to_string(),
        state: state.display().to_string(),
        free: disk.as_ref().ok().map(|disk| {
            // A block is counted in units that need not be those of the file system's name.
            #[allow(clippy::useless_conversion, reason = "the types differ between C libraries")]
            u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()))
        }),
        writable: Found::of(write(&state.join(TRIAL))),
        runs_programs: match &disk {
            Ok(disk) if disk.flags().contains(FsFlags::ST_NOEXEC) => {
                Found::No("it is mounted noexec".to_owned())
            }
            Ok(_) => Found::Yes,
            Err(error) => Found::No(error.to_string()),
        },
        spared_ports: Vec::new(),
        prechecks: Vec::new(),
    }
}

/// Whether something of a block's size gets onto the disk.
fn write(path: &Path) -> io::Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    match (written, fs::remove_file(path)) {
        (Ok(()), removed) => removed,
        (failed, _) => failed,
    }
}

/// Where a program is, as a shell would find it.
fn search(name: &str, path: &str) -> Option<String> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let candidates = path.split(':').filter(|directory| directory.starts_with('/'));
    candidates
        .map(|directory| Path::new(directory).join(name))
        .find(|file| {
            fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .map(|file| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("first/dir")).unwrap();
        fs::create_dir_all(at("second")).unwrap();
        for (name, mode) in [("first/plain", 0o644), ("second/plain", 0o755), ("second/dir", 0o755)] {
            fs::write(at(name), "").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = format!("relative:{}:{}", at("first").display(), at("second").display());
        for name in ["plain", "dir"] {
            assert_eq!(search(name, &path), Some(at("second").join(name).display().to_string()));
        }
        for name in ["missing", "", "../second/plain"] {
            assert_eq!(search(name, &path), None, "{name}");
        }
    }

    #[test]
    fn looking_leaves_nothing_and_says_what_cannot_be_written() {
        let state = tempfile::tempdir().unwrap();
        let facts = look(state.path(), &["sh".to_owned(), "no-such-program".to_owned()]);
        assert_eq!(facts.writable, Found::Yes);
        assert!(facts.tools["sh"].is_some() && facts.tools["no-such-program"].is_none());
        assert!(facts.free.is_some_and(|free| free > 0) && !facts.kernel.is_empty());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
        let gone = look(&state.path().join("gone"), &[]);
        assert!(!gone.writable.is_there() && !gone.runs_programs.is_there() && gone.free.is_none());
    }
}

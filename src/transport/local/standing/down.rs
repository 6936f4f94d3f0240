//! The end of a standing cluster, and the proof that nothing of it is left.
//!
//! Every process of a cluster is in a process namespace whose first process is a child of the supervisor's, and in network
//! and mount namespaces that vanish with the last process. So where no process is left that carries the cluster's mark, no
//! interface, rule or mount of it is left either.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::{TransportError, failed};
use super::control::{self, Question};
use super::directory::{Directory, Held, Holder};

/// The variable that a cluster's supervisor, its init and the nodes' are known by.
pub(super) const MARK: &str = "SCHISM_NODES_MARK";
const STEP: &str = "take the local nodes down";
/// Longer than it takes to end a cluster. Then the supervisor is killed, which ends it too.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What [`down`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was no cluster.
    Nothing,
    /// There was one, and it has ended.
    Down,
    /// There was one that had ended before, and why; what was left of it is removed.
    Before(&'static str),
}

/// A mark that no other cluster has.
pub(super) fn new_mark() -> String {
    format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(Instant::now()))
}

/// Ends the cluster of a directory, and returns when no process and no file of it is left. Idempotent.
///
/// # Errors
/// Something is left; the message names it.
pub fn down(path: &Path) -> Result<Ended, TransportError> {
    if matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(Ended::Nothing);
    }
    let directory = Directory::open(path)?;
    if directory.rest().is_empty() {
        return Ok(Ended::Nothing);
    }
    let mut holder = directory.holder().map_err(failed(STEP))?;
    let ended = match hold(&directory)? {
        Lock::Mine(held) => {
            holder = Holder::read(&held).map_err(failed(STEP))?.or(holder);
            finish(&directory, held, holder.as_ref())?;
            holder.as_ref().map_or(Ended::Nothing, |holder| Ended::Before(holder.gone()))
        }
        Lock::Gone => Ended::Down,
        Lock::Anothers => {
            let deadline = Instant::now() + WITHIN;
            if !asked(&directory, deadline) {
                kill_supervisor(&directory)?;
            }
            // The supervisor may have written who it is only now.
            holder = directory.holder().map_err(failed(STEP))?.or(holder);
            if let Some(held) = wait_for_lock(&directory)? {
                finish(&directory, held, holder.as_ref())?;
            }
            Ended::Down
        }
    };
    if let Some(holder) = &holder {
        wait_for_processes(&holder.mark)?;
    }
    let rest = directory.rest();
    if !rest.is_empty() {
        return Err(TransportError {
            step: STEP.to_owned(),
            reason: format!("{} is still in {}", rest.join(", "), directory.path().display()),
        });
    }
    Ok(ended)
}

/// Who has the lock.
enum Lock {
    /// This process, from now on.
    Mine(Held),
    /// Somebody else.
    Anothers,
    /// The directory is no more.
    Gone,
}

fn hold(directory: &Directory) -> Result<Lock, TransportError> {
    match directory.hold() {
        Ok(Some(held)) => Ok(Lock::Mine(held)),
        Ok(None) => Ok(Lock::Anothers),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::Gone),
        Err(error) => Err(failed(STEP)(error)),
    }
}

/// Asks the supervisor to end the cluster; whether it did, or is gone.
fn asked(directory: &Directory, deadline: Instant) -> bool {
    let channel = loop {
        match control::reach(directory) {
            Ok(channel) => break channel,
            // It is coming up, or going down.
            Err(_) if matches!(directory.hold(), Ok(None)) && Instant::now() < deadline => sleep(LOOK_EVERY),
            Err(_) => return !matches!(directory.hold(), Ok(None)),
        }
    };
    if channel.send(&Question::Down, &[]).is_err() {
        return false;
    }
    let patience = PollTimeout::try_from(deadline.saturating_duration_since(Instant::now()));
    let patience = patience.unwrap_or(PollTimeout::MAX);
    // An answer, or the end of the supervisor.
    matches!(poll(&mut [PollFd::new(channel.as_fd(), PollFlags::POLLIN)], patience), Ok(1..))
}

/// Kills a supervisor that does not answer. The kernel ends its cluster.
fn kill_supervisor(directory: &Directory) -> Result<(), TransportError> {
    let Some(holder) = directory.holder().map_err(failed(STEP))? else { return Ok(()) };
    // A number that means another process by now is not touched.
    if carries(holder.pid, &holder.mark) {
        kill(Pid::from_raw(holder.pid), Signal::SIGKILL).map_err(io::Error::from).map_err(failed(STEP))?;
    }
    Ok(())
}

/// Waits until the supervisor has let go; `None` where the directory is no more.
fn wait_for_lock(directory: &Directory) -> Result<Option<Held>, TransportError> {
    let deadline = Instant::now() + WITHIN;
    loop {
        match hold(directory)? {
            Lock::Mine(held) => return Ok(Some(held)),
            Lock::Gone => return Ok(None),
            Lock::Anothers if Instant::now() < deadline => sleep(LOOK_EVERY),
            Lock::Anothers => {
                let holder = directory.holder().map_err(failed(STEP))?;
                let pid = holder.map_or_else(|| "unknown".to_owned(), |holder| holder.pid.to_string());
                return Err(TransportError {
                    step: STEP.to_owned(),
                    reason: format!("the supervisor (process {pid}) does not end; look at its state with ps"),
                });
            }
        }
    }
}

/// Removes what the directory has of a cluster that has ended.
fn finish(directory: &Directory, held: Held, holder: Option<&Holder>) -> Result<(), TransportError> {
    if let Some(holder) = holder {
        wait_for_processes(&holder.mark)?;
    }
    directory.remove(held, holder.is_some_and(|holder| holder.made)).map_err(failed(STEP))
}

/// Waits until no process carries the mark.
pub(super) fn wait_for_processes(mark: &str) -> Result<(), TransportError> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let left = marked(mark).map_err(failed(STEP))?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let left: Vec<String> = left.iter().map(i32::to_string).collect();
            return Err(TransportError {
                step: STEP.to_owned(),
                reason: format!("processes of the cluster do not end: {}", left.join(", ")),
            });
        }
        sleep(LOOK_EVERY);
    }
}

fn marked(mark: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        found.extend(pid.filter(|pid| carries(*pid, mark)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a process was started with the mark. One that has ended, collected or not, carries none.
fn carries(pid: i32, mark: &str) -> bool {
    if mark.is_empty() {
        return false;
    }
    let variable = format!("{MARK}={mark}").into_bytes();
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|found| found == variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_up_nothing_is_taken_down_or_removed() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(down(&place.path().join("nowhere")).unwrap(), Ended::Nothing);
        fs::write(place.path().join("thesis.tex"), "x").unwrap();
        assert_eq!(down(place.path()).unwrap(), Ended::Nothing);
        assert!(place.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_process_is_known_by_its_mark() {
        let mark = new_mark();
        let mut child = std::process::Command::new("cat")
            .env(MARK, &mark)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(marked(&mark).unwrap(), [child.id().cast_signed()]);
        assert_ne!(mark, new_mark());
        drop(child.stdin.take());
        wait_for_processes(&mark).unwrap();
        child.wait().unwrap();
    }
}

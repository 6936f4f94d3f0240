//! Whether a node is taken: when the controller that an agent serves was last heard.
//!
//! An agent notes it beside its lock, at hello and at each heartbeat. An agent of another controller that waits for the lock
//! reads it. While the first controller is heard, the second is refused and told its name. Once the first was not heard
//! for a lease, its claim is void: whatever it had made has been undone, and its agent is asked to go.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pidfd::PidFd;
use crate::agent::protocol::{CONTROLLER_LEASE, HEARTBEAT_EVERY};

/// The note's name in the state directory.
const NOTE: &str = "heard";
/// The note is written over in place, so that a full disk does not make a controller look dead.
const NOTE_LEN: usize = 256;
/// Beats that are heard while somebody waits, before the controller counts as alive: one may have been on its way when its
/// connection was lost.
const BEATS: u64 = 2;
/// What an agent is given to heal and go before it is killed. What it has not healed then, its successor does.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The agent that wrote it.
    pid: u32,
    /// How often the controller was heard.
    beats: u64,
    /// When it was last heard, in milliseconds since the machine started: no fault moves that clock.
    heard_ms: u64,
}

fn uptime() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/uptime")?;
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse().ok());
    let seconds: f64 = seconds.ok_or_else(|| io::Error::other("/proc/uptime has no number"))?;
    Duration::try_from_secs_f64(seconds).map_err(io::Error::other)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Says that the node is taken, as long as it lives.
#[derive(Debug)]
pub struct Presence {
    path: PathBuf,
    file: File,
    beats: AtomicU64,
}

impl Presence {
    /// Notes in the state directory that the controller was heard. The caller holds that directory's lock.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn note(state: &Path) -> io::Result<Self> {
        let path = state.join(NOTE);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let presence = Self { path, file, beats: AtomicU64::new(0) };
        presence.write()?;
        Ok(presence)
    }

    /// Notes that the controller was heard.
    pub fn heard(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.write() {
            tracing::warn!(%error, "cannot note that the controller was heard");
            // A note that is old by mistake would void a living controller's claim.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn write(&self) -> io::Result<()> {
        let note = Note {
            pid: std::process::id(),
            beats: self.beats.load(Ordering::Relaxed),
            heard_ms: millis(uptime()?),
        };
        let mut text = serde_json::to_vec(&note)?;
        text.resize(NOTE_LEN.max(text.len()), b' ');
        self.file.write_all_at(&text, 0)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What somebody who waits for a node sees of its controller.
pub struct Watch<'a> {
    state: &'a Path,
    lock: &'a Path,
    first: Option<Note>,
    asked: Option<Instant>,
}

impl<'a> Watch<'a> {
    /// Begins to look at a state directory and its lock.
    pub fn new(state: &'a Path, lock: &'a Path) -> Self {
        Self { state, lock, first: None, asked: None }
    }

    /// Looks once; `holder` is the process that has the lock, as far as is known. Asks an agent to go whose controller was
    /// not heard for a lease. Returns whether the controller lives, and whoever waits waits in vain.
    pub fn look(&mut self, holder: &str) -> bool {
        let note = fs::read(self.state.join(NOTE)).ok();
        let note = note.and_then(|note| serde_json::from_slice::<Note>(&note).ok());
        // Another one's has nothing to say about who has the lock now.
        let (Some(note), Ok(now)) = (note.filter(|note| note.pid.to_string() == holder), uptime()) else {
            return false;
        };
        let since = now.saturating_sub(Duration::from_millis(note.heard_ms));
        if since >= CONTROLLER_LEASE {
            self.displace(&note, since);
            return false;
        }
        match &self.first {
            Some(first) if first.pid == note.pid => note.beats >= first.beats + BEATS,
            _ => {
                self.first = Some(note);
                false
            }
        }
    }

    /// Asks the agent to heal and go, and kills it when it does not.
    fn displace(&mut self, note: &Note, since: Duration) {
        let Ok(pid) = i32::try_from(note.pid) else { return };
        // First of all something that stands for the process, then the question whether it is the one that is meant.
        let Ok(agent) = PidFd::open(pid) else { return };
        if !holds(pid, self.lock) {
            return;
        }
        let signal = match self.asked {
            None => {
                tracing::warn!(event = "taking over", pid, silent_s = since.as_secs());
                self.asked = Some(Instant::now());
                libc::SIGTERM
            }
            Some(asked) if asked.elapsed() >= GRACE => libc::SIGKILL,
            Some(_) => return,
        };
        if let Err(error) = agent.signal(signal) {
            tracing::warn!(%error, "the agent before cannot be asked to go");
        }
    }
}

/// Whether a process has a file open.
fn holds(pid: i32, path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == path))
}

// Whoever waits must be able to hear the beats that keep it out, and waits longer than a lease.
const _: () = assert!(
    HEARTBEAT_EVERY.as_millis() * (BEATS as u128 + 1) < CONTROLLER_LEASE.as_millis()
        && CONTROLLER_LEASE.as_millis() + GRACE.as_millis() < super::state::LOCK_PATIENCE.as_millis()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_goes_with_its_agent_and_is_read_by_whoever_waits() {
        let state = tempfile::tempdir().unwrap();
        let lock = state.path().join("lock");
        let me = std::process::id().to_string();
        let presence = Presence::note(state.path()).unwrap();
        let mut watch = Watch::new(state.path(), &lock);
        assert!(!watch.look(&me), "nothing was heard since");
        presence.heard();
        assert!(!watch.look(&me), "that one may have been on its way");
        presence.heard();
        assert!(!watch.look("1"), "another process has the lock");
        assert!(watch.look(&me));
        drop(presence);
        assert!(!state.path().join(NOTE).exists());
        assert!(!Watch::new(state.path(), &lock).look(&me));
    }

    #[test]
    fn nobody_is_asked_to_go_who_does_not_hold_the_lock() {
        let state = tempfile::tempdir().unwrap();
        let lock = state.path().join("lock");
        let mut bystander =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        // A note as old as the machine, of a process that has this number by chance.
        let note = Note { pid: bystander.id(), beats: 3, heard_ms: 0 };
        fs::write(state.path().join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        let mut watch = Watch::new(state.path(), &lock);
        assert!(!watch.look(&bystander.id().to_string()));
        assert!(watch.asked.is_none() && bystander.try_wait().unwrap().is_none());
        drop(bystander.stdin.take());
        bystander.wait().unwrap();
        let file = File::create(&lock).unwrap();
        assert!(holds(std::process::id().cast_signed(), &lock));
        drop(file);
    }
}

//! The state directory: what has to outlive the agent, and the lock that keeps a second agent out.
//!
//! Whoever makes or undoes faults holds that lock: an agent as long as it lives, a watchdog while it heals, `schism heal`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::names::file_name;
use super::presence::{Presence, Watch};

/// How long an agent waits for an earlier one on the same directory to heal and go.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// A longer note in the lock is not ours.
const NOTE_LEN_MAX: usize = 1024;

/// What is said of a node that somebody else uses, among other things.
pub const TAKEN: &str = "another run uses this node";

/// An open state directory. Nobody else has it open.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    owner: String,
    lock: Mutex<Flock<File>>,
}

/// A kind of record, a directory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// Faults in force.
    Journal,
    /// Supervised processes.
    Processes,
    /// Faults that a watchdog undid, until an agent has told its controller.
    Healed,
}

impl Shelf {
    fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Processes => "processes",
            Self::Healed => "healed",
        }
    }
}

impl State {
    /// Opens the directory and makes it if need be. Blocks while another agent has it open, for a bounded time.
    ///
    /// # Errors
    /// It cannot be made or written to, or another agent stays: a sentence.
    pub fn open(directory: &Path) -> Result<Self, String> {
        match Self::open_within(directory, LOCK_PATIENCE)? {
            Ok(state) => Ok(state),
            Err(in_use) if in_use.lives => {
                Err(format!("{in_use} uses {}: {TAKEN}. Wait until it ends, or stop it", directory.display()))
            }
            Err(in_use) => Err(format!(
                "{in_use} uses {} and did not go within {} s: {TAKEN}. Wait for it, or end that process",
                directory.display(),
                LOCK_PATIENCE.as_secs()
            )),
        }
    }

    /// Opens the directory, or says at once that somebody else has it open.
    ///
    /// # Errors
    /// It cannot be made or written to: a sentence.
    pub fn open_now(directory: &Path) -> Result<Result<Self, InUse>, String> {
        Self::open_within(directory, Duration::ZERO)
    }

    fn open_within(directory: &Path, patience: Duration) -> Result<Result<Self, InUse>, String> {
        let failed = |what: &Path, error: io::Error| {
            format!("the state directory cannot be used: {}: {error}", what.display())
        };
        for shelf in ["", Shelf::Journal.name(), Shelf::Processes.name(), Shelf::Healed.name()] {
            let path = directory.join(shelf);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| failed(&path, error))?;
        }
        let path = directory.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        let mut lock =
            match lock(file, patience, Watch::new(directory, &path)).map_err(|error| failed(&path, error))? {
                Ok(lock) => lock,
                Err(in_use) => return Ok(Err(in_use)),
            };
        note(&mut lock, "").map_err(|error| failed(&path, error))?;
        // What is in a directory is as durable as the directory's own name.
        for path in [directory, directory.parent().unwrap_or(directory)] {
            File::open(path).and_then(|above| above.sync_all()).map_err(|error| failed(path, error))?;
        }
        let owner = owner(directory).map_err(|error| failed(&directory.join("owner"), error))?;
        Ok(Ok(Self { directory: directory.to_owned(), owner, lock: Mutex::new(lock) }))
    }

    /// Says whose agent this is, for whoever is kept out.
    pub fn used_by(&self, controller: &str) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = note(&mut lock, controller) {
            tracing::warn!(%error, "others will not know whose agent this is");
        }
    }

    /// Notes when the controller is heard, for as long as the note lives.
    ///
    /// # Errors
    /// A sentence.
    pub fn claim(&self) -> Result<Presence, String> {
        Presence::note(&self.directory)
            .map_err(|error| format!("the state directory cannot be used: {error}"))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Tells this state directory from all others; marks the processes that are ours.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Where the record of `name` is or would be.
    ///
    /// # Errors
    /// The name cannot be a file's.
    pub fn path(&self, shelf: Shelf, name: &str) -> Result<PathBuf, String> {
        Ok(self.directory.join(shelf.name()).join(format!("{}.json", file_name(name)?)))
    }

    /// Writes a record so that after this call it survives a power failure, and before it either the old one or none is
    /// there, never half of it.
    ///
    /// # Errors
    /// A sentence.
    pub fn put<T: Serialize>(&self, shelf: Shelf, name: &str, record: &T) -> Result<(), String> {
        let path = self.path(shelf, name)?;
        let text = serde_json::to_vec_pretty(record).map_err(|error| error.to_string())?;
        replace(&path, &text).map_err(|error| format!("write {}: {error}", path.display()))
    }

    /// Removes a record, durably. Fine when there is none.
    ///
    /// # Errors
    /// A sentence.
    pub fn remove(&self, shelf: Shelf, name: &str) -> Result<(), String> {
        let path = self.path(shelf, name)?;
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other,
        };
        removed
            .and_then(|()| sync_above(&path))
            .map_err(|error| format!("remove {}: {error}", path.display()))
    }

    /// Every record of a shelf, in the order of their file names; for one that cannot be read, a sentence that says so.
    /// Halves of records are removed: nothing was ever done on their strength.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all<T: DeserializeOwned>(&self, shelf: Shelf) -> Result<Vec<Result<T, String>>, String> {
        let directory = self.directory.join(shelf.name());
        let failed = |error: io::Error| format!("read {}: {error}", directory.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        let mut records = Vec::new();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("partial") => fs::remove_file(&path).map_err(failed)?,
                Some("json") => records.push(read(&path)),
                _ => records
                    .push(Err(format!("{} is no record of ours; look at it and remove it", path.display()))),
            }
        }
        Ok(records)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| {
        format!(
            "{} cannot be understood ({error}): it is damaged or of another version of schism. See what it says, undo \
             that by hand, and remove the file",
            path.display()
        )
    })
}

/// Writes who has the lock, and for whom.
fn note(lock: &mut File, controller: &str) -> io::Result<()> {
    let controller: String = controller.chars().filter(|letter| !letter.is_control()).take(100).collect();
    lock.set_len(0)?;
    lock.write_all_at(format!("{}\n{controller}", std::process::id()).as_bytes(), 0)
}

/// Whether the journal of this state directory names no fault. Needs no lock, and makes nothing: a directory that is not
/// there names none either.
///
/// # Errors
/// It cannot be read.
pub fn journal_is_empty(directory: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(directory.join(Shelf::Journal.name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    for entry in entries {
        // Nothing is done on the strength of half an entry.
        if Path::new(&entry?.file_name()).extension().is_none_or(|extension| extension != "partial") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Somebody else has the state directory open.
#[derive(Debug)]
pub struct InUse {
    /// The process, as far as it is known.
    pid: String,
    /// For whom, if anybody has said.
    controller: Option<String>,
    /// Whether that controller was heard while we waited.
    lives: bool,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.controller {
            Some(controller) => write!(f, "the agent of {controller} (process {})", self.pid),
            None => write!(f, "another agent (process {})", self.pid),
        }
    }
}

/// Waits for the lock: an agent that lost its controller heals first and goes then. Gives up at once where the one that has
/// it serves a controller that lives. The outer error is the file system's.
fn lock(mut file: File, patience: Duration, mut watch: Watch<'_>) -> io::Result<Result<Flock<File>, InUse>> {
    let end = Instant::now() + patience;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Ok(lock)),
            Err((back, Errno::EWOULDBLOCK)) => back,
            Err((_, error)) => return Err(error.into()),
        };
        let mut note = [0; NOTE_LEN_MAX];
        // Empty where it cannot be read: then nobody is known to have it.
        let length = file.read_at(&mut note, 0).unwrap_or_default();
        let note = String::from_utf8_lossy(&note[..length]);
        let (pid, controller) = note.split_once('\n').unwrap_or((&note, ""));
        // Whoever does not wait does not ask anybody to go either.
        let lives = !patience.is_zero() && watch.look(pid);
        if lives || Instant::now() >= end {
            let controller = (!controller.is_empty()).then(|| controller.to_owned());
            return Ok(Err(InUse { pid: pid.to_owned(), controller, lives }));
        }
        // The lock can be awaited only without a bound, so it is asked for again and again.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A name that no other state directory has, made once.
fn owner(directory: &Path) -> io::Result<String> {
    let path = directory.join("owner");
    match fs::read_to_string(&path) {
        Ok(owner) if !owner.trim().is_empty() => return Ok(owner.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let owner = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
    replace(&path, owner.as_bytes())?;
    Ok(owner)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    sync_above(path)
}

/// A name is durable once its directory is.
fn sync_above(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(above) => File::open(above)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_halves_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        state.put(Shelf::Journal, "b", &2).unwrap();
        state.put(Shelf::Journal, "a/../x", &1).unwrap();
        state.put(Shelf::Journal, "b", &3).unwrap();
        let journal = directory.path().join("journal");
        fs::write(journal.join("c.partial"), "{\"ver").unwrap();
        fs::write(journal.join("d.json"), "{\"ver").unwrap();
        let all = state.all::<i32>(Shelf::Journal).unwrap();
        assert_eq!(all.iter().filter_map(|record| record.as_ref().ok()).collect::<Vec<_>>(), [&1, &3]);
        let errors: Vec<_> = all.iter().filter_map(|record| record.as_ref().err()).collect();
        assert!(errors.len() == 1 && errors[0].contains("d.json"), "{errors:?}");
        assert!(!journal.join("c.partial").exists());
        state.remove(Shelf::Journal, "b").unwrap();
        state.remove(Shelf::Journal, "b").unwrap();
        assert_eq!(state.all::<i32>(Shelf::Journal).unwrap().len(), 2);
    }

    #[test]
    fn says_who_keeps_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let me = std::process::id();
        for (controller, said) in [
            (None, format!("another agent (process {me})")),
            (Some("a run that is\ncalled so"), format!("the agent of a run that iscalled so (process {me})")),
            (Some("me"), format!("the agent of me (process {me})")),
        ] {
            if let Some(controller) = controller {
                state.used_by(controller);
            }
            let in_use = State::open_now(directory.path()).unwrap().unwrap_err();
            assert_eq!(in_use.to_string(), said);
        }
        drop(state);
        State::open_now(directory.path()).unwrap().unwrap();
    }

    #[test]
    fn waits_for_the_one_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = State::open(directory.path()).unwrap();
        let owner = first.owner().to_owned();
        let path = directory.path().to_owned();
        let (sender, receiver) = std::sync::mpsc::channel();
        let second = std::thread::spawn(move || {
            let state = State::open(&path).unwrap();
            sender.send(()).unwrap();
            state.owner().to_owned()
        });
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err());
        drop(first);
        assert_eq!(second.join().unwrap(), owner);
    }
}

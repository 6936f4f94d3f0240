//! What a node remembers: an append-only log on disk and a map in memory.
//!
//! The map holds only what is on disk already. That matters for answers to queries: a reader skips its write-back when a
//! majority gives the same answer, which is sound only if no crash can take an answer back.
//!
//! The log has one line for each group of stores that became durable together: the hexadecimal FNV-1a checksum of the
//! rest, a blank, and JSON. One writer thread takes all stores that wait, appends them as one line, calls `fsync` once
//! (group commit) and then answers all of them. The next line is written only after that, so a crash can spoil the last
//! line and no other: recovery cuts off a bad last line (nobody was told that it is safe) and refuses to start on a bad
//! line anywhere else. The log is never compacted: the demo lives for minutes.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::wire::Register;

/// Stores that wait for the writer; more than this makes those who store wait.
const QUEUE_LEN: usize = 1024;
/// Stores in one line of the log.
const GROUP_LEN: usize = 512;

/// Why a node's data cannot be opened or kept.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum StorageError {
    #[error("{path}: {step}: {reason}")]
    Io { path: String, step: &'static str, reason: String },
    #[error(
        "{path}: line {line} is damaged, and it is not the last one: the data is lost; remove the directory"
    )]
    Damaged { path: String, line: usize },
    #[error("{path} belongs to node {owner}; give every node a data directory of its own")]
    Foreign { path: String, owner: String },
    #[error("{path} is in use by another node")]
    InUse { path: String },
    #[error("the node's storage has stopped after an earlier error; restart the node")]
    Stopped,
}

/// One line of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    /// A start of the node; the first line is one.
    Started { node: String, incarnation: u64 },
    /// Stores that became durable together.
    Stores(Vec<Store>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    key: String,
    register: Register,
}

struct Job {
    store: Store,
    done: oneshot::Sender<Result<(), StorageError>>,
}

type Registers = Arc<Mutex<HashMap<String, Register>>>;

/// The state of one node.
pub(super) struct Storage {
    registers: Registers,
    queue: mpsc::Sender<Job>,
    incarnation: u64,
    torn_bytes: u64,
    failed: Arc<AtomicBool>,
}

impl Storage {
    /// Recovers what was stored in `directory` and records that the node has started once more. Without a directory
    /// nothing is remembered.
    pub fn open(directory: Option<&Path>, node: &str) -> Result<Self, StorageError> {
        let (log, recovered) = match directory {
            Some(directory) => {
                let (mut log, recovered) = Log::open(directory, node)?;
                log.append(&Line::Started { node: node.to_owned(), incarnation: recovered.incarnation })?;
                (Some(log), recovered)
            }
            // Whoever remembers nothing does not know how often it has started either: the clock has to do.
            None => (None, Recovered { incarnation: nanoseconds_now(), ..Recovered::default() }),
        };
        let registers = Arc::new(Mutex::new(recovered.registers));
        let failed = Arc::new(AtomicBool::new(false));
        let (queue, jobs) = mpsc::channel(QUEUE_LEN);
        let writer = Writer { log, registers: Arc::clone(&registers), failed: Arc::clone(&failed) };
        std::thread::Builder::new().name("demo-log".to_owned()).spawn(move || writer.run(jobs)).map_err(
            |error| StorageError::Io {
                path: directory.map_or_else(String::new, |path| path.display().to_string()),
                step: "start the writer thread",
                reason: error.to_string(),
            },
        )?;
        Ok(Self {
            registers,
            queue,
            incarnation: recovered.incarnation,
            torn_bytes: recovered.torn_bytes,
            failed,
        })
    }

    /// How often this node has been started, this time included; no earlier start had this number.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Bytes of an unfinished line that recovery cut off.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Whether stores can still be kept.
    pub fn healthy(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    /// What is held under `key`, all of it durable.
    pub fn get(&self, key: &str) -> Option<Register> {
        lock(&self.registers).get(key).cloned()
    }

    /// Hands a store to the writer; the answer comes when this value or a newer one is durable. Idempotent.
    pub async fn submit(
        &self,
        key: String,
        register: Register,
    ) -> oneshot::Receiver<Result<(), StorageError>> {
        let (done, answer) = oneshot::channel();
        // When the writer is gone, `done` is dropped with the job and the receiver says so.
        let _ = self.queue.send(Job { store: Store { key, register }, done }).await;
        answer
    }
}

fn lock(registers: &Registers) -> MutexGuard<'_, HashMap<String, Register>> {
    // Every change is one insertion, so a panic elsewhere cannot leave the map half changed.
    registers.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The writer thread: the only one that touches the log and changes the map.
struct Writer {
    log: Option<Log>,
    registers: Registers,
    failed: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_LEN
                && let Ok(job) = jobs.try_recv()
            {
                group.push(job);
            }
            let result = self.commit(&group);
            for job in group {
                let _ = job.done.send(result.clone());
            }
        }
    }

    /// Makes the stores durable that are newer than what is held, then visible.
    fn commit(&mut self, group: &[Job]) -> Result<(), StorageError> {
        let newer: Vec<Store> = {
            let registers = lock(&self.registers);
            let is_newer =
                |store: &Store| registers.get(&store.key).is_none_or(|held| held.tag < store.register.tag);
            group.iter().map(|job| &job.store).filter(|store| is_newer(store)).cloned().collect()
        };
        if newer.is_empty() {
            return Ok(());
        }
        let line = Line::Stores(newer);
        if let Some(log) = &mut self.log
            && let Err(error) = log.append(&line)
        {
            self.failed.store(log.stopped, Ordering::Relaxed);
            return Err(error);
        }
        line.apply(&mut lock(&self.registers));
        Ok(())
    }
}

impl Line {
    fn apply(self, registers: &mut HashMap<String, Register>) {
        let Line::Stores(stores) = self else { return };
        for Store { key, register } in stores {
            match registers.get_mut(&key) {
                Some(held) if held.tag >= register.tag => {}
                Some(held) => *held = register,
                None => {
                    registers.insert(key, register);
                }
            }
        }
    }
}

#[derive(Default)]
struct Recovered {
    registers: HashMap<String, Register>,
    /// The number of the start that is under way.
    incarnation: u64,
    torn_bytes: u64,
}

/// The file, locked for this node as long as it is open.
struct Log {
    path: PathBuf,
    file: Flock<File>,
    /// Bytes of whole lines.
    len: u64,
    /// Set when it is not known any more what is on disk.
    stopped: bool,
}

impl Log {
    fn open(directory: &Path, node: &str) -> Result<(Self, Recovered), StorageError> {
        let path = directory.join("log");
        let failed = |step| {
            let path = path.display().to_string();
            move |error: io::Error| StorageError::Io { path, step, reason: error.to_string() }
        };
        fs::create_dir_all(directory).map_err(failed("make the data directory"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open the log"))?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| StorageError::InUse { path: path.display().to_string() })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read the log"))?;
        let (len, recovered) = recover(&bytes, node, &path)?;
        file.set_len(len).map_err(failed("cut off an unfinished line"))?;
        file.seek(SeekFrom::Start(len)).map_err(failed("find the end of the log"))?;
        // The directory entry of a new log must be as durable as its lines.
        File::open(directory).and_then(|entry| entry.sync_all()).map_err(failed("sync the directory"))?;
        Ok((Self { path, file, len, stopped: false }, recovered))
    }

    /// Appends one line and returns when it is durable. After an error the log is as before, or stopped.
    fn append(&mut self, line: &Line) -> Result<(), StorageError> {
        if self.stopped {
            return Err(StorageError::Stopped);
        }
        let failed =
            |step, reason: String| StorageError::Io { path: self.path.display().to_string(), step, reason };
        let json = serde_json::to_string(line).map_err(|error| failed("encode", error.to_string()))?;
        let text = format!("{:016x} {json}\n", checksum(json.as_bytes()));
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            let error = failed("append to the log", error.to_string());
            // Half a line in the middle would look like damage later: go back to where it began.
            let back = self.file.set_len(self.len).and_then(|()| self.file.seek(SeekFrom::Start(self.len)));
            self.stopped = back.is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            // After a failed fsync the kernel may have dropped the pages: nobody knows what is on disk.
            let error = failed("sync the log", error.to_string());
            self.stopped = true;
            return Err(error);
        }
        self.len += text.len() as u64;
        Ok(())
    }
}

/// Reads a log: how many bytes of it are whole lines, and what they say.
fn recover(bytes: &[u8], node: &str, path: &Path) -> Result<(u64, Recovered), StorageError> {
    let mut recovered = Recovered::default();
    let mut good = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((number, raw)) = lines.next() {
        match parse(raw) {
            Some(Line::Started { node: owner, .. }) if owner != node => {
                return Err(StorageError::Foreign { path: path.display().to_string(), owner });
            }
            Some(Line::Started { incarnation, .. }) => {
                recovered.incarnation = recovered.incarnation.max(incarnation);
            }
            Some(line) => line.apply(&mut recovered.registers),
            None if lines.peek().is_none() => {
                recovered.torn_bytes = raw.len() as u64;
                break;
            }
            None => {
                return Err(StorageError::Damaged { path: path.display().to_string(), line: number + 1 });
            }
        }
        good += raw.len() as u64;
    }
    recovered.incarnation += 1;
    Ok((good, recovered))
}

fn parse(raw: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(raw.strip_suffix(b"\n")?).ok()?;
    let (sum, json) = text.split_once(' ')?;
    if u64::from_str_radix(sum, 16).ok()? != checksum(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// FNV-1a, 64 bits: enough to tell a torn line from a whole one.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tag::Tag;
    use serde_json::json;

    fn register(counter: u64) -> Register {
        let tag = Tag { counter, node: "n1".to_owned(), incarnation: 1, sequence: counter };
        Register { tag, value: json!(counter) }
    }

    /// Stores and waits; then the storage is closed, which needs its lock back for the next to open.
    fn store(directory: &Path, stores: &[(&str, u64)]) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let storage = reopen(directory);
        runtime.block_on(async {
            for (key, counter) in stores {
                storage.submit((*key).to_owned(), register(*counter)).await.await.unwrap().unwrap();
            }
        });
        storage.incarnation()
    }

    /// The writer of a dropped storage lets the lock go a moment later, in its own thread.
    fn reopen(directory: &Path) -> Storage {
        loop {
            match Storage::open(Some(directory), "n1") {
                Err(StorageError::InUse { .. }) => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
    }

    #[test]
    fn keeps_the_newest_and_counts_starts() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(store(directory.path(), &[("x", 2), ("x", 1), ("y", 5)]), 1);
        assert_eq!(store(directory.path(), &[]), 2);
        let storage = reopen(directory.path());
        assert_eq!(storage.incarnation(), 3);
        assert_eq!(storage.get("x"), Some(register(2)));
        assert_eq!(storage.get("y"), Some(register(5)));
        assert_eq!(storage.get("z"), None);
    }

    #[test]
    fn any_torn_tail_costs_only_the_last_line() {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path(), &[("x", 1), ("x", 2)]);
        let path = directory.path().join("log");
        let whole = fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for cut in last..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let storage = reopen(directory.path());
            assert_eq!(storage.get("x"), Some(register(1)), "cut at {cut}");
            assert_eq!(storage.torn_bytes(), (cut - last) as u64);
            assert_eq!(storage.incarnation(), 2);
        }
    }

    #[test]
    fn damage_in_the_middle_and_foreign_data_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path(), &[("x", 1), ("x", 2)]);
        assert!(matches!(
            loop {
                match Storage::open(Some(directory.path()), "n2").map(|_| ()) {
                    Err(StorageError::InUse { .. }) => std::thread::yield_now(),
                    other => break other,
                }
            },
            Err(StorageError::Foreign { owner, .. }) if owner == "n1"
        ));
        let path = directory.path().join("log");
        let mut bytes = fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 30;
        bytes[second] ^= 1;
        fs::write(&path, bytes).unwrap();
        let damaged = Storage::open(Some(directory.path()), "n1").map(|_| ());
        assert!(matches!(damaged, Err(StorageError::Damaged { line: 2, .. })), "{damaged:?}");
    }

    #[test]
    fn one_directory_serves_one_node() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Storage::open(Some(directory.path()), "n1").unwrap();
        let second = Storage::open(Some(directory.path()), "n1").map(|_| ());
        assert!(matches!(second, Err(StorageError::InUse { .. })), "{second:?}");
    }
}

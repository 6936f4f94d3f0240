//! Supervised processes: the system under test.
//!
//! They outlive the agent, since the loss of an agent must not look like a crash of the system. What is needed to find one
//! again (and to start it again as it was first started) is on disk before it starts; the next agent adopts it.

mod strays;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use schism_nemesis::node::{FaultError, Host};
use serde::{Deserialize, Serialize};
use tokio::runtime;
use tokio::sync::{mpsc, watch};

use super::children::{self, Fate, Started};
use super::pidfd::PidFd;
use super::proc::{self, Identity, Table, kill_tree};
use super::run::KILL_PATIENCE;
use super::state::{Shelf, State};
use crate::agent::protocol::{Command, ProcessStatus, Response};

/// Bumped whenever a record's meaning changes.
const RECORD_VERSION: u32 = 1;
/// How often to look after an adopted process where the kernel has no process descriptors.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Supervised processes at most.
const PROCESSES_MAX: usize = 64;

/// What is on disk of a supervised process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    name: String,
    command: Command,
    log: String,
    /// A fault holds it down.
    held_down: bool,
    /// Its present or last life. Written without identity first, so that a process that was just being started is found.
    life: Option<Life>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Life {
    /// Where the identity means anything; see [`proc::scope`].
    scope: String,
    mark: String,
    identity: Option<Identity>,
    /// It was seen to end.
    ended: bool,
}

struct Process {
    record: Record,
    instance: Option<Instance>,
}

/// One life of a process.
struct Instance {
    identity: Identity,
    mark: String,
    /// Its end was asked for.
    expected: bool,
    ended: watch::Receiver<Option<Ended>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
}

/// The supervised processes of one agent.
pub struct Supervisor {
    state: Arc<State>,
    runtime: runtime::Handle,
    events: mpsc::UnboundedSender<Response>,
    scope: String,
    lives: AtomicU64,
    processes: Mutex<BTreeMap<String, Process>>,
    /// Records that cannot be read.
    unreadable: Vec<String>,
    /// For the tasks that wait for processes: they must not keep the agent's state open.
    me: Weak<Self>,
}

impl Supervisor {
    /// Adopts the processes that an earlier agent on this state directory left running. `events` gets [`Response::Exited`].
    ///
    /// # Errors
    /// The records or `/proc` cannot be read: a sentence.
    pub fn adopt(
        state: Arc<State>,
        events: mpsc::UnboundedSender<Response>,
        runtime: runtime::Handle,
    ) -> Result<Arc<Self>, String> {
        let scope = proc::scope();
        let table = Table::read().map_err(|error| format!("read /proc: {error}"))?;
        let mut records = Vec::new();
        let mut unreadable = Vec::new();
        for record in state.all::<Record>(Shelf::Processes)? {
            match record {
                Ok(record) if record.version == RECORD_VERSION => records.push(record),
                Ok(record) => unreadable.push(format!(
                    "the record of process `{}` is of version {}, this agent writes {RECORD_VERSION}: use the schism that \
                     started it",
                    record.name, record.version
                )),
                Err(error) => unreadable.push(error),
            }
        }
        let supervisor = Arc::new_cyclic(|me| Self {
            state,
            runtime,
            events,
            scope,
            lives: AtomicU64::new(0),
            processes: Mutex::new(BTreeMap::new()),
            unreadable,
            me: me.clone(),
        });
        let mut processes = supervisor.lock();
        for mut record in records {
            let instance = supervisor.resume(&table, &mut record);
            processes.insert(record.name.clone(), Process { record, instance });
        }
        drop(processes);
        Ok(supervisor)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watcher(&self) -> Watcher {
        Watcher(self.me.clone())
    }

    /// The life that a record speaks of, if anything of it is left. Tells of an end that no agent saw.
    fn resume(&self, table: &Table, record: &mut Record) -> Option<Instance> {
        let life = record.life.as_mut()?;
        let here = life.scope == self.scope;
        let identity = match life.identity {
            Some(identity) => identity,
            // The earlier agent died while starting it: it is the one with the mark that leads a session.
            None => table
                .tree(None, &life.mark)
                .into_iter()
                .find(|member| here && member.stat().is_some_and(|stat| stat.session == member.pid))?,
        };
        let (name, mark) = (record.name.clone(), life.mark.clone());
        let alive = here && identity.is_alive();
        // A watchdog has nobody to tell: then this end is the next agent's to tell.
        if !alive && !life.ended && !record.held_down && !self.events.is_closed() {
            let exited = Response::Exited { name: name.clone(), pid: identity.pid, code: None, signal: None };
            // The session listens as long as the agent lives.
            let _ = self.events.send(exited);
            life.ended = true;
            self.keep(record);
        }
        if !here {
            return None;
        }
        let (sender, ended) = watch::channel(if alive { None } else { Some(Ended::default()) });
        if alive {
            tracing::info!(event = "process adopted", name, pid = identity.pid);
            self.runtime.spawn(self.watcher().wait_adopted(name, identity, sender));
        }
        // What it started may live on even if it does not.
        Some(Instance { identity, mark, expected: record.held_down, ended })
    }

    /// Starts a process. Blocks.
    ///
    /// # Errors
    /// It runs already, or could not be started: a sentence.
    pub fn start(&self, name: &str, command: Command, log: &str) -> Result<i32, String> {
        let mut processes = self.lock();
        if let Some(pid) = processes.get(name).and_then(Process::pid) {
            return Err(format!("`{name}` runs already, as process {pid}; stop it first"));
        }
        if !processes.contains_key(name) && processes.len() >= PROCESSES_MAX {
            return Err(format!("there are {PROCESSES_MAX} supervised processes already"));
        }
        let record = Record {
            version: RECORD_VERSION,
            name: name.to_owned(),
            command,
            log: log.to_owned(),
            held_down: false,
            life: None,
        };
        let process = processes
            .entry(name.to_owned())
            .and_modify(|process| process.record = record.clone())
            .or_insert(Process { record, instance: None });
        self.launch(process)
    }

    /// Begins a new life of a process that is down.
    fn launch(&self, process: &mut Process) -> Result<i32, String> {
        let Record { name, command, log, .. } = process.record.clone();
        let mark = format!(
            "{}/{}/{}.{}",
            self.state.owner(),
            name,
            std::process::id(),
            self.lives.fetch_add(1, Ordering::Relaxed)
        );
        process.record.life =
            Some(Life { scope: self.scope.clone(), mark: mark.clone(), identity: None, ended: false });
        self.state.put(Shelf::Processes, &name, &process.record)?;
        let Started { mut child, identity, claim } = {
            // The child's descriptors are registered with the runtime, also from a thread that only does blocking work.
            let _context = self.runtime.enter();
            let mut prepared = children::prepare(&command, &mark, Fate::Own)?;
            let (stdout, stderr) = open_log(&log)?;
            prepared.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
            children::start(prepared)?
        };
        let (sender, ended) = watch::channel(None);
        let watcher = self.watcher();
        let called = name.clone();
        self.runtime.spawn(async move {
            let status = child.wait().await;
            drop(claim);
            let ended = status.map_or_else(
                |_| Ended::default(),
                |status| Ended { code: status.code(), signal: status.signal() },
            );
            watcher.ended(called, identity, ended, sender).await;
        });
        process.instance = Some(Instance { identity, mark: mark.clone(), expected: false, ended });
        process.record.held_down = false;
        process.record.life =
            Some(Life { scope: self.scope.clone(), mark, identity: Some(identity), ended: false });
        tracing::info!(event = "process started", name, pid = identity.pid);
        self.keep(&process.record);
        Ok(identity.pid)
    }

    /// Updates a record. What is lost when that fails is little: the one from before the start still finds the process.
    fn keep(&self, record: &Record) {
        if let Err(error) = self.state.put(Shelf::Processes, &record.name, record) {
            tracing::warn!(name = record.name, error, "the record of a process is not up to date");
        }
    }

    /// Stops a process: `signal`, after `grace` kills whatever is left. Fine when it is down or unknown.
    ///
    /// # Errors
    /// Something is left: a sentence.
    pub async fn stop(self: Arc<Self>, name: &str, signal: i32, grace: Duration) -> Result<(), String> {
        let Some((identity, mark, mut ended)) = self.expect_end(name) else { return Ok(()) };
        if identity.is_alive() {
            identity.signal(signal).map_err(|error| format!("signal {signal} to `{name}`: {error}"))?;
            let end = ended.wait_for(Option::is_some);
            if tokio::time::timeout(grace, end).await.is_err() {
                tracing::info!(event = "process did not stop in time", name, pid = identity.pid);
            }
        }
        let killed =
            tokio::task::spawn_blocking(move || kill_tree(Some(identity), &mark, KILL_PATIENCE)).await;
        killed
            .map_err(|error| error.to_string())
            .and_then(|killed| killed.map_err(|error| format!("stop `{name}`: {error}")))?;
        // So that the status says how it ended.
        let _ = tokio::time::timeout(KILL_PATIENCE, ended.wait_for(Option::is_some)).await;
        Ok(())
    }

    fn expect_end(&self, name: &str) -> Option<(Identity, String, watch::Receiver<Option<Ended>>)> {
        let mut processes = self.lock();
        let instance = processes.get_mut(name)?.instance.as_mut()?;
        instance.expected = true;
        Some((instance.identity, instance.mark.clone(), instance.ended.clone()))
    }

    /// Stops every process and forgets those that are gone, then kills what else of ours is left.
    ///
    /// # Errors
    /// What is left: a sentence.
    pub async fn stop_all(self: &Arc<Self>, grace: Duration) -> Result<(), String> {
        let names: Vec<String> = self.lock().keys().cloned().collect();
        let mut stops = tokio::task::JoinSet::new();
        for name in names {
            let supervisor = Arc::clone(self);
            stops.spawn(async move {
                Arc::clone(&supervisor).stop(&name, libc::SIGTERM, grace).await?;
                supervisor.state.remove(Shelf::Processes, &name)?;
                supervisor.lock().remove(&name);
                Ok::<_, String>(())
            });
        }
        let mut problems = Vec::new();
        while let Some(result) = stops.join_next().await {
            if let Err(problem) = result.map_err(|error| error.to_string()).flatten() {
                problems.push(problem);
            }
        }
        let supervisor = Arc::clone(self);
        let swept = tokio::task::spawn_blocking(move || supervisor.sweep()).await;
        if let Err(problem) = swept.map_err(|error| error.to_string()).flatten() {
            problems.push(problem);
        }
        problems.sort();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    fn note_end(&self, name: &str, identity: Identity, ended: Ended) {
        let mut processes = self.lock();
        let Some(process) = processes.get_mut(name) else { return };
        // A later life of it has a mind of its own.
        let Some(instance) = process.instance.as_ref().filter(|instance| instance.identity == identity)
        else {
            return;
        };
        let expected = instance.expected;
        if !expected && self.events.is_closed() {
            return;
        }
        if let Some(life) = &mut process.record.life {
            life.ended = true;
        }
        self.keep(&process.record);
        drop(processes);
        let Ended { code, signal } = ended;
        tracing::info!(event = "process ended", name, pid = identity.pid, code, signal, expected);
        if !expected {
            let exited = Response::Exited { name: name.to_owned(), pid: identity.pid, code, signal };
            // Nobody listens once the agent ends.
            let _ = self.events.send(exited);
        }
    }

    /// The state of a process.
    pub fn status(&self, name: &str) -> ProcessStatus {
        let processes = self.lock();
        let Some(process) = processes.get(name) else { return ProcessStatus::Unknown };
        let Some(instance) = &process.instance else {
            return ProcessStatus::Exited { code: None, signal: None };
        };
        match instance.identity.stat() {
            Some(stat) if !stat.is_dead() => {
                ProcessStatus::Running { pid: instance.identity.pid, state: stat.state }
            }
            _ => match *instance.ended.borrow() {
                Some(Ended { code, signal }) => ProcessStatus::Exited { code, signal },
                // It has ended and is about to be collected: how it ended is known in a moment, and not to be made up.
                None => ProcessStatus::Running { pid: instance.identity.pid, state: 'Z' },
            },
        }
    }
}

impl Process {
    /// Its number, while it runs.
    fn pid(&self) -> Option<i32> {
        self.instance.as_ref().map(|instance| instance.identity).filter(|it| it.is_alive()).map(|it| it.pid)
    }
}

impl Host for Supervisor {
    fn pids(&self, process: &str) -> Vec<i32> {
        let Some((identity, mark)) = self
            .lock()
            .get(process)
            .and_then(|process| process.instance.as_ref())
            .map(|instance| (instance.identity, instance.mark.clone()))
        else {
            return Vec::new();
        };
        match Table::read() {
            Ok(table) => table.tree(Some(identity), &mark).into_iter().map(|member| member.pid).collect(),
            Err(error) => {
                tracing::error!(%error, "/proc cannot be read");
                // Nothing is known, and nothing would say that it is down.
                vec![identity.pid]
            }
        }
    }

    fn hold_down(&self, process: &str, down: bool) {
        let mut processes = self.lock();
        let Some(process) = processes.get_mut(process) else { return };
        process.record.held_down = down;
        if let Some(instance) = &mut process.instance {
            // An instance that was held down and is dead by now died of that, however late its end is noticed.
            instance.expected = down || (instance.expected && !instance.identity.is_alive());
        }
        self.keep(&process.record);
    }

    fn start(&self, process: &str) -> Result<(), FaultError> {
        let failed = |reason| FaultError { step: "heal", fault: "kill", reason };
        let mut processes = self.lock();
        let process = processes
            .get_mut(process)
            .ok_or_else(|| failed(format!("nobody started a process `{process}` on this node")))?;
        if process.pid().is_some() {
            return Ok(());
        }
        self.launch(process).map(|_| ()).map_err(failed)
    }
}

/// What the tasks that wait for a process hold.
struct Watcher(Weak<Supervisor>);

impl Watcher {
    async fn ended(
        self,
        name: String,
        identity: Identity,
        ended: Ended,
        sender: watch::Sender<Option<Ended>>,
    ) {
        let noted = tokio::task::spawn_blocking(move || {
            if let Some(supervisor) = self.0.upgrade() {
                supervisor.note_end(&name, identity, ended);
            }
            sender.send_replace(Some(ended));
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "the end of a process could not be noted");
        }
    }

    /// Waits for a process that is not our child.
    async fn wait_adopted(self, name: String, identity: Identity, sender: watch::Sender<Option<Ended>>) {
        if let Ok(fd) = PidFd::open(identity.pid)
            // It may have ended before the descriptor was opened, which then means another process.
            && identity.is_alive()
            && let Err(error) = fd.ended().await
        {
            tracing::warn!(%error, name, "looking after an adopted process by asking again and again");
        }
        while identity.is_alive() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.ended(name, identity, Ended::default(), sender).await;
    }
}

/// The log, opened twice for appending.
fn open_log(path: &str) -> Result<(Stdio, Stdio), String> {
    let failed = |error: std::io::Error| format!("open the log {path}: {error}");
    if !Path::new(path).is_absolute() {
        return Err(format!("the log `{path}` is not an absolute path"));
    }
    if let Some(above) = Path::new(path).parent() {
        std::fs::create_dir_all(above).map_err(failed)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o644).open(path).map_err(failed)?;
    let copy = file.try_clone().map_err(failed)?;
    Ok((file.into(), copy.into()))
}

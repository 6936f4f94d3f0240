//! The controller's end of one agent.
//!
//! One task reads, one writes, one sends heartbeats; any number of requests are open at a time and each has a deadline, so
//! that nothing the controller asks can hang. The tasks hold no handle: when the last [`Handle`] is dropped the pipe closes,
//! and the agent heals and exits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schism_nemesis::node::{Evidence, NodeFault};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::facts::{ClockDistance, Facts, unix_micros};
use super::frame::{self, FrameError};
use super::heal::Healed;
use super::outbox::Outbox;
use super::piece::unpack;
use super::protocol::{
    CHUNK_LEN, Command, FromAgent, HEARTBEAT_EVERY, ProcessStatus, REQUESTS_MAX, Request, Response, ToAgent,
    VERSION,
};
use crate::transport::AgentPipe;

/// How long an agent may take to say hello. It first undoes what an earlier agent left, and may wait for that one to go.
const HELLO_PATIENCE: Duration = Duration::from_secs(60);
/// Heartbeats without any frame from the agent after which it counts as gone.
const UNANSWERED_MAX: u32 = 8;
/// What a request may take beyond the time it was itself given: the way there and back, and a loaded node.
const MARGIN: Duration = Duration::from_secs(20);
/// What killing and reaping may add to a command or a stop.
const KILL_PATIENCE: Duration = Duration::from_secs(15);
/// What making or undoing a fault may take.
const FAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Nothing is waited for longer, whatever the caller says.
const PATIENCE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes asked for at once when a file is fetched: bounds what waits in memory when the disk here is slow.
const SLICE_LEN: u64 = 4 << 20;
/// How long one slice or chunk of a file may take on a slow link.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(120);
/// A longer file is not fetched to its end.
pub const FETCH_LEN_MAX: u64 = 4 << 30;

/// Why a request to an agent failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AgentError {
    /// The pipe closed: the agent, its node or the connection died. What was asked may or may not have happened.
    #[error("the agent on {node} is gone ({during})")]
    Gone {
        /// The node's name.
        node: String,
        /// What was asked, and what is known of the end.
        during: String,
    },
    /// The agent said no, or a local file failed.
    #[error("{node}: {reason}")]
    Failed {
        /// The node's name.
        node: String,
        /// What happened.
        reason: String,
    },
    /// The agent did not answer in time. What was asked may still happen.
    #[error("the agent on {node} did not answer within {seconds:.1} s ({during})")]
    Late {
        /// The node's name.
        node: String,
        /// What was asked.
        during: String,
        /// How long was waited.
        seconds: f64,
    },
}

/// What an agent says unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// A supervised process ended and was not meant to. Of a process that an earlier agent started, neither code nor signal
    /// can be known.
    Exited {
        /// The supervised process.
        name: String,
        /// Its process id.
        pid: i32,
        /// The exit code, when it exited.
        code: Option<i32>,
        /// The signal that ended it, when one did.
        signal: Option<i32>,
    },
    /// A lease ran out and the fault was healed.
    LeaseExpired {
        /// The fault's id.
        id: String,
    },
    /// A fault could not be renewed: it may end before it is healed.
    RenewFailed {
        /// The fault's id.
        id: String,
        /// What happened.
        reason: String,
    },
    /// The last event: the pipe is closed.
    Gone {
        /// What is known of the end.
        reason: String,
    },
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutput {
    /// The exit code; absent when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether that signal was the deadline's.
    pub timed_out: bool,
    /// The end of its standard output, not UTF-8 replaced.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
    /// Whether the beginning of either is missing.
    pub truncated: bool,
    /// From start to end, on the node.
    pub took: Duration,
}

impl RunOutput {
    /// Whether it exited with code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// A live agent. Cloning shares the pipe; dropping the last clone closes it.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Arc<str>,
    pid: u32,
    healed: Vec<String>,
    outbox: Outbox,
    pending: Arc<Pending>,
    /// Requests that may still be opened.
    slots: Semaphore,
    next_id: AtomicU64,
}

/// Requests that wait for an answer, shared with the reader.
#[derive(Debug, Default)]
struct Pending {
    state: Mutex<PendingState>,
    /// Heartbeats sent since the last frame came.
    unanswered: AtomicU32,
}

#[derive(Debug, Default)]
struct PendingState {
    /// Why the pipe is closed, once it is.
    closed: Option<String>,
    waiting: HashMap<u64, mpsc::UnboundedSender<Response>>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason stays. Every request that waits learns it.
    fn close(&self, reason: &str) -> String {
        let mut state = self.lock();
        state.waiting.clear();
        state.closed.get_or_insert_with(|| reason.to_owned()).clone()
    }
}

/// An open request; dropping it, also by cancelling, forgets it.
struct Ticket<'a> {
    id: u64,
    pending: &'a Pending,
    answers: mpsc::UnboundedReceiver<Response>,
    _slot: SemaphorePermit<'a>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.id);
    }
}

impl Handle {
    /// Says hello to a freshly started agent and starts to send heartbeats. `node` is the node's name, `controller` what
    /// the node's messages call this run. Unasked events come from the receiver, the last is [`AgentEvent::Gone`].
    ///
    /// # Errors
    /// The agent did not answer in time, is of another version, or is no agent at all.
    pub async fn connect(
        pipe: AgentPipe,
        node: &str,
        controller: &str,
    ) -> Result<(Self, mpsc::UnboundedReceiver<AgentEvent>), AgentError> {
        Self::connect_with(pipe, node, controller, false).await
    }

    /// As [`Handle::connect`], and `disposable` says that somebody has said explicitly that faults may be made on this node,
    /// whether or not it is marked.
    ///
    /// # Errors
    /// As [`Handle::connect`].
    pub async fn connect_with(
        pipe: AgentPipe,
        node: &str,
        controller: &str,
        disposable: bool,
    ) -> Result<(Self, mpsc::UnboundedReceiver<AgentEvent>), AgentError> {
        let AgentPipe { mut stdin, stdout } = pipe;
        let mut reader = tokio::io::BufReader::with_capacity(64 << 10, stdout);
        let failed = |reason| AgentError::Failed { node: node.to_owned(), reason };
        let gone =
            |reason: &str| AgentError::Gone { node: node.to_owned(), during: format!("hello: {reason}") };
        let hello = async {
            let (controller, node) = (controller.to_owned(), node.to_owned());
            let request = Request::Hello { version: VERSION, controller, node, disposable };
            let sent = frame::write(&mut stdin, &ToAgent { id: 1, request }).await;
            // What the other end says is worth more than that it no longer listens, so read also when writing failed.
            match (frame::read::<FromAgent>(&mut reader).await, sent) {
                (Ok(Some(answer)), _) => Ok(answer.response),
                (Ok(None), Err(error)) => Err(gone(&error.to_string())),
                (Ok(None), Ok(())) => Err(gone(
                    "it ended before it answered; its log says why (agent.log of the node, in the run directory)",
                )),
                (Err(FrameError::Io(error)), _) => Err(gone(&error.to_string())),
                (Err(error), _) => Err(failed(format!("start agent: {error}"))),
            }
        };
        let response = timeout(HELLO_PATIENCE, hello).await.map_err(|_| AgentError::Late {
            node: node.to_owned(),
            during: "hello".to_owned(),
            seconds: HELLO_PATIENCE.as_secs_f64(),
        })??;
        let (pid, healed) = match response {
            Response::Hello { version: VERSION, pid, healed } => (pid, healed),
            Response::Hello { version, .. } => {
                return Err(failed(format!(
                    "the agent speaks protocol version {version}, this controller {VERSION}: install the same schism on both"
                )));
            }
            Response::Failed { reason } => return Err(failed(reason)),
            other => return Err(failed(format!("instead of hello the agent said {}", name_of(&other)))),
        };
        let dead = CancellationToken::new();
        let (outbox, _) = Outbox::start(stdin, dead.clone());
        let pending = Arc::new(Pending::default());
        let (event_sender, events) = mpsc::unbounded_channel();
        tokio::spawn(receive(reader, Arc::clone(&pending), event_sender, dead.clone()));
        let shared = Arc::new(Shared {
            node: node.into(),
            pid,
            healed,
            outbox,
            pending,
            slots: Semaphore::new(REQUESTS_MAX - 1),
            next_id: AtomicU64::new(2),
        });
        tokio::spawn(heartbeat(Arc::downgrade(&shared), dead));
        Ok((Self { shared }, events))
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.shared.node
    }

    /// The agent's process id, as the node sees it.
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// Whether the pipe is closed: every request from now on fails with [`AgentError::Gone`].
    pub fn is_gone(&self) -> bool {
        self.shared.pending.lock().closed.is_some()
    }

    /// Faults that an earlier agent had left on the node and this one undid when it started.
    pub fn healed(&self) -> &[String] {
        &self.shared.healed
    }

    /// Runs a command to its end; killed with everything it started after `deadline`. Of stdout and stderr the last
    /// `output_max` bytes each are kept. Cancelling does not stop it: its deadline does.
    ///
    /// # Errors
    /// It could not be started, or see [`AgentError`]. A command that fails is no error here: look at [`RunOutput`].
    pub async fn run(
        &self,
        command: &Command,
        stdin: Option<String>,
        deadline: Duration,
        output_max: usize,
    ) -> Result<RunOutput, AgentError> {
        let during = format!("run `{}`", command.argv.join(" "));
        let request =
            Request::Run { command: command.clone(), stdin, deadline_ms: millis(deadline), output_max };
        match self.ask(request, &during, deadline.saturating_add(KILL_PATIENCE + MARGIN)).await? {
            Response::Ran { code, signal, timed_out, stdout, stderr, truncated, millis } => Ok(RunOutput {
                code,
                signal,
                timed_out,
                stdout,
                stderr,
                truncated,
                took: Duration::from_millis(millis),
            }),
            other => Err(self.unexpected(&during, &other)),
        }
    }

    /// Starts and supervises a process called `name`, its output appended to the file `log` on the node. It outlives
    /// the agent. Returns its process id.
    ///
    /// # Errors
    /// It runs already, could not be started, or see [`AgentError`].
    pub async fn start(&self, name: &str, command: &Command, log: &str) -> Result<i32, AgentError> {
        let during = format!("start {name}");
        let request = Request::Start { name: name.to_owned(), command: command.clone(), log: log.to_owned() };
        match self.ask(request, &during, MARGIN).await? {
            Response::Started { pid } => Ok(pid),
            other => Err(self.unexpected(&during, &other)),
        }
    }

    /// Stops a supervised process with `signal`, and after `grace` kills it with everything it started. Fine when it
    /// is down.
    ///
    /// # Errors
    /// Something of it could not be killed, or see [`AgentError`].
    pub async fn stop(&self, name: &str, signal: i32, grace: Duration) -> Result<(), AgentError> {
        let request = Request::Stop { name: name.to_owned(), signal, grace_ms: millis(grace) };
        self.done(request, &format!("stop {name}"), grace.saturating_add(KILL_PATIENCE + MARGIN)).await
    }

    /// The state of a supervised process.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn status(&self, name: &str) -> Result<ProcessStatus, AgentError> {
        let during = format!("status of {name}");
        match self.ask(Request::Status { name: name.to_owned() }, &during, MARGIN).await? {
            Response::Status { status } => Ok(status),
            other => Err(self.unexpected(&during, &other)),
        }
    }

    /// Writes a file on the node, replacing what was there, and creates the directories above it. `mode` is the file's, as
    /// in `chmod`.
    ///
    /// # Errors
    /// The node's file system refused, or see [`AgentError`].
    pub async fn write_file(&self, path: &str, mode: u32, data: &[u8]) -> Result<(), AgentError> {
        let mut append = false;
        for chunk in data.chunks(CHUNK_LEN) {
            self.write_chunk(path, mode, chunk, append).await?;
            append = true;
        }
        if append { Ok(()) } else { self.write_chunk(path, mode, &[], false).await }
    }

    /// Copies a file of this machine to the node, as [`Handle::write_file`] writes it. Returns its length in bytes.
    ///
    /// # Errors
    /// The file here cannot be read, or as [`Handle::write_file`].
    pub async fn send_file(&self, from: &Path, path: &str, mode: u32) -> Result<u64, AgentError> {
        let here = |error: std::io::Error| self.failed(format!("read {}: {error}", from.display()));
        let mut file = tokio::fs::File::open(from).await.map_err(here)?;
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        let mut len = 0;
        loop {
            chunk.clear();
            (&mut file).take(CHUNK_LEN as u64).read_to_end(&mut chunk).await.map_err(here)?;
            if chunk.is_empty() && len > 0 {
                return Ok(len);
            }
            self.write_chunk(path, mode, &chunk, len > 0).await?;
            len += chunk.len() as u64;
            if chunk.len() < CHUNK_LEN {
                return Ok(len);
            }
        }
    }

    /// Reads a part of a file: from `offset` (negative: that many bytes before the end), at most `length_max` bytes.
    ///
    /// # Errors
    /// The node's file system refused, or see [`AgentError`].
    pub async fn read_file(&self, path: &str, offset: i64, length_max: u64) -> Result<Vec<u8>, AgentError> {
        let during = format!("read {path}");
        let request = Request::Read { path: path.to_owned(), offset, length: length_max };
        let mut ticket = self.open(request, &during, TRANSFER_PATIENCE).await?;
        let mut data = Vec::new();
        loop {
            // Every chunk is progress, so every chunk has the whole patience.
            let end = Instant::now() + TRANSFER_PATIENCE;
            match self.answer(&mut ticket, &during, TRANSFER_PATIENCE, end).await? {
                Response::Chunk { data: chunk, gzip } => {
                    let chunk =
                        unpack(&chunk, gzip).map_err(|error| self.failed(format!("{during}: {error}")))?;
                    if (data.len() + chunk.len()) as u64 > length_max {
                        return Err(self.failed(format!("{during}: more came than was asked for")));
                    }
                    data.extend_from_slice(&chunk);
                }
                Response::Done => return Ok(data),
                other => return Err(self.unexpected(&during, &other)),
            }
        }
    }

    /// Copies a file of the node to this machine, at most [`FETCH_LEN_MAX`] bytes of it, and creates the directories above
    /// it. Returns its length in bytes.
    ///
    /// # Errors
    /// The file could not be read there or written here, is longer than that (its beginning is kept), or see
    /// [`AgentError`].
    pub async fn fetch_file(&self, path: &str, to: &Path) -> Result<u64, AgentError> {
        let here = |error: std::io::Error| self.failed(format!("write {}: {error}", to.display()));
        // Asked first, so that a file that is not there leaves nothing here.
        let mut slice = self.read_file(path, 0, SLICE_LEN).await?;
        if let Some(above) = to.parent() {
            tokio::fs::create_dir_all(above).await.map_err(here)?;
        }
        let mut file = tokio::fs::File::create(to).await.map_err(here)?;
        let mut len = 0;
        loop {
            file.write_all(&slice).await.map_err(here)?;
            len += slice.len() as u64;
            if (slice.len() as u64) < SLICE_LEN {
                break;
            }
            if len >= FETCH_LEN_MAX {
                file.flush().await.map_err(here)?;
                return Err(self
                    .failed(format!("{path} is longer than {FETCH_LEN_MAX} bytes; its beginning is kept")));
            }
            slice = self.read_file(path, i64::try_from(len).unwrap_or(i64::MAX), SLICE_LEN).await?;
        }
        file.flush().await.map_err(here)?;
        Ok(len)
    }

    /// The regular files below a directory, as paths below it, and whether there are more than are listed. A directory that is
    /// not there has none.
    ///
    /// # Errors
    /// The node's file system refused, or see [`AgentError`].
    pub async fn list(&self, directory: &str) -> Result<(Vec<String>, bool), AgentError> {
        let during = format!("list {directory}");
        let request = Request::List { directory: directory.to_owned() };
        match self.ask(request, &during, TRANSFER_PATIENCE).await? {
            Response::Listed { files, more } => Ok((files, more)),
            other => Err(self.unexpected(&during, &other)),
        }
    }

    /// Can this node make the fault? Changes nothing.
    ///
    /// # Errors
    /// What is missing, or see [`AgentError`].
    pub async fn precheck(&self, fault: &NodeFault) -> Result<(), AgentError> {
        self.done(Request::Precheck { fault: fault.clone() }, "precheck", FAULT_PATIENCE).await
    }

    /// Makes a fault under a lease that heartbeats renew. `id` is unique among the faults in force.
    ///
    /// # Errors
    /// It could not be made, and was undone; or see [`AgentError`].
    pub async fn inject(&self, id: &str, fault: &NodeFault, lease: Duration) -> Result<(), AgentError> {
        let request = Request::Inject { id: id.to_owned(), fault: fault.clone(), lease_ms: millis(lease) };
        self.done(request, &format!("inject {id}"), FAULT_PATIENCE).await
    }

    /// Does the fault bite? Waits at most `patience` for the evidence.
    ///
    /// # Errors
    /// There is no such fault in force, the look itself failed, or see [`AgentError`].
    pub async fn verify(&self, id: &str, patience: Duration) -> Result<Evidence, AgentError> {
        let request = Request::Verify { id: id.to_owned(), patience_ms: millis(patience) };
        self.evidence(request, &format!("verify {id}"), patience).await
    }

    /// Undoes the fault. Fine when there is none.
    ///
    /// # Errors
    /// What could not be undone, or see [`AgentError`].
    pub async fn heal(&self, id: &str) -> Result<(), AgentError> {
        self.done(Request::Heal { id: id.to_owned() }, &format!("heal {id}"), FAULT_PATIENCE).await
    }

    /// Is everything of the fault gone? Waits at most `patience`. Once it is, the agent forgets the fault.
    ///
    /// # Errors
    /// The look itself failed, or see [`AgentError`].
    pub async fn verify_healed(&self, id: &str, patience: Duration) -> Result<Evidence, AgentError> {
        let request = Request::VerifyHealed { id: id.to_owned(), patience_ms: millis(patience) };
        self.evidence(request, &format!("verify that {id} is healed"), patience).await
    }

    /// Sends one small datagram to each address, so that a fault has something to drop.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn poke(&self, addresses: &[std::net::SocketAddr]) -> Result<(), AgentError> {
        self.done(Request::Poke { addresses: addresses.to_vec() }, "poke", MARGIN).await
    }

    /// Which addresses answer a TCP connect, from this node, within `patience`? In the order asked.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn reach(
        &self,
        addresses: &[std::net::SocketAddr],
        patience: Duration,
    ) -> Result<Vec<bool>, AgentError> {
        let request = Request::Reach { addresses: addresses.to_vec(), patience_ms: millis(patience) };
        match self.ask(request, "reach", patience.saturating_add(MARGIN)).await? {
            Response::Reached { answered } if answered.len() == addresses.len() => Ok(answered),
            other => Err(self.unexpected("reach", &other)),
        }
    }

    /// Everything of ours that is still on the node, one line each; empty is clean.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn residue(&self) -> Result<Vec<String>, AgentError> {
        match self.ask(Request::Residue, "residue", MARGIN).await? {
            Response::Residue { found } => Ok(found),
            other => Err(self.unexpected("residue", &other)),
        }
    }

    /// What the node is like: which of the programs `tools` it has, and whether it could make each of `faults`, in their
    /// order. Also by how much its clock is ahead of ours.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn facts(
        &self,
        tools: &[String],
        faults: &[NodeFault],
    ) -> Result<(Facts, ClockDistance), AgentError> {
        let request = Request::Facts { tools: tools.to_vec(), faults: faults.to_vec() };
        let asked = unix_micros();
        match self.ask(request, "facts", FAULT_PATIENCE + MARGIN).await? {
            Response::Facts { facts } if facts.prechecks.len() == faults.len() => {
                let distance = ClockDistance::of(asked, facts.asked_us, facts.answered_us, unix_micros());
                Ok((*facts, distance))
            }
            other => Err(self.unexpected("facts", &other)),
        }
    }

    /// Undoes whatever of any fault can be known by name on the node, without a journal. With `stop`, also ends what agents
    /// supervised there.
    ///
    /// # Errors
    /// A fault is in force, or see [`AgentError`].
    pub async fn purge(&self, stop: bool) -> Result<Healed, AgentError> {
        match self.ask(Request::Purge { stop }, "purge", FAULT_PATIENCE + KILL_PATIENCE + MARGIN).await? {
            Response::Purged { found, left, running } => Ok(Healed { found, left, running }),
            other => Err(self.unexpected("purge", &other)),
        }
    }

    /// Heals everything, stops every supervised process and ends the agent.
    ///
    /// # Errors
    /// What could not be healed or stopped, or see [`AgentError`].
    pub async fn bye(&self) -> Result<(), AgentError> {
        self.done(Request::Bye, "bye", FAULT_PATIENCE + KILL_PATIENCE + MARGIN).await
    }

    async fn write_chunk(&self, path: &str, mode: u32, chunk: &[u8], append: bool) -> Result<(), AgentError> {
        let request = Request::Write { path: path.to_owned(), mode, data: BASE64.encode(chunk), append };
        self.done(request, &format!("write {path}"), TRANSFER_PATIENCE).await
    }

    async fn done(&self, request: Request, during: &str, patience: Duration) -> Result<(), AgentError> {
        match self.ask(request, during, patience).await? {
            Response::Done => Ok(()),
            other => Err(self.unexpected(during, &other)),
        }
    }

    async fn evidence(
        &self,
        request: Request,
        during: &str,
        patience: Duration,
    ) -> Result<Evidence, AgentError> {
        match self.ask(request, during, patience.saturating_add(MARGIN)).await? {
            Response::Evidence { evidence } => Ok(evidence),
            other => Err(self.unexpected(during, &other)),
        }
    }

    /// A request with one answer.
    async fn ask(&self, request: Request, during: &str, patience: Duration) -> Result<Response, AgentError> {
        let patience = patience.min(PATIENCE_MAX);
        let end = Instant::now() + patience;
        let mut ticket = self.open(request, during, patience).await?;
        self.answer(&mut ticket, during, patience, end).await
    }

    /// Sends a request.
    async fn open(
        &self,
        request: Request,
        during: &str,
        patience: Duration,
    ) -> Result<Ticket<'_>, AgentError> {
        let shared = &*self.shared;
        let Ok(slot) = timeout(patience, shared.slots.acquire()).await else {
            return Err(self.late(during, patience));
        };
        let slot = slot.map_err(|_| self.gone(during))?;
        let bulk = matches!(request, Request::Write { .. } | Request::Run { stdin: Some(_), .. });
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = frame::encode(&ToAgent { id, request })
            .map_err(|error| self.failed(format!("{during}: {error}")))?;
        let (sender, answers) = mpsc::unbounded_channel();
        {
            let mut state = shared.pending.lock();
            if state.closed.is_some() {
                drop(state);
                return Err(self.gone(during));
            }
            state.waiting.insert(id, sender);
        }
        let ticket = Ticket { id, pending: &shared.pending, answers, _slot: slot };
        let sent = if bulk {
            match timeout(patience, shared.outbox.bulk(frame)).await {
                Ok(sent) => sent,
                Err(_) => return Err(self.late(during, patience)),
            }
        } else {
            shared.outbox.control(frame)
        };
        sent.map_err(|_| self.gone(during))?;
        Ok(ticket)
    }

    async fn answer(
        &self,
        ticket: &mut Ticket<'_>,
        during: &str,
        patience: Duration,
        end: Instant,
    ) -> Result<Response, AgentError> {
        match timeout_at(end, ticket.answers.recv()).await {
            Ok(Some(Response::Failed { reason })) => Err(self.failed(format!("{during}: {reason}"))),
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(self.gone(during)),
            Err(_) => Err(self.late(during, patience)),
        }
    }

    fn failed(&self, reason: String) -> AgentError {
        AgentError::Failed { node: self.node().to_owned(), reason }
    }

    fn late(&self, during: &str, patience: Duration) -> AgentError {
        AgentError::Late {
            node: self.node().to_owned(),
            during: during.to_owned(),
            seconds: patience.as_secs_f64(),
        }
    }

    fn gone(&self, during: &str) -> AgentError {
        let reason = self.shared.pending.lock().closed.clone();
        let during = match reason {
            Some(reason) => format!("{during}: {reason}"),
            None => during.to_owned(),
        };
        AgentError::Gone { node: self.node().to_owned(), during }
    }

    fn unexpected(&self, during: &str, response: &Response) -> AgentError {
        self.failed(format!("{during}: the agent answered {}, which is no answer to that", name_of(response)))
    }
}

/// Reads until the pipe ends, then tells everybody.
async fn receive(
    mut reader: impl AsyncRead + Unpin,
    pending: Arc<Pending>,
    events: mpsc::UnboundedSender<AgentEvent>,
    dead: CancellationToken,
) {
    let read_all = async {
        loop {
            match frame::read::<FromAgent>(&mut reader).await {
                Ok(Some(FromAgent { id, response })) => {
                    pending.unanswered.store(0, Ordering::Relaxed);
                    if id == 0 {
                        tell(&events, response);
                    } else if let Some(waiting) = pending.lock().waiting.get(&id) {
                        // A request that nobody waits for any more needs no answer.
                        let _ = waiting.send(response);
                    }
                }
                Ok(None) => return "the pipe closed".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let reason = tokio::select! {
        reason = read_all => reason,
        () = dead.cancelled() => "the pipe closed".to_owned(),
    };
    let reason = pending.close(&reason);
    dead.cancel();
    // The run may not listen to events any more.
    let _ = events.send(AgentEvent::Gone { reason });
}

fn tell(events: &mpsc::UnboundedSender<AgentEvent>, response: Response) {
    let event = match response {
        Response::Exited { name, pid, code, signal } => AgentEvent::Exited { name, pid, code, signal },
        Response::LeaseExpired { id } => AgentEvent::LeaseExpired { id },
        Response::RenewFailed { id, reason } => AgentEvent::RenewFailed { id, reason },
        other => {
            tracing::warn!(response = name_of(&other), "an agent said unasked what it should only answer");
            return;
        }
    };
    let _ = events.send(event);
}

/// Sends heartbeats while a handle exists. Silence is counted in heartbeats, not in time, so that a controller that was
/// itself stopped for a while does not blame its agents.
async fn heartbeat(shared: Weak<Shared>, dead: CancellationToken) {
    let mut ticks = tokio::time::interval(HEARTBEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = dead.cancelled() => return,
        }
        let Some(shared) = shared.upgrade() else { return };
        if shared.pending.unanswered.fetch_add(1, Ordering::Relaxed) >= UNANSWERED_MAX {
            shared.pending.close(&format!("no answer to {UNANSWERED_MAX} heartbeats"));
            dead.cancel();
            return;
        }
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let Ok(frame) = frame::encode(&ToAgent { id, request: Request::Heartbeat }) else { return };
        if shared.outbox.control(frame).is_err() {
            return;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn name_of(response: &Response) -> &'static str {
    match response {
        Response::Hello { .. } => "hello",
        Response::Done => "done",
        Response::Ran { .. } => "ran",
        Response::Started { .. } => "started",
        Response::Status { .. } => "status",
        Response::Chunk { .. } => "chunk",
        Response::Listed { .. } => "listed",
        Response::Evidence { .. } => "evidence",
        Response::Reached { .. } => "reached",
        Response::Residue { .. } => "residue",
        Response::Facts { .. } => "facts",
        Response::Purged { .. } => "purged",
        Response::Failed { .. } => "failed",
        Response::Exited { .. } => "exited",
        Response::LeaseExpired { .. } => "lease-expired",
        Response::RenewFailed { .. } => "renew-failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handle, and the agent's ends of its pipe.
    async fn connected()
    -> (Handle, mpsc::UnboundedReceiver<AgentEvent>, tokio::io::DuplexStream, tokio::io::DuplexStream) {
        let (stdin, mut from_controller) = tokio::io::duplex(1 << 16);
        let (mut to_controller, stdout) = tokio::io::duplex(1 << 16);
        let agent = async {
            let hello: ToAgent = frame::read(&mut from_controller).await.unwrap().unwrap();
            let response = Response::Hello { version: VERSION, pid: 1, healed: vec!["f0".to_owned()] };
            frame::write(&mut to_controller, &FromAgent { id: hello.id, response }).await.unwrap();
        };
        let pipe = AgentPipe { stdin: Box::new(stdin), stdout: Box::new(stdout) };
        let (connected, ()) = tokio::join!(Handle::connect(pipe, "n1", "test"), agent);
        let (handle, events) = connected.unwrap();
        (handle, events, from_controller, to_controller)
    }

    #[tokio::test]
    async fn a_silent_agent_is_late_and_its_late_answer_goes_nowhere() {
        let (handle, _events, mut from_controller, mut to_controller) = connected().await;
        assert_eq!((handle.node(), handle.pid(), handle.healed()), ("n1", 1, &["f0".to_owned()][..]));
        let error = handle.ask(Request::Residue, "residue", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(&error, AgentError::Late { node, .. } if node == "n1"), "{error}");
        assert_eq!(handle.shared.slots.available_permits(), REQUESTS_MAX - 1);
        // The answer to the first comes when the second waits.
        let agent = async {
            let mut first = true;
            loop {
                let ToAgent { id, request } = frame::read(&mut from_controller).await.unwrap().unwrap();
                if request == Request::Residue {
                    let found = vec![if first { "wrong" } else { "right" }.to_owned()];
                    let response = Response::Residue { found };
                    frame::write(&mut to_controller, &FromAgent { id, response }).await.unwrap();
                    if !first {
                        break;
                    }
                    first = false;
                }
            }
        };
        let (found, ()) = tokio::join!(handle.residue(), agent);
        assert_eq!(found.unwrap(), ["right"]);
    }

    #[tokio::test]
    async fn dropping_the_last_handle_closes_the_pipe() {
        let (handle, _events, mut from_controller, _to_controller) = connected().await;
        let clone = handle.clone();
        drop(handle);
        clone
            .shared
            .outbox
            .control(frame::encode(&ToAgent { id: 9, request: Request::Bye }).unwrap())
            .unwrap();
        drop(clone);
        let mut requests = Vec::new();
        while let Some(ToAgent { request, .. }) = frame::read(&mut from_controller).await.unwrap() {
            requests.push(request);
        }
        assert_eq!(requests.last(), Some(&Request::Bye));
    }

    #[tokio::test]
    async fn garbage_in_the_middle_ends_everything() {
        let (handle, mut events, _from_controller, mut to_controller) = connected().await;
        to_controller.write_all(b"Connection to n1 closed by remote host.\n").await.unwrap();
        let error = handle.residue().await.unwrap_err();
        assert!(
            matches!(&error, AgentError::Gone { during, .. } if during.contains("closed by remote host")),
            "{error}"
        );
        assert!(matches!(events.recv().await, Some(AgentEvent::Gone { .. })));
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn another_version_is_refused() {
        let (stdin, _from_controller) = tokio::io::duplex(1 << 16);
        let (mut to_controller, stdout) = tokio::io::duplex(1 << 16);
        let response = Response::Hello { version: VERSION + 1, pid: 1, healed: Vec::new() };
        frame::write(&mut to_controller, &FromAgent { id: 1, response }).await.unwrap();
        let pipe = AgentPipe { stdin: Box::new(stdin), stdout: Box::new(stdout) };
        let error = Handle::connect(pipe, "n1", "test").await.unwrap_err().to_string();
        assert!(error.contains("install the same schism"), "{error}");
    }
}

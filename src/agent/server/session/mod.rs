//! One controller's visit, from hello to the end.

mod leftovers;
mod turns;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::turns::Turns;
use super::leases::Leases;
use super::presence::Presence;
use super::state::State;
use super::supervisor::Supervisor;
use super::watchdog::{self, Guard};
use super::{Kernel, Options, Purge, files, poke, reach, run, ssh};
use crate::agent::frame::{self, FrameError};
use crate::agent::outbox::Outbox;
use crate::agent::piece::Piece;
use crate::agent::protocol::{FromAgent, REQUESTS_MAX, Request, Response, ToAgent, VERSION};
use crate::transport::DISPOSABLE;

/// How long a controller may take to say hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(60);
/// Commands that run at a time; more wait.
const RUNS_MAX: usize = 64;
/// What supervised processes are given to stop when the controller says bye.
const BYE_GRACE: Duration = Duration::from_secs(5);
/// What the last requests and frames are given when the agent ends.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// How often to look how long the controller may be silent. Shorter than any such time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Addresses in one request.
const ADDRESSES_MAX: usize = 1024;

/// Why an agent did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its state directory, journal or `/proc` cannot be used.
    #[error("{0}")]
    State(String),
    /// The other end does not speak the protocol.
    #[error("the controller cannot be understood: {0}")]
    Peer(#[from] FrameError),
    /// The other end is no controller, or of another version.
    #[error("{0}")]
    Hello(String),
    /// Something could not be healed or stopped; the journal keeps it for the next agent.
    #[error("left behind: {0}")]
    Residue(String),
}

/// Serves one controller until it says bye, the pipe closes, it is silent for too long, or `end` comes; then heals
/// everything. Supervised processes live on, except after bye. Must run on a Tokio runtime with time and I/O.
///
/// # Errors
/// See [`ServeError`]. Everything that could be healed is healed then, too.
pub async fn serve(
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    options: Options,
    end: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let Options { state, mechanisms, kernel, purge, watchdog } = options;
    let guard = Arc::new(Guard::new(watchdog, &state));
    let opening = tokio::spawn(watchdog::feed_while_opening(Arc::clone(&guard)));
    let guarding = Arc::clone(&guard);
    let (events, event_queue) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let adopted = tokio::task::spawn_blocking({
        let events = events.clone();
        move || {
            watchdog::guard_opening(&guarding, &state);
            let state = Arc::new(State::open(&state)?);
            let supervisor = Supervisor::adopt(Arc::clone(&state), events, runtime)?;
            Ok::<_, String>((state, supervisor, ssh::ports()))
        }
    });
    let dead = CancellationToken::new();
    let (outbox, writing) = Outbox::start(writer, dead.clone());
    let opened = async {
        let (state, supervisor, spared_ports) = adopted.await.map_err(|error| error.to_string())??;
        let (leases, mut healed) =
            Leases::replay(Arc::clone(&state), Arc::clone(&supervisor), mechanisms, events, guard).await?;
        healed.extend(watchdog::take_healed(&state)?);
        healed.sort();
        healed.dedup();
        Ok::<_, String>((state, supervisor, leases, healed, spared_ports))
    };
    let mut reader = tokio::io::BufReader::with_capacity(64 << 10, reader);
    let opened = opened.await;
    opening.abort();
    let (state, supervisor, leases, healed, spared_ports) = match opened {
        Ok(opened) => opened,
        Err(reason) => {
            // The controller is told rather than left with a closed pipe; whether it listens is its affair.
            if let Ok(Ok(Some(ToAgent { id, .. }))) =
                tokio::time::timeout(HELLO_PATIENCE, frame::read::<ToAgent>(&mut reader)).await
            {
                answer(&outbox, id, Response::Failed { reason: reason.clone() });
            }
            finish(outbox, writing).await;
            return Err(ServeError::State(reason));
        }
    };
    let feeder = tokio::spawn(Arc::clone(&leases).feed_watchdog());
    let session = Arc::new(Session {
        state,
        presence: OnceLock::new(),
        disposable: AtomicBool::new(false),
        supervisor,
        leases: Arc::clone(&leases),
        kernel,
        purge,
        spared_ports,
        outbox: outbox.clone(),
        runs: Semaphore::new(RUNS_MAX),
        marks: Mutex::new(BTreeMap::new()),
        marks_made: AtomicU64::new(0),
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        turns: Turns::default(),
        tasks: TaskTracker::new(),
        stopping: CancellationToken::new(),
        farewell: CancellationToken::new(),
        heard: watch::Sender::new(()),
    });
    tokio::pin!(end);
    let said = tokio::select! {
        said = session.hello(&mut reader, healed) => said,
        () = &mut end => Ok(false),
        () = dead.cancelled() => Ok(false),
    };
    let watcher = tokio::spawn(Arc::clone(&leases).watch());
    let telling = tokio::spawn(tell(event_queue, outbox.clone()));
    let result = match said {
        Ok(true) => {
            let listening = Arc::clone(&session).listen(reader);
            tokio::select! {
                result = listening => result.map_err(ServeError::from),
                () = silence(session.heard.subscribe(), || leases.silence_max()) => {
                    tracing::warn!("the controller is silent; taking it for dead");
                    Ok(())
                }
                () = session.farewell.cancelled() => Ok(()),
                () = dead.cancelled() => Ok(()),
                () = end => Ok(()),
            }
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    // Faults first: they are what hurts.
    session.stopping.cancel();
    let closed = leases.close().await;
    watcher.abort();
    feeder.abort();
    leases.dismiss_watchdog().await;
    session.tasks.close();
    if tokio::time::timeout(END_PATIENCE, session.tasks.wait()).await.is_err() {
        tracing::warn!("requests are still under way; the agent ends without them");
    }
    telling.abort();
    // Its tasks are over or hang; either way nothing may hold the pipe open.
    let _ = telling.await;
    drop(session);
    finish(outbox, writing).await;
    dead.cancel();
    result.and(closed.map_err(ServeError::Residue))
}

/// Returns when nothing was heard for `limit`, which may change meanwhile.
async fn silence(mut heard: watch::Receiver<()>, limit: impl Fn() -> Duration) {
    let mut last = Instant::now();
    loop {
        let left = limit().saturating_sub(last.elapsed());
        if left.is_zero() {
            return;
        }
        if tokio::time::timeout(left.min(LOOK_EVERY), heard.changed()).await.is_ok() {
            last = Instant::now();
        }
    }
}

/// Lets the writer finish.
async fn finish(outbox: Outbox, writing: tokio::task::JoinHandle<()>) {
    drop(outbox);
    if tokio::time::timeout(END_PATIENCE, writing).await.is_err() {
        tracing::debug!("nobody reads the last frames");
    }
}

/// Passes on what is said unasked.
async fn tell(mut events: mpsc::UnboundedReceiver<Response>, outbox: Outbox) {
    while let Some(event) = events.recv().await {
        answer(&outbox, 0, event);
    }
}

/// Queues an answer, ahead of every file.
fn answer(outbox: &Outbox, id: u64, response: Response) {
    if let Some(frame) = encode(id, response) {
        // A closed pipe ends the session elsewhere.
        let _ = outbox.control(frame);
    }
}

fn encode(id: u64, response: Response) -> Option<Vec<u8>> {
    frame::encode(&FromAgent { id, response })
        .or_else(|error| {
            let reason = format!("the answer is {error}");
            frame::encode(&FromAgent { id, response: Response::Failed { reason } })
        })
        .inspect_err(|error| tracing::error!(%error, "an answer cannot be written"))
        .ok()
}

pub(super) struct Session {
    pub(super) state: Arc<State>,
    /// Says that this node is taken, once a controller has said hello.
    presence: OnceLock<Arc<Presence>>,
    /// The controller was told that faults may be made on this node.
    disposable: AtomicBool,
    supervisor: Arc<Supervisor>,
    pub(super) leases: Arc<Leases>,
    kernel: Kernel,
    purge: Purge,
    /// What the controller reaches this node by, which no fault may cut.
    pub(super) spared_ports: Vec<u16>,
    outbox: Outbox,
    runs: Semaphore,
    /// The marks of commands that run.
    marks: Mutex<BTreeMap<u64, String>>,
    marks_made: AtomicU64,
    requests: Arc<Semaphore>,
    turns: Turns,
    tasks: TaskTracker,
    /// Commands are killed when it is set.
    stopping: CancellationToken,
    /// The controller said bye and was answered.
    farewell: CancellationToken,
    /// Marked whenever a frame comes.
    heard: watch::Sender<()>,
}

impl Session {
    /// Whether a controller of our version said hello; `false` when the pipe closed before.
    async fn hello(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        healed: Vec<String>,
    ) -> Result<bool, ServeError> {
        let first = tokio::time::timeout(HELLO_PATIENCE, frame::read::<ToAgent>(reader)).await;
        let ToAgent { id, request } = match first {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None)) => return Ok(false),
            Ok(Err(error)) => {
                let reason = format!("the agent cannot understand the controller: {error}");
                answer(&self.outbox, 0, Response::Failed { reason });
                return Err(error.into());
            }
            Err(_) => return Err(ServeError::Hello("no controller said hello".to_owned())),
        };
        let refuse = |reason: String| {
            answer(&self.outbox, id, Response::Failed { reason: reason.clone() });
            Err(ServeError::Hello(reason))
        };
        match request {
            Request::Hello { version: VERSION, controller, node, disposable } => {
                tracing::info!(event = "hello", controller, node, disposable, ?healed);
                self.disposable.store(disposable, Ordering::Relaxed);
                self.state.used_by(&controller);
                match self.state.claim() {
                    Ok(presence) => drop(self.presence.set(Arc::new(presence))),
                    // A full disk must not keep a controller from healing what is on this node.
                    Err(reason) => tracing::warn!(%reason, "others will not know whether this node is taken"),
                }
                let hello = Response::Hello { version: VERSION, pid: std::process::id(), healed };
                answer(&self.outbox, id, hello);
                Ok(true)
            }
            Request::Hello { version, .. } => refuse(format!(
                "the controller speaks protocol version {version}, this agent {VERSION}: install the same schism on both"
            )),
            _ => refuse("the first request has to be hello".to_owned()),
        }
    }

    async fn listen(self: Arc<Self>, mut reader: impl AsyncRead + Unpin) -> Result<(), FrameError> {
        while let Some(ToAgent { id, request }) = frame::read::<ToAgent>(&mut reader).await? {
            self.leases.heard();
            self.heard.send_replace(());
            if request == Request::Heartbeat {
                self.leases.heartbeat();
                if let Some(presence) = self.presence.get().map(Arc::clone) {
                    // A disk that hangs must not keep heartbeats waiting.
                    tokio::task::spawn_blocking(move || presence.heard());
                }
                answer(&self.outbox, id, Response::Done);
                continue;
            }
            let Ok(permit) = Arc::clone(&self.requests).try_acquire_owned() else {
                let reason = format!("{REQUESTS_MAX} requests are open already");
                answer(&self.outbox, id, Response::Failed { reason });
                continue;
            };
            // What ends a file must not overtake the file.
            let bulk = matches!(request, Request::Read { .. });
            let session = Arc::clone(&self);
            let turn = match &request {
                Request::Start { name, .. } | Request::Stop { name, .. } => Some(self.turns.queue(name)),
                _ => None,
            };
            let task = tokio::spawn({
                let session = Arc::clone(&session);
                async move {
                    let _turn = match turn {
                        Some(turn) => Some(turn.come().await),
                        None => None,
                    };
                    session.carry_out(id, request).await
                }
            });
            // A request that panics is answered, too.
            self.tasks.spawn(async move {
                let response = task.await.unwrap_or_else(|error| {
                    Err(format!("the agent failed inside: {error}; its log says where"))
                });
                let response = response.unwrap_or_else(|reason| Response::Failed { reason });
                let Some(frame) = encode(id, response) else { return };
                // A closed pipe ends the session elsewhere.
                let _ = if bulk { session.outbox.bulk(frame).await } else { session.outbox.control(frame) };
                drop(permit);
            });
        }
        Ok(())
    }

    /// Does what a request asks; the answer is the last one to it.
    async fn carry_out(&self, id: u64, request: Request) -> Result<Response, String> {
        let millis = Duration::from_millis;
        match request {
            Request::Hello { .. } => Err("hello was said already".to_owned()),
            Request::Heartbeat => Ok(Response::Done),
            Request::Run { command, stdin, deadline_ms, output_max } => {
                let _permit = self.runs.acquire().await.map_err(|error| error.to_string())?;
                let mark = self.mark();
                let stopping = self.stopping.clone();
                run::run(&command, stdin, millis(deadline_ms), output_max, &mark.text, &stopping).await
            }
            Request::Start { name, command, log } => {
                let supervisor = Arc::clone(&self.supervisor);
                let pid = blocking(move || supervisor.start(&name, command, &log)).await?;
                Ok(Response::Started { pid })
            }
            Request::Stop { name, signal, grace_ms } => {
                let supervisor = Arc::clone(&self.supervisor);
                supervisor.stop(&name, signal, millis(grace_ms)).await.map(|()| Response::Done)
            }
            Request::Status { name } => {
                let supervisor = Arc::clone(&self.supervisor);
                let status = blocking(move || Ok(supervisor.status(&name))).await?;
                Ok(Response::Status { status })
            }
            Request::Write { path, mode, data, append } => {
                blocking(move || files::write(&path, mode, &data, append)).await.map(|()| Response::Done)
            }
            Request::Read { path, offset, length } => self.read(id, path, offset, length).await,
            Request::List { directory } => {
                let (files, more) = blocking(move || files::list(&directory)).await?;
                Ok(Response::Listed { files, more })
            }
            Request::Precheck { mut fault } => {
                fault.spare(&self.spared_ports);
                self.leases.precheck(&fault).await.map(|()| Response::Done)
            }
            Request::Inject { id, mut fault, lease_ms } => {
                self.check_disposable().await?;
                fault.spare(&self.spared_ports);
                self.leases.inject(&id, fault, lease_ms).await.map(|()| Response::Done)
            }
            Request::Verify { id, patience_ms } => {
                let evidence = self.leases.verify(&id, millis(patience_ms)).await?;
                Ok(Response::Evidence { evidence })
            }
            Request::Heal { id } => self.leases.heal(&id).await.map(|()| Response::Done),
            Request::VerifyHealed { id, patience_ms } => {
                let evidence = self.leases.verify_healed(&id, millis(patience_ms)).await?;
                Ok(Response::Evidence { evidence })
            }
            Request::Poke { addresses } => {
                bounded(addresses.len())?;
                poke::poke(&addresses).await.map(|()| Response::Done)
            }
            Request::Reach { addresses, patience_ms } => {
                bounded(addresses.len())?;
                Ok(Response::Reached { answered: reach::reach(&addresses, millis(patience_ms)).await })
            }
            Request::Residue => self.residue().await,
            Request::Facts { tools, faults } => self.facts(tools, faults).await,
            Request::Purge { stop } => self.purge(stop).await,
            Request::Bye => {
                // The session ends after the answer, however this goes.
                let _farewell = self.farewell.clone().drop_guard();
                self.stopping.cancel();
                let healed = self.leases.close().await;
                self.turns.over().await;
                let stopped = self.supervisor.stop_all(BYE_GRACE).await;
                match (healed, stopped) {
                    (Ok(()), Ok(())) => Ok(Response::Done),
                    (Err(left), Err(also)) => Err(format!("{left}; {also}")),
                    (Err(left), Ok(())) | (Ok(()), Err(left)) => Err(left),
                }
            }
        }
    }

    /// The controller looks for the marker, too. But it may be an old one, or mean another host.
    async fn check_disposable(&self) -> Result<(), String> {
        if self.disposable.load(Ordering::Relaxed) || blocking(|| Ok(Path::new(DISPOSABLE).exists())).await? {
            return Ok(());
        }
        Err(format!(
            "no faults here: nobody has marked this host as disposable ({DISPOSABLE} is not there). If nothing else depends on \
             it: schism nodes allow HOST, or `disposable: true` in the test file"
        ))
    }

    async fn read(&self, id: u64, path: String, offset: i64, length: u64) -> Result<Response, String> {
        let mut reader = blocking(move || files::Reader::open(&path, offset, length)).await?;
        loop {
            let (back, chunk) = blocking(move || {
                let chunk = reader.next()?;
                Ok((reader, chunk))
            })
            .await?;
            reader = back;
            let Some(Piece { data, gzip }) = chunk else { return Ok(Response::Done) };
            let frame = frame::encode(&FromAgent { id, response: Response::Chunk { data, gzip } })
                .map_err(|error| error.to_string())?;
            self.outbox.bulk(frame).await.map_err(|_| "the pipe is closed".to_owned())?;
        }
    }

    /// A mark for a command, known as long as it runs.
    fn mark(&self) -> Mark<'_> {
        let number = self.marks_made.fetch_add(1, Ordering::Relaxed);
        let text = format!("{}//{}.{number}", self.state.owner(), std::process::id());
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).insert(number, text.clone());
        Mark { session: self, number, text }
    }
}

struct Mark<'a> {
    session: &'a Session,
    number: u64,
    text: String,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.session.marks.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

fn bounded(addresses: usize) -> Result<(), String> {
    if addresses > ADDRESSES_MAX {
        return Err(format!("{addresses} addresses; the limit is {ADDRESSES_MAX}"));
    }
    Ok(())
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("the agent failed inside: {error}; its log says where")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_begins_anew_with_every_frame() {
        let heard = watch::Sender::new(());
        let limit = Duration::from_millis(400);
        let begin = tokio::time::Instant::now();
        let quiet = tokio::spawn(silence(heard.subscribe(), move || limit));
        let mut last = begin;
        for _ in 0..5 {
            tokio::time::sleep(limit / 8).await;
            last = tokio::time::Instant::now();
            heard.send_replace(());
        }
        quiet.await.unwrap();
        assert!(last.elapsed() >= limit - Duration::from_millis(5));
    }
}

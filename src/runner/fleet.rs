//! The agents of a run: one a node, started again when it dies.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::agent::AgentError;
use crate::agent::handle::{AgentEvent, Handle};
use crate::transport::{Node, Transport, TransportError};

/// Why a node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The agent could not be started.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The agent died, or said no.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// After a node could not be asked: how long it takes at most until it is known whether the whole cluster has died.
const LOSS_PATIENCE: Duration = Duration::from_secs(1);
/// How long an agent that died is tried to be started again. Longer than an agent needs to notice that its controller is gone:
/// until then it keeps its node to itself.
const REVIVE_PATIENCE: Duration = Duration::from_secs(120);
/// The pause after the first attempt to start an agent again; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// What a node said unasked.
#[derive(Clone, Debug)]
pub struct NodeEvent {
    /// The node's index.
    pub node: usize,
    /// What it said.
    pub event: AgentEvent,
}

/// Every agent of the cluster.
pub struct Fleet {
    transport: Arc<dyn Transport>,
    controller: String,
    disposable: bool,
    slots: Vec<Mutex<Option<Handle>>>,
    events: mpsc::UnboundedSender<NodeEvent>,
    lost: CancellationToken,
    why_lost: OnceLock<String>,
    /// Set when agents that die need not be started again any more.
    closing: CancellationToken,
}

impl Fleet {
    /// Starts an agent on every node at once. What agents say unasked arrives at the receiver. `disposable`: the test says
    /// that faults may be made on the nodes, marked or not.
    ///
    /// # Errors
    /// The first node that could not be reached.
    pub async fn start(
        transport: Arc<dyn Transport>,
        controller: &str,
        disposable: bool,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<NodeEvent>), FleetError> {
        let (events, receiver) = mpsc::unbounded_channel();
        let fleet = Arc::new(Self {
            slots: transport.nodes().iter().map(|_| Mutex::new(None)).collect(),
            transport,
            controller: introduction(controller),
            disposable,
            events,
            lost: CancellationToken::new(),
            why_lost: OnceLock::new(),
            closing: CancellationToken::new(),
        });
        fleet.watch();
        fleet
            .each(|fleet, node| async move { fleet.agent(node).await.map(drop) })
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok((fleet, receiver))
    }

    /// Learns when the whole cluster has died.
    fn watch(self: &Arc<Self>) {
        let transport = Arc::clone(&self.transport);
        let fleet = Arc::downgrade(self);
        tokio::spawn(async move {
            let why = transport.died().await;
            if let Some(fleet) = fleet.upgrade() {
                // Only this task sets it.
                let _ = fleet.why_lost.set(why);
                fleet.lost.cancel();
            }
        });
    }

    /// Cancelled when the whole cluster has died, or was taken down.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Why the whole cluster is no more; `None` while it is there.
    pub fn why_lost(&self) -> Option<&str> {
        self.why_lost.get().map(String::as_str)
    }

    /// Whether the whole cluster has died, asked after a node could not be reached: the news may still be on its way.
    pub async fn is_lost(&self) -> bool {
        tokio::time::timeout(LOSS_PATIENCE, self.lost.cancelled()).await.is_ok()
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        self.transport.nodes()
    }

    /// The node's index by name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.nodes().iter().position(|node| &*node.name == name)
    }

    /// The node's agent; a dead one is started again first, and heals what the dead one left.
    ///
    /// # Errors
    /// The node cannot be reached any more.
    pub async fn agent(&self, node: usize) -> Result<Handle, FleetError> {
        let mut slot = self.slots[node].lock().await;
        if let Some(handle) = slot.as_ref().filter(|handle| !handle.is_gone()) {
            return Ok(handle.clone());
        }
        let name = &self.nodes()[node].name;
        let again = slot.is_some();
        *slot = None;
        let patience = self.transport.patience();
        let pipe = match tokio::time::timeout(patience, self.transport.agent(node)).await {
            Ok(pipe) => pipe?,
            Err(_) => {
                return Err(FleetError::Transport(TransportError {
                    step: format!("start the agent on {name}"),
                    reason: format!("no answer within {} s", patience.as_secs()),
                }));
            }
        };
        let (handle, mut events) =
            Handle::connect_with(pipe, name, &self.controller, self.disposable).await?;
        if again {
            tracing::warn!(event = "agent restarted", node = %name, healed = ?handle.healed());
        }
        let sender = self.events.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if sender.send(NodeEvent { node, event }).is_err() {
                    break;
                }
            }
        });
        *slot = Some(handle.clone());
        Ok(handle)
    }

    /// Starts the agent of a node again that died: at once, and where that does not succeed again and again, each time after a
    /// longer pause. Its node may be down for a while, and a server that is asked too often shuts its door.
    ///
    /// # Errors
    /// What became of the last attempt, after some time without success; nothing when the cluster is taken down meanwhile.
    pub async fn revive(&self, node: usize) -> Result<(), FleetError> {
        let deadline = Instant::now() + REVIVE_PATIENCE;
        let mut pause = FIRST_PAUSE;
        // Nodes that went down together need not come back together.
        let mut random = schism_history::Random::new(node as u64, "revive");
        loop {
            let error = match self.agent(node).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if self.closing.is_cancelled() || self.lost.is_cancelled() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(error);
            }
            tracing::warn!(event = "agent not restarted", node = %self.nodes()[node].name, %error);
            let jitter = pause.mul_f64(0.5 * random.below(1000) as f64 / 1000.0);
            tokio::select! {
                () = tokio::time::sleep(pause + jitter) => {}
                () = self.closing.cancelled() => return Ok(()),
                () = self.lost.cancelled() => return Ok(()),
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Does the same on every node at once; answers in the order of the nodes. What is dropped before its end asks nothing more of any
    /// node.
    pub async fn each<T, F, Fut>(self: &Arc<Self>, act: F) -> Vec<T>
    where
        F: Fn(Arc<Self>, usize) -> Fut,
        Fut: Future<Output = T>,
    {
        join_all((0..self.nodes().len()).map(|node| act(Arc::clone(self), node))).await
    }

    /// Lets every agent heal, stop what it supervises and exit. Agents that are gone already are not started again.
    pub async fn bye(&self) {
        self.closing.cancel();
        for slot in &self.slots {
            if let Some(handle) = slot.lock().await.take()
                && let Err(error) = handle.bye().await
            {
                tracing::warn!(event = "agent left without a word", %error);
            }
        }
    }
}

/// How a controller introduces itself to nodes: somebody else who finds them taken has to know whom to ask.
fn introduction(run: &str) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let user = user.map_or_else(|| nix::unistd::getuid().to_string(), |user| user.name);
    let host = nix::unistd::gethostname().unwrap_or_default();
    format!("run \"{run}\" of {user} on {}, process {}", host.display(), std::process::id())
}

/// The last `lines` lines of a text.
pub fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

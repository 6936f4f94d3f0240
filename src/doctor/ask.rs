//! Asks the nodes, each for itself and all at once.

use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use schism_nemesis::node::{NodeFault, Peer};
use schism_nemesis::timeline::FaultKind;
use tokio::time::timeout;

use crate::agent::facts::{ClockDistance, Facts};
use crate::agent::server::TAKEN;
use crate::agent::{AgentError, Handle};
use crate::plan;
use crate::runner::last_lines;
use crate::transport::local::{self, LocalOptions};
use crate::transport::ssh::{self, Failure, SshNodes, SshOptions, Step};
use crate::transport::{AgentPipe, Transport};

/// How this controller introduces itself to the nodes.
const CONTROLLER: &str = "schism doctor";
/// What a run needs of a node to bring programs there.
pub const NEEDED: [&str; 4] = ["sh", "readlink", "sha256sum", "mv"];
/// What people like to have, and Schism does without.
pub const HANDY: [&str; 3] = ["nft", "tc", "ip"];
/// Lines of an agent's log that are shown when it could not start.
const LOG_LINES: usize = 3;

/// A node with what became of asking it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub name: Arc<str>,
    /// As far as it is known.
    pub address: Option<IpAddr>,
    /// How SSH reached it; absent for local nodes, and where it did not.
    pub reached: Option<Reached>,
    /// Whether it is a node of a local cluster.
    pub local: bool,
    pub answer: Result<Answer, Refusal>,
}

/// What is known of a host that SSH reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whether it is marked as disposable.
    pub marked: bool,
    /// Whether clients reach its ports through SSH.
    pub through_ssh: bool,
}

/// What a node answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub facts: Facts,
    pub clock: ClockDistance,
    /// Faults that an earlier agent had left and this one undid.
    pub healed: Vec<String>,
    /// What of ours is still there.
    pub residue: Vec<String>,
}

/// Why a node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub at: At,
    /// What happened, and what to do.
    pub what: String,
}

/// How far we came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// There is no way to it.
    Reach,
    /// It does not let us in.
    Login,
    /// It is no machine that we can use.
    Look,
    /// We do not become root.
    Root,
    /// No agent runs there.
    Agent,
    /// Somebody else uses it.
    InUse,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let at = match failure.step {
            Step::Resolve | Step::Connect | Step::HostKey => At::Reach,
            Step::Authentication => At::Login,
            Step::Look => At::Look,
            Step::Sudo => At::Root,
            Step::Upload | Step::AgentStart => At::Agent,
        };
        Self { at, what: format!("{}: {}. {}", failure.step.name(), failure.what, failure.advice) }
    }
}

/// Asks the nodes of a local cluster, which is brought up for that and taken down again. `programs` are looked for on them.
pub async fn local(count: usize, programs: &[String]) -> Vec<Asked> {
    let nodes = plan::local_nodes(count);
    let logs = Logs::new();
    let mut options = LocalOptions::new(count);
    options.agent_log_dir = logs.path();
    let cluster = match local::up(options).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let refusal = Refusal { at: At::Reach, what: error.to_string() };
            let asked = nodes.into_iter().map(|node| Asked {
                name: node.name.into(),
                address: Some(node.address),
                reached: None,
                local: true,
                answer: Err(refusal.clone()),
            });
            return asked.collect();
        }
    };
    let cluster = Arc::new(cluster);
    let peers: Vec<Peer> = cluster.nodes().iter().map(peer).collect();
    let mut tasks = Vec::new();
    for (index, node) in cluster.nodes().iter().cloned().enumerate() {
        let (cluster, tools, faults) = (Arc::clone(&cluster), tools(programs), faults(&peers, &node.name));
        let log = logs.of(&node.name);
        tasks.push(tokio::spawn(async move {
            let pipe = timeout(cluster.patience(), cluster.agent(index)).await;
            let answer = match pipe {
                Ok(Ok(pipe)) => ask(pipe, &node.name, &tools, &faults, log.as_deref()).await,
                Ok(Err(error)) => Err(Refusal { at: At::Agent, what: error.to_string() }),
                Err(_) => Err(Refusal { at: At::Agent, what: "its agent does not start".to_owned() }),
            };
            Asked { name: node.name, address: Some(node.address), reached: None, local: true, answer }
        }));
    }
    let asked = join(tasks).await;
    if let Err(error) = cluster.close().await {
        tracing::warn!(%error, "the local cluster did not go");
    }
    asked
}

/// Asks hosts. `programs` are looked for on them.
pub async fn hosts(mut options: SshOptions, programs: &[String]) -> Vec<Asked> {
    let logs = Logs::new();
    options.agent_log_dir = logs.path();
    let names: Vec<Arc<str>> = match &options.cluster.hosts {
        crate::spec::SshHosts::List(hosts) => hosts.iter().map(|host| host.node().into()).collect(),
        crate::spec::SshHosts::File(_) => Vec::new(),
    };
    let hosts = match ssh::each(options).await {
        Ok(hosts) => hosts,
        Err(error) => {
            // Nobody was asked, so not even the way there is known to be open.
            let refusal = Refusal { at: At::Reach, what: error.to_string() };
            let asked = names.into_iter().map(|name| Asked {
                name,
                address: None,
                reached: None,
                local: false,
                answer: Err(refusal.clone()),
            });
            return asked.collect();
        }
    };
    let reached = hosts.iter().filter_map(|(_, host)| host.as_ref().ok());
    let peers: Vec<Peer> = reached.flat_map(|host| host.nodes()).map(peer).collect();
    let mut tasks = Vec::new();
    for (name, host) in hosts {
        let (tools, faults, log) = (tools(programs), faults(&peers, &name), logs.of(&name));
        tasks.push(tokio::spawn(async move {
            match host {
                Ok(host) => ask_host(name, &host, &tools, &faults, log.as_deref()).await,
                Err(failure) => {
                    Asked { name, address: None, reached: None, local: false, answer: Err(failure.into()) }
                }
            }
        }));
    }
    join(tasks).await
}

async fn ask_host(
    name: Arc<str>,
    host: &SshNodes,
    tools: &[String],
    faults: &[NodeFault],
    log: Option<&Path>,
) -> Asked {
    let pipe = timeout(host.patience(), host.agent_of(0)).await;
    let answer = match pipe {
        Ok(Ok(pipe)) => ask(pipe, &name, tools, faults, log).await,
        Ok(Err(failure)) => Err(failure.into()),
        Err(_) => Err(Refusal {
            at: At::Agent,
            what: format!("its agent does not start within {} s", host.patience().as_secs()),
        }),
    };
    // What closing says adds nothing to what was asked.
    let _ = host.close().await;
    Asked {
        name,
        address: host.nodes().first().map(|node| node.address),
        reached: Some(Reached {
            marked: host.unmarked().is_empty(),
            through_ssh: host.is_reached_through_ssh(0),
        }),
        local: false,
        answer,
    }
}

/// Asks one agent. It goes when nobody holds its pipe any more; unlike after a bye, what it supervises lives on.
async fn ask(
    pipe: AgentPipe,
    name: &str,
    tools: &[String],
    faults: &[NodeFault],
    log: Option<&Path>,
) -> Result<Answer, Refusal> {
    let asked = async {
        let (handle, _events) = Handle::connect(pipe, name, CONTROLLER).await?;
        let residue = handle.residue().await?;
        let (facts, clock) = handle.facts(tools, faults).await?;
        Ok(Answer { facts, clock, healed: handle.healed().to_vec(), residue })
    };
    asked.await.map_err(|error: AgentError| match error {
        AgentError::Failed { reason, .. } if reason.contains(TAKEN) => {
            Refusal { at: At::InUse, what: reason }
        }
        AgentError::Failed { reason, .. } => Refusal { at: At::Agent, what: reason },
        other => {
            let log = log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
            let said = last_lines(&log, LOG_LINES);
            let said = if said.is_empty() { String::new() } else { format!(". Its log ends: {said}") };
            Refusal { at: At::Agent, what: format!("{other}{said}") }
        }
    })
}

/// The programs to look for.
fn tools(programs: &[String]) -> Vec<String> {
    let ours = NEEDED.into_iter().chain(HANDY).map(str::to_owned);
    ours.chain(programs.iter().cloned()).collect()
}

fn peer(node: &crate::transport::Node) -> Peer {
    Peer { node: node.name.to_string(), address: node.address }
}

/// One fault of each kind for a node, in the order of [`FaultKind::ALL`].
fn faults(peers: &[Peer], node: &str) -> Vec<NodeFault> {
    let process = || "system".to_owned();
    let mut others: Vec<Peer> = peers.iter().filter(|peer| peer.node != node).cloned().collect();
    if others.is_empty() {
        // A host alone can be asked, too: documentation's address stands for the others.
        others.push(Peer { node: "another node".to_owned(), address: plan::stand_in(0) });
    }
    let of_kind = |kind| match kind {
        FaultKind::Partition => NodeFault::DropFrom { peers: others.clone(), exempt_ports: Vec::new() },
        FaultKind::Kill => NodeFault::Kill { process: process() },
        FaultKind::Pause => NodeFault::Pause { process: process() },
    };
    FaultKind::ALL.into_iter().map(of_kind).collect()
}

async fn join(tasks: Vec<tokio::task::JoinHandle<Asked>>) -> Vec<Asked> {
    let mut asked = Vec::new();
    for task in tasks {
        match task.await {
            Ok(answer) => asked.push(answer),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    asked
}

/// A directory for what the agents have to complain about, gone with this value.
struct Logs(Option<PathBuf>);

impl Logs {
    /// Without a place for it, complaints are lost, and nothing else.
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("schism-doctor-{}-{number}", std::process::id()));
        // One that is there already is somebody else's.
        Self(DirBuilder::new().mode(0o700).create(&path).ok().map(|()| path))
    }

    fn path(&self) -> Option<PathBuf> {
        self.0.clone()
    }

    fn of(&self, node: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|path| path.join(node).join("agent.log"))
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_dir_all(path);
        }
    }
}

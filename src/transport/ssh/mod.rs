//! Hosts that SSH reaches.
//!
//! [`up`] connects to every host at once, brings this executable there, and the agents' pipes and the clients' connections go
//! over one connection a node. No compiler, package manager or internet is needed on the node, and nothing of it but `sh`, the usual
//! small programs and, for who is not root, `sudo`.
//!
//! | file | what |
//! |---|---|
//! | `resolve` | what the name of a host means, as `ssh -G` says |
//! | `connect` | the connection: directly, through hosts, through a command; and the host's key (`known_hosts`) |
//! | `auth`, `secret` | getting in, and the secrets for that |
//! | `exec` | commands, whatever the login shell prints, with `sudo` if need be |
//! | `node` | a node: what it is, and its agent |
//! | `binary`, `upload` | which executable fits, and how it gets there |
//! | `dial` | the clients' connections |
//!
//! The SSH protocol is that of the crate `russh`, which is named in this directory only.

mod auth;
mod binary;
mod connect;
mod dial;
mod error;
mod exec;
mod known_hosts;
mod log;
mod node;
mod resolve;
mod secret;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schism_workloads::{BoxFuture, Dialer};
use tokio::sync::Semaphore;

pub use self::binary::AGENTS_VARIABLE;
pub use self::error::{Failure, Step};
pub use self::secret::{PASSPHRASE_VARIABLE, PASSWORD_VARIABLE, SUDO_VARIABLE, Secret, Secrets};

use self::binary::Binary;
use self::dial::SshDialer;
use self::exec::Rights;
use self::node::{Common, Node as Host};
use self::resolve::Wishes;
use self::secret::Keyring;
use super::{AgentPipe, Node, Transport, TransportError};
use crate::agent::server::STATE_DIRECTORY;
use crate::spec::{Reach, SshCluster, SshHosts};

/// Hosts that are connected to at a time: servers between may drop more (MaxStartups).
const CONNECTING_MAX: usize = 8;
/// How long it may take until an agent runs on a node that was reached before, on a slow link.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);

/// What an SSH cluster is to be.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// The hosts and how to get there, the hosts listed.
    pub cluster: SshCluster,
    /// Executables that can be an agent; the first that fits a node goes there.
    pub agents: Vec<PathBuf>,
    /// Passwords and passphrases.
    pub secrets: Secrets,
    /// The directory of everything of ours on the nodes.
    pub base: String,
    /// Directories for the agent's executable where there is no place for it below that one: read-only, full, noexec.
    pub elsewhere: Vec<String>,
    /// Where the agents' stderr goes: `<node>/agent.log` in this directory. Nowhere when absent.
    pub agent_log_dir: Option<PathBuf>,
}

impl SshOptions {
    /// The hosts of a test; the agents are the calling executable and those that the environment names.
    pub fn new(cluster: SshCluster) -> Self {
        let others = std::env::var_os(AGENTS_VARIABLE).unwrap_or_default();
        let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
        Self {
            cluster,
            agents: std::iter::once(PathBuf::from("/proc/self/exe")).chain(others).collect(),
            secrets: Secrets::of_environment(),
            base: STATE_DIRECTORY.to_owned(),
            elsewhere: upload::ELSEWHERE.map(str::to_owned).to_vec(),
            agent_log_dir: None,
        }
    }
}

/// What is known of the hosts, shared with the dialer.
struct Shared {
    nodes: Vec<Arc<Host>>,
    known: Vec<Node>,
    through_ssh: Vec<bool>,
}

/// Hosts that were reached.
pub struct SshNodes {
    shared: Arc<Shared>,
    unmarked: Vec<Arc<str>>,
    clocks: Vec<Option<f64>>,
}

/// Connects to every host and makes it ready for an agent.
///
/// # Errors
/// Every host that could not be reached: at which step, why, and what to do.
pub async fn up(options: SshOptions) -> Result<SshNodes, TransportError> {
    let reach = options.cluster.reach;
    let (nodes, results) = connect_all(options).await?;
    let (mut ups, mut errors) = (Vec::new(), Vec::new());
    for (node, result) in nodes.iter().zip(results) {
        match result {
            Ok(up) => ups.push(up),
            Err(failure) => errors.push(failure.on(&node.name)),
        }
    }
    if let Some(error) = first_with_others(errors).or_else(|| same_address(&nodes, &ups)) {
        for node in &nodes {
            node.close().await;
        }
        return Err(error);
    }
    Ok(SshNodes::of(nodes, &ups, reach))
}

/// A host by its name, as a cluster of one node or with what kept us from it.
pub type HostResult = (Arc<str>, Result<SshNodes, Failure>);

/// Connects to every host as [`up`] does, each for itself: hosts that cannot be reached do not concern the others.
///
/// # Errors
/// What concerns all of them: there is no executable for the nodes.
pub async fn each(options: SshOptions) -> Result<Vec<HostResult>, TransportError> {
    let reach = options.cluster.reach;
    let (nodes, results) = connect_all(options).await?;
    let mut hosts = Vec::new();
    for (node, result) in nodes.into_iter().zip(results) {
        let name = Arc::clone(&node.name);
        hosts.push((name, result.map(|up| SshNodes::of(vec![node], &[up], reach))));
    }
    Ok(hosts)
}

/// The hosts with what became of each, in order.
async fn connect_all(
    options: SshOptions,
) -> Result<(Vec<Arc<Host>>, Vec<Result<node::Up, Failure>>), TransportError> {
    let SshCluster { hosts, user, port, key, sudo, config, host_keys, .. } = options.cluster;
    let SshHosts::List(hosts) = hosts else {
        return Err(TransportError {
            step: "reach the cluster".to_owned(),
            reason: "the file of hosts has not been read".to_owned(),
        });
    };
    let binaries = read_binaries(options.agents).await?;
    let common = Arc::new(Common {
        wishes: Wishes {
            user,
            port,
            key: key.map(PathBuf::from),
            config: config.map(PathBuf::from),
            host_keys,
        },
        keyring: Keyring::new(options.secrets),
        sudo,
        directories: std::iter::once(format!("{}/bin", options.base)).chain(options.elsewhere).collect(),
        base: options.base,
        binaries,
        logs: options.agent_log_dir,
    });
    let nodes: Vec<Arc<Host>> =
        hosts.into_iter().map(|host| Arc::new(Host::new(host, Arc::clone(&common)))).collect();
    let places = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut tasks = Vec::new();
    for node in &nodes {
        let (node, places) = (Arc::clone(node), Arc::clone(&places));
        tasks.push(tokio::spawn(async move {
            let _place = places.acquire().await;
            node.up().await
        }));
    }
    let results = AbortOnDrop(tasks).join().await;
    Ok((nodes, results))
}

/// Tasks that end with whoever waits for them.
struct AbortOnDrop<T>(Vec<tokio::task::JoinHandle<T>>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Vec<T> {
        let mut results = Vec::new();
        for task in &mut self.0 {
            match task.await {
                Ok(result) => results.push(result),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        results
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Reads the executables. The first is this program itself; whoever names another means it.
async fn read_binaries(paths: Vec<PathBuf>) -> Result<Vec<Binary>, TransportError> {
    let read = move || {
        paths
            .iter()
            .map(|path| Binary::read(path).map_err(|error| (path.clone(), error)))
            .collect::<Result<Vec<_>, _>>()
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(binaries)) => Ok(binaries),
        Ok(Err((path, error))) => Err(TransportError {
            step: "find an executable for the nodes".to_owned(),
            reason: format!("{}: {error}. Correct {AGENTS_VARIABLE}", path.display()),
        }),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// One error that says everything.
fn first_with_others(errors: Vec<TransportError>) -> Option<TransportError> {
    let mut errors = errors.into_iter();
    let mut first = errors.next()?;
    for error in errors {
        first.reason.push_str(&format!("\n{error}"));
    }
    Some(first)
}

/// Two names for one host would make a cluster of fewer nodes than it seems.
fn same_address(nodes: &[Arc<Host>], ups: &[node::Up]) -> Option<TransportError> {
    let mut seen = BTreeMap::new();
    for (node, up) in nodes.iter().zip(ups) {
        if let Some(other) = seen.insert(up.facts.address, &node.name) {
            let what = format!("it has the address {} of {other}", up.facts.address);
            let advice =
                "If they are two hosts, give their addresses in the test file: { host: …, address: … }";
            return Some(Failure::new(Step::Look, what, advice).on(&node.name));
        }
    }
    None
}

/// How a command on a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; absent when a signal ended it or the connection broke: nobody knows then.
    pub code: Option<u32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl SshNodes {
    fn of(nodes: Vec<Arc<Host>>, ups: &[node::Up], reach: Reach) -> Self {
        let known = nodes
            .iter()
            .zip(ups)
            .map(|(node, up)| Node { name: Arc::clone(&node.name), address: up.facts.address });
        let through_ssh = ups.iter().map(|up| match reach {
            Reach::Direct => false,
            Reach::Ssh => true,
            Reach::Auto => !up.link.connection().direct || !up.facts.is_where_ssh_goes,
        });
        Self {
            unmarked: nodes
                .iter()
                .zip(ups)
                .filter(|(_, up)| !up.facts.marked)
                .map(|(node, _)| Arc::clone(&node.name))
                .collect(),
            clocks: ups.iter().map(|up| up.facts.clock_ahead).collect(),
            shared: Arc::new(Shared { known: known.collect(), through_ssh: through_ssh.collect(), nodes }),
        }
    }

    /// The nodes without the marker of hosts on which faults may be made ([`super::DISPOSABLE`]).
    pub fn unmarked(&self) -> &[Arc<str>] {
        &self.unmarked
    }

    /// By how many seconds the clock of each node was ahead of ours when it was reached, as far as it said.
    pub fn clocks_ahead(&self) -> &[Option<f64>] {
        &self.clocks
    }

    /// Whether clients reach the ports of this node through SSH.
    pub fn is_reached_through_ssh(&self, node: usize) -> bool {
        self.shared.through_ssh[node]
    }

    /// Starts an agent as [`Transport::agent`] does, and says apart what went wrong.
    ///
    /// # Errors
    /// The step, why, and what to do.
    pub async fn agent_of(&self, node: usize) -> Result<AgentPipe, Failure> {
        self.shared.nodes[node].agent().await
    }

    /// Runs a command as the login's user, without an agent. At most six run at a time on one node, more wait.
    ///
    /// # Errors
    /// The node cannot be reached, or the command does not end in time.
    pub async fn run(
        &self,
        node: usize,
        argv: &[&str],
        patience: Duration,
    ) -> Result<CommandOutput, TransportError> {
        let host = &self.shared.nodes[node];
        let what = (Rights::Login, Step::Look);
        let ran = host.with(|up| async move {
            up.link.run(&host.common.keyring, what, argv, tokio::io::empty(), patience).await
        });
        let output = ran.await.map_err(|failure| failure.on(&host.name))?;
        Ok(CommandOutput { code: output.code, stdout: output.stdout, stderr: output.stderr })
    }
}

impl Transport for SshNodes {
    fn nodes(&self) -> &[Node] {
        &self.shared.known
    }

    fn agent(&self, node: usize) -> BoxFuture<'_, Result<AgentPipe, TransportError>> {
        let host = &self.shared.nodes[node];
        Box::pin(async move { host.agent().await.map_err(|failure| failure.on(&host.name)) })
    }

    fn dialer(&self) -> Arc<dyn Dialer> {
        Arc::new(SshDialer(Arc::clone(&self.shared)))
    }

    fn shares_files(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        RESTART_PATIENCE
    }

    fn died(&self) -> BoxFuture<'_, String> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            for node in &self.shared.nodes {
                node.close().await;
            }
            Ok(())
        })
    }
}

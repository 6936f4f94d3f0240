//! A cluster on this machine, made of Linux namespaces: no root, no daemon, nothing left behind.
//!
//! [`up`] starts this executable once more as the cluster's init, which makes the namespaces, the network and the file
//! systems, and holds them until the controller is gone, however it went. The controller stays where it is: it talks to
//! the cluster's init over a channel (`control`, `remote`), gets the pipes of the agents it asks for, and dials the nodes
//! with sockets that were made inside (`dial`).
//!
//! | file | what |
//! |---|---|
//! | `init` | the cluster's init: makes the namespaces, and ends with the controller |
//! | `id_map` | the user namespace, and who is who in it |
//! | `cluster` | the cluster from inside: its nodes, and what the controller can ask of them |
//! | `links` | bridge, links and addresses |
//! | `node_root` | the file system of a node, over the machine's own (`mounting`, `mount_table`) |
//! | `node_init` | the first process of a node, and what it mounts at each boot |
//! | `program` | how a program gets into a node |
//! | `diagnose` | why a machine does not allow this, and what to do |
//! | `standing` | a cluster that outlives the command that made it, with an `sshd` on every node |
//! | `sys` | the system calls that need `unsafe` |
//!
//! Nothing here knows what an agent does: it is a program whose pipe is handed out.

mod cluster;
mod control;
mod diagnose;
mod dial;
mod id_map;
mod init;
mod links;
mod mount_table;
mod mounting;
mod node_init;
mod node_root;
mod program;
mod remote;
pub mod standing;
mod sys;

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use schism_workloads::{BoxFuture, Dialer};
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::control::{Channel, Program, Refusal, Request};
use self::diagnose::Facts;
use self::dial::LocalDialer;
pub use self::init::cluster_init_main;
pub use self::links::{CONTROLLER, address};
use self::remote::Remote;
use super::{AgentPipe, Node, Transport, TransportError};

/// The most nodes a local cluster can have.
pub const NODES_MAX: usize = 32;
/// The hidden subcommand that runs [`cluster_init_main`].
pub const INIT_COMMAND: &str = "cluster-init";
const UP: &str = "bring up a local cluster";
/// The executable of the calling process, also where its file has been replaced meanwhile.
const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// What the cluster's init has to say for itself, in the log directory.
const CLUSTER_LOG: &str = "cluster.log";
/// What a node's agent, and any program that is started in its place, has to say, in the node's directory of logs.
const AGENT_LOG: &str = "agent.log";
/// Longer than the slowest bring-up on a machine that is of any use.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the kernel needs to kill a cluster. Then the outer process is killed, which kills the cluster too.
const DOWN_WITHIN: Duration = Duration::from_secs(10);

/// What a local cluster is to be.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// How many nodes, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// The `schism` executable.
    pub exe: PathBuf,
    /// Files and directories of this machine that the nodes see at the same absolute path, read-only and up to date. What
    /// is not listed is on the nodes too, except for what is below `/tmp`, `/run` and `/dev`, but as it was when the cluster
    /// came up.
    pub expose: Vec<PathBuf>,
    /// Where the agents' stderr goes: `<node>/agent.log` in this directory; the cluster's init writes `cluster.log`.
    /// Nowhere when absent.
    pub agent_log_dir: Option<PathBuf>,
}

impl LocalOptions {
    /// A cluster of this many nodes whose agents are the calling executable.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, exe: OWN_EXECUTABLE.into(), expose: Vec::new(), agent_log_dir: None }
    }
}

/// A running cluster on this machine. Dropping it takes it down; [`Transport::close`] does so without blocking the thread.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: Vec<Node>,
    agent_log_dir: Option<PathBuf>,
    remote: Arc<Remote>,
    dialer: LocalDialer,
    running: Mutex<Option<Running>>,
}

/// Brings a cluster up.
///
/// # Errors
/// The options make no sense, or the machine does not allow it: the message says what to do.
pub async fn up(options: LocalOptions) -> Result<LocalCluster, TransportError> {
    if !(1..=NODES_MAX).contains(&options.nodes) {
        return Err(TransportError {
            step: UP.to_owned(),
            reason: format!(
                "{} nodes do not make one: a local cluster has 1 to {NODES_MAX} nodes",
                options.nodes
            ),
        });
    }
    let expose = exposed(&options)?;
    let nodes: Vec<Node> = (0..options.nodes)
        .map(|node| Node { name: format!("n{}", node + 1).into(), address: IpAddr::V4(links::address(node)) })
        .collect();
    let log = log_file(options.agent_log_dir.as_deref(), CLUSTER_LOG)?;
    let mut running = Running::start(&options.exe, log)?;
    let remote = Arc::clone(&running.remote);
    let begin = Request::Begin {
        nodes: options.nodes,
        expose,
        controller: i32::try_from(std::process::id()).unwrap_or_default(),
    };
    let begun = async {
        remote.ask(begin, &[]).await?;
        LocalDialer::new(Arc::clone(&remote), nodes.clone()).await
    };
    let error = match timeout(UP_WITHIN, begun).await {
        Ok(Ok(dialer)) => {
            let running = Mutex::new(Some(running));
            let agent_log_dir = options.agent_log_dir;
            return Ok(LocalCluster { nodes, agent_log_dir, remote, dialer, running });
        }
        Ok(Err(refusal)) => explain(&refusal),
        Err(_) => TransportError {
            step: UP.to_owned(),
            reason: format!(
                "it is not up after {} s; a file system of this machine that does not answer (NFS, sshfs) may be why",
                UP_WITHIN.as_secs()
            ),
        },
    };
    // Why it is not up matters more than why it is not down, should both be the case.
    let _ = running.end().await;
    Err(if error.step == remote::REACH { running.died(&options, error) } else { error })
}

/// Says what a refusal means on this machine.
fn explain(refusal: &Refusal) -> TransportError {
    TransportError { step: refusal.step.clone(), reason: Facts::gather().explain(refusal) }
}

fn failed(step: impl Into<String>) -> impl FnOnce(io::Error) -> TransportError {
    |error| TransportError { step: step.into(), reason: error.to_string() }
}

/// The paths to show on the nodes, without symbolic links (those of this machine may lead elsewhere on a node), each
/// directory before what is in it. The executable is one of them.
fn exposed(options: &LocalOptions) -> Result<Vec<PathBuf>, TransportError> {
    let mut paths = options
        .expose
        .iter()
        .map(|path| fs::canonicalize(path).map_err(failed(format!("expose {}", path.display()))))
        .collect::<Result<Vec<_>, _>>()?;
    let executable = if options.exe == Path::new(OWN_EXECUTABLE) {
        std::env::current_exe()
    } else {
        Ok(options.exe.clone())
    };
    // One whose file is gone still runs, and its agents too; only its path means nothing on a node.
    paths.extend(executable.and_then(fs::canonicalize).ok());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// A file below the log directory to append to, or nowhere.
fn log_file(directory: Option<&Path>, name: &str) -> Result<OwnedFd, TransportError> {
    let path = directory.map_or_else(|| PathBuf::from("/dev/null"), |directory| directory.join(name));
    let open = || {
        if let Some(parent) = path.parent().filter(|_| directory.is_some()) {
            fs::create_dir_all(parent)?;
        }
        File::options().append(true).create(directory.is_some()).open(&path)
    };
    Ok(open().map_err(failed(format!("open {}", path.display())))?.into())
}

/// The outer process of the cluster's init, and the channel whose end is the cluster's.
#[derive(Debug)]
struct Running {
    remote: Arc<Remote>,
    child: Child,
    /// Readable when the child has ended, and with it everything of the cluster.
    ended: OwnedFd,
    /// How it ended, once it is collected.
    status: Option<ExitStatus>,
}

impl Running {
    fn start(exe: &Path, log: OwnedFd) -> Result<Self, TransportError> {
        let step = || format!("start {} {INIT_COMMAND}", exe.display());
        let (ours, theirs) = Channel::pair().map_err(failed(step()))?;
        let remote = Arc::new(Remote::new(ours).map_err(failed(step()))?);
        let mut child = Command::new(exe)
            .arg0("schism")
            .arg(INIT_COMMAND)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            // Out of reach of the terminal's Ctrl-C: the controller decides when a cluster ends.
            .process_group(0)
            .spawn()
            .map_err(failed(step()))?;
        match sys::pidfd_open(i32::try_from(child.id()).unwrap_or_default()) {
            Ok(ended) => Ok(Self { remote, child, ended, status: None }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(step())(error))
            }
        }
    }

    /// Takes the cluster down and waits until it is gone.
    async fn end(&mut self) -> Result<(), TransportError> {
        let step = || "take the cluster down";
        self.remote.hang_up();
        let ended = self.ended.try_clone().map_err(failed(step()))?;
        let ended = sys::watched(ended, Interest::READABLE).map_err(failed(step()))?;
        if timeout(DOWN_WITHIN, ended.readable()).await.is_err() {
            self.child.kill().map_err(failed(step()))?;
            if timeout(DOWN_WITHIN, ended.readable()).await.is_err() {
                return Err(TransportError {
                    step: step().to_owned(),
                    reason: format!("process {} does not die; look at its state with ps", self.child.id()),
                });
            }
        }
        self.collect();
        Ok(())
    }

    fn collect(&mut self) {
        // It has ended, so this does not block; it fails only where somebody else has collected it.
        self.status = Some(self.child.wait().unwrap_or_default());
    }

    /// What to say when the cluster's init has ended without a word.
    fn died(&self, options: &LocalOptions, error: TransportError) -> TransportError {
        let Some(status) = self.status else { return error };
        let log = options.agent_log_dir.as_ref().map_or_else(
            || "give it a log directory to see more".to_owned(),
            |directory| format!("see {}", directory.join(CLUSTER_LOG).display()),
        );
        let exe = options.exe.display();
        TransportError {
            step: UP.to_owned(),
            reason: format!("{exe} {INIT_COMMAND} ended ({status}); {log}"),
        }
    }

    /// Waits without a runtime.
    fn has_ended(&self, patience: Duration) -> bool {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut ended = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut ended, patience), Ok(1..))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.remote.hang_up();
        if !self.has_ended(DOWN_WITHIN) {
            let _ = self.child.kill();
        }
        if self.has_ended(DOWN_WITHIN) {
            self.collect();
        }
    }
}

impl LocalCluster {
    /// Starts a program of the node's, looked up in its `PATH`, in all of the node's namespaces and with the pipe an agent
    /// would have.
    ///
    /// # Errors
    /// The program cannot be started, or the cluster is down.
    pub async fn start_program(&self, node: usize, argv: &[&str]) -> Result<AgentPipe, TransportError> {
        let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
        self.start(node, Program::OfNode { argv }, AGENT_LOG).await
    }

    /// Starts this executable on a node with other arguments than an agent's. Its stderr goes to the file `log` in the node's
    /// directory of logs.
    async fn start_own(
        &self,
        node: usize,
        arguments: &[&str],
        log: &str,
    ) -> Result<AgentPipe, TransportError> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.start(node, Program::Own { arguments }, log).await
    }

    /// Kills everything on a node, as if its power had failed, and boots it again. Its disk keeps what it had, except for
    /// `/tmp` and `/run`. Its agent has to be started again.
    ///
    /// # Errors
    /// The node cannot be booted, or the cluster is down.
    pub async fn power_cycle(&self, node: usize) -> Result<(), TransportError> {
        self.remote.ask(Request::PowerCycle { node }, &[]).await.map_err(|refusal| explain(&refusal))?;
        Ok(())
    }

    async fn start(&self, node: usize, program: Program, log: &str) -> Result<AgentPipe, TransportError> {
        let step = || format!("start a program on n{}", node + 1);
        let log = log_file(self.agent_log_dir.as_deref(), &format!("n{}/{log}", node + 1))?;
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from);
        let (stdin, to) = pipe().map_err(failed(step()))?;
        let (from, stdout) = pipe().map_err(failed(step()))?;
        let fds = [stdin.as_fd(), stdout.as_fd(), log.as_fd()];
        self.remote.ask(Request::Spawn { node, program }, &fds).await.map_err(|refusal| explain(&refusal))?;
        Ok(AgentPipe {
            stdin: Box::new(pipe::Sender::from_owned_fd(to).map_err(failed(step()))?),
            stdout: Box::new(pipe::Receiver::from_owned_fd(from).map_err(failed(step()))?),
        })
    }
}

impl Transport for LocalCluster {
    fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn agent(&self, node: usize) -> BoxFuture<'_, Result<AgentPipe, TransportError>> {
        Box::pin(self.start_own(node, &["agent"], AGENT_LOG))
    }

    fn dialer(&self) -> Arc<dyn Dialer> {
        Arc::new(self.dialer.clone())
    }

    fn shares_files(&self) -> bool {
        true
    }

    fn died(&self) -> BoxFuture<'_, String> {
        Box::pin(async {
            let ended = self.running.lock().await.as_ref().map(|running| running.ended.try_clone());
            let watched =
                ended.and_then(Result::ok).and_then(|ended| sys::watched(ended, Interest::READABLE).ok());
            let Some(ended) = watched else { return std::future::pending().await };
            if ended.readable().await.is_err() {
                return std::future::pending().await;
            }
            let log = self.agent_log_dir.as_ref().map_or_else(String::new, |directory| {
                format!(" {} may say why.", directory.join(CLUSTER_LOG).display())
            });
            format!("The cluster died: its first process ended or was killed, and all nodes with it.{log}")
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            let mut running = self.running.lock().await;
            if let Some(cluster) = running.as_mut() {
                cluster.end().await?;
                *running = None;
            }
            Ok(())
        })
    }
}

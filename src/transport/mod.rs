//! Transports: how to start `schism agent` on a node and get its stdin and stdout, and how to reach the node's ports.
//!
//! A transport knows nothing of faults, systems or workloads.

pub mod local;
pub mod ssh;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use schism_workloads::{BoxFuture, Dialer};
use tokio::io::{AsyncRead, AsyncWrite};

/// The file that marks a host as disposable: whoever made it has said that faults may happen there. Nodes of a local
/// cluster have it.
pub const DISPOSABLE: &str = "/etc/schism-disposable";

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, `n1`, `n2`, … on a local cluster.
    pub name: Arc<str>,
    /// The address other nodes know it by.
    pub address: IpAddr,
}

/// The two ends of a running agent's pipe.
pub struct AgentPipe {
    /// What the agent reads.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// What the agent writes.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
}

/// Why a cluster could not be reached or made. Shown to a person as it is: what happened, where, what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct TransportError {
    /// Which step failed, e.g. `create namespaces`, `start agent on n2`.
    pub step: String,
    /// What happened and what to do.
    pub reason: String,
}

/// One way to reach the nodes of a cluster.
pub trait Transport: Send + Sync {
    /// The nodes, in order.
    fn nodes(&self) -> &[Node];
    /// Starts an agent on the node with this index. May be called again after an agent died.
    fn agent(&self, node: usize) -> BoxFuture<'_, Result<AgentPipe, TransportError>>;
    /// How long starting an agent again may take before the node counts as unreachable.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }
    /// Opens connections from the controller's side to the nodes' ports.
    fn dialer(&self) -> Arc<dyn Dialer>;
    /// Whether a path on this machine is the same file on the nodes, so that nothing need be uploaded.
    fn shares_files(&self) -> bool;
    /// Ends when the whole cluster has died though nobody took it down, with what is known of it. Everything that was on its
    /// nodes, faults too, has ended with it. Never ends where nodes are machines of their own.
    fn died(&self) -> BoxFuture<'_, String>;
    /// Takes the cluster down (local) or closes the connections (remote). Idempotent.
    fn close(&self) -> BoxFuture<'_, Result<(), TransportError>>;
}

//! A fault as one node sees it, and the life every fault has there.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one node has to do. It is plain data: it is sent to the agent, journalled before it is made and is all that is
/// needed to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NodeFault {
    /// Drop every packet that arrives from these peers.
    DropFrom {
        /// The peers cut off, in the direction peer → this node.
        peers: Vec<Peer>,
        /// TCP to and from these ports is never dropped. A node adds what its controller reaches it by; see
        /// [`NodeFault::spare`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exempt_ports: Vec<u16>,
    },
    /// Kill a supervised process and keep it down until healed; healing starts it again.
    Kill {
        /// The supervised process's name.
        process: String,
    },
    /// Stop a supervised process (`SIGSTOP`) with everything it started; healing continues it.
    Pause {
        /// The supervised process's name.
        process: String,
    },
}

impl NodeFault {
    /// Keeps the fault off TCP connections to and from these ports.
    pub fn spare(&mut self, ports: &[u16]) {
        if let Self::DropFrom { exempt_ports, .. } = self {
            exempt_ports.extend_from_slice(ports);
            exempt_ports.sort_unstable();
            exempt_ports.dedup();
        }
    }
}

/// Another node, as seen on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// Its address.
    pub address: IpAddr,
}

/// What was seen of a fault in force (or gone).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whether the fault is seen to bite (for `verify`), or seen to be gone (for `verify_healed`).
    pub holds: bool,
    /// One short clause a person can read: `dropped 12 packets from n2`, `pid 714 is in state T`.
    pub seen: String,
}

/// What the mechanisms need of the agent: its supervised processes.
pub trait Host {
    /// Process ids of the supervised process and everything it started; empty when it is down.
    fn pids(&self, process: &str) -> Vec<i32>;
    /// Says that the process is meant to be down (`true`) or up (`false`), so that its exit is no surprise.
    fn hold_down(&self, process: &str, down: bool);
    /// Starts the process again as it was first started. Nothing to do when it runs.
    ///
    /// # Errors
    /// Why it could not be started.
    fn start(&self, process: &str) -> Result<(), FaultError>;
}

/// Why a step of a fault's life went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{step} {fault}: {reason}")]
pub struct FaultError {
    /// `precheck`, `inject`, `verify`, `renew`, `heal` or `verify healed`.
    pub step: &'static str,
    /// The fault's kind.
    pub fault: &'static str,
    /// What happened and what to do.
    pub reason: String,
}

/// The life of a fault on a node, in the order of the methods. The agent journals the fault between `precheck` and
/// `inject`. `heal` is idempotent and works from the data alone, also in another process after a crash.
pub trait Mechanism: Send {
    /// Can this node do it? Says what is missing. Changes nothing.
    ///
    /// # Errors
    /// What is missing, and what would provide it.
    fn precheck(&self, host: &dyn Host) -> Result<(), FaultError>;
    /// Makes the fault. Where the kernel can expire it by itself, it does so after `lease`.
    ///
    /// # Errors
    /// What failed. The caller heals.
    fn inject(&mut self, host: &dyn Host, lease: Duration) -> Result<(), FaultError>;
    /// Looks whether the fault bites now, waiting at most `patience` for the evidence.
    ///
    /// # Errors
    /// The look itself failed.
    fn verify(&mut self, host: &dyn Host, patience: Duration) -> Result<Evidence, FaultError>;
    /// Prolongs what the kernel would expire by itself.
    ///
    /// # Errors
    /// What failed.
    fn renew(&mut self, host: &dyn Host, lease: Duration) -> Result<(), FaultError>;
    /// Undoes the fault. Idempotent.
    ///
    /// # Errors
    /// What could not be undone: that is residue.
    fn heal(&mut self, host: &dyn Host) -> Result<(), FaultError>;
    /// Looks whether everything of the fault is gone, waiting at most `patience`.
    ///
    /// # Errors
    /// The look itself failed.
    fn verify_healed(&mut self, host: &dyn Host, patience: Duration) -> Result<Evidence, FaultError>;
}

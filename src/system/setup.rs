//! What one node has to do to be part of the system: everything rendered, nothing left to decide.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schism_units::Span;
use serde::{Deserialize, Serialize};

use super::def::Method;
use crate::agent::protocol::Command;

/// A system as one node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeSetup {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub address: IpAddr,
    /// Where the system keeps its data on the node. To be made before anything starts.
    pub data: String,
    /// Where its logs are. To be made before anything starts.
    pub log_dir: String,
    /// Files to write before anything starts, with their parent directories.
    pub files: Vec<FileSetup>,
    /// Processes, in the order in which they start. The first is what kill and pause faults hit.
    pub processes: Vec<ProcessSetup>,
    /// The signal that stops a process in an orderly way.
    pub stop_signal: i32,
    /// How long to wait for that.
    pub stop_grace: Span,
    /// How to tell that the node is ready.
    pub health: HealthSetup,
    /// How to ask the node whether it leads; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderSetup>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileSetup {
    /// Its absolute path on the node.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub content: String,
}

/// A process to supervise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessSetup {
    /// Its name, unique on the node.
    pub name: String,
    /// What to run.
    pub command: Command,
    /// The file its output is appended to.
    pub log: String,
}

/// An HTTP request, ready to be sent to the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpSetup {
    /// The method.
    pub method: Method,
    /// The port on the node.
    pub port: u16,
    /// The path with its query.
    pub path: String,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Option<String>,
    /// How long to wait for the answer.
    pub timeout: Span,
    /// The status that means yes.
    pub status: u16,
    /// The expression that must hold as well, see [`super::probe`].
    pub when: Option<String>,
}

/// How to tell that a node is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HealthSetup {
    /// What to ask; [`HttpSetup::holds`] judges the answer.
    pub http: HttpSetup,
    /// How long a node may take from its start until it is healthy.
    pub deadline: Span,
    /// How long to wait between two questions.
    pub every: Span,
}

/// How to ask a node whether it leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LeaderSetup {
    /// What to ask; [`LeaderSetup::leads`] judges the answer.
    pub http: HttpSetup,
    /// The expression for the term.
    pub term: Option<String>,
}

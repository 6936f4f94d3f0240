//! What controller and agent say to each other over the agent's stdin and stdout.
//!
//! A frame is a little-endian `u32` length, then that many bytes of JSON: a [`ToAgent`] one way, a [`FromAgent`] the other.
//! Bulk data travels base64-encoded in chunks of at most [`CHUNK_LEN`] bytes, so one large file never delays a heartbeat. The
//! first frame each way is a hello with the protocol's [`VERSION`]; an agent of another version refuses.

#![expect(missing_docs, reason = "the variants say what their fields are")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use schism_nemesis::node::{Evidence, NodeFault};
use serde::{Deserialize, Serialize};

use super::facts::Facts;

/// Bumped whenever a frame's meaning changes.
pub const VERSION: u32 = 3;
/// A longer frame is a broken peer.
pub const FRAME_LEN_MAX: usize = 16 << 20;
/// Raw bytes in one chunk of bulk data.
pub const CHUNK_LEN: usize = 256 << 10;
/// The most files that a listing has.
pub const LISTED_MAX: usize = 1000;
/// The most a command's stdout and stderr can each keep, whatever `output_max` says: escaped as JSON, both still fit into
/// one frame.
pub const OUTPUT_LEN_MAX: usize = 1 << 20;
/// Requests that may be open on one pipe at a time, heartbeats not counted.
pub const REQUESTS_MAX: usize = 256;
/// How often the controller sends a heartbeat.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
/// A controller that was not heard for this long has no claim on a node any more, and makes way for another.
pub const CONTROLLER_LEASE: Duration = Duration::from_secs(10);
/// Without any frame from the controller for this long, the agent takes it for dead, heals everything and exits, whatever
/// the pipe says.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// It does so this long after the longest lease of a fault that was in force since, if that is sooner.
pub const SILENCE_BEYOND_LEASE: Duration = Duration::from_secs(2);

/// A request; the agent answers every `id` exactly once with a final response, after any number of chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToAgent {
    /// Chosen by the controller, unique on this pipe.
    pub id: u64,
    /// What to do.
    pub request: Request,
}

/// An answer to the request with this `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromAgent {
    /// The request's id; 0 for what the agent says unasked ([`Response::Exited`], [`Response::LeaseExpired`],
    /// [`Response::RenewFailed`]).
    pub id: u64,
    /// The answer.
    pub response: Response,
}

/// A command to run, or a process to supervise.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments. The program is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Environment, added to the agent's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory; `/` when absent.
    #[serde(default)]
    pub directory: Option<String>,
}

/// What the controller can ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// First frame. `controller` names the run for messages; `node` is this node's name. `disposable` says that whoever runs
    /// the controller has said explicitly that faults may be made there: then no marker is looked for.
    Hello {
        version: u32,
        controller: String,
        node: String,
        #[serde(default)]
        disposable: bool,
    },
    /// Also renews every lease. The agent heals everything when none came for the lease's length.
    Heartbeat,
    /// Run a command to its end. Killed with everything it started after `deadline_ms`. At most `output_max` bytes of each of
    /// stdout and stderr are kept (the last ones, and never more than [`OUTPUT_LEN_MAX`]). The command ends when its own
    /// process ends; what that leaves in the background lives on until bye, and should have its output redirected.
    Run { command: Command, stdin: Option<String>, deadline_ms: u64, output_max: usize },
    /// Start and supervise a process called `name`, its stdout and stderr appended to `log` on the node. It outlives the
    /// agent; the next agent on the same state directory adopts it.
    Start { name: String, command: Command, log: String },
    /// Stop a supervised process: `signal`, and `SIGKILL` for whatever is left after `grace_ms`.
    Stop { name: String, signal: i32, grace_ms: u64 },
    /// The state of a supervised process.
    Status { name: String },
    /// Write (or with `append`, extend) a file, creating parent directories. `data` is base64.
    Write { path: String, mode: u32, data: String, append: bool },
    /// Read a file from `offset`, at most `length` bytes, as chunks. A negative offset counts from the end.
    Read { path: String, offset: i64, length: u64 },
    /// The regular files in a directory and in those below it. One that is not there has none.
    List { directory: String },
    /// Can this node make the fault? Changes nothing.
    Precheck { fault: NodeFault },
    /// Journal and make a fault under a lease. Refused on a node that nobody has marked as disposable, see hello.
    Inject { id: String, fault: NodeFault, lease_ms: u64 },
    /// Does the fault bite?
    Verify { id: String, patience_ms: u64 },
    /// Undo the fault; forgets it once [`Request::VerifyHealed`] held. Healing what is unknown is fine.
    Heal { id: String },
    /// Is everything of it gone?
    VerifyHealed { id: String, patience_ms: u64 },
    /// Send one small datagram to each address (port 9 where the port is 0), so that a fault has something to drop.
    Poke { addresses: Vec<SocketAddr> },
    /// Which addresses answer a TCP connect (an answer is a connection or a refusal) within `patience_ms`?
    Reach { addresses: Vec<SocketAddr>, patience_ms: u64 },
    /// Everything of ours that is still on this node.
    Residue,
    /// What the node is like: which of these programs it has, and whether it could make these faults. Changes nothing.
    Facts { tools: Vec<String>, faults: Vec<NodeFault> },
    /// Undo whatever of any fault can be known by name, without a journal; with `stop`, also what bye does. Refused while a
    /// fault is in force.
    Purge { stop: bool },
    /// Heal everything, stop every supervised process, kill what else was left by something the agent ran, exit.
    Bye,
}

/// What the agent can answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Answer to hello. `healed` lists faults an earlier agent left in its journal and this one has just undone.
    Hello { version: u32, pid: u32, healed: Vec<String> },
    /// Done.
    Done,
    /// A command ended. `code` is absent when a signal ended it; `timed_out` when that signal was ours.
    Ran {
        code: Option<i32>,
        signal: Option<i32>,
        timed_out: bool,
        stdout: String,
        stderr: String,
        truncated: bool,
        millis: u64,
    },
    /// A supervised process is up.
    Started { pid: i32 },
    /// Answer to status.
    Status { status: ProcessStatus },
    /// Part of a file, base64, and a gzip member of its own where that makes it shorter. More follow until `Done`.
    Chunk { data: String, gzip: bool },
    /// Answer to list: paths below the directory, sorted, at most [`LISTED_MAX`]; whether there are more.
    Listed { files: Vec<String>, more: bool },
    /// Answer to verify and verify healed.
    Evidence { evidence: Evidence },
    /// Answer to reach: one flag an address, in the order asked.
    Reached { answered: Vec<bool> },
    /// Answer to residue, one line each; empty is clean.
    Residue { found: Vec<String> },
    /// Answer to facts.
    Facts { facts: Box<Facts> },
    /// Answer to purge, one line each: what there was, what of it is left, what runs for a system under test.
    Purged { found: Vec<String>, left: Vec<String>, running: Vec<String> },
    /// The request failed. `retry` is never implied.
    Failed { reason: String },
    /// Unasked: a supervised process ended and was not meant to.
    Exited { name: String, pid: i32, code: Option<i32>, signal: Option<i32> },
    /// Unasked: a lease ran out and the fault was healed.
    LeaseExpired { id: String },
    /// Unasked: a fault in force could not be renewed, so the kernel may end it by itself before it is healed.
    RenewFailed { id: String, reason: String },
}

/// The state of a supervised process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessStatus {
    /// Nobody started it.
    Unknown,
    /// It runs (`state` is the letter of `/proc/<pid>/stat`).
    Running { pid: i32, state: char },
    /// It ended.
    Exited { code: Option<i32>, signal: Option<i32> },
}

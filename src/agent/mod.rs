//! The agent: the part of Schism that runs on every node, and how the controller talks to it.
//!
//! `protocol` is what both sides say, `frame` how it travels, `server` is `schism agent`, `handle` is the controller's end; `piece` is how files
//! travel, `facts` what a node is like, `capture` records packets.
//! The agent knows its own node only: no cluster, no plan, no history.

pub mod capture;
pub mod facts;
pub mod frame;
pub mod handle;
pub mod heal;
mod outbox;
mod piece;
pub mod protocol;
pub mod server;

pub use handle::{AgentError, AgentEvent, Handle, RunOutput};

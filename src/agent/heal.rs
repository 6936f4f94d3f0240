//! Healing a node that nobody looks after: its journal's faults, and whatever else of ours can be known by name.
//!
//! Starting an agent heals what the journal names; this also removes what no journal knows any more, and proves both. It
//! needs the pipe of a fresh agent and nothing else, so it works through every transport, and without the run's directory.

use serde::Serialize;

use super::{AgentError, Handle};
use crate::transport::AgentPipe;

/// What healing a node found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// What there was of faults, one line each. All of it is undone, except for what is `left`.
    pub found: Vec<String>,
    /// What could not be undone, one line each; empty is clean.
    pub left: Vec<String>,
    /// What runs there for a system under test. No fault, and ended only when asked to.
    pub running: Vec<String>,
}

/// Heals the node whose agent was just started with `pipe`; `node` is its name for messages. With `stop`, also ends the
/// processes that agents supervised there. The agent has ended or is about to when this returns. Nothing happens to a node
/// that another run uses: there, the agent refuses. Healing again finds nothing.
///
/// # Errors
/// The agent could not be started or died; what was done until then stays done.
pub async fn heal(pipe: AgentPipe, node: &str, stop: bool) -> Result<Healed, AgentError> {
    let (handle, _events) = Handle::connect(pipe, node, "schism heal").await?;
    let mut healed = handle.purge(stop).await?;
    let journalled = handle.healed().iter().map(|id| format!("fault `{id}`, from the journal"));
    healed.found.splice(0..0, journalled);
    Ok(healed)
}

//! The watchdog: a process that heals a node when its agent no longer can.
//!
//! An agent starts it before it makes its first fault (`guard`); it is this executable in a session of its own, so that it
//! outlives whatever kills the agent. The two share a pipe. Every word on it says how long the watchdog is to wait for the
//! next one; the end of the pipe says that the agent is gone, however it went. Then the watchdog takes the state directory's
//! lock and does what the next agent would: it undoes what the journal names (`process`). An agent that is silent for longer
//! than it said, because somebody stopped it or it hangs, is killed first, since two healers must not meet.
//!
//! No watchdog guards what another one does not: whoever starts to make faults on a node has one of its own by then, so one
//! that finds the journal empty can go.

mod guard;
mod process;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{Shelf, State, journal_is_empty};

pub use guard::Guard;
pub use process::main;

/// The hidden subcommand that runs [`main`].
pub const WATCHDOG_COMMAND: &str = "watchdog";

/// A word: how long to wait for the next one, in milliseconds; [`FOR_EVER`] while there are no faults.
type Word = u64;
const WORD_LEN: usize = size_of::<Word>();
const FOR_EVER: Word = Word::MAX;
/// What the watchdog says once it is ready.
const READY: u8 = b'r';

/// How long an agent that takes over a node may be silent meanwhile.
const OPENING_SILENCE: Duration = Duration::from_secs(1);
/// How often it says something.
const OPENING_EVERY: Duration = Duration::from_millis(250);

/// Starts the watchdog of an agent that finds faults of an earlier one, before it takes the state directory from whoever else
/// would heal them: it may die or hang over that. Blocks.
pub fn guard_opening(guard: &Guard, directory: &Path) {
    if matches!(journal_is_empty(directory), Ok(false))
        && let Err(error) = guard.ensure(|| Some(OPENING_SILENCE))
    {
        // Healing them is right all the same.
        tracing::error!(event = "no watchdog", error);
    }
}

/// Tells that watchdog that the agent goes on, until this is aborted.
pub async fn feed_while_opening(guard: Arc<Guard>) {
    loop {
        tokio::time::sleep(OPENING_EVERY).await;
        let guard = Arc::clone(&guard);
        let fed = tokio::task::spawn_blocking(move || guard.feed(|| Some(OPENING_SILENCE))).await;
        if let Err(error) = fed.map_err(|error| error.to_string()).flatten() {
            tracing::error!(event = "no watchdog", error);
        }
    }
}

/// What is on disk of a fault that a watchdog undid.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Healed {
    id: String,
}

/// Keeps for the next agent that these faults were undone. That is only told, so nothing is lost where it cannot be kept.
fn keep_healed(state: &State, faults: &[String]) {
    for id in faults {
        if let Err(error) = state.put(Shelf::Healed, id, &Healed { id: id.clone() }) {
            tracing::warn!(id, error, "the next agent will not know that this fault was healed");
        }
    }
}

/// The faults that watchdogs undid since an agent asked last.
///
/// # Errors
/// They cannot be read or forgotten: a sentence.
pub fn take_healed(state: &State) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for healed in state.all::<Healed>(Shelf::Healed)? {
        match healed {
            Ok(Healed { id }) => {
                state.remove(Shelf::Healed, &id)?;
                faults.push(id);
            }
            Err(error) => tracing::warn!(error, "a note of a watchdog cannot be read"),
        }
    }
    Ok(faults)
}

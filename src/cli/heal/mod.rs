//! `schism heal`: undoes what runs that died left, on this node or on hosts that SSH reaches.
//!
//! What is healed is what the journals on the nodes and our own marks in their kernels say, so nothing of the run is needed but
//! the names of its hosts (`targets`).

mod remote;
mod targets;

use std::fmt::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::agent::heal::{Healed, heal};
use crate::agent::server::{self, ServeError};
use crate::stderr::say;
use crate::transport::AgentPipe;
use crate::verdict::Verdict;

use super::args::Heal;
use super::{nodes, print};

/// Bytes on their way between the two ends of the pipe in this process.
const PIPE_LEN: usize = 1 << 16;

pub fn main(arguments: &Heal) -> ExitCode {
    let targets = match targets::read(arguments) {
        Ok(targets) => targets,
        Err(problem) => return super::usage(&problem),
    };
    let infra = ExitCode::from(Verdict::Infra.exit_code());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("schism heal: cannot start: {error}"));
            return infra;
        }
    };
    let (text, verdict) = if arguments.targets.is_empty() {
        match runtime.block_on(heal_here(arguments)) {
            Ok(healed) => {
                let text = if arguments.json { json(&healed) } else { describe(&healed, "") };
                (text, verdict_of(&healed))
            }
            Err(reason) => {
                say(format_args!("schism heal: {reason}"));
                return infra;
            }
        }
    } else {
        for note in &targets.notes {
            say(note);
        }
        let hosts = runtime.block_on(remote::heal_all(targets.clusters, arguments));
        (remote::shown(&hosts, arguments.json), remote::verdict(&hosts))
    };
    runtime.shutdown_background();
    let printed = print(&text);
    if verdict == Verdict::Pass { printed } else { ExitCode::from(verdict.exit_code()) }
}

/// Heals the machine this runs on, by an agent in this very process.
async fn heal_here(arguments: &Heal) -> Result<Healed, String> {
    let (to_agent, stdin) = tokio::io::duplex(PIPE_LEN);
    let (stdout, from_agent) = tokio::io::duplex(PIPE_LEN);
    let options = nodes::options(arguments.state.clone());
    let agent = tokio::spawn(server::serve(stdin, stdout, options, std::future::pending()));
    let pipe = AgentPipe { stdin: Box::new(to_agent), stdout: Box::new(from_agent) };
    let healed = heal(pipe, "this node", arguments.stop).await.map_err(|error| error.to_string());
    match agent.await.map_err(|error| error.to_string())? {
        // That is what could not be undone, and is known already.
        Ok(()) | Err(ServeError::Residue(_)) => healed,
        // What kept it from starting says more than that it did not.
        Err(error) => healed.map_err(|_| error.to_string()),
    }
}

fn verdict_of(healed: &Healed) -> Verdict {
    if healed.left.is_empty() { Verdict::Pass } else { Verdict::Residue }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).map_or_else(|error| error.to_string(), |json| json + "\n")
}

/// A node in lines that each begin with `node`.
fn describe(healed: &Healed, node: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for line in &healed.found {
        let _ = writeln!(text, "{node}found       {line}");
    }
    for line in &healed.running {
        let _ = writeln!(text, "{node}runs        {line}; `schism heal --stop` ends it");
    }
    for line in &healed.left {
        let _ = writeln!(text, "{node}STILL THERE {line}");
    }
    let end = match (healed.found.is_empty(), healed.left.is_empty()) {
        (_, false) => "not clean: see above",
        (true, true) => "clean: nothing of any fault was there",
        (false, true) => "clean: all of it is undone",
    };
    let _ = writeln!(text, "{node}{end}");
    text
}

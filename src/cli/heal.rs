//! `schism heal`: undoes what runs that died left on a node.

use std::fmt::Write;
use std::process::ExitCode;

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
    let infra = ExitCode::from(Verdict::Infra.exit_code());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("schism heal: cannot start: {error}"));
            return infra;
        }
    };
    let healed = runtime.block_on(heal_here(arguments));
    runtime.shutdown_background();
    match healed {
        Ok(healed) => {
            let clean = healed.left.is_empty();
            let text = if arguments.json {
                serde_json::to_string_pretty(&healed)
                    .map_or_else(|error| error.to_string(), |json| json + "\n")
            } else {
                describe(&healed)
            };
            let printed = print(&text);
            if clean { printed } else { ExitCode::from(Verdict::Residue.exit_code()) }
        }
        Err(reason) => {
            say(format_args!("schism heal: {reason}"));
            infra
        }
    }
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

fn describe(healed: &Healed) -> String {
    let mut text = String::new();
    for line in &healed.found {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "found       {line}");
    }
    for line in &healed.running {
        let _ = writeln!(text, "runs        {line}; `schism heal --stop` ends it");
    }
    for line in &healed.left {
        let _ = writeln!(text, "STILL THERE {line}");
    }
    text.push_str(match (healed.found.is_empty(), healed.left.is_empty()) {
        (_, false) => "not clean: see above\n",
        (true, true) => "clean: nothing of any fault was there\n",
        (false, true) => "clean: all of it is undone\n",
    });
    text
}

//! The command line: parses arguments, calls the parts, turns their answers into exit codes.
//!
//! One file a command. Nothing here decides a verdict.

mod allow;
mod args;
mod check;
mod doctor;
mod heal;
mod list;
mod nodes;
mod plan;
mod run;
mod schema;
mod standing;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::stderr::say;
use crate::verdict::Verdict;
use args::{Arguments, Command};

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; everything else is a usage error. Nobody is left to tell when the
            // terminal is gone.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(Verdict::Usage.exit_code())
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match arguments.command {
        Command::Run(arguments) => run::main(&arguments),
        Command::Plan(arguments) => plan::main(&arguments),
        Command::Check(arguments) => check::main(&arguments),
        Command::Doctor(arguments) => doctor::main(&arguments),
        Command::Heal(arguments) => heal::main(&arguments),
        Command::List(arguments) => list::main(&arguments),
        Command::Schema(arguments) => schema::main(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "schism", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Agent { state } => nodes::agent(state),
        Command::Watchdog { state, agent } => nodes::watchdog(state, agent),
        Command::Capture { path } => crate::agent::capture::main(&path),
        Command::DemoNode(arguments) => nodes::demo(arguments),
        Command::ClusterInit => nodes::cluster_init(),
        Command::Nodes { command } => standing::main(&command),
        Command::NodesSupervisor { dir, nodes, made } => standing::supervisor(&dir, nodes, made),
        Command::NodeSshd => standing::sshd(),
    }
}

/// Prints to stdout. A reader that went away (`| head`) is no error.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("schism: cannot write to standard output: {error}"));
            ExitCode::from(Verdict::Infra.exit_code())
        }
    }
}

/// Says what is wrong with what the person gave, and that nothing was touched.
fn usage(message: &dyn std::fmt::Display) -> ExitCode {
    say(message);
    ExitCode::from(Verdict::Usage.exit_code())
}

//! `schism nodes`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{Nodes, NodesPlace};
use crate::stderr::say;
use crate::transport::TransportError;
use crate::transport::local::standing::{self, Ended, Standing};
use crate::verdict::Verdict;

pub fn main(command: &Nodes) -> ExitCode {
    let place = match command {
        Nodes::Up { place, .. }
        | Nodes::Down { place }
        | Nodes::Reboot { place, .. }
        | Nodes::Connect { place, .. } => place,
        Nodes::Allow { hosts, config, revoke } => {
            return super::allow::main(hosts, config.as_deref(), *revoke);
        }
    };
    let directory = match directory(place) {
        Ok(directory) => directory,
        Err(why) => return super::usage(&why),
    };
    match command {
        Nodes::Up { ssh, .. } => match standing::up(&directory, *ssh) {
            Ok(up) => super::print(&introduce(&up, place)),
            Err(error) => refused(Verdict::Infra, &error),
        },
        Nodes::Down { .. } => match standing::down(&directory) {
            Ok(ended) => super::print(&farewell(&ended, &directory)),
            Err(error) => refused(Verdict::Residue, &error),
        },
        Nodes::Reboot { nodes, .. } => match standing::reboot(&directory, nodes) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(Verdict::Infra, &error),
        },
        Nodes::Connect { node, port, .. } => match standing::connect(&directory, node, *port) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(Verdict::Infra, &error),
        },
        Nodes::Allow { .. } => unreachable!("it needs no directory, and was dealt with before"),
    }
}

/// `schism nodes-supervisor`.
pub fn supervisor(directory: &Path, nodes: usize, made: bool) -> ExitCode {
    standing::supervisor_main(directory, nodes, made)
}

/// `schism node-sshd`.
pub fn sshd() -> ExitCode {
    standing::node_sshd_main()
}

fn refused(verdict: Verdict, error: &TransportError) -> ExitCode {
    say(format_args!("schism: {error}"));
    ExitCode::from(verdict.exit_code())
}

/// The directory that was chosen, or the usual one.
fn directory(place: &NodesPlace) -> Result<PathBuf, io::Error> {
    if let Some(chosen) = &place.dir {
        return std::path::absolute(chosen);
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let state = state.or_else(|| home().filter(|path| path.is_absolute()));
    state.map(|state| state.join("schism/nodes")).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "you have no home directory: say with --dir where the nodes' keys are to be",
        )
    })
}

fn introduce(up: &Standing, place: &NodesPlace) -> String {
    let found = up.found.as_ref().map_or_else(String::new, |found| {
        format!("# There had been nodes in this directory: {found}. What was left is removed.\n")
    });
    let first = up.nodes.first().map_or("n1", String::as_str);
    let chosen = place
        .dir
        .as_ref()
        .map_or_else(String::new, |dir| format!(" --dir {}", super::run::quote(&dir.display().to_string())));
    let config = super::run::quote(&up.config.display().to_string());
    format!(
        "{found}# {} nodes are up. This is the `cluster:` of a test file that runs on them:\n\n{}\n\
         # A shell on a node:  ssh -F {config} {first}\n\
         # Their end:          schism nodes down{chosen}\n",
        up.nodes.len(),
        up.block(),
    )
}

fn farewell(ended: &Ended, directory: &Path) -> String {
    match ended {
        Ended::Nothing => format!("No nodes are up in {}.\n", directory.display()),
        Ended::Down => "The nodes are down; no process, network or file of them is left.\n".to_owned(),
        Ended::Before(why) => {
            format!(
                "The nodes were gone already: {why}. What was left in {} is removed.\n",
                directory.display()
            )
        }
    }
}

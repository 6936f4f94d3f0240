//! The command line: parses arguments, calls the parts, turns their answers into exit codes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use schism_nemesis::linux;

use crate::agent::server;
use crate::transport::local;

/// The whole program.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(command) if command == local::INIT_COMMAND => local::cluster_init_main(),
        Some(command) if command == "agent" => agent(&arguments.collect::<Vec<_>>()),
        _ => ExitCode::from(2),
    }
}

/// `schism agent [--state DIR]`
fn agent(arguments: &[OsString]) -> ExitCode {
    let state = match arguments {
        [] => PathBuf::from(server::STATE_DIRECTORY),
        [flag, directory] if flag == "--state" => PathBuf::from(directory),
        _ => return ExitCode::from(2),
    };
    server::main(server::Options {
        state,
        mechanisms: Arc::new(linux::mechanism),
        kernel: Arc::new(linux::residue),
    })
}

//! The hidden commands that the controller starts on nodes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use schism_nemesis::linux;

use crate::agent::server;

/// `schism agent`.
pub fn agent(state: PathBuf) -> ExitCode {
    server::main(server::Options {
        state,
        mechanisms: Arc::new(linux::mechanism),
        kernel: Arc::new(linux::residue),
    })
}

/// `schism demo-node`.
pub fn demo(arguments: crate::demo::Args) -> ExitCode {
    crate::demo::main(arguments)
}

/// `schism cluster-init`.
pub fn cluster_init() -> ExitCode {
    crate::transport::local::cluster_init_main()
}

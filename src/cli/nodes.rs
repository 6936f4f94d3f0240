//! The hidden commands that the controller starts on nodes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::agent::server;

/// `schism agent`.
pub fn agent(state: PathBuf) -> ExitCode {
    server::main(server::Options { state, mechanisms: Arc::new(schism_nemesis::linux::mechanism) })
}

/// `schism demo-node`.
pub fn demo(arguments: crate::demo::Args) -> ExitCode {
    crate::demo::main(arguments)
}

/// `schism cluster-init`.
pub fn cluster_init() -> ExitCode {
    crate::transport::local::cluster_init_main()
}

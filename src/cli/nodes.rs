//! The hidden commands that the controller starts on nodes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use schism_nemesis::linux;

use crate::agent::server;

/// The executable of this process, also where its file has been replaced meanwhile.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// `schism agent`.
pub fn agent(state: PathBuf) -> ExitCode {
    server::main(options(state))
}

/// `schism watchdog`.
pub fn watchdog(state: PathBuf, agent: i32) -> ExitCode {
    server::watchdog_main(options(state), agent)
}

/// How an agent of this executable works on the node it runs on.
pub fn options(state: PathBuf) -> server::Options {
    server::Options {
        state,
        mechanisms: Arc::new(linux::mechanism),
        kernel: Arc::new(linux::residue),
        purge: Arc::new(linux::purge),
        watchdog: Some(OWN_EXECUTABLE.into()),
    }
}

/// `schism demo-node`.
pub fn demo(arguments: crate::demo::Args) -> ExitCode {
    crate::demo::main(arguments)
}

/// `schism cluster-init`.
pub fn cluster_init() -> ExitCode {
    crate::transport::local::cluster_init_main()
}

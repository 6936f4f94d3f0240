//! The command line: parses arguments, calls the parts, turns their answers into exit codes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use schism_nemesis::node::{Evidence, FaultError, Host, Mechanism};

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
    server::main(server::Options { state, mechanisms: Arc::new(|_| Box::new(NoMechanism)) })
}

/// Refuses every fault.
struct NoMechanism;

impl NoMechanism {
    fn refusal(step: &'static str) -> FaultError {
        FaultError { step, fault: "fault", reason: "this build makes no faults".to_owned() }
    }
}

impl Mechanism for NoMechanism {
    fn precheck(&self, _: &dyn Host) -> Result<(), FaultError> {
        Err(Self::refusal("precheck"))
    }

    fn inject(&mut self, _: &dyn Host, _: Duration) -> Result<(), FaultError> {
        Err(Self::refusal("inject"))
    }

    fn verify(&mut self, _: &dyn Host, _: Duration) -> Result<Evidence, FaultError> {
        Err(Self::refusal("verify"))
    }

    fn renew(&mut self, _: &dyn Host, _: Duration) -> Result<(), FaultError> {
        Err(Self::refusal("renew"))
    }

    fn heal(&mut self, _: &dyn Host) -> Result<(), FaultError> {
        Ok(())
    }

    fn verify_healed(&mut self, _: &dyn Host, _: Duration) -> Result<Evidence, FaultError> {
        Ok(Evidence { holds: true, seen: "nothing was made".to_owned() })
    }
}

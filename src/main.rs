//! The `schism` binary: the controller, the agent and the demo system are all in here.

use std::process::ExitCode;

fn main() -> ExitCode {
    schism::cli::main()
}

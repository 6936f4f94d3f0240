//! The command line: parses arguments, calls the parts, turns their answers into exit codes.

use std::process::ExitCode;

use crate::transport::local;

/// The whole program.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == local::INIT_COMMAND) {
        return local::cluster_init_main();
    }
    ExitCode::from(2)
}

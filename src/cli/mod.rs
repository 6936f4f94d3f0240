//! The command line: parses arguments, calls the parts, turns their answers into exit codes.

use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}

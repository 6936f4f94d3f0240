//! Runs a command to its end, with a deadline.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// What a command printed.
pub(super) struct Output {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a command in a directory, in the C locale so that its output can be read. Killed when it takes too long.
///
/// # Errors
/// It cannot be started, or did not end in time, as a sentence that names it.
pub(super) async fn run(argv: &[&OsStr], directory: &Path, deadline: Duration) -> Result<Output, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let name = program.to_string_lossy();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env("LC_ALL", "C");
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(deadline, command.output()).await {
        Err(_) => Err(format!("`{name}` did not end within {} s", deadline.as_secs())),
        Ok(Err(error)) => Err(format!("`{name}` cannot be started: {error}")),
        Ok(Ok(output)) => Ok(Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

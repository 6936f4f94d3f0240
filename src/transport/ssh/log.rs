//! Where the complaints of agents go: `<node>/agent.log` in the log directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// A log, or nothing.
pub(super) struct Log(Option<File>);

impl Log {
    /// Opens the node's log to append to. A log that cannot be written costs nobody the run.
    pub(super) fn open(directory: Option<&Path>, node: &str) -> Self {
        let Some(directory) = directory.map(|directory| directory.join(node)) else { return Self(None) };
        let path = directory.join("agent.log");
        let opened = fs::create_dir_all(&directory)
            .and_then(|()| File::options().append(true).create(true).open(&path));
        Self(
            opened.inspect_err(|error| tracing::warn!(event = "no log", path = %path.display(), %error)).ok(),
        )
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.0
            && let Err(error) = file.write_all(bytes)
        {
            tracing::warn!(event = "log ends early", %error);
            self.0 = None;
        }
    }
}

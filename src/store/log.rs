//! `schism.log`: what the controller did, as JSON lines, through `tracing`.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::StoreError;

/// The log file. A line is one `write(2)`, so it survives a killed controller.
#[derive(Clone)]
struct Lines(Arc<Mutex<File>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.lock() {
            // A full disk must not stop the run that is being collected: the line is lost, the run goes on. The history
            // has its own writer, which does report it.
            Ok(mut file) => {
                std::io::Write::write_all(&mut *file, bytes).map_or(Ok(bytes.len()), |()| Ok(bytes.len()))
            }
            Err(_) => Ok(bytes.len()),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Sends every event of `tracing` to the file at `path` from now on. `SCHISM_LOG` sets the filter (default `info`).
///
/// # Errors
/// The file cannot be made.
pub fn start_logging(path: &Path) -> Result<(), StoreError> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| StoreError::new("cannot make", path, source))?;
    let filter = EnvFilter::try_from_env("SCHISM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(Lines(Arc::new(Mutex::new(file))));
    // A second run in one process (tests) keeps the first one's log.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    Ok(())
}

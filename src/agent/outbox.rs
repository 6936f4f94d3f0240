//! One task that owns the writing end of a pipe.
//!
//! Two queues, because a heartbeat must not wait behind a file: control frames go first, and of bulk frames at most one is
//! ahead of them. The bulk queue is short and pushes back on whoever fills it.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bulk frames that wait at most.
const BULK_LEN_MAX: usize = 2;

/// Hands frames to the writer. The pipe closes when the last clone is gone and everything is written.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// Unbounded, and bounded by its users: one frame for a request, and requests are counted.
    control: mpsc::UnboundedSender<Vec<u8>>,
    bulk: mpsc::Sender<Vec<u8>>,
}

/// The pipe is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl Outbox {
    /// Starts the writer. `dead` makes it drop the pipe at once, and is set by it when writing fails.
    pub fn start(
        writer: impl AsyncWrite + Send + Unpin + 'static,
        dead: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (control, control_queue) = mpsc::unbounded_channel();
        let (bulk, bulk_queue) = mpsc::channel(BULK_LEN_MAX);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = dead.cancelled() => {}
                result = write_all(writer, control_queue, bulk_queue) => if let Err(error) = result {
                    tracing::debug!(%error, "the pipe cannot be written to any more");
                    dead.cancel();
                }
            }
        });
        (Self { control, bulk }, task)
    }

    /// Queues a small frame; goes ahead of every bulk frame.
    ///
    /// # Errors
    /// The pipe is closed.
    pub fn control(&self, frame: Vec<u8>) -> Result<(), Closed> {
        self.control.send(frame).map_err(|_| Closed)
    }

    /// Queues a large frame once there is room.
    ///
    /// # Errors
    /// The pipe is closed.
    pub async fn bulk(&self, frame: Vec<u8>) -> Result<(), Closed> {
        self.bulk.send(frame).await.map_err(|_| Closed)
    }
}

async fn write_all(
    mut writer: impl AsyncWrite + Unpin,
    mut control: mpsc::UnboundedReceiver<Vec<u8>>,
    mut bulk: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    loop {
        // A closed and empty queue gives `None` at once, so both must be empty for the end.
        let frame = tokio::select! {
            biased;
            Some(frame) = control.recv() => frame,
            Some(frame) = bulk.recv() => frame,
            else => break,
        };
        writer.write_all(&frame).await?;
        // Batches what waits anyway; nothing waits for long in a buffer.
        if control.is_empty() && bulk.is_empty() {
            writer.flush().await?;
        }
    }
    writer.shutdown().await
}

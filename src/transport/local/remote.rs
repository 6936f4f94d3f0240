//! The controller's end of the channel to the cluster's init.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::control::{Answered, Asked, Channel, During, Refusal, Request};
use super::sys;

/// The step that fails when the cluster's init is gone.
pub(super) const REACH: &str = "reach the cluster";

/// Asks one question at a time.
#[derive(Debug)]
pub(super) struct Remote {
    channel: AsyncFd<Channel>,
    /// The next question's id. Whoever holds the lock may ask.
    turn: Mutex<u64>,
}

impl Remote {
    /// Must be called within a runtime.
    pub(super) fn new(channel: Channel) -> std::io::Result<Self> {
        // Of this end only: the other's file description is another one.
        fcntl(&channel, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            channel: sys::watched(channel, Interest::READABLE | Interest::WRITABLE)?,
            turn: Mutex::new(0),
        })
    }

    /// Asks, and waits for the answer and what comes with it. An answer whose question was given up is dropped.
    pub(super) async fn ask(
        &self,
        request: Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<OwnedFd>, Refusal> {
        let mut turn = self.turn.lock().await;
        let id = *turn;
        *turn += 1;
        let asked = Asked { id, request };
        let gone = || Refusal::new(REACH, "the cluster is down");
        match self.channel.async_io(Interest::WRITABLE, |channel| channel.send(&asked, fds)).await {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Err(gone()),
            result => result.during(REACH)?,
        }
        loop {
            let received = self.channel.async_io(Interest::READABLE, Channel::receive::<Answered>).await;
            let (answered, fds) = received.during(REACH)?.ok_or_else(gone)?;
            if answered.id == id {
                return answered.result.map(|()| fds);
            }
        }
    }

    /// Ends the channel, and so the cluster.
    pub(super) fn hang_up(&self) {
        self.channel.get_ref().hang_up();
    }
}

//! Connections from the controller to the nodes.
//!
//! A socket belongs to the network namespace it was made in, whoever uses it. So the cluster's init makes the sockets, and
//! the controller, which never enters the namespace, connects them. Some are kept ready, and dialing usually costs no
//! question.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use schism_workloads::{BoxFuture, Dialer};
use tokio::net::{TcpSocket, TcpStream};

use super::super::Node;
use super::control::{FDS_MAX, Refusal, Request};
use super::remote::Remote;

/// More are asked for when fewer than these are ready.
const LOW: usize = FDS_MAX / 2;

/// Dials the nodes of a local cluster.
#[derive(Clone, Debug)]
pub(super) struct LocalDialer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    remote: Arc<Remote>,
    nodes: Vec<Node>,
    ready: Mutex<Vec<OwnedFd>>,
    refilling: AtomicBool,
}

impl LocalDialer {
    /// A dialer with its first sockets ready.
    pub(super) async fn new(remote: Arc<Remote>, nodes: Vec<Node>) -> Result<Self, Refusal> {
        let dialer = Self(Arc::new(Shared {
            remote,
            nodes,
            ready: Mutex::default(),
            refilling: AtomicBool::new(false),
        }));
        dialer.0.refill().await?;
        Ok(dialer)
    }
}

impl Shared {
    /// Takes a socket, and says how many are left.
    fn take(&self) -> (Option<OwnedFd>, usize) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        (ready.pop(), ready.len())
    }

    async fn refill(&self) -> Result<(), Refusal> {
        let fresh = self.remote.ask(Request::Sockets { count: FDS_MAX }, &[]).await?;
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(fresh);
        Ok(())
    }

    /// Refills in the background, once at a time.
    fn refill_soon(self: &Arc<Self>) {
        if !self.refilling.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                // Whoever finds none ready asks again and hears why.
                let _ = shared.refill().await;
                shared.refilling.store(false, Ordering::Release);
            });
        }
    }

    async fn socket(self: &Arc<Self>) -> io::Result<OwnedFd> {
        loop {
            let (socket, left) = self.take();
            if left < LOW {
                self.refill_soon();
            }
            if let Some(socket) = socket {
                return Ok(socket);
            }
            self.refill().await.map_err(|refusal| {
                io::Error::new(io::ErrorKind::NotConnected, format!("{}: {}", refusal.step, refusal.what))
            })?;
        }
    }
}

impl Dialer for LocalDialer {
    fn dial<'a>(&'a self, node: &'a str, port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(async move {
            let node = self.0.nodes.iter().find(|known| &*known.name == node).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("the cluster has no node {node:?}"))
            })?;
            let socket = TcpSocket::from_std_stream(StdStream::from(self.0.socket().await?));
            socket.set_nodelay(true)?;
            socket.connect(SocketAddr::new(node.address, port)).await
        })
    }
}

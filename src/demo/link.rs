//! The link to one other node: one persistent connection, one task, one bounded queue.
//!
//! Requests that wait while a batch is under way travel together in the next one, so a slow disk at the other end makes
//! batches larger, not more numerous. A node that does not answer costs its own queue and nothing else: when the queue is
//! full, new requests to that node are dropped, which the caller sees as a missing answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request as HttpRequest, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::server::PEER_BODY_LEN_MAX;
use super::wire::{Answer, Answers, Batch, Request};

/// Requests that may wait for one node.
const QUEUE_LEN: usize = 1024;
/// Requests in one batch.
const BATCH_LEN: usize = 128;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// A batch without an answer for this long has lost its connection.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(400);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(25);

/// A request on its way to a node.
pub(super) struct Pending {
    pub request: Arc<Request>,
    /// Where the answer goes; dropped without one when there is none.
    pub reply: mpsc::Sender<Answer>,
    /// Afterwards it is not sent any more.
    pub expires: Instant,
}

impl Pending {
    /// A store is worth sending when nobody waits for it any more, since it brings the other node up to date.
    fn wanted(&self) -> bool {
        let awaited = matches!(*self.request, Request::Store { .. }) || !self.reply.is_closed();
        awaited && Instant::now() < self.expires
    }
}

/// The sending end. The link's task ends when it is dropped.
pub(super) struct Link {
    queue: mpsc::Sender<Pending>,
}

impl Link {
    /// Starts the task that talks to the node at `address`. Needs a runtime.
    pub fn open(address: String) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(talk(address, waiting));
        Self { queue }
    }

    /// Queues a request, or drops it when too many wait already.
    pub fn send(&self, pending: Pending) {
        let _ = self.queue.try_send(pending);
    }
}

async fn talk(address: String, mut waiting: mpsc::Receiver<Pending>) {
    let mut batch: Vec<Pending> = Vec::new();
    let mut connection: Option<Connection> = None;
    loop {
        if batch.is_empty() {
            match waiting.recv().await {
                Some(pending) => batch.push(pending),
                None => return,
            }
        }
        while batch.len() < BATCH_LEN
            && let Ok(pending) = waiting.try_recv()
        {
            batch.push(pending);
        }
        batch.retain(Pending::wanted);
        if batch.is_empty() {
            continue;
        }
        if connection.as_ref().is_none_or(|open| open.sender.is_closed()) {
            connection = Connection::open(&address).await.ok();
        }
        let answers = match &mut connection {
            Some(open) => open.exchange(&address, &batch).await,
            None => None,
        };
        match answers {
            Some(answers) => {
                for (pending, answer) in batch.drain(..).zip(answers) {
                    // Nobody waiting any more is fine.
                    let _ = pending.reply.try_send(answer);
                }
            }
            None => {
                connection = None;
                sleep(PAUSE).await;
            }
        }
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    async fn open(address: &str) -> io::Result<Self> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // An error shows at the sender as well.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// One batch and its answers; `None` when the connection is of no more use.
    async fn exchange(&mut self, address: &str, batch: &[Pending]) -> Option<Vec<Answer>> {
        let requests = batch.iter().map(|pending| Arc::clone(&pending.request)).collect();
        let body = serde_json::to_vec(&Batch { requests }).ok()?;
        let request = HttpRequest::post("/peer/batch")
            .header(header::HOST, address)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let exchange = async {
            let response = self.sender.send_request(request).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = Limited::new(response.into_body(), PEER_BODY_LEN_MAX).collect().await.ok()?;
            serde_json::from_slice::<Answers>(&body.to_bytes()).ok()
        };
        let answers = timeout(ANSWER_TIMEOUT, exchange).await.ok()??.answers;
        (answers.len() == batch.len()).then_some(answers)
    }
}

//! One HTTP/1.1 connection that can tell whether a request may have left.
//!
//! Ordinary HTTP clients pool connections, follow redirects and send a request again when a connection turns out to be
//! dead. Each of these breaks a history: an operation that is recorded once may have happened twice, or through another
//! node. This one sends each request at most once, over a connection of its own to the one node it is bound to.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::Target;

/// A longer answer is a broken server.
const BODY_LEN_MAX: usize = 16 << 20;

/// A client's connection. It opens when first used, and again when a later operation finds it closed.
pub struct HttpConnection {
    target: Target,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with this value.
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

/// There is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// Whether any part of the request may have reached the server. If not, it certainly has no effect.
    pub maybe_sent: bool,
    /// What happened.
    pub reason: String,
}

impl HttpConnection {
    /// A connection to `target`, not yet open.
    pub fn new(target: Target) -> Self {
        Self { target, open: None }
    }

    /// Sends a request once and waits for the whole answer, both within the target's deadline. After an error the
    /// connection is closed, so that a late answer is never taken for that of the next request.
    ///
    /// # Errors
    /// There is no connection, it broke, or the deadline passed.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<HttpResponse, HttpError> {
        let authority = format!("{}:{}", self.target.node, self.target.port);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()));
        let request = request.map_err(|error| HttpError {
            maybe_sent: false,
            reason: format!("cannot make the request: {error}"),
        })?;
        let deadline = self.target.deadline;
        let mut maybe_sent = false;
        let exchange = tokio::time::timeout(deadline, self.exchange(request, &mut maybe_sent)).await;
        let reason = match exchange {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(reason)) => reason,
            Err(_) => timed_out(deadline, maybe_sent),
        };
        self.open = None;
        Err(HttpError { maybe_sent, reason })
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        maybe_sent: &mut bool,
    ) -> Result<HttpResponse, String> {
        let sender = self.sender().await?;
        *maybe_sent = true;
        let response = sender.try_send_request(request).await.map_err(|mut error| {
            // The request comes back exactly when no byte of it was written.
            *maybe_sent = error.take_message().is_none();
            format!("the connection broke: {}", describe(&error.into_error()))
        })?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_LEN_MAX).collect().await;
        let body =
            body.map_err(|error| format!("the connection broke in the middle of the answer: {error}"))?;
        Ok(HttpResponse { status, body: body.to_bytes() })
    }

    /// The open connection, or a fresh one to the same node. Nothing of the operation has been sent so far, so this is no
    /// retry.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        let usable = match &mut self.open {
            Some(open) => open.sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.open = None;
        }
        match self.open {
            Some(ref mut open) => Ok(&mut open.sender),
            None => {
                let Target { node, port, dialer, .. } = &self.target;
                let stream = dialer
                    .dial(node, *port)
                    .await
                    .map_err(|error| format!("cannot connect to {node}:{port}: {error}"))?;
                let (sender, connection) = handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| format!("cannot speak HTTP with {node}:{port}: {}", describe(&error)))?;
                // Its error reaches whoever waits for the answer.
                let driver = tokio::spawn(async move { drop(connection.await) });
                Ok(&mut self.open.insert(Open { sender, driver }).sender)
            }
        }
    }
}

fn timed_out(deadline: Duration, maybe_sent: bool) -> String {
    let what = if maybe_sent { "no answer" } else { "no connection" };
    format!("{what} within {deadline:?}")
}

/// The error with its causes: hyper's own text alone says too little.
fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Encodes `text` as one segment of a path.
pub fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte))
            }
            _ => {
                segment.push('%');
                for digit in [byte >> 4, byte & 15] {
                    segment.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    segment
}

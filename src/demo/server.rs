//! The HTTP server of a node, for clients and for other nodes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::quorum::{GivenUp, Replica};
use super::wire::{Answers, Batch};

/// Connections served at a time; others wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 4096;
/// The longest body a client may send.
const CLIENT_BODY_LEN_MAX: usize = 64 << 10;
/// The longest batch between nodes: more than a full batch of the longest values.
pub(super) const PEER_BODY_LEN_MAX: usize = 16 << 20;
const KEY_LEN_MAX: usize = 1024;

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, replica: Arc<Replica>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of file descriptors, or a connection that was gone at once: others may be waiting.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let replica = Arc::clone(&replica);
        tokio::spawn(async move {
            tune(&stream);
            let service = service_fn(move |request| answer(Arc::clone(&replica), request));
            // Whatever ends the connection concerns nobody but the one at its other end.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

/// Answers at once, and lets go of connections whose other end is gone (cut off for good, or dead without a word).
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &30);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &10);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &3);
}

/// What a client sends to write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    #[serde(deserialize_with = "present")]
    value: Value,
}

/// Null is a value; no `value` at all is a mistake.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Value::deserialize(deserializer)
}

type Reply = (StatusCode, Value);

async fn answer(
    replica: Arc<Replica>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = route(&replica, request).await.unwrap_or_else(|refusal| refusal);
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn route(replica: &Replica, request: Request<Incoming>) -> Result<Reply, Reply> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/health") => Ok(health(replica)),
        (&Method::POST, "/peer/batch") => {
            let batch: Batch = body(request, PEER_BODY_LEN_MAX).await?;
            let answers = replica.answer(batch.requests).await;
            Ok((StatusCode::OK, json!(Answers { answers })))
        }
        (method, path) => match (method, path.strip_prefix("/register/")) {
            (&Method::GET, Some(key)) => {
                let value = replica.read(&decode(key)?).await.map_err(given_up)?;
                Ok((StatusCode::OK, json!({ "value": value })))
            }
            (&Method::PUT, Some(key)) => {
                let key = decode(key)?;
                let Write { value } = body(request, CLIENT_BODY_LEN_MAX).await?;
                replica.write(&key, value).await.map_err(given_up)?;
                Ok((StatusCode::OK, json!({})))
            }
            (_, Some(_)) => Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "GET reads, PUT writes")),
            (_, None) => Err(refuse(StatusCode::NOT_FOUND, "there are /register/KEY and /health")),
        },
    }
}

fn health(replica: &Replica) -> Reply {
    let health = replica.healthy();
    let status = if health { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json!({ "health": health, "node": replica.name(), "mode": replica.mode().name() }))
}

fn given_up(error: GivenUp) -> Reply {
    (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": error.reason, "definite": error.definite }))
}

/// A request that was refused before anything was done.
fn refuse(status: StatusCode, error: &str) -> Reply {
    (status, json!({ "error": error, "definite": true }))
}

async fn body<T: serde::de::DeserializeOwned>(
    request: Request<Incoming>,
    len_max: usize,
) -> Result<T, Reply> {
    let bytes = Limited::new(request.into_body(), len_max)
        .collect()
        .await
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("cannot read the body: {error}")))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))
}

/// Undoes percent-encoding. Keys are UTF-8 and not empty.
fn decode(key: &str) -> Result<String, Reply> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => {
                return Err(refuse(StatusCode::BAD_REQUEST, "`%` is not followed by two hexadecimal digits"));
            }
        }
        rest = &tail[2..];
    }
    match String::from_utf8(bytes) {
        Ok(key) if !key.is_empty() && key.len() <= KEY_LEN_MAX => Ok(key),
        _ => Err(refuse(StatusCode::BAD_REQUEST, "a key is 1 to 1024 bytes of UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_percent_decoded() {
        assert_eq!(decode("x").unwrap(), "x");
        assert_eq!(decode("a%20b%2Fc/d").unwrap(), "a b/c/d");
        assert_eq!(decode("%C3%A4").unwrap(), "ä");
        for bad in ["", "%", "%2", "%zz", "%+1", "%ff", &"x".repeat(KEY_LEN_MAX + 1)] {
            assert_eq!(decode(bad).unwrap_err().0, StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}

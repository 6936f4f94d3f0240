//! What a client is: something bound to one node that carries out one operation at a time; and the clients there are
//! ([`catalog`]).
//!
//! A client knows its system's interface and nothing of generators, histories or faults.

pub mod catalog;
pub mod demo;
pub mod etcd;
pub mod http;

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use schism_history::Kind;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::op::Op;

/// A boxed future, for traits that must be object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It happened; the completion's value (for a read what was read, else usually the argument).
    Ok(Value),
    /// It certainly did not happen and never will.
    Fail(String),
    /// Unknown. The process that invoked it never acts again.
    Info(String),
}

impl Outcome {
    /// The completion's kind, value and error, for an operation with this argument.
    pub fn completion(self, argument: &Value) -> (Kind, Value, Option<Value>) {
        match self {
            Outcome::Ok(value) => (Kind::Ok, value, None),
            Outcome::Fail(reason) => (Kind::Fail, argument.clone(), Some(Value::String(reason))),
            Outcome::Info(reason) => (Kind::Info, argument.clone(), Some(Value::String(reason))),
        }
    }
}

/// A client of one node. It never retries, never reconnects to another node, and opens its connection lazily.
pub trait Client: Send {
    /// Carries out one operation. Must finish within the operation's deadline; the scheduler abandons it otherwise
    /// and records `info`.
    fn invoke<'a>(&'a mut self, op: &'a Op) -> BoxFuture<'a, Outcome>;
}

/// Opens connections to the nodes of a cluster, wherever they are.
pub trait Dialer: Send + Sync {
    /// A fresh TCP connection (`TCP_NODELAY` set) to `port` on the node called `node`.
    ///
    /// # Errors
    /// Whatever `connect` says. A refused connection means that nothing was sent.
    fn dial<'a>(&'a self, node: &'a str, port: u16) -> BoxFuture<'a, io::Result<TcpStream>>;
}

/// Where a client goes.
#[derive(Clone)]
pub struct Target {
    /// The node's name.
    pub node: Arc<str>,
    /// The port of the system's client interface there.
    pub port: u16,
    /// How to get there.
    pub dialer: Arc<dyn Dialer>,
    /// Every operation's deadline.
    pub deadline: Duration,
}

/// Makes clients. One per run; `client` is called again whenever a worker needs a fresh process.
pub trait Connector: Send + Sync {
    /// A client bound to `target`. It does not connect yet.
    fn client(&self, target: Target) -> Box<dyn Client>;
}

/// The key of an operation as text, for systems whose keys are text.
pub(crate) fn key_text(op: &Op) -> Cow<'_, str> {
    match &op.key {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(other) => Cow::Owned(other.to_string()),
        None => Cow::Borrowed("register"),
    }
}

//! The algorithm: reads and writes through majorities, and the ways to get it wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::link::{Link, Pending};
use super::storage::Storage;
use super::tag::Tag;
use super::wire::{Answer, Register, Request};
use super::{Mode, Peer};

/// An operation without a majority for this long is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why an operation was given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct GivenUp {
    pub reason: String,
    /// Whether it certainly did not and will not take effect.
    pub definite: bool,
}

/// One node of the cluster.
pub(super) struct Replica {
    name: String,
    mode: Mode,
    storage: Storage,
    links: Vec<Link>,
    sequence: AtomicU64,
}

impl Replica {
    /// A node with links to all others. Needs a runtime.
    pub fn new(name: String, mode: Mode, storage: Storage, peers: &[Peer]) -> Self {
        let links = peers.iter().map(|peer| Link::open(peer.address.clone())).collect();
        Self { name, mode, storage, links, sequence: AtomicU64::new(0) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn healthy(&self) -> bool {
        self.storage.healthy()
    }

    /// The value under `key`; null when it was never written.
    pub async fn read(&self, key: &str) -> Result<Value, GivenUp> {
        if self.mode == Mode::LocalReads {
            return Ok(self.storage.get(key).map_or(Value::Null, |register| register.value));
        }
        let deadline = Instant::now() + PATIENCE;
        let held = self.query(key, deadline).await?;
        let agreed = held.windows(2).all(|pair| tag(&pair[0]) == tag(&pair[1]));
        let Some(newest) = held.into_iter().flatten().max_by(|a, b| a.tag.cmp(&b.tag)) else {
            return Ok(Value::Null);
        };
        // Without the write-back a later read could ask another majority and miss the value that this one returned.
        // When the whole majority holds it already, durably, every other majority meets it there.
        if !agreed {
            // A read that is given up has changed nothing, whatever became of its write-back.
            self.store(key, newest.clone(), deadline)
                .await
                .map_err(|error| GivenUp { definite: true, ..error })?;
        }
        Ok(newest.value)
    }

    /// Writes `value` under `key`.
    pub async fn write(&self, key: &str, value: Value) -> Result<(), GivenUp> {
        let deadline = Instant::now() + PATIENCE;
        if self.mode == Mode::AckEarly {
            // Like a leader that replicates asynchronously: it asks nobody and tells the others when it is too late.
            let register = Register { tag: self.tag_above([self.storage.get(key)].into_iter())?, value };
            return self.store_here_first(key, register, deadline).await;
        }
        let held = self.query(key, deadline).await?;
        let register = Register { tag: self.tag_above(held.into_iter())?, value };
        self.store(key, register, deadline).await
    }

    /// What the other nodes ask: answers in the order of the requests.
    pub async fn answer(&self, requests: Vec<Arc<Request>>) -> Vec<Answer> {
        // All stores are handed over before the first is waited for: they share one fsync.
        let mut answers = Vec::with_capacity(requests.len());
        let mut stores = Vec::new();
        for request in requests {
            match &*request {
                Request::Query { key } => answers.push(Answer::Holds { register: self.storage.get(key) }),
                Request::Store { key, register } => {
                    stores.push((answers.len(), self.storage.submit(key.clone(), register.clone()).await));
                    answers.push(Answer::Stored);
                }
            }
        }
        for (position, done) in stores {
            let reason = match done.await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the node is stopping".to_owned(),
            };
            answers[position] = Answer::Failed { reason };
        }
        answers
    }

    /// A tag above those of `held` that no other write has or will ever have.
    fn tag_above(&self, held: impl Iterator<Item = Option<Register>>) -> Result<Tag, GivenUp> {
        let highest = held.flatten().map(|register| register.tag.counter).max().unwrap_or(0);
        let counter = highest.checked_add(1).ok_or_else(|| GivenUp {
            reason: "the register has been written too often".to_owned(),
            definite: true,
        })?;
        Ok(Tag {
            counter,
            node: self.name.clone(),
            incarnation: self.storage.incarnation(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// What a majority holds under `key`, this node first.
    async fn query(&self, key: &str, deadline: Instant) -> Result<Vec<Option<Register>>, GivenUp> {
        let (reply, mut answers) = mpsc::channel(self.nodes());
        self.broadcast(Request::Query { key: key.to_owned() }, reply, deadline);
        let mut held = vec![self.storage.get(key)];
        while held.len() < self.majority() {
            match timeout_at(deadline, answers.recv()).await {
                Ok(Some(Answer::Holds { register })) => held.push(register),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    return Err(self.no_majority("answered", held.len(), true));
                }
            }
        }
        Ok(held)
    }

    /// Stores at a majority.
    async fn store(&self, key: &str, register: Register, deadline: Instant) -> Result<(), GivenUp> {
        let (reply, mut answers) = mpsc::channel(self.nodes());
        let here = self.storage.submit(key.to_owned(), register.clone());
        let here_reply = reply.clone();
        self.broadcast(Request::Store { key: key.to_owned(), register }, reply, deadline);
        // This node's own store counts like any other: a slow disk here must not hold up a majority elsewhere.
        let here = async move {
            if let Ok(Ok(Ok(()))) = timeout_at(deadline, async { here.await.await }).await {
                let _ = here_reply.try_send(Answer::Stored);
            }
            drop(here_reply);
            std::future::pending::<()>().await;
        };
        let mut stored = 0;
        let count = async {
            while stored < self.majority() {
                match timeout_at(deadline, answers.recv()).await {
                    Ok(Some(Answer::Stored)) => stored += 1,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return false,
                }
            }
            true
        };
        let enough = tokio::select! {
            enough = count => enough,
            () = here => false,
        };
        // Wherever it has been stored, a later read may find it and complete the write.
        if enough { Ok(()) } else { Err(self.no_majority("stored it", stored, false)) }
    }

    /// Stores at this node only, and lets the others know without waiting.
    async fn store_here_first(
        &self,
        key: &str,
        register: Register,
        deadline: Instant,
    ) -> Result<(), GivenUp> {
        let done = self.storage.submit(key.to_owned(), register.clone()).await;
        match timeout_at(deadline, done).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(GivenUp { reason: error.to_string(), definite: false }),
            Ok(Err(_)) | Err(_) => return Err(self.no_majority("stored it", 0, false)),
        }
        let (reply, _nobody) = mpsc::channel(self.nodes());
        self.broadcast(Request::Store { key: key.to_owned(), register }, reply, deadline);
        Ok(())
    }

    fn broadcast(&self, request: Request, reply: mpsc::Sender<Answer>, deadline: Instant) {
        let request = Arc::new(request);
        for link in &self.links {
            link.send(Pending { request: Arc::clone(&request), reply: reply.clone(), expires: deadline });
        }
    }

    fn nodes(&self) -> usize {
        self.links.len() + 1
    }

    fn majority(&self) -> usize {
        self.nodes() / 2 + 1
    }

    fn no_majority(&self, what: &str, count: usize, definite: bool) -> GivenUp {
        let (nodes, needed) = (self.nodes(), self.majority());
        GivenUp { reason: format!("{count} of {nodes} nodes {what}, {needed} are needed"), definite }
    }
}

fn tag(held: &Option<Register>) -> Option<&Tag> {
    held.as_ref().map(|register| &register.tag)
}

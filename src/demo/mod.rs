//! The demo system: a small replicated register with a correct mode and several wrong ones.
//!
//! It is a system under test like any other, except that it is inside this binary, so that a first run needs nothing
//! installed. It must not know anything about the rest of Schism: a run reaches it over HTTP, like every other system.
//!
//! The algorithm is the multi-writer quorum register of Attiya, Bar-Noy and Dolev ("Sharing memory robustly in
//! message-passing systems", JACM 1995) in the form of Lynch and Shvartsman ("Robust emulation of shared memory using
//! dynamic quorum-acknowledged broadcasts", FTCS 1997). It is linearizable without consensus:
//!
//! - a write asks a majority for the highest tag, then stores its value under a higher one at a majority;
//! - a read asks a majority, takes the value with the highest tag and stores it back at a majority before it answers.
//!
//! Two things are easy to get wrong. A tag must never name two values, not even across a crash in the middle of a write:
//! see `tag.rs`. And a node must not tell others of a value that a crash could still take away from it: see `storage.rs`.
//!
//! The client's interface: `GET /register/KEY` answers `{"value":…}` (null when never written), `PUT /register/KEY` with
//! `{"value":…}` answers `{}`, `GET /health` answers `{"health":true,"node":…,"mode":…}`. Errors are
//! `{"error":…,"definite":…}`; `definite` is true only when the operation certainly did not and will not take effect.

mod link;
mod quorum;
mod server;
mod storage;
mod tag;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::TcpListener;

use quorum::Replica;
use storage::Storage;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Linearizable.
    Correct,
    /// Wrong: a read answers from the node's own copy and asks nobody.
    LocalReads,
    /// Wrong: a write is acknowledged once the node itself has it; the others hear of it in the background.
    AckEarly,
    /// Wrong: nothing is kept on disk.
    ForgetsOnRestart,
}

impl Mode {
    /// The name on the command line and in `/health`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Correct => "correct",
            Mode::LocalReads => "local-reads",
            Mode::AckEarly => "ack-early",
            Mode::ForgetsOnRestart => "forgets-on-restart",
        }
    }
}

/// Another node of the cluster: `n2=10.0.0.2:7000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Host (name or address) and port.
    pub address: String,
}

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, address)) if !name.is_empty() && has_port(address) => {
                Ok(Self { name: name.to_owned(), address: address.to_owned() })
            }
            _ => Err("expected NAME=HOST:PORT, for example n2=10.0.0.2:7000".to_owned()),
        }
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// The command line of one node.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// This node's name
    #[arg(long)]
    pub name: String,
    /// Where to listen, for clients and for other nodes
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Another node; give it once for each of them
    #[arg(long = "peer", value_name = "NAME=HOST:PORT")]
    pub peers: Vec<Peer>,
    /// Where this node keeps its data; made when absent
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Correct, or wrong in one particular way
    #[arg(long, value_enum, default_value_t = Mode::Correct)]
    pub mode: Mode,
}

impl Args {
    fn check(&self) -> Result<(), DemoError> {
        let mut names = vec![self.name.as_str()];
        names.extend(self.peers.iter().map(|peer| peer.name.as_str()));
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(DemoError::DuplicateName(pair[0].to_owned())),
            None => Ok(()),
        }
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("two nodes are called `{0}`; --name and every --peer need names of their own")]
    DuplicateName(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Storage(#[from] storage::StorageError),
    #[error("cannot start the node's threads: {0}")]
    Runtime(std::io::Error),
}

/// Runs one node until it is told to stop (`SIGTERM`, `SIGINT`) or killed.
pub fn main(args: Args) -> ExitCode {
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo node {}: {error}", args.name);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), DemoError> {
    use tokio::signal::unix::{SignalKind, signal};
    args.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(DemoError::Runtime)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen)
            .await
            .map_err(|source| DemoError::Listen { address: args.listen, source })?;
        let replica = replica(args)?;
        eprintln!("demo node {} ({}) listens on {}", args.name, args.mode.name(), args.listen);
        let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Runtime)?;
        tokio::select! {
            () = server::serve(listener, replica) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// The node's state, recovered from disk, with its links to the other nodes. Needs a runtime.
fn replica(args: &Args) -> Result<Arc<Replica>, DemoError> {
    let directory = (args.mode != Mode::ForgetsOnRestart).then_some(args.data.as_path());
    let storage = Storage::open(directory, &args.name)?;
    if storage.torn_bytes() > 0 {
        eprintln!("demo node {}: dropped {} bytes of an unfinished write", args.name, storage.torn_bytes());
    }
    Ok(Arc::new(Replica::new(args.name.clone(), args.mode, storage, &args.peers)))
}

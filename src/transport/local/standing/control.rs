//! What commands ask of the supervisor: one question a connection, one answer, with descriptors alongside.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use serde::{Deserialize, Serialize};

use super::super::control::Channel;
use super::directory::{Directory, SOCKET};

/// What a command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Question {
    /// Connect to a port of a node. The connection comes with the answer.
    Connect { node: String, port: u16 },
    /// Kill everything on a node, boot it again, and answer when its `sshd` does.
    Reboot { node: String },
    /// Take the cluster down. The supervisor ends after the answer.
    Down,
}

/// What the supervisor answers; a reason is for a person to read.
pub(super) type Answer = Result<(), String>;

/// A name for the socket that fits into an address however deep the directory lies.
struct Address {
    name: PathBuf,
    /// What the name goes through.
    _directory: std::fs::File,
}

impl Address {
    fn of(directory: &Directory) -> io::Result<Self> {
        let opened = std::fs::File::open(directory.path())?;
        let name = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(SOCKET);
        Ok(Self { name, _directory: opened })
    }
}

fn unconnected() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

/// Where the supervisor hears questions.
pub(super) struct Listener(UnixListener);

impl Listener {
    /// Listens in a directory.
    pub(super) fn bind(directory: &Directory) -> io::Result<Self> {
        let address = Address::of(directory)?;
        let listener = unconnected()?;
        bind(listener.as_raw_fd(), &UnixAddr::new(&address.name)?)?;
        listen(&listener, Backlog::MAXCONN)?;
        Ok(Self(UnixListener::from(listener)))
    }

    /// The next command that asks.
    pub(super) fn accept(&self) -> io::Result<Channel> {
        // The standard library does not ask what kind of socket it is, and takes care of interruptions.
        let (stream, _) = self.0.accept()?;
        Ok(Channel::from(OwnedFd::from(stream)))
    }
}

/// A connection to the supervisor of a directory.
pub(super) fn reach(directory: &Directory) -> io::Result<Channel> {
    let address = Address::of(directory)?;
    let stream = unconnected()?;
    connect(stream.as_raw_fd(), &UnixAddr::new(&address.name)?)?;
    Ok(Channel::from(stream))
}

/// Asks the supervisor of a directory. The reason of a refusal says what to do.
pub(super) fn ask(directory: &Directory, question: &Question) -> Result<Vec<OwnedFd>, String> {
    let path = directory.path().display();
    let channel = reach(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!(
                "no local nodes are up in {path}: bring some up with `schism nodes up --ssh 5`, or name their directory with --dir"
            )
        }
        _ => format!("the supervisor of {path} cannot be reached: {error}"),
    })?;
    let lost = |error: io::Error| format!("the supervisor of {path} does not answer: {error}");
    channel.send(question, &[]).map_err(lost)?;
    match channel.receive::<Answer>().map_err(lost)? {
        Some((answer, fds)) => answer.map(|()| fds),
        None => Err(format!("the supervisor of {path} ended before it answered")),
    }
}

/// Answers a question.
pub(super) fn answer(channel: &Channel, result: Result<Vec<OwnedFd>, String>) -> io::Result<()> {
    let (answer, fds): (Answer, _) = match result {
        Ok(fds) => (Ok(()), fds),
        Err(reason) => (Err(reason), Vec::new()),
    };
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    channel.send(&answer, &fds)
}

//! What the controller and the cluster's init say to each other.
//!
//! The channel is a pair of `SOCK_SEQPACKET` sockets: one JSON message a packet, with file descriptors alongside. The end of
//! the file on either side means that the other side is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, sendmsg, shutdown,
    socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sys;

/// The longest message either side sends.
const MESSAGE_LEN_MAX: usize = 64 << 10;
/// The kernel passes at most 253 descriptors with one message.
pub(super) const FDS_MAX: usize = 64;

/// A question; the answer carries the same `id`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// Chosen by the controller, never used twice.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    /// The question's.
    pub id: u64,
    /// The answer.
    pub result: Result<(), Refusal>,
}

/// What the controller asks of the cluster's init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// First of all: bring up this many nodes. `controller` is the process whose end is the cluster's end.
    Begin { nodes: usize, expose: Vec<PathBuf>, controller: i32 },
    /// Run a program on a node. Comes with three descriptors: its stdin, stdout and stderr.
    Spawn { node: usize, program: Program },
    /// Make this many TCP sockets (at most [`FDS_MAX`]) in the cluster's network. They come with the answer.
    Sockets { count: usize },
    /// Kill everything on a node as if its power had failed, and boot it again. Its disk keeps what it had.
    PowerCycle { node: usize },
}

/// A program to run on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Program {
    /// The executable that the cluster's init itself runs, with these arguments. It need not be visible on the node.
    Own { arguments: Vec<String> },
    /// A program of the node, looked up in its `PATH`, and its arguments.
    OfNode { argv: Vec<String> },
}

/// Why the cluster's init could not do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// What it was doing, in the infinitive.
    pub step: String,
    /// The kernel's error number, where there is one.
    pub errno: Option<i32>,
    /// What happened.
    pub what: String,
}

impl Refusal {
    /// A refusal that is not the kernel's.
    pub(super) fn new(step: impl Into<String>, what: impl Into<String>) -> Self {
        Self { step: step.into(), errno: None, what: what.into() }
    }
}

/// Says what was being done when an error happened.
pub(super) trait During<T> {
    /// Turns the error into a refusal of `step`.
    fn during(self, step: impl Into<String>) -> Result<T, Refusal>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: impl Into<String>) -> Result<T, Refusal> {
        self.map_err(|error| {
            let error = error.into();
            Refusal { step: step.into(), errno: error.raw_os_error(), what: error.to_string() }
        })
    }
}

/// One end of the channel.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Channel {
    /// Both ends of a new channel, closed by `exec`.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends one message with descriptors.
    pub(super) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MESSAGE_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
        }
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
        loop {
            match sendmsg::<()>(
                self.as_raw_fd(),
                &[IoSlice::new(&bytes)],
                control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Err(Errno::EINTR) => {}
                result => return Ok(result.map(drop)?),
            }
        }
    }

    /// Receives one message with its descriptors; `None` when the other end is gone.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut bytes = vec![0_u8; MESSAGE_LEN_MAX];
        let mut space = nix::cmsg_space!([RawFd; FDS_MAX]);
        let (length, fds) = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg::<()>(self.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(Errno::EINTR) => {}
                // The other end died with something of ours unread.
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
                Ok(received) => {
                    let fds: Vec<OwnedFd> = received.cmsgs()?.flat_map(sys::adopt).collect();
                    break (received.bytes, fds);
                }
            }
        };
        if length == 0 {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&bytes[..length])?, fds)))
    }

    /// Tells the other end that this one is gone.
    pub(super) fn hang_up(&self) {
        // It fails where the other end went first: that is what was wanted.
        let _ = shutdown(self.as_raw_fd(), Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let request = Request::Spawn { node: 3, program: Program::OfNode { argv: vec!["true".into()] } };
        one.send(&Asked { id: 7, request: request.clone() }, &[writer.as_fd()]).unwrap();
        one.send(&Asked { id: 8, request: Request::Sockets { count: 1 } }, &[]).unwrap();
        drop(writer);
        let (asked, mut fds) = other.receive::<Asked>().unwrap().unwrap();
        assert_eq!((asked.id, asked.request), (7, request));
        assert_eq!(fds.len(), 1);
        nix::unistd::write(fds.remove(0), b"x").unwrap();
        let mut got = [0; 2];
        assert_eq!(nix::unistd::read(&reader, &mut got).unwrap(), 1);
        let (asked, fds) = other.receive::<Asked>().unwrap().unwrap();
        assert_eq!((asked.id, fds.len()), (8, 0));
    }

    #[test]
    fn the_end_of_either_side_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&1, &[]).unwrap();
        drop(other);
        assert!(one.receive::<u8>().unwrap().is_none());
        let (one, other) = Channel::pair().unwrap();
        one.hang_up();
        assert!(other.receive::<u8>().unwrap().is_none());
    }
}

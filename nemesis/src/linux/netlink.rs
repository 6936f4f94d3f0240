//! A minimal netlink client: enough for nftables and for links and addresses, with no tool installed on the node.
//!
//! Why not the `nft` and `ip` programs: a node may have neither, and a fault must not depend on what is installed.
//! A message is built with [`Message`], sent with [`Socket::request`] (one message, acknowledged),
//! [`Socket::transaction`] (an nftables batch, all or nothing) or [`Socket::dump`].

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Netlink protocol for links, addresses and routes.
pub const ROUTE: i32 = libc::NETLINK_ROUTE;
/// Netlink protocol for netfilter.
pub const NETFILTER: i32 = libc::NETLINK_NETFILTER;

const HEADER_LEN: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// How often a dump is asked for again when somebody changed things meanwhile.
const DUMPS_MAX: usize = 20;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Flag: create what does not exist.
pub const CREATE: u16 = 0x400;
/// Flag: fail when it exists.
pub const EXCL: u16 = 0x200;
/// Flag: append.
pub const APPEND: u16 = 0x800;
/// Flag of a deletion: fail when the object still holds others, instead of deleting them too.
pub const NOT_RECURSIVE: u16 = 0x100;

/// One netlink message under construction: type, flags, family header and attributes.
#[derive(Clone, Debug)]
pub struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A message of `kind` with extra `flags`, starting with the family's fixed `header` (e.g. `nfgenmsg`).
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut message = Self { kind, flags, body: header.to_vec() };
        message.pad();
        message
    }

    fn pad(&mut self) {
        while !self.body.len().is_multiple_of(4) {
            self.body.push(0);
        }
    }

    /// Adds an attribute with raw bytes.
    #[must_use]
    pub fn bytes(mut self, attribute: u16, value: &[u8]) -> Self {
        let length = (4 + value.len()) as u16;
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&attribute.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a NUL-terminated string.
    #[must_use]
    pub fn string(self, attribute: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(attribute, &bytes)
    }

    /// Adds a 32-bit number in network order, as nftables wants it.
    #[must_use]
    pub fn be32(self, attribute: u16, value: u32) -> Self {
        self.bytes(attribute, &value.to_be_bytes())
    }

    /// Adds a 64-bit number in network order.
    #[must_use]
    pub fn be64(self, attribute: u16, value: u64) -> Self {
        self.bytes(attribute, &value.to_be_bytes())
    }

    /// Adds a 32-bit number in host order, as links and addresses want it.
    #[must_use]
    pub fn ne32(self, attribute: u16, value: u32) -> Self {
        self.bytes(attribute, &value.to_ne_bytes())
    }

    /// Adds a nested attribute, filled by `fill`.
    #[must_use]
    pub fn nested(mut self, attribute: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.body.len();
        self.body.extend_from_slice(&[0; 4]);
        let mut filled = fill(self);
        let length = (filled.body.len() - start) as u16;
        filled.body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled.body[start + 2..start + 4].copy_from_slice(&(attribute | NLA_F_NESTED).to_ne_bytes());
        filled
    }

    /// Adds raw bytes that are not an attribute (a second fixed header inside a nested attribute, as veth wants).
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn encode(&self, sequence: u32, flags: u16, out: &mut Vec<u8>) {
        let length = (HEADER_LEN + self.body.len()) as u32;
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(self.flags | flags).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&0_u32.to_ne_bytes());
        out.extend_from_slice(&self.body);
    }
}

/// A message the kernel sent.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message type.
    pub kind: u16,
    /// Everything after the netlink header: the family's fixed header, then attributes.
    pub body: Vec<u8>,
}

/// The attributes in `bytes`: type (without flags) and payload, in order. Stops at the first malformed one.
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & NLA_TYPE_MASK;
        if length < 4 || length > bytes.len() {
            break;
        }
        found.push((kind, &bytes[4..length]));
        bytes = &bytes[((length + 3) & !3).min(bytes.len())..];
    }
    found
}

/// One message as it arrived.
struct Received {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: Vec<u8>,
}

/// A netlink socket in the calling thread's network namespace.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket for `protocol` ([`ROUTE`] or [`NETFILTER`]).
    ///
    /// # Errors
    /// The kernel has no such protocol, or the process may not use it.
    pub fn open(protocol: i32) -> io::Result<Self> {
        // SAFETY: plain system call; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and is owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // An acknowledgement that never comes must not hang the agent.
        let patience = libc::timeval { tv_sec: 5, tv_usec: 0 };
        // SAFETY: the option value is a live timeval of the length given.
        let set = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const patience).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            )
        };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { fd, sequence: 1 })
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is live for the length given.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives one datagram and splits it into messages.
    fn receive(&self) -> io::Result<Vec<Received>> {
        let mut buffer = vec![0_u8; 1 << 18];
        let length = loop {
            // SAFETY: the buffer is live and writable for the length given.
            let got = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if got >= 0 {
                break got as usize;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        };
        let mut rest = &buffer[..length];
        let mut messages = Vec::new();
        while rest.len() >= HEADER_LEN {
            let total = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if total < HEADER_LEN || total > rest.len() {
                break;
            }
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            let flags = u16::from_ne_bytes([rest[6], rest[7]]);
            let sequence = u32::from_ne_bytes([rest[8], rest[9], rest[10], rest[11]]);
            messages.push(Received { kind, flags, sequence, body: rest[HEADER_LEN..total].to_vec() });
            rest = &rest[((total + 3) & !3).min(rest.len())..];
        }
        Ok(messages)
    }

    /// The error an `NLMSG_ERROR` body carries; 0 is an acknowledgement.
    fn errno(body: &[u8]) -> i32 {
        body.get(..4).map_or(libc::EPROTO, |code| -i32::from_ne_bytes([code[0], code[1], code[2], code[3]]))
    }

    /// Sends one message and waits for its acknowledgement.
    ///
    /// # Errors
    /// The kernel's answer, as an OS error.
    pub fn request(&mut self, message: &Message) -> io::Result<()> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        message.encode(self.sequence, NLM_F_REQUEST | NLM_F_ACK, &mut bytes);
        self.send(&bytes)?;
        loop {
            for Received { kind, sequence, body, .. } in self.receive()? {
                if kind == NLMSG_ERROR && sequence == self.sequence {
                    return match Self::errno(&body) {
                        0 => Ok(()),
                        code => Err(io::Error::from_raw_os_error(code)),
                    };
                }
            }
        }
    }

    /// Sends nftables messages as one transaction: all happen or none does.
    ///
    /// # Errors
    /// The first error the kernel gives, with the position of the message it concerns.
    pub fn transaction(&mut self, messages: &[Message]) -> Result<(), TransactionError> {
        self.batch(messages, true)
    }

    /// Has the kernel look at a transaction, and change nothing: a batch without an end is judged and thrown away.
    ///
    /// # Errors
    /// As [`Socket::transaction`].
    pub fn rehearse(&mut self, messages: &[Message]) -> Result<(), TransactionError> {
        self.batch(messages, false)
    }

    fn batch(&mut self, messages: &[Message], commit: bool) -> Result<(), TransactionError> {
        const BATCH_BEGIN: u16 = 16;
        const BATCH_END: u16 = 17;
        const SUBSYSTEM_NFTABLES: u16 = 10;
        let mut header = vec![0, 0];
        header.extend_from_slice(&SUBSYSTEM_NFTABLES.to_be_bytes());
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        Message::new(BATCH_BEGIN, 0, &header).encode(first, NLM_F_REQUEST, &mut bytes);
        for (position, message) in messages.iter().enumerate() {
            message.encode(first + 1 + position as u32, NLM_F_REQUEST | NLM_F_ACK, &mut bytes);
        }
        self.sequence = first + 1 + messages.len() as u32;
        if commit {
            Message::new(BATCH_END, 0, &header).encode(self.sequence, NLM_F_REQUEST, &mut bytes);
        }
        self.send(&bytes).map_err(|source| TransactionError { position: 0, source })?;
        let mut acknowledged = 0;
        let mut failure: Option<TransactionError> = None;
        // The kernel answers every message of the batch, also of a failed one.
        while acknowledged < messages.len() {
            let replies = match self.receive() {
                Ok(replies) => replies,
                Err(source) => {
                    return Err(failure.unwrap_or(TransactionError { position: acknowledged, source }));
                }
            };
            for Received { kind, sequence, body, .. } in replies {
                if kind != NLMSG_ERROR || sequence < first {
                    continue;
                }
                let code = Self::errno(&body);
                if sequence == first || sequence == self.sequence {
                    // The batch itself was refused (no permission, no nftables): nothing else will come.
                    if code != 0 {
                        return Err(TransactionError {
                            position: 0,
                            source: io::Error::from_raw_os_error(code),
                        });
                    }
                    continue;
                }
                acknowledged += 1;
                if code != 0 && failure.is_none() {
                    let position = (sequence - first - 1) as usize;
                    failure = Some(TransactionError { position, source: io::Error::from_raw_os_error(code) });
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends a dump request and collects every reply. Asks again when the kernel says that the answer mixes before and
    /// after of somebody's change.
    ///
    /// # Errors
    /// The kernel's answer, as an OS error (`NotFound` where the object does not exist).
    pub fn dump(&mut self, message: &Message) -> io::Result<Vec<Reply>> {
        for _ in 0..DUMPS_MAX {
            if let Some(replies) = self.dump_once(message)? {
                return Ok(replies);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }

    /// `None` when the kernel was changed in the middle of it.
    fn dump_once(&mut self, message: &Message) -> io::Result<Option<Vec<Reply>>> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        message.encode(self.sequence, NLM_F_REQUEST | NLM_F_DUMP, &mut bytes);
        self.send(&bytes)?;
        let mut replies = Vec::new();
        let mut consistent = true;
        loop {
            for Received { kind, flags, sequence, body } in self.receive()? {
                if sequence != self.sequence {
                    continue;
                }
                consistent &= flags & NLM_F_DUMP_INTR == 0;
                let error = match kind {
                    // A dump's end carries the error that cut it short, if one did.
                    NLMSG_DONE | NLMSG_ERROR => Self::errno(&body),
                    _ => {
                        replies.push(Reply { kind, body });
                        continue;
                    }
                };
                return match error {
                    0 => Ok(consistent.then_some(replies)),
                    libc::EINTR | libc::EAGAIN => Ok(None),
                    code => Err(io::Error::from_raw_os_error(code)),
                };
            }
        }
    }
}

/// A refused transaction.
#[derive(Debug, thiserror::Error)]
#[error("message {position} of the transaction: {source}")]
pub struct TransactionError {
    /// Position of the refused message.
    pub position: usize,
    /// The kernel's error.
    pub source: io::Error,
}

//! Whose queueing discipline an interface's packets leave through.
//!
//! An interface has one root discipline, so a fault that needs one has to put its own there. What the kernel put there by
//! itself has the handle 0, and comes back by itself. Anything else is somebody's work, and is not ours to replace.

use std::io;

use nix::net::if_::if_nametoindex;

use super::netlink::{Message, ROUTE, Socket, attributes};

/// The handle of ours, by which another process knows it.
pub const HANDLE: u32 = 0x5c15_0000;
const GET_QDISC: u16 = 38;
const ROOT: u32 = u32::MAX;
const KIND: u16 = 1;
/// Family, interface, handle, parent and a field that does not matter here, in the kernel's `struct tcmsg`.
const HEADER_LEN: usize = 20;

/// The root discipline of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootQdisc {
    /// The interface's index.
    pub interface: u32,
    /// Its handle: major number in the upper half; 0 for the kernel's own.
    pub handle: u32,
    /// `fq_codel`, `noqueue`, `netem`, …
    pub kind: String,
}

/// The root disciplines of all interfaces in the calling thread's network namespace.
///
/// # Errors
/// What the kernel answered.
pub fn roots() -> io::Result<Vec<RootQdisc>> {
    let replies = Socket::open(ROUTE)?.dump(&Message::new(GET_QDISC, 0, &[0; HEADER_LEN]))?;
    let number = |body: &[u8], at: usize| {
        body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
    };
    let mut roots = Vec::new();
    for reply in &replies {
        if number(&reply.body, 12) != ROOT {
            continue;
        }
        let fields = attributes(reply.body.get(HEADER_LEN..).unwrap_or_default());
        let kind = fields.iter().find(|(field, _)| *field == KIND).map_or(&[][..], |(_, name)| name);
        roots.push(RootQdisc {
            interface: number(&reply.body, 4),
            handle: number(&reply.body, 8),
            kind: String::from_utf8_lossy(kind.strip_suffix(&[0]).unwrap_or(kind)).into_owned(),
        });
    }
    Ok(roots)
}

/// Whether we may put a root discipline on this interface: it has the kernel's own, or ours.
///
/// # Errors
/// It has somebody else's, or the kernel does not say: a sentence.
pub fn check_root(interface: &str) -> Result<(), String> {
    let unknown =
        |error: io::Error| format!("the queueing discipline of {interface} cannot be read: {error}");
    let index = if_nametoindex(interface).map_err(|error| unknown(error.into()))?;
    let roots = roots().map_err(unknown)?;
    match roots.into_iter().find(|root| root.interface == index) {
        Some(RootQdisc { handle, kind, .. }) if handle != 0 && handle != HANDLE => Err(format!(
            "{interface} has a queueing discipline that is not ours ({kind} {:x}:), and replacing it would lose it. Remove \
             it with `tc qdisc del dev {interface} root` if it is not needed",
            handle >> 16
        )),
        _ => Ok(()),
    }
}

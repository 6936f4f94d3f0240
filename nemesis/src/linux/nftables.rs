//! The part of nftables that faults need, as typed netlink messages: tables, base chains, sets with timeouts and
//! counters, rules, and dumps of them.
//!
//! Everything lives in the `inet` family, which sees IPv4 and IPv6. Numbers are those of the kernel's
//! `include/uapi/linux/netfilter/nf_tables.h`. Objects are named by whoever uses this; nothing here knows a fault.

mod steps;

use std::io;
use std::time::Duration;

use super::netlink::{APPEND, CREATE, Message, NOT_RECURSIVE, Socket, attributes};

pub use steps::Step;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const GET_SET: u16 = SUBSYSTEM | 10;
const DELETE_SET: u16 = SUBSYSTEM | 11;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const GET_ELEMENT: u16 = SUBSYSTEM | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

const FAMILY_INET: u8 = 1;
const HOOK_INPUT: u32 = 1;
const POLICY_ACCEPT: u32 = 1;
const SET_HAS_TIMEOUTS: u32 = 0x10;
const LIST_ITEM: u16 = 1;
/// `nft` keeps a rule's comment in its user data as type 0, length, text and a NUL.
const COMMENT_TYPE: u8 = 0;
/// Longest comment `nft` accepts.
const COMMENT_LEN_MAX: usize = 128;

/// The header every message of the subsystem starts with: family, version 0, resource 0.
const HEADER: [u8; 4] = [FAMILY_INET, 0, 0, 0];

/// What a set's elements are, with the kernel's length and the type number that `nft` prints them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
}

impl Key {
    fn length(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }

    fn type_number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
        }
    }

    /// Where the source address is in the network header.
    fn source_offset(self) -> u32 {
        match self {
            Self::Ipv4 => 12,
            Self::Ipv6 => 8,
        }
    }

    fn protocol(self) -> u8 {
        match self {
            Self::Ipv4 => libc::NFPROTO_IPV4 as u8,
            Self::Ipv6 => libc::NFPROTO_IPV6 as u8,
        }
    }
}

/// What a set keeps with its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// The kernel removes each element when its time is over.
    Expiring,
    /// Each element counts the packets that matched it. Needs Linux 5.7.
    Counting,
}

/// Where in its chain a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// Makes the table; fine when it exists.
pub fn new_table(table: &str) -> Message {
    Message::new(NEW_TABLE, CREATE, &HEADER).string(1, table).be32(2, 0)
}

/// Deletes the table if nothing is in it, else fails with `EBUSY`.
pub fn delete_empty_table(table: &str) -> Message {
    Message::new(DELETE_TABLE, NOT_RECURSIVE, &HEADER).string(1, table)
}

/// Makes a chain that sees every packet for this host and accepts what its rules do not drop; fine when it exists.
pub fn new_input_chain(table: &str, chain: &str, priority: i32) -> Message {
    Message::new(NEW_CHAIN, CREATE, &HEADER)
        .string(1, table)
        .string(3, chain)
        .nested(4, |hook| hook.be32(1, HOOK_INPUT).be32(2, priority.cast_unsigned()))
        .be32(5, POLICY_ACCEPT)
        .string(7, "filter")
}

/// Deletes the chain if it has no rules, else fails with `EBUSY`.
pub fn delete_empty_chain(table: &str, chain: &str) -> Message {
    Message::new(DELETE_CHAIN, NOT_RECURSIVE, &HEADER).string(1, table).string(3, chain)
}

/// Makes a set. `id` tells the sets of one transaction apart.
pub fn new_set(table: &str, set: &str, id: u32, key: Key, kind: SetKind) -> Message {
    let flags = match kind {
        SetKind::Expiring => SET_HAS_TIMEOUTS,
        SetKind::Counting => 0,
    };
    let message = Message::new(NEW_SET, CREATE, &HEADER)
        .string(1, table)
        .string(2, set)
        .be32(3, flags)
        .be32(4, key.type_number())
        .be32(5, key.length())
        .be32(10, id);
    match kind {
        SetKind::Expiring => message,
        SetKind::Counting => message.nested(17, |expression| expression.string(1, "counter")),
    }
}

/// Deletes the table with everything in it.
pub fn delete_table(table: &str) -> Message {
    Message::new(DELETE_TABLE, 0, &HEADER).string(1, table)
}

/// Deletes a set that no rule uses any more.
pub fn delete_set(table: &str, set: &str) -> Message {
    Message::new(DELETE_SET, 0, &HEADER).string(1, table).string(2, set)
}

/// Adds elements (addresses in network order), each for `timeout` in an expiring set.
pub fn add_elements(table: &str, set: &str, keys: &[Vec<u8>], timeout: Option<Duration>) -> Message {
    let message = Message::new(NEW_ELEMENT, CREATE, &HEADER).string(1, table).string(2, set);
    message.nested(3, |mut list| {
        for key in keys {
            list = list.nested(LIST_ITEM, |element| {
                let element = element.nested(1, |value| value.bytes(1, key));
                match timeout {
                    Some(timeout) => {
                        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                        // 0 would mean for ever.
                        element.be64(4, millis.max(1))
                    }
                    None => element,
                }
            });
        }
        list
    })
}

/// Removes every element of a set.
pub fn clear_set(table: &str, set: &str) -> Message {
    Message::new(DELETE_ELEMENT, 0, &HEADER).string(1, table).string(2, set)
}

/// Makes a rule. The comment is what `nft list ruleset` shows; a longer one than `nft` takes is cut.
pub fn new_rule(table: &str, chain: &str, place: Place, steps: &[Step], comment: &str) -> Message {
    let flags = match place {
        Place::First => CREATE,
        Place::Last => CREATE | APPEND,
    };
    Message::new(NEW_RULE, flags, &HEADER)
        .string(1, table)
        .string(2, chain)
        .nested(4, |mut list| {
            for expression in steps.iter().flat_map(steps::expressions) {
                list = list.nested(LIST_ITEM, expression);
            }
            list
        })
        .bytes(7, &user_data(comment))
}

/// Deletes the rule with this handle.
pub fn delete_rule(table: &str, chain: &str, handle: u64) -> Message {
    Message::new(DELETE_RULE, 0, &HEADER).string(1, table).string(2, chain).be64(3, handle)
}

fn user_data(comment: &str) -> Vec<u8> {
    let mut text = comment;
    while text.len() >= COMMENT_LEN_MAX {
        text = &text[..text.floor_char_boundary(text.len() - 1)];
    }
    let mut data = vec![COMMENT_TYPE, text.len() as u8 + 1];
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    data
}

fn comment(user_data: &[u8]) -> Option<String> {
    let [COMMENT_TYPE, length, text @ ..] = user_data else { return None };
    let text = text.get(..usize::from(*length).checked_sub(1)?)?;
    String::from_utf8(text.to_vec()).ok()
}

/// A rule in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its chain's name.
    pub chain: String,
    /// What it is deleted by.
    pub handle: u64,
    /// Its comment, if it has one.
    pub comment: Option<String>,
}

/// An element in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The address, in network order.
    pub key: Vec<u8>,
    /// How many packets matched, in a counting set.
    pub packets: Option<u64>,
}

/// Whether the table exists.
///
/// # Errors
/// What the kernel answered.
pub fn table_exists(socket: &mut Socket, table: &str) -> io::Result<bool> {
    let replies = socket.dump(&Message::new(GET_TABLE, 0, &HEADER))?;
    Ok(replies.iter().any(|reply| find_text(&body(&reply.body), 1).as_deref() == Some(table)))
}

/// The rules of the table; none when there is no such table.
///
/// # Errors
/// What the kernel answered.
pub fn rules(socket: &mut Socket, table: &str) -> io::Result<Vec<Rule>> {
    let replies = some_or_none(socket.dump(&Message::new(GET_RULE, 0, &HEADER).string(1, table)))?;
    let mut rules = Vec::new();
    for reply in &replies {
        let fields = body(&reply.body);
        // Kernels differ in whether they filter by table.
        if find_text(&fields, 1).as_deref() != Some(table) {
            continue;
        }
        if let (Some(chain), Some(handle)) = (find_text(&fields, 2), find(&fields, 3).and_then(be64)) {
            rules.push(Rule { chain, handle, comment: find(&fields, 7).and_then(comment) });
        }
    }
    Ok(rules)
}

/// The names of the table's sets; none when there is no such table.
///
/// # Errors
/// What the kernel answered.
pub fn sets(socket: &mut Socket, table: &str) -> io::Result<Vec<String>> {
    let replies = some_or_none(socket.dump(&Message::new(GET_SET, 0, &HEADER).string(1, table)))?;
    Ok(replies.iter().filter_map(|reply| find_text(&body(&reply.body), 2)).collect())
}

/// The elements of a set that have not expired; none when there is no such set.
///
/// # Errors
/// What the kernel answered.
pub fn elements(socket: &mut Socket, table: &str, set: &str) -> io::Result<Vec<Element>> {
    let request = Message::new(GET_ELEMENT, 0, &HEADER).string(1, table).string(2, set);
    let replies = some_or_none(socket.dump(&request))?;
    let mut elements = Vec::new();
    for reply in &replies {
        let fields = body(&reply.body);
        for (_, item) in find(&fields, 3).map(attributes).unwrap_or_default() {
            let item = attributes(item);
            if let Some(key) =
                find(&item, 1).map(attributes).and_then(|value| find(&value, 1).map(<[u8]>::to_vec))
            {
                let packets = find(&item, 7).and_then(|expression| packets(&attributes(expression)));
                elements.push(Element { key, packets });
            }
        }
    }
    Ok(elements)
}

/// The packets of a counter expression.
fn packets(expression: &[(u16, &[u8])]) -> Option<u64> {
    if find_text(expression, 1)? != "counter" {
        return None;
    }
    be64(find(&attributes(find(expression, 2)?), 2)?)
}

/// What does not exist has nothing in it.
fn some_or_none<T>(replies: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    match replies {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn body(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    attributes(bytes.get(HEADER.len()..).unwrap_or_default())
}

fn find<'a>(fields: &[(u16, &'a [u8])], kind: u16) -> Option<&'a [u8]> {
    fields.iter().find(|(field, _)| *field == kind).map(|(_, value)| *value)
}

fn find_text(fields: &[(u16, &[u8])], kind: u16) -> Option<String> {
    let bytes = find(fields, kind)?;
    let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    String::from_utf8(text.to_vec()).ok()
}

fn be64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_survive_and_long_ones_are_cut() {
        for (text, kept) in
            [("schism partition-1", 18), ("", 0), (&"x".repeat(500), 127), (&"ä".repeat(100), 126)]
        {
            let back = comment(&user_data(text)).unwrap();
            assert_eq!(back.len(), kept);
            assert!(text.starts_with(&back));
        }
    }

    #[test]
    fn foreign_user_data_is_no_comment() {
        for data in [&[][..], &[0], &[1, 2, b'x', 0], &[0, 0], &[0, 9, b'x', 0], &[0, 2, 0xff, 0]] {
            assert_eq!(comment(data), None, "{data:?}");
        }
    }
}

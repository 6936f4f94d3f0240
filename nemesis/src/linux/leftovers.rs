//! What faults left in the kernel of this node, whoever made them: found and removed by name, without a journal.

use std::io;

use super::TABLE;
use super::netlink::{NETFILTER, Socket};
use super::nftables;

/// What is left of any fault of this kind on this node, one line each.
///
/// # Errors
/// The kernel could not be asked.
pub fn residue() -> io::Result<Vec<String>> {
    let mut socket = Socket::open(NETFILTER)?;
    if !nftables::table_exists(&mut socket, TABLE)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for rule in nftables::rules(&mut socket, TABLE)? {
        let comment = rule.comment.unwrap_or_default();
        found.push(format!("nftables rule {} in table inet {TABLE} ({comment})", rule.handle));
    }
    for set in nftables::sets(&mut socket, TABLE)? {
        found.push(format!("nftables set {set} in table inet {TABLE}"));
    }
    if found.is_empty() {
        found.push(format!("nftables table inet {TABLE}"));
    }
    Ok(found)
}

/// Deletes our table with everything in it. Fine when there is none.
///
/// # Errors
/// What the kernel answered.
pub fn purge() -> io::Result<()> {
    let mut socket = Socket::open(NETFILTER)?;
    if !nftables::table_exists(&mut socket, TABLE)? {
        return Ok(());
    }
    match socket.transaction(&[nftables::delete_table(TABLE)]) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| error.source),
    }
}

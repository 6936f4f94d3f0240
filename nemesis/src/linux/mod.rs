//! How Linux makes each fault: one file a mechanism, and the kernel interfaces they stand on.
//!
//! Mechanisms block: the agent runs them on threads of their own. They act on the network namespace and the processes of
//! whoever calls them, and must not know the cluster, the plan or the controller.

mod commands;
mod drop_from;
mod features;
mod kernel;
mod kill;
mod leftovers;
pub mod netlink;
pub mod nftables;
mod pause;
mod poll;
mod process;
pub mod qdisc;

use std::io;

use crate::node::{Mechanism, NodeFault};

pub use commands::{Commands, commands};
pub use drop_from::TABLE;
pub use features::{Features, Found, features};

/// The mechanism of `fault`.
///
/// `id` is the fault's identity on this node: two faults with the same data and different ids live side by side, and the
/// same id with the same data finds in another process what this one left.
pub fn mechanism(id: &str, fault: &NodeFault) -> Box<dyn Mechanism> {
    match fault {
        NodeFault::DropFrom { peers, exempt_ports } => {
            Box::new(drop_from::DropFrom::new(id, peers, exempt_ports))
        }
        NodeFault::Kill { process } => Box::new(kill::Kill::new(process)),
        NodeFault::Pause { process } => Box::new(pause::Pause::new(process)),
    }
}

/// Everything of ours that the kernel of this node still holds, one line each; empty is clean. Killed and stopped
/// processes are not here: whoever supervises them knows.
///
/// # Errors
/// The kernel could not be asked. Without the right to change packet filters nothing can be left there, and nothing can be
/// asked either: that is clean too.
pub fn residue() -> io::Result<Vec<String>> {
    allowed(leftovers::residue())
}

/// Removes everything of ours from the kernel of this node, whoever made it and whatever a journal says. Only when nobody
/// uses this node.
///
/// # Errors
/// The kernel refused. Without the right to change packet filters there is nothing to remove.
pub fn purge() -> io::Result<()> {
    allowed(leftovers::purge())
}

/// Who may not, or cannot, change packet filters has none.
fn allowed<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) => match error.raw_os_error() {
            Some(
                libc::EPERM | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL,
            ) => Ok(T::default()),
            _ => Err(error),
        },
        done => done,
    }
}

fn not_running(process: &str) -> String {
    format!("nothing of the supervised process `{process}` runs on this node; start it first, or see its log")
}

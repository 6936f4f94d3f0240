//! The way to a node: how far we come, who it is, and whether faults may be made there.

use super::{Purpose, fine, note, problem, unknown};
use crate::agent::facts::Facts;
use crate::doctor::Check;
use crate::doctor::ask::{Asked, At, Reached};
use crate::transport::DISPOSABLE;

/// The rows from the way to the node to its agent.
pub fn way_in(node: &Asked) -> Vec<Check> {
    const STEPS: [(At, &str); 5] = [
        (At::Reach, "reached"),
        (At::Login, "login"),
        (At::Root, "root"),
        (At::Agent, "agent"),
        (At::InUse, "in use"),
    ];
    let row_of = |at| if at == At::Look { At::Agent } else { at };
    let good = |at| match (at, node.local) {
        (At::Reach | At::Login, true) => "local",
        (At::Reach, false) => "yes",
        (At::Login, false) => "lets us in",
        (At::InUse, _) => "by nobody",
        _ => "yes",
    };
    let facts = node.answer.as_ref().map(|answer| &answer.facts);
    STEPS
        .into_iter()
        .map(|(at, name)| match (&node.answer, facts) {
            (Err(refusal), _) if row_of(refusal.at) == at => {
                let seen = if at == At::InUse { "by another run" } else { "no" };
                problem(name, seen, refusal.what.clone())
            }
            // Whether it was root who could not do the rest, nobody has said.
            (Err(refusal), _) if at == At::Root || at > row_of(refusal.at) => unknown(name),
            (Ok(_), Ok(facts)) if at == At::Root => root(facts),
            (Ok(_), Ok(facts)) if at == At::Agent && !node.local => agent(facts),
            _ => fine(name, good(at)),
        })
        .collect()
}

fn root(facts: &Facts) -> Check {
    match (facts.uid, facts.by_sudo) {
        (0, false) => fine("root", "yes"),
        (0, true) => fine("root", "by sudo"),
        (uid, _) => problem(
            "root",
            format!("user {uid}"),
            format!(
                "the agent works as user {uid}, and faults need root: log in as root, or leave `sudo: false` out of the \
                 test file and give the user sudo"
            ),
        ),
    }
}

fn agent(facts: &Facts) -> Check {
    if facts.executable.starts_with(&format!("{}/", facts.state)) {
        return fine("agent", "runs");
    }
    note(
        "agent",
        "elsewhere",
        format!(
            "the executable is at {}, because {}/bin is read-only, full or noexec; that will do",
            facts.executable, facts.state
        ),
    )
}

/// Two names for one host would make a cluster of fewer nodes than it seems.
pub fn address(node: &Asked, all: &[Asked]) -> Check {
    const NAME: &str = "address";
    let Some(address) = node.address else { return unknown(NAME) };
    let same = |other: &&Asked| other.address == Some(address) && other.name != node.name;
    match all.iter().find(same) {
        Some(other) => problem(
            NAME,
            address.to_string(),
            format!(
                "{address} is also the address of {}. If they are two hosts, give their addresses in the test file: \
                 {{ host: …, address: … }}",
                other.name
            ),
        ),
        None => fine(NAME, address.to_string()),
    }
}

pub fn disposable(purpose: &Purpose, node: &Asked) -> Check {
    const NAME: &str = "disposable";
    match node.reached {
        _ if node.local => fine(NAME, "local"),
        Some(Reached { marked: true, .. }) => fine(NAME, "marked"),
        _ if purpose.allowed => fine(NAME, "by the test"),
        None => unknown(NAME),
        Some(_) if purpose.faults.is_empty() => fine(NAME, "no faults"),
        Some(_) => problem(
            NAME,
            "not marked",
            format!(
                "faults are made only on hosts that are marked as disposable ({DISPOSABLE}). If nothing else depends on this \
                 one: schism nodes allow HOST, or `disposable: true` in the test file"
            ),
        ),
    }
}

pub fn clients(node: &Asked) -> Check {
    const NAME: &str = "clients";
    match node.reached {
        _ if node.local => fine(NAME, "directly"),
        None => unknown(NAME),
        Some(Reached { through_ssh: false, .. }) => fine(NAME, "directly"),
        Some(Reached { through_ssh: true, .. }) => note(
            NAME,
            "through SSH",
            "clients reach its ports through the SSH connection, which takes a little longer and needs AllowTcpForwarding; \
             `reach: direct` in the test file changes that",
        ),
    }
}

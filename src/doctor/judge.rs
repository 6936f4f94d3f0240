//! What the answers of a node mean for a purpose. Pure: from plain data to plain data.

mod way;

use std::collections::BTreeSet;

use schism_nemesis::linux::Found;
use schism_nemesis::timeline::FaultKind;

use self::way::{address, clients, disposable, way_in};
use super::ask::{Answer, Asked, HANDY, NEEDED};
use super::{Check, State};
use crate::agent::facts::{ClockDistance, Facts};

/// Less than this is in the way: programs, journals and logs have no place.
const FREE_MIN: u64 = 64 << 20;
/// Less than this is worth knowing before a long run.
const FREE_COMFORTABLE: u64 = 1 << 30;
/// A clock that is off by more is worth knowing, in microseconds.
const CLOCK_COMFORTABLE_US: i64 = 500_000;

/// What nodes are wanted for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purpose {
    /// The kinds of faults that have to be possible.
    pub faults: BTreeSet<FaultKind>,
    /// Faults may be made without a marker on the hosts.
    pub allowed: bool,
    pub supply: Supply,
}

/// Where the programs of the system under test come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Supply {
    /// There is no test that would say which.
    #[default]
    NotAsked,
    /// It needs none beside ours.
    None,
    /// Every node has them.
    OnNodes,
    /// The nodes share those of this machine, which are of this version.
    Here(String),
    /// Those of this machine, which are of this version, are brought to the nodes.
    Brought(String),
    /// They cannot be had: why, and what to do.
    Missing(String),
}

fn check(check: &'static str, state: State, seen: impl Into<String>, advice: Option<String>) -> Check {
    Check { check, state, seen: seen.into(), advice }
}

fn fine(name: &'static str, seen: impl Into<String>) -> Check {
    check(name, State::Fine, seen, None)
}

fn note(name: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Check {
    check(name, State::Note, seen, Some(advice.into()))
}

fn problem(name: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Check {
    check(name, State::Problem, seen, Some(advice.into()))
}

fn unknown(name: &'static str) -> Check {
    check(name, State::Unknown, "not asked", None)
}

/// Every check of a node, in their order. `all` are the nodes, this one included.
pub fn judge(purpose: &Purpose, node: &Asked, all: &[Asked]) -> Vec<Check> {
    let mut checks = way_in(node);
    checks.push(address(node, all));
    checks.push(disposable(purpose, node));
    checks.push(clients(node));
    match &node.answer {
        Ok(answer) => checks.extend(of_answer(purpose, node, answer)),
        Err(_) => {
            const OF_ANSWERS: [&str; 12] = [
                "left behind",
                "clock",
                "kernel",
                "disk",
                "programs",
                "tools",
                "nftables",
                "netem",
                "nfqueue",
                "fuse",
                "ptrace",
                "cgroups",
            ];
            checks.extend(OF_ANSWERS.into_iter().chain(FaultKind::ALL.map(FaultKind::name)).map(unknown));
        }
    }
    checks
}

fn of_answer(purpose: &Purpose, node: &Asked, answer: &Answer) -> Vec<Check> {
    let facts = &answer.facts;
    let mut checks = vec![
        left_behind(answer, node.local),
        clock(answer.clock),
        fine("kernel", facts.kernel.clone()),
        disk(purpose, facts),
        programs(purpose),
        tools(purpose, facts),
    ];
    checks.extend(features(purpose, facts));
    checks.extend(faults(purpose, facts));
    checks
}

fn left_behind(answer: &Answer, local: bool) -> Check {
    const NAME: &str = "left behind";
    if !answer.residue.is_empty() {
        let advice = match local {
            true => "which nobody should find on a new cluster",
            false => "run `schism heal --stop` on the node",
        };
        return problem(
            NAME,
            answer.residue.len().to_string(),
            format!("an earlier run has left something: {}; {advice}", answer.residue.join("; ")),
        );
    }
    if !answer.healed.is_empty() {
        let healed = answer.healed.join(", ");
        return note(
            NAME,
            "healed now",
            format!("an earlier run had left faults, which are undone now: {healed}"),
        );
    }
    fine(NAME, "nothing")
}

fn clock(clock: ClockDistance) -> Check {
    const NAME: &str = "clock";
    let ClockDistance { ahead_us, within_us } = clock;
    let far = ahead_us.saturating_abs().saturating_sub(within_us);
    // What is within the way there and back may as well be nothing.
    let sign = if ahead_us < 0 { '-' } else { '+' };
    let seen = format!("{sign}{} ±{}", time(ahead_us.unsigned_abs()), time(within_us.unsigned_abs()));
    if far <= CLOCK_COMFORTABLE_US {
        return fine(NAME, seen);
    }
    let direction = if ahead_us < 0 { "behind" } else { "ahead of" };
    note(
        NAME,
        seen.clone(),
        format!(
            "its clock is {} {direction} this machine's (±{}). A run's own times do not depend on it, but logs and systems that \
             trust clocks do: let chrony or systemd-timesyncd set it",
            time(ahead_us.unsigned_abs()),
            time(within_us.unsigned_abs())
        ),
    )
}

fn disk(purpose: &Purpose, facts: &Facts) -> Check {
    const NAME: &str = "disk";
    let Facts { state, free, writable, runs_programs, .. } = facts;
    if let Found::No(why) = writable {
        let advice =
            format!("{state} cannot be written to ({why}), and the journal of faults is there; change that");
        return problem(NAME, "not writable", advice);
    }
    let seen = free.map_or_else(|| "writable".to_owned(), size);
    if let Some(free) = free.filter(|free| *free < FREE_MIN) {
        let advice = format!(
            "only {} are free at {state}, and programs, journals and logs need {}; make room",
            size(free),
            size(FREE_MIN)
        );
        return problem(NAME, seen, advice);
    }
    if let Found::No(why) = runs_programs {
        let advice = format!("programs cannot run in {state}: {why}");
        return match purpose.supply {
            Supply::Brought(_) => problem(
                NAME,
                "noexec",
                format!(
                    "{advice}, and the system's are brought there; install them on the nodes, or remount it"
                ),
            ),
            _ => note(NAME, "noexec", format!("{advice}; the agent runs from elsewhere")),
        };
    }
    if let Some(free) = free.filter(|free| *free < FREE_COMFORTABLE) {
        return note(
            NAME,
            seen,
            format!("only {} are free at {state}; a long run may need more", size(free)),
        );
    }
    fine(NAME, seen)
}

fn programs(purpose: &Purpose) -> Check {
    const NAME: &str = "programs";
    match &purpose.supply {
        Supply::NotAsked => fine(NAME, "no test"),
        Supply::None => fine(NAME, "ours"),
        Supply::OnNodes => fine(NAME, "on the node"),
        Supply::Here(version) => fine(NAME, version.clone()),
        Supply::Brought(version) => fine(NAME, format!("{version}, brought")),
        Supply::Missing(why) => problem(NAME, "missing", why.clone()),
    }
}

fn tools(purpose: &Purpose, facts: &Facts) -> Check {
    const NAME: &str = "tools";
    let missing = |names: &[&'static str]| {
        let there = |name: &&str| facts.tools.get(*name).is_some_and(Option::is_some);
        names.iter().copied().filter(|name| !there(name)).collect::<Vec<_>>().join(", ")
    };
    let needed = missing(&NEEDED);
    if !needed.is_empty() {
        let advice =
            format!("{needed} cannot be found, and bringing programs to a node needs them; install them");
        return match purpose.supply {
            Supply::Brought(_) | Supply::OnNodes => problem(NAME, format!("no {needed}"), advice),
            _ => note(NAME, format!("no {needed}"), advice),
        };
    }
    let handy = missing(&HANDY);
    if handy.is_empty() {
        return fine(NAME, "all");
    }
    note(
        NAME,
        format!("no {handy}"),
        format!("{handy} cannot be found, which no fault needs: the kernel is asked by netlink instead"),
    )
}

fn features(purpose: &Purpose, facts: &Facts) -> Vec<Check> {
    const UNUSED: &str = "No fault of this version needs it";
    let features = &facts.features;
    let unused = |name, found: &Found| match found {
        Found::Yes => fine(name, "yes"),
        Found::No(why) => note(name, "no", format!("{name} is not to be had: {why}. {UNUSED}")),
    };
    let nftables = match &features.nftables {
        Found::Yes => fine("nftables", "yes"),
        Found::No(why) if purpose.faults.contains(&FaultKind::Partition) => problem(
            "nftables",
            "no",
            format!(
                "packet filters cannot be used: {why}. Partitions are made of them and of nothing else: modprobe nf_tables, or a \
                 kernel with CONFIG_NF_TABLES_INET"
            ),
        ),
        Found::No(why) => note("nftables", "no", format!("packet filters cannot be used: {why}")),
    };
    let ptrace = match features.yama_scope {
        None => fine("ptrace", "yes"),
        Some(scope @ 0..=2) => fine("ptrace", format!("scope {scope}")),
        Some(scope) => note(
            "ptrace",
            format!("scope {scope}"),
            format!(
                "Yama forbids looking into processes until the next boot (kernel.yama.ptrace_scope). {UNUSED}"
            ),
        ),
    };
    let versions: Vec<String> = features.cgroups.iter().map(|version| format!("v{version}")).collect();
    let cgroups = match versions.is_empty() {
        true => note("cgroups", "none", format!("no control groups are mounted at /sys/fs/cgroup. {UNUSED}")),
        false => fine("cgroups", versions.join(" and ")),
    };
    vec![
        nftables,
        unused("netem", &features.netem),
        unused("nfqueue", &features.nfqueue),
        unused("fuse", &features.fuse),
        ptrace,
        cgroups,
    ]
}

/// One check a kind of fault, as the mechanism itself decides.
fn faults(purpose: &Purpose, facts: &Facts) -> Vec<Check> {
    let of = |(index, kind): (usize, FaultKind)| {
        let name = kind.name();
        match facts.prechecks.get(index) {
            None => unknown(name),
            Some(Found::Yes) => fine(name, "possible"),
            Some(Found::No(why)) if purpose.faults.contains(&kind) => {
                problem(name, "impossible", why.clone())
            }
            Some(Found::No(why)) => note(name, "impossible", format!("{why}. The test does not make it")),
        }
    };
    FaultKind::ALL.into_iter().enumerate().map(of).collect()
}

/// A length of time with its unit, short.
fn time(micros: u64) -> String {
    let seconds = micros as f64 / 1e6;
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{:.1}ms", seconds * 1e3),
        1_000_000..120_000_000 => format!("{seconds:.1}s"),
        120_000_000..7_200_000_000 => format!("{:.1}min", seconds / 60.0),
        7_200_000_000..172_800_000_000 => format!("{:.1}h", seconds / 3600.0),
        _ => format!("{:.1}d", seconds / 86_400.0),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.0} {unit}")
}

#[cfg(test)]
mod tests;

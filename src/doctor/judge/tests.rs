use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use schism_nemesis::linux::Features;

use super::*;
use crate::doctor::ask::{At, Reached, Refusal};
use crate::transport::ssh::{Failure, Step};

/// A node with which everything is all right.
fn good() -> Asked {
    let tools = NEEDED.into_iter().chain(HANDY).map(|name| (name.to_owned(), Some(format!("/bin/{name}"))));
    let features = Features {
        nftables: Found::Yes,
        netem: Found::Yes,
        nfqueue: Found::Yes,
        fuse: Found::Yes,
        yama_scope: Some(1),
        cgroups: vec![2],
    };
    let facts = Facts {
        asked_us: 0,
        answered_us: 0,
        uid: 0,
        by_sudo: false,
        kernel: "6.1.0".to_owned(),
        machine: "x86_64".to_owned(),
        features,
        tools: tools.collect::<BTreeMap<_, _>>(),
        executable: "/var/lib/schism/bin/schism-1".to_owned(),
        state: "/var/lib/schism".to_owned(),
        free: Some(10 << 30),
        writable: Found::Yes,
        runs_programs: Found::Yes,
        spared_ports: vec![22],
        prechecks: vec![Found::Yes; FaultKind::ALL.len()],
    };
    let clock = ClockDistance { ahead_us: 300, within_us: 200 };
    Asked {
        name: "n1".into(),
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        reached: Some(Reached { marked: true, through_ssh: false }),
        local: false,
        answer: Ok(Answer { facts, clock, healed: Vec::new(), residue: Vec::new() }),
    }
}

fn everything() -> Purpose {
    Purpose {
        faults: FaultKind::ALL.into_iter().collect(),
        allowed: false,
        supply: Supply::Brought("3.5".to_owned()),
    }
}

fn answer(node: &mut Asked) -> &mut Answer {
    node.answer.as_mut().unwrap()
}

fn row<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.check == name).unwrap_or_else(|| panic!("no row {name}"))
}

/// Those that are not as they should be.
fn odd(checks: &[Check]) -> Vec<(&str, State)> {
    let odd = checks.iter().filter(|check| check.state != State::Fine);
    odd.map(|check| (check.check, check.state)).collect()
}

#[test]
fn a_good_node_is_good() {
    let node = good();
    let checks = judge(&everything(), &node, std::slice::from_ref(&node));
    assert_eq!(odd(&checks), [], "{checks:?}");
    assert!(checks.iter().all(|check| check.advice.is_none() && !check.seen.is_empty()));
    let local = Asked { local: true, reached: None, ..good() };
    assert_eq!(odd(&judge(&everything(), &local, std::slice::from_ref(&local))), []);
}

/// What is wrong, the row that says so, how it is judged, and a part of its sentence.
type Case = (&'static str, fn(&mut Asked, &mut Purpose), State, &'static str);

const CASES: &[Case] = &[
    ("root", |node, _| answer(node).facts.uid = 1000, State::Problem, "log in as root"),
    (
        "agent",
        |node, _| answer(node).facts.executable = "/tmp/schism/bin/schism-1".to_owned(),
        State::Note,
        "is at /tmp/schism/bin/schism-1",
    ),
    (
        "disposable",
        |node, _| node.reached = Some(Reached { marked: false, through_ssh: false }),
        State::Problem,
        "schism nodes allow",
    ),
    (
        "clients",
        |node, _| node.reached = Some(Reached { marked: true, through_ssh: true }),
        State::Note,
        "AllowTcpForwarding",
    ),
    (
        "left behind",
        |node, _| answer(node).residue = vec!["nftables table inet schism".to_owned()],
        State::Problem,
        "nftables table inet schism; run `schism heal --stop`",
    ),
    (
        "left behind",
        |node, _| answer(node).healed = vec!["partition-1".to_owned()],
        State::Note,
        "undone now: partition-1",
    ),
    (
        "clock",
        |node, _| answer(node).clock = ClockDistance { ahead_us: -300_000_000, within_us: 1_500 },
        State::Note,
        "5.0min behind this machine's (±1.5ms)",
    ),
    (
        "disk",
        |node, _| answer(node).facts.writable = Found::No("Read-only file system".to_owned()),
        State::Problem,
        "cannot be written to (Read-only file system)",
    ),
    ("disk", |node, _| answer(node).facts.free = Some(3 << 20), State::Problem, "only 3 MiB are free"),
    ("disk", |node, _| answer(node).facts.free = Some(200 << 20), State::Note, "a long run may need more"),
    (
        "disk",
        |node, _| answer(node).facts.runs_programs = Found::No("it is mounted noexec".to_owned()),
        State::Problem,
        "install them on the nodes",
    ),
    (
        "disk",
        |node, purpose| {
            answer(node).facts.runs_programs = Found::No("it is mounted noexec".to_owned());
            purpose.supply = Supply::OnNodes;
        },
        State::Note,
        "the agent runs from elsewhere",
    ),
    (
        "programs",
        |_, purpose| purpose.supply = Supply::Missing("no etcd: apt-get install etcd-server".to_owned()),
        State::Problem,
        "apt-get install etcd-server",
    ),
    (
        "tools",
        |node, _| _ = answer(node).facts.tools.insert("sha256sum".to_owned(), None),
        State::Problem,
        "sha256sum cannot be found",
    ),
    ("tools", |node, _| _ = answer(node).facts.tools.remove("nft"), State::Note, "asked by netlink instead"),
    (
        "nftables",
        |node, _| answer(node).facts.features.nftables = Found::No("Protocol not supported".to_owned()),
        State::Problem,
        "modprobe nf_tables",
    ),
    (
        "nftables",
        |node, purpose| {
            answer(node).facts.features.nftables = Found::No("Protocol not supported".to_owned());
            purpose.faults.remove(&FaultKind::Partition);
        },
        State::Note,
        "Protocol not supported",
    ),
    (
        "netem",
        |node, _| answer(node).facts.features.netem = Found::No("No such file".to_owned()),
        State::Note,
        "No such file",
    ),
    (
        "nfqueue",
        |node, _| answer(node).facts.features.nfqueue = Found::No("Invalid argument".to_owned()),
        State::Note,
        "Invalid argument",
    ),
    (
        "fuse",
        |node, _| answer(node).facts.features.fuse = Found::No("No such file".to_owned()),
        State::Note,
        "No such file",
    ),
    ("ptrace", |node, _| answer(node).facts.features.yama_scope = Some(3), State::Note, "ptrace_scope"),
    ("cgroups", |node, _| answer(node).facts.features.cgroups.clear(), State::Note, "/sys/fs/cgroup"),
    (
        "partition",
        |node, _| answer(node).facts.prechecks[0] = Found::No("needs CAP_NET_ADMIN".to_owned()),
        State::Problem,
        "needs CAP_NET_ADMIN",
    ),
    (
        "kill",
        |node, _| answer(node).facts.prechecks[1] = Found::No("no processes".to_owned()),
        State::Problem,
        "no processes",
    ),
    (
        "pause",
        |node, purpose| {
            answer(node).facts.prechecks[2] = Found::No("no signals".to_owned());
            purpose.faults.remove(&FaultKind::Pause);
        },
        State::Note,
        "The test does not make it",
    ),
];

#[test]
fn every_problem_has_its_row_and_its_sentence() {
    for (name, spoil, state, part) in CASES {
        let (mut node, mut purpose) = (good(), everything());
        spoil(&mut node, &mut purpose);
        let checks = judge(&purpose, &node, std::slice::from_ref(&node));
        assert_eq!(odd(&checks), [(*name, *state)], "{part}");
        let advice = row(&checks, name).advice.as_deref().unwrap();
        assert!(advice.contains(part), "{name}: {part:?} is not in {advice:?}");
    }
}

#[test]
fn a_marker_is_wanted_only_for_faults_and_where_nobody_said_more() {
    let mut node = good();
    node.reached = Some(Reached { marked: false, through_ssh: false });
    for purpose in
        [Purpose { allowed: true, ..everything() }, Purpose { faults: BTreeSet::new(), ..everything() }]
    {
        assert_eq!(odd(&judge(&purpose, &node, std::slice::from_ref(&node))), []);
    }
}

#[test]
fn two_names_of_one_host_are_seen() {
    let (node, other) = (good(), Asked { name: "n2".into(), ..good() });
    let all = [node.clone(), other];
    let checks = judge(&everything(), &node, &all);
    assert_eq!(odd(&checks), [("address", State::Problem)]);
    assert!(row(&checks, "address").advice.as_deref().unwrap().contains("also the address of n2"));
}

/// A node that did not answer, as SSH says it.
fn failing(step: Step) -> Asked {
    let failure = Failure { step, what: "what".to_owned(), advice: "Do this".to_owned() };
    Asked { reached: None, address: None, answer: Err(failure.into()), ..good() }
}

#[test]
fn where_the_way_ends_the_rest_is_unknown_and_nothing_is_fine() {
    for (step, name, before) in [
        (Step::Resolve, "reached", &[][..]),
        (Step::Connect, "reached", &[]),
        (Step::HostKey, "reached", &[]),
        (Step::Authentication, "login", &["reached"]),
        (Step::Look, "agent", &["reached", "login"]),
        (Step::Sudo, "root", &["reached", "login"]),
        (Step::Upload, "agent", &["reached", "login"]),
        (Step::AgentStart, "agent", &["reached", "login"]),
    ] {
        let node = failing(step);
        let checks = judge(&everything(), &node, std::slice::from_ref(&node));
        for check in &checks {
            let wanted = match check.check {
                at if at == name => State::Problem,
                at if before.contains(&at) => State::Fine,
                _ => State::Unknown,
            };
            assert_eq!(check.state, wanted, "{step:?}: {}", check.check);
        }
        let said = format!("{}: what. Do this", step.name());
        assert_eq!(row(&checks, name).advice.as_deref(), Some(said.as_str()));
        let good = good();
        let rows = |checks: &[Check]| checks.iter().map(|check| check.check).collect::<Vec<_>>();
        let good = judge(&everything(), &good, std::slice::from_ref(&good));
        assert_eq!(rows(&checks), rows(&good), "every node has the same rows");
    }
}

#[test]
fn a_local_cluster_that_cannot_be_made_says_why() {
    let refusal = Refusal { at: At::Reach, what: "allow user namespaces".to_owned() };
    let node = Asked { local: true, reached: None, answer: Err(refusal), ..good() };
    let checks = judge(&everything(), &node, std::slice::from_ref(&node));
    assert_eq!(row(&checks, "reached").advice.as_deref(), Some("allow user namespaces"));
    assert!(
        ["login", "root", "agent", "partition"].iter().all(|name| row(&checks, name).state == State::Unknown)
    );
}

#[test]
fn another_run_is_named() {
    let what = "the agent of run \"nightly\" of alice uses it".to_owned();
    let node = Asked { answer: Err(Refusal { at: At::InUse, what: what.clone() }), ..good() };
    let checks = judge(&everything(), &node, std::slice::from_ref(&node));
    assert_eq!(row(&checks, "in use").advice, Some(what));
    assert_eq!(row(&checks, "agent").state, State::Fine);
    assert_eq!(row(&checks, "root").state, State::Unknown);
}

#[test]
fn lengths_and_sizes_are_short() {
    for (micros, text) in [
        (0, "0µs"),
        (999, "999µs"),
        (1_500, "1.5ms"),
        (2_000_000, "2.0s"),
        (180_000_000, "3.0min"),
        (u64::MAX, "213503982.3d"),
    ] {
        assert_eq!(time(micros), text);
    }
    for (bytes, text) in [(0, "0 KiB"), (5 << 20, "5 MiB"), (3 << 30, "3 GiB"), (u64::MAX, "16384 PiB")] {
        assert_eq!(size(bytes), text);
    }
}

//! A run that is interrupted or killed, at whatever moment: nothing is left of it but its directory, and that is whole.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use schism_history::{History, Random};

use crate::local_cluster::leftovers::{Audit, Seen};
use crate::support::{Place, Started, eventually, have, marked_processes, says, short_test, start};

/// Longer than any of these takes on a slow machine, shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: &str = "nemesis: { timeline: [{ at: 100ms, for: 50s, fault: { pause: { targets: n2 } } }] }";

fn place_with(test: &str) -> Place {
    let place = Place::new();
    place.file("test.yaml", test);
    place
}

/// Everything in the place is what the test or the run directory put there.
#[track_caller]
fn nothing_but_the_run_directory(place: &Place) {
    for own in ["tmp", "home"] {
        let left: Vec<_> = fs::read_dir(place.path().join(own)).unwrap().collect();
        assert!(left.is_empty(), "{own} has {left:?}");
    }
    let found: BTreeSet<String> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("stdout-") && !name.starts_with("stderr-"))
        .collect();
    for name in found {
        assert!(["test.yaml", "odd.yaml", "runs", "tmp", "home"].contains(&&*name), "{name} is left");
    }
}

#[test]
fn an_interrupted_run_is_healed_and_judged() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let audit = Audit::begin();
        let place = place_with(&short_test(PAUSE));
        let mut started = start(&place, &["--set", "time-limit=50s"]);
        started.until_logged(&place, "pause injected");
        started.until_events(&place, 200);
        started.signal(signal);
        let said = started.finish(PATIENCE).expect(4);
        says(&said.stdout, &["VOID  The load was interrupted after ", " of 50s", "report  "]);
        says(&said.stderr, &["stopping: healing, collecting and judging what is there"]);
        let results = place.results();
        let fault = &results["faults"][0];
        assert_eq!((&fault["bit"], &fault["gone"]), (&true.into(), &true.into()), "{fault:#}");
        assert_eq!(results["checks"][0]["validity"], "pass");
        assert!(
            place.latest().join("report.html").exists() && place.latest().join("nodes/n1/demo.log").exists()
        );
        nothing_but_the_run_directory(&place);
        audit.clean();
    }
}

#[test]
fn a_violation_outweighs_an_interruption() {
    let broken = "system: { name: demo, settings: { mode: local-reads } }";
    let partition = "nemesis: { timeline: [{ at: 100ms, for: 50s, fault: { partition: { shape: one } } }] }";
    let place = place_with(&short_test(partition).replace("system: demo", broken));
    // A short deadline, so that the clients of the node that is cut off come to read.
    let mut started =
        start(&place, &["--set", "time-limit=50s", "--set", "workload.register.deadline=100ms"]);
    started.until_logged(&place, "partition injected");
    // The history can be judged while it grows.
    let check = ["check", "runs/latest/history.jsonl", "--model", "cas-register"];
    started.until("a violation", || place.schism(&check).code == Some(1));
    started.signal(Signal::SIGINT);
    let said = started.finish(PATIENCE).expect(1);
    says(&said.stdout, &["VIOLATION", "read of key"]);
    let reasons = place.results()["reasons"].to_string();
    says(&reasons, &["was interrupted"]);
}

#[test]
fn a_second_signal_heals_and_leaves() {
    let audit = Audit::begin();
    let place = place_with(&short_test(PAUSE));
    let mut started = start(&place, &["--set", "time-limit=50s", "--set", "settle=50s"]);
    started.until_logged(&place, "pause injected");
    started.signal(Signal::SIGINT);
    started.until_logged(&place, "\"interrupted\"");
    let begun = Instant::now();
    started.signal(Signal::SIGINT);
    let said = started.finish(PATIENCE).expect(4);
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
    says(&said.stdout, &["left before judging; `schism check "]);
    assert!(!place.latest().join("results.json").exists());
    says(&fs::read_to_string(place.latest().join("schism.log")).unwrap(), &["\"healed\":true"]);
    // Nothing pretends that the run came to its end.
    let said = place.schism(&["check", "runs/latest"]).expect(4);
    says(&said.stdout, &["VOID  The run did not come to its end"]);
    nothing_but_the_run_directory(&place);
    audit.clean();
}

#[test]
fn a_run_can_be_interrupted_before_the_system_is_up() {
    let audit = Audit::begin();
    let place = place_with(&short_test("").replace("system: demo", "system: ./odd.yaml"));
    place.file(
        "odd.yaml",
        "name: odd
description: Never healthy
install: { binaries: [sh] }
ports: { client: 7100 }
processes: [{ name: odd, command: [\"{{ bin.sh }}\", -c, exec sleep 1000] }]
health: { probe: { http: { request: { port: client, path: / } } }, deadline: 50s }
clients: [{ client: demo, port: client }]
",
    );
    // While the cluster comes up, and while the system does.
    for moment in ["", "\"started\""] {
        let runs = format!("runs{}", moment.len());
        let mut started = start(&place, &["--runs", &runs]);
        let log = place.path().join(&runs).join("latest/schism.log");
        started.until(moment, || fs::read_to_string(&log).is_ok_and(|log| log.contains(moment)));
        if moment.is_empty() {
            // Whoever presses Ctrl-C before the handler is there ends the process as any other.
            let pid = started.pid();
            started.until("signals are handled", || handles_interrupts(pid));
        }
        started.signal(Signal::SIGINT);
        let said = started.finish(PATIENCE).expect(4);
        says(&said.stdout, &["VOID", "interrupted before the system was up"]);
        fs::remove_dir_all(place.path().join(&runs)).unwrap();
        audit.clean();
    }
    nothing_but_the_run_directory(&place);
}

#[test]
fn a_run_can_be_interrupted_while_packages_are_fetched() {
    let place = place_with(&short_test("").replace("system: demo", "system: ./odd.yaml"));
    place.file(
        "odd.yaml",
        "name: odd
description: Not to be had
install: { binaries: [nobodyhasthis], packages: [nobody-offers-this] }
ports: { client: 7100 }
processes: [{ name: odd, command: [\"{{ bin.nobodyhasthis }}\"] }]
health: { probe: { http: { request: { port: client, path: / } } } }
clients: [{ client: demo, port: client }]
",
    );
    // Package sources that do not answer.
    for program in ["apt-get", "apt-cache"] {
        let slow =
            place.file(&format!("bin/{program}"), "#!/bin/sh\n: > \"$TMPDIR/asked\"\nexec sleep 1000\n");
        fs::set_permissions(slow, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = place.command(&["run", "test.yaml"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", place.path().join("bin").display()));
    let mut started = Started::new(&place, command);
    let asked = place.path().join("tmp/asked");
    started.until("apt is asked", || asked.exists());
    started.signal(Signal::SIGTERM);
    let said = started.finish(PATIENCE).expect(4);
    says(&said.stdout, &["VOID  The run was interrupted before the system was up."]);
    let work = place.path().join("home/.cache/schism/packages");
    let left: Vec<_> = fs::read_dir(work).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn handles_interrupts(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        status.lines().any(|line| {
            line.strip_prefix("SigCgt:\t").is_some_and(|set| u64::from_str_radix(set, 16).unwrap() & 2 != 0)
        })
    })
}

/// How long after a kill everything of a run may be there. The kernel needs some ten milliseconds; the rest is for a machine
/// that has something else to do.
const GONE_WITHIN: Duration = Duration::from_secs(15);

#[test]
fn a_kill_at_any_moment_leaves_the_run_directory_alone() {
    const ROUNDS: u64 = 24;
    let audit = Audit::begin();
    // Long enough for a cluster, several faults and the judging; a run takes about two seconds.
    let test = short_test(
        "nemesis: { every: 250ms, overlap: 2, faults: [{ partition: {} }, { kill: {} }, { pause: {} }] }",
    );
    let round = AtomicUsize::new(0);
    let (with_cluster, with_history, judged) = Default::default();
    let mut taken: Vec<Duration> = std::thread::scope(|scope| {
        let work = || {
            let mut taken = Vec::new();
            loop {
                let number = round.fetch_add(1, Ordering::Relaxed) as u64;
                if number >= ROUNDS {
                    return taken;
                }
                taken.push(kill_once(&test, number, &with_cluster, &with_history, &judged));
            }
        };
        let both = [scope.spawn(work), scope.spawn(work)];
        both.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    taken.sort();
    assert!(taken[taken.len() / 2] < Duration::from_secs(2), "{taken:?}");
    audit.clean();
    if nix::unistd::geteuid().is_root() && have("nft") {
        let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&tables.stdout).contains("schism"), "{tables:?}");
    }
    let counts: [&AtomicUsize; 3] = [&with_cluster, &with_history, &judged];
    let [with_cluster, with_history, judged] = counts.map(|count| count.load(Ordering::Relaxed));
    assert!(with_cluster >= 8, "only {with_cluster} had a cluster to lose");
    assert!(
        with_history >= 5 && judged >= 5,
        "only {with_history} had a history to keep, {judged} were judged"
    );
}

/// Starts a run, kills its controller at a moment that the round decides, and looks at what is left. Returns how long it took
/// until everything was gone.
fn kill_once(
    test: &str,
    round: u64,
    with_cluster: &AtomicUsize,
    with_history: &AtomicUsize,
    judged: &AtomicUsize,
) -> Duration {
    let place = place_with(test);
    let mut random = Random::new(round, "moment to kill at");
    let mut started = start(&place, &["--set", "time-limit=1500ms"]);
    std::thread::sleep(Duration::from_micros(random.below(2_300_000)));
    let mark = started.mark.clone();
    let seen = Seen::of(mark.strip_prefix("SCHISM_TEST_MARK=").unwrap());
    let history = place.path().join("runs/latest/history.jsonl");
    // What another process has seen of the history is in it for good.
    let mut known = fs::read(&history).unwrap_or_default();
    known.truncate(known.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
    let finished = started.has_ended();
    started.kill();
    let begun = Instant::now();
    eventually("every process is gone", GONE_WITHIN, || marked_processes(&mark).is_empty());
    eventually("every namespace is gone", GONE_WITHIN, || seen.gone());
    let took = begun.elapsed();
    with_cluster.fetch_add(usize::from(!seen.is_empty()), Ordering::Relaxed);
    nothing_but_the_run_directory(&place);

    let kept = fs::read(&history).unwrap_or_default();
    assert!(kept.starts_with(&known), "round {round}: events that were there are not");
    if !known.is_empty() {
        with_history.fetch_add(1, Ordering::Relaxed);
        let lines = known.iter().filter(|byte| **byte == b'\n').count();
        assert!(History::open(&history).unwrap().events.len() >= lines);
    }
    let results = place.path().join("runs/latest/results.json").exists();
    let said = place.schism(&["check", "runs/latest"]);
    let printed = said.printed();
    match said.code {
        Some(0) if results || finished => {}
        Some(1) if results || finished => panic!("round {round}: the demo system is correct: {printed}"),
        // Killed while results were written: they say what the run came to.
        Some(4) if results => {}
        Some(4) => {
            assert!(printed.starts_with("VOID  The run did not come to its end"), "round {round}: {printed}");
            judged.fetch_add(1, Ordering::Relaxed);
        }
        Some(2) => {
            assert!(known.is_empty(), "round {round}: {printed}");
            assert!(
                ["No such file", "nothing to judge", "it has no plan.json"]
                    .iter()
                    .any(|why| printed.contains(why)),
                "round {round}: {printed}"
            );
        }
        code => panic!("round {round}: {code:?}: {printed}"),
    }
    took
}

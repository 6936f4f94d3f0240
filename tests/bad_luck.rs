//! What can go wrong around a run, from outside: the system, the agents, the cluster, the disk, the test file. Each time the
//! run comes to its end, says what happened, and claims no more than it saw.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schism_history::{History, Kind};

use crate::local_cluster::leftovers::Audit;
use crate::support::{
    Finished, Place, SCHISM, Started, have, node_of, repository, running, says, short_test, start,
};

/// Longer than any of these runs takes on a slow machine, shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user without an entry anywhere.
const ORDINARY: u32 = 61_235;

/// A system of one process that runs `script`, whose health is asked on a port where nobody listens.
fn system(script: &str, deadline: &str) -> String {
    format!(
        "name: odd
description: A system that does what a test wants
install: {{ binaries: [sh] }}
ports: {{ client: 7100 }}
processes:
  - name: odd
    command: [\"{{{{ bin.sh }}}}\", -c, '{script}']
health:
  probe: {{ http: {{ request: {{ port: client, path: /health, timeout: 200ms }} }} }}
  deadline: {deadline}
stop: {{ grace: 200ms }}
clients: [{{ client: demo, port: client }}]
"
    )
}

/// A place with a system of its own, and a test of it.
fn place_with(system: &str) -> Place {
    let place = Place::new();
    place.file("odd.yaml", system);
    place.file("test.yaml", &short_test("").replace("system: demo", "system: ./odd.yaml"));
    place
}

fn place_with_short(more: &str) -> Place {
    let place = Place::new();
    place.file("test.yaml", &short_test(more));
    place
}

/// `schism run test.yaml OPTIONS` to its end.
#[track_caller]
fn run(place: &Place, options: &[&str], code: i32) -> Finished {
    start(place, options).finish(PATIENCE).expect(code)
}

#[test]
fn a_system_that_never_answers_is_shown_with_its_log() {
    let audit = Audit::begin();
    let place = place_with(&system("echo I am up to nothing; exec sleep 1000", "1s"));
    let begun = Instant::now();
    let said = run(&place, &[], 5);
    assert!(begun.elapsed() < Duration::from_secs(30));
    says(
        &said.stdout,
        &["INFRA", "n1 did not become healthy within 1s", "Connection refused", "I am up to nothing"],
    );
    assert_eq!(place.results()["verdict"], "infra");
    // Nobody has to look for what the system said.
    says(&fs::read_to_string(place.latest().join("nodes/n2/odd.log")).unwrap(), &["I am up to nothing"]);
    audit.clean();
}

#[test]
fn a_system_that_ends_at_once_is_not_waited_for() {
    let place = place_with(&system("echo wrong flag >&2; exit 3", "50s"));
    let begun = Instant::now();
    let said = run(&place, &[], 5);
    assert!(begun.elapsed() < Duration::from_secs(40), "the deadline was waited for");
    says(
        &said.stdout,
        &["INFRA  On n1 odd ended with code 3 before it was healthy.\n", "\n      wrong flag\n"],
    );
    // What follows from it is not told as if it were something else.
    assert_eq!(place.results()["reasons"].as_array().unwrap().len(), 1, "{}", said.stdout);
}

#[test]
fn a_missing_program_is_said_with_the_command_that_gets_it() {
    let system = system("true", "1s")
        .replace("binaries: [sh]", "binaries: [sh, nobody-has-this], packages: [nobody-offers-this]");
    let place = place_with(&system);
    let said = run(&place, &[], 5);
    says(&said.stdout, &["INFRA", "nobody-has-this", "apt-get", "nobody-offers-this"]);
    assert!(!place.latest().join("nodes").exists(), "a cluster was made");
}

/// Processes of the run that a pause has stopped.
fn stopped(mark: &str) -> usize {
    let is =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    running(mark, "demo-node").iter().filter(|pid| is(pid)).count()
}

/// Kills the agents on `nodes` while the one fault of the run is in force, and waits until `healed` holds, given the run's mark.
/// The run has to go on to its end, and to say that it was not the test that was planned.
fn agents_die(kind: &str, fault: &str, nodes: &[&str], healed: impl Fn(&str) -> bool) {
    let place =
        place_with_short(&format!("nemesis: {{ timeline: [{{ at: 100ms, for: 20s, fault: {fault} }}] }}"));
    let mut started = start(&place, &["--set", "time-limit=3s"]);
    started.until_logged(&place, &format!("{kind} injected"));
    let mark = started.mark.clone();
    assert!(!healed(&mark), "the fault is not to be seen");
    let agents = running(&mark, "agent");
    assert_eq!(agents.len(), 3, "{agents:?}");
    for agent in agents.into_iter().filter(|pid| nodes.contains(&&*node_of(*pid))) {
        kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    }
    // Long before the plan would have it healed: nobody but the next agent can have done it.
    started.until("the fault is gone", || healed(&mark));
    let said = started.finish(PATIENCE).expect(4);
    says(&said.stdout, &["VOID  ", &format!("{kind}-1 ("), "ended before its time: the agent on n"]);
    let results = place.results();
    let fault = &results["faults"][0];
    assert_eq!((&fault["bit"], &fault["gone"]), (&true.into(), &true.into()), "{fault:#}");
    // What could be judged is judged.
    assert_eq!(results["checks"][0]["validity"], "pass");
    let log = fs::read_to_string(place.latest().join("schism.log")).unwrap();
    for node in nodes {
        let restarted =
            |line: &str| line.contains("agent restarted") && line.contains(&format!("\"{node}\""));
        assert!(log.lines().any(restarted), "{node}: {log}");
    }
    let history = History::open(&place.latest().join("history.jsonl")).unwrap();
    assert!(history.events.iter().any(|event| event.kind == Kind::Ok && event.time > 2_900_000_000));
}

#[test]
fn the_next_agent_continues_what_a_dead_one_stopped() {
    agents_die("pause", "{ pause: { targets: n2 } }", &["n2"], |mark| stopped(mark) == 0);
}

#[test]
fn the_next_agent_starts_what_a_dead_one_killed() {
    agents_die("kill", "{ kill: { targets: n2 } }", &["n2"], |mark| running(mark, "demo-node").len() == 3);
}

#[test]
fn the_next_agents_join_what_dead_ones_cut() {
    // The node's packet filter holds the addresses from which nothing may come.
    let cut = |mark: &str| {
        let log = |pid: &i32| {
            let table = Command::new("nsenter")
                .args(["--user", "--net", "--preserve-credentials", "-t", &pid.to_string()])
                .args(["nft", "list", "ruleset"])
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
                .output();
            table.is_ok_and(|table| String::from_utf8_lossy(&table.stdout).contains("10.83.0."))
        };
        running(mark, "demo-node").iter().any(log)
    };
    if !have("nft") || !have("nsenter") {
        return;
    }
    let fault = "{ partition: { shape: { groups: [[n2], [n1, n3]] } } }";
    agents_die("partition", fault, &["n1", "n2", "n3"], |mark| !cut(mark));
}

#[test]
fn the_end_of_the_whole_cluster_ends_the_run() {
    let audit = Audit::begin();
    let place = place_with_short(
        "nemesis: { timeline: [{ at: 200ms, for: 20s, fault: { partition: { shape: one } } }] }",
    );
    let mut started = start(&place, &["--set", "time-limit=5s"]);
    started.until_logged(&place, "partition injected");
    started.until_events(&place, 100);
    let mark = started.mark.clone();
    for pid in running(&mark, "cluster-init") {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let begun = Instant::now();
    let said = started.finish(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let said = said.expect(5);
    says(&said.stdout, &["INFRA  The cluster died: ", "cluster.log"]);
    let history = History::open(&place.latest().join("history.jsonl")).unwrap();
    assert!(history.torn.is_none() && history.events.len() >= 100);
    place.schism(&["check", "runs/latest"]).expect(5);
    audit.clean();
}

/// Runs a test with its run directory on a disk of `size`, and copies what is there to `copy`.
fn on_a_small_disk(place: &Place, size: &str, options: &str) -> Finished {
    fs::create_dir(place.path().join("disk")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={size} none disk || exit 99
         {SCHISM} run test.yaml --runs disk {options}
         code=$?
         cp -a disk copy || exit 98
         exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).current_dir(place.path());
    Started::new(place, command).finish(PATIENCE)
}

#[test]
fn a_full_disk_stops_the_load_and_loses_nothing_that_was_written() {
    let audit = Audit::begin();
    let place = place_with_short(
        "nemesis: { timeline: [{ at: 100ms, for: 50s, fault: { pause: { targets: n2 } } }] }",
    );
    let begun = Instant::now();
    let said = on_a_small_disk(
        &place,
        "256k",
        "--set time-limit=50s --set workload.register.rate=2000/s --set workload.register.concurrency=5n",
    )
    .expect(5);
    assert!(begun.elapsed() < Duration::from_secs(40), "the load went on");
    says(
        &said.stdout,
        &[
            "INFRA  The disk under disk/short/",
            " is full (No space left on device",
            "history.jsonl ends",
            "--runs DIR",
        ],
    );
    says(&said.stderr, &["results.json", "No space left on device"]);
    assert!(!said.stdout.contains("report  "), "a report that is not there:\n{}", said.stdout);
    let run = fs::canonicalize(place.path().join("copy/latest")).unwrap();
    let history = History::open(&run.join("history.jsonl")).unwrap();
    assert!(history.torn.is_none(), "{:?}", history.torn);
    assert!(history.events.len() > 200, "{}", history.events.len());
    assert!(!run.join("results.json").exists() && !run.join("results.json.partial").exists());
    says(&fs::read_to_string(run.join("schism.log")).unwrap(), &["pause injected"]);
    audit.clean();
}

#[test]
fn a_disk_that_is_full_before_the_load_is_named() {
    // For the test file, the plan, the agents' logs, the first events.
    for size in ["4k", "8k", "20k", "40k"] {
        let place = place_with_short("");
        let said = on_a_small_disk(&place, size, "");
        assert_eq!(said.code, Some(5), "{size}: {}", said.printed());
        says(&said.printed(), &["No space left on device", "disk"]);
        assert!(!said.printed().contains("PASS"), "{size}: {}", said.printed());
    }
}

#[test]
fn a_verdict_that_cannot_be_written_is_printed() {
    let place = place_with_short("");
    // Room for some 20 kB of history, none for a report of 40 kB.
    let said = on_a_small_disk(&place, "96k", "--set workload.register.rate=60/s --set power.ok=5");
    says(&said.stdout, &["PASS  Every promise held"]);
    says(&said.stderr, &["report.html", "No space left on device"]);
    assert_eq!(said.code, Some(5), "a CI that looks for the report must not see a success");
}

#[test]
fn no_directory_to_run_in_is_said_before_anything_is_done() {
    let place = place_with_short("");
    place.file("runs", "a file");
    let said = run(&place, &[], 5);
    says(&said.stderr, &["schism: cannot make", "runs"]);
    assert!(said.stdout.is_empty());
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let place = place_with_short(
        "nemesis: { timeline: [{ at: 200ms, for: 300ms, fault: { kill: { targets: n1 } } }] }",
    );
    let pair = [start(&place, &[]), start(&place, &[])];
    for started in pair {
        let said = started.finish(PATIENCE).expect(0);
        says(&said.stdout, &["PASS"]);
    }
    let runs: Vec<_> = fs::read_dir(place.path().join("runs/short")).unwrap().collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
    let plans = runs.into_iter().map(|run| fs::read(run.unwrap().path().join("plan.json")).unwrap());
    let plans: Vec<_> = plans.collect();
    assert_eq!(plans[0], plans[1], "the same addresses, and still two clusters");
}

#[test]
fn an_ordinary_user_can_run_a_test() {
    if !nix::unistd::geteuid().is_root() {
        // Every other test here runs as one, then.
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let schism = place.path().join("schism");
    fs::copy(SCHISM, &schism).unwrap();
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    place.file(
        "own/test.yaml",
        &short_test(
            "nemesis: { timeline: [{ at: 100ms, for: 300ms, fault: { partition: { shape: one } } },
             { at: 500ms, for: 300ms, fault: { kill: { targets: n1 } } }] }",
        ),
    );
    std::os::unix::fs::chown(&own, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let mut command = Command::new(&schism);
    command.args(["run", "test.yaml"]).current_dir(&own).uid(ORDINARY).gid(ORDINARY).env_clear();
    command.env("PATH", "/usr/bin:/bin");
    let started = Started::new(&place, command);
    let said = started.finish(PATIENCE).expect(0);
    says(&said.stdout, &["PASS", "2 faults, seen to bite and to heal"]);
    let results = fs::metadata(own.join("runs/latest/results.json")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&results), ORDINARY);
}

#[test]
fn a_bad_test_file_touches_nothing() {
    let place = Place::new();
    place.file("test.yaml", &short_test("nemisis: {}"));
    let said = run(&place, &[], 2);
    says(&said.stderr, &["test.yaml:9:1: unknown key `nemisis`", "did you mean `nemesis`?"]);
    assert!(said.stdout.is_empty() && !place.path().join("runs").exists());
    let said = place.schism(&["run", "absent.yaml"]).expect(2);
    says(&said.stderr, &["absent.yaml: there is no such file"]);
    place.file("test.yaml", &short_test(""));
    for bad in [["--set", "time-limt=1s"], ["--set", "time-limit=1"], ["--seed", "x"], ["--rums", "x"]] {
        run(&place, &bad, 2);
    }
    // A fault that cannot be made on this cluster is no fault.
    place.file(
        "test.yaml",
        &short_test("nemesis: { timeline: [{ at: 0s, for: 1s, fault: { partition: { shape: one } } }] }")
            .replace("local: 3", "local: 1"),
    );
    let said = run(&place, &[], 2);
    says(&said.stderr, &["test.yaml:", "partition"]);
    assert!(!place.path().join("runs").exists());
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let place = place_with_short("nemesis: { every: 200ms, faults: [{ kill: {} }, { partition: {} }] }");
    for options in [&[][..], &["--json"]] {
        let plan = || place.schism(&[&["plan", "test.yaml"], options].concat()).expect(0).stdout;
        let first = plan();
        assert!(first.contains("kill"));
        assert_eq!(first, plan());
        let other = place.schism(&[&["plan", "test.yaml", "--seed", "2"], options].concat()).expect(0).stdout;
        assert_ne!(first, other);
    }
    assert!(!place.path().join("runs").exists());
}

#[test]
fn check_says_what_is_wrong_with_what_it_is_given() {
    let place = place_with_short("");
    let check = |path: &str| {
        let said = place.schism(&["check", path, "--model", "register"]).expect(2);
        assert!(said.stdout.is_empty(), "{}", said.stdout);
        said.stderr
    };
    says(&check("absent"), &["absent", "No such file"]);
    fs::create_dir(place.path().join("empty")).unwrap();
    says(&check("empty"), &["there is no history in empty"]);
    place.file("none.jsonl", "");
    let said = place.schism(&["check", "none.jsonl", "--model", "register"]).expect(4);
    says(&said.stderr, &["none.jsonl: there is no operation in it"]);
    let good = r#"{"index":0,"time":1,"process":0,"type":"invoke","f":"write","key":"x","value":1,"node":"n1"}
{"index":1,"time":2,"process":0,"type":"ok","f":"write","key":"x","value":1,"node":"n1"}
"#;
    place.file(
        "garbage.jsonl",
        &format!("{good}{{\"index\":2,oops}}\n{}", good.replace("index\":", "index\":1")),
    );
    says(&check("garbage.jsonl"), &["garbage.jsonl:3:12: "]);
    place.file("torn.jsonl", &format!("{good}{{\"index\":2,\"ti"));
    let said = place.schism(&["check", "torn.jsonl", "--model", "register"]).expect(0);
    says(&said.stderr, &["torn.jsonl", "line 3, the last, was cut short after 14 bytes"]);
    says(&said.stdout, &["pass", "1 operation"]);
    // A directory of a run, with a history that somebody wrote into.
    run(&place, &["--quiet"], 0);
    let history = place.latest().join("history.jsonl");
    let lines = fs::read_to_string(&history).unwrap();
    let mut lines: Vec<&str> = lines.lines().collect();
    lines[9] = "what is this?";
    fs::write(&history, lines.join("\n") + "\n").unwrap();
    let said = place.schism(&["check", "runs/latest"]).expect(5);
    says(&said.stdout, &["INFRA", "history.jsonl:10:1: "]);
}

#[test]
fn a_run_without_the_power_to_show_anything_is_void() {
    let place = place_with_short(
        "nemesis: { timeline: [{ at: 100ms, for: 300ms, fault: { kill: { targets: n1 } } }] }",
    );
    let said = run(&place, &["--set", "workload.register.rate=5/s", "--set", "power.ok=1000"], 4);
    says(&said.stdout, &["VOID", "operations were acknowledged; a pass needs 1000"]);
    let results = place.results();
    assert_eq!((&results["verdict"], &results["exit_code"]), (&"void".into(), &4.into()));
    assert_eq!(results["checks"][0]["validity"], "pass", "what there was is checked all the same");
    says(&fs::read_to_string(place.latest().join("junit.xml")).unwrap(), &["a pass needs 1000"]);
}

#[test]
fn a_fault_that_finds_nobody_to_hit_is_no_fault() {
    // The demo system, in which nobody ever says that it leads.
    let roles = "roles:
  leader:
    probe:
      http:
        request: { port: client, path: /health }
        when: body.leads is defined
    term: body.term
clients:";
    let demo = fs::read_to_string(repository("systems/demo.yaml")).unwrap();
    let place = place_with(&demo.replace("\nclients:", &format!("\n{roles}")));
    let text = short_test(
        "nemesis: { timeline: [{ at: 100ms, for: 300ms, fault: { partition: { shape: isolate-leader } } }] }",
    );
    place.file("test.yaml", &text.replace("system: demo", "system: ./odd.yaml"));
    let said = run(&place, &[], 4);
    says(
        &said.stdout,
        &[
            "VOID  partition-1 (isolate the leader from everybody) was not seen to bite: ",
            "no node said that it leads",
            "0 seen to bite",
        ],
    );
    let results = place.results();
    assert_eq!(results["reasons"].as_array().unwrap().len(), 1, "{}", said.stdout);
    assert_eq!(results["checks"][0]["validity"], "pass");
}

#[test]
fn progress_is_plain_lines_on_stderr_and_the_summary_alone_is_on_stdout() {
    let place = place_with_short("");
    let said = run(&place, &["--set", "time-limit=6s"], 0);
    assert!(said.stdout.starts_with("PASS  "), "{}", said.stdout);
    says(
        &said.stdout,
        &["\n  load  ", "\n  report  ", "\n  repeat  schism run test.yaml --set time-limit=6s --seed 1\n"],
    );
    says(&said.stderr, &["short: demo on 3 nodes", "seed 1\n", " ops/s  ok ", "  no fault\n"]);
    for printed in [&said.stdout, &said.stderr] {
        assert!(printed.chars().all(|letter| letter == '\n' || !letter.is_control()), "{printed:?}");
    }
    assert!(!said.stderr.contains("PASS"));

    let quiet = run(&place, &["--quiet"], 0);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.starts_with("PASS  "));
}

#[test]
fn nobody_listening_does_not_change_the_verdict() {
    let place =
        place_with_short("nemesis: { timeline: [{ at: 0s, for: 500ms, fault: { kill: { targets: n1 } } }] }");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["run", "test.yaml"]);
    let status = command.stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.results()["verdict"], "pass");
    // `schism run … |& head -1`
    let mut child = place.start(&["run", "test.yaml"]);
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut child = place.start(&["run", "test.yaml", "--set", "time-limit=30s"]);
    drop((child.stdout.take(), child.stderr.take()));
    let history = place.path().join("runs/latest/history.jsonl");
    let first = fs::canonicalize(place.path().join("runs/latest")).unwrap();
    crate::support::eventually("the second run is under load", PATIENCE, || {
        fs::canonicalize(place.path().join("runs/latest")).is_ok_and(|run| run != first)
            && fs::metadata(&history).is_ok_and(|history| history.len() > 10_000)
    });
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(Path::new(&place.latest().join("report.html")).exists());
}

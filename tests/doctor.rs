//! `schism doctor` as people type it: on a local cluster, and on nodes that stay up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::Value;

use crate::nodes_ssh::{Person, have_openssh};
use crate::support::{Finished, Place, SCHISM, repository, says, short_test};

const FAULTS: &str = "nemesis: { every: 500ms, faults: [{ partition: {} }, { kill: {} }, { pause: {} }] }\n";

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.printed()))
}

/// A check of a node: its state, and what is to be done.
#[track_caller]
fn check(report: &Value, node: usize, name: &str) -> (String, String) {
    let checks = report["nodes"][node]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name}"));
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("advice"))
}

/// The user `bin`, whom every Debian has, where the test may become somebody else.
fn ordinary() -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let number = users.lines().find_map(|line| line.strip_prefix("bin:")?.split(':').nth(1)?.parse().ok());
    number.filter(|_| nix::unistd::geteuid().is_root())
}

#[test]
fn a_test_on_a_local_cluster_can_run_for_everybody() {
    let place = Place::new();
    place.file("test.yaml", &short_test(FAULTS));
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let own = place.path().join("schism");
    if fs::hard_link(SCHISM, &own).is_err() {
        fs::copy(SCHISM, &own).unwrap();
    }
    for user in std::iter::once(None).chain(ordinary().map(Some)) {
        let mut command = std::process::Command::new(&own);
        command.args(["doctor", "test.yaml", "--json"]).current_dir(place.path());
        if let Some(user) = user {
            command.uid(user).gid(user).env("HOME", "/nonexistent");
        }
        let report = json(&Finished::of(command.output().unwrap()).expect(0));
        assert_eq!((&report["can-run"], &report["test"]), (&Value::Bool(true), &Value::from("short")));
        assert_eq!(report["nodes"].as_array().unwrap().len(), 3);
        for node in 0..3 {
            for name in ["reached", "root", "agent", "left behind", "disk", "partition", "kill", "pause"] {
                assert_eq!(check(&report, node, name).0, "fine", "{user:?} n{} {name}: {report}", node + 1);
            }
            assert_eq!(report["nodes"][node]["address"], format!("10.83.0.{}", node + 1));
            assert_eq!(report["nodes"][node]["facts"]["uid"], 0);
        }
    }
    let table = place.schism(&["doctor", "test.yaml", "--set", "cluster.local=2"]).expect(0).stdout;
    says(&table, &["n1", "n2", "partition", "✓ possible", "\"short\" can run here."]);
    assert!(!table.contains("n3"), "{table}");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is written: {left:?}");
}

#[test]
fn a_test_whose_programs_cannot_be_had_cannot_run() {
    let place = Place::new();
    let etcd = fs::read_to_string(repository("examples/etcd.yaml")).unwrap();
    place.file("etcd.yaml", &etcd);
    let missing = r#"system={ name: etcd, package: ./no-such.deb }"#;
    let arguments = ["doctor", "etcd.yaml", "--json", "--set", "cluster.local=1", "--set", missing];
    let mut command = place.command(&arguments);
    command.args(["--set", "nemesis=null"]);
    let finished = Finished::of(command.output().unwrap()).expect(5);
    let report = json(&finished);
    let (state, advice) = check(&report, 0, "programs");
    assert_eq!((state.as_str(), &report["can-run"]), ("problem", &Value::Bool(false)));
    assert!(advice.contains("no-such.deb"), "{advice}");
    assert_eq!(check(&report, 0, "kill").0, "fine");
}

#[test]
fn a_mistake_in_what_was_typed_is_a_usage_error() {
    let place = Place::new();
    place.file("test.yaml", &short_test(""));
    for (arguments, part) in [
        (&["doctor"][..], "TEST.yaml|HOST"),
        (&["doctor", "missing.yaml"], "missing.yaml"),
        (&["doctor", "test.yaml", "--set", "time-limit=never"], "time-limit"),
        (&["doctor", "test.yaml", "n1"], "give it alone"),
        (&["doctor", "a b"], "no host"),
    ] {
        let finished = place.schism(arguments).expect(2);
        says(&finished.printed(), &[part]);
    }
}

#[test]
fn hosts_and_a_test_on_them() {
    if !have_openssh() {
        return;
    }
    let person = Person::me();
    let dir = person.home().join("nodes").display().to_string();
    let config = format!("{dir}/ssh_config");
    let schism = |arguments: &[&str]| Finished::of(person.command(SCHISM).args(arguments).output().unwrap());
    let doctor = |arguments: &[&str]| schism(&[&["doctor"], arguments].concat());
    schism(&["nodes", "up", "--ssh", "2", "--dir", &dir]).expect(0);
    let table = doctor(&["-F", &config, "n1", "n2"]).expect(0).stdout;
    says(&table, &["n1", "n2", "✓ marked", "✓ possible", "Every kind of fault can be made here."]);

    let broken = doctor(&["-F", &config, "n1", "nowhere.invalid", "--json"]).expect(5);
    let report = json(&broken);
    assert_eq!(check(&report, 0, "partition").0, "fine", "{report}");
    let (state, advice) = check(&report, 1, "reached");
    assert!(state == "problem" && advice.contains("nowhere.invalid"), "{advice}");
    assert_eq!(check(&report, 1, "partition").0, "unknown");

    let test = person.home().join("test.yaml");
    let on_them = format!("cluster: {{ ssh: {{ hosts: [n1, n2], config: {config:?} }} }}");
    let text = short_test(FAULTS).replace("cluster: { local: 3 }", &on_them);
    fs::write(&test, &text).unwrap();
    let test = test.display().to_string();
    let report = json(&doctor(&[&test, "--json"]).expect(0));
    assert_eq!((&report["can-run"], report["nodes"].as_array().unwrap().len()), (&Value::Bool(true), 2));

    // The mark is what allows faults, unless the test does.
    let revoke = ["nodes", "allow", "--revoke", "-F", &config, "n2"];
    schism(&revoke).expect(0);
    let report = json(&doctor(&[&test, "--json"]).expect(5));
    assert_eq!(check(&report, 0, "disposable").0, "fine");
    let (state, advice) = check(&report, 1, "disposable");
    assert!(state == "problem" && advice.contains("schism nodes allow"), "{advice}");
    doctor(&[&test, "--set", "cluster.ssh.disposable=true"]).expect(0);
    fs::write(&test, text.replace(FAULTS, "")).unwrap();
    doctor(&[&test]).expect(0);
    schism(&["nodes", "down", "--dir", &dir]).expect(0);
}

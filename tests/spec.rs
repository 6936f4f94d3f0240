//! Test files, good and bad: what is accepted, and what is said about the rest.

use std::fs;
use std::path::{Path, PathBuf};

use schism::plan::{self, Plan};
use schism::spec::{self, Problems};
use schism::system::{self, LoadError};

use crate::support::{Place, short_test};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

fn plan_file(path: &Path, overrides: &[&str]) -> Result<Plan, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|option| (*option).to_owned()).collect();
    let (test, source, system) = plan::prepare(path, &overrides)?;
    plan::resolve(&test, &source, &system, test.seed.unwrap_or(1))
}

/// Everything up to the plan, for a test of the file's text alone.
fn plan_text(text: &str, overrides: &[&str]) -> Result<Plan, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|option| (*option).to_owned()).collect();
    let (test, source) = spec::parse(Path::new("x.yaml"), text.to_owned(), &overrides)?;
    let system = system::load(&test.system.name, Path::new("")).unwrap();
    plan::resolve(&test, &source, &system, 1)
}

/// Messages without the source lines.
fn messages(text: &str, overrides: &[&str]) -> Vec<String> {
    match plan_text(text, overrides) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .list()
            .iter()
            .map(|problem| problem.to_string().lines().next().unwrap_or_default().to_owned())
            .collect(),
    }
}

#[test]
fn every_example_makes_a_plan_that_prints_the_same_twice() {
    for path in examples() {
        let plan = plan_file(&path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let again = plan_file(&path, &[]).unwrap();
        assert_eq!(plan.print(), again.print());
        assert_eq!(serde_json::to_vec(&plan).unwrap(), serde_json::to_vec(&again).unwrap());
        assert!(!plan.faults.faults.is_empty(), "{path:?} makes no fault");
        assert_eq!(plan.setups.len(), 5);

        let read: Plan = serde_json::from_slice(&serde_json::to_vec(&plan).unwrap()).unwrap();
        assert_eq!(read, plan, "a plan survives plan.json");
        for fault in &plan.faults.faults {
            assert!(plan.print().contains(&fault.fault.describe()), "{}", fault.id);
        }
    }
}

#[test]
fn a_test_survives_being_written_and_read() {
    for path in examples() {
        let (test, _) = spec::load(&path, &[]).unwrap();
        let written = serde_json::to_value(&test).unwrap();
        assert_eq!(serde_json::from_value::<spec::Test>(written).unwrap(), test);
    }
}

#[test]
fn the_stale_example_differs_from_its_twin_in_its_reads_only() {
    let [good, stale] = ["etcd.yaml", "etcd-stale.yaml"].map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        spec::load(&path, &[]).unwrap().0
    });
    let spec::Workload::Register(mut register) = stale.workload.clone();
    assert_eq!(register.reads.as_deref(), Some("serializable"));
    register.reads = Some("linearizable".to_owned());
    let twin = spec::Test { name: good.name.clone(), workload: spec::Workload::Register(register), ..stale };
    assert_eq!(twin, good);
}

/// What the schema alone can see; an independent validator must refuse it as well.
const BAD_FOR_THE_SCHEMA: [(&str, &[&str]); 16] = [
    (
        "sytem: demo\ncluster: { local: 5 }\nworkload: { register: {} }",
        &["x.yaml:1:1: unknown key `sytem` in the test file; did you mean `system`?"],
    ),
    (
        "system: demo\ncluster: { local: 0 }\nworkload: { register: {} }",
        &["x.yaml:2:19: `cluster.local` must be from 1 to 32, not 0"],
    ),
    (
        "system: demo\ncluster: { local: many }\nworkload: { register: {} }",
        &["x.yaml:2:19: `cluster.local` must be a whole number, not the text `many`; for example 5"],
    ),
    (
        "system: demo\ncluster: { local: 2.5 }\nworkload: { register: {} }",
        &["x.yaml:2:19: `cluster.local` must be a whole number, not the number 2.5; for example 5"],
    ),
    (
        "system: demo\ncluster: { locl: 5 }\nworkload: { registre: {} }",
        &[
            "x.yaml:2:12: unknown key `locl` in `cluster`; did you mean `local`?",
            "x.yaml:3:13: unknown key `registre` in `workload`; did you mean `register`?",
        ],
    ),
    (
        "cluster: { local: 5 }",
        &[
            "x.yaml:1:1: `system` is missing in the test file; for example `system: etcd`",
            "x.yaml:1:1: `workload` is missing in the test file; for example `workload: { register: { keys: 10, rate: 1000/s, concurrency: 2n } }`",
        ],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: { rate: 500, deadline: 5x, keys: 0, concurrency: 2m } }",
        &[
            "x.yaml:3:31: `workload.register.rate`: `500` is not a rate; write a number per time, like 1000/s or 50/m",
            "x.yaml:3:46: `workload.register.deadline`: `5x`: unknown unit `x`; use ns, us, ms, s, m or h",
            "x.yaml:3:56: `workload.register.keys` must be at least 1, not 0",
            "x.yaml:3:72: `workload.register.concurrency`: `2m` is not a number of workers; write 10, or 2n for two workers a node",
        ],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\ntime-limit: 60\nsettle: [2s]",
        &[
            "x.yaml:4:13: `time-limit`: `60` has no unit; write 60s for seconds or 60ms for milliseconds",
            "x.yaml:5:9: `settle` must be a duration like 10s or 1m 30s, not a list",
        ],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\nnemesis:\n  every: 4\n  faults:\n    - partition: { shape: [halfs, one] }\n    - kil: {}\n    - kill\n    - kill: {}\n      pause: {}",
        &[
            "x.yaml:5:10: `nemesis.every`: `4` has no unit; write 4s for seconds or 4ms for milliseconds",
            "x.yaml:7:28: unknown `halfs` at `nemesis.faults[0].partition.shape[0]`; did you mean `halves`?",
            "x.yaml:8:7: unknown key `kil` in `nemesis.faults[1]`; did you mean `kill`?",
            "x.yaml:9:7: `kill` at `nemesis.faults[2]` needs parameters; write `kill: {…}`",
            "x.yaml:11:7: `kill` and `pause` cannot both stand in `nemesis.faults[3]`; it needs one of them",
        ],
    ),
    (
        "system: { name: etcd, version: 3.4 }\ncluster: { local: 5 }\nworkload: { register: {} }",
        &["x.yaml:1:32: `system.version` must be text; put the number in quotes: \"3.4\""],
    ),
    (
        "system: [etcd]\ncluster: 5\nworkload: register",
        &[
            "x.yaml:1:9: `system` must be text or a mapping, not a list; for example etcd",
            "x.yaml:2:10: `cluster` must be a mapping with `local:` or `ssh:`, not the number 5; for example { local: 5 }",
            "x.yaml:3:11: `register` at `workload` needs parameters; write `register: {…}`",
        ],
    ),
    (
        "system: demo\ncluster:\nworkload: { register: {} }",
        &[
            "x.yaml:2:1: `cluster` is empty; it must be a mapping with `local:` or `ssh:`; for example { local: 5 }",
        ],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\nchecks: { linearizable: { memory-limit: 1GIB } }\npower: { ok: 0 }\nseed: -1",
        &[
            "x.yaml:4:41: `checks.linearizable.memory-limit`: `1GIB`: unknown unit `GIB`; use B, kB, MB, GB, KiB, MiB or GiB",
            "x.yaml:5:14: `power.ok` must be at least 1, not 0",
            "x.yaml:6:7: `seed` must be at least 0, not -1",
        ],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\nname: ''",
        &["x.yaml:4:7: `name` must not be empty"],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\nnemesis: { every: 1s, faults: [] }",
        &["x.yaml:4:31: `nemesis.faults` must not be empty"],
    ),
    ("- just\n- a list", &["x.yaml:1:1: the test file must be a mapping, not a list"]),
];

/// What takes a cluster, a system or YAML itself to see.
const BAD: [(&str, &[&str]); 17] = [
    (
        "system: demo\ncluster: { local: 3 }\nworkload: { register: {} }\nnemesis:\n  every: 4s\n  faults:\n    - partition: { shape: [majorities-ring, isolate-leader] }\n    - kill: { targets: [4, n7, leader] }",
        &[
            "x.yaml:7:28: `majorities-ring` needs at least 4 nodes",
            "x.yaml:7:45: `isolate-leader` needs a system that says who leads",
            "x.yaml:8:25: cannot kill 4 nodes: the cluster has 3",
            "x.yaml:8:28: there is no node `n7`",
            "x.yaml:8:32: `leader` needs a system that says who leads",
        ],
    ),
    (
        "system: { name: demo, version: \"3.4\", settings: { mode: local-read, moode: 1 } }\ncluster: { local: 5 }\nworkload: { register: { reads: serializable, mix: { cas: 1 } } }",
        &[
            "x.yaml:1:23: `demo` comes from no package, so there is no `version` to choose",
            "x.yaml:1:57: setting `mode` of system `demo`: `local-read` is not one of correct, local-reads, ack-early, forgets-on-restart; did you mean `local-reads`?",
            "x.yaml:1:69: system `demo` has no setting `moode`; did you mean `mode`?",
            "x.yaml:3:32: client `demo` has no reads called `serializable`; it has one kind of read only",
            "x.yaml:3:51: this client does not support `cas`, only read, write",
        ],
    ),
    (
        "system: { name: etcd, settings: { snapshot_count: lots } }\ncluster: { local: 5 }\nworkload: { register: { reads: serialisable, concurrency: 9999n } }",
        &[
            "x.yaml:1:51: setting `snapshot_count` of system `etcd`: expected a whole number, found \"lots\"",
            "x.yaml:3:32: client `etcd` has no reads called `serialisable`; did you mean `serializable`?",
            "x.yaml:3:59: 9999n on 5 nodes are 49995 workers; at most 10000 make sense",
        ],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: { deadline: 0s } }\ntime-limit: 60s",
        &["x.yaml:3:35: `deadline` must be above zero"],
    ),
    (
        "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\ntime-limit: 0s\nname: a/b",
        &["x.yaml:4:13: `time-limit` must be above zero", "x.yaml:5:7: `a/b` cannot name a directory"],
    ),
    (
        "system: demo\ncluster: { local: 5 }\ncluster: { local: 3 }\nworkload: { register: { keys: 1, keys: 2 } }",
        &[
            "x.yaml:3:1: key `cluster` is given twice; it is first given in line 2",
            "x.yaml:4:34: key `keys` is given twice; it is first given in line 4",
        ],
    ),
    ("", &["x.yaml: the test file is empty; it could start like this:"]),
    ("# only a comment\n", &["x.yaml: the test file is empty"]),
    ("system: demo\n\tcluster: 1", &["x.yaml:2:1: a tab in the indentation; YAML is indented with spaces"]),
    ("system: demo\ncluster:\n  local: 3\n\tworkload: 3", &["x.yaml:4:1: a tab in the indentation"]),
    (
        "system: \"demo\ncluster: 1",
        &["x.yaml:1:9: not valid YAML: invalid indentation in quoted scalar; is the closing quote missing?"],
    ),
    ("system: { name: demo\ncluster: { local: 5 }", &["x.yaml:2:8: not valid YAML"]),
    ("system: demo\n---\nsystem: etcd", &["x.yaml:2:1: a second document starts here; one file holds one"]),
    ("system: !mine demo", &["x.yaml:1:9: the tag `!mine` is not supported"]),
    (
        "system: demo\n? [a, b]\n: 3\nseed: 99999999999999999999999",
        &[
            "x.yaml:2:3: a key must be text, not a list",
            "x.yaml:4:7: `99999999999999999999999` does not fit into 64 bits",
        ],
    ),
    ("system: *nowhere", &["x.yaml:1:9: not valid YAML"]),
    ("system: &a [*a]", &["x.yaml:1:13: an alias inside what it stands for"]),
];

#[test]
fn bad_files_are_told_everything_that_is_wrong_with_them() {
    for (text, expected) in BAD_FOR_THE_SCHEMA.iter().chain(&BAD) {
        let found = messages(text, &[]);
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (found, expected) in found.iter().zip(*expected) {
            assert!(found.starts_with(expected), "{text}\nfound    {found}\nexpected {expected}");
        }
    }
}

#[test]
fn an_independent_validator_agrees_with_the_schema() {
    let schema = spec::schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        let value = spec::Source::parse(&path, text).unwrap().root().to_value();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{path:?}: {errors:?}");
    }
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example), "{example}");
        serde_json::from_value::<spec::Test>(example.clone()).unwrap();
    }
    for (text, _) in BAD_FOR_THE_SCHEMA {
        let value = spec::Source::parse(Path::new("x.yaml"), text.to_owned()).unwrap().root().to_value();
        assert!(!validator.is_valid(&value), "{text}");
    }

    let schema = system::schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (name, text) in system::builtin() {
        let value = spec::Source::parse(Path::new(name), text.to_owned()).unwrap().root().to_value();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn a_problem_is_shown_where_it_stands() {
    let text = "system: demo\ncluster: { local: 5 }\nworkload:\n  register: { keys: 5, concurency: 2n }\ntim-limit: 10s\n";
    insta::assert_snapshot!(plan_text(text, &[]).unwrap_err().to_string(), @r"
    x.yaml:4:24: unknown key `concurency` in `workload.register`; did you mean `concurrency`?
      4 |   register: { keys: 5, concurency: 2n }
        |                        ^^^^^^^^^^
    x.yaml:5:1: unknown key `tim-limit` in the test file; did you mean `time-limit`?
      5 | tim-limit: 10s
        | ^^^^^^^^^
    ");
}

#[test]
fn a_long_line_is_cut_and_nothing_in_it_reaches_the_terminal() {
    let text = format!(
        "{{system: demo, cluster: {{local: 5}}, workload: {{register: {{}}}}, {}bogus: \u{9b}31m}}",
        " ".repeat(5000)
    );
    let error = plan_text(&text, &[]).unwrap_err().to_string();
    assert!(error.lines().all(|line| line.chars().count() < 250), "{error}");
    assert!(error.contains("bogus") && !error.contains('\u{9b}'), "{error:?}");
}

const GOOD: &str = "system: demo\ncluster: { local: 5 }\nworkload: { register: { keys: 5 } }\nnemesis:\n  every: 4s\n  faults:\n    - kill: { targets: one }\n";

#[test]
fn overrides_are_applied_before_anything_is_checked() {
    let plan = plan_text(
        GOOD,
        &[
            "cluster.local=3",
            "workload.register.rate=50/s",
            "nemesis.faults.0.kill.targets=[n2, n3]",
            "system.settings.mode=local-reads",
            "checks.linearizable.time-limit=5s",
            "name=another name",
            "seed = 7",
        ],
    )
    .unwrap();
    assert_eq!(plan.cluster.nodes.len(), 3);
    assert_eq!(plan.name, "another name");
    assert_eq!(plan.system.settings["mode"], "local-reads");
    assert_eq!(plan.checks[0].time_limit, schism_units::Span::seconds(5));
    assert_eq!(plan.overrides.len(), 7);
    assert!(plan.faults.faults.iter().all(|fault| !fault.fault.describe().contains("n1")));
    assert!(plan_text(GOOD, &["nemesis="]).unwrap().faults.faults.is_empty());
}

#[test]
fn wrong_overrides_are_told_as_such() {
    for (option, expected) in [
        (
            "tim-limit=5s",
            "--set tim-limit=5s: unknown key `tim-limit` in the test file; did you mean `time-limit`?",
        ),
        (
            "workload.register.kys=5",
            "--set workload.register.kys=5: unknown key `kys` in `workload.register`; did you mean `keys`?",
        ),
        ("workload.registre.keys=5", "--set workload.registre.keys=5: "),
        ("time-limit=5", "--set time-limit=5: `time-limit`: `5` has no unit"),
        ("cluster.local=0", "--set cluster.local=0: `cluster.local` must be from 1 to 32, not 0"),
        (
            "system.settings.mood=x",
            "--set system.settings.mood=x: system `demo` has no setting `mood`; did you mean `mode`?",
        ),
        (
            "nemesis.faults.7.kill={}",
            "--set nemesis.faults.7.kill={}: `7` leads into a list; its items are 0 to 0",
        ),
        ("cluster.local.x=1", "--set cluster.local.x=1: "),
        ("seed", "--set seed: there is no `=`; write a path, `=` and a value"),
        ("=5", "--set =5: the path has an empty step"),
        ("seed={", "--set seed={: the value is wrong: "),
        ("cluster.local=9999", "--set cluster.local=9999: `cluster.local` must be from 1 to 32"),
    ] {
        let found = messages(GOOD, &[option]);
        assert_eq!(found.len(), 1, "{option}: {found:#?}");
        assert!(found[0].starts_with(expected), "{option}: {found:#?}");
    }
}

#[test]
fn files_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("latin1.yaml"), b"system: demo\nname: caf\xe9\n").unwrap();
    std::fs::File::create(at("huge.yaml")).unwrap().set_len(1 << 30).unwrap();
    for (path, expected) in [
        (at("missing.yaml"), "missing.yaml: there is no such file"),
        (directory.path().to_owned(), ": it is a directory; name the YAML file in it"),
        (at("latin1.yaml"), "latin1.yaml:2:10: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (at("huge.yaml"), "huge.yaml: it is larger than 4 MiB"),
    ] {
        let error = spec::load(&path, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    plan_text(&text, &[]).unwrap();
    let wrong = format!("{text}bogus: 1\r\n");
    assert!(messages(&wrong, &[])[0].starts_with("x.yaml:8:1: unknown key `bogus`"));
}

#[test]
fn anchors_stand_for_what_they_name_but_not_for_billions() {
    let text = "system: demo\ncluster: { local: 5 }\nworkload: { register: {} }\nnemesis:\n  every: &t 4s\n  duration: *t\n  faults: [kill: {}]";
    plan_text(text, &[]).unwrap();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    assert!(messages(&bomb, &[])[0].contains("too large"), "{:?}", messages(&bomb, &[]));
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        assert!(messages(&deep, &[])[0].contains("nested too deeply"), "{:?}", messages(&deep, &[]));
    }
}

#[test]
fn a_system_is_found_by_name_or_beside_the_test_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test.yaml");
    let (_, demo) = system::builtin().find(|(name, _)| *name == "demo").unwrap();
    std::fs::write(directory.path().join("mine.yaml"), demo.replace("name: demo\n", "name: mine\n")).unwrap();
    std::fs::write(&file, GOOD.replace("system: demo", "system: ./mine.yaml")).unwrap();
    let plan = plan_file(&file, &[]).unwrap();
    assert_eq!(plan.system.def.name, "mine");
    assert_eq!(plan.name, "test", "a test without a name is called as its file");

    for (option, expected) in [
        ("system=etdc", "--set system=etdc: unknown system `etdc`; did you mean `etcd`?"),
        (
            "system=nothing-like-it",
            "unknown system `nothing-like-it`; there are demo, etcd; for one of your own write its path",
        ),
        ("system=./none.yaml", "none.yaml: there is no such file"),
        ("system.name=none.yaml", "none.yaml: there is no such file"),
    ] {
        let error = plan_file(&file, &[option]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = plan_file(&file, &["cluster.local=5"]).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(error, Ok(()));
}

/// Messages about the demo system with one piece of its text replaced.
fn system_messages(from: &str, to: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let (_, demo) = system::builtin().find(|(name, _)| *name == "demo").unwrap();
    assert!(demo.contains(from), "{from}");
    std::fs::write(directory.path().join("s.yaml"), demo.replacen(from, to, 1)).unwrap();
    match system::load("s.yaml", directory.path()) {
        Ok(_) => Vec::new(),
        Err(LoadError::Missing(message)) => vec![message],
        Err(LoadError::Wrong(problems)) => {
            let shorter = format!("{}/", directory.path().display());
            let name = |text: String| text.lines().next().unwrap_or_default().replace(&shorter, "");
            problems.list().iter().map(|problem| name(problem.to_string())).collect()
        }
    }
}

#[test]
fn bad_systems_are_told_what_is_wrong_with_them() {
    for (from, to, expected) in [
        ("ports:", "prots:", "s.yaml:16:1: unknown key `prots` in the system; did you mean `ports`?"),
        ("name: demo\n", "name: De mo\n", "s.yaml:4:7: `De mo` cannot be a system's name"),
        (
            "request: { port: client,",
            "request: { port: clinet,",
            "there is no port `clinet` under `ports`; did you mean `client`?",
        ),
        ("client: 7100", "client: 70000", "`ports.client` must be from 1 to 65535, not 70000"),
        ("\"{{ node.name }}\"", "\"{{ node.name \"", "the template is wrong: "),
        ("\"{{ node.name }}\"", "\"{{ node.nam }}\"", "the template fails: "),
        ("{{ settings.mode }}", "{{ settings.mood }}", "the template fails: "),
        ("when: body.health", "when: body.health ==", "the template is wrong: "),
        ("default: correct", "default: corect", "the default does not fit: `corect` is not one of correct"),
        ("signal: TERM", "signal: TREM", "unknown `TREM` at `stop.signal`; did you mean `TERM`?"),
        ("client: demo", "client: dema", "there is no client `dema`; did you mean `demo`?"),
        ("each: peers", "each: pears", "did you mean `peers`?"),
        (
            "processes:\n",
            "files:\n  - { path: relative, template: x }\nprocesses:\n",
            "`relative` is not an absolute path",
        ),
        (
            "processes:\n",
            "files:\n  - { path: /x, template: x, mode: \"999\" }\nprocesses:\n",
            "`999` is not a file mode",
        ),
    ] {
        let found = system_messages(from, to);
        assert_eq!(found.len(), 1, "{to}: {found:#?}");
        assert!(found[0].contains(expected) && found[0].starts_with("s.yaml:"), "{to}: {found:#?}");
    }
    assert_eq!(system_messages("name: demo", "name: demo"), Vec::<String>::new());
}

#[test]
fn a_template_in_a_block_is_wrong_on_its_own_line() {
    let files = "files:\n  - path: \"{{ data }}/x.conf\"\n    template: |\n      one\n      two {{ nothing }}\n      three\nprocesses:\n";
    let found = system_messages("processes:\n", files);
    assert_eq!(found.len(), 1, "{found:#?}");
    // `files:` takes the line of `processes:`, the template's second line is the fifth.
    let (_, demo) = system::builtin().find(|(name, _)| *name == "demo").unwrap();
    let line = demo.lines().position(|line| line == "processes:").unwrap() + 1 + 4;
    assert!(found[0].starts_with(&format!("s.yaml:{line}:14: the template fails: ")), "{line} {found:#?}");
}

#[test]
fn the_plan_has_the_addresses_of_the_local_cluster() {
    assert_eq!(usize::from(spec::LocalNodes::MAX), schism::transport::local::NODES_MAX);
    let nodes = plan::local_nodes(schism::transport::local::NODES_MAX);
    assert_eq!(nodes.len(), schism::transport::local::NODES_MAX);
    assert_eq!((nodes[4].name.as_str(), nodes[4].address.to_string().as_str()), ("n5", "10.83.0.5"));
}

#[test]
fn binaries_are_filled_in_where_they_really_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/etcd.yaml");
    let plan = plan_file(&path, &["cluster.local=4"]).unwrap();
    assert_eq!(plan.setups[0].processes[0].command.argv[0], "etcd");
    let binaries = [("etcd".to_owned(), "/cache/etcd-3.4/usr/bin/etcd".to_owned())].into();
    let setups = plan.setups(&binaries).unwrap();
    let command = &setups[1].processes[0].command;
    assert_eq!(command.argv[0], "/cache/etcd-3.4/usr/bin/etcd");
    let cluster = "--initial-cluster=n1=http://10.83.0.1:2380,n2=http://10.83.0.2:2380,n3=http://10.83.0.3:2380,n4=http://10.83.0.4:2380";
    assert!(command.argv.iter().any(|argument| argument == cluster), "{command:#?}");
    assert_eq!(setups[1].leader.as_ref().unwrap().http.path, "/v3/maintenance/status");
    let error = plan.setups(&Default::default()).unwrap_err();
    assert_eq!(error.path, ["processes", "0", "command", "0"]);
}

mod never_panics {
    use proptest::prelude::*;

    use super::*;

    fn digest(text: &str) {
        // Whatever comes out, it can be printed.
        if let Err(problems) = spec::parse(Path::new("x.yaml"), text.to_owned(), &[]) {
            assert!(!problems.to_string().is_empty());
        }
    }

    proptest! {
        #[test]
        fn on_noise(text in "\\PC{0,200}") {
            digest(&text);
        }

        #[test]
        fn on_yaml_that_was_tampered_with(at in 0..GOOD.len(), length in 0_usize..12, noise in "[\\[\\]{}:,\\-&*!|>'\"%@`#?~\\t\\n aé0.]{0,6}") {
            let mut text = GOOD.to_owned();
            text.replace_range(at..(at + length).min(GOOD.len()), &noise);
            digest(&text);
        }

        #[test]
        fn on_options(option in "[a-z.0-9]{0,20}=?[\\[\\]{}:, a-z0-9]{0,10}") {
            _ = spec::parse(Path::new("x.yaml"), GOOD.to_owned(), &[option]);
        }
    }
}

#[test]
fn a_dry_run_prints_every_command_and_touches_nothing() {
    let place = Place::new();
    let nemesis = "nemesis: { timeline: [
        { at: 1s, for: 2s, fault: { partition: { shape: { cut: { from: [n1], to: [n2] } } } } },
        { at: 4s, for: 1s, fault: { kill: { targets: n3 } } },
        { at: 6s, for: 1s, fault: { pause: { targets: n1 } } } ] }";
    place.file("test.yaml", &short_test(nemesis));
    let before: Vec<_> =
        fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let said = place.schism(&["run", "test.yaml", "--dry-run", "--set", "time-limit=10s"]).expect(0).stdout;
    for part in [
        "partition-1: one way: drop what n1 sends to n2\n  at 1.000 s\n    n2  nft add table inet schism\n",
        "{ 10.83.0.1 timeout 10000ms }",
        "kill-1: kill n3\n  at 4.000 s\n    n3  kill -KILL $(processes of demo)\n  at 5.000 s\n    n3  schism demo-node --name n3 ",
        "pause-1: pause n1\n  at 6.000 s\n    n1  kill -STOP $(processes of demo)\n  at 7.000 s\n    n1  kill -CONT $(processes of demo)\n",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    let after: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
}

mod over_ssh {
    use schism::spec::{Cluster, SshHosts};

    use super::*;

    /// The plan of the demo on these hosts, with a hosts file beside the test.
    fn planned(cluster: &str, hosts_file: &str) -> Result<plan::Plan, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.yaml");
        let text =
            format!("system: demo\ncluster: {{ ssh: {cluster} }}\nworkload: {{ register: {{}} }}\nseed: 1\n");
        std::fs::write(&path, text).unwrap();
        std::fs::write(directory.path().join("hosts.txt"), hosts_file).unwrap();
        let (test, source, system) = plan::prepare(&path, &[]).map_err(|problems| problems.to_string())?;
        plan::resolve(&test, &source, &system, 1).map_err(|problems| problems.to_string())
    }

    #[test]
    fn addresses_that_are_found_later_have_something_that_stands_for_them() {
        let plan = planned("{ hosts: [n1, me@10.0.0.3:2222, { host: n3, name: c, address: 10.0.0.7 }] }", "")
            .unwrap();
        let nodes: Vec<String> =
            plan.cluster.nodes.iter().map(|node| format!("{} {}", node.name, node.address)).collect();
        assert_eq!(nodes, ["n1 192.0.2.1", "10.0.0.3 10.0.0.3", "c 10.0.0.7"]);
        let printed = plan.print();
        assert!(
            printed.contains("n1 is n1, its address is found when the run begins; 192.0.2.1"),
            "{printed}"
        );
        assert!(printed.contains("10.0.0.3 is me@10.0.0.3:2222, 10.0.0.3"), "{printed}");
        let found = ["10.1.0.1", "10.0.0.3", "10.0.0.7"].map(|address| address.parse().unwrap());
        let plan = plan.with_addresses(&found).unwrap();
        let json = String::from_utf8(plan.to_json()).unwrap();
        assert!(
            json.contains("10.1.0.1") && !json.contains("192.0.2."),
            "nothing stands for anything any more: {json}"
        );
        assert_eq!(serde_json::from_str::<plan::Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn hosts_come_from_a_file_too() {
        let plan = planned(
            "{ hosts: { file: hosts.txt }, key: id, config: ssh/config }",
            "# ours\nn1\n\nme@n2:7 name=b address=10.0.0.2\n",
        )
        .unwrap();
        let Cluster::Ssh(ssh) = &plan.cluster.kind else { panic!("{:?}", plan.cluster.kind) };
        let SshHosts::List(hosts) = &ssh.hosts else { panic!("{:?}", ssh.hosts) };
        assert_eq!(hosts.iter().map(|host| host.node()).collect::<Vec<_>>(), ["n1", "b"]);
        // Relative to the test file, wherever we are.
        for path in [&ssh.key, &ssh.config] {
            assert!(Path::new(path.as_ref().unwrap()).is_absolute(), "{path:?}");
        }
        let error = planned("{ hosts: { file: hosts.txt } }", "n1\nn2 adress=1\n").unwrap_err();
        assert!(error.contains("hosts.txt:2:1: `adress=1` is neither"), "{error}");
        let error = planned("{ hosts: { file: none.txt } }", "").unwrap_err();
        assert!(error.contains("test.yaml:2:") && error.contains("none.txt"), "{error}");
        let error = planned("{ hosts: { file: hosts.txt } }", "# nobody\n").unwrap_err();
        assert!(error.contains("from 1 to 100 hosts, not 0"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_hosts_is_said_where_it_stands() {
        for (cluster, expected) in [
            ("{ hosts: [n1, n1] }", "two hosts are called `n1`"),
            ("{ hosts: [] }", "must not be empty"),
            ("{ hosts: [\"-oProxyCommand=x\"] }", "is no host"),
            ("{ hosts: [{ host: n1, adress: 10.0.0.1 }] }", "did you mean `address`?"),
            ("{ hosts: [{ host: n1, address: here }] }", "IP address"),
            ("{ hosts: [n1], reach: directly }", "did you mean `direct`?"),
            ("{ hosts: [n1], host-keys: no }", "host-keys"),
            ("{ hosts: [n1], port: 0 }", "port"),
            ("{ host: [n1] }", "did you mean `hosts`?"),
        ] {
            let error = planned(cluster, "").unwrap_err();
            assert!(error.contains(expected) && error.contains("test.yaml:2:"), "{cluster}: {error}");
        }
    }
}

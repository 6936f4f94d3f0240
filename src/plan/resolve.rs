//! From a test file and a system to a plan.

use std::path::Path;

use schism_units::Span;
use schism_workloads::register::RegisterSpec;
use schism_workloads::{ClientInfo, client_info, connector};

use super::{Length, Phase, Plan, PlannedCheck, PlannedCluster, PlannedSystem, PlannedWorkload, setups};
use crate::spec::{self, Problem, Problems, Source, SystemChoice, Test, Workload, nearest};
use crate::system::{self, LoadError, System};

/// Reads a test file with its `--set` options, and the system that it names.
///
/// # Errors
/// Everything that is wrong with either.
pub fn prepare(path: &Path, overrides: &[String]) -> Result<(Test, Source, System), Problems> {
    let (mut test, source) = spec::load(path, overrides)?;
    super::cluster::complete(&mut test.cluster, &source)?;
    let base = path.parent().unwrap_or(Path::new(""));
    match system::load(&test.system.name, base) {
        Ok(system) => Ok((test, source, system)),
        Err(LoadError::Missing(message)) => {
            Err(source.problem(&system_path(&source, "name"), message).into())
        }
        Err(LoadError::Wrong(problems)) => Err(problems),
    }
}

/// Where something about the system stands: `system: etcd` is short for `system: { name: etcd }`.
fn system_path(source: &Source, field: &str) -> Vec<String> {
    let system = source.root().entry("system").map(|entry| &entry.value);
    match system.and_then(|system| system.entry(field)) {
        Some(_) => vec!["system".to_owned(), field.to_owned()],
        None => vec!["system".to_owned()],
    }
}

/// Makes the plan of a test. Pure: it touches nothing, and gives the same for the same.
///
/// # Errors
/// Everything in the test that makes no sense on its cluster and with its system, each with line and column.
pub fn resolve(test: &Test, source: &Source, system: &System, seed: u64) -> Result<Plan, Problems> {
    let mut problems = Vec::new();
    let def = &system.def;
    let nodes = super::cluster::nodes(&test.cluster, source, &mut problems);
    let settings = def.settings(&test.system.settings).unwrap_or_else(|errors| {
        for error in errors {
            let path = ["system", "settings", &error.name].map(str::to_owned);
            let place = if error.is_unknown {
                source.problem_with_key(&path, error.message)
            } else {
                source.problem(&path, error.message)
            };
            problems.push(place);
        }
        Default::default()
    });
    let package = package(&test.system, def.install.packages.is_empty(), source, &mut problems);
    let workload = match &test.workload {
        Workload::Register(register) => workload(test, register, system, nodes.len(), source, &mut problems),
    };
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let roles: &[&str] = if def.roles.leader.is_some() { &["leader"] } else { &[] };
    let faults = match &test.nemesis {
        None => Default::default(),
        Some(nemesis) => schism_nemesis::schedule::plan(nemesis, &names, roles, seed, test.time_limit.0)
            .unwrap_or_else(|errors| {
                problems.extend(errors.into_iter().map(|error| source.problem(&error.path, error.message)));
                Default::default()
            }),
    };
    let setups = match problems.is_empty() {
        false => Vec::new(),
        true => setups(def, &nodes, &settings, &def.binary_names()).unwrap_or_else(|error| {
            let inside = (error.line, error.column);
            problems.push(system.source.problem_inside(&error.path, inside, error.message));
            Vec::new()
        }),
    };
    let (Some(workload), None) = (workload, Problems::new(problems.clone())) else {
        let nothing =
            || Problem::whole(source.path().display().to_string(), "no client fits the workload").into();
        return Err(Problems::new(problems).unwrap_or_else(nothing));
    };
    Ok(Plan {
        schism: env!("CARGO_PKG_VERSION").to_owned(),
        name: test.name.clone(),
        file: source.path().display().to_string(),
        overrides: source.overrides().to_vec(),
        seed,
        cluster: PlannedCluster { kind: test.cluster.clone(), nodes },
        system: PlannedSystem { def: def.clone(), version: test.system.version.clone(), package, settings },
        setups,
        workload,
        phases: phases(test, system),
        time_limit: test.time_limit,
        settle: test.settle,
        faults,
        capture: test.nemesis.as_ref().is_some_and(|nemesis| nemesis.capture),
        checks: vec![PlannedCheck {
            checker: "linearizable".to_owned(),
            model: "cas-register".to_owned(),
            time_limit: test.checks.linearizable.time_limit,
            memory_limit: test.checks.linearizable.memory_limit,
        }],
        power: test.power,
    })
}

/// The package file wanted, relative to where we are instead of to the test file.
fn package(
    choice: &SystemChoice,
    has_none: bool,
    source: &Source,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    for (field, given) in [("version", choice.version.is_some()), ("package", choice.package.is_some())] {
        if given && has_none {
            let message = format!(
                "`{}` comes from no package, so there is no `{field}` to choose; remove it",
                choice.name
            );
            problems.push(source.problem_with_key(&system_path(source, field), message));
        }
    }
    let base = source.path().parent().unwrap_or(Path::new(""));
    choice.package.as_ref().map(|package| base.join(package).display().to_string())
}

fn workload(
    test: &Test,
    register: &RegisterSpec,
    system: &System,
    nodes: usize,
    source: &Source,
    problems: &mut Vec<Problem>,
) -> Option<PlannedWorkload> {
    let def = &system.def;
    let path = |field: &str| ["workload", "register", field].map(str::to_owned);
    // A system whose clients we do not know, or whose ports do not exist, was refused when it was read.
    let client = def.clients.iter().find(|client| client_info(&client.client).is_ok())?;
    let info = client_info(&client.client).ok()?;
    let port = def.ports.get(&client.port)?.get();
    if let Err(message) = register.check(info.operations) {
        problems.push(source.problem(&path("mix"), message));
    }
    if register.deadline.0.is_zero() {
        problems.push(source.problem(&path("deadline"), "`deadline` must be above zero; for example 5s"));
    }
    let reads = match reads(info, register.reads.as_deref()) {
        Ok(reads) => reads,
        Err(message) => {
            problems.push(source.problem(&path("reads"), message));
            None
        }
    };
    let workers = register.concurrency.workers(nodes);
    if workers > WORKERS_MAX {
        let message = format!(
            "{} on {nodes} nodes are {workers} workers; at most {WORKERS_MAX} make sense",
            register.concurrency
        );
        problems.push(source.problem(&path("concurrency"), message));
    }
    Some(PlannedWorkload {
        spec: test.workload.clone(),
        workers,
        client: client.client.clone(),
        port,
        operations: sent(register, info),
        reads,
    })
}

/// More workers than this are a slip of the pen: each has a connection of its own.
const WORKERS_MAX: usize = 10_000;

/// The operations that a workload sends through a client.
fn sent(register: &RegisterSpec, info: &ClientInfo) -> Vec<String> {
    let weight = |operation: &str| match (register.mix, operation) {
        (None, _) => 1,
        (Some(mix), "read") => mix.read,
        (Some(mix), "write") => mix.write,
        (Some(mix), _) => mix.cas,
    };
    info.operations.iter().filter(|operation| weight(operation) > 0).map(|name| (*name).to_owned()).collect()
}

/// The consistency that a client's reads are to ask for.
fn reads(info: &ClientInfo, wanted: Option<&str>) -> Result<Option<String>, String> {
    let Some(wanted) = wanted else { return Ok(info.reads.first().map(|reads| (*reads).to_owned())) };
    match (connector(info.name, Some(wanted)), nearest(wanted, info.reads)) {
        (Ok(_), _) => Ok(Some(wanted.to_owned())),
        (Err(_), Some(near)) => {
            Err(format!("client `{}` has no reads called `{wanted}`; did you mean `{near}`?", info.name))
        }
        (Err(error), None) => Err(error.to_string()),
    }
}

fn phases(test: &Test, system: &System) -> Vec<Phase> {
    let phase = |name: &str, what: String, length| Phase { name: name.to_owned(), what, length };
    let system_name = &system.def.name;
    let load = match &test.nemesis {
        None => "clients run the workload; no faults".to_owned(),
        Some(_) => "clients run the workload, the nemesis makes faults".to_owned(),
    };
    let check: Span = test.checks.linearizable.time_limit;
    vec![
        phase(
            "cluster",
            "bring the nodes up, start an agent on each, look for leftovers".to_owned(),
            Length::Open,
        ),
        phase("start", format!("install {system_name}, write its files, start it"), Length::Open),
        phase(
            "health",
            "wait until every node is healthy".to_owned(),
            Length::AtMost(system.def.health.deadline),
        ),
        phase("load", load, Length::Exactly(test.time_limit)),
        phase("heal", "heal every fault and verify that it is gone".to_owned(), Length::Open),
        phase("settle", "let the system recover".to_owned(), Length::Exactly(test.settle)),
        phase("final reads", "read every recent key through every node".to_owned(), Length::Open),
        phase(
            "collect",
            format!("fetch logs, stop {system_name}, look for leftovers, take the cluster down"),
            Length::Open,
        ),
        phase("check", "check the history".to_owned(), Length::AtMost(check)),
        phase("report", "write results and report".to_owned(), Length::Open),
    ]
}

//! `schism doctor`: whether a test can run on its cluster, or faults be made on hosts.

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;

use schism_nemesis::spec::NemesisSpec;
use schism_nemesis::timeline::FaultKind;

use super::{args, print};
use crate::doctor::{Report, examine_hosts, examine_plan};
use crate::plan::{self, Plan};
use crate::spec::{SshCluster, SshHost, SshHosts};
use crate::stderr::say;
use crate::transport::ssh::SshOptions;
use crate::verdict::Verdict;

/// The seed of a plan of which only the cluster and the system matter.
const ANY_SEED: u64 = 1;
/// The width of the table where there is no terminal.
const WIDTH: usize = 120;

/// Whom to ask.
enum Whom {
    Plan(Box<Plan>, BTreeSet<FaultKind>),
    Hosts(Box<SshCluster>),
}

pub fn main(arguments: &args::Doctor) -> ExitCode {
    let whom = match whom(arguments) {
        Ok(whom) => whom,
        Err(why) => return super::usage(&why),
    };
    let infra = ExitCode::from(Verdict::Infra.exit_code());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("schism doctor: cannot start: {error}"));
            return infra;
        }
    };
    let report = runtime.block_on(async {
        match whom {
            Whom::Plan(plan, faults) => examine_plan(&plan, faults).await,
            Whom::Hosts(cluster) => examine_hosts(SshOptions::new(*cluster)).await,
        }
    });
    runtime.shutdown_background();
    let printed = print(&if arguments.json { json(&report) } else { table(&report) });
    if report.can_run { printed } else { infra }
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).map_or_else(|error| error.to_string(), |json| json + "\n")
}

fn table(report: &Report) -> String {
    let width = terminal_size::terminal_size_of(io::stdout());
    report.print(width.map_or(WIDTH, |(width, _)| usize::from(width.0)))
}

/// A test file ends as YAML does, or is a path; everything else is a host.
fn is_test(argument: &str) -> bool {
    [".yaml", ".yml"].iter().any(|end| argument.ends_with(end)) || argument.contains('/')
}

fn whom(arguments: &args::Doctor) -> Result<Whom, String> {
    let args::Doctor { whom, set, config, .. } = arguments;
    if let Some(test) = whom.iter().find(|argument| is_test(argument)) {
        if whom.len() > 1 {
            return Err(format!("schism: `{test}` is a test file; give it alone, or give hosts only"));
        }
        if config.is_some() {
            return Err(
                "schism: --config is for hosts; a test file says it itself: cluster: { ssh: { config: … } }"
                    .to_owned(),
            );
        }
        let prepared = plan::prepare(test.as_ref(), set).map_err(|problems| problems.to_string())?;
        let (test, source, system) = prepared;
        // Which faults come up depends on the seed, which is drawn only when it runs: so whatever can come up has to be possible.
        let faults = test.nemesis.as_ref().map(NemesisSpec::kinds).unwrap_or_default();
        let plan = plan::resolve(&test, &source, &system, test.seed.unwrap_or(ANY_SEED));
        return Ok(Whom::Plan(Box::new(plan.map_err(|problems| problems.to_string())?), faults));
    }
    if !set.is_empty() {
        return Err("schism: --set changes a test file, and hosts have none".to_owned());
    }
    let mut hosts = Vec::new();
    for argument in whom {
        let host = SshHost::parse(argument).map_err(|why| format!("schism: {why}"))?;
        if hosts.iter().any(|other: &SshHost| other.node() == host.node()) {
            return Err(format!("schism: `{}` is given twice", host.node()));
        }
        hosts.push(host);
    }
    Ok(Whom::Hosts(Box::new(SshCluster {
        hosts: SshHosts::List(hosts),
        user: None,
        port: None,
        key: None,
        sudo: None,
        config: config.as_ref().map(|path| path.display().to_string()),
        host_keys: None,
        reach: Default::default(),
        disposable: false,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(whom: &[&str], set: &[&str], config: Option<&str>) -> Result<Whom, String> {
        super::whom(&args::Doctor {
            whom: whom.iter().map(|&word| word.to_owned()).collect(),
            set: set.iter().map(|&word| word.to_owned()).collect(),
            config: config.map(Into::into),
            json: false,
        })
    }

    #[test]
    fn hosts_are_told_from_a_test() {
        for test in ["a.yaml", "tests/a", "a.yml", "/x"] {
            assert!(is_test(test), "{test}");
        }
        for host in ["n1", "admin@10.0.0.3:2222", "fe80::1", "yaml"] {
            assert!(!is_test(host), "{host}");
        }
        let Ok(Whom::Hosts(cluster)) = of(&["n1", "me@n2:22"], &[], Some("f")) else { panic!("no hosts") };
        assert_eq!(cluster.config.as_deref(), Some("f"));
        let SshHosts::List(hosts) = cluster.hosts else { panic!("no list") };
        assert_eq!(hosts.iter().map(SshHost::target).collect::<Vec<_>>(), ["n1", "me@n2:22"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (whom, set, config, part) in [
            (&["a.yaml", "n1"][..], &[][..], None, "give it alone"),
            (&["a.yaml"], &[], Some("f"), "--config is for hosts"),
            (&["n1"], &["a=b"], None, "--set changes"),
            (&["n1", "n1"], &[], None, "given twice"),
            (&["-oProxyCommand=x"], &[], None, "no host"),
            (&["no/such.yaml"], &[], None, "no/such.yaml"),
        ] {
            let Err(why) = of(whom, set, config) else { panic!("{whom:?} is accepted") };
            assert!(why.contains(part), "{why}");
        }
    }
}

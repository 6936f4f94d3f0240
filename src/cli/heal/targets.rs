//! What is to be healed: hosts, those of a test file, those of a run.

use std::fmt;
use std::path::Path;

use crate::cli::args::Heal;
use crate::plan;
use crate::spec::{Cluster, Problems, SshCluster, SshHost, SshHosts};

/// What the arguments mean.
#[derive(Debug, Default)]
pub struct Targets {
    /// Hosts and the ways to them.
    pub clusters: Vec<SshCluster>,
    /// What is said to the person on the way.
    pub notes: Vec<String>,
}

/// An argument that means nothing.
#[derive(Debug)]
pub enum Wrong {
    /// The test file's own mistakes.
    Test(Problems),
    /// Anything else.
    Argument(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(problems) => problems.fmt(f),
            Self::Argument(what) => write!(f, "schism heal: {what}"),
        }
    }
}

/// Reads the arguments, and the files they name. Touches no host.
///
/// # Errors
/// One of them is neither a host nor a test file nor a run directory.
pub fn read(arguments: &Heal) -> Result<Targets, Wrong> {
    let mut targets = Targets::default();
    let mut hosts: Vec<SshHost> = Vec::new();
    for text in &arguments.targets {
        let path = Path::new(text);
        let cluster = if path.join("plan.json").is_file() {
            of_run(path)?
        } else if is_file_name(text) {
            plan::cluster_of(path).map_err(Wrong::Test)?
        } else if path.is_dir() && (text.contains('/') || text == "." || text == "..") {
            return Err(Wrong::Argument(format!(
                "{text} has no plan.json: it is no run directory, or its run ended before it began"
            )));
        } else if text.contains('/') {
            return Err(Wrong::Argument(format!("{text} is not there. Give hosts, a test file or a run")));
        } else {
            let host = SshHost::parse(text).map_err(Wrong::Argument)?;
            if !hosts.contains(&host) {
                hosts.push(host);
            }
            continue;
        };
        match cluster {
            Cluster::Ssh(cluster) => targets.clusters.push(cluster),
            Cluster::Local(_) => targets.notes.push(format!(
                "{text}: its nodes are on a local cluster, which ends with its controller, and every fault with it: there is \
                 nothing to heal"
            )),
        }
    }
    if !hosts.is_empty() {
        targets.clusters.push(plain(hosts));
    }
    if let Some(config) = &arguments.config {
        for cluster in &mut targets.clusters {
            cluster.config = Some(config.display().to_string());
        }
    }
    Ok(targets)
}

/// Whether this can only be a file's name, there or not.
fn is_file_name(text: &str) -> bool {
    let path = Path::new(text);
    path.is_file() || path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The cluster of a run. Nothing else of its plan is read, since another version may have made it.
fn of_run(directory: &Path) -> Result<Cluster, Wrong> {
    let path = directory.join("plan.json");
    let wrong = |what: String| {
        Wrong::Argument(format!("{}: {what}. Give the hosts, or the test file", path.display()))
    };
    let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    let mut plan: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_value(plan["cluster"]["kind"].take())
        .map_err(|error| wrong(format!("it does not say where the nodes are: {error}")))
}

/// Hosts as `ssh` reaches them.
fn plain(hosts: Vec<SshHost>) -> SshCluster {
    SshCluster {
        hosts: SshHosts::List(hosts),
        user: None,
        port: None,
        key: None,
        sudo: None,
        config: None,
        host_keys: None,
        reach: Default::default(),
        disposable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heal(targets: &[&str]) -> Heal {
        Heal {
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            config: None,
            state: "/var/lib/schism".into(),
            stop: false,
            json: false,
        }
    }

    fn hosts(cluster: &SshCluster) -> Vec<String> {
        let SshHosts::List(hosts) = &cluster.hosts else { panic!("{cluster:?}") };
        hosts.iter().map(SshHost::target).collect()
    }

    #[test]
    fn hosts_tests_and_runs_are_told_from_each_other() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
        let workload = "workload: { register: { keys: 1, rate: 1/s } }\ntime-limit: 5s\nsystem: demo\n";
        write("hosts.txt", "a\nb address=10.0.0.2\n");
        let ssh = "cluster: { ssh: { hosts: { file: hosts.txt }, config: conf, user: me } }\n";
        write("ssh.yaml", &format!("{workload}{ssh}"));
        write("local.yml", &format!("{workload}cluster: {{ local: 3 }}\n"));
        for (run, kind) in
            [("far", r#"{"ssh":{"hosts":["c","d"],"sudo":false}}"#), ("near", r#"{"local":5}"#)]
        {
            std::fs::create_dir(place.path().join(run)).unwrap();
            write(
                &format!("{run}/plan.json"),
                &format!(r#"{{"of-another-version":1,"cluster":{{"kind":{kind}}}}}"#),
            );
        }
        let all = [&at("ssh.yaml"), "root@h:2", &at("far"), "h2", "root@h:2", &at("near"), &at("local.yml")];
        let read_all = read(&heal(&all)).unwrap();
        let found: Vec<_> = read_all.clusters.iter().map(hosts).collect();
        assert_eq!(found, [&["a", "b"][..], &["c", "d"], &["root@h:2", "h2"]]);
        assert_eq!(read_all.clusters[0].config.as_deref(), Some(at("conf").as_str()));
        assert_eq!(read_all.clusters[1].sudo, Some(false));
        assert!(
            read_all.notes.len() == 2 && read_all.notes.iter().all(|note| note.contains("local cluster"))
        );
        let other = Heal { config: Some("other".into()), ..heal(&all) };
        let configs = read(&other).unwrap().clusters.into_iter().map(|cluster| cluster.config);
        assert!(configs.into_iter().all(|config| config.as_deref() == Some("other")));
    }

    #[test]
    fn what_is_nothing_of_them_is_said() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).display().to_string();
        std::fs::create_dir(place.path().join("empty")).unwrap();
        std::fs::create_dir(place.path().join("odd")).unwrap();
        std::fs::write(place.path().join("odd/plan.json"), "{}").unwrap();
        for (text, part) in [
            (at("empty"), "no run directory"),
            (at("nowhere"), "is not there"),
            (at("nowhere.yaml"), "nowhere.yaml"),
            (at("odd"), "does not say where the nodes are"),
            ("-oProxyCommand=x".to_owned(), "host"),
            ("a b".to_owned(), "host"),
        ] {
            let wrong = read(&heal(&["n1", &text])).unwrap_err().to_string();
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
    }
}

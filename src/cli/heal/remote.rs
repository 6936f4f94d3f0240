//! Healing hosts over SSH: each by an agent of its own, whatever becomes of the others.

use std::net::Ipv4Addr;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::agent::heal::{Healed, heal};
use crate::cli::args::Heal;
use crate::spec::{SshCluster, SshHosts};
use crate::transport::Transport;
use crate::transport::ssh::{self, Failure, SshNodes, SshOptions};
use crate::verdict::Verdict;

/// A host and what became of it.
#[derive(Debug, Serialize)]
pub struct Host {
    host: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Healed(Healed),
    /// Nothing is known of what is on it.
    Failed {
        error: String,
    },
}

/// Heals every host of every cluster.
pub async fn heal_all(clusters: Vec<SshCluster>, arguments: &Heal) -> Vec<Host> {
    let mut hosts = Vec::new();
    for cluster in clusters {
        hosts.extend(heal_cluster(cluster, arguments).await);
    }
    hosts
}

async fn heal_cluster(mut cluster: SshCluster, arguments: &Heal) -> Vec<Host> {
    let mut names = Vec::new();
    if let SshHosts::List(hosts) = &mut cluster.hosts {
        for host in hosts {
            names.push(host.node());
            // By which address other nodes know it is of no concern here, and need not be found out.
            host.address.get_or_insert(Ipv4Addr::UNSPECIFIED.into());
        }
    }
    let mut options = SshOptions::new(cluster);
    options.base = arguments.state.display().to_string();
    let tried = match ssh::each(options).await {
        Ok(tried) => tried,
        Err(error) => {
            let failed = |host| Host { host, outcome: Outcome::Failed { error: error.to_string() } };
            return names.into_iter().map(failed).collect();
        }
    };
    let stop = arguments.stop;
    let tasks: Vec<(String, JoinHandle<Outcome>)> = tried
        .into_iter()
        .map(|(name, reached)| {
            let node = name.to_string();
            let healing = async move {
                let healed = match reached {
                    Ok(nodes) => heal_one(&nodes, &name, stop).await,
                    Err(Failure { step, what, advice }) => {
                        Err(format!("{name}: {}: {what}. {advice}", step.name()))
                    }
                };
                healed.map_or_else(|error| Outcome::Failed { error }, Outcome::Healed)
            };
            (node, tokio::spawn(healing))
        })
        .collect();
    let mut hosts = Vec::new();
    for (host, task) in tasks {
        let outcome = match task.await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        hosts.push(Host { host, outcome });
    }
    hosts
}

async fn heal_one(nodes: &SshNodes, name: &str, stop: bool) -> Result<Healed, String> {
    let patience = nodes.patience();
    let healed = match timeout(patience, nodes.agent(0)).await {
        Ok(Ok(pipe)) => heal(pipe, name, stop).await.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{name}: no agent runs within {} s", patience.as_secs())),
    };
    // What it has to say of that changes nothing any more.
    let _ = nodes.close().await;
    healed
}

/// Residue on one host is worse than another that nobody reached.
pub fn verdict(hosts: &[Host]) -> Verdict {
    let of = |host: &Host| match &host.outcome {
        Outcome::Healed(healed) => super::verdict_of(healed),
        Outcome::Failed { .. } => Verdict::Infra,
    };
    hosts.iter().map(of).fold(Verdict::Pass, Verdict::worst)
}

/// For a person or, as JSON, for a program.
pub fn shown(hosts: &[Host], json: bool) -> String {
    if json {
        return super::json(&serde_json::json!({ "hosts": hosts }));
    }
    let shown = hosts.iter().map(|Host { host, outcome }| match outcome {
        Outcome::Healed(healed) => super::describe(healed, &format!("{host}: ")),
        Outcome::Failed { error } => {
            // Errors of this kind begin with the node's name already.
            let error = error.strip_prefix(&format!("{host}: ")).unwrap_or(error);
            format!("{host}: NOT HEALED  {error}\n")
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, outcome: Outcome) -> Host {
        Host { host: name.to_owned(), outcome }
    }

    fn healed(found: &[&str], left: &[&str]) -> Outcome {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Outcome::Healed(Healed { found: owned(found), left: owned(left), running: Vec::new() })
    }

    #[test]
    fn the_worst_host_counts_and_each_is_shown() {
        let failed = || host("n2", Outcome::Failed { error: "n2: connect: refused. Is it up?".to_owned() });
        let mut hosts = vec![host("n1", healed(&["fault `f`"], &[]))];
        assert_eq!(verdict(&hosts), Verdict::Pass);
        hosts.push(failed());
        assert_eq!(verdict(&hosts), Verdict::Infra);
        hosts.push(host("n3", healed(&["a rule"], &["a rule"])));
        assert_eq!(verdict(&hosts), Verdict::Residue);
        let text = "n1: found       fault `f`\nn1: clean: all of it is undone\n\
                    n2: NOT HEALED  connect: refused. Is it up?\n\
                    n3: found       a rule\nn3: STILL THERE a rule\nn3: not clean: see above\n";
        assert_eq!(shown(&hosts, false), text);
        let json: serde_json::Value = serde_json::from_str(&shown(&hosts, true)).unwrap();
        assert_eq!(json["hosts"][0]["found"][0], "fault `f`");
        assert_eq!(json["hosts"][1]["error"], "n2: connect: refused. Is it up?");
        assert_eq!(json["hosts"][2]["left"][0], "a rule");
    }
}

//! The names and addresses of the nodes, as far as they are known before anything is touched.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::spec::problem::Spot;
use crate::spec::ssh::{HOSTS_MAX, host_of_line};
use crate::spec::{self, Cluster, Problem, Problems, Source, SshCluster, SshHosts};
use crate::system::ClusterNode;
use crate::transport::local;

/// The nodes of a local cluster, in order: `n1` is 10.83.0.1 and so on.
pub fn local_nodes(count: usize) -> Vec<ClusterNode> {
    (1..=count)
        .map(|number| ClusterNode {
            name: format!("n{number}"),
            address: IpAddr::V4(local::address(number - 1)),
        })
        .collect()
}

/// The controller's own address on a local cluster.
pub const fn controller_address() -> IpAddr {
    IpAddr::V4(local::CONTROLLER)
}

/// Stands for the address of node `index` (from 0) until it is found on the node: one of those that documentation may use
/// (RFC 5737) and no host has.
pub fn stand_in(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(index + 1).unwrap_or(u8::MAX)))
}

/// The nodes of an SSH cluster whose hosts are listed.
fn ssh_nodes(cluster: &SshCluster) -> Vec<ClusterNode> {
    let SshHosts::List(hosts) = &cluster.hosts else { return Vec::new() };
    let address = |(index, host): (usize, &crate::spec::SshHost)| ClusterNode {
        name: host.node(),
        address: host.known_address().unwrap_or_else(|| stand_in(index)),
    };
    hosts.iter().enumerate().map(address).collect()
}

/// The nodes of a cluster, in order. What is wrong with them goes to `problems`.
pub(super) fn nodes(cluster: &Cluster, source: &Source, problems: &mut Vec<Problem>) -> Vec<ClusterNode> {
    let ssh = match cluster {
        Cluster::Local(count) => return local_nodes(count.count()),
        Cluster::Ssh(ssh) => ssh,
    };
    let nodes = ssh_nodes(ssh);
    let path = ["cluster", "ssh", "hosts"].map(str::to_owned);
    let mut names = BTreeSet::new();
    for node in &nodes {
        if !names.insert(&node.name) {
            let message = format!(
                "two hosts are called `{0}`; give one of them a name: {{ host: {0}, name: other }}",
                node.name
            );
            problems.push(source.problem(&path, message));
        }
    }
    if nodes.is_empty() || nodes.len() > HOSTS_MAX {
        let message = format!("a cluster has from 1 to {HOSTS_MAX} hosts, not {}", nodes.len());
        problems.push(source.problem(&path, message));
    }
    nodes
}

/// Where the nodes of a test file are, its hosts listed. The system that it names is not looked for.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn cluster_of(path: &Path) -> Result<Cluster, Problems> {
    let (mut test, source) = spec::load(path, &[])?;
    complete(&mut test.cluster, &source)?;
    let mut problems = Vec::new();
    nodes(&test.cluster, &source, &mut problems);
    match Problems::new(problems) {
        Some(problems) => Err(problems),
        None => Ok(test.cluster),
    }
}

/// Puts the hosts of a hosts file into the cluster, and makes its paths relative to where we are instead of to the test file.
pub(super) fn complete(cluster: &mut Cluster, source: &Source) -> Result<(), Problems> {
    let Cluster::Ssh(ssh) = cluster else { return Ok(()) };
    let base = source.path().parent().unwrap_or(Path::new("")).to_owned();
    for path in [&mut ssh.key, &mut ssh.config].into_iter().flatten() {
        *path = relative(&base, path).display().to_string();
    }
    if let SshHosts::File(file) = &ssh.hosts {
        let path = relative(&base, file);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            source.problem(&["cluster", "ssh", "hosts", "file"].map(str::to_owned), message)
        })?;
        let mut hosts = Vec::new();
        let mut problems = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match host_of_line(line) {
                Ok(host) => hosts.extend(host),
                Err(message) => problems.push(Problem {
                    origin: path.display().to_string(),
                    spot: Some(Spot {
                        line: index + 1,
                        column: 1,
                        text: line.to_owned(),
                        width: line.chars().count(),
                    }),
                    message,
                }),
            }
        }
        if let Some(problems) = Problems::new(problems) {
            return Err(problems);
        }
        ssh.hosts = SshHosts::List(hosts);
    }
    Ok(())
}

/// A path of the test file; `~/` is the home directory.
fn relative(base: &Path, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => base.join(path),
    }
}

//! What is kept of each node after a run: logs, configuration, versions.
//!
//! Whatever cannot be had is named, and costs neither the rest nor the verdict.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::fleet::Fleet;
use crate::agent::Handle;
use crate::store::RunDir;
use crate::system::NodeSetup;

/// What a node is, in files of its own.
const OF_THE_NODE: [(&str, &str); 3] = [
    ("/proc/sys/kernel/osrelease", "kernel"),
    ("/etc/os-release", "os-release"),
    ("/proc/cmdline", "cmdline"),
];
/// Where configuration goes, below the node's directory.
const CONFIG: &str = "config";
/// Where it is said what a node is, below the node's directory.
const VERSIONS: &str = "versions";
/// The file that names what is missing.
const MISSING: &str = "missing.txt";
/// Longer than anything that is kept in one of [`OF_THE_NODE`].
const FACT_LEN_MAX: u64 = 64 << 10;

/// Collects from every node at once into `nodes/<node>/`. Returns what could not be had, one sentence each.
pub async fn collect(fleet: &Arc<Fleet>, setups: &Arc<Vec<NodeSetup>>, run: &RunDir) -> Vec<String> {
    let (setups, run) = (Arc::clone(setups), run.clone());
    let missing = fleet.each(move |fleet, node| {
        let (setups, run) = (Arc::clone(&setups), run.clone());
        async move {
            let setup = &setups[node];
            let place = match run.node(&setup.node) {
                Ok(place) => place,
                Err(error) => return vec![error.to_string()],
            };
            let mut missing = match fleet.agent(node).await {
                Ok(agent) => of_node(&agent, setup, &place).await,
                Err(error) => vec![format!("nothing of {} could be collected: {error}", setup.node)],
            };
            if !missing.is_empty() {
                let text: String = missing.iter().map(|what| format!("{what}\n")).collect();
                if let Err(error) = run.write(&place.join(MISSING), text.as_bytes()) {
                    missing.push(error.to_string());
                }
            }
            missing
        }
    });
    missing.await.concat()
}

async fn of_node(agent: &Handle, setup: &NodeSetup, place: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    let mut logs = Vec::new();
    match agent.list(&setup.log_dir).await {
        Ok((files, more)) => {
            // Beside the log that is written, whatever it was rotated to.
            logs.extend(files.into_iter().map(|file| (join(&setup.log_dir, &file), file)));
            if more {
                missing.push(format!(
                    "{} of {} has more than {} files; the first ones in alphabetical order are kept",
                    setup.log_dir,
                    setup.node,
                    logs.len()
                ));
            }
        }
        Err(error) => missing.push(format!("logs in {} of {}: {error}", setup.log_dir, setup.node)),
    }
    for process in &setup.processes {
        if !logs.iter().any(|(path, _)| *path == process.log) {
            let name = process.log.rsplit('/').next().unwrap_or(&process.name).to_owned();
            logs.push((process.log.clone(), name));
        }
    }
    let config =
        setup.files.iter().map(|file| (file.path.clone(), join(CONFIG, file.path.trim_start_matches('/'))));
    for (path, name) in logs.into_iter().chain(config) {
        let Some(to) = below(place, &name) else {
            missing.push(format!("{path} of {}: its name leads out of the run directory", setup.node));
            continue;
        };
        if let Err(error) = agent.fetch_file(&path, &to).await {
            missing.push(format!("{path} of {}: {error}", setup.node));
        }
    }
    missing.extend(versions(agent, setup, place).await);
    missing
}

/// What the node is, and what ran on it.
async fn versions(agent: &Handle, setup: &NodeSetup, place: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    let mut facts = vec![("schism".to_owned(), format!("{}\n", env!("CARGO_PKG_VERSION")).into_bytes())];
    for (path, name) in OF_THE_NODE {
        match agent.read_file(path, 0, FACT_LEN_MAX).await {
            Ok(bytes) => facts.push((name.to_owned(), bytes)),
            Err(error) => missing.push(format!("{path} of {}: {error}", setup.node)),
        }
    }
    for process in &setup.processes {
        let line = format!("{}\n", process.command.argv.join(" "));
        facts.push((format!("{}.command", process.name), line.into_bytes()));
    }
    let directory = place.join(VERSIONS);
    let write = async {
        tokio::fs::create_dir_all(&directory).await?;
        for (name, bytes) in facts {
            if let Some(path) = below(&directory, &name) {
                tokio::fs::write(path, bytes).await?;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    if let Err(error) = write.await {
        missing.push(format!("cannot write below {}: {error}", directory.display()));
    }
    missing
}

fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// `name` below `place`; none where a node names a file that would not be there.
fn below(place: &Path, name: &str) -> Option<PathBuf> {
    let plain = Path::new(name).components().all(|component| matches!(component, Component::Normal(_)));
    (plain && !name.is_empty()).then(|| place.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_run_directory() {
        let place = Path::new("/runs/nodes/n1");
        assert_eq!(below(place, "old/a.log"), Some(place.join("old/a.log")));
        for name in ["", "/etc/passwd", "../n2/a.log", "old/../../x", "."] {
            assert_eq!(below(place, name), None, "{name}");
        }
        assert_eq!(join("/var/log/x/", "a"), "/var/log/x/a");
    }
}

//! The programs of the system under test: found or fetched on this machine, and brought to nodes that do not share its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::fleet::Fleet;
use crate::agent::Handle;
use crate::agent::protocol::Command;
use crate::agent::server::STATE_DIRECTORY;
use crate::plan::Plan;
use crate::system::install::{self, Installed, OWN_BINARY};

/// How long a small command on a node may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is kept of its output.
const OUTPUT_MAX: usize = 64 << 10;

/// The programs on this machine.
///
/// # Errors
/// They cannot be had: why, and what to do.
pub async fn here(plan: &Plan) -> Result<Installed, String> {
    let wanted = &plan.system;
    let wanted = install::Wanted {
        def: &wanted.def,
        version: wanted.version.as_deref(),
        package: wanted.package.as_deref().map(Path::new),
    };
    let places = install::Places::of_this_machine().map_err(|error| error.to_string())?;
    install::provide(wanted, &places).await.map_err(|error| error.to_string())
}

/// A program of this machine.
#[derive(Clone)]
struct Program {
    name: String,
    path: PathBuf,
    /// SHA-256 of its content, in hexadecimal.
    hash: String,
}

/// The paths of the programs on each node, by name, and their version. Where nobody asks for a certain version or package and
/// every node has the programs, those are taken; else they are brought there from this machine.
///
/// # Errors
/// Which node cannot have which program, and why.
pub async fn there(
    fleet: &Arc<Fleet>,
    plan: &Plan,
) -> Result<(Vec<BTreeMap<String, String>>, String), String> {
    let names = &plan.system.def.install.binaries;
    if plan.system.version.is_none() && plan.system.package.is_none() {
        let wanted = names.clone();
        let found = fleet.each(move |fleet, node| {
            let wanted = wanted.clone();
            async move { installed(&fleet, node, &wanted).await }
        });
        let found: Vec<_> = found.await.into_iter().collect::<Result<_, _>>()?;
        if let Some(paths) = found.into_iter().collect::<Option<Vec<_>>>() {
            let version = version(fleet, plan, paths.first()).await;
            return Ok((paths, version));
        }
    }
    let installed = here(plan).await?;
    let programs = tokio::task::spawn_blocking({
        let binaries = installed.binaries.clone();
        move || {
            binaries.into_iter().map(|(name, path)| program(name, path.into())).collect::<Result<Vec<_>, _>>()
        }
    });
    let programs = programs.await.map_err(|error| error.to_string())??;
    let brought = fleet.each(move |fleet, node| {
        let programs = programs.clone();
        async move { bring(&fleet, node, &programs).await }
    });
    let paths = brought.await.into_iter().collect::<Result<_, _>>()?;
    Ok((paths, installed.version))
}

fn program(name: String, path: PathBuf) -> Result<Program, String> {
    let hash = || {
        let mut hash = Sha256::new();
        std::io::copy(&mut std::fs::File::open(&path)?, &mut HashWriter(&mut hash))?;
        Ok::<_, std::io::Error>(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    // The agent is that program already.
    let hash = if name == OWN_BINARY { Ok(String::new()) } else { hash() };
    let hash = hash.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Program { name, path, hash })
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The standard output of a command that succeeded.
async fn output(agent: &Handle, argv: &[&str]) -> Result<Option<String>, String> {
    let command = Command { argv: argv.iter().map(|&word| word.to_owned()).collect(), ..Command::default() };
    let ran = agent.run(&command, None, PATIENCE, OUTPUT_MAX).await.map_err(|error| error.to_string())?;
    Ok(ran.success().then_some(ran.stdout))
}

/// The agent's own executable on its node.
async fn own(agent: &Handle) -> Result<String, String> {
    let link = format!("/proc/{}/exe", agent.pid());
    let path = output(agent, &["readlink", &link]).await?;
    path.map(|path| path.trim().to_owned()).ok_or_else(|| format!("{}: {link} cannot be read", agent.node()))
}

/// Where a node has these programs, if it has all of them.
async fn installed(
    fleet: &Fleet,
    node: usize,
    names: &[String],
) -> Result<Option<BTreeMap<String, String>>, String> {
    let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
    let mut paths = BTreeMap::new();
    for name in names {
        let path = if name == OWN_BINARY {
            Some(own(&agent).await?)
        } else {
            output(&agent, &["sh", "-c", r#"command -v "$0""#, name]).await?
        };
        match path.map(|path| path.trim().to_owned()).filter(|path| path.starts_with('/')) {
            Some(path) => _ = paths.insert(name.clone(), path),
            None => return Ok(None),
        }
    }
    Ok(Some(paths))
}

/// The version that the first node's programs say they are.
async fn version(fleet: &Fleet, plan: &Plan, paths: Option<&BTreeMap<String, String>>) -> String {
    let unknown = || "unknown".to_owned();
    let command = paths.and_then(|paths| install::version_command(&plan.system.def, paths));
    let Some(Ok(argv)) = command else { return unknown() };
    let Ok(agent) = fleet.agent(0).await else { return unknown() };
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    match output(&agent, &argv).await {
        Ok(Some(text)) => install::extract_version(&text).unwrap_or_else(unknown),
        _ => unknown(),
    }
}

/// Brings the programs to a node, unless it has the very same.
async fn bring(fleet: &Fleet, node: usize, programs: &[Program]) -> Result<BTreeMap<String, String>, String> {
    let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
    let mut paths = BTreeMap::new();
    for Program { name, path, hash } in programs {
        if name == OWN_BINARY {
            paths.insert(name.clone(), own(&agent).await?);
            continue;
        }
        let here = path.display().to_string();
        let there = format!("{STATE_DIRECTORY}/programs/{}/{name}", &hash[..16]);
        let at = if has(&agent, &here, hash).await? {
            here
        } else if has(&agent, &there, hash).await? {
            there
        } else {
            let part = format!("{there}.part");
            let sent = agent
                .send_file(path, &part, 0o755)
                .await
                .map_err(|error| format!("bring {name} there: {error}"))?;
            if !has(&agent, &part, hash).await?
                || output(&agent, &["mv", "-f", &part, &there]).await?.is_none()
            {
                return Err(format!(
                    "{}: {name} ({sent} bytes) did not arrive whole at {part}",
                    agent.node()
                ));
            }
            there
        };
        // Static programs have no libraries to miss, and ldd says so by failing.
        if let Some(libraries) = output(&agent, &["ldd", &at]).await.ok().flatten() {
            let missing: Vec<&str> =
                libraries.lines().filter(|line| line.contains("not found")).map(str::trim).collect();
            if !missing.is_empty() {
                return Err(format!(
                    "{}: {name} cannot run there: {}. Install {name} on the nodes.",
                    agent.node(),
                    missing.join("; ")
                ));
            }
        }
        paths.insert(name.clone(), at);
    }
    Ok(paths)
}

async fn has(agent: &Handle, path: &str, hash: &str) -> Result<bool, String> {
    Ok(output(agent, &["sha256sum", path]).await?.is_some_and(|said| said.starts_with(hash)))
}

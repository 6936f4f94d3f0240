//! Who is who: a key for the person, one for each node, and the files by which `ssh` knows them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::{TransportError, failed};
use super::directory::{CLIENT_KEY, Directory, HOST_KEYS, KNOWN_HOSTS, SSH_CONFIG};
use super::sshd::{Order, SSHD};

const KEYGEN: &str = "ssh-keygen";
const STEP: &str = "make the nodes' keys";

/// Looks for what a node's `sshd` and its keys need.
pub(super) fn look_for_openssh() -> Result<(), TransportError> {
    let missing = |what: &str, package: &str| TransportError {
        step: format!("look for {what}"),
        reason: format!(
            "it is not installed here, and the nodes have the programs of this machine: apt-get install {package}"
        ),
    };
    if !Path::new(SSHD).exists() {
        return Err(missing("sshd", "openssh-server"));
    }
    let known = Command::new(KEYGEN).arg("-?").stdin(Stdio::null()).output();
    match known {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(KEYGEN, "openssh-client")),
        _ => Ok(()),
    }
}

/// Makes the keys and the files of `nodes`, and returns what each node's `sshd` is to be given.
pub(super) fn make(directory: &Directory, nodes: &[String]) -> Result<Vec<Order>, TransportError> {
    let executable = std::env::current_exe().and_then(fs::canonicalize).map_err(failed(STEP))?;
    let config = config(directory, nodes, &executable)?;
    fs::create_dir(directory.file(HOST_KEYS)).map_err(failed(STEP))?;
    let client = directory.file(CLIENT_KEY);
    generate(&client, "schism-nodes")?;
    let authorized_keys = read(&public(&client))?;
    let mut known = String::new();
    let mut orders = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = directory.file(HOST_KEYS).join(node);
        generate(&path, node)?;
        known.push_str(&format!("{node},{} {}", super::super::address(index), read(&public(&path))?));
        orders.push(Order { host_key: read(&path)?, authorized_keys: authorized_keys.clone() });
    }
    for (name, text) in [(KNOWN_HOSTS, known), (SSH_CONFIG, config)] {
        let path = directory.file(name);
        let write = || {
            File::options().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())
        };
        write().map_err(failed(format!("write {}", path.display())))?;
    }
    Ok(orders)
}

fn public(private: &Path) -> PathBuf {
    private.with_extension("pub")
}

fn read(path: &Path) -> Result<String, TransportError> {
    fs::read_to_string(path).map_err(failed(format!("read {}", path.display())))
}

fn generate(path: &Path, comment: &str) -> Result<(), TransportError> {
    let output = Command::new(KEYGEN)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(failed(STEP))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TransportError {
        step: STEP.to_owned(),
        reason: format!("{KEYGEN} ended ({}): {said}", output.status),
    })
}

/// The configuration for `ssh -F`.
fn config(directory: &Directory, nodes: &[String], executable: &Path) -> Result<String, TransportError> {
    let inside = |name: &str| word(&directory.file(name));
    let proxy = |node: &str| -> Result<String, TransportError> {
        let (executable, directory) = (shell(executable)?, shell(directory.path())?);
        Ok(format!("{executable} nodes connect --dir {directory} {node} 22"))
    };
    let mut text = String::from("# Made by `schism nodes up`; `schism nodes down` removes it.\n");
    for node in nodes {
        text.push_str(&format!("Host {node}\n    ProxyCommand {}\n", proxy(node)?));
    }
    let all = nodes.join(" ");
    text.push_str(&format!("Host {all}\n    User root\n    Port 22\n    IdentitiesOnly yes\n"));
    text.push_str(&format!("    IdentityFile {}\n", inside(CLIENT_KEY)?));
    text.push_str(&format!("    UserKnownHostsFile {}\n", inside(KNOWN_HOSTS)?));
    text.push_str("    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n");
    Ok(text)
}

/// A path as text that stands in one line and means itself where `ssh` replaces `%` sequences and variables.
fn plain(path: &Path) -> Result<String, TransportError> {
    let text = path.to_str().filter(|text| !text.chars().any(|c| c.is_control() || "\"$\\".contains(c)));
    let text = text.ok_or_else(|| TransportError {
        step: format!("name {} in an ssh_config", path.display()),
        reason: "quotes, backslashes, dollar signs and line breaks mean something else there; choose another directory with --dir"
            .to_owned(),
    })?;
    Ok(text.replace('%', "%%"))
}

/// A path as one word of the configuration.
fn word(path: &Path) -> Result<String, TransportError> {
    Ok(format!("\"{}\"", plain(path)?))
}

/// A path as one word of the person's shell, in the configuration.
fn shell(path: &Path) -> Result<String, TransportError> {
    Ok(format!("'{}'", plain(path)?.replace('\'', r#"'"'"'"#)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssh_reads_what_is_written_whatever_the_directory_is_called() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("it's 100% mine");
        let (directory, _) = Directory::make(&path).unwrap();
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let orders = make(&directory, &nodes).unwrap();
        assert_ne!(orders[0].host_key, orders[1].host_key);
        assert_eq!(orders[0].authorized_keys, orders[1].authorized_keys);
        let output = Command::new("ssh")
            .args(["-G", "-F"])
            .arg(directory.file(SSH_CONFIG))
            .arg("n2")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let found = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.unwrap_or_else(|| panic!("{name} is not in {said}")).to_owned()
        };
        assert_eq!(value("user"), "root");
        assert_eq!(value("stricthostkeychecking"), "true");
        // `ssh -G` prints these before it replaces what begins with a percent sign.
        let path = fs::canonicalize(&path).unwrap().display().to_string().replace('%', "%%");
        assert_eq!(value("identityfile"), format!("{path}/{CLIENT_KEY}"));
        let proxy = value("proxycommand").replace("%%", "%");
        let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {proxy}")]).output().unwrap();
        let words = String::from_utf8(words.stdout).unwrap();
        let words: Vec<&str> = words.lines().skip(1).collect();
        let plain = path.replace("%%", "%");
        assert_eq!(words, ["nodes", "connect", "--dir", plain.as_str(), "n2", "22"]);
        let found =
            Command::new(KEYGEN).args(["-F", "n2", "-f"]).arg(directory.file(KNOWN_HOSTS)).output().unwrap();
        assert!(found.status.success());
    }
}

//! How the controller reached this agent, as far as SSH brought it here.

use std::collections::BTreeSet;

use super::proc::{Stat, environment};

/// What `sshd` tells the programs it starts: the client's address and port, the server's address and port.
const CONNECTION: &[u8] = b"SSH_CONNECTION=";
/// More ancestors than any chain of shells and `sudo` has.
const ANCESTORS_MAX: usize = 64;

/// The ports of the SSH servers that this process came through, in order. No fault may cut them: they are how the controller
/// heals it. Ancestors are asked, too, because `sudo` does not hand the variable on.
pub fn ports() -> Vec<u16> {
    let mut ports = BTreeSet::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
    for _ in 0..ANCESTORS_MAX {
        if pid <= 0 {
            break;
        }
        // An ancestor that may not be asked has the same connection as those around it.
        if let Ok(environment) = environment(pid) {
            ports.extend(port_in(&environment));
        }
        match Stat::of(pid) {
            Some(stat) => pid = stat.parent,
            None => break,
        }
    }
    ports.into_iter().collect()
}

fn port_in(environment: &[u8]) -> Option<u16> {
    let value =
        environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(CONNECTION))?;
    let port = std::str::from_utf8(value).ok()?.split_ascii_whitespace().nth(3)?;
    port.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_servers_port() {
        for (environment, port) in [
            (&b"A=1\0SSH_CONNECTION=10.0.0.9 40000 10.0.0.1 22\0B=2\0"[..], Some(22)),
            (b"SSH_CONNECTION=fe80::1%eth0 40000 fe80::2%eth0 2222", Some(2222)),
            (b"SSH_CONNECTION=10.0.0.9 40000 10.0.0.1 99999", None),
            (b"SSH_CONNECTION=10.0.0.9 40000 10.0.0.1 0", None),
            (b"SSH_CONNECTION=\0", None),
            (b"XSSH_CONNECTION=10.0.0.9 40000 10.0.0.1 22", None),
            (b"", None),
        ] {
            assert_eq!(port_in(environment), port, "{}", String::from_utf8_lossy(environment));
        }
    }

    #[test]
    fn asks_ancestors_too() {
        const ROLE: &str = "SCHISM_TEST_SSH_PORTS";
        if std::env::var_os(ROLE).is_some() {
            assert!(std::env::var_os("SSH_CONNECTION").is_none());
            println!("ports {:?}", ports());
            return;
        }
        // As `sudo` does: a parent that has it, a child that does not.
        let script = r#"env -u SSH_CONNECTION "$0" --exact agent::server::ssh::tests::asks_ancestors_too --nocapture; true"#;
        let output = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .env(ROLE, "1")
            .env("SSH_CONNECTION", "10.0.0.9 40000 10.0.0.1 2201")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().find(|line| line.contains("ports [")).unwrap();
        assert!(line.contains("2201"), "{said}");
    }
}

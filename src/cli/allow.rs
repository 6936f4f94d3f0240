//! `schism nodes allow`.
//!
//! It uses the person's own `ssh`: whoever marks a host as disposable is asked for whatever that asks for, and sees what
//! `sudo` says there.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use crate::stderr::say;
use crate::transport::DISPOSABLE;
use crate::verdict::Verdict;

pub fn main(hosts: &[String], config: Option<&Path>, revoke: bool) -> ExitCode {
    if let Some(host) = hosts.iter().find(|host| host.is_empty() || host.starts_with('-')) {
        return super::usage(&format!(
            "schism: `{host}` is no host; write it as for ssh, like n1 or admin@10.0.0.3:2222"
        ));
    }
    let mut failed = 0;
    for host in hosts {
        match mark(host, config, revoke) {
            Ok(status) if status.success() && revoke => {
                say(format_args!("{host} is not marked as disposable any more"))
            }
            Ok(status) if status.success() => {
                say(format_args!("{host} is marked as disposable: faults may be made there"))
            }
            Ok(status) => {
                failed += 1;
                let done = if revoke { "still as it was" } else { "not marked" };
                say(format_args!("schism: {host} is {done}: ssh ended ({status}); see above what it said"));
            }
            Err(error) => {
                say(format_args!(
                    "schism: cannot start ssh: {error}. Install it: apt-get install openssh-client"
                ));
                return ExitCode::from(Verdict::Infra.exit_code());
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(Verdict::Infra.exit_code()) }
}

/// Runs the script on one host.
fn mark(host: &str, config: Option<&Path>, revoke: bool) -> std::io::Result<ExitStatus> {
    let mut command = Command::new("ssh");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    // With a terminal on both sides sudo can ask for a password.
    if std::io::stdin().is_terminal() {
        command.arg("-t");
    }
    let (host, port) = split(host);
    if let Some(port) = port {
        command.args(["-p", port]);
    }
    command.arg("--").arg(host).arg(script(revoke)).status()
}

/// `user@host:port` without its port. An IPv6 address has its port only behind brackets.
fn split(host: &str) -> (&str, Option<&str>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, port)
        }
        _ => return (host, None),
    };
    let bare = name.rsplit_once('@').map_or(name, |(_, bare)| bare);
    if bare.contains(':') && !bare.ends_with(']') { (host, None) } else { (name, Some(port)) }
}

/// What is run on the host, for whatever shell a login has there.
fn script(revoke: bool) -> String {
    let act = if revoke {
        format!("rm -f {DISPOSABLE}")
    } else {
        format!("umask 022; echo Faults may be made on this host. > {DISPOSABLE}")
    };
    format!(
        "sh -c 'if [ \"$(id -u)\" -eq 0 ]; then exec sh -c \"$1\"; else exec sudo sh -c \"$1\"; fi' sh '{act}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(split("n1"), ("n1", None));
        assert_eq!(split("admin@10.0.0.3:2222"), ("admin@10.0.0.3", Some("2222")));
        assert_eq!(split("fe80::1:22"), ("fe80::1:22", None));
        assert_eq!(split("me@[fe80::1]:22"), ("me@[fe80::1]", Some("22")));
        assert_eq!(split("odd:"), ("odd:", None));
    }

    #[test]
    fn a_shell_on_the_host_reads_one_script() {
        // Every shell would have to understand it: it is words and single quotes only.
        for revoke in [false, true] {
            let words = Command::new("sh")
                .args(["-c", &format!("printf '%s\\n' {}", script(revoke))])
                .output()
                .unwrap();
            let words = String::from_utf8(words.stdout).unwrap();
            let words: Vec<&str> = words.lines().collect();
            assert_eq!((words.len(), &words[..2], words[3]), (5, &["sh", "-c"][..], "sh"), "{words:?}");
            assert!(words[4].contains(DISPOSABLE), "{words:?}");
        }
    }
}

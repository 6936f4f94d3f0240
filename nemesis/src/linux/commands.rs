//! What a fault does on a node, as commands that a person could type to the same effect.
//!
//! The mechanisms do not run them: they speak to the kernel themselves, and see to it that what they made ends with its lease.

use std::net::IpAddr;
use std::time::Duration;

use super::drop_from::{CHAIN, DropFrom, PRIORITY, TABLE};
use super::nftables::Key;
use crate::node::NodeFault;

/// Commands that make a fault, and commands that undo it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// What makes it.
    pub make: Vec<String>,
    /// What undoes it.
    pub heal: Vec<String>,
}

/// What the fault `id` does on its node under this lease. `start` is how its supervised process is started.
pub fn commands(id: &str, fault: &NodeFault, lease: Duration, start: &str) -> Commands {
    match fault {
        NodeFault::DropFrom { peers, exempt_ports } => {
            drop_from(&DropFrom::new(id, peers, exempt_ports), exempt_ports, lease)
        }
        NodeFault::Kill { process } => {
            Commands { make: vec![format!("kill -KILL $({})", tree(process))], heal: vec![start.to_owned()] }
        }
        NodeFault::Pause { process } => Commands {
            make: vec![format!("kill -STOP $({})", tree(process))],
            heal: vec![format!("kill -CONT $({})", tree(process))],
        },
    }
}

/// Stands for the process and everything it started: no program prints those, the agent knows them.
fn tree(process: &str) -> String {
    format!("processes of {process}")
}

fn drop_from(fault: &DropFrom, exempt_ports: &[u16], lease: Duration) -> Commands {
    let mut commands = Commands {
        make: vec![
            format!("nft add table inet {TABLE}"),
            format!(
                "nft add chain inet {TABLE} {CHAIN} '{{ type filter hook input priority {PRIORITY}; policy accept; }}'"
            ),
        ],
        heal: Vec::new(),
    };
    if !exempt_ports.is_empty() {
        let ports: Vec<String> = exempt_ports.iter().map(u16::to_string).collect();
        for side in ["dport", "sport"] {
            commands.make.push(format!(
                "nft insert rule inet {TABLE} {CHAIN} tcp {side} '{{ {} }}' accept",
                ports.join(", ")
            ));
        }
    }
    for (key, set, addresses) in fault.drops() {
        let (kind, family) = match key {
            Key::Ipv4 => ("ipv4_addr", "ip"),
            Key::Ipv6 => ("ipv6_addr", "ip6"),
        };
        let elements: Vec<String> =
            addresses.iter().map(|address| format!("{address} timeout {}ms", lease.as_millis())).collect();
        let bare: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        commands.make.extend([
            format!("nft add set inet {TABLE} {set} '{{ type {kind}; flags timeout; }}'"),
            format!("nft add rule inet {TABLE} {CHAIN} iifname != lo {family} saddr @{set} counter drop"),
            format!("nft add element inet {TABLE} {set} '{{ {} }}'", elements.join(", ")),
        ]);
        commands.heal.push(format!("nft delete element inet {TABLE} {set} '{{ {} }}'", bare.join(", ")));
    }
    // Only when no other fault is in force; the mechanism removes its own rules and sets one by one.
    commands.heal.push(format!("nft delete table inet {TABLE}"));
    commands
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::node::Peer;

    const LEASE: Duration = Duration::from_secs(10);

    fn cut() -> NodeFault {
        let peer = |node: &str, address: &str| Peer { node: node.into(), address: address.parse().unwrap() };
        let peers = vec![peer("n1", "10.83.0.1"), peer("n3", "10.83.0.3"), peer("n4", "fd00::4")];
        NodeFault::DropFrom { peers, exempt_ports: vec![22] }
    }

    #[test]
    fn nft_takes_what_is_printed() {
        let Commands { make, heal } = commands("partition-1.0", &cut(), LEASE, "");
        let script =
            [make, vec!["nft list ruleset".to_owned()], heal, vec!["nft list ruleset".to_owned()]].concat();
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-ec", &script.join("\n")])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        if complained.contains("nft: not found") {
            println!("skipped: nft is not installed");
            return;
        }
        assert!(output.status.success(), "{complained}\n{}", script.join("\n"));
        let listed = String::from_utf8_lossy(&output.stdout);
        for part in [
            "table inet schism",
            "10.83.0.3 timeout 10s",
            "fd00::4 timeout 10s",
            "tcp dport 22 accept",
            "drop",
        ] {
            assert!(listed.contains(part), "{part} is not in {listed}");
        }
        assert_eq!(listed.matches("table inet schism").count(), 1, "healing leaves nothing: {listed}");
    }

    #[test]
    fn processes_are_signalled_and_started() {
        let kill = commands("kill-1.0", &NodeFault::Kill { process: "etcd".into() }, LEASE, "etcd --name n1");
        assert_eq!(kill.make, ["kill -KILL $(processes of etcd)"]);
        assert_eq!(kill.heal, ["etcd --name n1"]);
        let pause = commands("pause-1.0", &NodeFault::Pause { process: "etcd".into() }, LEASE, "");
        assert_eq!(pause.heal, ["kill -CONT $(processes of etcd)"]);
    }
}

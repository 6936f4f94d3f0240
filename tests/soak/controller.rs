//! A controller in a process of its own, which makes faults as fast as it can until it is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use schism::agent::Handle;
use schism::agent::protocol::{Command, ProcessStatus};
use schism::transport::{AgentPipe, local};
use schism_history::Random;
use schism_nemesis::node::{NodeFault, Peer};
use tokio::net::UnixStream;

const VICTIM: &str = "victim";
/// Faults that are left in force together.
const IN_FORCE_MAX: usize = 3;

/// Speaks to the agent at the other end of `socket`.
pub fn play(socket: &str, seed: u64, lease_ms: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (reader, writer) = UnixStream::connect(socket).await.unwrap().into_split();
        let pipe = AgentPipe { stdin: Box::new(writer), stdout: Box::new(reader) };
        let (handle, _events) = Handle::connect(pipe, "node", "soak").await.unwrap();
        if !matches!(handle.status(VICTIM).await, Ok(ProcessStatus::Running { .. })) {
            // Two processes and one in a session of its own: a tree that can be killed halfway.
            let script = "sleep 10000 & setsid sleep 10000 & sleep 10000; wait";
            let command = Command {
                argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
                env: BTreeMap::new(),
                directory: None,
            };
            handle.start(VICTIM, &command, "/var/lib/victim.log").await.unwrap();
        }
        faults(&handle, &mut Random::new(seed, "faults"), Duration::from_millis(lease_ms)).await;
    });
}

async fn faults(handle: &Handle, random: &mut Random, lease: Duration) {
    let mut in_force: Vec<String> = Vec::new();
    for number in 0_u64.. {
        if handle.is_gone() {
            return;
        }
        let process = VICTIM.to_owned();
        let fault = match random.below(4) {
            0 | 1 => NodeFault::DropFrom { peers: peers(), exempt_ports: Vec::new() },
            2 => NodeFault::Pause { process },
            _ => NodeFault::Kill { process },
        };
        let id = format!("fault-{number}");
        // What is held down cannot be stopped, and the end of the connection fails everything.
        if handle.inject(&id, &fault, lease).await.is_ok() {
            in_force.push(id);
        }
        tokio::time::sleep(Duration::from_millis(random.below(120))).await;
        if in_force.len() > IN_FORCE_MAX || random.below(3) == 0 {
            for id in in_force.drain(..) {
                let _ = handle.heal(&id).await;
                let _ = handle.verify_healed(&id, Duration::from_secs(1)).await;
            }
        }
    }
}

/// Every other node, in both IP versions.
fn peers() -> Vec<Peer> {
    let mut peers = Vec::new();
    for node in 1..4_u16 {
        let name = format!("n{}", node + 1);
        peers.push(Peer { node: name.clone(), address: local::address(usize::from(node)).into() });
        peers.push(Peer { node: name, address: [0xfd83, 0, 0, 0, 0, 0, 0, node].into() });
    }
    peers
}

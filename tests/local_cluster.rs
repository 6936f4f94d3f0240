//! The local cluster: what nodes see of each other and of the machine, and what is left when it ends.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that goes wrong")]

use schism::transport::Transport;
use schism::transport::local::{self, LocalCluster, LocalOptions};
use tokio::io::AsyncReadExt;

const SCHISM: &str = env!("CARGO_BIN_EXE_schism");

fn options(nodes: usize) -> LocalOptions {
    LocalOptions { exe: SCHISM.into(), ..LocalOptions::new(nodes) }
}

async fn run(cluster: &LocalCluster, node: usize, script: &str) -> String {
    let mut pipe = cluster.start_program(node, &["sh", "-c", &format!("exec 2>&1; {script}")]).await.unwrap();
    drop(pipe.stdin);
    let mut said = String::new();
    pipe.stdout.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_knows_its_name() {
    let cluster = local::up(options(3)).await.unwrap();
    for node in 0..3 {
        assert_eq!(run(&cluster, node, "hostname").await, format!("n{}\n", node + 1));
    }
    cluster.close().await.unwrap();
}

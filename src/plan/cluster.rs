//! The names and addresses of a local cluster's nodes.

use std::net::IpAddr;

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

//! The names and addresses of a local cluster's nodes.

use std::net::{IpAddr, Ipv4Addr};

use crate::system::ClusterNode;

/// The nodes of a local cluster, in order: `n1` is 10.83.0.1 and so on.
pub fn local_nodes(count: usize) -> Vec<ClusterNode> {
    (1..=count)
        .filter_map(|number| {
            let address = IpAddr::V4(Ipv4Addr::new(10, 83, 0, u8::try_from(number).ok()?));
            Some(ClusterNode { name: format!("n{number}"), address })
        })
        .collect()
}

/// The controller's own address on a local cluster.
pub const fn controller_address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 83, 0, 254))
}

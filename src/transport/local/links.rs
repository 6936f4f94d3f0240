//! The network of the cluster: one bridge that holds the controller's address, and a veth pair and a network namespace a
//! node.
//!
//! Nodes have IPv4 addresses only, and no default route. A fault that names addresses must cover every path between two
//! nodes, so there is no second family (link-local addresses included) to leak through; and a node that asks for a name or
//! an address outside the cluster hears at once that there is no way, instead of waiting for nobody.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use schism_nemesis::linux::netlink::{CREATE, EXCL, Message, ROUTE, Socket};

use super::control::{During, Refusal};

/// The controller's address on the bridge.
pub const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 254);
const PREFIX_LEN: u8 = 24;

/// The bridge's name in the cluster's network namespace.
const BRIDGE: &str = "schism0";
/// What a node calls its interface.
const NODE_LINK: &str = "eth0";
const LOOPBACK_INDEX: i32 = 1;
/// Above whatever the kernel puts into a new namespace (tunnels, where their modules are loaded).
const FIRST_INDEX: i32 = 1000;

// From the kernel's if_link.h and veth.h; `libc` does not have them all.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

/// The address of the node with this index.
pub fn address(node: usize) -> Ipv4Addr {
    // `up` refuses more nodes than fit.
    Ipv4Addr::new(10, 83, 0, u8::try_from(node + 1).unwrap_or(u8::MAX))
}

/// A hardware address of our own, locally administered; the bridge's ends in 254.
fn hardware_address(last: u8) -> [u8; 6] {
    [0x02, b'S', b'C', b'H', 0, last]
}

/// Makes the network of `nodes` nodes around the calling process's network namespace, which becomes the controller's side,
/// and returns the namespace of every node.
///
/// # Errors
/// The kernel refuses.
pub(super) fn build(nodes: usize) -> Result<Vec<OwnedFd>, Refusal> {
    let home = namespace().during("open the cluster's network namespace")?;
    let mut rtnl = Socket::open(ROUTE).during("open a netlink socket")?;
    rtnl.request(&up(LOOPBACK_INDEX)).during("bring the loopback interface up")?;
    rtnl.request(&bridge()).during("make a bridge")?;
    no_ipv6(&mut rtnl, FIRST_INDEX);
    rtnl.request(&assign(FIRST_INDEX, CONTROLLER)).during("give the bridge its address")?;
    rtnl.request(&up(FIRST_INDEX)).during("bring the bridge up")?;
    (0..nodes)
        .map(|node| {
            let step = |what: &str| format!("{what} of n{}", node + 1);
            unshare(CloneFlags::CLONE_NEWNET).during(step("make the network namespace"))?;
            // Both belong to the namespace they were opened in, wherever the process goes next.
            let inside = namespace().during(step("open the network namespace"));
            let socket = Socket::open(ROUTE).during("open a netlink socket");
            setns(&home, CloneFlags::CLONE_NEWNET).during("return to the cluster's network namespace")?;
            let (inside, mut socket) = (inside?, socket?);
            rtnl.request(&veth(node, &inside)).during(step("make the network link"))?;
            no_ipv6(&mut socket, FIRST_INDEX);
            no_ipv6(&mut rtnl, port(node));
            socket.request(&up(LOOPBACK_INDEX)).during(step("bring up the loopback interface"))?;
            socket.request(&assign(FIRST_INDEX, address(node))).during(step("set the address"))?;
            socket.request(&up(FIRST_INDEX)).during(step("bring up the network link"))?;
            rtnl.request(&up(port(node))).during(step("bring up the bridge's end of the network link"))?;
            Ok(inside)
        })
        .collect()
}

/// The index of the bridge's end of a node's link.
fn port(node: usize) -> i32 {
    FIRST_INDEX + 1 + node as i32
}

fn namespace() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// `struct ifinfomsg`.
fn link_header(index: i32, flags: libc::c_int) -> Vec<u8> {
    let mut header = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    header.extend_from_slice(&index.to_ne_bytes());
    // The flags, and which of them are meant.
    header.extend_from_slice(&(flags as u32).to_ne_bytes());
    header.extend_from_slice(&(flags as u32).to_ne_bytes());
    header
}

fn up(index: i32) -> Message {
    Message::new(libc::RTM_NEWLINK, 0, &link_header(index, libc::IFF_UP))
}

fn bridge() -> Message {
    Message::new(libc::RTM_NEWLINK, CREATE | EXCL, &link_header(FIRST_INDEX, 0))
        .string(IFLA_IFNAME, BRIDGE)
        // Fixed: else it changes with every port, and what the nodes remember of it is wrong.
        .bytes(IFLA_ADDRESS, &hardware_address(254))
        .nested(IFLA_LINKINFO, |info| info.string(IFLA_INFO_KIND, "bridge"))
}

/// A pair of links: `v1` on the bridge, `eth0` in the node.
fn veth(node: usize, inside: &OwnedFd) -> Message {
    let number = node + 1;
    Message::new(libc::RTM_NEWLINK, CREATE | EXCL, &link_header(port(node), 0))
        .string(IFLA_IFNAME, &format!("v{number}"))
        .ne32(IFLA_MASTER, FIRST_INDEX as u32)
        .nested(IFLA_LINKINFO, |info| {
            info.string(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_header(FIRST_INDEX, 0))
                        .string(IFLA_IFNAME, NODE_LINK)
                        .bytes(IFLA_ADDRESS, &hardware_address(number as u8))
                        .ne32(IFLA_NET_NS_FD, inside.as_fd().as_raw_fd() as u32)
                })
            })
        })
}

/// Keeps IPv6 off a link. A kernel without IPv6 refuses, and has kept it off already.
fn no_ipv6(socket: &mut Socket, index: i32) {
    let message =
        Message::new(libc::RTM_NEWLINK, 0, &link_header(index, 0)).nested(IFLA_AF_SPEC, |families| {
            families.nested(libc::AF_INET6 as u16, |inet6| {
                inet6.bytes(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])
            })
        });
    let _ = socket.request(&message);
}

fn assign(index: i32, address: Ipv4Addr) -> Message {
    // `struct ifaddrmsg`: family, prefix length, flags, scope, index.
    let mut header = vec![libc::AF_INET as u8, PREFIX_LEN, 0, libc::RT_SCOPE_UNIVERSE];
    header.extend_from_slice(&(index as u32).to_ne_bytes());
    let broadcast = Ipv4Addr::from(u32::from(address) | (u32::MAX >> PREFIX_LEN));
    Message::new(libc::RTM_NEWADDR, CREATE | EXCL, &header)
        .bytes(IFA_LOCAL, &address.octets())
        .bytes(IFA_ADDRESS, &address.octets())
        .bytes(IFA_BROADCAST, &broadcast.octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_an_address_of_its_own_beside_the_controllers() {
        let mut all: Vec<Ipv4Addr> = (0..super::super::NODES_MAX).map(address).collect();
        assert_eq!(all[0], Ipv4Addr::new(10, 83, 0, 1));
        all.push(CONTROLLER);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), super::super::NODES_MAX + 1);
    }
}

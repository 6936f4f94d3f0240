//! Drops what arrives from peers, in an nftables table of our own.
//!
//! Table `inet schism` has one chain at the input hook. Its priority, -10, is just before the filters that people write
//! (0): a packet that their rules would drop as well is still counted here, and nothing of theirs is touched.
//!
//! Each fault has, for each IP version it needs, two sets and two rules of its own, named after a hash of its data, so that
//! faults come and go without each other, and another process finds them again:
//!
//! - `drop…` has the peers with a timeout, the lease. When nobody renews it, the kernel empties it, and the fault is over
//!   with no process alive.
//! - `count…` has the peers with a counter and no timeout, so that renewing loses no packet that was counted.
//! - A rule at the front of the chain counts what is from a peer in both sets, a rule at the end drops what is from a peer
//!   in the first. All faults count before any drops: two faults that cut the same link both see that they bite.
//!
//! Ports can be exempt, so that no cut severs the connection that is to heal it: at the very front of the chain, TCP to and
//! from them is accepted, which ends this chain and no other. Both ways, since the controller may itself run on a node that
//! is cut off from those it controls. The address at the other end does not matter: exempting the controller's whole address
//! would make a cut that does not bite where the controller runs on a node.
//!
//! The loopback device is never touched: a node that is cut off still reaches itself. Nor is neighbour discovery, as ARP is
//! not: without the peer's answer to it the node could not send either, and no cut would be one way.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::netlink::{Message, NETFILTER, Socket, TransactionError};
use super::nftables::{self, Key, Place, SetKind, Step};
use super::{kernel, poll};
use crate::node::{Evidence, FaultError, Host, Mechanism, Peer};

/// Our table, in the `inet` family.
pub const TABLE: &str = "schism";
pub(super) const CHAIN: &str = "input";
pub(super) const PRIORITY: i32 = -10;
/// How often a removal is tried again when somebody else removes the same at the same time.
const REMOVALS_MAX: usize = 5;
/// The first Linux with counters at the elements of a set.
const KERNEL_MIN: (u32, u32) = (5, 7);

/// The fault with its identity.
#[derive(Clone, Debug)]
pub struct DropFrom {
    peers: Vec<Peer>,
    exempt_ports: Vec<u16>,
    /// What its sets and rules are found by.
    tag: String,
    comment: String,
}

/// The sets of one fault for one IP version.
struct Sets {
    key: Key,
    drop: String,
    count: String,
    addresses: Vec<Vec<u8>>,
}

impl DropFrom {
    /// The fault `id`, which drops what arrives from `peers`, except for TCP to or from `exempt_ports`.
    pub fn new(id: &str, peers: &[Peer], exempt_ports: &[u16]) -> Self {
        let mut hash = Fnv::new();
        hash.add(id.as_bytes());
        for peer in peers {
            hash.add(peer.node.as_bytes());
            hash.add(peer.address.to_string().as_bytes());
        }
        let tag = format!("{:016x}", hash.0);
        let exempt_ports = exempt_ports.to_vec();
        Self { peers: peers.to_vec(), exempt_ports, comment: format!("schism {tag} {id}"), tag }
    }

    /// The sets whose elements are dropped, with the addresses in them.
    pub(super) fn drops(&self) -> Vec<(Key, String, Vec<IpAddr>)> {
        let addresses = |key: Key| {
            let mut found: Vec<IpAddr> = self
                .peers
                .iter()
                .map(|peer| peer.address)
                .filter(|address| wire(*address).0 == key)
                .collect();
            found.sort();
            found.dedup();
            found
        };
        self.sets().into_iter().map(|sets| (sets.key, sets.drop, addresses(sets.key))).collect()
    }

    fn sets(&self) -> Vec<Sets> {
        let mut sets = Vec::new();
        for (key, version) in [(Key::Ipv4, 4), (Key::Ipv6, 6)] {
            let mut addresses: Vec<Vec<u8>> = Vec::new();
            for peer in &self.peers {
                let (of, address) = wire(peer.address);
                if of == key && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if !addresses.is_empty() {
                let (drop, count) =
                    (format!("drop{version}_{}", self.tag), format!("count{version}_{}", self.tag));
                sets.push(Sets { key, drop, count, addresses });
            }
        }
        sets
    }

    fn creation(&self, lease: Duration) -> Vec<Message> {
        let mut messages =
            vec![nftables::new_table(TABLE), nftables::new_input_chain(TABLE, CHAIN, PRIORITY)];
        for (position, Sets { key, drop, count, addresses }) in self.sets().into_iter().enumerate() {
            let id = 1 + 2 * position as u32;
            let mut from = vec![Step::NotLoopback, Step::IpVersion(key)];
            if key == Key::Ipv6 {
                from.push(Step::NotNeighbourDiscovery);
            }
            from.extend([Step::Source(key), Step::InSet(drop.clone())]);
            let counting = [&from[..], &[Step::InSet(count.clone())]].concat();
            let dropping = [&from[..], &[Step::Drop]].concat();
            messages.extend([
                nftables::new_set(TABLE, &drop, id, key, SetKind::Expiring),
                nftables::new_set(TABLE, &count, id + 1, key, SetKind::Counting),
                nftables::add_elements(TABLE, &count, &addresses, None),
                nftables::add_elements(TABLE, &drop, &addresses, Some(lease)),
                nftables::new_rule(TABLE, CHAIN, Place::First, &counting, &self.comment),
                nftables::new_rule(TABLE, CHAIN, Place::Last, &dropping, &self.comment),
            ]);
        }
        // Last, so that they come to stand before what counts.
        for port in &self.exempt_ports {
            for end in [Step::FromPort(*port), Step::ToPort(*port)] {
                let steps = [Step::Tcp, end, Step::Accept];
                messages.push(nftables::new_rule(TABLE, CHAIN, Place::First, &steps, &self.comment));
            }
        }
        messages
    }

    /// What deletes everything of this fault that the kernel has now.
    fn removal(&self, socket: &mut Socket) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        for rule in nftables::rules(socket, TABLE)? {
            if self.owns(&rule) {
                messages.push(nftables::delete_rule(TABLE, &rule.chain, rule.handle));
            }
        }
        for set in nftables::sets(socket, TABLE)? {
            if set.ends_with(&self.tag) {
                messages.push(nftables::delete_set(TABLE, &set));
            }
        }
        Ok(messages)
    }

    fn owns(&self, rule: &nftables::Rule) -> bool {
        let mark = format!("schism {} ", self.tag);
        rule.comment.as_ref().is_some_and(|comment| comment.starts_with(&mark))
    }

    /// Deletes everything of this fault, and adds `then` in the same transaction.
    fn replace(&self, socket: &mut Socket, then: &[Message]) -> io::Result<()> {
        let mut last = None;
        for _ in 0..REMOVALS_MAX {
            let mut messages = self.removal(socket)?;
            messages.extend_from_slice(then);
            if messages.is_empty() {
                return Ok(());
            }
            match socket.transaction(&messages) {
                Ok(()) => return Ok(()),
                // Somebody else deleted it between the look and the transaction.
                Err(TransactionError { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    last = Some(source)
                }
                Err(TransactionError { source, .. }) => return Err(source),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EAGAIN)))
    }

    /// How many packets of each peer were dropped; `None` for a peer that is not dropped now.
    fn look(&self, socket: &mut Socket) -> io::Result<Vec<(&Peer, Option<u64>)>> {
        let mut in_force = Vec::new();
        let mut counted = Vec::new();
        for sets in self.sets() {
            in_force.extend(nftables::elements(socket, TABLE, &sets.drop)?);
            counted.extend(nftables::elements(socket, TABLE, &sets.count)?);
        }
        let of = |peer: &Peer| {
            let (_, key) = wire(peer.address);
            let packets =
                counted.iter().find(|element| element.key == key).and_then(|element| element.packets);
            in_force.iter().any(|element| element.key == key).then_some(packets).flatten()
        };
        Ok(self.peers.iter().map(|peer| (peer, of(peer))).collect())
    }
}

/// The address as it is compared on the wire. An IPv4 address in IPv6 clothes travels as IPv4.
fn wire(address: IpAddr) -> (Key, Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Key::Ipv4, address.octets().to_vec()),
        IpAddr::V6(address) => (Key::Ipv6, address.octets().to_vec()),
    }
}

fn failed(step: &'static str, reason: impl Into<String>) -> FaultError {
    FaultError { step, fault: "drop-from", reason: reason.into() }
}

fn open(step: &'static str) -> Result<Socket, FaultError> {
    Socket::open(NETFILTER).map_err(|error| explain(step, &error))
}

/// What the kernel's errors mean here.
fn explain(step: &'static str, error: &io::Error) -> FaultError {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "changing packet filters needs CAP_NET_ADMIN; run the agent as root, or give its container that capability"
        }
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL) => {
            "this kernel has no nf_tables; load it with `modprobe nf_tables`, or use a kernel built with CONFIG_NF_TABLES and \
             CONFIG_NF_TABLES_INET"
        }
        _ => "nftables refused",
    };
    failed(step, format!("{hint} ({error})"))
}

impl Mechanism for DropFrom {
    fn precheck(&self, _: &dyn Host) -> Result<(), FaultError> {
        const STEP: &str = "precheck";
        if self.peers.is_empty() {
            return Err(failed(STEP, "no peers are named, so there is nothing to drop"));
        }
        for Peer { node, address } in &self.peers {
            let address = address.to_canonical();
            if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
                let reason = format!(
                    "packets from {node} never carry the address {address}; give the node's own address"
                );
                return Err(failed(STEP, reason));
            }
        }
        if let Some((major, minor)) = kernel::release().filter(|release| *release < KERNEL_MIN) {
            let (need_major, need_minor) = KERNEL_MIN;
            let reason = format!(
                "Linux {major}.{minor} cannot count what a set drops, so nothing would prove the fault; it needs \
                 {need_major}.{need_minor}"
            );
            return Err(failed(STEP, reason));
        }
        let mut socket = open(STEP)?;
        let rehearsal = socket.rehearse(&self.creation(Duration::from_secs(1)));
        rehearsal.map_err(|error| match error.source.kind() {
            // An expression or set type that is a missing module reads like a missing file.
            io::ErrorKind::NotFound => {
                failed(STEP, format!("this kernel's nf_tables lacks a part ({error})"))
            }
            _ => explain(STEP, &error.source),
        })
    }

    fn inject(&mut self, _: &dyn Host, lease: Duration) -> Result<(), FaultError> {
        let mut socket = open("inject")?;
        self.replace(&mut socket, &self.creation(lease)).map_err(|error| explain("inject", &error))
    }

    fn verify(&mut self, _: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        let mut socket = open("verify")?;
        poll::until(patience, || {
            let seen = self.look(&mut socket).map_err(|error| explain("verify", &error))?;
            Ok(evidence(&seen))
        })
    }

    fn renew(&mut self, _: &dyn Host, lease: Duration) -> Result<(), FaultError> {
        let mut messages = Vec::new();
        for Sets { drop, addresses, .. } in self.sets() {
            messages.push(nftables::clear_set(TABLE, &drop));
            messages.push(nftables::add_elements(TABLE, &drop, &addresses, Some(lease)));
        }
        open("renew")?.transaction(&messages).map_err(|error| match error.source.kind() {
            io::ErrorKind::NotFound => failed(
                "renew",
                format!("its sets are gone from table inet {TABLE}: something else on this node reloads or flushes nftables"),
            ),
            _ => explain("renew", &error.source),
        })
    }

    fn heal(&mut self, _: &dyn Host) -> Result<(), FaultError> {
        let mut socket = open("heal")?;
        self.replace(&mut socket, &[]).map_err(|error| explain("heal", &error))?;
        // Refused as a whole while another fault has rules there.
        let rest = [nftables::delete_empty_chain(TABLE, CHAIN), nftables::delete_empty_table(TABLE)];
        match socket.transaction(&rest) {
            Ok(()) => Ok(()),
            Err(error) => match error.source.raw_os_error() {
                Some(libc::EBUSY | libc::ENOENT) => Ok(()),
                _ => Err(explain("heal", &error.source)),
            },
        }
    }

    fn verify_healed(&mut self, _: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        const STEP: &str = "verify healed";
        let mut socket = open(STEP)?;
        poll::until(patience, || {
            let rules = nftables::rules(&mut socket, TABLE).map_err(|error| explain(STEP, &error))?;
            let sets = nftables::sets(&mut socket, TABLE).map_err(|error| explain(STEP, &error))?;
            let rules = rules.iter().filter(|rule| self.owns(rule)).count();
            let sets: Vec<String> = sets.into_iter().filter(|set| set.ends_with(&self.tag)).collect();
            let holds = rules == 0 && sets.is_empty();
            let seen = if holds {
                format!("nothing of it is left in table inet {TABLE}")
            } else {
                format!("{rules} rules and the sets {} are left in table inet {TABLE}", sets.join(", "))
            };
            Ok(Evidence { holds, seen })
        })
    }
}

fn evidence(seen: &[(&Peer, Option<u64>)]) -> Evidence {
    let mut dropped = Vec::new();
    let mut silent = Vec::new();
    let mut gone = Vec::new();
    for (peer, packets) in seen {
        match packets {
            None => gone.push(peer.node.as_str()),
            Some(0) => silent.push(peer.node.as_str()),
            Some(packets) if dropped.is_empty() => {
                let noun = if *packets == 1 { "packet" } else { "packets" };
                dropped.push(format!("{packets} {noun} from {}", peer.node));
            }
            Some(packets) => dropped.push(format!("{packets} from {}", peer.node)),
        }
    }
    let mut clauses = Vec::new();
    if !gone.is_empty() {
        clauses.push(format!("not dropping from {} (any more)", gone.join(", ")));
    }
    if !silent.is_empty() {
        clauses.push(format!("nothing arrived to drop from {}", silent.join(", ")));
    }
    if !dropped.is_empty() {
        clauses.push(format!("dropped {}", dropped.join(", ")));
    }
    let holds = !seen.is_empty() && gone.is_empty() && silent.is_empty();
    Evidence { holds, seen: clauses.join("; ") }
}

/// FNV-1a with 64 bits (Fowler, Noll and Vo): a name that every version of this program derives the same way.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a field, with its end marked.
    fn add(&mut self, field: &[u8]) {
        for byte in field.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, address: &str) -> Peer {
        Peer { node: node.to_owned(), address: address.parse().unwrap() }
    }

    #[test]
    fn every_fault_has_names_of_its_own() {
        let peers = [peer("n1", "10.0.0.1")];
        let tag = |id: &str, peers: &[Peer]| DropFrom::new(id, peers, &[]).tag;
        assert_eq!(tag("partition-1", &peers), tag("partition-1", &peers));
        assert_ne!(tag("partition-1", &peers), tag("partition-2", &peers));
        assert_ne!(tag("partition-1", &peers), tag("partition-1", &[peer("n1", "10.0.0.2")]));
    }

    #[test]
    fn ip_versions_get_sets_of_their_own() {
        let peers = [
            peer("n1", "10.0.0.1"),
            peer("n2", "fd00::2"),
            peer("n3", "::ffff:10.0.0.3"),
            peer("n4", "10.0.0.1"),
        ];
        let sets = DropFrom::new("partition-1", &peers, &[]).sets();
        let shape: Vec<(Key, usize)> = sets.iter().map(|sets| (sets.key, sets.addresses.len())).collect();
        assert_eq!(shape, [(Key::Ipv4, 2), (Key::Ipv6, 1)]);
    }

    #[test]
    fn evidence_wants_packets_of_every_peer() {
        let (one, two) = (peer("n2", "10.0.0.2"), peer("n3", "10.0.0.3"));
        for (counts, holds, text) in [
            ([Some(12), Some(9)], true, "dropped 12 packets from n2, 9 from n3"),
            ([Some(1), Some(9)], true, "dropped 1 packet from n2, 9 from n3"),
            ([Some(12), Some(0)], false, "nothing arrived to drop from n3; dropped 12 packets from n2"),
            ([None, Some(9)], false, "not dropping from n2 (any more); dropped 9 packets from n3"),
        ] {
            let seen = evidence(&[(&one, counts[0]), (&two, counts[1])]);
            assert_eq!((seen.holds, seen.seen.as_str()), (holds, text));
        }
        assert!(!evidence(&[]).holds);
    }
}

//! What a rule does, step by step, and the kernel's expressions for it.

use super::super::netlink::Message;
use super::Key;

/// The register expressions hand values on in; the verdict has register 0.
const REGISTER: u32 = 1;
/// Two registers of 4 bytes in a row, which lie over the first 8 bytes of [`REGISTER`].
const PAIR: [u32; 2] = [8, 9];
const VERDICT_REGISTER: u32 = 0;
const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;

/// A step of a rule. A rule ends at the first step that does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The packet did not come in through the loopback device.
    NotLoopback,
    /// The packet is of the key's IP version.
    IpVersion(Key),
    /// The IPv6 packet is no neighbour solicitation or advertisement, which is to IPv6 what ARP is to IPv4.
    NotNeighbourDiscovery,
    /// Loads the source address.
    Source(Key),
    /// What was loaded is in the set (by name); its counter, if it has one, counts the packet.
    InSet(String),
    /// The packet is TCP.
    Tcp,
    /// A TCP packet comes from this port.
    FromPort(u16),
    /// A TCP packet goes to this port.
    ToPort(u16),
    /// Drops the packet.
    Drop,
    /// No later rule of the chain sees the packet. Chains of others do.
    Accept,
}

type Expression = Box<dyn FnOnce(Message) -> Message>;

fn expression(name: &'static str, data: impl FnOnce(Message) -> Message + 'static) -> Expression {
    Box::new(move |item| item.string(1, name).nested(2, data))
}

/// The kernel's expressions for a step.
pub(super) fn expressions(step: &Step) -> Vec<Expression> {
    const META_IIFTYPE: u32 = 8;
    const META_NFPROTO: u32 = 15;
    const EQUAL: u32 = 0;
    const NOT_EQUAL: u32 = 1;
    const META_L4PROTO: u32 = 16;
    const NETWORK_HEADER: u32 = 1;
    const TRANSPORT_HEADER: u32 = 2;
    const SOURCE_PORT: u32 = 0;
    const DESTINATION_PORT: u32 = 2;
    const NEXT_HEADER: u32 = 6;
    const ICMP_TYPE: u32 = 40;
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    let load = |register: u32, header: u32, offset: u32, length: u32| {
        expression("payload", move |data| {
            data.be32(1, register).be32(2, header).be32(3, offset).be32(4, length)
        })
    };
    let payload = |register: u32, offset: u32, length: u32| load(register, NETWORK_HEADER, offset, length);
    let meta = |key: u32| expression("meta", move |data| data.be32(1, REGISTER).be32(2, key));
    let compare = |operator: u32, value: Vec<u8>| {
        expression("cmp", move |data| {
            data.be32(1, REGISTER).be32(2, operator).nested(3, |number| number.bytes(1, &value))
        })
    };
    let port_is = |offset: u32, port: u16| {
        let value = port.to_be_bytes().to_vec();
        vec![load(REGISTER, TRANSPORT_HEADER, offset, 2), compare(EQUAL, value)]
    };
    match step {
        Step::NotLoopback => {
            vec![meta(META_IIFTYPE), compare(NOT_EQUAL, libc::ARPHRD_LOOPBACK.to_ne_bytes().to_vec())]
        }
        Step::IpVersion(key) => vec![meta(META_NFPROTO), compare(EQUAL, vec![key.protocol()])],
        Step::NotNeighbourDiscovery => {
            // Such a packet has no extension headers, so both bytes are where they are. Each fills a register of 4.
            let is_not =
                |kind: u8| compare(NOT_EQUAL, vec![libc::IPPROTO_ICMPV6 as u8, 0, 0, 0, kind, 0, 0, 0]);
            let [first, second] = PAIR;
            vec![
                payload(first, NEXT_HEADER, 1),
                payload(second, ICMP_TYPE, 1),
                is_not(SOLICITATION),
                is_not(ADVERTISEMENT),
            ]
        }
        Step::Source(key) => vec![payload(REGISTER, key.source_offset(), key.length())],
        Step::InSet(set) => {
            let set = set.clone();
            vec![expression("lookup", move |data| data.string(1, &set).be32(2, REGISTER))]
        }
        Step::Tcp => vec![meta(META_L4PROTO), compare(EQUAL, vec![libc::IPPROTO_TCP as u8])],
        Step::FromPort(port) => port_is(SOURCE_PORT, *port),
        Step::ToPort(port) => port_is(DESTINATION_PORT, *port),
        Step::Drop => vec![verdict(VERDICT_DROP)],
        Step::Accept => vec![verdict(VERDICT_ACCEPT)],
    }
}

fn verdict(code: u32) -> Expression {
    expression("immediate", move |data| {
        data.be32(1, VERDICT_REGISTER).nested(2, |value| value.nested(2, |verdict| verdict.be32(1, code)))
    })
}

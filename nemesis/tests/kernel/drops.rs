//! Drops between two network namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use schism_nemesis::linux::netlink::{Message, NETFILTER, Socket};
use schism_nemesis::linux::nftables::{self, Key, Place, SetKind, Step};
use schism_nemesis::linux::{TABLE, mechanism, purge, qdisc, residue};
use schism_nemesis::node::{FaultError, Host, Mechanism, NodeFault, Peer};

use crate::lab::{self, NODE, PEERS, SCOUTS, inside_namespaces};

/// A node without processes.
struct Nothing;

impl Host for Nothing {
    fn pids(&self, _: &str) -> Vec<i32> {
        Vec::new()
    }
    fn hold_down(&self, _: &str, _: bool) {}
    fn start(&self, _: &str) -> Result<(), FaultError> {
        Ok(())
    }
}

const LEASE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::ZERO;

fn peer(node: &str, address: &str) -> Peer {
    Peer { node: node.to_owned(), address: address.parse().unwrap() }
}

fn drop_from(id: &str, peers: &[Peer]) -> Box<dyn Mechanism> {
    mechanism(id, &NodeFault::DropFrom { peers: peers.to_vec(), exempt_ports: Vec::new() })
}

/// Sends one datagram and says whether it arrived. Waits for a sign either way: the datagram, or a count that grew.
fn arrives(from: &UdpSocket, to: &UdpSocket, fault: &mut dyn Mechanism) -> bool {
    let before = fault.verify(&Nothing, AT_ONCE).unwrap().seen;
    to.set_nonblocking(true).unwrap();
    from.send_to(b"x", to.local_addr().unwrap()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 8];
    loop {
        if to.recv_from(&mut buffer).is_ok_and(|(_, sender)| sender == from.local_addr().unwrap()) {
            return true;
        }
        let now = fault.verify(&Nothing, AT_ONCE).unwrap().seen;
        if now != before && now.contains("dropped") {
            return false;
        }
        assert!(Instant::now() < deadline, "neither arrived nor dropped: {now}");
        thread::yield_now();
    }
}

fn assert_clean() {
    assert_eq!(residue().unwrap(), Vec::<String>::new());
}

#[test]
fn drops_what_peers_send_and_counts_it() {
    inside_namespaces("drops::drops_what_peers_send_and_counts_it", || {
        let peers = lab::peers();
        for (node, [first, second]) in NODE.iter().zip([[PEERS[0], PEERS[1]], [PEERS[2], PEERS[3]]]) {
            let node = lab::socket(node.parse::<IpAddr>().unwrap());
            let (one, two) = (peers.socket(first), peers.socket(second));
            let mut fault = drop_from("partition-1", &[peer("n2", first)]);
            fault.precheck(&Nothing).unwrap();
            assert_clean();
            fault.inject(&Nothing, LEASE).unwrap();
            let silent = fault.verify(&Nothing, AT_ONCE).unwrap();
            assert!(!silent.holds && silent.seen == "nothing arrived to drop from n2", "{silent:?}");

            assert!(!arrives(&one, &node, fault.as_mut()));
            assert!(arrives(&two, &node, fault.as_mut()), "another peer is not touched");
            let evidence = fault.verify(&Nothing, AT_ONCE).unwrap();
            assert!(evidence.holds && evidence.seen == "dropped 1 packet from n2", "{first}: {evidence:?}");

            // One way: the node still reaches whom it does not hear, and itself.
            node.send_to(b"back", one.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(one.recv(&mut buffer).unwrap(), 4);
            assert!(arrives(&node, &lab::socket(node.local_addr().unwrap().ip()), fault.as_mut()));

            fault.heal(&Nothing).unwrap();
            assert!(fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
            assert!(!fault.verify(&Nothing, AT_ONCE).unwrap().holds);
            assert!(arrives(&one, &node, fault.as_mut()));
            assert_clean();
            fault.heal(&Nothing).unwrap();
            assert!(fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
        }
    });
}

#[test]
fn itself_is_reached_even_when_named_as_a_peer() {
    inside_namespaces("drops::itself_is_reached_even_when_named_as_a_peer", || {
        let peers = lab::peers();
        let address: IpAddr = NODE[0].parse().unwrap();
        let (here, there) = (lab::socket(address), lab::socket(address));
        let mut fault = drop_from("partition-1", &[peer("n1", NODE[0]), peer("n2", PEERS[0])]);
        fault.inject(&Nothing, LEASE).unwrap();
        assert!(!arrives(&peers.socket(PEERS[0]), &there, fault.as_mut()));
        assert!(arrives(&here, &there, fault.as_mut()));
        let evidence = fault.verify(&Nothing, AT_ONCE).unwrap();
        assert!(!evidence.holds, "no packet of n1 came from outside: {evidence:?}");
    });
}

#[test]
fn faults_on_the_same_link_live_side_by_side() {
    inside_namespaces("drops::faults_on_the_same_link_live_side_by_side", || {
        let peers = lab::peers();
        let node = lab::socket(NODE[0].parse::<IpAddr>().unwrap());
        let one = peers.socket(PEERS[0]);
        let mut faults: Vec<_> = ["partition-1", "partition-2", "partition-3"]
            .map(|id| drop_from(id, &[peer("n2", PEERS[0])]))
            .into();
        for fault in &mut faults {
            fault.inject(&Nothing, LEASE).unwrap();
        }
        one.send_to(b"x", node.local_addr().unwrap()).unwrap();
        for fault in &mut faults {
            let evidence = fault.verify(&Nothing, PATIENCE).unwrap();
            assert_eq!(evidence.seen, "dropped 1 packet from n2");
            assert!(evidence.holds);
        }
        // Whichever is healed first, the others go on.
        for healed in [1, 0] {
            faults[healed].heal(&Nothing).unwrap();
            assert!(faults[healed].verify_healed(&Nothing, AT_ONCE).unwrap().holds);
            assert!(!arrives(&one, &node, faults[2].as_mut()));
        }
        assert_eq!(faults[2].verify(&Nothing, AT_ONCE).unwrap().seen, "dropped 3 packets from n2");
        faults[2].heal(&Nothing).unwrap();
        assert_clean();
    });
}

#[test]
fn the_kernel_heals_when_nobody_renews() {
    inside_namespaces("drops::the_kernel_heals_when_nobody_renews", || {
        const LEASE: Duration = Duration::from_millis(600);
        let peers = lab::peers();
        let node = lab::socket(NODE[0].parse::<IpAddr>().unwrap());
        let one = peers.socket(PEERS[0]);
        node.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut fault = drop_from("partition-1", &[peer("n2", PEERS[0])]);
        let before = Instant::now();
        fault.inject(&Nothing, LEASE).unwrap();
        let injected = Instant::now();
        let mut buffer = [0; 8];
        // A machine that is busy elsewhere must not count against the kernel: what counts as still dropped is the time at
        // which a packet was sent that the kernel did count as dropped, and what counts as healed is when one was received.
        let mut last_dropped = before;
        let mut seen = String::new();
        let first_arrived = 'healed: loop {
            assert!(injected.elapsed() < PATIENCE, "the lease never ran out");
            let sent = Instant::now();
            one.send_to(b"x", node.local_addr().unwrap()).unwrap();
            // One that is dropped in the very moment of the expiry leaves no trace: send another one then.
            while sent.elapsed() < Duration::from_millis(50) {
                if node.recv(&mut buffer).is_ok() {
                    break 'healed Instant::now();
                }
                let now = fault.verify(&Nothing, AT_ONCE).unwrap().seen;
                if now.starts_with("dropped") && now != seen {
                    (last_dropped, seen) = (sent, now);
                    break;
                }
            }
        };
        // The kernel's clock for timeouts is coarse: allow one tick of 100 Hz.
        assert!(
            first_arrived - before >= LEASE - Duration::from_millis(10),
            "healed after {:?}",
            first_arrived - before
        );
        let dropped_for = last_dropped.saturating_duration_since(injected);
        assert!(dropped_for <= LEASE + Duration::from_millis(300), "still dropped after {dropped_for:?}");
        assert!(last_dropped > before, "nothing was dropped in the first place");
        let evidence = fault.verify(&Nothing, AT_ONCE).unwrap();
        assert!(!evidence.holds && evidence.seen.contains("any more"), "{evidence:?}");
        assert!(!fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds, "its empty sets are still there");
        // Too late to prolong, but it can be made again, and what was counted stays counted.
        fault.renew(&Nothing, self::LEASE).unwrap();
        assert!(!arrives(&one, &node, fault.as_mut()));
        fault.heal(&Nothing).unwrap();
        assert_clean();
    });
}

#[test]
fn renewing_lets_nothing_through_and_keeps_the_count() {
    inside_namespaces("drops::renewing_lets_nothing_through_and_keeps_the_count", || {
        let peers = lab::peers();
        let node = lab::socket(NODE[0].parse::<IpAddr>().unwrap());
        let one = peers.socket(PEERS[0]);
        let to = node.local_addr().unwrap();
        let mut fault = drop_from("partition-1", &[peer("n2", PEERS[0])]);
        fault.inject(&Nothing, LEASE).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    one.send_to(b"x", to).unwrap();
                    sent += 1;
                }
                sent
            });
            let mut last = 0;
            for round in 0..100 {
                fault.renew(&Nothing, Duration::from_secs(5)).unwrap();
                let seen = fault.verify(&Nothing, PATIENCE).unwrap().seen;
                let count: u64 = seen.split(' ').nth(1).unwrap().parse().unwrap();
                assert!(count >= last, "round {round}: {seen}, {last} before");
                last = count;
            }
            over.store(true, Ordering::Relaxed);
            let sent = sender.join().unwrap();
            assert!(sent > 300, "too few to prove anything: {sent}");
            assert!(last > sent / 10, "{sent} sent, {last} counted");
        });
        node.set_nonblocking(true).unwrap();
        assert!(node.recv(&mut [0; 8]).is_err(), "one got through");
    });
}

#[test]
fn another_process_heals_from_the_data_alone() {
    inside_namespaces("drops::another_process_heals_from_the_data_alone", || {
        let fault = NodeFault::DropFrom {
            peers: vec![peer("n2", PEERS[0]), peer("n3", PEERS[3])],
            exempt_ports: vec![22],
        };
        mechanism("partition-1", &fault).inject(&Nothing, LEASE).unwrap();
        assert_eq!(residue().unwrap().len(), 10, "{:#?}", residue());
        // Injecting again replaces it.
        mechanism("partition-1", &fault).inject(&Nothing, LEASE).unwrap();
        assert_eq!(residue().unwrap().len(), 10, "{:#?}", residue());
        // As a journal gives it back.
        let journalled: NodeFault = serde_json::from_str(&serde_json::to_string(&fault).unwrap()).unwrap();
        let mut other = mechanism("partition-1", &journalled);
        assert!(!other.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
        other.heal(&Nothing).unwrap();
        assert!(other.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
        assert_clean();
    });
}

#[test]
fn many_at_once_do_not_trip_over_each_other() {
    inside_namespaces("drops::many_at_once_do_not_trip_over_each_other", || {
        thread::scope(|scope| {
            for lane in 0..8 {
                scope.spawn(move || {
                    for round in 0..5 {
                        let mut fault =
                            drop_from(&format!("partition-{lane}-{round}"), &[peer("n2", PEERS[0])]);
                        fault.inject(&Nothing, LEASE).unwrap();
                        fault.renew(&Nothing, LEASE).unwrap();
                        assert!(!fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
                        fault.heal(&Nothing).unwrap();
                        assert!(fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
                    }
                });
            }
        });
        assert_clean();
    });
}

/// Everything nftables has in the calling thread's namespace, as bytes. The first four of each message are a header with
/// the generation, which counts transactions.
fn whole_ruleset() -> Vec<Vec<u8>> {
    const SUBSYSTEM: u16 = 10 << 8;
    let mut socket = Socket::open(NETFILTER).unwrap();
    let mut all = Vec::new();
    for get in [1, 4, 7, 10] {
        for reply in socket.dump(&Message::new(SUBSYSTEM | get, 0, &[0, 0, 0, 0])).unwrap() {
            all.push(reply.body[4..].to_vec());
        }
    }
    let get_elements =
        Message::new(SUBSYSTEM | 13, 0, &[1, 0, 0, 0]).string(1, "theirs").string(2, "friends");
    for reply in socket.dump(&get_elements).unwrap() {
        all.push(reply.body[4..].to_vec());
    }
    all
}

fn nft(arguments: &[&str]) -> Option<String> {
    run("nft", arguments)
}

/// What a program says; nothing where it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_is_not_ours_stays_as_it_is() {
    inside_namespaces("drops::what_is_not_ours_stays_as_it_is", || {
        let peers = lab::peers();
        let address = PEERS[1].parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec();
        let steps = [
            Step::IpVersion(Key::Ipv4),
            Step::Source(Key::Ipv4),
            Step::InSet("friends".to_owned()),
            Step::Drop,
        ];
        let theirs = [
            nftables::new_table("theirs"),
            nftables::new_input_chain("theirs", "input", 0),
            nftables::new_set("theirs", "friends", 1, Key::Ipv4, SetKind::Counting),
            nftables::add_elements("theirs", "friends", &[address], None),
            nftables::new_rule("theirs", "input", Place::Last, &steps, "by hand"),
        ];
        Socket::open(NETFILTER).unwrap().transaction(&theirs).unwrap();
        nft(&["add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; \
               add rule ip nat post oifname node masquerade; add table ip6 filter; \
               add chain ip6 filter INPUT { type filter hook input priority 0; policy accept; }; \
               add rule ip6 filter INPUT ip6 saddr fd99::/64 drop"]);
        for iptables in ["iptables-nft", "ip6tables-nft"] {
            run(iptables, &["-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP"]);
        }
        lab::add_root_qdisc("node", "pfifo", 0x10_0000);
        let theirs = || {
            let texts = [
                nft(&["list", "ruleset"]),
                run("iptables-nft", &["-S"]),
                run("ip6tables-nft", &["-S"]),
                run("tc", &["qdisc", "show"]),
            ];
            (whole_ruleset(), qdisc::roots().unwrap(), texts)
        };
        let before = theirs();
        assert!(before.0.len() >= 5);

        let node = lab::socket(NODE[0].parse::<IpAddr>().unwrap());
        let one = peers.socket(PEERS[0]);
        let both = [peer("n2", PEERS[0]), peer("n2", PEERS[2])];
        let mut fault =
            mechanism("partition-1", &NodeFault::DropFrom { peers: both.to_vec(), exempt_ports: vec![22] });
        fault.precheck(&Nothing).unwrap();
        fault.inject(&Nothing, LEASE).unwrap();
        assert!(!arrives(&one, &node, fault.as_mut()));
        fault.renew(&Nothing, LEASE).unwrap();
        assert_ne!(whole_ruleset(), before.0, "the comparison sees our table");
        if let Some(listed) = nft(&["list", "table", "inet", TABLE]) {
            for part in ["hook input", "policy accept", "ip saddr @drop4_", "comment \"schism ", "10.97.0.2"]
            {
                assert!(listed.contains(part), "no {part} in {listed}");
            }
        }
        fault.heal(&Nothing).unwrap();
        assert_eq!(theirs(), before);

        // Also when nobody knows any more what the fault was.
        fault.inject(&Nothing, LEASE).unwrap();
        assert!(!residue().unwrap().is_empty());
        for _ in 0..2 {
            purge().unwrap();
            assert_clean();
            assert_eq!(theirs(), before);
        }
    });
}

/// A TCP listener that answers whoever connects, in the calling thread's namespace.
fn answering(address: &str) -> SocketAddr {
    let listener = TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
    let bound = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"here"));
        }
    });
    bound
}

/// Whether a connection is made and answered.
fn answers(address: SocketAddr, patience: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else { return false };
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).is_ok()
}

#[test]
fn exempt_ports_are_reached_through_every_cut() {
    inside_namespaces("drops::exempt_ports_are_reached_through_every_cut", || {
        const SHORT: Duration = Duration::from_millis(300);
        let peers = lab::peers();
        let everyone: Vec<Peer> = PEERS.iter().chain(&SCOUTS).map(|address| peer("other", address)).collect();
        for (node, other) in [(NODE[0], PEERS[0]), (NODE[1], PEERS[2])] {
            // A control port and a data port on either side.
            let (control, data) = (answering(node), answering(node));
            let (far_control, far_data) = peers.run(move || (answering(other), answering(other)));
            let exempt_ports = vec![control.port(), far_control.port()];
            let cut = NodeFault::DropFrom { peers: everyone.clone(), exempt_ports };
            let mut fault = mechanism("partition-1", &cut);
            fault.precheck(&Nothing).unwrap();
            fault.inject(&Nothing, LEASE).unwrap();
            // Another one on the same link, with nothing exempt, is made later and gone sooner.
            let mut bare = drop_from("partition-2", &everyone);
            for _ in 0..2 {
                bare.inject(&Nothing, LEASE).unwrap();
                bare.heal(&Nothing).unwrap();
                assert!(peers.run(move || answers(control, PATIENCE)), "{node}: the control port is cut");
                assert!(answers(far_control, PATIENCE), "{node}: the peer's control port is cut");
                assert!(!peers.run(move || answers(data, SHORT)), "{node}: the cut does not bite");
                assert!(!answers(far_data, SHORT), "{node}: the answer of a peer comes through");
            }
            let datagrams = lab::socket(node.parse::<IpAddr>().unwrap());
            let one = peers.socket(other);
            assert!(!arrives(&one, &datagrams, fault.as_mut()), "{node}: UDP is not exempt");
            fault.renew(&Nothing, LEASE).unwrap();
            assert!(peers.run(move || answers(control, PATIENCE)));
            fault.heal(&Nothing).unwrap();
            assert!(fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
            assert!(peers.run(move || answers(data, PATIENCE)));
            assert_clean();
        }
    });
}

#[test]
fn a_foreign_root_qdisc_is_not_replaced() {
    inside_namespaces("drops::a_foreign_root_qdisc_is_not_replaced", || {
        let _peers = lab::peers();
        qdisc::check_root("node").unwrap();
        lab::add_root_qdisc("node", "pfifo", 0x10_0000);
        let error = qdisc::check_root("node").unwrap_err();
        assert!(error.contains("pfifo 10:") && error.contains("tc qdisc del dev node root"), "{error}");
        qdisc::check_root("lo").unwrap();
        lab::add_root_qdisc("lo", "pfifo", qdisc::HANDLE);
        qdisc::check_root("lo").unwrap();
        assert!(qdisc::check_root("none").unwrap_err().contains("none"));
    });
}

#[test]
fn says_so_when_somebody_flushes_its_table() {
    inside_namespaces("drops::says_so_when_somebody_flushes_its_table", || {
        let mut fault = drop_from("partition-1", &[peer("n2", PEERS[0])]);
        fault.inject(&Nothing, LEASE).unwrap();
        let delete_recursively = Message::new((10 << 8) | 2, 0, &[1, 0, 0, 0]).string(1, TABLE);
        Socket::open(NETFILTER).unwrap().transaction(&[delete_recursively]).unwrap();
        let error = fault.renew(&Nothing, LEASE).unwrap_err().to_string();
        assert!(error.contains("flushes nftables"), "{error}");
        assert!(!fault.verify(&Nothing, AT_ONCE).unwrap().holds);
        fault.heal(&Nothing).unwrap();
        assert!(fault.verify_healed(&Nothing, AT_ONCE).unwrap().holds);
    });
}

#[test]
fn precheck_says_what_makes_no_sense() {
    for (peers, part) in [
        (vec![], "no peers"),
        (vec![peer("n2", "127.0.0.1")], "packets from n2 never carry the address 127.0.0.1"),
        (vec![peer("n2", "::1")], "never carry"),
        (vec![peer("n2", "0.0.0.0")], "never carry"),
    ] {
        let error = drop_from("partition-1", &peers).precheck(&Nothing).unwrap_err().to_string();
        assert!(error.starts_with("precheck drop-from: ") && error.contains(part), "{error}");
    }
}

#[test]
fn precheck_says_when_the_right_is_missing() {
    inside_namespaces("drops::precheck_says_when_the_right_is_missing", || {
        // The namespace's root gives up its capabilities, on this thread alone.
        let header = [0x2008_0522_u32, 0];
        let none = [0_u32; 6];
        // SAFETY: both arrays are live and have the layout of version 3 of the call.
        let dropped = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
        assert_eq!(dropped, 0);
        let error =
            drop_from("partition-1", &[peer("n2", PEERS[0])]).precheck(&Nothing).unwrap_err().to_string();
        assert!(error.contains("CAP_NET_ADMIN"), "{error}");
        assert_clean();
    });
}

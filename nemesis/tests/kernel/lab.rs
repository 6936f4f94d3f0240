//! A node and its peers in network namespaces of their own, with no privilege needed on the machine.
//!
//! A test runs itself again in a child process that has a user namespace and a network namespace (the child is one thread
//! between `fork` and `exec`, which is when the kernel allows that). There it is root and makes the peers' network
//! namespace, joined to its own by a veth pair. All of it is gone with the child.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use schism_nemesis::linux::netlink::{CREATE, EXCL, Message, ROUTE, Socket};

const INSIDE: &str = "SCHISM_TEST_INSIDE_NAMESPACES";

/// Runs `body` inside fresh user and network namespaces. `test` is the running test's full name. Where the machine forbids
/// such namespaces, says so and does nothing.
pub fn inside_namespaces(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        set_up(LOOPBACK);
        body();
        return;
    }
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let (uid_map, gid_map) = (format!("0 {uid} 1"), format!("0 {gid} 1"));
    let enter = move || {
        use nix::sched::{CloneFlags, unshare};
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", uid_map.as_bytes())?;
        write(c"/proc/self/gid_map", gid_map.as_bytes())
    };
    let probe = {
        let mut command = Command::new("/proc/self/exe");
        command.arg("--list").stdout(std::process::Stdio::null());
        // SAFETY: only system calls between fork and exec, no memory is allocated and no lock taken.
        unsafe { command.pre_exec(enter.clone()) };
        command.status()
    };
    if let Err(error) = probe {
        eprintln!(
            "SKIPPED {test}: no user and network namespaces here ({error}); allow them with \
             `sysctl user.max_user_namespaces=10000` (and kernel.apparmor_restrict_unprivileged_userns=0 where it exists)"
        );
        return;
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    // SAFETY: as above.
    unsafe { command.pre_exec(enter) };
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{text}");
    assert!(output.status.success(), "failed inside the namespaces: {text}");
    assert!(text.contains("1 passed"), "no test is called {test}: {text}");
}

/// Writes a file with system calls alone.
fn write(path: &std::ffi::CStr, text: &[u8]) -> io::Result<()> {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    let file = open(path, OFlag::O_WRONLY, Mode::empty())?;
    nix::unistd::write(&file, text)?;
    Ok(())
}

const LOOPBACK: &str = "lo";

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;

fn index(interface: &str) -> u32 {
    let name = std::ffi::CString::new(interface).unwrap();
    // SAFETY: the name is a live C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "no interface {interface}");
    index
}

fn link_header(index: u32, up: bool) -> Vec<u8> {
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    let mut header = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    header.extend_from_slice(&index.to_ne_bytes());
    header.extend_from_slice(&flags.to_ne_bytes());
    header.extend_from_slice(&flags.to_ne_bytes());
    header
}

fn request(message: &Message) {
    Socket::open(ROUTE).unwrap().request(message).unwrap();
}

fn set_up(interface: &str) {
    request(&Message::new(RTM_NEWLINK, 0, &link_header(index(interface), true)));
}

fn add_address(interface: &str, address: IpAddr) {
    const NO_DUPLICATE_DETECTION: u8 = 2;
    let (family, length, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, 24, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, 64, address.octets().to_vec()),
    };
    let mut header = vec![family as u8, length, NO_DUPLICATE_DETECTION, 0];
    header.extend_from_slice(&index(interface).to_ne_bytes());
    request(&Message::new(RTM_NEWADDR, CREATE | EXCL, &header).bytes(2, &bytes).bytes(1, &bytes));
}

/// Gives an interface a root queueing discipline, as a person would with `tc qdisc add`.
pub fn add_root_qdisc(interface: &str, kind: &str, handle: u32) {
    const RTM_NEWQDISC: u16 = 36;
    let mut header = vec![0; 4];
    for number in [index(interface), handle, u32::MAX, 0] {
        header.extend_from_slice(&number.to_ne_bytes());
    }
    request(&Message::new(RTM_NEWQDISC, CREATE | EXCL, &header).string(1, kind));
}

/// Makes a veth pair: `here` in this namespace, `there` in the other one.
fn add_pair(here: &str, there: &str, other: &File) {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_NET_NS_FD: u16 = 28;
    let message = Message::new(RTM_NEWLINK, CREATE | EXCL, &link_header(0, false))
        .string(IFLA_IFNAME, here)
        .nested(IFLA_LINKINFO, |info| {
            info.string(1, "veth").nested(2, |data| {
                data.nested(1, |peer| {
                    peer.raw(&link_header(0, false))
                        .string(IFLA_IFNAME, there)
                        .ne32(IFLA_NET_NS_FD, other.as_raw_fd().cast_unsigned())
                })
            })
        });
    request(&message);
}

type Job = Box<dyn FnOnce() + Send>;

/// The peers' namespace: a thread that lives in it.
pub struct Peers {
    jobs: mpsc::Sender<Job>,
}

/// The node's own address of each IP version.
pub const NODE: [&str; 2] = ["10.97.0.1", "fd97::1"];
/// A third peer's, used to see that the link is up.
pub const SCOUTS: [&str; 2] = ["10.97.0.4", "fd97::4"];
/// The peers' addresses.
pub const PEERS: [&str; 4] = ["10.97.0.2", "10.97.0.3", "fd97::2", "fd97::3"];

/// Joins this namespace, the node's, to a fresh one with the addresses of the peers.
pub fn peers() -> Peers {
    let here = File::open("/proc/thread-self/ns/net").unwrap();
    let (jobs, work) = mpsc::channel::<Job>();
    let (ready, made) = mpsc::channel();
    thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        add_pair("peers", "node", &here);
        set_up("peers");
        for address in PEERS.iter().chain(&SCOUTS) {
            add_address("peers", address.parse().unwrap());
        }
        ready.send(()).unwrap();
        for job in work {
            job();
        }
    });
    made.recv().unwrap();
    set_up("node");
    for address in NODE {
        add_address("node", address.parse().unwrap());
    }
    let peers = Peers { jobs };
    for (scout, node) in SCOUTS.iter().zip(NODE) {
        peers.wait_for_link(scout, node);
    }
    peers
}

impl Peers {
    /// A veth pair loses packets until the kernel has noticed that both ends are up.
    fn wait_for_link(&self, scout: &str, node: &str) {
        let (from, to) = (self.socket(scout), socket(node.parse().unwrap()));
        to.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while to.recv(&mut [0; 8]).is_err() {
            assert!(Instant::now() < deadline, "{scout} never reached {node}");
            from.send_to(b"x", to.local_addr().unwrap()).unwrap();
        }
    }

    /// A socket of the peer with this address. It may be used from any thread.
    pub fn socket(&self, address: &str) -> UdpSocket {
        let address: IpAddr = address.parse().unwrap();
        self.run(move || socket(address))
    }

    /// Runs something in the peers' namespace and waits for it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        self.jobs.send(Box::new(move || sender.send(job()).unwrap())).unwrap();
        receiver.recv().unwrap()
    }
}

/// A socket at `address` in the calling thread's namespace.
pub fn socket(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

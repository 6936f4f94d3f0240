//! The local cluster: what nodes see of each other and of the machine, and what is left when it ends.
//!
//! Each scenario runs as whoever runs the tests; where that is root, also as an ordinary user, in a process of its own. Such
//! processes, and programs on the nodes that need more than a shell, are this test binary with a [`role`].

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that goes wrong")]

pub mod leftovers;
pub mod process;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schism::transport::local::{self, LocalCluster, LocalOptions};
use schism::transport::{AgentPipe, Transport, TransportError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use self::leftovers::{Audit, in_user_namespace, until, until_or};
use self::process::{ROLE, ordinary_user, own_executable, schism_executable, take_part};

/// What a process started as this test binary does instead of testing.
#[test]
#[ignore = "started by the other tests, with a role"]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    if let Some(port) = role.strip_prefix("echo ") {
        echo(port.parse().unwrap());
    } else if let Some(address) = role.strip_prefix("call ") {
        println!("heard {}", call(address));
    } else {
        scenario(&role);
    }
}

/// Runs one of the scenarios below to its end.
fn scenario(name: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match name {
            "names" => names().await,
            "network" => network().await,
            "files" => files().await,
            "processes" => processes().await,
            "machine" => machine().await,
            "two" => two_at_once().await,
            "ends" => ends().await,
            "agent" => agent().await,
            "kills" => kills().await,
            "refused" => refused().await,
            "busy" => busy().await,
            "deaf" => deaf().await,
            other => panic!("no scenario is called {other}"),
        }
    });
}

fn as_me_and_as_ordinary_user(name: &str) {
    scenario(name);
    if nix::unistd::geteuid().is_root() {
        take_part(ordinary_user(), name);
    }
}

#[test]
fn nodes_know_their_names_and_each_other() {
    as_me_and_as_ordinary_user("names");
}

#[test]
fn nodes_and_controller_reach_each_other() {
    as_me_and_as_ordinary_user("network");
}

#[test]
fn what_a_node_writes_nobody_else_sees() {
    as_me_and_as_ordinary_user("files");
}

#[test]
fn processes_live_and_die_with_their_node() {
    as_me_and_as_ordinary_user("processes");
}

#[test]
fn nodes_cannot_change_the_machine() {
    as_me_and_as_ordinary_user("machine");
}

#[test]
fn two_clusters_do_not_meet() {
    as_me_and_as_ordinary_user("two");
}

#[test]
fn close_and_drop_leave_nothing() {
    as_me_and_as_ordinary_user("ends");
}

#[test]
fn an_agent_is_this_executable() {
    as_me_and_as_ordinary_user("agent");
}

#[test]
fn a_kill_at_any_moment_leaves_nothing() {
    as_me_and_as_ordinary_user("kills");
}

/// In a container, files in `/etc` are mounts, which the kernel lets no overlay hide.
#[test]
fn mounts_below_etc_are_no_obstacle() {
    let hosts_is_a_mount = "mount --bind /etc/passwd /etc/hostname && mount -t tmpfs none /usr/local/share";
    process::take_part_after(hosts_is_a_mount, "files");
    process::take_part_after(hosts_is_a_mount, "machine");
}

#[test]
fn a_machine_without_user_namespaces_is_told_how_to_allow_them() {
    let said = process::take_part_after("echo 0 > /proc/sys/user/max_user_namespaces", "refused");
    assert!(said.contains("create a user namespace: "), "{said}");
    assert!(said.contains("sudo sysctl -w user.max_user_namespaces="), "{said}");
}

#[test]
fn a_covered_proc_is_named() {
    let said = process::take_part_after("mount -t tmpfs none /proc/fs", "refused");
    assert!(said.contains("mount /proc of n1: "), "{said}");
    assert!(said.contains("findmnt -R /proc") || said.contains("systempaths=unconfined"), "{said}");
}

#[test]
fn ctrl_c_is_left_to_the_controller() {
    let mut controller = process::start(process::plain(), "deaf");
    let mark = controller.mark.clone();
    assert_eq!(controller.hears("up"), "up");
    let cluster = leftovers::marked(&mark);
    assert!(cluster.len() >= 4, "controller, outer, inner and a node's init: {cluster:?}");
    controller.signal_group(nix::sys::signal::Signal::SIGINT);
    assert_eq!(controller.hears("still"), "still n1");
    assert!(leftovers::marked(&mark).is_superset(&cluster), "something died of the signal");
    controller.kill();
    until("everything is gone", || leftovers::marked(&mark).is_empty());
}

fn options(nodes: usize) -> LocalOptions {
    LocalOptions { exe: schism_executable(), expose: vec![own_executable()], ..LocalOptions::new(nodes) }
}

async fn up(nodes: usize) -> LocalCluster {
    local::up(options(nodes)).await.unwrap()
}

/// Runs a shell script on a node to its end and returns what it said.
async fn sh(cluster: &LocalCluster, node: usize, script: &str) -> String {
    let mut pipe = cluster.start_program(node, &["sh", "-c", &format!("exec 2>&1; {script}")]).await.unwrap();
    drop(pipe.stdin);
    let mut said = String::new();
    pipe.stdout.read_to_string(&mut said).await.unwrap();
    said.trim_end().to_owned()
}

/// Starts this test binary with a role on a node.
async fn on_node(cluster: &LocalCluster, node: usize, role: &str) -> AgentPipe {
    let own = own_executable();
    let role = format!("{ROLE}={role}");
    let argv = [&["env", &role, own.to_str().unwrap()], process::AS_ROLE].concat();
    cluster.start_program(node, &argv).await.unwrap()
}

/// The line a role's process says, without its beginning. Skips what the test harness says.
async fn hears(pipe: &mut AgentPipe, beginning: &str) -> String {
    let mut lines = BufReader::new(&mut pipe.stdout).lines();
    let mut heard = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(at) = line.find(beginning) {
            return line[at + beginning.len()..].to_owned();
        }
        heard.push_str(&line);
        heard.push('\n');
    }
    panic!("it ended without saying {beginning:?}: {heard}");
}

fn echo(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    }
}

/// Connects by name, as programs do, and says what came back.
fn call(address: &str) -> String {
    let mut stream = match TcpStream::connect(address) {
        Ok(stream) => stream,
        Err(error) => return format!("{:?}", error.kind()),
    };
    stream.write_all(b"hello").unwrap();
    let mut said = [0; 5];
    stream.read_exact(&mut said).unwrap();
    String::from_utf8(said.to_vec()).unwrap()
}

async fn names() {
    for nodes in [1, 3, 5, 9] {
        let cluster = up(nodes).await;
        assert_eq!(cluster.nodes().len(), nodes);
        let mut machines = BTreeSet::new();
        for (index, node) in cluster.nodes().iter().enumerate() {
            assert_eq!(
                sh(&cluster, index, "hostname; cat /etc/hostname").await,
                format!("{0}\n{0}", node.name)
            );
            assert_eq!(sh(&cluster, index, "cat /proc/1/comm").await, "schism-node");
            assert_eq!(sh(&cluster, index, "id -u").await, "0");
            machines.insert(sh(&cluster, index, "cat /etc/machine-id").await);
            let hosts = sh(&cluster, index, "cat /etc/hosts").await;
            for other in cluster.nodes() {
                let entry = format!("{} {}", other.address, other.name);
                assert!(hosts.lines().any(|line| line == entry), "{entry} is not in {hosts}");
            }
            assert!(hosts.lines().any(|line| line == "127.0.0.1 localhost"), "{hosts}");
        }
        assert_eq!(machines.len(), nodes, "two nodes are the same machine");
        cluster.close().await.unwrap();
    }
    for nodes in [0, local::NODES_MAX + 1] {
        let error = local::up(options(nodes)).await.unwrap_err();
        assert!(error.to_string().contains("1 to 32 nodes"), "{error}");
    }
}

async fn network() {
    let cluster = up(3).await;
    let dialer = cluster.dialer();
    let mut listening = Vec::new();
    for node in 0..3 {
        let mut pipe = on_node(&cluster, node, "echo 7000").await;
        hears(&mut pipe, "listening").await;
        listening.push(pipe);
    }
    for from in 0..3 {
        for to in cluster.nodes() {
            let mut pipe = on_node(&cluster, from, &format!("call {}:7000", to.name)).await;
            assert_eq!(hears(&mut pipe, "heard ").await, "hello", "n{} to {}", from + 1, to.name);
            let mut pipe = on_node(&cluster, from, &format!("call {}:7001", to.name)).await;
            assert_eq!(hears(&mut pipe, "heard ").await, "ConnectionRefused");
        }
        // Nothing of the outside is reachable, and a program need not wait to hear so.
        let mut pipe = on_node(&cluster, from, "call 192.0.2.1:7000").await;
        assert_eq!(hears(&mut pipe, "heard ").await, "NetworkUnreachable");
    }
    // More than are kept ready, so that the sockets are replenished.
    for round in 0..200 {
        let mut stream = dialer.dial(&cluster.nodes()[round % 3].name, 7000).await.unwrap();
        assert!(stream.nodelay().unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
    }
    assert_eq!(dialer.dial("n1", 7001).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(dialer.dial("n4", 7000).await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    // The only family: a fault that drops a node's address leaves no other way.
    assert_eq!(sh(&cluster, 0, "grep -c eth0 /proc/net/if_inet6").await, "0");
    cluster.close().await.unwrap();
    let mut error = None;
    for _ in 0..200 {
        if let Err(refused) = dialer.dial("n1", 7000).await {
            error = Some(refused);
            break;
        }
    }
    assert!(error.is_some(), "a cluster that is down still answers");
}

async fn files() {
    const PLACES: [&str; 12] = [
        "/",
        "/etc",
        "/etc/default",
        "/home",
        "/root",
        "/run",
        "/tmp",
        "/usr/local/bin",
        "/var/cache",
        "/var/lib",
        "/var/log",
        "/var/tmp",
    ];
    let cluster = up(2).await;
    let name = format!("schism-test-{}", std::process::id());
    for place in PLACES {
        let path = Path::new(place).join(&name);
        let path = path.display();
        assert_eq!(sh(&cluster, 0, &format!("echo mine > {path} && cat {path}")).await, "mine", "{path}");
        assert_eq!(sh(&cluster, 1, &format!("test -e {path} || echo absent")).await, "absent", "{path}");
        assert!(!Path::new(&path.to_string()).exists(), "{path} is on the machine");
        // A directory, too, and one that is made again after it was removed.
        let again = format!("rm {path} && mkdir {path} && rmdir {path} && mkdir -p {path}/a && ls {path}");
        assert_eq!(sh(&cluster, 0, &again).await, "a", "{path}");
    }
    // What is on the machine can be replaced on a node, and stays what it is elsewhere.
    let before = std::fs::read("/etc/hosts").unwrap();
    let replace = "echo 127.0.0.9 nowhere > /etc/new && mv /etc/new /etc/hosts && cat /etc/hosts";
    assert_eq!(sh(&cluster, 0, replace).await, "127.0.0.9 nowhere");
    assert!(sh(&cluster, 1, "cat /etc/hosts").await.contains("10.83.0.1 n1"));
    assert_eq!(std::fs::read("/etc/hosts").unwrap(), before);
    // The machine's programs are there.
    assert_eq!(sh(&cluster, 1, "ls -d /usr/bin/env").await, "/usr/bin/env");
    for device in ["null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "fd"] {
        assert_eq!(sh(&cluster, 0, &format!("ls -d /dev/{device}")).await, format!("/dev/{device}"));
    }
    assert_eq!(
        sh(
            &cluster,
            0,
            "head -c 3 /dev/zero | wc -c; echo x > /dev/null; echo y > /dev/shm/y; cat /dev/shm/y"
        )
        .await,
        "3\ny"
    );
    cluster.close().await.unwrap();

    // What is exposed is the machine's own, as it is now, at the same path, also below /tmp; and read-only.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b").join("c");
    std::fs::create_dir_all(&path).unwrap();
    let mut wanted = options(2);
    wanted.expose.push(path.clone());
    let cluster = local::up(wanted).await.unwrap();
    std::fs::write(path.join("late"), "news").unwrap();
    let script =
        format!("cd '{}' && cat late && echo; echo x 2>/dev/null > late || echo refused", path.display());
    assert_eq!(sh(&cluster, 1, &script).await, "news\nrefused");
    assert_eq!(std::fs::read(path.join("late")).unwrap(), b"news");
    assert_eq!(
        sh(&cluster, 0, &format!("test -x {} && echo yes", schism_executable().display())).await,
        "yes"
    );
    cluster.close().await.unwrap();
    // What cannot be brought up says why.
    for (exe, said) in
        [("/bin/false", "/bin/false cluster-init ended (exit status: 1)"), ("/no/exe", "No such file")]
    {
        let error = local::up(LocalOptions { exe: exe.into(), ..LocalOptions::new(1) }).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let mut wanted = options(1);
    wanted.expose.push("/nowhere/at/all".into());
    let error = local::up(wanted).await.unwrap_err();
    assert!(error.to_string().starts_with("expose /nowhere/at/all: "), "{error}");
}

/// Waits until nothing runs on a node but its init and the shell that looks: the program before it may still have to be
/// collected.
async fn until_alone(cluster: &LocalCluster, node: usize) {
    let look = async { while sh(cluster, node, "set -- /proc/[0-9]*; echo $#").await != "2" {} };
    tokio::time::timeout(Duration::from_secs(30), look).await.unwrap();
}

async fn processes() {
    let cluster = up(2).await;
    // A program that dies leaves the rest of its node alive, and what lost its parent is collected.
    let orphan = "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!";
    let orphan: i32 = sh(&cluster, 0, orphan).await.parse().unwrap();
    assert_eq!(sh(&cluster, 0, &format!("kill -0 {orphan} && echo lives")).await, "lives");
    let kill = format!("kill -9 {orphan}; while kill -0 {orphan} 2> /dev/null; do :; done; echo collected");
    assert_eq!(sh(&cluster, 0, &kill).await, "collected");
    // A node's first process cannot be killed from inside.
    assert_eq!(sh(&cluster, 0, "kill -9 1; kill -15 1; kill -0 1 && echo lives").await, "lives");
    // Nor does one node see the other's processes.
    until_alone(&cluster, 1).await;

    // What has no program says so, and does not disturb the node.
    let error = cluster.start_program(0, &["/no/such/program"]).await.err().unwrap();
    assert!(error.to_string().starts_with("start /no/such/program on n1: No such file"), "{error}");
    let error = cluster.start_program(5, &["true"]).await.err().unwrap();
    assert!(error.to_string().contains("the cluster has 2 nodes"), "{error}");

    // After a power cycle nothing runs, what was on the disk is there, and the other node has not noticed.
    let mut pipe = on_node(&cluster, 1, "echo 7000").await;
    hears(&mut pipe, "listening").await;
    let mut there = on_node(&cluster, 0, "echo 7000").await;
    hears(&mut there, "listening").await;
    sh(&cluster, 0, "echo kept > /var/lib/x; echo kept > /etc/x; echo kept > /var/tmp/x; echo lost > /tmp/x")
        .await;
    cluster.power_cycle(0).await.unwrap();
    let mut rest = String::new();
    there.stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "", "the node's processes ended");
    assert_eq!(
        sh(&cluster, 0, "cat /var/lib/x /etc/x /var/tmp/x; ls /tmp/x 2> /dev/null").await,
        "kept\nkept\nkept"
    );
    until_alone(&cluster, 0).await;
    let mut call = on_node(&cluster, 0, "call n2:7000").await;
    assert_eq!(hears(&mut call, "heard ").await, "hello");
    let mut call = on_node(&cluster, 1, "call n1:7000").await;
    assert_eq!(hears(&mut call, "heard ").await, "ConnectionRefused");
    cluster.close().await.unwrap();
    let TransportError { reason, .. } = cluster.start_program(0, &["true"]).await.err().unwrap();
    assert_eq!(reason, "the cluster is down");
}

/// Where the tests run as root, root of a node is root of the machine's files: what reaches the machine must be closed.
async fn machine() {
    let cluster = up(1).await;
    for path in ["/proc/sys/kernel/panic", "/proc/sys/vm/swappiness", "/sys/kernel/uevent_seqnum"] {
        if Path::new(path).exists() {
            let said = sh(&cluster, 0, &format!("(echo 1 > {path}) 2> /dev/null || echo refused")).await;
            assert_eq!(said, "refused", "{path}");
        }
    }
    assert_eq!(sh(&cluster, 0, "date -s @1000000000 > /dev/null 2>&1 || echo refused").await, "refused");
    assert_eq!(sh(&cluster, 0, "ls /machine /nodes 2> /dev/null").await, "");
    // What a node may change is its own network.
    let own = "echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward";
    assert_eq!(sh(&cluster, 0, own).await, "1");
    // The person's environment is not the nodes'.
    let names = sh(&cluster, 0, "env | cut -d= -f1 | sort").await;
    for name in names.lines() {
        let expected = ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER", "_", "SHLVL", "OLDPWD"];
        assert!(
            expected.contains(&name) || name.starts_with("SCHISM_") || name.starts_with("RUST_"),
            "{name} is on the node"
        );
    }
    cluster.close().await.unwrap();
}

async fn two_at_once() {
    let (one, other) = tokio::join!(up(3), up(3));
    for (cluster, said) in [(&one, "one"), (&other, "other")] {
        assert_eq!(sh(cluster, 0, &format!("echo {said} > /var/lib/x")).await, "");
    }
    // Same names and addresses, and yet each is alone.
    let mut pipe = on_node(&one, 1, "echo 7000").await;
    hears(&mut pipe, "listening").await;
    assert!(one.dialer().dial("n2", 7000).await.is_ok());
    assert_eq!(
        other.dialer().dial("n2", 7000).await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    assert_eq!(sh(&one, 0, "cat /var/lib/x").await, "one");
    one.close().await.unwrap();
    assert_eq!(sh(&other, 0, "cat /var/lib/x").await, "other");
    other.close().await.unwrap();
}

/// The user namespace that everything of the cluster is in.
async fn user_namespace(cluster: &LocalCluster) -> PathBuf {
    sh(cluster, 0, "readlink /proc/self/ns/user").await.into()
}

async fn ends() {
    let logs = tempfile::tempdir().unwrap();
    let mut wanted = options(3);
    wanted.agent_log_dir = Some(logs.path().to_owned());
    let cluster = local::up(wanted).await.unwrap();
    let namespace = user_namespace(&cluster).await;
    let stubborn =
        ["sh", "-c", "trap '' TERM HUP INT; echo started >&2; echo started; while :; do sleep 1000; done"];
    let mut pipe = cluster.start_program(1, &stubborn).await.unwrap();
    hears(&mut pipe, "started").await;
    assert!(in_user_namespace(&namespace) >= 5, "outer, inner and three nodes");
    cluster.close().await.unwrap();
    assert_eq!(in_user_namespace(&namespace), 0, "close has waited for the end");
    cluster.close().await.unwrap();
    let mut rest = String::new();
    pipe.stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(std::fs::read_to_string(logs.path().join("n2/agent.log")).unwrap(), "started\n");

    let cluster = up(3).await;
    let namespace = user_namespace(&cluster).await;
    let _pipe = cluster.start_program(1, &stubborn).await.unwrap();
    assert!(in_user_namespace(&namespace) >= 5);
    drop(cluster);
    assert_eq!(in_user_namespace(&namespace), 0, "drop has waited for the end");
}

/// `agent` starts the cluster's own executable, whatever it is called and wherever it is.
async fn agent() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("renamed");
    std::fs::copy(schism_executable(), &script).unwrap();
    let cluster = local::up(LocalOptions { exe: script.clone(), ..options(2) }).await.unwrap();
    // Its file may be replaced while it runs, as a build does: agents are what the controller is.
    std::fs::remove_file(&script).unwrap();
    for _ in 0..2 {
        let mut pipe = cluster.agent(1).await.unwrap();
        drop(pipe.stdin);
        let mut said = Vec::new();
        pipe.stdout.read_to_end(&mut said).await.unwrap();
    }
    assert_eq!(sh(&cluster, 1, "hostname").await, "n2");
    cluster.close().await.unwrap();
}

async fn refused() {
    let error = local::up(options(1)).await.unwrap_err();
    println!("{error}");
}

/// Keeps a cluster busy for ever: bring-up, programs that do not want to die, power cycles, connections.
async fn busy() {
    let cluster = up(3).await;
    println!("up");
    let mut pipes = Vec::new();
    for node in (0..3).cycle() {
        let script = "trap '' TERM HUP INT; setsid sleep 1000 & while :; do sleep 1000; done";
        pipes.push(cluster.start_program(node, &["sh", "-c", script]).await.unwrap());
        let _ = cluster.dialer().dial("n2", 7000).await;
        cluster.power_cycle((node + 1) % 3).await.unwrap();
        pipes.drain(..pipes.len().saturating_sub(9));
    }
}

/// Takes no notice of Ctrl-C, and neither must its cluster.
async fn deaf() {
    let cluster = up(1).await;
    let interrupt = tokio::spawn(tokio::signal::ctrl_c());
    // The handler is in place once the task has been polled.
    tokio::task::yield_now().await;
    until("the handler is in place", || {
        std::fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| {
            line.strip_prefix("SigCgt:\t").is_some_and(|set| u64::from_str_radix(set, 16).unwrap() & 2 != 0)
        })
    });
    println!("up");
    interrupt.await.unwrap().unwrap();
    println!("still {}", sh(&cluster, 0, "hostname").await);
    std::future::pending::<()>().await;
}

async fn kills() {
    let mut random = schism_history::Random::new(1, "moments to kill at");
    let audit = Audit::begin();
    let (mut caught_up, mut deadly) = (0, 0);
    for round in 0..60_u64 {
        let mut controller = process::start(process::plain(), "busy");
        let mark = controller.mark.clone();
        // One in three is killed with its cluster up and at work, the others at any moment before and around that.
        if round % 3 == 0 {
            controller.hears("up");
        }
        tokio::time::sleep(Duration::from_micros(random.below(60_000))).await;
        let seen = leftovers::Seen::of(&mark);
        caught_up += u32::from(!seen.is_empty());
        // The controller, or the outer or the inner process of the cluster's init: the end of each is the end of all.
        let mut victim = controller.pid();
        let mut parent = None;
        for _ in 0..round % 4 % 3 {
            let child = leftovers::child_of(victim);
            parent = child.map(|_| victim).or(parent);
            victim = child.unwrap_or(victim);
        }
        // Before it has the inner one, the outer has a child that maps users and then ends: to kill that one is to fail the
        // bring-up, or to come too late. The inner process alone has process numbers of its own.
        let numbers = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let may_be_too_late = parent.is_some_and(|parent| {
            parent != controller.pid() && (numbers(victim).is_none() || numbers(victim) == numbers(parent))
        });
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL);
        let gone = || {
            let mut left = leftovers::marked(&mark);
            left.remove(&controller.pid());
            left.is_empty() || victim != controller.pid() && leftovers::ended(controller.pid())
        };
        let told = || leftovers::describe(&leftovers::marked(&mark));
        if !may_be_too_late {
            deadly += 1;
            until_or("the cluster is gone", gone, || {
                format!("round {round}, victim {victim}, left:{}", told())
            });
        }
        controller.kill();
        until("every process is gone", || leftovers::marked(&mark).is_empty());
        until("every namespace is gone", || seen.gone());
        audit.clean();
    }
    assert!(caught_up >= 20, "only {caught_up} of the 60 had a cluster to lose");
    assert!(deadly >= 50, "only {deadly} of the 60 can have ended the cluster");
}

//! `schism heal` on hosts: from a process that knows nothing of the run, over real SSH, on nodes where nobody is left to heal.

use std::fs;
use std::time::Duration;

use schism::agent::Handle;
use schism::agent::protocol::Command;
use schism::spec::{SshCluster, SshHost, SshHosts};
use schism::transport::Transport;
use schism::transport::local;
use schism::transport::ssh::{self, Secrets, SshNodes, SshOptions};
use schism_nemesis::node::{NodeFault, Peer};

use crate::nodes_ssh::{Person, have_openssh};
use crate::ssh::server::agent;
use crate::support::{Finished, Place, says};

/// Longer than the test: nothing here ends because its lease ran out.
const LEASE: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(30);
const CONTROLLER: &str = "run \"nightly\" of alice";
/// Nobody is left to heal: what could is stopped first, so that none of them notices the other's end.
const STRIKE: &str = "all() { grep -lz -e '^watchdog$' -e '^agent$' /proc/[0-9]*/cmdline 2> /dev/null | cut -d/ -f3; }; \
                      for p in $(all); do kill -STOP $p; done; for p in $(all); do kill -STOP $p; done; all | wc -l";
const END: &str = "for p in $(grep -lz -e '^watchdog$' -e '^agent$' /proc/[0-9]*/cmdline 2> /dev/null | cut -d/ -f3); do kill -9 $p; done; echo done";

/// Nodes that stay, and what a controller and a person do with them.
struct Stage {
    person: Person,
    nodes: SshNodes,
}

/// Faults in force on the first node, and the process that one of them stops.
struct Faults {
    handle: Handle,
    process: i32,
}

fn cluster(person: &Person) -> SshCluster {
    SshCluster {
        hosts: SshHosts::List(["n1", "n2"].map(|host| SshHost::parse(host).unwrap()).to_vec()),
        user: None,
        port: None,
        key: None,
        sudo: None,
        config: Some(person.dir().join("ssh_config").display().to_string()),
        host_keys: None,
        reach: Default::default(),
        disposable: false,
    }
}

async fn connect(person: &Person) -> SshNodes {
    let options = SshOptions {
        cluster: cluster(person),
        agents: vec![agent()],
        secrets: Secrets::default(),
        base: "/var/lib/schism".to_owned(),
        elsewhere: Vec::new(),
        agent_log_dir: None,
    };
    ssh::up(options).await.unwrap()
}

impl Stage {
    /// `schism heal` with these arguments, in a process of its own.
    fn heal(&self, arguments: &[&str]) -> Finished {
        let mut command = self.person.command(agent());
        Finished::of(command.arg("heal").args(arguments).output().unwrap())
    }

    /// A cut and a stopped process on the first node.
    async fn inject(&self) -> Faults {
        let pipe = self.nodes.agent(0).await.unwrap();
        let (handle, _events) = Handle::connect(pipe, "n1", CONTROLLER).await.unwrap();
        let server = Command { argv: ["sleep", "1000"].map(str::to_owned).to_vec(), ..Default::default() };
        // An earlier one goes on if there is one.
        let _ = handle.start("server", &server, "/dev/null").await;
        let schism::agent::protocol::ProcessStatus::Running { pid: process, .. } =
            handle.status("server").await.unwrap()
        else {
            panic!("the process does not run");
        };
        let peers = vec![Peer { node: "n2".to_owned(), address: local::address(1).into() }];
        let cut = NodeFault::DropFrom { peers, exempt_ports: Vec::new() };
        handle.inject("cut", &cut, LEASE).await.unwrap();
        handle.inject("pause", &NodeFault::Pause { process: "server".to_owned() }, LEASE).await.unwrap();
        assert!(handle.verify("pause", PATIENCE).await.unwrap().holds);
        let faults = Faults { handle, process };
        assert!(self.is_in_force(&faults), "the faults do not bite");
        faults
    }

    /// Whether both are; half of them is neither.
    #[track_caller]
    fn is_in_force(&self, faults: &Faults) -> bool {
        // Nobody listens there, and a refusal is an answer. SSH's own port is cut off from nobody.
        let cut = "timeout 2 bash -c '< /dev/tcp/10.83.0.2/7000' 2> /dev/null; \
                   test $? = 124 && echo silent || echo answers";
        let state = format!("sed -n 's/^State:.\\(.\\).*/\\1/p' /proc/{}/status", faults.process);
        match (self.person.on("n1", cut).as_str(), self.person.on("n1", &state).as_str()) {
            ("silent", "T") => true,
            ("answers", "S") => false,
            other => panic!("{other:?}"),
        }
    }

    /// The controller, the agent and its watchdog die, and nothing heals by itself.
    async fn strike(&mut self, faults: &Faults, more: &str) {
        // The agent, its watchdog, and that of an agent which was refused.
        let stopped: u32 = self.person.on("n1", STRIKE).parse().unwrap();
        assert!(stopped >= 2, "{stopped}");
        self.nodes.close().await.unwrap();
        assert_eq!(self.person.on("n1", &format!("{END}; {more}")), "done");
        assert!(self.is_in_force(faults), "somebody has healed");
        self.nodes = connect(&self.person).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_healed_from_anywhere_though_nobody_there_is_left() {
    if !have_openssh() {
        return;
    }
    let person = Person::me();
    person.up("2");
    let nodes = connect(&person).await;
    let mut stage = Stage { person, nodes };
    let config = stage.person.dir().join("ssh_config").display().to_string();
    let hosts = ["-F", &config, "n1", "n2"];
    let faults = stage.inject().await;

    // While the controller lives the node is its.
    let refused = stage.heal(&hosts).expect(5);
    says(&refused.stdout, &["n1: NOT HEALED", &format!("the agent of {CONTROLLER}"), "n2: clean: nothing"]);
    assert!(stage.is_in_force(&faults));
    assert!(!faults.handle.is_gone(), "the controller has noticed");

    // One that is out of reach keeps nobody else from being healed.
    stage.strike(&faults, "true").await;
    let partly = stage.heal(&["-F", &config, "nowhere.invalid", "n1", "n2"]).expect(5);
    says(
        &partly.stdout,
        &[
            "nowhere.invalid: NOT HEALED",
            "n1: found       fault `cut`, from the journal",
            "n1: found       fault `pause`, from the journal",
            "n1: clean: all of it is undone",
            "n2: clean: nothing of any fault was there",
        ],
    );
    assert!(!stage.is_in_force(&faults));
    let again = stage.heal(&hosts).expect(0);
    says(&again.stdout, &["n1: clean: nothing of any fault was there", "n2: clean: nothing"]);
    drop(faults);

    // By the run's directory, with the journals lost; by the test file, with the directory lost.
    let place = Place::new();
    let plan = serde_json::json!({ "cluster": { "kind": { "ssh": cluster(&stage.person) } } });
    place.file("run/plan.json", &plan.to_string());
    let test = format!(
        "system: demo\nworkload: {{ register: {{ keys: 1, rate: 1/s }} }}\ntime-limit: 5s\n\
         cluster: {{ ssh: {{ hosts: [n1, n2], config: '{config}' }} }}\n"
    );
    let test = place.file("test.yaml", &test).display().to_string();
    let run = place.path().join("run").display().to_string();
    let faults = stage.inject().await;
    stage.strike(&faults, "rm -r /var/lib/schism/journal").await;
    let found = stage.heal(&[&run, "--json"]).expect(0);
    let found: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let lines = found["hosts"][0]["found"].to_string();
    says(&lines, &["nftables rule", &faults.process.to_string()]);
    assert_eq!(found["hosts"][0]["left"], serde_json::json!([]));
    assert!(!stage.is_in_force(&faults));
    fs::remove_dir_all(&run).unwrap();
    drop(faults);
    let faults = stage.inject().await;
    stage.strike(&faults, "true").await;
    let found = stage.heal(&["--stop", &test]).expect(0);
    says(&found.stdout, &["n1: found       fault `cut`", "n1: clean: all of it is undone"]);
    let gone = format!("test -e /proc/{} && echo there || echo gone", faults.process);
    assert_eq!(stage.person.on("n1", &gone), "gone", "--stop ends what runs");
    stage.nodes.close().await.unwrap();
    stage.person.schism(&["down"]).expect(0);
}

#[test]
fn what_ended_with_its_controller_needs_no_healing() {
    let place = Place::new();
    place.file("run/plan.json", r#"{"cluster":{"kind":{"local":5}}}"#);
    let said = place.schism(&["heal", "run"]).expect(0);
    says(&said.stderr, &["run: ", "local cluster", "nothing to heal"]);
    let wrong = place.schism(&["heal", "nowhere.yaml"]).expect(2);
    says(&wrong.stderr, &["nowhere.yaml"]);
    place.schism(&["heal", "-F", "config"]).expect(2);
}

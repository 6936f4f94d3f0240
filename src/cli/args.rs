//! The arguments, and the help that teaches them.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use schism_checkers::linearizable::{Engine, Model};
use schism_formats::{Format, Keys};

/// Splits a cluster on purpose and proves what that did to its data.
#[derive(Debug, Parser)]
#[command(
    name = "schism",
    version,
    about,
    max_term_width = 100,
    propagate_version = false,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  schism run examples/demo-broken.yaml   a five-node cluster of the built-in demo system, and a real violation
  schism run examples/demo.yaml          its correct twin
  schism plan examples/etcd.yaml         what a run would do, without touching anything
  schism check runs/latest               judge a finished or crashed run again

Exit codes:
  0 pass       every promise held, and the run had the power to show otherwise
  1 violation  the system broke a promise; evidence in the report
  2 usage      bad flags or test file; nothing was touched
  3 unknown    a checker ran out of its time or memory budget
  4 void       no load, or a fault that did not bite: the run proves nothing
  5 infra      the cluster could not be reached, installed or started
  6 residue    something of ours could not be healed
Of several, the worst wins: violation, residue, infra, void, unknown, pass."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test: bring the cluster up, drive clients, inject faults, check, report
    Run(Run),
    /// Print what a run would do, to the command and the second, without touching anything
    Plan(Plan),
    /// Judge a history: a run directory (also a crashed run's) or a history.jsonl
    Check(Check),
    /// Say whether a test can run on its cluster, or faults be made on hosts; for every problem, what to do
    Doctor(Doctor),
    /// Undo what runs that died left on hosts or on this machine, prove it, and say what was found
    Heal(Heal),
    /// Show what can be named in a test file: systems, workloads, faults, checkers
    List(List),
    /// Print the JSON Schema of the test file, for editors
    Schema(Schema),
    /// Local nodes to play with: a cluster on this machine that stays up, with an SSH server on every node
    Nodes {
        #[command(subcommand)]
        command: Nodes,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The part that runs on a node; the controller starts it
    #[command(hide = true)]
    Agent {
        /// What has to outlive the agent: the journal of faults, the processes it supervises
        #[arg(long, default_value = crate::agent::server::STATE_DIRECTORY)]
        state: PathBuf,
    },
    /// Heals a node whose agent died; the agent starts it
    #[command(hide = true, name = crate::agent::server::WATCHDOG_COMMAND)]
    Watchdog {
        /// The agent's state directory
        #[arg(long)]
        state: PathBuf,
        /// The agent's process id
        #[arg(long)]
        agent: i32,
    },
    /// Records the packets of a node; the agent starts it
    #[command(hide = true, name = crate::agent::capture::COMMAND)]
    Capture {
        /// The pcap file
        path: PathBuf,
    },
    /// A node of the built-in demo system
    #[command(hide = true)]
    DemoNode(crate::demo::Args),
    /// The first process of a local cluster
    #[command(hide = true, name = crate::transport::local::INIT_COMMAND)]
    ClusterInit,
    /// The process that holds a cluster of `schism nodes up`
    #[command(hide = true, name = crate::transport::local::standing::SUPERVISOR_COMMAND)]
    NodesSupervisor {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        nodes: usize,
        /// The directory was made for it
        #[arg(long)]
        made: bool,
    },
    /// The SSH server of a node of `schism nodes up`
    #[command(hide = true, name = crate::transport::local::standing::SSHD_COMMAND)]
    NodeSshd,
}

#[derive(Debug, Subcommand)]
pub enum Nodes {
    /// Bring nodes up and print the `cluster:` block of a test file that runs on them; they stay until `down`
    Up {
        /// How many nodes, each with an SSH server of its own at port 22 of its own address
        #[arg(long, value_name = "NODES")]
        ssh: usize,
        #[command(flatten)]
        place: NodesPlace,
    },
    /// Take the nodes down, and make sure that no process, network or file of them is left
    Down {
        #[command(flatten)]
        place: NodesPlace,
    },
    /// Cut the power of nodes and boot them again; their disks keep what they had
    Reboot {
        /// Which nodes
        #[arg(value_name = "NODE", required = true)]
        nodes: Vec<String>,
        #[command(flatten)]
        place: NodesPlace,
    },
    /// Mark hosts as disposable, which allows Schism to make faults there; needs root or sudo on them
    Allow {
        /// Hosts as `ssh` knows them: n1, admin@10.0.0.3:2222
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
        /// An ssh_config to use in place of your own, as `ssh -F`
        #[arg(long, short = 'F', value_name = "FILE")]
        config: Option<PathBuf>,
        /// Take the mark away again
        #[arg(long)]
        revoke: bool,
    },
    /// Connect standard input and output to a port of a node; the ProxyCommand of the nodes' ssh_config
    Connect {
        /// The node
        node: String,
        /// Its port
        port: u16,
        #[command(flatten)]
        place: NodesPlace,
    },
}

#[derive(Debug, Args)]
pub struct NodesPlace {
    /// Where the nodes' ssh_config and keys are; one directory a cluster [default: schism/nodes in the state directory of
    /// your user, as a rule ~/.local/state]
    #[arg(long, value_name = "DIR", env = "SCHISM_NODES")]
    pub dir: Option<PathBuf>,
}

/// A test file and what is changed in it from the command line.
#[derive(Debug, Args)]
pub struct Test {
    /// The test file (YAML); `schism schema` describes it
    #[arg(value_name = "TEST.yaml")]
    pub test: PathBuf,
    /// Change a value of the test file: --set time-limit=10s, --set workload.register.rate=50/s
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// The seed, in place of the test file's; the same seed gives the same plan
    #[arg(long)]
    pub seed: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub test: Test,
    /// Where run directories go
    #[arg(long, value_name = "DIR", default_value = "runs", env = "SCHISM_RUNS")]
    pub runs: PathBuf,
    /// End the load at the first confirmed violation instead of at the time limit; healing, final reads, check and report
    /// follow as always
    #[arg(long)]
    pub stop_on_violation: bool,
    /// Print what the run would do, with every command of every fault, and touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// No progress while running; the verdict is printed all the same
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub test: Test,
    /// Print the plan as JSON, as a run keeps it in plan.json
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// A run directory such as runs/latest, a history, a folder of histories, or - for standard input
    #[arg(value_name = "RUN|FILE|DIR|-")]
    pub path: PathBuf,
    /// The model that the history has to fit; a run's plan names its own
    #[arg(long, value_parser = parser::<Model>(Model::ALL.map(Model::name)))]
    pub model: Option<Model>,
    /// How the history is written down; detected if not given
    #[arg(long, value_parser = parser::<Format>(Format::ALL.map(Format::name)))]
    pub format: Option<Format>,
    /// Where the independent key of an operation stands
    #[arg(long, value_enum, default_value_t)]
    pub key: Key,
    /// Which engine decides
    #[arg(long, default_value_t, value_parser = parser::<Engine>(Engine::ALL.map(Engine::name)))]
    pub engine: Engine,
    /// Give up (verdict `unknown`) after this long
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub time_limit: schism_units::Span,
    /// Give up (verdict `unknown`) before the search takes more memory than this
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub memory_limit: schism_units::Size,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page about the history to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The value that registers, and absent keys of a map, have at first, as JSON; null if not given
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub initial: Option<serde_json::Value>,
    /// On a pass, write an order of all operations to this file, which shows that there is one: one object a line,
    /// with the indices of its invocations
    #[arg(long, value_name = "FILE")]
    pub witness: Option<PathBuf>,
}

fn json(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text)
}

/// Where the independent key of an operation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Key {
    /// In the field `key`; without it, in the values if all of them are pairs of key and value
    #[default]
    Auto,
    /// In the field `key`
    Field,
    /// Every value is a pair of key and value, as Jepsen's `independent` makes them
    Tuple,
    /// There are no keys: the whole history is about one object
    None,
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        match key {
            Key::Auto => Keys::Auto,
            Key::Field => Keys::Field,
            Key::Tuple => Keys::Tuple,
            Key::None => Keys::None,
        }
    }
}

/// Parses one of several names, and lists them in the help.
fn parser<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// A test file, or hosts as `ssh` knows them: n1, admin@10.0.0.3:2222
    #[arg(value_name = "TEST.yaml|HOST", required = true)]
    pub whom: Vec<String>,
    /// Change a value of the test file, as for `schism run`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// An ssh_config for hosts in place of your own, as `ssh -F`
    #[arg(long, short = 'F', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print everything that was found as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Heal {
    /// Hosts as `ssh` knows them (n1, admin@10.0.0.3:2222), a test file or a run directory, whose hosts are meant; without
    /// any, the machine this is typed on
    #[arg(value_name = "HOST|TEST.yaml|RUN")]
    pub targets: Vec<String>,
    /// An ssh_config to use in place of your own, as `ssh -F`
    #[arg(long, short = 'F', value_name = "FILE", requires = "targets")]
    pub config: Option<PathBuf>,
    /// What agents on the nodes kept: the journal of faults, the processes they supervised
    #[arg(long, value_name = "DIR", default_value = crate::agent::server::STATE_DIRECTORY)]
    pub state: PathBuf,
    /// Also end the processes of systems under test
    #[arg(long)]
    pub stop: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only this kind
    #[arg(value_enum)]
    pub kind: Option<ListKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListKind {
    Systems,
    Workloads,
    Faults,
    Checkers,
    Models,
}

#[derive(Debug, Args)]
pub struct Schema {
    /// The schema of a system's YAML in place of the test file's
    #[arg(long)]
    pub system: bool,
}

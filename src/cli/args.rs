//! The arguments, and the help that teaches them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// Show what can be named in a test file: systems, workloads, faults, checkers
    List(List),
    /// Print the JSON Schema of the test file, for editors
    Schema(Schema),
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
    /// A node of the built-in demo system
    #[command(hide = true)]
    DemoNode(crate::demo::Args),
    /// The first process of a local cluster
    #[command(hide = true, name = crate::transport::local::INIT_COMMAND)]
    ClusterInit,
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
    /// A run directory such as runs/latest, or a history.jsonl
    #[arg(value_name = "RUN|FILE")]
    pub path: PathBuf,
    /// The model, where no plan lies beside the history: register or cas-register
    #[arg(long)]
    pub model: Option<String>,
    /// Give up (verdict `unknown`) after this long
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub time_limit: schism_units::Span,
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
}

#[derive(Debug, Args)]
pub struct Schema {
    /// The schema of a system's YAML in place of the test file's
    #[arg(long)]
    pub system: bool,
}

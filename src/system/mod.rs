//! Systems under test, described in YAML.
//!
//! [`SystemDef`] is the format, the same for the systems that come with Schism and for one of your own. [`load`] reads
//! one, [`render`] fills its templates in for one node, [`install::provide`] finds or fetches its binaries, and
//! [`probe`] judges what a node answers. Nothing here starts a process or opens a connection, and nothing here knows
//! the cluster's transport, workloads or faults.

mod check;
mod def;
pub mod install;
mod load;
pub mod probe;
mod render;
mod settings;
mod setup;
mod template;

pub use def::{
    Argument, ClientDef, FileDef, FileMode, Health, HealthProbe, HttpProbe, HttpRequest, Install,
    LeaderProbe, LeaderRole, Method, Over, ProcessDef, Repeat, Roles, Setting, SettingKind, Signal, Stop,
    SystemDef,
};
pub use load::{LoadError, System, builtin, load, schema};
pub use render::{ClusterNode, NodeContext, RenderError, render};
pub use settings::SettingError;
pub use setup::{FileSetup, HealthSetup, HttpSetup, LeaderSetup, NodeSetup, ProcessSetup};

/// The directory on a node under which everything of the system called `name` lives.
pub fn directory(name: &str) -> String {
    format!("/var/lib/schism/system/{name}")
}

//! What strikes a node.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::audit::{journal, programs};

/// What dies, stops or is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The controller is killed.
    Controller,
    /// The agent is killed.
    Agent,
    /// Both are.
    Both,
    /// Nothing passes between them any more, and neither is told.
    Connection,
    /// The agent is stopped: it lives, and does nothing.
    StoppedAgent,
    /// The agent is killed, and its watchdog a little later.
    Healers,
    /// The node loses its power, and keeps its disk.
    Power,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Controller,
        Self::Agent,
        Self::Both,
        Self::Connection,
        Self::StoppedAgent,
        Self::Healers,
        Self::Power,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Controller => "kill the controller",
            Self::Agent => "kill the agent",
            Self::Both => "kill controller and agent",
            Self::Connection => "firewall the connection",
            Self::StoppedAgent => "stop the agent",
            Self::Healers => "kill agent, then watchdog; next agent",
            Self::Power => "loss of power; next agent",
        }
    }

    /// What an audit expects beyond that no fault is left.
    pub fn expectations(self) -> &'static str {
        match self {
            // Its agent goes on, and so does the watchdog.
            Self::Connection => "victim",
            // An agent without faults has nobody who would mind that it is stopped.
            Self::StoppedAgent => "victim struck",
            Self::Power => "nobody",
            _ => "victim nobody",
        }
    }
}

/// Signals what is named, on the node. Says what was in force just before.
pub fn play(signal: &str, targets: &[&str]) {
    let signal = match signal {
        "kill" => Some(Signal::SIGKILL),
        "stop" => Some(Signal::SIGSTOP),
        _ => None,
    };
    for entry in journal() {
        println!("in force {entry}");
    }
    for (pid, command) in programs() {
        if let Some(signal) = signal
            && targets.contains(&command.as_str())
        {
            // Who is gone meanwhile is struck all the same.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
    println!("struck");
}

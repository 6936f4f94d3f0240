//! What can go wrong on the way to a node: at which step, why, and what to do.

use super::super::TransportError;

/// The steps on the way to a running agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What the name of a host means.
    Resolve,
    /// A connection to its SSH server.
    Connect,
    /// Whether that is the server it claims to be.
    HostKey,
    /// Whether it lets us in.
    Authentication,
    /// What kind of machine it is.
    Look,
    /// Becoming root.
    Sudo,
    /// Bringing the agent there.
    Upload,
    /// Starting the agent.
    AgentStart,
}

impl Step {
    /// Its name in errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::HostKey => "host key",
            Self::Authentication => "authentication",
            Self::Look => "look at the node",
            Self::Sudo => "sudo",
            Self::Upload => "upload",
            Self::AgentStart => "agent start",
        }
    }
}

/// A step that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// What happened.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl Failure {
    pub(super) fn new(step: Step, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { step, what: what.into(), advice: advice.into() }
    }

    /// For people, of this node.
    pub(super) fn on(self, node: &str) -> TransportError {
        let Self { step, what, advice } = self;
        TransportError { step: format!("{node}: {}", step.name()), reason: format!("{what}. {advice}") }
    }
}

/// What came from elsewhere, fit for a line of a terminal and no longer than need be.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 400;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

//! The controller's end of one agent.

#![expect(missing_docs, reason = "the messages say what the fields are")]

/// Why a request to an agent failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The pipe closed: the agent, its node or the connection died.
    #[error("the agent on {node} is gone ({during})")]
    Gone { node: String, during: String },
    /// The agent said no.
    #[error("{node}: {reason}")]
    Failed { node: String, reason: String },
    /// The agent did not answer in time.
    #[error("the agent on {node} did not answer within {seconds:.1} s ({during})")]
    Late { node: String, during: String, seconds: f64 },
}

/// A live agent. Cloning shares the pipe.
#[derive(Clone, Debug)]
pub struct Handle {}

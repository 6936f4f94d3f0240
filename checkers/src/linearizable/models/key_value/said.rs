//! What an operation says of its key, by the numbers of the values.
//!
//! It is all that engines of registers need: most of a history can be decided without fetching a text, and no text is copied.

use schism_history::ValueId;

use super::{Action, Content, State};
use crate::linearizable::call::Call;

/// What a value is, as far as a map tells values apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// What an absent key reads as.
    Absent,
    Text,
    List,
    /// Null where an absent key reads as something else.
    Null,
    Other,
}

/// A value by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub id: ValueId,
    pub kind: ValueKind,
}

/// What an operation does to a key; see [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Get(Seen),
    Put(Seen),
    Append(Seen),
    Delete,
    Cas(Seen, Seen),
}

impl Content {
    fn seen(&self) -> Seen {
        let kind = match &self.value {
            State::Absent => ValueKind::Absent,
            State::Text(_) => ValueKind::Text,
            State::List(_) => ValueKind::List,
            State::Other(ValueId::NULL) => ValueKind::Null,
            State::Other(_) => ValueKind::Other,
        };
        Seen { id: self.id, kind }
    }
}

impl Action {
    /// The same by the numbers of the values.
    pub(super) fn said(&self) -> Said {
        match self {
            Action::Get(content) => Said::Get(content.seen()),
            Action::Put(content) => Said::Put(content.seen()),
            Action::Append(content) => Said::Append(content.seen()),
            Action::Delete => Said::Delete,
            Action::Cas(contents) => Said::Cas(contents.0.seen(), contents.1.seen()),
        }
    }

    /// The text that is read, put or appended; empty if it is none.
    pub(super) fn text(&self) -> &str {
        match self {
            Action::Get(Content { value: State::Text(text), .. })
            | Action::Put(Content { value: State::Text(text), .. })
            | Action::Append(Content { value: State::Text(text), .. }) => text,
            _ => "",
        }
    }
}

impl Call<Action> {
    /// The same by the numbers of the values.
    pub(super) fn said(&self) -> Call<Said> {
        let Self { action, invoked, returned, source } = self;
        Call { action: action.said(), invoked: *invoked, returned: *returned, source: *source }
    }
}

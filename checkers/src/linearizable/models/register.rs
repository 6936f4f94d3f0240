//! Registers: the last write counts.

/// What an operation does to a register, with values of type `V`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action<V> {
    /// The register holds this value.
    Read(V),
    /// Afterwards the register holds this value.
    Write(V),
    /// The register holds the first value and afterwards the second.
    Cas(V, V),
}

impl<V: Copy + PartialEq> Action<V> {
    /// The value the register must hold for this to happen.
    pub fn observes(self) -> Option<V> {
        match self {
            Action::Read(value) | Action::Cas(value, _) => Some(value),
            Action::Write(_) => None,
        }
    }

    /// The value the register holds afterwards, if this sets it.
    pub fn produces(self) -> Option<V> {
        match self {
            Action::Write(value) | Action::Cas(_, value) => Some(value),
            Action::Read(_) => None,
        }
    }

    /// The value the register certainly holds right after this.
    pub fn leaves(self) -> V {
        match self {
            Action::Read(value) | Action::Write(value) | Action::Cas(_, value) => value,
        }
    }
}

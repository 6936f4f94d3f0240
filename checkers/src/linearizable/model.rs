//! The names of the models that come with the checker.

use std::fmt;
use std::str::FromStr;

/// A model that comes with the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// `read` returns what the last `write` wrote.
    Register,
    /// A register with `cas`: its value `[expected, new]` writes `new` if the register holds `expected`.
    CasRegister,
}

impl Model {
    /// Every model, in the order in which to list them.
    pub const ALL: [Model; 2] = [Model::Register, Model::CasRegister];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::CasRegister => "cas-register",
        }
    }
}

impl Model {
    /// The names of its operations.
    pub fn operations(self) -> &'static [&'static str] {
        match self {
            Model::Register => &["read", "write"],
            Model::CasRegister => &["read", "write", "cas"],
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no model is called `{0}`; there are {names}", names = names())]
pub struct UnknownModel(pub String);

fn names() -> String {
    let names: Vec<String> = Model::ALL.iter().map(|model| format!("`{model}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Model::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}

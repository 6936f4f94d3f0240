//! Which engine decides an object.

use std::fmt;
use std::str::FromStr;

use super::budget::Budget;
use super::call::{Answer, Call, Decision};

/// Which engine is to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The fastest one that can decide the object; another one if that runs out of its budget.
    #[default]
    Auto,
    /// The polynomial one of the model. What it cannot decide is `unknown`.
    Special,
    /// The breadth-first search of registers, with all its reductions.
    JustInTime,
    /// The general depth-first search.
    Search,
}

impl Engine {
    /// Every choice, in the order in which to list them.
    pub const ALL: [Engine; 4] = [Engine::Auto, Engine::Special, Engine::JustInTime, Engine::Search];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Auto => "auto",
            Engine::Special => "special",
            Engine::JustInTime => "just-in-time",
            Engine::Search => "search",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No engine has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no engine is called `{0}`; there are `auto`, `special`, `just-in-time` and `search`")]
pub struct UnknownEngine(pub String);

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Engine::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

/// An engine that decides some objects.
type Special<'e, A> = dyn Fn(&[Call<A>], Budget) -> Option<Decision> + Sync + 'e;
/// An engine that decides every object, if its budget suffices.
type Search<'e, A> = dyn Fn(&[Call<A>], Budget) -> Decision + Sync + 'e;

/// The engines of a model.
pub(super) struct Engines<'e, A> {
    /// The polynomial one.
    pub special: Option<&'e Special<'e, A>>,
    /// The breadth-first search.
    pub just_in_time: Option<&'e Search<'e, A>>,
    /// The general search.
    pub search: &'e Search<'e, A>,
}

impl<A> Engines<'_, A> {
    /// Has the object decided.
    pub fn decide(&self, engine: Engine, calls: &[Call<A>], budget: Budget) -> Decision {
        match engine {
            Engine::Search => (self.search)(calls, budget),
            Engine::JustInTime => match self.just_in_time {
                Some(just_in_time) => just_in_time(calls, budget),
                None => Decision::unsuited("just-in-time"),
            },
            Engine::Special => self
                .special
                .and_then(|special| special(calls, budget))
                .unwrap_or(Decision::unsuited("special")),
            Engine::Auto => self.fastest(calls, budget),
        }
    }

    fn fastest(&self, calls: &[Call<A>], budget: Budget) -> Decision {
        if let Some(decision) = self.special.and_then(|special| special(calls, budget.clone()))
            && !is_unknown(&decision)
        {
            return decision;
        }
        let Some(just_in_time) = self.just_in_time else { return (self.search)(calls, budget) };
        // Breadth-first is bounded by what is open at once, depth-first finds an order sooner where there are many. Neither is always
        // the better one, so the second gets what the first leaves.
        let first = just_in_time(calls, budget.clone().half());
        if !is_unknown(&first) {
            return first;
        }
        let second = (self.search)(calls, budget);
        match (&first.answer, &second.answer) {
            (Answer::Unknown(_, one), Answer::Unknown(_, other)) if one > other => first,
            _ => second,
        }
    }
}

fn is_unknown(decision: &Decision) -> bool {
    matches!(decision.answer, Answer::Unknown(..))
}

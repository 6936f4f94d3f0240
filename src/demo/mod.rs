//! The demo system: a small replicated register with a correct mode and several wrong ones.

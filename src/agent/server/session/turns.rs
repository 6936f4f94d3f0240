//! Requests about one process take effect in the order in which they were made.
//!
//! Each request is carried out by a task of its own, so a stop could overtake the start before it and find nothing to stop.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Who is next, by the name of the process.
#[derive(Default)]
pub(super) struct Turns(Mutex<BTreeMap<String, oneshot::Receiver<()>>>);

/// A place in the queue. It ends when what [`Turn::come`] returned is dropped.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    ours: oneshot::Sender<()>,
}

impl Turns {
    /// The place after all that were asked for before.
    pub fn queue(&self, name: &str) -> Turn {
        let (ours, over) = oneshot::channel();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { before: last.insert(name.to_owned(), over), ours }
    }

    /// Returns when everybody who was in a queue by now has had his turn.
    pub async fn over(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for last in all.into_values() {
            // Nobody sends anything: the end is that the sender is dropped.
            let _ = last.await;
        }
    }
}

impl Turn {
    /// Returns when everybody before has had his turn; the turn lasts until the value is dropped.
    pub async fn come(self) -> oneshot::Sender<()> {
        if let Some(before) = self.before {
            let _ = before.await;
        }
        self.ours
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn whoever_came_first_is_first_whoever_is_polled_first() {
        let turns = Turns::default();
        let said = Arc::new(Mutex::new(Vec::new()));
        let say = |turn: Turn, what: &'static str| {
            let said = Arc::clone(&said);
            async move {
                let _turn = turn.come().await;
                tokio::task::yield_now().await;
                said.lock().unwrap().push(what);
            }
        };
        let start = say(turns.queue("a"), "start a");
        let other = say(turns.queue("b"), "start b");
        let stop = say(turns.queue("a"), "stop a");
        let end = async {
            turns.over().await;
            said.lock().unwrap().push("over");
        };
        tokio::join!(end, stop, start, other);
        assert_eq!(*said.lock().unwrap(), ["start a", "start b", "stop a", "over"]);
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_holds_up_nobody() {
        let turns = Turns::default();
        let (first, second) = (turns.queue("a"), turns.queue("a"));
        drop(first);
        second.come().await;
        turns.over().await;
    }
}

//! Who leads: asked when a fault aims at the leader, and watched for the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schism_nemesis::resolve::Roles;
use schism_workloads::Dialer;

use super::ask::ask;
use crate::system::LeaderSetup;

/// How often the leader is looked for while the run goes on.
const WATCH_PERIOD: Duration = Duration::from_millis(500);

/// Asks the nodes who leads.
pub struct RoleWatch {
    dialer: Arc<dyn Dialer>,
    nodes: Vec<(String, LeaderSetup)>,
    last: Mutex<Option<(String, u64)>>,
}

impl RoleWatch {
    /// Over these nodes, each with the question to ask it.
    pub fn new(dialer: Arc<dyn Dialer>, nodes: Vec<(String, LeaderSetup)>) -> Arc<Self> {
        Arc::new(Self { dialer, nodes, last: Mutex::default() })
    }

    /// Who leads now: of those that say so, the one with the highest term. A cut-off old leader may still say so.
    pub async fn look(&self) -> Roles {
        let mut asked = Vec::new();
        for (node, setup) in &self.nodes {
            let (dialer, node, setup) = (Arc::clone(&self.dialer), node.clone(), setup.clone());
            asked.push(tokio::spawn(async move {
                let answer = ask(&*dialer, &node, &setup.http).await;
                (node, answer.and_then(|(status, body)| setup.leads(status, &body)))
            }));
        }
        let mut best: Option<(String, u64)> = None;
        for answer in asked {
            match answer.await {
                Ok((node, Ok(Some(term)))) if best.as_ref().is_none_or(|(_, highest)| term > *highest) => {
                    best = Some((node, term));
                }
                Ok((node, Err(error))) => tracing::debug!(event = "role unknown", %node, %error),
                _ => {}
            }
        }
        self.note(best.as_ref());
        Roles { leader: best.map(|(node, _)| node) }
    }

    /// Logs a change of leader or term.
    fn note(&self, found: Option<&(String, u64)>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_some() && found != last.as_ref() {
            if let Some((leader, term)) = found {
                tracing::info!(event = "election", node = %leader, term, leader = %leader);
            }
            *last = found.cloned();
        }
    }

    /// Looks again and again until aborted.
    pub fn watch(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let watch = Arc::clone(self);
        tokio::spawn(async move {
            let mut period = tokio::time::interval(WATCH_PERIOD);
            period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                period.tick().await;
                watch.look().await;
            }
        })
    }
}

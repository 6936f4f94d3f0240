//! Judges the history while it grows, on a thread of its own: a violation is told when it happens, and can end the load.
//!
//! What decides the verdict is the check of the whole history in [`conclude`](super::conclude), always. This one must not cost the
//! run anything: the scheduler's thread hands events over without ever waiting, and a check that does not keep up, or fails, is
//! given up. Since a history with a gap would show violations that never were, nothing passes the first event that found no room:
//! what the thread has is always the beginning of the history.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, TrySendError};
use std::time::{Duration, Instant};

use schism_checkers::linearizable::Options;
use schism_checkers::linearizable::live::{Finding, Live as Followed, Pace, live as follow};
use schism_history::{Builder, Event, Process};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::conclude;
use super::live::Live;
use crate::plan::PlannedCheck;
use crate::verdict::agreement::Watched;

/// Events that may wait. A look takes some tenths of a second, in which the fastest load comes to less than this.
const CAPACITY: usize = 1 << 17;
/// Rest between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for what is undecided when the load is over; the check of the whole comes next.
const LAST_LOOK: Duration = Duration::from_secs(5);
/// Violations that get a line each in the log; more of them are only counted.
const TOLD: usize = 5;

/// Where the scheduler's thread hands events over.
pub struct Feed {
    /// Absent once an event found no room, or nobody there.
    sender: Option<SyncSender<Box<Event>>>,
    overflowed: Arc<AtomicBool>,
}

impl Feed {
    /// Hands an event over, if there is room. Never waits.
    pub fn event(&mut self, event: &Event) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(Box::new(essence(event))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.overflowed.store(true, Ordering::Release);
                self.sender = None;
            }
            Err(TrySendError::Disconnected(_)) => self.sender = None,
        }
    }
}

/// What of an event counts for a check; the rest would be copied for nothing.
fn essence(event: &Event) -> Event {
    let value = match event.process {
        Process::Nemesis => Value::Null,
        Process::Client(_) => event.value.clone(),
    };
    let &Event { index, time, process, kind, .. } = event;
    let (f, key) = (event.f.clone(), event.key.clone());
    Event { index, time, process, kind, f, key, value, node: None, error: None, extra: Map::new() }
}

/// The thread's end of everything.
struct Inbox {
    events: Receiver<Box<Event>>,
    /// How many can wait.
    capacity: usize,
    overflowed: Arc<AtomicBool>,
    /// Says that nothing comes any more. Closed when nobody wants an answer.
    orders: Receiver<()>,
    /// Takes the first violation.
    first: Option<oneshot::Sender<Finding>>,
}

/// A check under way. Dropping it ends it.
pub struct LiveCheck {
    orders: Sender<()>,
    first: oneshot::Receiver<Finding>,
    end: oneshot::Receiver<Option<Watched>>,
}

impl LiveCheck {
    /// Begins to check as `planned`, and where to hand the events over. `origin` is time 0 of the history.
    pub fn start(planned: Option<&PlannedCheck>, status: Live, origin: Instant) -> (Feed, Self) {
        let options = planned.and_then(|planned| conclude::options(planned).ok());
        spawn(CAPACITY, move |inbox| {
            let mut options = options?;
            options.time_budget = options.time_budget.map(|time| time.min(LAST_LOOK));
            Some(watch(inbox, &options, status, origin))
        })
    }

    /// The first violation, when it comes.
    pub async fn first(&mut self) -> Finding {
        match (&mut self.first).await {
            Ok(finding) => finding,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the last word, once the feed is gone; not if somebody wants to `leave`. Nothing where the check failed.
    pub async fn finish(self, leave: &CancellationToken) -> Option<Watched> {
        // Where it was given up, it has ended and said so.
        let _ = self.orders.send(());
        tokio::select! {
            watched = self.end => watched.ok().flatten(),
            () = leave.cancelled() => None,
        }
    }
}

/// Lets `work` have a thread, and survives its panic.
fn spawn(capacity: usize, work: impl FnOnce(Inbox) -> Option<Watched> + Send + 'static) -> (Feed, LiveCheck) {
    let (sender, events) = mpsc::sync_channel(capacity);
    let (order, orders) = mpsc::channel();
    let (found, first) = oneshot::channel();
    let (last, end) = oneshot::channel();
    let overflowed = Arc::new(AtomicBool::new(false));
    let feed = Feed { sender: Some(sender), overflowed: Arc::clone(&overflowed) };
    let inbox = Inbox { events, capacity, overflowed, orders, first: Some(found) };
    let thread = std::thread::Builder::new().name("live-check".to_owned()).spawn(move || {
        let watched = catch_unwind(AssertUnwindSafe(|| work(inbox))).unwrap_or_else(|panic| {
            let why = format!("it panicked: {}", message(panic.as_ref()));
            tracing::error!(event = "live check given up", %why);
            None
        });
        // Nobody waits where the run was left.
        let _ = last.send(watched);
    });
    if let Err(error) = thread {
        let why = format!("its thread could not be started: {error}");
        tracing::warn!(event = "live check given up", %why);
    }
    (feed, LiveCheck { orders: order, first, end })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

/// Follows the history to its end.
fn watch(inbox: Inbox, options: &Options, status: Live, origin: Instant) -> Watched {
    let watched = Watched { events: 0, model: options.model.name(), found: Vec::new(), summary: None };
    follow(options, Builder::new(), &Pace::default(), |live| {
        Watching { live, inbox, status, origin, watched }.run()
    })
}

struct Watching<'l, 'j> {
    live: &'l mut Followed<'j>,
    inbox: Inbox,
    status: Live,
    origin: Instant,
    watched: Watched,
}

impl Watching<'_, '_> {
    fn run(mut self) -> Watched {
        loop {
            let order = self.inbox.orders.recv_timeout(PAUSE);
            if order == Err(RecvTimeoutError::Disconnected) {
                return self.watched;
            }
            if let Err(why) = self.take() {
                tracing::warn!(event = "live check given up", events = self.watched.events, %why);
                return self.watched;
            }
            for finding in self.live.look(self.origin.elapsed()) {
                self.tell(finding);
            }
            if order.is_ok() {
                self.finish();
                return self.watched;
            }
        }
    }

    /// Takes what is there, and no more than that where events come as fast as they are taken.
    fn take(&mut self) -> Result<(), String> {
        if self.inbox.overflowed.load(Ordering::Acquire) {
            let capacity = self.inbox.capacity;
            return Err(format!(
                "events came faster than they could be checked, and {capacity} were waiting; the whole history is \
                 checked at the end"
            ));
        }
        for _ in 0..self.inbox.capacity {
            let event = match self.inbox.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
            if event.index != self.watched.events {
                return Err(format!("event {} came where {} belongs", event.index, self.watched.events));
            }
            self.live.event(&event).map_err(|error| error.to_string())?;
            self.watched.events += 1;
        }
        Ok(())
    }

    fn tell(&mut self, finding: Finding) {
        if self.watched.found.len() < TOLD {
            let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
            let (key, part) = (text(&finding.key), text(&finding.part));
            let Finding { index, model, .. } = finding;
            tracing::warn!(event = "violation", key, part, index, model, what = %finding);
        }
        self.status.violation(&finding);
        if let Some(first) = self.inbox.first.take() {
            // Nobody waits for it any more once the load is over.
            let _ = first.send(finding.clone());
        }
        self.watched.found.push(finding);
    }

    /// Decides what is left.
    fn finish(&mut self) {
        let summary = match self.live.finish() {
            Ok(summary) => summary,
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(event = "live check given up", events = self.watched.events, %why);
                return;
            }
        };
        let told: HashSet<String> = self.watched.found.iter().map(Finding::to_string).collect();
        for finding in summary.violating.iter().filter(|finding| !told.contains(&finding.to_string())) {
            self.tell(finding.clone());
        }
        let (violations, undecided) = (summary.violating.len(), summary.unknown.len());
        tracing::info!(event = "live check done", events = self.watched.events, violations, undecided);
        self.watched.summary = Some(summary);
    }
}

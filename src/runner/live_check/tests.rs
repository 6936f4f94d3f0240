use std::fs::File;

use schism_checkers::Validity;
use schism_checkers::linearizable::Model;
use schism_history::Kind;
use serde_json::json;

use super::*;

/// Events of one client each, numbered from 0: process, kind, operation, value. The key is 7.
fn history(events: &[(u64, Kind, &'static str, Value)]) -> Vec<Event> {
    let event = |(index, (process, kind, f, value)): (usize, &(u64, Kind, &'static str, Value))| Event {
        index: index as u64,
        time: index as u64 * 1000,
        process: Process::Client(*process),
        kind: *kind,
        f: (*f).into(),
        key: Some(json!(7)),
        value: value.clone(),
        node: None,
        error: None,
        extra: Map::new(),
    };
    events.iter().enumerate().map(event).collect()
}

/// Two writes, and a read of the second; without the second write the read would be a violation.
fn good() -> Vec<Event> {
    history(&[
        (0, Kind::Invoke, "write", json!(1)),
        (0, Kind::Ok, "write", json!(1)),
        (0, Kind::Invoke, "write", json!(2)),
        (0, Kind::Ok, "write", json!(2)),
        (1, Kind::Invoke, "read", Value::Null),
        (1, Kind::Ok, "read", json!(2)),
    ])
}

/// The same with a read of what was overwritten.
fn stale() -> Vec<Event> {
    let mut events = good();
    events[5].value = json!(1);
    events
}

fn watched(inbox: Inbox) -> Option<Watched> {
    Some(watch(inbox, &Options::new(Model::CasRegister), Live::default(), Instant::now()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn finish(check: LiveCheck) -> Option<Watched> {
    block_on(check.finish(&CancellationToken::new()))
}

#[test]
fn a_history_without_a_violation_is_seen_to_its_end() {
    let (mut feed, check) = spawn(64, watched);
    good().iter().for_each(|event| feed.event(event));
    drop(feed);
    let watched = finish(check).unwrap();
    assert_eq!((watched.events, watched.found.len()), (6, 0));
    let summary = watched.summary.unwrap();
    assert_eq!((summary.validity, summary.unknown), (Validity::Pass, Vec::new()));
}

#[test]
fn the_first_violation_is_told_while_the_load_goes_on() {
    let (mut feed, mut check) = spawn(64, watched);
    stale().iter().for_each(|event| feed.event(event));
    // The feed is there, so the load goes on.
    let first = block_on(check.first());
    assert_eq!((first.key.clone(), first.index), (Some(json!(7)), 5));
    drop(feed);
    let watched = finish(check).unwrap();
    assert_eq!(watched.summary.unwrap().violating, watched.found);
    assert_eq!(watched.found, [first], "it is told once");
}

#[test]
fn nothing_passes_the_first_event_that_found_no_room() {
    let (sender, receiver) = mpsc::sync_channel(2);
    let overflowed = Arc::new(AtomicBool::new(false));
    let mut feed = Feed { sender: Some(sender), overflowed: Arc::clone(&overflowed) };
    let events = good();
    events[..4].iter().for_each(|event| feed.event(event));
    assert!(overflowed.load(Ordering::Acquire));
    let taken: Vec<u64> = receiver.try_iter().map(|event| event.index).collect();
    assert_eq!(taken, [0, 1]);
    // There is room again, but what came in between is lost.
    events[4..].iter().for_each(|event| feed.event(event));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn a_history_with_a_gap_is_not_judged() {
    // The thread takes nothing before the channel is full.
    let (go, gate) = mpsc::channel();
    let (mut feed, check) = spawn(2, move |inbox| {
        gate.recv().unwrap();
        watched(inbox)
    });
    stale().iter().for_each(|event| feed.event(event));
    go.send(()).unwrap();
    drop(feed);
    let watched = finish(check).unwrap();
    assert!(watched.found.is_empty() && watched.summary.is_none(), "{watched:?}");

    // As long as events are numbered one by one a gap shows by itself, too.
    let (mut feed, check) = spawn(64, self::watched);
    let events = good();
    events[..2].iter().chain(&events[4..]).for_each(|event| feed.event(event));
    drop(feed);
    let watched = finish(check).unwrap();
    assert!(watched.found.is_empty() && watched.summary.is_none(), "{watched:?}");
}

#[test]
fn a_panic_harms_nobody_and_is_in_the_log() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = Arc::new(File::options().append(true).open(file.path()).unwrap());
    let (mut feed, mut check) = spawn(4, move |_inbox| {
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log).finish();
        // The log of this thread, until it ends.
        std::mem::forget(tracing::subscriber::set_default(subscriber));
        panic!("planted {}", 1);
    });
    // More than find room, before and after the panic.
    for _ in 0..20 {
        good().iter().for_each(|event| feed.event(event));
    }
    let none = block_on(async {
        tokio::select! {
            finding = check.first() => Some(finding),
            () = std::future::ready(()) => None,
        }
    });
    assert_eq!(none, None);
    assert!(finish(check).is_none());
    let line: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["event"], "live check given up");
    assert_eq!(line["why"], "it panicked: planted 1");
}

#[test]
fn the_thread_ends_when_nobody_wants_an_answer() {
    let (done, ended) = mpsc::channel();
    let (mut feed, check) = spawn(64, move |inbox| {
        let watched = watched(inbox);
        done.send(watched.is_some_and(|watched| watched.summary.is_none())).unwrap();
        None
    });
    feed.event(&good()[0]);
    drop(check);
    assert!(ended.recv().unwrap(), "it takes no last look");
}

#[test]
fn who_leaves_does_not_wait() {
    let (go, gate) = mpsc::channel::<()>();
    let (feed, check) = spawn(64, move |inbox| {
        gate.recv().unwrap();
        watched(inbox)
    });
    drop(feed);
    let leave = CancellationToken::new();
    leave.cancel();
    assert!(block_on(check.finish(&leave)).is_none());
    go.send(()).unwrap();
}

//! Whatever an event holds, the fast encoder writes what `serde_json` writes, and the reader gives it back.

use std::borrow::Cow;

use proptest::prelude::*;
use schism_history::{Event, History, Kind, Process, encode};
use serde_json::{Map, Value, json};

fn text() -> impl Strategy<Value = String> {
    // Everything that needs an escape, and what does not although it looks like it.
    prop_oneof!["[a-z]{0,8}", any::<String>(), "[\"\\\\/\u{0}-\u{1f}\u{7f}é\u{2028}😀]{0,6}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Absent or not null: a null key or error in a file means none.
fn optional() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(value()).prop_map(|value| value.filter(|value| !value.is_null()))
}

prop_compose! {
    fn event()(
        time in any::<u64>(),
        process in prop_oneof![any::<u64>().prop_map(Process::Client), Just(Process::Nemesis)],
        kind in prop::sample::select(vec![Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info]),
        f in prop_oneof![Just("read".to_owned()), Just("txn".to_owned()), text()],
        key in optional(),
        value in value(),
        node in prop::option::of(text()),
        error in optional(),
        extra in prop::collection::vec((text(), value()), 0..3),
    ) -> Event {
        let known = ["index", "time", "process", "type", "f", "key", "value", "node", "error"];
        let extra = extra.into_iter().filter(|(name, _)| !known.contains(&name.as_str())).collect();
        let node = node.map(Into::into);
        Event { index: 0, time, process, kind, f: Cow::Owned(f), key, value, node, error, extra }
    }
}

proptest! {
    // A failing case is printed; a file of them beside the tests would outlive its use.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn encoder_and_reader_agree_with_serde(mut events in prop::collection::vec(event(), 0..8), step in 1_u64..1000) {
        let mut lines = Vec::new();
        for (position, event) in events.iter_mut().enumerate() {
            event.index = position as u64 * step;
            let start = lines.len();
            encode(event, &mut lines).unwrap();
            let mut expected = serde_json::to_vec(event).unwrap();
            expected.push(b'\n');
            prop_assert_eq!(String::from_utf8_lossy(&lines[start..]), String::from_utf8_lossy(&expected));
        }
        let history = History::read(lines.as_slice(), "round trip").unwrap();
        prop_assert_eq!(history.events, events);
        prop_assert!(history.torn.is_none());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = History::read(bytes.as_slice(), "noise");
    }

    #[test]
    fn a_damaged_line_is_an_error_or_another_event_never_a_panic(event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = Vec::new();
        encode(&event, &mut line).unwrap();
        let at = at.index(line.len());
        line[at] = byte;
        if let Err(error) = History::read(line.as_slice(), "damaged") {
            let message = error.to_string();
            prop_assert!(message.starts_with("damaged:"), "{}", message);
        }
    }
}

//! The scan against the reader of `schism_history`, line by line.

use schism_history::random::Random;
use schism_history::{BuildError, ReadError, Reader, Table, ValueId};
use serde_json::{Value, json};

use super::*;

/// What reading comes to: the table and the torn line, or where it fails and why.
type Outcome = Result<(Table, Option<String>), Failure>;

#[derive(Debug, PartialEq)]
enum Failure {
    Line { line: usize, column: usize, message: String },
    Event { line: usize, error: BuildError },
}

/// The definition: the reader of `schism_history`, and its events pushed one by one.
fn slow(text: &[u8]) -> Outcome {
    let mut reader = Reader::new(text, "test");
    let mut builder = Builder::new();
    // The line of each event.
    let mut lines =
        text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    for event in reader.by_ref() {
        let line = lines.next().map_or(0, |(number, _)| number + 1);
        match event {
            Ok(event) => {
                builder.event(&event).map_err(|error| Failure::Event { line, error })?;
            }
            Err(ReadError::Line { line: said, column, message, .. }) => {
                assert_eq!(said as usize, line);
                return Err(Failure::Line { line, column, message });
            }
            Err(error) => panic!("{error}"),
        }
    }
    Ok((builder.finish(), reader.torn().map(ToString::to_string)))
}

fn fast(text: &[u8], chunk: usize) -> Outcome {
    let mut builder = Builder::new();
    let mut notes = Vec::new();
    let result = read_in_chunks(&mut &text[..], chunk, usize::MAX, &mut builder, Keys::Auto, &mut notes);
    match result {
        Ok(()) => {
            let torn = notes.iter().find(|note| note.contains("cut short")).cloned();
            Ok((builder.finish(), torn))
        }
        Err(ImportError::Syntax { place, problem }) => {
            Err(Failure::Line { line: place.line, column: place.column, message: problem })
        }
        Err(ImportError::Event { line, source }) => Err(Failure::Event { line, error: source }),
        Err(error) => panic!("{error}"),
    }
}

/// Everything a table says, without the numbers of the values, and whether times count.
fn told(table: &Table, times: bool) -> Vec<String> {
    let show = |id: ValueId| {
        let values = &table.values;
        let exact = if values.is_inexact(id) { "~" } else { "" };
        if id.is_present() { format!("{exact}{}", values.show(id)) } else { "-".into() }
    };
    let line = |view: schism_history::View<'_>| {
        let row = view.row;
        let time = if times { (row.invoke_time, row.complete_time) } else { (0, 0) };
        format!(
            "{} {} {:?} {:?} {:?} {} {} {} {} {} {:?} {:?} {}",
            view.process(),
            view.f(),
            view.node(),
            time,
            view.outcome(),
            row.invoked,
            row.completed,
            show(row.key),
            show(row.argument),
            show(row.result),
            view.index(),
            view.completion_index(),
            view.error().map_or("-".into(), show),
        )
    };
    table.views().map(line).collect()
}

/// Compares both readers; says how it came out.
fn compare(text: &[u8], chunk: usize) -> Result<usize, Failure> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    match (fast(text, chunk), slow(text)) {
        (Ok((fast, fast_torn)), Ok((slow, slow_torn))) => {
            assert_eq!(fast.is_timed(), is_timed(text), "{}", shown());
            assert_eq!(told(&fast, fast.is_timed()), told(&slow, fast.is_timed()), "{}", shown());
            assert_eq!((fast.events(), fast_torn), (slow.events(), slow_torn), "{}", shown());
            Ok(fast.rows().len())
        }
        (Err(fast), Err(slow)) => {
            assert_eq!(fast, slow, "{}", shown());
            Err(fast)
        }
        (fast, slow) => panic!("{:?}\n{:?}\n{}", fast.map(|_| "fine"), slow.map(|_| "fine"), shown()),
    }
}

/// Whether every event of a client names its time.
fn is_timed(text: &[u8]) -> bool {
    let events = text.split(|byte| *byte == b'\n').filter_map(|line| line::parse(line).ok());
    events.filter(|found| found.event.process != Process::Nemesis).all(|found| found.time.is_some())
}

fn text(random: &mut Random) -> String {
    const PARTS: [&str; 12] =
        ["a", "x1", " ", "\"", "\\", "\n", "\t", "é", "\u{1f980}", "\u{7f}", "/", "\u{0}"];
    (0..random.below(4)).filter_map(|_| random.pick(&PARTS)).copied().collect()
}

/// A JSON value as text, since some cannot be made otherwise.
fn value(random: &mut Random, depth: u64) -> String {
    const NUMBERS: [&str; 22] = [
        "0",
        "-0",
        "7",
        "-12",
        "1.5",
        "1.0",
        "-0.0",
        "1e3",
        "1E+2",
        "2.5e-3",
        "1073741823",
        "1073741824",
        "-1073741825",
        "999999999999999999",
        "1000000000000000000",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
        "9007199254740993.0",
    ];
    match random.below(if depth > 3 { 6 } else { 9 }) {
        0 => "null".into(),
        1 => ["true", "false"][random.below(2) as usize].into(),
        2 => NUMBERS[random.below(22) as usize].into(),
        3 | 4 => random.below(5).to_string(),
        5 => quoted(&text(random), random),
        6 | 7 => {
            let items: Vec<String> = (0..random.below(4)).map(|_| value(random, depth + 1)).collect();
            format!("[{}]", items.join(&format!("{},{}", space(random), space(random))))
        }
        _ => {
            let field = |random: &mut Random| {
                let name = quoted(["a", "b", "é", "\n"][random.below(4) as usize], random);
                format!("{name}{}:{}{}", space(random), space(random), value(random, depth + 1))
            };
            let fields: Vec<String> = (0..random.below(4)).map(|_| field(random)).collect();
            format!("{{{}{}}}", space(random), fields.join(","))
        }
    }
}

fn quoted(text: &str, random: &mut Random) -> String {
    if random.below(4) > 0 {
        return json!(text).to_string();
    }
    let escape = |unit: u16| format!("\\u{unit:04x}");
    format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>())
}

fn space(random: &mut Random) -> &'static str {
    ["", "", "", "", " ", "\t ", "\r"][random.below(7) as usize]
}

/// A history with some sense in it, written in the style that the random numbers choose.
fn history(random: &mut Random) -> String {
    let plain = random.below(3) == 0;
    let (indexed, timed) = (random.below(4) > 0, random.below(4) > 0);
    let mut open: Vec<Option<(String, String)>> = vec![None; 4];
    let mut process: Vec<u64> = (0..4).collect();
    let (mut index, mut time, mut fresh) = (random.below(2), 0, 4);
    let mut lines = String::new();
    for _ in 0..random.below(14) {
        let worker = random.below(5) as usize;
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut put = |name: &str, value: String| fields.push((name.to_owned(), value));
        index += 1 + random.below(2) * random.below(9);
        time += random.below(50);
        if indexed && random.below(20) > 0 {
            put("index", index.to_string());
        }
        if timed && random.below(20) > 0 {
            put("time", time.to_string());
        }
        if worker == 4 {
            put("process", "\"nemesis\"".into());
            put("type", "\"info\"".into());
            put("f", "\"kill\"".into());
            put("value", value(random, 0));
        } else {
            put("process", process[worker].to_string());
            let (kind, f, key) = match open[worker].take() {
                None => {
                    let f = ["read", "write", "cas", "é\"x"][random.below(4) as usize];
                    let key = [None, Some("1"), Some("\"x\""), Some("null")][random.below(4) as usize];
                    let invoked = (quoted(f, random), key.unwrap_or_default().to_owned());
                    open[worker] = Some(invoked.clone());
                    ("invoke", invoked.0, invoked.1)
                }
                Some((f, key)) => {
                    let kind = ["ok", "ok", "fail", "info"][random.below(4) as usize];
                    if kind == "info" {
                        process[worker] = fresh;
                        fresh += 1;
                    }
                    (kind, f, key)
                }
            };
            put("type", json!(kind).to_string());
            put("f", f);
            if !key.is_empty() {
                put("key", key);
            }
            if random.below(6) > 0 {
                put("value", value(random, 0));
            }
            if random.below(2) == 0 {
                put("node", ["\"n1\"", "\"é\"", "null"][random.below(3) as usize].into());
            }
            if kind != "ok" && random.below(2) == 0 {
                put("error", value(random, 1));
            }
            for n in 0..random.below(12).saturating_sub(2) {
                put(&format!("extra{n}"), value(random, 2));
            }
        }
        if !plain {
            random.shuffle(&mut fields);
        }
        let mut gap = || if plain { "" } else { space(random) };
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}\"{name}\"{}:{}{value}{}", gap(), gap(), gap(), gap()))
            .collect();
        lines += &format!("{{{}}}", fields.join(","));
        lines += ["\n", "\n", "\n", "\r\n", " \n", "\n\n", "\n \x0c\n"][random.below(7) as usize];
    }
    if random.below(5) == 0 {
        lines.truncate(lines.trim_end().len());
    }
    lines
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const INTERESTING: &[u8] = b"{}[]\",:\\\n\r 0123456789-+.eEntfx\0\x1f\x7f\x80\xff\xc3";
    for _ in 0..=random.below(3) {
        let place = random.below(bytes.len() as u64 + 1) as usize;
        let byte = *random.pick(INTERESTING).unwrap();
        match random.below(6) {
            0 if place < bytes.len() => bytes[place] = byte,
            1 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            2 => bytes.insert(place, byte),
            3 if place < bytes.len() => {
                bytes.remove(place);
            }
            4 => {
                // Something is there twice.
                let end = (place + random.below(30) as usize).min(bytes.len());
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            5 if random.below(4) == 0 => bytes.truncate(place),
            _ => {}
        }
    }
}

#[test]
fn every_style_of_a_history_is_read_as_the_definition_reads_it() {
    let mut random = Random::new(1, "styles");
    let (mut rows, mut failed) = (0, 0);
    for _ in 0..10_000 {
        let text = history(&mut random);
        let chunk = 1 + random.below(200) as usize;
        match compare(text.as_bytes(), chunk) {
            Ok(count) => rows += count,
            Err(_) => failed += 1,
        }
    }
    assert!(rows > 20_000, "{rows}");
    // Two names in an object may be spelled alike, and numbers may be too large: little else fails here.
    assert!(failed < 1_000, "{failed}");
}

#[test]
fn every_damaged_history_is_judged_as_the_definition_judges_it() {
    let mut random = Random::new(2, "damage");
    let (mut fine, mut lines, mut events) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut text = history(&mut random).into_bytes();
        mutate(&mut text, &mut random);
        match compare(&text, 1 + random.below(200) as usize) {
            Ok(_) => fine += 1,
            Err(Failure::Line { .. }) => lines += 1,
            Err(Failure::Event { .. }) => events += 1,
        }
    }
    assert!(fine > 2_000 && lines > 2_000 && events > 200, "{fine} {lines} {events}");
}

#[test]
fn usual_lines_are_scanned_and_others_are_not() {
    let mut values = schism_history::Values::new();
    let mut scratch = scan::Scratch::default();
    let mut scanned = |line: &str| scan::client(line.as_bytes(), 0, &mut values, &mut scratch).is_some();
    for usual in [
        r#"{"index":1,"time":2,"process":3,"type":"ok","f":"read","key":4,"value":[1,"\n"],"node":"n1"}"#,
        r#" { "f" : "read" , "type" : "info" , "process" : 3, "more": {"a": [1e2, "\u0041", null]} , "error":"x"} "#,
        r#"{"process":0,"type":"invoke","f":"txn","value":[["r",1,null],["append",2,{"a":1.5}]]}"#,
    ] {
        assert!(scanned(usual), "{usual}");
    }
    let deep = format!(
        "{{\"process\":0,\"type\":\"ok\",\"f\":\"x\",\"value\":{}1{}}}",
        "[".repeat(70),
        "]".repeat(70)
    );
    for unusual in [
        "",
        r#"{"process":"nemesis","type":"info","f":"kill"}"#,
        r#"{"process":-0,"type":"ok","f":"read"}"#,
        r#"{"process":00,"type":"ok","f":"read"}"#,
        r#"{"process":0,"type":"ok","f":"read","f":"read"}"#,
        r#"{"process":0,"type":"ok","f":"read","a":1,"a":1}"#,
        r#"{"process":0,"type":"ok","f":"r\u0065ad"}"#,
        r#"{"process":0,"type":"ok","f":"read"} x"#,
        r#"{"process":0,"type":"ok","f":"read","value":1e999}"#,
        r#"{"process":0,"type":"ok","f":"read","value":[1,]}"#,
        &deep,
    ] {
        assert!(!scanned(unusual), "{unusual}");
    }
    // What is too deep for the scan is not too deep.
    assert!(compare(format!("{}\n", deep.replace("\"ok\"", "\"invoke\"")).as_bytes(), 10).is_ok());
}

#[test]
fn bytes_that_are_no_text_are_an_error_whatever_follows() {
    // What follows the text would do as another one.
    let line = b"{\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"value\":[\"\xc3\"\",false]}\n";
    assert!(matches!(compare(line, 100), Err(Failure::Line { line: 1, .. })));
}

#[test]
fn keys_can_be_left_out() {
    let text = r#"{"process":0,"type":"invoke","f":"read","key":1}
{"process":0,"type":"ok","f":"read","key":2,"value":3,"f\u0030":0}
"#;
    let read = |keys| {
        let mut builder = Builder::new();
        let result = super::read(&mut text.as_bytes(), &mut builder, keys, &mut Vec::new());
        result.map(|()| builder.finish().rows()[0].key)
    };
    assert_eq!(read(Keys::None).unwrap(), ValueId::ABSENT);
    let error = read(Keys::Field).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 2: event 1: process 0 completes read of key 2, but what it invoked at event 0 has key 1"
    );
}

#[test]
fn a_line_may_be_longer_than_the_buffer() {
    let long: Vec<Value> = (0..300_000).map(Value::from).collect();
    let line = |kind: &str, value: Value| json!({"process": 1, "type": kind, "f": "read", "value": value});
    let text = format!("{}\n{}\n", line("invoke", Value::Null), line("ok", long.into()));
    assert!(text.len() > CHUNK);
    assert_eq!(compare(text.as_bytes(), CHUNK), Ok(1));
}

#[test]
fn a_line_that_never_ends_is_refused_at_the_limit() {
    let line = r#"{"process":0,"type":"invoke","f":"read","value":null}"#;
    let read = |text: &str, longest: usize| {
        let (mut builder, mut notes) = (Builder::new(), Vec::new());
        let result = read_in_chunks(&mut text.as_bytes(), 8, longest, &mut builder, Keys::Auto, &mut notes);
        result.map(|()| builder.finish().events()).map_err(|error| error.to_string())
    };
    let two = format!("{line}\n{}", line.replace("process\":0", &format!("process\":{}1", " ".repeat(100))));
    assert_eq!(read(&two, 1000), Ok(2));
    assert!(read(&two, 100).unwrap_err().starts_with("line 2, column 1: this line is longer than 100 bytes"));
    assert!(read(line, line.len()).is_err() && read(line, line.len() + 1) == Ok(1));
}

#[test]
fn the_line_of_every_event_is_known() {
    let line =
        |process: u64, kind: &str| format!(r#"{{"process":{process},"type":"{kind}","f":"read","value":1}}"#);
    let text = format!(
        "\n{}\n{}\r\n\n{}\n{}\n",
        line(0, "invoke"),
        r#"{"process":"nemesis","type":"info","f":"kill"}"#,
        line(1, "invoke"),
        line(0, "ok")
    );
    let table = fast(text.as_bytes(), 16).unwrap().0;
    let lines: Vec<_> = (0..5).map(|position| table.line(position)).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(5), Some(6), None]);
}

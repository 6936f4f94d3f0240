#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fmt::Write;

use schism_history::{Builder, Outcome, Random, Table};
use serde_json::{Value, json};

use crate::{ImportError, Keys};

fn read(text: impl AsRef<[u8]>) -> Result<(Table, Vec<String>), ImportError> {
    read_with(text, Keys::Auto)
}

fn read_with(text: impl AsRef<[u8]>, keys: Keys) -> Result<(Table, Vec<String>), ImportError> {
    let (mut builder, mut notes) = (Builder::new(), Vec::new());
    super::read(text.as_ref(), &mut builder, keys, &mut notes)?;
    Ok((builder.finish(), notes))
}

/// A form as the argument of an operation.
fn argument(form: &str, f: &str) -> Result<Value, ImportError> {
    let (table, _) = read(format!("{{:process 0, :type :invoke, :f {f}, :value {form}}}"))?;
    Ok(table.values.to_json(table.rows()[0].argument))
}

fn value(form: &str) -> Value {
    argument(form, ":write").unwrap_or_else(|error| panic!("{form}: {error}"))
}

fn problem(result: Result<(Table, Vec<String>), ImportError>) -> (usize, usize, String) {
    match result {
        Err(ImportError::Syntax { place, problem }) => (place.line, place.column, problem),
        Err(ImportError::Event { line, source }) => (line, 0, source.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_of_all_kinds() {
    let cases = [
        ("nil", json!(null)),
        ("true", json!(true)),
        ("-0", json!(0)),
        ("+7", json!(7)),
        ("42N", json!(42)),
        ("0x1F", json!(31)),
        ("-0x1f", json!(-31)),
        ("017", json!(15)),
        ("2r101", json!(5)),
        ("36rZZ", json!(1295)),
        ("9223372036854775807", json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX)),
        ("1.5", json!(1.5)),
        ("1.0", json!(1)),
        ("-1.5e-3", json!(-0.0015)),
        ("1.25M", json!(1.25)),
        ("0.1234567890123456789M", json!("'0.1234567890123456789M")),
        ("1e400", json!("'1e400")),
        ("3/4", json!("'3/4")),
        ("-3/4", json!("'-3/4")),
        ("##NaN", json!("'##NaN")),
        ("##-Inf", json!("'##-Inf")),
        (":a", json!(":a")),
        (":a.b/c-d?", json!(":a.b/c-d?")),
        ("foo.bar/baz*", json!("'foo.bar/baz*")),
        ("-", json!("'-")),
        ("\"a\\tb\\r\\n\\\\ \\\"q\\\" \\u00e9\\101\"", json!("a\tb\r\n\\ \"q\" éA")),
        ("\"\\ud834\\udd1e \\ud834 x\"", json!("𝄞 \\ud834 x")),
        ("\"two\nlines\"", json!("two\nlines")),
        ("\\a", json!("\\a")),
        ("\\newline", json!("\\\n")),
        ("\\u0041", json!("\\A")),
        ("\\o101", json!("\\A")),
        ("\\é", json!("\\é")),
        ("[\\( \\] \\; \\\" \\\\]", json!(["\\(", "\\]", "\\;", "\\\"", "\\\\"])),
        ("[]", json!([])),
        ("(1 [2,,3] ())", json!([1, [2, 3], []])),
        ("#{3 1 2}", json!([1, 2, 3])),
        ("{:a 1, \"b\" {:c nil}}", json!({":a": 1, "b": {":c": null}})),
        (
            "{1 2, \"1\" 3, [1 :x] 4, nil 5, \"nil\" 6, \"null\" 7, true 8}",
            json!({
                "1": 2, "\"1\"": 3, "[1,\":x\"]": 4, "null": 5, "nil": 6, "\"null\"": 7, "true": 8
            }),
        ),
        ("#:a{:b 1, :c/d 2, :_/e 3, \"f\" 4}", json!({":a/b": 1, ":c/d": 2, ":e": 3, "f": 4})),
        ("#inst \"2020-01-01T00:00:00Z\"", json!("2020-01-01T00:00:00Z")),
        ("#foo.Bar{:a #baz [1]}", json!({":a": [1]})),
        ("#a #b #c 1", json!(1)),
        ("#object[foo.Bar 0x5f \"foo.Bar@5f\"]", json!(["'foo.Bar", 95, "foo.Bar@5f"])),
        ("#<Object java.lang.Object@<5f>>", json!("Object java.lang.Object@<5f>")),
        ("#\"a.*\\d\"", json!("a.*d")),
        ("[1 ; one ] \n 2 #_3 #_ #_ 4 (5) #_{:a} 6 #_#foo[7] 8 #_ ^:m [9]]", json!([1, 2, 6, 8])),
        ("[^:m 1 ^{:a [}]} 2]", json!(null)),
        ("^{:a 1} ^:b ^String [1]", json!([1])),
        ("#^:old [1]", json!([1])),
    ];
    for (form, expected) in cases {
        match form {
            // A pattern keeps its backslashes in Clojure; here it is an escape that no string has.
            "#\"a.*\\d\"" | "[^:m 1 ^{:a [}]} 2]" => assert!(argument(form, ":w").is_err(), "{form}"),
            _ => assert_eq!(value(form), expected, "{form}"),
        }
    }
    let (table, _) =
        read("{:process 0 :type :invoke :f :w :value [123456789012345678901234567890N]}").unwrap();
    assert!(table.values.is_inexact(table.rows()[0].argument));
}

#[test]
fn a_string_and_a_keyword_are_never_taken_for_each_other() {
    let op = |value: &str| format!("{{:process 0 :type :invoke :f :w :value {value}}}\n");
    for (first, second) in [
        (":a", "\":a\""),
        ("\"'a\"", "a"),
        ("\\a", "\"\\\\a\""),
        ("\"'3/4\"", "3/4"),
        ("\"'##NaN\"", "##NaN"),
    ] {
        for both in [format!("[{first} {second}]"), format!("[{second} {first}]")] {
            let (line, _, problem) = problem(read(format!("\n{}", op(&both))));
            assert!(line == 2 && problem.contains("cannot be told apart"), "{both}: {problem}");
        }
        assert!(read(op(&format!("[{first} {first}]"))).is_ok() && read(op(second)).is_ok());
    }
    // In an error nobody compares them.
    let text =
        format!("{}{}", op(":a"), "{:process 0 :type :info :f :w :value nil :error [:a \":a\" \":b\" :b]}\n");
    assert!(read(text).is_ok());
}

#[test]
fn operations_come_in_several_shapes() {
    let shapes = [
        "{:process 0, :type :invoke, :f :cas, :value [1 2]}\n{:process 0, :type :ok, :f :cas, :value [1 2]}\n\
         {:process :nemesis, :type :info, :f :start}\n{:process 0, :type :invoke, :f :read, :value nil}",
        "[{:process 0 :type :invoke :f :cas :value [1 2]}\n {:process 0 :type :ok :f :cas :value [1 2]}\n \
         {:f :start :process :nemesis}{:value nil :f :read :type :invoke :process 0}]\n",
        "#jepsen.history.Op{:index 0, :time 1, :type :invoke, :process 0, :f :cas, :value [1 2]} \
         #jepsen.history.Op{:index 1, :time 2, :type :ok, :process 0, :f :cas, :value (1 2), :error nil} \
         #jepsen.history.Op{:index 2, :time 3, :type :info, :process :nemesis, :f :start, :value {:a #{:b}}}\
         #jepsen.history.Op{:index 3, :time 4, :type :invoke, :process 0, :f :read, :value nil}",
        "\u{feff}; a comment\n([{:x {} :y/z 2 :value [1 2] :f cas :type \"invoke\" :process 0}] ^:m\n\
         {:process 0 :type ok :f \"cas\" :value [1 2]} #_{:process 0} {:process :nemesis :type :info :f :start} \
         {:process 0 :type :invoke :f :read})",
    ];
    for shape in shapes {
        let (table, notes) = read(shape).unwrap_or_else(|error| panic!("{shape}: {error}"));
        assert!(notes.is_empty(), "{shape}: {notes:?}");
        assert_eq!(table.events(), 4, "{shape}");
        let views: Vec<_> = table.views().collect();
        assert_eq!(format!("{:?}", views), "[0 cas [1,2] -> [1,2], 0 read null Unknown]", "{shape}");
        assert_eq!(views[1].index(), 3);
        assert_eq!(table.is_timed(), shape.contains(":time"));
    }
}

#[test]
fn transactions_are_written_as_ours_whatever_the_order_of_fields() {
    for text in [
        "{:process 0 :type :invoke :f :txn :value [[:append :x :a] [:r 2 nil]]}",
        "{:process 0 :type :invoke :value [[:append :x :a] [:r 2 nil]] :f :txn}",
        "{:process 0 :type :invoke :value [[:append :x :a] [:r 2 nil]]}",
    ] {
        let (table, _) = read(text).unwrap();
        let view = table.view(0);
        assert_eq!(view.f(), "txn");
        assert_eq!(table.values.to_json(view.argument()), json!([["append", ":x", ":a"], ["r", 2, null]]));
    }
    assert_eq!(value("[[:append 1 2]]"), json!([[":append", 1, 2]]));
}

#[test]
fn keys_times_errors_and_nodes() {
    let text = "{:process 0 :type :invoke :f :put :key \"k\" :value 1 :time 5 :node \"n1\" :index 10}\n\
                {:process 0 :type :fail :f :put :key \"k\" :value 1 :time 6.0 :error [:timed-out {:a 1}] :index 11}\n\
                {:process 1 :type :invoke :f :get :key nil :time 7 :index 12 :exception #error {:cause \"}\"}}";
    let (table, notes) = read(text).unwrap();
    assert!(notes.is_empty() && table.is_timed());
    let view = table.view(0);
    assert_eq!(table.values.to_json(view.row.key), json!("k"));
    assert_eq!((view.row.invoke_time, view.row.complete_time), (5, 6));
    assert_eq!((view.index(), view.completion_index(), view.node()), (10, Some(11), Some("n1")));
    assert_eq!(table.values.to_json(view.error().unwrap()), json!([":timed-out", {":a": 1}]));
    assert_eq!(view.outcome(), Outcome::Fail);
    assert!(!table.view(1).row.key.is_present());
    let (table, _) = read_with(text, Keys::None).unwrap();
    assert!(!table.view(0).row.key.is_present());
}

#[test]
fn what_was_decided_is_said() {
    let notes = |text: &str| read(text).unwrap().1.join("\n");
    let open = "{:process 1 :type :invoke :f :read :value nil}\n";
    assert_eq!(notes(&format!("{open}:x")), "1 of the forms is no operation and was left out, in line 2");
    assert_eq!(
        notes(&format!("{{:a 1}}\n42\n{open}{{:type :info}}")),
        "3 forms are not operations and were left out, the first in line 1"
    );
    assert_eq!(
        notes("{:type :invoke :value [[:r 1 nil]]}{:type :ok :value [[:r 1 2]]}"),
        "2 operations have no :f and were taken for transactions (txn)\n\
         operations that name no process were taken for those of one process, number 1000000000"
    );
    assert_eq!(
        notes(&format!(
            "{open}{{:process :a :type :invoke :f :w :value 1}}{{:process :b :type :info :f :x}}"
        )),
        "process :a was given the number 1000000000\n\
         process :b invokes nothing; its events only count, as the nemesis' do"
    );
    let crash = "{:process 1 :type :info :f :read :value nil}\n";
    assert_eq!(
        notes(&[open, crash].concat().repeat(3)),
        "2 times a process goes on after an unknown outcome; each time it was taken for a new process of the same number"
    );
    let (table, _) =
        read("{:process -1 :type :invoke :f :r}{:process 1000000000 :type :invoke :f :r}").unwrap();
    assert_eq!(table.views().map(|view| view.process()).collect::<Vec<_>>(), [1_000_000_000, 1_000_000_001]);
}

#[test]
fn a_torn_end_is_left_out_and_said() {
    let whole = "{:process 1, :type :invoke, :f :read, :value nil}\n{:process 1, :type :ok, :f :read, :value \"é\\n}\"}\n";
    let (events, second) = (2, whole.find("\n").unwrap() + 1);
    for end in 1..whole.len() - 1 {
        let torn = &whole.as_bytes()[..end];
        match read(torn) {
            Ok((table, notes)) => {
                let rest = torn[second.min(end)..].trim_ascii().len();
                let complete = if end >= whole.len() - 1 { events } else { 1 };
                assert_eq!(table.events(), complete, "{end}");
                let note = "the last form, which begins in line 2, is torn and was left out";
                assert_eq!(notes, if rest > 0 { vec![note] } else { vec![] }, "{end}");
                assert!(end >= second - 1);
            }
            Err(_) => assert!(end < second - 1, "{end}"),
        }
    }
    let (table, notes) = read(format!("[{}", &whole[..second])).unwrap();
    assert_eq!((table.events(), notes.len()), (1, 1));
    // A quote or bracket that is missing in the middle is no torn end.
    let broken = format!("{whole}{{:process 2, :type :invoke, :f :x, :value \"a}}\n{whole}");
    assert_eq!(problem(read(&broken)).0, 3);
    let broken = format!("{whole}{{:process 2, :type :invoke, :f :x, :value [1 2}}\n{whole}");
    assert_eq!(problem(read(&broken)), (3, 47, "`}` was found where `]` was expected".into()));
    let broken = format!("{whole}{{:process 2, :type :invoke, :f :x, :value {{:a 1}}\n{whole}");
    let (line, column, text) = problem(read(&broken));
    assert_eq!((line, column), (4, 1));
    assert!(text.contains("a field such as :type was expected"), "{text}");
    let broken = format!("{whole}{{:process 2, :type :invoke, :f :x, :value [1\n{whole}");
    let (line, column, text) = problem(read(&broken));
    assert_eq!((line, column), (3, 1));
    assert!(text.contains("never ends"), "{text}");
}

#[test]
fn errors_say_where_and_what() {
    let open = "{:process 1, :type :invoke, :f :read, :value nil}\n";
    let cases = [
        ("{:process 1, :type :ok, :f :read, :value 12x}", (2, 42), "`12x` is no number"),
        ("  }", (2, 3), "`}` was found where a value was expected"),
        ("{:process 1 :value", (2, 1), "torn"),
        ("{:process 1 :f :r :value \"\\q\"}", (2, 27), "`\\q` is no escape that a string can have"),
        ("{:process 1 :f :r :value \\foo}", (2, 26), "`\\foo` is no character"),
        ("{:process 1 :f :r :value {:a}}", (2, 26), "a map has a key without a value"),
        ("{:process 1 :f :r :value @a}", (2, 26), "a value was expected, not `@`"),
        ("{:process 1 :f :r :value 'a}", (2, 26), "code was found where a value was expected"),
        ("{:process 1 :f :r :value}", (2, 25), "`}` was found where a value was expected"),
        ("{:process 1 :f :r :value # }", (2, 26), "`#` stands alone; a tag, a set or `#_` was expected"),
        (
            "{:process 1 :type :done :f :read :value 1}",
            (2, 1),
            "the operation's :type is done; :invoke, :ok, :fail or :info was expected",
        ),
        (
            "{:process 1 :type :ok :f :write :value 1}",
            (2, 0),
            "event 1: process 1 completes write, but what it invoked at event 0 is read",
        ),
    ];
    for (text, (line, column), expected) in cases {
        let result = read(format!("{open}{text}"));
        if expected == "torn" {
            assert!(result.unwrap().1[0].contains("torn"));
            continue;
        }
        assert_eq!(problem(result), (line, column, expected.to_owned()), "{text}");
    }
    let (line, column, text) = problem(read(format!("{open}{{:process 1 x :ok}}")));
    assert_eq!((line, column), (2, 13));
    assert!(text.contains("a field such as :type was expected"), "{text}");
    let (line, column, text) = problem(read(b"{:process 1 :type :invoke :f :w :value \"ab\xff\"}"));
    assert_eq!((line, column, &*text), (1, 43, "the text is not UTF-8"));
    let (line, column, text) = problem(read("\n {:name \"a test\"}"));
    assert_eq!((line, column), (2, 2));
    assert!(text.contains("this is no operation"), "{text}");
    assert!(read("").is_ok() && read(" ; nothing\n").is_ok());
}

#[test]
fn maps_as_keys_of_maps_are_limited_in_text() {
    // Each level quotes the text of the one below, which doubles it.
    let nested = |levels: usize| ["{".repeat(levels), "1".into(), " 2}".repeat(levels)].concat();
    assert!(argument(&nested(8), ":w").is_ok());
    let error = argument(&nested(200), ":w").unwrap_err().to_string();
    assert!(error.contains("the key of a map"), "{error}");
}

#[test]
fn deep_nesting_needs_no_deep_stack() {
    let deep = |open: &str, close: &str, times: usize| [open.repeat(times), close.repeat(times)].concat();
    for (open, close) in [("[", "]"), ("#{", "}"), ("{1 [", "]}"), ("(", ")"), ("#a [", "]"), ("^:a [", "]")]
    {
        assert!(argument(&deep(open, close, 250), ":w").is_ok(), "{open}");
        let error = argument(&deep(open, close, 100_000), ":w").unwrap_err().to_string();
        assert!(error.contains("nested more than 512 deep"), "{open}: {error}");
        let unwanted =
            format!("{{:process 0 :type :invoke :f :w :value 1 :x {}}}", deep(open, close, 100_000));
        assert!(read(unwanted).is_ok(), "{open}");
    }
    for open in ["#_", "#a ", "^a ", "[", "{", "#_#a ^", "#{", "(("] {
        let _ = read(open.repeat(1_000_000));
        let _ = argument(&open.repeat(1_000_000), ":w");
    }
}

/// A random value as Clojure prints it, with more or less space, and as it should come back.
fn print(random: &mut Random, depth: u64, text: &mut String) -> Value {
    let choice = random.below(if depth > 3 { 8 } else { 12 });
    match choice {
        0 => {
            text.push_str("nil");
            json!(null)
        }
        1 => {
            let value = random.below(2) == 0;
            write!(text, "{value}").unwrap();
            json!(value)
        }
        2 | 3 => {
            let value = (random.next_u64() >> random.below(64)) as i64;
            let value = if random.below(2) == 0 { value } else { value.wrapping_neg() };
            write!(text, "{value}{}", if random.below(8) == 0 { "N" } else { "" }).unwrap();
            json!(value)
        }
        4 => {
            let value = f64::from_bits(random.next_u64());
            if !value.is_finite() {
                text.push_str("0.5");
                return json!(0.5);
            }
            write!(text, "{value:?}").unwrap();
            json!(value)
        }
        5 => {
            let name: String =
                (0..1 + random.below(4)).map(|_| *random.pick(&['a', 'Z', '-', '?', '9']).unwrap()).collect();
            write!(text, ":k{name}").unwrap();
            json!(format!(":k{name}"))
        }
        6 | 7 => {
            let chars = ['a', ' ', '"', '\\', '\n', 'é', '☃', '𝄞', ']', ';', '#', '\u{7f}', '\t'];
            let value: String = (0..random.below(6)).map(|_| *random.pick(&chars).unwrap()).collect();
            // Never like a keyword or the like.
            let value = format!("s{value}");
            text.push('"');
            for char in value.chars() {
                match char {
                    '"' | '\\' => write!(text, "\\{char}").unwrap(),
                    '\n' if random.below(2) == 0 => text.push_str("\\n"),
                    char if random.below(6) == 0 => {
                        let mut units = [0; 2];
                        for unit in char.encode_utf16(&mut units) {
                            write!(text, "\\u{unit:04x}").unwrap();
                        }
                    }
                    char => text.push(char),
                }
            }
            text.push('"');
            json!(value)
        }
        8 | 9 => {
            let (open, close) =
                *random.pick(&[("[", "]"), ("(", ")"), ("#t [", "]"), ("^{:m [1]}(", ")")]).unwrap();
            text.push_str(open);
            let mut items = Vec::new();
            for _ in 0..random.below(5) {
                space(random, text);
                items.push(print(random, depth + 1, text));
                text.push(' ');
            }
            text.push_str(close);
            json!(items)
        }
        10 => {
            text.push('{');
            let mut fields = serde_json::Map::new();
            for number in 0..random.below(4) {
                let name = match random.below(2) {
                    0 => {
                        write!(text, "{number}").unwrap();
                        number.to_string()
                    }
                    _ => {
                        write!(text, ":n{number}").unwrap();
                        format!(":n{number}")
                    }
                };
                text.push(' ');
                space(random, text);
                let value = print(random, depth + 1, text);
                text.push_str(random.pick(&[",", " ", ", "]).unwrap());
                fields.insert(name, value);
            }
            text.push('}');
            Value::Object(fields)
        }
        _ => {
            let mut numbers: Vec<u64> = (0..random.below(5)).map(|_| random.below(100)).collect();
            text.push_str("#{");
            for number in &numbers {
                write!(text, "{number} ").unwrap();
            }
            text.push('}');
            numbers.sort_unstable();
            numbers.dedup();
            json!(numbers)
        }
    }
}

fn space(random: &mut Random, text: &mut String) {
    let spaces = ["", "", "", " ", ",", "\n", "\t ", "; c \"] \n", "#_ x ", "#_#_ [1] {2 3} ", "#_\"]\" "];
    text.push_str(random.pick(&spaces).unwrap());
}

#[test]
fn printed_values_come_back() {
    let mut random = Random::new(11, "edn");
    for round in 0..200_000 {
        let mut form = String::new();
        let expected = print(&mut random, 0, &mut form);
        let (table, _) = read(format!("{{:process 0 :type :invoke :f :w :value {form}}}"))
            .unwrap_or_else(|error| panic!("{round}: {form}: {error}"));
        // Numbers are compared as the table does: 1.0 is 1.
        let mut table = table;
        let expected = table.values.json(&expected).unwrap();
        let found = table.rows()[0].argument;
        assert_eq!(found, expected, "{round}: {form} is {}", table.values.show(found));
    }
}

#[test]
fn mutations_never_panic() {
    let mut random = Random::new(12, "mutations");
    let mut whole = String::new();
    for process in 0..8 {
        let mut form = String::new();
        print(&mut random, 0, &mut form);
        writeln!(
            whole,
            "{{:index {process}, :process {process}, :type :invoke, :f :w, :value {form}, :time 1}}"
        )
        .unwrap();
        writeln!(whole, "#x.Op{{:process {process}, :type :info, :f :w, :error [:a \"b\\n\" #e {{:c 1.5}} \\a], :value {form}}}").unwrap();
    }
    let (mut good, mut bad) = (0, 0);
    for _ in 0..100_000 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..1 + random.below(3) {
            let place = random.below(bytes.len() as u64) as usize;
            if bytes.len() < 2 {
                break;
            }
            match random.below(4) {
                0 => bytes[place] = *random.pick(b"{}[]()\"\\#_:;^'@ \n,09azN/.-<>\xff").unwrap(),
                1 => bytes[place] = random.below(256) as u8,
                2 => {
                    bytes.remove(place);
                }
                _ => bytes.truncate(place.max(1)),
            }
        }
        match read(&bytes) {
            Ok(_) => good += 1,
            Err(ImportError::Syntax { place, .. }) => {
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                let line = lines.get(place.line - 1).copied().unwrap_or_else(|| panic!("{place:?}"));
                assert!(place.column >= 1 && place.column <= line.len() + 1, "{place:?}");
                bad += 1;
            }
            Err(ImportError::Event { line, .. }) => {
                assert!(line >= 1 && line <= 1 + bytes.iter().filter(|byte| **byte == b'\n').count());
                bad += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(good > 20_000 && bad > 20_000, "{good} {bad}");
}

#[test]
fn keywords_name_fields_as_strings_do() {
    let text = "{:process 0, :type :invoke, :f :acquire, :value {:owner \"a\" :token 3}}\n";
    let table = read(text).unwrap().0;
    let argument = table.rows()[0].argument;
    let values = &table.values;
    assert_eq!(values.field(argument, "owner").and_then(|owner| values.as_str(owner)), Some("a"));
    assert_eq!(values.field(argument, "token").and_then(|token| values.as_int(token)), Some(3));
    assert_eq!(values.field(argument, "own"), None);
    // Registers in maps stay what they are in lists.
    assert_eq!(values.show(argument), r#"{":owner":"a",":token":3}"#);
}

#[test]
fn a_keyword_beside_a_string_of_the_same_name_is_refused() {
    let map = |map: &str| format!("{{:process 0, :type :invoke, :f :acquire, :value {map}}}\n");
    let error = read(map("{:owner 1 \"owner\" 2}")).unwrap_err();
    assert!(
        error.to_string().starts_with("line 1, column 49: the map has the keys :owner and \"owner\""),
        "{error}"
    );
    assert_eq!(read(map("{:owner 1 \"client\" 2}")).unwrap().0.rows().len(), 1);
}

#[test]
fn the_line_of_every_operation_is_known() {
    let text = "[{:process 0, :type :invoke, :f :read}\n\n {:process 1\n :type :invoke, :f :read} {:process 0 :type :ok :f :read}\n]";
    let table = read(text).unwrap().0;
    let lines: Vec<_> = (0..4).map(|position| table.line(position)).collect();
    assert_eq!(lines, [Some(1), Some(3), Some(4), None]);
}

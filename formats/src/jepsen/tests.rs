//! The files in `tests/data/jepsen` were written by Jepsen's own store, see there.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::path::{Path, PathBuf};

use schism_history::{Builder, Outcome, Random, Table, ValueId, Values};

use super::blocks::Crc;
use super::fressian::{Decoder, Item};
use crate::clojure::Encoder;
use crate::{ImportError, Keys};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jepsen")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<(Table, Vec<String>), ImportError> {
    let (mut builder, mut notes) = (Builder::new(), Vec::new());
    super::read(bytes, &mut builder, Keys::Auto, &mut notes)?;
    Ok((builder.finish(), notes))
}

fn edn(bytes: &[u8]) -> (Table, Vec<String>) {
    let (mut builder, mut notes) = (Builder::new(), Vec::new());
    crate::edn::read(bytes, &mut builder, Keys::Auto, &mut notes).unwrap();
    (builder.finish(), notes)
}

/// All that a table says, a line an operation.
fn lines(table: &Table) -> Vec<String> {
    let show = |id: ValueId| if id.is_present() { table.values.show(id) } else { "-".into() };
    let line = |view: schism_history::View<'_>| {
        format!(
            "{} {:?} {} {} {} {} {:?} {:?} {:?} {} {} {:?}",
            view.index(),
            view.completion_index(),
            view.process(),
            view.f(),
            show(view.row.key),
            show(view.argument()),
            view.row.outcome,
            view.node(),
            view.error().map(show),
            view.row.invoke_time,
            view.row.complete_time,
            show(view.row.result),
        )
    };
    table.views().map(line).collect()
}

#[test]
fn binary_and_text_of_one_history_say_the_same() {
    for name in ["register", "txn"] {
        let (binary, notes) = read(&file(&format!("{name}.jepsen"))).unwrap();
        let (text, text_notes) = edn(&file(&format!("{name}.edn")));
        assert_eq!(lines(&binary), lines(&text), "{name}");
        assert_eq!(binary.events(), text.events(), "{name}");
        assert_eq!(notes, text_notes, "{name}");
        assert!(notes.is_empty() && binary.is_timed(), "{name}: {notes:?}");
    }
    let (register, _) = read(&file("register.jepsen")).unwrap();
    let of = |outcome| register.rows().iter().filter(|row| row.outcome == outcome).count();
    assert_eq!(register.events(), 120);
    assert!(of(Outcome::Ok) > 30 && of(Outcome::Fail) > 3 && of(Outcome::Unknown) > 3);
}

#[test]
fn values_of_all_kinds_are_the_same_in_both_notations() {
    let (binary, _) = read(&file("zoo.jepsen")).unwrap();
    let (text, _) = edn(&file("zoo.edn"));
    // These have no notation in Clojure: it prints their class and their place in memory.
    let objects = [
        (91, "\"2024-03-01T12:34:56.789Z\""),
        (92, "[1,2,300]"),
        (93, "[1,-2]"),
        (94, "[0,1,2.5]"),
        (95, "[0.5]"),
        (96, "[true,false]"),
        (97, "[1,\"x\",\":y\"]"),
        (98, "\"#bytes 0102ff\""),
        (99, &format!("\"#bytes {}\"", "00".repeat(100))),
        (101, "\"http://example.com/a\""),
        (105, "{\":x\":1}"),
    ];
    assert_eq!(binary.rows().len(), 110);
    for ((view, binary_line), text_line) in binary.views().zip(lines(&binary)).zip(lines(&text)) {
        match objects.iter().find(|(process, _)| *process == view.process()) {
            Some((_, value)) => {
                assert_eq!(view.values().show(view.argument()), *value);
                assert_eq!(view.argument(), view.row.result);
                assert_ne!(binary_line, text_line);
            }
            None => assert_eq!(binary_line, text_line),
        }
    }
}

#[test]
fn old_files_are_read() {
    let (old, notes) = read(&file("maps-0.jepsen")).unwrap();
    let (new, new_notes) = read(&file("maps-1.jepsen")).unwrap();
    assert_eq!((lines(&old), &notes), (lines(&new), &new_notes));
    assert_eq!(old.events(), 10);
    assert_eq!(
        lines(&old).iter().map(|line| line.replace(" - ", " ")).collect::<Vec<_>>(),
        [
            "0 Some(2) 0 write 3 Ok None None 5 5 \"3\"",
            "1 Some(3) 1 read null Ok None None 5 5 \"3\"",
            "5 Some(6) 0 cas [3,4] Fail None Some(\"\\\":no\\\"\") 5 5 \"[3,4]\"",
            "7 Some(8) 1 txn [[\"append\",1,2],[\"r\",1,null]] Unknown None \
             Some(\"{\\\":kind\\\":\\\":timeout\\\"}\") 5 5 \"[[\\\"append\\\",1,2],[\\\"r\\\",1,null]]\"",
        ]
    );
}

#[test]
fn the_complete_chunks_of_a_killed_run_are_read() {
    let (killed, notes) = read(&file("killed.jepsen")).unwrap();
    let (whole, _) = read(&file("register.jepsen")).unwrap();
    assert_eq!(killed.events(), 96);
    let (killed_lines, whole_lines) = (lines(&killed), lines(&whole));
    let mut compared = 0;
    for (row, line) in killed_lines.iter().enumerate() {
        // What was open at the end of the last chunk may have been completed later.
        if killed.rows()[row].completed != schism_history::table::OPEN {
            assert_eq!(*line, whole_lines[row]);
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
    assert!(notes.is_empty(), "{notes:?}");
    let mut more = file("killed.jepsen");
    more.extend([0; 40]);
    let (_, notes) = read(&more).unwrap();
    assert!(notes.iter().any(|note| note.starts_with("40 bytes at the end")), "{notes:?}");
}

#[test]
fn every_damaged_byte_is_noticed_or_harmless() {
    let whole = file("register.jepsen");
    let (table, _) = read(&whole).unwrap();
    let expected = lines(&table);
    let mut noticed = 0;
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (place % 8);
        match read(&damaged) {
            Ok((table, _)) => assert_eq!(lines(&table), expected, "byte {place}"),
            Err(ImportError::Binary { offset, .. }) => {
                assert!(offset <= whole.len() as u64, "byte {place}: {offset}");
                noticed += 1;
            }
            Err(other) => panic!("byte {place}: {other}"),
        }
    }
    assert!(noticed > 3000, "{noticed}");
    for end in 0..whole.len() {
        match read(&whole[..end]) {
            Ok((table, _)) => assert_eq!(lines(&table), expected, "cut at {end}"),
            Err(error) => assert!(matches!(error, ImportError::Binary { .. }), "cut at {end}: {error}"),
        }
    }
}

/// Behind a checksum that fits, anything can stand.
#[test]
fn random_values_never_panic() {
    let mut random = Random::new(7, "fressian");
    let streams: Vec<Vec<u8>> = ["zoo.jepsen", "register.jepsen"].map(file).into();
    let (mut good, mut bad) = (0, 0);
    for round in 0..100_000 {
        let whole = &streams[round % 2];
        let from = random.below(whole.len() as u64) as usize;
        let mut bytes = whole[from..(from + 200).min(whole.len())].to_vec();
        for _ in 0..random.below(4) {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.below(256) as u8;
        }
        let (mut values, mut encoder) = (Values::new(), Encoder::default());
        let mut decoder = Decoder::new(&bytes, 1000, &mut values, &mut encoder);
        while !decoder.is_done() {
            match decoder.item() {
                Ok(_) => good += 1,
                Err(ImportError::Binary { offset, .. }) => {
                    assert!((1000..=1200).contains(&offset));
                    bad += 1;
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(good > 100_000 && bad > 10_000, "{good} {bad}");
}

fn decode(bytes: &[u8]) -> Result<String, ImportError> {
    let (mut values, mut encoder) = (Values::new(), Encoder::default());
    match Decoder::new(bytes, 0, &mut values, &mut encoder).item()? {
        Item::Value(id, _) => Ok(values.show(id)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rare_codes_are_read() {
    // A text in pieces, the second of which begins within a character: é is c3 a9.
    assert_eq!(decode(b"\xe2\x02a\xc3\xe2\x01\xa9\xe3\x02bc").unwrap(), "\"aébc\"");
    assert_eq!(decode(b"\xe2\x01a\xdb\x62").unwrap(), "\"ab\"");
    // A character beyond 16 bits as two surrogates.
    assert_eq!(decode(b"\xe0\xed\xa0\xb4\xed\xb4\x9e").unwrap(), "\"𝄞\"");
    assert_eq!(decode(b"\xdd\xed\xa0\xb4").unwrap(), "\"\\\\ud834\"");
    // A list that ends with a mark, and caches forgotten in between.
    assert_eq!(decode(b"\xed\xcd\xdb\x78\x80\xfe\xcd\xdb\x79\x80\xfd").unwrap(), "[\"x\",\"x\",\"y\",\"y\"]");
    assert!(decode(b"\xe6\xcd\x01\xfe\x80").is_err());
    // An unknown tag with one component, used again by its number.
    assert_eq!(decode(b"\xe6\xef\xdcab\x01\x07\xa0\x08").unwrap(), "[7,8]");
    // A footer: its own magic, length and checksum.
    assert_eq!(decode(b"\xcf\xcf\xcf\xcf\0\0\0\x01\0\0\0\0\x05").unwrap(), "5");
    // A value that contains itself.
    assert!(decode(b"\xcd\xe5\x80").is_err());
}

#[test]
fn deep_and_shared_values_end() {
    let mut deep = vec![0xe5; 1_000_000];
    deep.push(0xf7);
    assert!(decode(&deep).is_err());
    // Each value holds the one before so many times.
    let nested = |levels: u64, times: usize| {
        let mut bytes = vec![0xed, 0xcd, 0x01];
        for level in 0..levels {
            let number = [0xcc, 0x50 + (level >> 8) as u8, level as u8];
            bytes.extend([0xcd, 0xe4 + times as u8]);
            bytes.extend(number.repeat(times));
        }
        bytes
    };
    let decode = |bytes: &[u8]| {
        let (mut values, mut encoder) = (Values::new(), Encoder::default());
        Decoder::new(bytes, 0, &mut values, &mut encoder).item().map(|_| ())
    };
    let problem = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    assert!(decode(&[nested(200, 1), vec![0xfd]].concat()).is_ok());
    assert!(problem(&[nested(300, 1), vec![0xfd]].concat()).contains("deep"));
    // 2^200 parts in all: they fit nowhere once they are written out.
    assert!(decode(&[nested(12, 2), vec![0xfd]].concat()).is_ok());
    assert!(problem(&[nested(200, 2), vec![0xfd]].concat()).contains("as large as the block"));
    // As the key of a map it would have to be written out at once.
    let key = [&nested(14, 2)[..], &[0xc0, 0xe6, 0xcc, 0x50, 14, 0x01, 0xfd]].concat();
    assert!(problem(&key).contains("key"));
}

#[test]
fn operations_within_operations_are_as_deep_as_they_are() {
    // Each operation is the value of the next one, by way of the cache.
    let nested = |levels: u64| {
        let mut bytes = vec![0xed];
        bytes.extend(b"\xcd\xef\xe3\x11jepsen.history.Op\x07\x00\x00\xf7\xf7\xf7\xf7\xf7");
        for level in 0..levels {
            bytes.extend(b"\xcd\xa0\x00\x00\xf7\xf7\xf7\xcc");
            bytes.extend([0x50 + (level >> 8) as u8, level as u8, 0xf7]);
        }
        bytes.push(0xfd);
        bytes
    };
    assert!(decode(&nested(100)).is_ok());
    assert!(decode(&nested(300)).unwrap_err().to_string().contains("deep"));
}

#[test]
fn a_ratio_is_of_integers() {
    assert_eq!(decode(b"\xef\xdfratio\x02\x03\x04").unwrap(), "\"'3/4\"");
    // Otherwise each level would quote the one below, and be twice as long.
    let mut nested = vec![0xef, 0xdf];
    nested.extend(b"ratio\x02");
    nested.extend([0xa0; 100]);
    nested.extend([0x01; 101]);
    nested.push(0x02);
    assert!(decode(&nested).unwrap_err().to_string().contains("ratio"));
}

#[test]
fn checksums_are_the_usual_ones() {
    let mut crc = Crc::default();
    crc.update(b"123456789");
    assert_eq!(crc.value(), 0xcbf4_3926);
}

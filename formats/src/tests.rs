//! Opening: compression, detection, keys, and input that nobody meant as a history.

use std::io::{Read as _, Write as _};

use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use schism_history::Random;

use super::*;

const REGISTER: &str = r#"{"index":0,"time":5,"process":0,"type":"invoke","f":"read","value":null,"node":"n1"}
{"index":1,"time":6,"process":"nemesis","type":"info","f":"kill","value":["n1"]}
{"index":2,"time":7,"process":1,"type":"invoke","f":"write","key":"x","value":[1,{"a":"\u00e9"}]}
{"index":3,"time":9,"process":0,"type":"ok","f":"read","value":3}
{"index":4,"time":9,"process":1,"type":"info","f":"write","error":"timeout"}
"#;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

fn parse(text: &str) -> Result<Import, ImportError> {
    parse_bytes(text.as_bytes(), &Options::default())
}

fn with_keys(text: &str, keys: Keys) -> Result<Import, ImportError> {
    parse_bytes(text.as_bytes(), &Options { keys, format: None })
}

fn told(import: &Import) -> Vec<String> {
    import.table.views().map(|view| format!("{view:?} {}", import.table.values.show(view.row.key))).collect()
}

#[test]
fn a_file_is_read_whatever_it_is_packed_in() {
    let folder = tempfile::tempdir().unwrap();
    let expected = told(&parse(REGISTER).unwrap());
    assert_eq!(expected, ["0 read null -> 3 null", "1 write [1,{\"a\":\"é\"}] Unknown \"x\""]);
    let marked = [detect::BYTE_ORDER_MARK, REGISTER.as_bytes()].concat();
    let packed = [
        REGISTER.as_bytes().to_vec(),
        gzip(REGISTER.as_bytes()),
        zstd(REGISTER.as_bytes()),
        gzip(&marked),
        marked,
    ];
    for (number, bytes) in packed.iter().enumerate() {
        let path = folder.path().join(number.to_string());
        std::fs::write(&path, bytes).unwrap();
        let import = open(&path, &Options::default()).unwrap();
        assert_eq!((import.format, told(&import)), (Format::Jsonl, expected.clone()), "{number}");
        assert_eq!(import.table.events(), 5);
        assert!(import.notes.is_empty() && import.table.is_timed(), "{:?}", import.notes);
    }
}

#[test]
fn a_packed_file_that_is_cut_short_is_read_up_to_the_cut_and_says_so() {
    let line = |n: u64| {
        format!("{{\"process\":{n},\"type\":\"invoke\",\"f\":\"w\",\"value\":{}}}\n", n * 7919 % 10_007)
    };
    let text: String = (0..5_000).map(line).collect();
    for bytes in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
        let import = parse_bytes(&bytes[..bytes.len() * 9 / 10], &Options::default()).unwrap();
        let count = import.table.rows().len();
        assert!(count < 5_000, "{count}");
        assert!(
            import.notes.iter().any(|note| note.contains("the compressed file was cut short")),
            "{:?}",
            import.notes
        );
        let whole = told(&parse(&text).unwrap());
        assert_eq!(told(&import), whole[..count]);
    }
    let bytes = gzip(text.as_bytes());
    let import = parse_bytes(&bytes[..bytes.len() * 9 / 10], &Options::default()).unwrap();
    assert!(import.table.rows().len() > 3_000, "{}", import.table.rows().len());
}

#[test]
fn an_unknown_file_is_an_error_that_shows_its_start_and_the_formats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page");
    std::fs::write(&path, "<html>").unwrap();
    let error = open(&path, &Options::default()).unwrap_err().to_string();
    let start = "this is no history in a known format: it starts with `<html>`";
    assert!(error.starts_with(start), "{error}");
    assert!(
        error.ends_with("the formats are `jsonl`, `edn`, `jepsen`, `jepsen-log`, `porcupine-kv`"),
        "{error}"
    );
    // Who names a format gets its errors.
    let forced = Options { format: Some(Format::Jsonl), ..Options::default() };
    let error = open(&path, &forced).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1, column 1: expected a JSON value: a string in double quotes, a number, true, false, null, an array or an object"
    );
    let error = open(&folder.path().join("none"), &forced).unwrap_err().to_string();
    assert!(error.contains("none: ") && error.starts_with("cannot read the history: "), "{error}");
    let mut damaged = gzip(REGISTER.as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    let error = parse_bytes(&damaged, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("the input: the gzip data is damaged"), "{error}");
}

/// A history that does not fit into what a decompressor hands over at once.
fn long_register() -> String {
    let mut text = String::new();
    let mut random = Random::new(9, "long");
    for value in 0..20_000 {
        for kind in ["invoke", "ok"] {
            let noise = random.below(1 << 40);
            text.push_str(&format!(
                "{{\"process\":0,\"type\":\"{kind}\",\"f\":\"write\",\"value\":{value},\"noise\":{noise}}}\n"
            ));
        }
    }
    text
}

#[test]
fn damaged_compression_is_said_before_what_is_wrong_with_the_text() {
    let whole = gzip(long_register().as_bytes());
    let mut random = Random::new(4, "damage");
    for _ in 0..60 {
        let mut damaged = whole.clone();
        let place = 20 + random.below(damaged.len() as u64 - 30) as usize;
        damaged[place] ^= 1 << random.below(8);
        let error = parse_bytes(&damaged, &Options::default()).unwrap_err().to_string();
        let start = "cannot read the history: the input: the gzip data is damaged, at or before byte ";
        let rest = error.strip_prefix(start).unwrap_or_else(|| panic!("byte {place}: {error}"));
        let offset: usize = rest.split(' ').next().unwrap().parse().unwrap();
        assert!((place..=damaged.len()).contains(&offset), "byte {place}: {error}");
    }
}

#[test]
fn a_mistake_in_compressed_text_stays_one_and_a_cut_is_said_with_it() {
    let wrong = long_register().replacen("write", "wr\u{1}te", 1);
    for whole in [gzip(wrong.as_bytes()), zstd(wrong.as_bytes())] {
        let error = parse_bytes(&whole, &Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("line 1, column ") && !error.contains("cut"), "{error}");
        let error = parse_bytes(&whole[..whole.len() - 20], &Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("line 1, column ") && error.contains("also cut short"), "{error}");
    }
}

#[test]
fn a_small_file_that_decompresses_to_one_endless_line_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(b' ').take(9 << 20), &mut encoder).unwrap();
    let bytes = encoder.finish().unwrap();
    for format in [Format::Jsonl, Format::Edn] {
        let error =
            parse_bytes(&bytes, &Options { format: Some(format), keys: Keys::Auto }).unwrap_err().to_string();
        assert!(error.starts_with("line 1, column 1: this line is longer than 8 MiB"), "{error}");
    }
}

#[test]
fn tuples_around_named_values_of_a_compare_and_set_are_found() {
    let text = r#"{"process":0,"type":"invoke","f":"cas","value":["k",{"old":1,"new":2}]}
{"process":0,"type":"ok","f":"cas","value":["k",{"old":1,"new":2}]}
"#;
    let import = with_keys(text, Keys::Auto).unwrap();
    let argument = import.table.values.to_json(import.table.rows()[0].argument);
    assert_eq!(argument, serde_json::json!({"old": 1, "new": 2}));
    assert_eq!(import.table.values.show(import.table.rows()[0].key), "\"k\"");
    let plain = text.replace(r#"["k",{"old":1,"new":2}]"#, "[1,2]");
    assert!(!with_keys(&plain, Keys::Auto).unwrap().table.rows()[0].key.is_present());
}

#[test]
fn an_empty_file_is_an_empty_history() {
    for bytes in [Vec::new(), b"\n \n".to_vec(), gzip(b""), zstd(b"")] {
        let import = parse_bytes(&bytes, &Options::default()).unwrap();
        assert_eq!((import.format, import.table.events(), import.notes.len()), (Format::Jsonl, 0, 0));
    }
}

#[test]
fn keys_come_from_the_field_from_tuples_or_from_nowhere() {
    let tuples = r#"{"process":0,"type":"invoke","f":"read","value":[4,null]}
{"process":0,"type":"ok","f":"read","value":[4,5]}
{"process":1,"type":"invoke","f":"write","value":["k",6]}
"#;
    let split = ["0 read null -> 5 4", "1 write 6 Unknown \"k\""];
    let auto = with_keys(tuples, Keys::Auto).unwrap();
    assert_eq!(told(&auto), split);
    assert!(auto.notes.iter().any(|note| note.contains("pair [key, value]")), "{:?}", auto.notes);
    assert_eq!(told(&with_keys(tuples, Keys::Tuple).unwrap()), split);
    let whole = ["0 read [4,null] -> [4,5] null", "1 write [\"k\",6] Unknown null"];
    assert_eq!(told(&with_keys(tuples, Keys::Field).unwrap()), whole);
    assert_eq!(told(&with_keys(tuples, Keys::None).unwrap()), whole);

    assert_eq!(told(&with_keys(REGISTER, Keys::Field).unwrap()), told(&parse(REGISTER).unwrap()));
    assert!(told(&with_keys(REGISTER, Keys::None).unwrap())[1].ends_with("Unknown null"));
    let error = with_keys(REGISTER, Keys::Tuple).unwrap_err().to_string();
    assert_eq!(error, "line 1: event 0: read has the value null, which is not a pair [key, value]");
}

/// Changes a few bytes, or cuts the rest off.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let place = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(8) {
            0 => bytes.truncate(place),
            1 | 2 => bytes.insert(place, random.next_u64() as u8),
            _ if place == bytes.len() => {}
            3 | 4 => {
                bytes.remove(place);
            }
            5 => bytes[place] = random.next_u64() as u8,
            _ => bytes[place] ^= 1 << random.below(8),
        }
    }
}

/// One valid file of each kind.
fn seeds() -> Vec<Vec<u8>> {
    let edn = "[{:process 0, :type :invoke, :f :read, :value nil, :index 0}\n\
               {:process 0, :type :ok, :f :read, :value #{1 \"a\" 2.5}, :index 1}]\n";
    let kv = "{:process 0, :type :invoke, :f :put, :key \"0\", :value \"x\"}\n\
              {:process 0, :type :ok, :f :put, :key \"0\", :value \"x\"}\n";
    let log = "INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 0\t:ok\t:cas\t[1 2]\n";
    vec![
        REGISTER.as_bytes().to_vec(),
        gzip(REGISTER.as_bytes()),
        zstd(REGISTER.as_bytes()),
        edn.as_bytes().to_vec(),
        kv.as_bytes().to_vec(),
        log.as_bytes().to_vec(),
        b"JEPSEN\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec(),
    ]
}

#[test]
fn no_input_makes_a_reader_panic() {
    let mut random = Random::new(5, "no panic");
    let seeds = seeds();
    let mut fine = 0;
    for round in 0..100_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        let forced = (random.below(10) == 0).then(|| *random.pick(&Format::ALL).unwrap());
        let keys = [Keys::Auto, Keys::Field, Keys::Tuple, Keys::None][random.below(4) as usize];
        fine += usize::from(parse_bytes(&bytes, &Options { format: forced, keys }).is_ok());
    }
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.next_u64() as u8).collect();
        let forced = random.pick(&Format::ALL).copied();
        let _ = parse_bytes(&bytes, &Options { format: forced, keys: Keys::Auto });
    }
    assert!(fine > 1_000, "{fine}");
}

#[test]
fn every_file_of_other_tools_is_recognized() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let named = std::env::var_os("SCHISM_TEST_DATA").map(std::path::PathBuf::from);
    let Some(data) = std::iter::once(beside).chain(named).find(|data| data.is_dir()) else {
        eprintln!("SKIPPED: there is no ../shared/data; SCHISM_TEST_DATA can name another place");
        return;
    };
    for (folder, ending, format, count) in [
        ("porcupine/jepsen", "log", Format::JepsenLog, 102),
        ("porcupine/kv", "txt", Format::PorcupineKv, 6),
        ("knossos/cas-register/good", "edn", Format::Edn, 113),
        ("knossos/mutex/bad", "edn", Format::Edn, 1),
        ("elle", "edn", Format::Edn, 3),
        ("hard", "jsonl", Format::Jsonl, 1),
    ] {
        let mut found = 0;
        for entry in std::fs::read_dir(data.join(folder)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != ending) {
                continue;
            }
            found += 1;
            let name = file.display();
            let import = open(&file, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!import.notes.iter().any(|note| note.contains("pair")), "{name}: {:?}", import.notes);
            // One of the logs is empty.
            if std::fs::metadata(&file).unwrap().len() > 0 {
                assert_eq!(import.format, format, "{name}");
                assert!(import.table.events() > 0, "{name}");
            }
        }
        assert!(found >= count, "{folder}: {found}");
    }
}

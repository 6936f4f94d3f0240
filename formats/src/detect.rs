//! Which format a history is written in, by how it starts.

use crate::Format;

/// What UTF-8 files of some systems start with.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The format of a file that starts with these bytes. An empty file is an empty history of our own.
pub(crate) fn detect(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"JEPSEN") {
        return Some(Format::Jepsen);
    }
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    match text {
        [] => Some(Format::Jsonl),
        // What a machine that lost power may leave of our own file.
        [0, ..] if text.iter().all(|byte| *byte == 0) => Some(Format::Jsonl),
        // A torn first line.
        [b'{'] => Some(Format::Jsonl),
        [b'{', rest @ ..] if matches!(rest.trim_ascii_start(), [] | [b'"' | b'}', ..]) => Some(Format::Jsonl),
        [b';' | b'#', ..] => Some(Format::Edn),
        [b'{', ..] => edn(text),
        [b'[' | b'(', rest @ ..] => match rest.trim_ascii_start() {
            rest @ [b'{', ..] => edn(rest),
            [b';' | b'#' | b']' | b')', ..] => Some(Format::Edn),
            _ => None,
        },
        _ => log(text),
    }
}

/// Of a text that starts with a brace: Clojure's maps have keywords for names.
fn edn(map: &[u8]) -> Option<Format> {
    if map.get(1..)?.trim_ascii_start().first() != Some(&b':') {
        return None;
    }
    let line = map.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Some(if is_porcupine(line) { Format::PorcupineKv } else { Format::Edn })
}

/// Exactly the fields of those files, and in their order: with a time or an index, or a key that is no text, it is somebody
/// else's history, in which absent keys need not read as the empty text.
fn is_porcupine(line: &[u8]) -> bool {
    let Ok(mut rest) = std::str::from_utf8(line) else { return false };
    for name in ["{:process ", ", :type :", ", :f :", ", :key \"", "\", :value "] {
        let Some((before, after)) = rest.split_once(name) else { return false };
        if before.contains([':', ',', '{', '"']) {
            return false;
        }
        rest = after;
    }
    rest.trim_end().strip_suffix('}').is_some_and(|value| value == "nil" || value.starts_with('"'))
}

/// The logs start with whatever Jepsen said first.
fn log(text: &[u8]) -> Option<Format> {
    let after = |line: &[u8], logger: &[u8]| {
        let at = line.windows(logger.len()).position(|window| window == logger)?;
        line[at + logger.len()..].contains(&b':').then_some(())
    };
    let is_operation =
        |line: &[u8]| after(line, b"jepsen.util - ").or_else(|| after(line, b"jepsen.util: ")).is_some();
    text.split(|byte| *byte == b'\n').any(is_operation).then_some(Format::JepsenLog)
}

/// How a file that nobody knows starts, for a person, and what may help.
pub(crate) fn describe(head: &[u8]) -> String {
    const SHOWN: usize = 40;
    let start: String = head.escape_ascii().take(SHOWN).map(char::from).collect();
    let more = if head.escape_ascii().nth(SHOWN).is_some() { "…" } else { "" };
    let names: Vec<String> = Format::ALL.iter().map(|format| format!("`{format}`")).collect();
    let list = head.trim_ascii_start().starts_with(b"[");
    let hint = if list { "; a JSON list must be one object a line (`jq -c '.[]'`)" } else { "" };
    let wide = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    let hint =
        if wide { "; it seems to be UTF-16, but must be UTF-8 (`iconv -f UTF-16 -t UTF-8`)" } else { hint };
    format!("it starts with `{start}{more}`; the formats are {}{hint}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_start() {
        for (head, format) in [
            ("", Some(Format::Jsonl)),
            ("\n\n", Some(Format::Jsonl)),
            ("\0\0\0", Some(Format::Jsonl)),
            ("{", Some(Format::Jsonl)),
            ("{\"index\":0", Some(Format::Jsonl)),
            ("\u{feff}\r\n { \"process\": 1", Some(Format::Jsonl)),
            ("{:type :invoke, :f :read}", Some(Format::Edn)),
            ("{ :process 0, :type :invoke, :f :append, :value [1 2]}", Some(Format::Edn)),
            ("[{:type :invoke}]", Some(Format::Edn)),
            ("({:type :invoke})", Some(Format::Edn)),
            ("; a comment\n[{:type :invoke}]", Some(Format::Edn)),
            ("[ ; a comment\n{:type :invoke}]", Some(Format::Edn)),
            ("#jepsen.history.Op{:index 0", Some(Format::Edn)),
            ("[#jepsen.history.Op{:index 0", Some(Format::Edn)),
            ("{:process 0, :type :invoke, :f :get, :key \"7\", :value nil}\n", Some(Format::PorcupineKv)),
            (
                "{:process 0, :type :invoke, :f :append, :key \"7\", :value \"x, :y\"}",
                Some(Format::PorcupineKv),
            ),
            ("{:process 0, :type :invoke, :f :get, :key \"7\", :value nil, :time 1}\n", Some(Format::Edn)),
            ("{:index 0, :process 0, :type :invoke, :f :get, :key \"7\", :value nil}\n", Some(Format::Edn)),
            ("{:process 0, :type :invoke, :f :get, :value nil, :key \"7\"}\n", Some(Format::Edn)),
            ("{:process 0, :type :invoke, :f :get, :key 7, :value nil}\n", Some(Format::Edn)),
            ("{:process 0, :type :invoke, :f :put, :key \"7\", :value 1}\n", Some(Format::Edn)),
            ("JEPSEN\0\0\0\u{1}", Some(Format::Jepsen)),
            ("INFO  jepsen.util - 0\t:invoke\t:read\tnil\n", Some(Format::JepsenLog)),
            ("WARN  something else\nINFO  jepsen.util - 0\t:invoke\t:read\tnil\n", Some(Format::JepsenLog)),
            (
                "INFO [2020-01-01] jepsen worker 1 - jepsen.util: 0\t:invoke\t:read\tnil\n",
                Some(Format::JepsenLog),
            ),
            ("[{\"index\":0}]", None),
            ("[1, 2]", None),
            ("[]", Some(Format::Edn)),
            ("hello", None),
            ("<html>", None),
            ("process,type,f\n", None),
            ("\0\0x", None),
        ] {
            assert_eq!(detect(head.as_bytes()), format, "{head:?}");
        }
    }

    #[test]
    fn an_unknown_start_is_shown() {
        let said = describe(b"<html>\n<body>\xff and so on, and so on, and so on");
        assert!(said.starts_with("it starts with `<html>\\n<body>\\xff and so on, and so on,…`"), "{said}");
        assert!(said.contains("`jsonl`, `edn`, `jepsen`, `jepsen-log`, `porcupine-kv`"), "{said}");
        assert!(describe(b"[{\"a\":1}]").contains("jq"));
        assert!(describe(b"\xff\xfe{\0").contains("UTF-16") && !describe(b"hello").contains("UTF-16"));
    }
}

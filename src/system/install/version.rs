//! Versions: what a program prints, what a package has, what a person wants.

use std::cmp::Ordering;

/// The first thing in a text that looks like a version: digits, a point, digits, and whatever follows without a space.
pub fn extract(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || ",;()\"'=".contains(c)).find_map(|word| {
        let start = word.find(|c: char| c.is_ascii_digit())?;
        // At most a letter or two before it: `v3.4` is a version, `sha256.1` is not.
        if start > 1 || !word[..start].chars().all(|c| c.is_ascii_alphabetic()) {
            return None;
        }
        let version = word[start..].trim_end_matches(['.', ':']);
        let (major, rest) = version.split_once('.')?;
        let numbers =
            major.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with(|c: char| c.is_ascii_digit());
        numbers.then(|| version.to_owned())
    })
}

/// Whether `version` is what `wanted` asks for: the same, or a prefix of it that ends where a number ends.
pub fn matches(version: &str, wanted: &str) -> bool {
    let wanted = wanted.trim().trim_start_matches('v');
    let version = version.trim_start_matches('v');
    let fits = |version: &str| {
        version
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    !wanted.is_empty() && (fits(version) || fits(upstream(version)))
}

/// A Debian version without its epoch.
fn upstream(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// A Debian version without epoch and revision, for people.
pub(super) fn plain(version: &str) -> &str {
    let version = upstream(version);
    version.rsplit_once('-').map_or(version, |(version, _)| version)
}

/// Which of two versions is newer: runs of digits as numbers, everything else as text. Good enough to prefer one of those
/// in a cache; what is on offer comes in order from apt.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (pieces(one), pieces(other));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => match one.cmp(&other) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

/// Alternating text and numbers, the number padded so that it compares as one.
fn pieces(version: &str) -> impl Iterator<Item = (String, u128)> {
    let mut rest = upstream(version);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(end);
        rest = tail;
        Some((text.to_owned(), number.parse().unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_version_in_what_programs_print() {
        for (text, expected) in [
            ("etcd Version: 3.4.23\nGit SHA: Not provided\nGo Version: go1.19.8", Some("3.4.23")),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", Some("7.0.15")),
            ("Consul v1.8.7+dfsg1", Some("1.8.7+dfsg1")),
            ("postgres (PostgreSQL) 15.6 (Debian 15.6-0+deb12u1)", Some("15.6")),
            ("no version here, sha256.1 neither", None),
            ("", None),
        ] {
            assert_eq!(extract(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_prefix_asks_for_whole_numbers() {
        for (version, wanted, expected) in [
            ("3.4.23", "3.4", true),
            ("3.4.23", "3", true),
            ("3.4.23", "3.4.23", true),
            ("3.4.23", "3.4.2", false),
            ("3.40.1", "3.4", false),
            ("3.4.23-4+b4", "3.4.23-4+b4", true),
            ("1:7.0.1-2", "7.0", true),
            ("3.4.23", "v3.4", true),
            ("3.4.23", "", false),
            ("3.5.1", "3.4", false),
        ] {
            assert_eq!(matches(version, wanted), expected, "{version} for {wanted}");
        }
        assert_eq!(plain("1:3.4.23-4+b4"), "3.4.23");
        assert_eq!(plain("3.4"), "3.4");
    }

    #[test]
    fn newer_is_greater() {
        for (older, newer) in
            [("3.4.9-1", "3.4.23-1"), ("3.4", "3.4.1"), ("3.4.23-4", "3.4.23-4+b4"), ("9.0", "10.0")]
        {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
        }
        assert_eq!(compare("3.4.23-4", "3.4.23-4"), Ordering::Equal);
    }
}

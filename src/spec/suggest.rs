//! The nearest valid name to one that is not.

/// The name among `known` that `name` was most likely meant to be; `None` when none is close.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let wanted = plain(name);
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let likeness = strsim::normalized_damerau_levenshtein(&wanted, &plain(candidate));
        // Of equals the first wins, so that the answer does not depend on anything but the order given.
        if likeness >= 0.5 && best.is_none_or(|(so_far, _)| likeness > so_far) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_the_rest_alone() {
        let known = ["name", "system", "cluster", "workload", "nemesis", "time-limit", "seed"];
        for (name, expected) in [
            ("tim-limit", Some("time-limit")),
            ("time_limit", Some("time-limit")),
            ("TimeLimit", Some("time-limit")),
            ("nemsis", Some("nemesis")),
            ("sede", Some("seed")),
            ("bananas", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        assert_eq!(nearest("x", &[]), None);
    }
}

//! Which Linux this is.

/// Major and minor version of the running kernel, when it says so in the usual form.
pub fn release() -> Option<(u32, u32)> {
    parse(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_release_strings() {
        for (text, release) in
            [("6.18.44-fc-v657\n", Some((6, 18))), ("5.4.0-1.el8", Some((5, 4))), ("6-rc1", None), ("", None)]
        {
            assert_eq!(parse(text), release, "{text}");
        }
        assert!(super::release().is_some());
    }
}

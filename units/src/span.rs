//! Durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::UnitError;

/// A duration such as `250ms`, `10s`, `1m 30s` or `2h`. A bare number is refused: it has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

crate::textual!(
    Span,
    "duration",
    "A duration with its unit: 250ms, 10s, 1m 30s, 2h.",
    r"^\s*([0-9]+(\.[0-9]+)?\s*(ns|us|µs|ms|s|m|h)\s*)+$"
);

impl Span {
    /// Whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Nanoseconds, saturating after 584 years.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `factor`, exactly, digits below a nanosecond dropped.
fn scale(number: &str, factor: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut total = whole.parse::<u128>().ok()?.saturating_mul(u128::from(factor));
    let mut place = u128::from(factor);
    for digit in fraction.chars() {
        place /= 10;
        total = total.saturating_add(u128::from(digit.to_digit(10)?) * place);
    }
    Some(total)
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected = || {
            UnitError(format!(
                "`{text}` is not a duration; write a number and a unit, like 250ms, 10s or 1m 30s"
            ))
        };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(expected());
        }
        let mut nanos = 0_u128;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number = &rest[..digits];
            if number.is_empty() {
                return Err(expected());
            }
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
            let unit = &rest[..letters];
            if unit.is_empty() {
                return Err(UnitError(format!(
                    "`{text}` has no unit; write {text}s for seconds or {text}ms for milliseconds"
                )));
            }
            let Some(factor) = unit_nanos(unit) else {
                return Err(UnitError(format!("`{text}`: unknown unit `{unit}`; use ns, us, ms, s, m or h")));
            };
            nanos = nanos.saturating_add(scale(number, factor).ok_or_else(expected)?);
            rest = rest[letters..].trim_start();
        }
        match u64::try_from(nanos) {
            Ok(nanos) => Ok(Self(Duration::from_nanos(nanos))),
            Err(_) => Err(UnitError(format!("`{text}` is longer than 584 years"))),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let mut rest = nanos;
        let mut first = true;
        for (unit, size) in [
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ] {
            let count = rest / size;
            rest %= size;
            if count > 0 {
                write!(f, "{}{count}{unit}", if first { "" } else { " " })?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            (" 2h ", 7_200_000),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span::millis(millis)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("10", "no unit"),
            ("10x", "unknown unit `x`"),
            ("", "not a duration"),
            ("s", "not a duration"),
            ("-1s", "not a duration"),
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn prints_back_what_it_read(nanos in any::<u64>()) {
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }
}

//! Rates.

use std::fmt;
use std::str::FromStr;

use crate::UnitError;

/// Operations per time, such as `1000/s`, `50/m` or `0.5/s`. Kept per second; always above zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

crate::textual!(
    Rate,
    "rate",
    "A rate with its unit: 1000/s, 50/m.",
    r"^\s*[0-9]+(\.[0-9]+)?\s*/\s*(s|m|h)\s*$"
);

impl Rate {
    /// A rate per second; `None` unless finite and above zero.
    pub fn new(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then_some(Self(per_second))
    }

    /// This many a second, for defaults; at least one.
    pub const fn whole(per_second: u32) -> Self {
        Self(if per_second == 0 { 1.0 } else { per_second as f64 })
    }

    /// Operations a second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected =
            || UnitError(format!("`{text}` is not a rate; write a number per time, like 1000/s or 50/m"));
        let (number, unit) = text.trim().split_once('/').ok_or_else(expected)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => return Err(UnitError(format!("`{text}`: unknown unit `/{other}`; use /s, /m or /h"))),
        };
        let number: f64 = number.trim().parse().map_err(|_| expected())?;
        Self::new(number / seconds).ok_or_else(|| UnitError(format!("`{text}`: a rate must be above zero")))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, per_second) in [("1000/s", 1000.0), ("60/m", 1.0), ("0.5/s", 0.5), ("3600 / h", 1.0)] {
            assert_eq!(text.parse::<Rate>().map(Rate::per_second), Ok(per_second), "{text}");
        }
        for (text, part) in [
            ("1000", "not a rate"),
            ("0/s", "above zero"),
            ("5/d", "unknown unit `/d`"),
            ("x/s", "not a rate"),
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

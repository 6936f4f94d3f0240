//! Amounts of data.

use std::fmt;
use std::str::FromStr;

use crate::UnitError;

/// A number of bytes such as `64KiB`, `1GiB` or `500MB`. A bare number is refused: it has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

crate::textual!(
    Size,
    "size",
    "An amount of data with its unit: 64KiB, 1GiB, 500MB.",
    r"^\s*[0-9]+\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$"
);

/// The units, largest first within each family; printing takes the first that divides evenly.
const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Size {
    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
        if number.is_empty() {
            return Err(UnitError(format!(
                "`{text}` is not an amount of data; write a whole number and a unit, like 64KiB or 1GiB"
            )));
        }
        if unit.is_empty() {
            return Err(UnitError(format!("`{text}` has no unit; write {text}MiB, {text}GiB or {text}B")));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(UnitError(format!(
                "`{text}`: unknown unit `{unit}`; use B, kB, MB, GB, KiB, MiB or GiB"
            )));
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        bytes.map(Self).ok_or_else(|| UnitError(format!("`{text}` is more than 16 EiB")))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0 % factor == 0);
        let (name, factor) = unit.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in
            [("1GiB", 1 << 30), (" 64 KiB ", 65536), ("500MB", 500_000_000), ("0B", 0), ("3kB", 3000)]
        {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        for (text, part) in [
            ("1024", "no unit"),
            ("1GIB", "unknown unit `GIB`"),
            ("1.5GiB", "unknown unit"),
            ("", "not an amount"),
            ("99999999999999999999GiB", "16 EiB"),
            ("99999999TiB", "16 EiB"),
        ] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn prints_back_what_it_read(bytes in any::<u64>(), shift in 0_u32..41) {
            let size = Size(bytes >> shift << shift);
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }
    }
}

//! The core schema of YAML 1.2: what a plain scalar means. `no` and `on` are text, `0644` is 644, `0o644` is 420.

use serde_json::Number;

/// The meaning of a plain scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text,
}

/// Resolves a plain scalar.
///
/// # Errors
/// It is a number that no JSON number can stand for.
pub(super) fn resolve(text: &str) -> Result<Scalar, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Scalar::Null),
        "true" | "True" | "TRUE" => return Ok(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Scalar::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(format!("`{text}` is not a number that can be used here")),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(format!("`{text}` is not a number that can be used here"));
    }
    let integer = if let Some(digits) = text.strip_prefix("0x") {
        is_all(digits, |c| c.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).map(Number::from))
    } else if let Some(digits) = text.strip_prefix("0o") {
        is_all(digits, |c| c.is_digit(8)).then(|| u64::from_str_radix(digits, 8).map(Number::from))
    } else if is_all(unsigned, |c| c.is_ascii_digit()) {
        Some(if text.starts_with('-') {
            text.parse::<i64>().map(Number::from)
        } else {
            unsigned.parse::<u64>().map(Number::from)
        })
    } else {
        None
    };
    if let Some(integer) = integer {
        return integer.map(Scalar::Number).map_err(|_| format!("`{text}` does not fit into 64 bits"));
    }
    if is_float(unsigned) {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite()).and_then(Number::from_f64);
        return number.map(Scalar::Number).ok_or_else(|| format!("`{text}` is too large a number"));
    }
    Ok(Scalar::Text)
}

fn is_all(text: &str, test: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(test)
}

/// `[0-9]* ( . [0-9]* )? ( [eE] [-+]? [0-9]+ )?` with at least one digit before the exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let exponent = exponent.is_none_or(|exponent| {
        is_all(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), |c| c.is_ascii_digit())
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_the_core_schema_does() {
        for (text, number) in [
            ("0", Number::from(0)),
            ("-7", Number::from(-7)),
            ("+7", Number::from(7)),
            ("0644", Number::from(644)),
            ("0o644", Number::from(420)),
            ("0xff", Number::from(255)),
            ("18446744073709551615", Number::from(u64::MAX)),
            ("1.5", Number::from_f64(1.5).unwrap()),
            ("-.5", Number::from_f64(-0.5).unwrap()),
            ("1e3", Number::from_f64(1000.0).unwrap()),
        ] {
            assert_eq!(resolve(text), Ok(Scalar::Number(number)), "{text}");
        }
        for text in [
            "no", "on", "yes", "1/s", "2n", "10s", ".", "-", "+", "e5", "1e", "0x", "1_000", "n1", "1.2.3",
            "--1",
        ] {
            assert_eq!(resolve(text), Ok(Scalar::Text), "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(resolve(text), Ok(Scalar::Null), "{text}");
        }
        assert_eq!(resolve("True"), Ok(Scalar::Bool(true)));
        for text in [
            "18446744073709551616",
            "-9223372036854775809",
            ".inf",
            "-.inf",
            ".nan",
            "1e999",
            "0xfffffffffffffffff",
        ] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}

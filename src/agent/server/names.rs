//! Names that others choose, as file names.

/// A file name's length before the suffix.
const LEN_MAX: usize = 150;

/// A file name that stands for `name` alone: bytes outside `[A-Za-z0-9_-]` as `%xx`. It cannot leave its directory and
/// holds no dot, so it never meets a temporary file or a suffix.
///
/// # Errors
/// It is empty or too long: a sentence.
pub fn file_name(name: &str) -> Result<String, String> {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    if encoded.is_empty() || encoded.len() > LEN_MAX {
        return Err(format!("`{name}` cannot be a name: it has to have 1 to {LEN_MAX} plain characters"));
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stay_in_their_directory_and_apart() {
        assert_eq!(file_name("etcd-1").unwrap(), "etcd-1");
        assert_eq!(file_name("../x.json").unwrap(), "%2e%2e%2fx%2ejson");
        assert_ne!(file_name("%2e").unwrap(), file_name(".").unwrap());
        assert!(file_name("").is_err());
        assert!(file_name(&"x".repeat(151)).is_err());
    }
}

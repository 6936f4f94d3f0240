//! The files of known hosts, as OpenSSH writes them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

/// A file of known hosts that is longer is none.
const FILE_LEN_MAX: u64 = 64 << 20;

/// What is known of a host: the entries with its name.
#[derive(Debug, Default)]
pub(super) struct Known {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: PublicKey,
    revoked: bool,
    file: PathBuf,
    /// From 1.
    line: usize,
}

/// What the entries say about a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// It is the host's.
    Right,
    /// Nothing is known of the host.
    Unknown,
    /// The host has others. The place of one, for people.
    Changed(String),
    /// It is marked as revoked. Where.
    Revoked(String),
}

impl Known {
    /// Reads the entries of a host from files; those that are not there have none.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(super) fn read(files: &[PathBuf], host: &str) -> io::Result<Self> {
        let mut known = Self::default();
        for file in files {
            let text = match File::open(file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display())));
                }
                Ok(opened) => {
                    let mut text = Vec::new();
                    opened.take(FILE_LEN_MAX).read_to_end(&mut text)?;
                    String::from_utf8_lossy(&text).into_owned()
                }
            };
            known.add(&text, file, host);
        }
        Ok(known)
    }

    fn add(&mut self, text: &str, file: &Path, host: &str) {
        for (index, line) in text.lines().enumerate() {
            let mut fields = line.split_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let (Some(hosts), Some(kind), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            // An authority vouches for certificates, which we do not ask for.
            if hosts.starts_with('#')
                || marker.is_some_and(|marker| marker != "@revoked")
                || !names(hosts, host)
            {
                continue;
            }
            if let Ok(key) = PublicKey::from_openssh(&format!("{kind} {key}")) {
                self.entries.push(Entry {
                    key,
                    revoked: marker.is_some(),
                    file: file.to_owned(),
                    line: index + 1,
                });
            }
        }
    }

    /// What they say about this key.
    pub(super) fn opinion(&self, key: &PublicKey) -> Opinion {
        let place = |entry: &Entry| format!("{}:{}", entry.file.display(), entry.line);
        let same = |entry: &&Entry| entry.key.key_data() == key.key_data();
        if let Some(entry) = self.entries.iter().filter(same).find(|entry| entry.revoked) {
            return Opinion::Revoked(place(entry));
        }
        if self.entries.iter().any(|entry| same(&entry)) {
            return Opinion::Right;
        }
        // A key of another kind is no less a stranger: whoever is in between would show just that.
        let mut others = self.entries.iter().filter(|entry| !entry.revoked);
        let alike = others.clone().find(|entry| entry.key.algorithm() == key.algorithm());
        match alike.or_else(|| others.next()) {
            Some(entry) => Opinion::Changed(place(entry)),
            None => Opinion::Unknown,
        }
    }

    /// The kinds of keys known, so that the server is asked for one of those first.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        self.entries.iter().filter(|entry| !entry.revoked).map(|entry| entry.key.algorithm()).collect()
    }
}

/// The name under which a host's key is known.
pub(super) fn name_of(host: &str, port: u16, alias: Option<&str>) -> String {
    match alias {
        Some(alias) => alias.to_lowercase(),
        None if port == 22 => host.to_lowercase(),
        None => format!("[{}]:{port}", host.to_lowercase()),
    }
}

/// Whether a list of patterns names the host.
fn names(patterns: &str, host: &str) -> bool {
    if let Some(hashed) = patterns.strip_prefix("|1|") {
        return is_hash_of(hashed, host);
    }
    let mut named = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if matches(not.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => named |= matches(pattern.to_lowercase().as_bytes(), host.as_bytes()),
        }
    }
    named
}

/// `salt|hash`, both base64: HMAC-SHA1 of the name.
fn is_hash_of(hashed: &str, host: &str) -> bool {
    let decoded = hashed
        .split_once('|')
        .and_then(|(salt, hash)| Some((BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?)));
    let Some((salt, hash)) = decoded else { return false };
    Hmac::<Sha1>::new_from_slice(&salt).is_ok_and(|hmac| hmac.chain_update(host).verify_slice(&hash).is_ok())
}

/// `*` is any text, `?` any one character.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how far it reaches.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    t = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Writes a key down as this host's, in the file and, where need be, the directory for it.
///
/// # Errors
/// The file system refused.
pub(super) fn record(file: &Path, host: &str, key: &PublicKey) -> io::Result<()> {
    // Several nodes may be new at the same time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parent) = file.parent().filter(|parent| !parent.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut line = String::new();
    if opened.metadata()?.len() > 0 {
        let mut last = [0];
        opened.seek(SeekFrom::End(-1))?;
        opened.read_exact(&mut last)?;
        if last != *b"\n" {
            line.push('\n');
        }
    }
    let mut key = key.clone();
    key.set_comment("");
    let key = key.to_openssh().map_err(io::Error::other)?;
    line.push_str(&format!("{host} {}\n", key.trim_end()));
    opened.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILeS4VRVREq1Gp08Wv56nHieTzXZaI3kAjL64vONDkrV";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIjQamAAuuWiVFDfoJnzkCsuE6bBbmkCX08vhO++vZY7";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn opinion(text: &str, host: &str) -> Opinion {
        let mut known = Known::default();
        known.add(text, Path::new("f"), host);
        known.opinion(&key(ONE))
    }

    #[test]
    fn every_way_to_name_a_host_counts() {
        // As `ssh-keygen -H` writes it.
        let hashed = {
            let salt = b"01234567890123456789";
            let hash = Hmac::<Sha1>::new_from_slice(salt).unwrap().chain_update("n1").finalize().into_bytes();
            format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(hash))
        };
        for hosts in ["n1", "a,n1,b", "N1", "n*", "?1", "*,!n2", hashed.as_str()] {
            assert_eq!(opinion(&format!("{hosts} {ONE} comment"), "n1"), Opinion::Right, "{hosts}");
        }
        for hosts in ["n2", "n", "n11", "n1*?", "*,!n1", "#n1", "[n1]:22", "|1|x|y", "@cert-authority n1"] {
            assert_eq!(opinion(&format!("{hosts} {ONE}"), "n1"), Opinion::Unknown, "{hosts}");
        }
        assert_eq!(opinion(&format!("[n1]:2222 {ONE}"), &name_of("N1", 2222, None)), Opinion::Right);
        assert_eq!(name_of("n1", 2222, Some("Alias")), "alias");
    }

    #[test]
    fn another_key_is_a_change_and_a_revoked_one_stays_so() {
        let text = format!("# comment\nn1 {OTHER}\n");
        assert_eq!(opinion(&text, "n1"), Opinion::Changed("f:2".to_owned()));
        assert_eq!(opinion(&format!("{text}n1 {ONE}\n"), "n1"), Opinion::Right);
        let text = format!("n1 {ONE}\n@revoked * {ONE}\n");
        assert_eq!(opinion(&text, "n1"), Opinion::Revoked("f:2".to_owned()));
        // A known key of another kind does not make a stranger new.
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLvSN5NlCmfJHCNkr2+GRRO0h2sfbbH9/kUM06Hvq28SqCroVnOXAmtN5gk7Fmu1pgCXPpQJNoQXkozN0Baw5Bo=";
        assert_eq!(opinion(&format!("n1 {ecdsa}"), "n1"), Opinion::Changed("f:1".to_owned()));
    }

    #[test]
    fn what_is_recorded_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/known_hosts");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("n2 {OTHER}")).unwrap();
        record(&file, "n1", &key(&format!("{ONE} a comment"))).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("n2 {OTHER}\nn1 {ONE}\n"));
        let known = Known::read(&[directory.path().join("none"), file], "n1").unwrap();
        assert_eq!(known.opinion(&key(ONE)), Opinion::Right);
        assert_eq!(known.algorithms(), [Algorithm::Ed25519]);
    }
}

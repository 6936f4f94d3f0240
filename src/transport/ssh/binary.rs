//! Which executable fits a node: of which architecture it is, and whether it needs a C library.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{Failure, Step};

/// Executables for nodes of other kinds than the controller, separated by colons.
pub const AGENTS_VARIABLE: &str = "SCHISM_AGENTS";
/// The beginning of an executable holds its headers.
const HEAD_LEN: u64 = 64 << 10;

/// An executable that can be an agent.
#[derive(Clone, Debug)]
pub(super) struct Binary {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub(super) hash: String,
    kind: Kind,
}

/// What an executable needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    /// As `uname -m` says it; absent where that is not known.
    machine: Option<&'static str>,
    /// The loader of its C library; absent for a static executable.
    loader: Option<String>,
}

/// What a node says of itself that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// `uname -m`.
    pub(super) machine: String,
    /// The C library, as far as the node says.
    pub(super) libc: String,
}

impl Binary {
    /// Reads an executable.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        (&mut file).take(HEAD_LEN).read_to_end(&mut head)?;
        let kind = Kind::of(&head)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no executable for Linux"))?;
        let mut hash = Sha256::new();
        hash.update(&head);
        let mut len = head.len() as u64;
        let mut bytes = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            hash.update(&bytes[..count]);
            len += count as u64;
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), len, hash, kind })
    }

    /// Its name on nodes.
    pub(super) fn name(&self) -> String {
        format!("schism-{}", &self.hash[..16])
    }
}

/// The first executable that fits.
pub(super) fn fitting<'a>(binaries: &'a [Binary], node: &Machine) -> Result<&'a Binary, Failure> {
    binaries.iter().find(|binary| binary.kind.fits(node)).ok_or_else(|| {
        let ours: Vec<String> = binaries.iter().map(|binary| binary.kind.describe()).collect();
        Failure::new(
            Step::Upload,
            format!(
                "the node is {} with {}, and there is only schism for {}",
                node.machine,
                node.libc,
                ours.join("; ")
            ),
            build_advice(&node.machine),
        )
    })
}

/// The commands that make an executable for a machine.
pub(super) fn build_advice(machine: &str) -> String {
    let target = match machine {
        "armv7l" => "armv7-unknown-linux-musleabihf".to_owned(),
        "riscv64" => "riscv64gc-unknown-linux-musl".to_owned(),
        "ppc64le" => "powerpc64le-unknown-linux-musl".to_owned(),
        other => format!("{other}-unknown-linux-musl"),
    };
    format!(
        "Build one that runs on it and name it: rustup target add {target} && cargo build --profile dist --target {target} && \
         export {AGENTS_VARIABLE}=$PWD/target/{target}/dist/schism"
    )
}

impl Kind {
    /// From the headers of an ELF file (System V ABI, chapters 4 and 5).
    fn of(head: &[u8]) -> Option<Self> {
        let rest = head.strip_prefix(b"\x7fELF")?;
        let (wide, little) = (*rest.first()? == 2, *rest.get(1)? == 1);
        let number = |at: usize, len: usize| -> Option<u64> {
            let bytes = head.get(at..at.checked_add(len)?)?;
            let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
            Some(if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
        };
        let machine = match (number(18, 2)?, wide, little) {
            (62, true, _) => Some("x86_64"),
            (183, true, true) => Some("aarch64"),
            (3, false, _) => Some("i686"),
            (40, false, true) => Some("armv7l"),
            (243, true, true) => Some("riscv64"),
            (21, true, true) => Some("ppc64le"),
            (22, true, false) => Some("s390x"),
            _ => None,
        };
        let (table, entry_len, entries) = match wide {
            true => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
            false => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
        };
        let mut loader = None;
        for index in 0..entries {
            let at = usize::try_from(table.checked_add(index * entry_len)?).ok()?;
            // PT_INTERP names the loader.
            if number(at, 4)? != 3 {
                continue;
            }
            let (offset, len) = match wide {
                true => (number(at + 8, 8)?, number(at + 32, 8)?),
                false => (number(at + 4, 4)?, number(at + 16, 4)?),
            };
            let offset = usize::try_from(offset).ok()?;
            let bytes = head.get(offset..offset.checked_add(usize::try_from(len).ok()?)?)?;
            loader = Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned());
        }
        Some(Self { machine, loader })
    }

    fn fits(&self, node: &Machine) -> bool {
        let same_machine = self.machine.is_none_or(|machine| machine == node.machine);
        let musl = |text: &str| text.contains("musl");
        // Whether the library is new enough shows when the program is started there.
        let same_library = self.loader.as_ref().is_none_or(|loader| musl(loader) == musl(&node.libc));
        same_machine && same_library
    }

    fn describe(&self) -> String {
        let library = match &self.loader {
            None => "statically linked".to_owned(),
            Some(loader) => format!("with {loader}"),
        };
        format!("{} {library}", self.machine.unwrap_or("an unknown machine"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Binary {
        Binary::read(&std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn an_executable_tells_what_it_needs() {
        let own = own();
        assert_eq!(own.kind.machine, Some(std::env::consts::ARCH));
        assert_eq!(own.len, std::fs::metadata(&own.path).unwrap().len());
        let hash = std::process::Command::new("sha256sum").arg(&own.path).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&hash).starts_with(&own.hash));
        for junk in
            [&b""[..], b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\xff\xff\x3e\0"]
        {
            assert_eq!(Kind::of(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn another_machine_gets_a_clear_answer() {
        let mut binary = own();
        binary.kind =
            Kind { machine: Some("x86_64"), loader: Some("/lib64/ld-linux-x86-64.so.2".to_owned()) };
        let node = |machine: &str, libc: &str| Machine { machine: machine.to_owned(), libc: libc.to_owned() };
        assert!(fitting(std::slice::from_ref(&binary), &node("x86_64", "glibc 2.36")).is_ok());
        for (machine, libc) in [("aarch64", "glibc 2.36"), ("x86_64", "musl libc (x86_64)")] {
            let failure = fitting(std::slice::from_ref(&binary), &node(machine, libc)).unwrap_err();
            assert!(failure.what.contains(machine) && failure.what.contains(libc), "{failure:?}");
            assert!(
                failure.advice.contains(&format!("--target {machine}-unknown-linux-musl")),
                "{failure:?}"
            );
        }
        let mut fixed = binary.clone();
        fixed.kind.loader = None;
        let both = [binary, fixed];
        assert_eq!(
            fitting(&both, &node("x86_64", "musl")).unwrap().kind.loader,
            None,
            "a static one always fits"
        );
    }
}

//! The agent's executable on a node: once per content, in a directory from which programs may be started.

use std::time::Duration;

use super::binary::{Binary, Machine, build_advice};
use super::error::{Failure, Step, shown};
use super::exec::Rights;
use super::node::Link;
use super::secret::Keyring;

/// How long looking for a place may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
/// How long an upload may take on a slow link.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);

/// Finds the executable, or a directory for it: `$1` is its name, `$2` its SHA-256, `$3` its length in KiB; then the directories.
/// A directory has to be ours, since the executable may run as root. Whether a file system lets programs be started shows only
/// when one is. Says `have DIRECTORY`, `broken DIRECTORY: why` of one that does not run there, `use DIRECTORY`, and for every other `not DIRECTORY: why`.
const FIND: &str = r#"
name=$1 hash=$2 need=$3
shift 3
umask 022
for dir do
  why=$(mkdir -p "$dir" 2>&1) || { echo "not $dir: $why"; continue; }
  [ -O "$dir" ] && [ ! -L "$dir" ] || { echo "not $dir: it belongs to somebody else"; continue; }
  chmod go-w "$dir" 2>/dev/null
  rm -f "$dir"/.*.part-* 2>/dev/null
  probe="$dir/.probe-$$"
  why=$( { printf '#!/bin/sh\nexit 0\n' > "$probe" && chmod 700 "$probe"; } 2>&1) || { rm -f "$probe"; echo "not $dir: $why"; continue; }
  why=$("$probe" 2>&1) || { rm -f "$probe"; echo "not $dir: programs cannot be started there (noexec?): $why"; continue; }
  rm -f "$probe"
  if [ -f "$dir/$name" ] && [ "$(sha256sum < "$dir/$name" | cut -c 1-64)" = "$hash" ]; then
    why=$("$dir/$name" --version 2>&1 > /dev/null) && echo "have $dir" || echo "broken $dir: $why"
    exit 0
  fi
  free=$(df -Pk "$dir" 2>/dev/null | tail -n 1 | { read -r _ _ _ free _; echo "$free"; })
  case $free in
    ''|*[!0-9]*) ;;
    *) [ "$free" -ge "$need" ] || { echo "not $dir: the disk is full: $free KiB are free, $need KiB are needed"; continue; } ;;
  esac
  echo "use $dir"
  exit 0
done
exit 0
"#;

/// Takes the executable from standard input: `$1` is a temporary name, `$2` the SHA-256, `$3` the name. It gets its name only
/// when all of it is on the disk.
const TAKE: &str = r#"cat > "$1" && chmod 755 "$1" && { sync "$1" 2>/dev/null || sync; } && { [ "$(sha256sum < "$1" | cut -c 1-64)" = "$2" ] || { echo "it arrived damaged" >&2; false; }; } && mv -f "$1" "$3"; code=$?; rm -f "$1"; exit $code"#;

/// Where the executable goes if there is no place for it where it belongs, because that is read-only, full or noexec.
pub(super) const ELSEWHERE: [&str; 4] =
    ["/usr/local/lib/schism/bin", "/opt/schism/bin", "/dev/shm/schism/bin", "/tmp/schism/bin"];

/// Brings the executable to the node, to the first of the directories that will do, unless it is there. Returns its path.
pub(super) async fn provide(
    link: &Link,
    keyring: &Keyring,
    rights: Rights,
    directories: &[String],
    binary: &Binary,
    machine: &Machine,
) -> Result<String, Failure> {
    let name = binary.name();
    let mut left = directories.to_vec();
    let mut refused = Vec::new();
    loop {
        let need = (binary.len / 1024 + 1).to_string();
        let mut argv = vec!["/bin/sh", "-s", "--", &name, &binary.hash, &need];
        argv.extend(left.iter().map(String::as_str));
        let output = link.run(keyring, (rights, Step::Upload), &argv, FIND.as_bytes(), LOOK_PATIENCE).await?;
        refused.extend(output.stdout.lines().filter_map(|line| line.strip_prefix("not ")).map(shown));
        let said =
            |word: &str| output.stdout.lines().find_map(|line| line.strip_prefix(word).map(str::to_owned));
        if let Some(directory) = said("have ") {
            return Ok(format!("{directory}/{name}"));
        }
        if let Some(why) = said("broken ") {
            return Err(does_not_run(&shown(&why), machine));
        }
        let Some(directory) = said("use ") else {
            return Err(nowhere(&refused, &output.complaint()));
        };
        let path = format!("{directory}/{name}");
        match send(link, keyring, rights, binary, &directory, &path).await? {
            Ok(()) => {
                tracing::info!(event = "agent uploaded", node = link.name(), path, bytes = binary.len);
                return try_it(link, keyring, rights, &path, machine).await.map(|()| path);
            }
            Err(why) => {
                refused.push(format!("{directory}: {why}"));
                let tried = left.iter().position(|other| *other == directory);
                left.drain(..=tried.unwrap_or(left.len() - 1));
            }
        }
    }
}

/// Sends the executable; why the node could not take it, if it could not.
async fn send(
    link: &Link,
    keyring: &Keyring,
    rights: Rights,
    binary: &Binary,
    directory: &str,
    path: &str,
) -> Result<Result<(), String>, Failure> {
    let file = tokio::fs::File::open(&binary.path).await.map_err(|error| {
        Failure::new(
            Step::Upload,
            format!("cannot read {}: {error}", binary.path.display()),
            "Has schism been replaced meanwhile?",
        )
    })?;
    let part = format!("{directory}/.{}.part-{}", binary.name(), std::process::id());
    let argv = ["/bin/sh", "-c", TAKE, "sh", &part, &binary.hash, path];
    let output = link.run(keyring, (rights, Step::Upload), &argv, file, UPLOAD_PATIENCE).await?;
    Ok(match output.code {
        Some(0) => Ok(()),
        _ => Err(output.complaint()),
    })
}

/// Starts the executable once: whether the C library is new enough is the loader's to say.
async fn try_it(
    link: &Link,
    keyring: &Keyring,
    rights: Rights,
    path: &str,
    machine: &Machine,
) -> Result<(), Failure> {
    let what = (rights, Step::AgentStart);
    let output = link.run(keyring, what, &[path, "--version"], tokio::io::empty(), LOOK_PATIENCE).await?;
    if output.code == Some(0) {
        return Ok(());
    }
    Err(does_not_run(&format!("{path}: {}", output.complaint()), machine))
}

fn does_not_run(why: &str, machine: &Machine) -> Failure {
    let what =
        format!("the executable does not run there ({} with {}): {why}", machine.machine, machine.libc);
    Failure::new(Step::AgentStart, what, build_advice(&machine.machine))
}

/// No directory will do.
fn nowhere(refused: &[String], otherwise: &str) -> Failure {
    let why = if refused.is_empty() { otherwise.to_owned() } else { refused.join("; ") };
    let advice = "Make room in one of them, or make one of them writable and remove its mount option noexec";
    Failure::new(Step::Upload, format!("there is no place for the agent: {why}"), advice)
}

//! Finds a system's binaries, or fetches them.
//!
//! Binaries in `PATH` are used where they have the version wanted. Otherwise a Debian package is fetched by the machine's own
//! `apt-get` and unpacked, without root, into a cache of the user's; what is in the cache is used again, also offline.

mod cache;
mod command;
mod debian;
mod version;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::def::SystemDef;
use super::render::binaries_context;
use super::template;

pub use version::{extract as extract_version, matches as version_matches};

/// The binary that is this very program, on whatever node.
pub const OWN_BINARY: &str = "schism";

/// How long a program may take to print its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// What is wanted of a system.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its description.
    pub def: &'a SystemDef,
    /// The version; a prefix such as `3.4` will do. Absent: any.
    pub version: Option<&'a str>,
    /// A Debian package file to take it from, and nowhere else.
    pub package: Option<&'a Path>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// The user's cache, which is made when needed.
    pub cache: PathBuf,
    /// Directories with programs, as in `PATH`.
    pub path: OsString,
    /// This very program.
    pub own: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The path of every declared binary, by name, as templates want it.
    pub binaries: BTreeMap<String, String>,
    /// The version, as the program says; where it does not say, the package's; `unknown` where neither is to be had.
    pub version: String,
    /// Where the packages are unpacked; absent when the binaries are installed on the machine.
    pub root: Option<PathBuf>,
    /// What a node must see at the same path for the binaries to run there.
    pub expose: Vec<PathBuf>,
}

impl Installed {
    fn new(binaries: BTreeMap<String, PathBuf>, version: String, root: Option<PathBuf>) -> Self {
        let outside =
            binaries.values().filter(|path| root.as_ref().is_none_or(|root| !path.starts_with(root)));
        let expose = root.iter().chain(outside).cloned().collect();
        let binaries = binaries.into_iter().map(|(name, path)| (name, path.display().to_string())).collect();
        Self { binaries, version, root, expose }
    }
}

/// Why a system cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}\n{advice}")]
pub struct InstallError {
    /// What happened.
    pub reason: String,
    /// What to do, with the command to run.
    pub advice: String,
}

impl InstallError {
    fn new(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason: reason.into(), advice: advice.into() }
    }
}

impl Places {
    /// The user's cache directory, `PATH`, and the running program.
    ///
    /// # Errors
    /// The environment says nothing about a cache.
    pub fn of_this_machine() -> Result<Self, InstallError> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        let cache = cache.ok_or_else(|| {
            InstallError::new(
                "there is no place for a cache: neither HOME nor XDG_CACHE_HOME is set",
                "Set HOME.",
            )
        })?;
        let own = std::env::current_exe().map_err(|error| {
            InstallError::new(format!("cannot tell where schism itself is: {error}"), "Start it by its path.")
        })?;
        // An ordinary user's PATH often lacks the directories where servers are.
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/local/sbin:/usr/sbin:/sbin");
        Ok(Self { cache: cache.join("schism"), path, own })
    }

    fn find(&self, binary: &str) -> Option<PathBuf> {
        if binary == OWN_BINARY {
            return Some(self.own.clone());
        }
        std::env::split_paths(&self.path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(binary))
            .find(|path| is_executable(path))
    }
}

/// Finds or fetches the binaries of a system.
///
/// Safe to call at the same time from several processes and by several users.
///
/// # Errors
/// There is nothing to be had; says which command would change that.
pub async fn provide(wanted: Wanted<'_>, places: &Places) -> Result<Installed, InstallError> {
    let mut found_version = None;
    if wanted.package.is_none() {
        let binaries =
            wanted.def.install.binaries.iter().map(|name| Some((name.clone(), places.find(name)?)));
        if let Some(binaries) = binaries.collect::<Option<BTreeMap<_, _>>>() {
            let version = ask_version(wanted.def, &binaries, None).await?;
            match (wanted.version, &version) {
                (Some(wanted), Some(version)) if !version::matches(version, wanted) => {}
                (Some(_), None) => {}
                _ => {
                    let version = version.unwrap_or_else(|| "unknown".to_owned());
                    return Ok(Installed::new(binaries, version, None));
                }
            }
            found_version = Some(version.unwrap_or_else(|| "a version that it does not tell".to_owned()));
        }
    }
    let root = debian::unpacked(wanted, places, found_version.as_deref()).await?;
    let mut binaries = BTreeMap::new();
    for name in &wanted.def.install.binaries {
        let found = if name == OWN_BINARY { Some(places.own.clone()) } else { search(&root.directory, name) };
        let Some(found) = found else {
            let packages = wanted.def.install.packages.join(", ");
            return Err(InstallError::new(
                format!("`{name}` is not in the package {packages} ({})", root.directory.display()),
                "Correct `install` in the system's YAML: it names the packages and the binaries they have.",
            ));
        };
        binaries.insert(name.clone(), found);
    }
    let version = ask_version(wanted.def, &binaries, Some(&root.directory)).await?.unwrap_or(root.version);
    Ok(Installed::new(binaries, version, Some(root.directory)))
}

/// The command that says the version of a system whose binaries are at these paths; `None` where there is none.
///
/// # Errors
/// Its template fails.
pub(crate) fn version_command(
    def: &SystemDef,
    paths: &BTreeMap<String, String>,
) -> Option<Result<Vec<String>, template::TemplateError>> {
    let templates = def.install.version_command.as_ref()?;
    let context = binaries_context(paths);
    Some(templates.iter().map(|part| template::fill(part, &context)).collect())
}

/// Asks a program for its version; `None` where it is not said how to ask, or nothing like a version comes back.
async fn ask_version(
    def: &SystemDef,
    binaries: &BTreeMap<String, PathBuf>,
    root: Option<&Path>,
) -> Result<Option<String>, InstallError> {
    let paths = binaries.iter().map(|(name, path)| (name.clone(), path.display().to_string())).collect();
    let Some(filled) = version_command(def, &paths) else { return Ok(None) };
    let argv = filled.map_err(|error| {
        InstallError::new(
            format!("the version command's template fails: {error}"),
            "Correct `install.version-command` in the system's YAML.",
        )
    })?;
    let argv: Vec<&OsStr> = argv.iter().map(OsStr::new).collect();
    let directory = root.unwrap_or(Path::new("/"));
    let output = command::run(&argv, directory, VERSION_DEADLINE).await.map_err(|error| {
        InstallError::new(
            format!("cannot ask for the version: {error}"),
            "Is the program made for this machine? Try it by hand.",
        )
    })?;
    Ok(version::extract(&output.stdout).or_else(|| version::extract(&output.stderr)))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Directories below which programs are looked for, deepest last.
const SEARCH_DEPTH_MAX: usize = 8;

/// A program of this name below `root`: in the usual places, else the first anywhere.
fn search(root: &Path, name: &str) -> Option<PathBuf> {
    let usual = ["usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin"]
        .map(|directory| root.join(directory).join(name));
    usual.into_iter().find(|path| is_executable(path)).or_else(|| walk(root, name, SEARCH_DEPTH_MAX))
}

fn walk(directory: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).ok()?.filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let found = entries
        .iter()
        .map(std::fs::DirEntry::path)
        .find(|path| path.file_name() == Some(OsStr::new(name)) && is_executable(path));
    let below = || {
        let directories = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.map(std::fs::DirEntry::path).find_map(|path| walk(&path, name, depth - 1))
    };
    found.or_else(|| if depth > 0 { below() } else { None })
}

#[cfg(test)]
mod tests;

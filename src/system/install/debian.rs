//! Debian packages: what the machine's package sources offer, downloaded and unpacked without root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{Cache, Identity};
use super::command::{self, Output};
use super::version;
use super::{InstallError, Places, Wanted};

/// How long apt may take to look something up.
const QUERY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a download may take.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(600);
/// How long unpacking may take.
const UNPACK_DEADLINE: Duration = Duration::from_secs(300);

/// Where the packages of a system are unpacked.
pub(super) struct Unpacked {
    pub(super) directory: PathBuf,
    /// The upstream version of the first one.
    pub(super) version: String,
}

/// Unpacks the packages of a system into the cache, or finds them there. `installed` is the version in `PATH` that was not
/// the one wanted.
pub(super) async fn unpacked(
    wanted: Wanted<'_>,
    places: &Places,
    installed: Option<&str>,
) -> Result<Unpacked, InstallError> {
    let packages = &wanted.def.install.packages;
    let Some(first) = packages.first() else { return Err(no_package(wanted, installed)) };
    let cache = Cache::open(&places.cache).map_err(|error| cache_error(&places.cache, &error))?;
    let mut identities = Vec::new();
    for package in packages {
        let version = if package == first { wanted.version } else { None };
        let identity = match wanted.package.filter(|_| package == first) {
            Some(file) => describe(file, wanted.version).await?,
            None => match offered(package, version).await {
                Ok(identity) => identity,
                // What was fetched before will do where nothing can be fetched now.
                Err(error) => {
                    match cache.any(packages, wanted.version).filter(|_| wanted.package.is_none()) {
                        Some((directory, version)) => {
                            return Ok(Unpacked { directory, version: version::plain(&version).to_owned() });
                        }
                        None => return Err(explain(error, wanted, package, installed)),
                    }
                }
            },
        };
        identities.push(identity);
    }
    let version =
        identities.first().map(|identity| version::plain(&identity.version).to_owned()).unwrap_or_default();
    if let Some(directory) = cache.exactly(&identities) {
        return Ok(Unpacked { directory, version });
    }
    let work = cache.work().map_err(|error| cache_error(&places.cache, &error))?;
    let root = work.path().join("root");
    std::fs::create_dir(&root).map_err(|error| cache_error(&places.cache, &error))?;
    for (package, identity) in packages.iter().zip(&identities) {
        let file = match wanted.package.filter(|_| package == first) {
            Some(file) => file.to_owned(),
            None => download(identity, package, work.path()).await?,
        };
        unpack(&file, &root).await?;
    }
    let directory = cache.keep(&root, &identities).map_err(|error| cache_error(&places.cache, &error))?;
    Ok(Unpacked { directory, version })
}

fn cache_error(cache: &Path, error: &std::io::Error) -> InstallError {
    InstallError::new(
        format!("cannot write to the cache {}: {error}", cache.display()),
        "Make room or permissions there, or set XDG_CACHE_HOME to a directory of yours.",
    )
}

/// `etcd is not installed`, or what is wrong with the one that is.
fn missing(wanted: Wanted<'_>, installed: Option<&str>) -> String {
    let binaries = wanted.def.install.binaries.join(", ");
    match (installed, wanted.version) {
        (Some(installed), Some(version)) => format!("{binaries} is installed as {installed}, not {version}"),
        _ => format!("{binaries} is not installed"),
    }
}

fn no_package(wanted: Wanted<'_>, installed: Option<&str>) -> InstallError {
    let binaries = wanted.def.install.binaries.join(", ");
    InstallError::new(
        format!(
            "{}, and system `{}` names no package that has it",
            missing(wanted, installed),
            wanted.def.name
        ),
        format!(
            "Install {binaries} so that it is in PATH, or name a Debian package under `install.packages`."
        ),
    )
}

/// Why the package sources offer nothing.
enum NotOffered {
    /// There is no apt here.
    NoApt(String),
    /// The sources have no such package; perhaps because they were never read.
    Unknown,
    /// They have it in these versions only.
    Other(Vec<String>),
}

fn explain(error: NotOffered, wanted: Wanted<'_>, package: &str, installed: Option<&str>) -> InstallError {
    let missing = missing(wanted, installed);
    match error {
        NotOffered::NoApt(reason) => InstallError::new(
            format!("{missing}, and no Debian package can be fetched: {reason}"),
            format!(
                "Install {} by other means, so that it is in PATH.",
                wanted.def.install.binaries.join(", ")
            ),
        ),
        NotOffered::Unknown => InstallError::new(
            format!("{missing}, and the package sources of this machine do not know `{package}`"),
            format!("Run `sudo apt-get update` and try again, or `sudo apt-get install {package}`."),
        ),
        NotOffered::Other(versions) => InstallError::new(
            format!(
                "{missing}; the package sources have `{package}` in {}, not in {}",
                versions.join(", "),
                wanted.version.unwrap_or("any other")
            ),
            "Choose one of those as `version`, run `sudo apt-get update` for newer ones, or name a file as `package`.",
        ),
    }
}

/// The newest version of a package on offer that is the one wanted.
async fn offered(package: &str, wanted: Option<&str>) -> Result<Identity, NotOffered> {
    let architecture = query(&["dpkg", "--print-architecture"]).await.map_err(NotOffered::NoApt)?;
    let madison = query(&["apt-cache", "madison", package]).await.map_err(NotOffered::NoApt)?;
    let versions = parse_madison(&madison.stdout, package);
    let chosen =
        versions.iter().find(|version| wanted.is_none_or(|wanted| version::matches(version, wanted)));
    match chosen {
        Some(version) => Ok(Identity {
            package: package.to_owned(),
            version: version.clone(),
            architecture: architecture.stdout.trim().to_owned(),
        }),
        None if versions.is_empty() => Err(NotOffered::Unknown),
        None => Err(NotOffered::Other(versions)),
    }
}

/// The versions in the output of `apt-cache madison`, newest first: lines of `package | version | source`.
fn parse_madison(text: &str, package: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(name), Some(version), Some(source)) = (columns.next(), columns.next(), columns.next())
            && name == package
            && !source.ends_with("Sources")
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

async fn query(argv: &[&str]) -> Result<Output, String> {
    let argv: Vec<&OsStr> = argv.iter().map(OsStr::new).collect();
    command::run(&argv, Path::new("/"), QUERY_DEADLINE).await
}

/// What a package file says about itself. Its version carries a mark of its content, since a person's own build often has the
/// version of the build before.
async fn describe(file: &Path, wanted: Option<&str>) -> Result<Identity, InstallError> {
    let unusable = |reason: String| {
        InstallError::new(
            format!("{} cannot be used: {reason}", file.display()),
            "`package` must be a Debian package file (.deb) that this machine can read.",
        )
    };
    let bytes = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let argv = [
        OsStr::new("dpkg-deb"),
        OsStr::new("-W"),
        OsStr::new("--showformat=${Package} ${Version} ${Architecture}"),
        file.as_os_str(),
    ];
    let output = command::run(&argv, Path::new("."), QUERY_DEADLINE).await.map_err(unusable)?;
    let mut words = output.stdout.split_whitespace();
    let (Some(package), Some(version), Some(architecture), true) =
        (words.next(), words.next(), words.next(), output.success)
    else {
        return Err(unusable(last_line(&output.stderr)));
    };
    if wanted.is_some_and(|wanted| !version::matches(version, wanted)) {
        return Err(unusable(format!(
            "it is {package} {version}, not version {}",
            wanted.unwrap_or_default()
        )));
    }
    let mark = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(Identity {
        package: package.to_owned(),
        version: version.to_owned(),
        architecture: format!("{architecture}.{mark:016x}"),
    })
}

async fn download(identity: &Identity, package: &str, work: &Path) -> Result<PathBuf, InstallError> {
    let directory = work.join(format!("download-{package}"));
    std::fs::create_dir(&directory).map_err(|error| cache_error(work, &error))?;
    let wanted = format!("{package}={}", identity.version);
    let argv =
        ["apt-get", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "download", &wanted];
    let argv: Vec<&OsStr> = argv.iter().map(OsStr::new).collect();
    let failed = |reason: String| {
        InstallError::new(
            format!("`{package}` {} cannot be downloaded: {reason}", identity.version),
            format!("Run `sudo apt-get update` and try again, or `sudo apt-get install {package}`."),
        )
    };
    let output = command::run(&argv, &directory, DOWNLOAD_DEADLINE).await.map_err(failed)?;
    let files = std::fs::read_dir(&directory).map_err(|error| cache_error(work, &error))?;
    let file = files
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension() == Some(OsStr::new("deb")));
    match file {
        Some(file) if output.success => Ok(file),
        _ => Err(failed(last_line(&output.stderr))),
    }
}

async fn unpack(file: &Path, root: &Path) -> Result<(), InstallError> {
    let argv = [OsStr::new("dpkg-deb"), OsStr::new("-x"), file.as_os_str(), root.as_os_str()];
    let failed = |reason: String| {
        InstallError::new(
            format!("{} cannot be unpacked: {reason}", file.display()),
            "Is the disk full, or the file damaged?",
        )
    };
    let output = command::run(&argv, Path::new("."), UNPACK_DEADLINE).await.map_err(failed)?;
    if output.success { Ok(()) } else { Err(failed(last_line(&output.stderr))) }
}

fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_madison() {
        let text = "etcd-server | 3.4.23-4+b4 | http://deb.debian.org/debian bookworm/main amd64 Packages\n\
                    etcd-server | 3.4.23-4+b4 | http://mirror/debian bookworm/main amd64 Packages\n\
                    etcd-server | 3.3.25-1 | http://deb.debian.org/debian bullseye/main amd64 Packages\n\
                    etcd-server | 3.4.23-4 | http://deb.debian.org/debian bookworm/main Sources\n\
                    etcd-server-dev | 9.9 | http://deb.debian.org/debian bookworm/main amd64 Packages\n";
        assert_eq!(parse_madison(text, "etcd-server"), ["3.4.23-4+b4", "3.3.25-1"]);
        assert_eq!(parse_madison("N: Unable to locate package x\n", "x"), Vec::<String>::new());
    }
}

//! Against programs of our own making, and against the machine's package sources where they answer.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::system::{self, SystemDef};

/// A system whose program is `name`, from these packages.
fn system_of(name: &str, packages: &[&str]) -> SystemDef {
    let mut def = system::load("etcd", Path::new("")).unwrap().def;
    def.install.binaries = vec![name.to_owned()];
    def.install.packages = packages.iter().map(|package| (*package).to_owned()).collect();
    let variable = name.replace('-', "_");
    def.install.version_command = Some(vec![format!("{{{{ bin.{variable} }}}}"), "--version".to_owned()]);
    def
}

fn program(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn places(directory: &Path, path: &Path) -> Places {
    Places { cache: directory.join("cache"), path: path.into(), own: PathBuf::from("/proc/self/exe") }
}

#[tokio::test]
async fn what_is_installed_is_used_if_it_has_the_version() {
    let directory = tempfile::tempdir().unwrap();
    let bin = directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    program(&bin, "own-store", "echo 'own-store version 2.7.1'");
    std::fs::write(bin.join("not-executable"), "").unwrap();
    let places = places(directory.path(), &bin);
    let def = system_of("own-store", &[]);

    for version in [None, Some("2"), Some("2.7"), Some("2.7.1")] {
        let installed = provide(Wanted { def: &def, version, package: None }, &places).await.unwrap();
        assert_eq!(installed.version, "2.7.1");
        assert_eq!(Path::new(&installed.binaries["own-store"]), bin.join("own-store"));
        assert_eq!(installed.expose, [bin.join("own-store")]);
        assert_eq!(installed.root, None);
    }
    let error =
        provide(Wanted { def: &def, version: Some("2.8"), package: None }, &places).await.unwrap_err();
    assert!(error.reason.contains("own-store is installed as 2.7.1, not 2.8"), "{error}");
    assert!(error.advice.contains("in PATH"), "{error}");

    let def = system_of("not-executable", &[]);
    let error = provide(Wanted { def: &def, version: None, package: None }, &places).await.unwrap_err();
    assert!(error.reason.contains("not-executable is not installed"), "{error}");
    assert!(!places.cache.exists(), "nothing was fetched, so nothing is cached");
}

#[tokio::test]
async fn schism_is_this_program() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path(), directory.path());
    let def = system::load("demo", Path::new("")).unwrap().def;
    let installed = provide(Wanted { def: &def, version: None, package: None }, &places).await.unwrap();
    assert_eq!(installed.binaries["schism"], "/proc/self/exe");
    assert_eq!(installed.version, "unknown");
}

/// A package file with one program in an unusual place. `None` where there is no dpkg-deb.
fn own_package(directory: &Path, version: &str, says: &str) -> Option<PathBuf> {
    let tree = directory.join(format!("tree-{version}-{says}"));
    let bin = tree.join("opt/own/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    program(&bin, "own-store", &format!("echo own-store {says}"));
    let control = format!(
        "Package: own-store\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n"
    );
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file = directory.join(format!("own-{version}-{says}.deb"));
    let built = Command::new("dpkg-deb")
        .arg("--build")
        .arg("--root-owner-group")
        .arg(&tree)
        .arg(&file)
        .output()
        .ok()?;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(file)
}

#[tokio::test]
async fn a_package_file_is_unpacked_and_a_new_build_of_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path(), directory.path());
    let def = system_of("own-store", &["own-store"]);
    let Some(file) = own_package(directory.path(), "1:9.8.7-1", "9.8.7") else { return };
    let wanted = Wanted { def: &def, version: Some("9.8"), package: Some(&file) };
    let first = provide(wanted, &places).await.unwrap();
    assert_eq!(first.version, "9.8.7");
    let root = first.root.clone().unwrap();
    assert!(Path::new(&first.binaries["own-store"]).starts_with(&root), "{first:?}");
    assert!(root.starts_with(places.cache.canonicalize().unwrap()), "{first:?}");
    assert_eq!(first.expose, [root]);
    assert_eq!(provide(wanted, &places).await.unwrap(), first);

    let rebuilt = own_package(directory.path(), "1:9.8.7-1", "9.8.7-patched").unwrap();
    let second = provide(Wanted { package: Some(&rebuilt), ..wanted }, &places).await.unwrap();
    assert_eq!(second.version, "9.8.7-patched");

    let error = provide(Wanted { version: Some("9.9"), ..wanted }, &places).await.unwrap_err();
    assert!(error.reason.contains("own-store 1:9.8.7-1, not version 9.9"), "{error}");
    for (name, content) in [("damaged.deb", "!<arch>\nnonsense"), ("missing.deb", "")] {
        let file = directory.path().join(name);
        if !content.is_empty() {
            std::fs::write(&file, content).unwrap();
        }
        let error =
            provide(Wanted { version: None, package: Some(&file), ..wanted }, &places).await.unwrap_err();
        assert!(error.reason.contains(name), "{error}");
    }
    assert_no_work_left(&places);
}

fn assert_no_work_left(places: &Places) {
    let entries = std::fs::read_dir(places.cache.join("packages")).unwrap();
    let work: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(work.is_empty(), "{work:?}");
}

#[tokio::test]
async fn at_the_same_time_all_get_the_same_whole_package() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path(), directory.path());
    let def = system_of("own-store", &["own-store"]);
    let Some(file) = own_package(directory.path(), "1.0", "1.0") else { return };
    let wanted = Wanted { def: &def, version: None, package: Some(&file) };
    let (a, b, c) =
        tokio::join!(provide(wanted, &places), provide(wanted, &places), provide(wanted, &places));
    let a = a.unwrap();
    assert_eq!((&a, &a), (&b.unwrap(), &c.unwrap()));
    assert_no_work_left(&places);
}

#[tokio::test]
async fn etcd_comes_from_the_package_sources_without_root() {
    let madison = Command::new("apt-cache").args(["madison", "etcd-server"]).output();
    if !madison.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("etcd-server |")) {
        eprintln!("skipped: no package source of this machine offers etcd-server");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // No etcd is installed as far as this goes.
    let places = places(directory.path(), directory.path());
    let def = system::load("etcd", Path::new("")).unwrap().def;
    let wanted = Wanted { def: &def, version: None, package: None };
    let installed = match provide(wanted, &places).await {
        Err(error) if error.reason.contains("cannot be downloaded") => {
            eprintln!("skipped: {error}");
            return;
        }
        result => result.unwrap(),
    };
    assert!(installed.version.starts_with("3."), "{}", installed.version);
    let root = installed.root.clone().unwrap();
    assert_eq!(Path::new(&installed.binaries["etcd"]), root.join("usr/bin/etcd"));
    assert_no_work_left(&places);

    let again = provide(Wanted { version: Some(&installed.version), ..wanted }, &places).await.unwrap();
    assert_eq!(again, installed);
    let error = provide(Wanted { version: Some("2.0"), ..wanted }, &places).await.unwrap_err();
    assert!(error.reason.contains("the package sources have `etcd-server` in 3."), "{error}");
}

#[tokio::test]
async fn an_unknown_package_names_the_command_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path(), directory.path());
    let def = system_of("own-store", &["own-store-that-nobody-packages"]);
    let error = provide(Wanted { def: &def, version: None, package: None }, &places).await.unwrap_err();
    assert!(error.reason.contains("own-store is not installed"), "{error}");
    let advice = ["sudo apt-get install own-store-that-nobody-packages", "by other means"];
    assert!(advice.iter().any(|part| error.advice.contains(part)), "{error}");
}

//! Finds a system's binaries, or fetches them.

use crate::plan::PlannedSystem;
use std::collections::BTreeMap;
use std::path::PathBuf;
pub struct Installed {
    pub binaries: BTreeMap<String, String>,
    pub version: String,
    pub expose: Vec<PathBuf>,
}
pub fn provide(_s: &PlannedSystem) -> Result<Installed, String> {
    let mut binaries = BTreeMap::new();
    binaries.insert(
        "schism".to_owned(),
        std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
    );
    binaries.insert("etcd".to_owned(), "/usr/bin/etcd".to_owned());
    Ok(Installed { binaries, version: "?".into(), expose: vec![] })
}

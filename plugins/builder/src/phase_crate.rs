//! The crate of a phase: a folder with `Cargo.toml` and `manifest.toml`. Read and checked before anything is compiled.

use std::path::{Path, PathBuf};

use rehome_manifest::Manifest;

use crate::BuildError;

/// A crate that can become a component.
#[derive(Debug, Clone)]
pub struct PhaseCrate {
    /// the manifest's name: the component's file is called so
    pub name: String,
    /// cargo's name of the package
    pub package: String,
    /// absolute path of its Cargo.toml
    pub cargo_toml: PathBuf,
    /// the manifest, as its author wrote it
    pub manifest_text: String,
}

impl PhaseCrate {
    /// Reads the folder of a crate.
    pub fn open(folder: &Path) -> Result<PhaseCrate, BuildError> {
        let folder = folder.canonicalize().map_err(|why| BuildError::file("open", folder, why))?;
        let not = |why: String| BuildError::NotAPhase { path: folder.clone(), why };
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name)).map_err(|why| not(format!("cannot read its {name}: {why}")))
        };
        let (manifest_text, cargo_text) = (read("manifest.toml")?, read("Cargo.toml")?);
        let manifest = Manifest::parse(&manifest_text)
            .map_err(|why| BuildError::Manifest { path: folder.join("manifest.toml"), why })?;
        let cargo: toml::Table = cargo_text.parse().map_err(|why| not(format!("its Cargo.toml: {why}")))?;
        let package = cargo.get("package").and_then(|package| package.get("name")).and_then(|name| name.as_str());
        let package = package.ok_or_else(|| not("its Cargo.toml has no package name".into()))?.to_string();
        Ok(PhaseCrate { name: manifest.name, package, cargo_toml: folder.join("Cargo.toml"), manifest_text })
    }
}

/// The phases directly below a folder, by name of their folders: those with a `manifest.toml`.
pub fn discover(plugins: &Path) -> Result<Vec<PhaseCrate>, BuildError> {
    let entries = std::fs::read_dir(plugins).map_err(|why| BuildError::file("list", plugins, why))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("manifest.toml").is_file())
        .collect();
    folders.sort();
    folders.iter().map(|folder| PhaseCrate::open(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_manifest_is_named_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let why = PhaseCrate::open(folder.path()).unwrap_err().to_string();
        assert!(why.contains("manifest.toml") && why.contains("rehome phase new"), "{why}");
    }

    #[test]
    fn a_refused_manifest_is_named_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifest.toml"), "name = 1").unwrap();
        std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        let why = PhaseCrate::open(folder.path()).unwrap_err();
        assert!(matches!(&why, BuildError::Manifest { path, .. } if path.ends_with("manifest.toml")), "{why}");
    }
}

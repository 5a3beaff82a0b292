//! Writes the crate of a new phase: small, complete, with a unit test that passes. Never overwrites anything.

use std::path::{Path, PathBuf};

use crate::BuildError;

/// Where the crate of a new phase takes `rehome-sdk` from.
#[derive(Debug, Clone)]
pub enum SdkSource {
    /// the folder `plugins/sdk` of a checkout
    Path(PathBuf),
    /// a repository
    Git(String),
}

impl SdkSource {
    /// The dependency lines of `rehome-sdk` and of what its `build.rs` needs.
    fn lines(&self) -> (String, String) {
        match self {
            SdkSource::Path(path) => {
                let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
                let line = |name: &str, path: &Path| format!("{name} = {{ path = {} }}", quoted(path));
                (line("rehome-sdk", path), line("rehome-sdk-build", &path.join("build")))
            }
            SdkSource::Git(url) => {
                let url = toml::Value::from(url.as_str());
                (format!("rehome-sdk = {{ git = {url} }}"), format!("rehome-sdk-build = {{ git = {url} }}"))
            }
        }
    }
}

const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../template/Cargo.toml.txt")),
    ("build.rs", include_str!("../template/build.rs.txt")),
    ("manifest.toml", include_str!("../template/manifest.toml.txt")),
    ("src/lib.rs", include_str!("../template/lib.rs.txt")),
    (".gitignore", "/target\n"),
];

/// Writes the crate of a new phase `name` into `folder`, which must not exist or be empty. Answers the files.
pub fn scaffold(folder: &Path, name: &str, sdk: &SdkSource) -> Result<Vec<PathBuf>, BuildError> {
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        let why = format!("`{}` is no name of a phase: lower-case letters, digits and hyphens", name.escape_default());
        return Err(BuildError::NotAPhase { path: folder.into(), why });
    }
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BuildError::NotAPhase { path: folder.into(), why: "the folder is not empty".into() });
    }
    let (sdk, sdk_build) = sdk.lines();
    let mut written = Vec::new();
    std::fs::create_dir_all(folder.join("src")).map_err(|why| BuildError::file("create", folder, why))?;
    for (file, template) in FILES {
        let text = template
            .replace("@NAME@", name)
            .replace("@TYPE@", &type_name(name))
            .replace("@SDK@", &sdk)
            .replace("@SDK-BUILD@", &sdk_build);
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|why| BuildError::file("write", &path, why))?;
        written.push(path);
    }
    Ok(written)
}

/// `stop-greylisting` becomes `StopGreylisting`.
fn type_name(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PhaseCrate;

    #[test]
    fn a_new_phase_is_a_crate_whose_manifest_and_constants_work() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("stop-greylisting");
        let sdk = SdkSource::Path("/src/re\"home/plugins/sdk".into());
        let files = scaffold(&at, "stop-greylisting", &sdk).unwrap();
        assert_eq!(files.len(), 5);

        let phase = PhaseCrate::open(&at).unwrap();
        assert_eq!((phase.name.as_str(), phase.package.as_str()), ("stop-greylisting", "stop-greylisting"));
        let code = rehome_sdk_build::generate(&phase.manifest_text).unwrap();
        let source = std::fs::read_to_string(at.join("src/lib.rs")).unwrap();
        assert!(source.contains("phase!(StopGreylisting)") && !source.contains('@'), "{source}");
        for used in source.split("requests::exec::").skip(1) {
            let constant = used.split('.').next().unwrap_or_default();
            assert!(code.contains(&format!("const {constant}:")), "{constant}");
        }
    }

    #[test]
    fn nothing_is_overwritten_and_names_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine"), "").unwrap();
        let sdk = SdkSource::Git("https://example.org/rehome".into());
        let why = scaffold(folder.path(), "x", &sdk).unwrap_err().to_string();
        assert!(why.contains("not empty"), "{why}");
        for name in ["", "X", "1a", "a b", "../a", "a_b"] {
            assert!(scaffold(&folder.path().join("new"), name, &sdk).is_err(), "{name}");
        }
        assert!(!folder.path().join("new").exists());
    }
}

//! Reads a component without running anything of it: its manifest, what it imports and exports, its digest, and where
//! requests and imports do not fit together. Only the outer component is looked at; what is nested in it stays closed.

use rehome_manifest::{API, Manifest, SECTION};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

/// Imports and exports of the contract begin so.
const CONTRACT: &str = "rehome:phase/";

/// What can be known of a component without running it.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// the manifest, as its author wrote it
    pub manifest_text: String,
    /// the same, read
    pub manifest: Manifest,
    /// "rehome:phase/exec@0.1.0", in the component's order
    pub imports: Vec<String>,
    /// "rehome:phase/lifecycle@0.1.0"
    pub exports: Vec<String>,
    /// bytes
    pub size: u64,
    /// "sha256:…"
    pub digest: String,
    /// for people: requests without the import that they need, and imports that no request uses
    pub remarks: Vec<String>,
    /// capabilities that it requests something of and does not import
    pub not_imported: Vec<&'static str>,
}

impl Inspection {
    /// Imports that are not of the contract: WASI, from other toolchains than Rust's.
    pub fn foreign_imports(&self) -> Vec<&str> {
        self.imports.iter().map(String::as_str).filter(|name| !name.starts_with(CONTRACT)).collect()
    }
}

/// Looks into the bytes of a component. The error says what is wrong with it.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, String> {
    let parts = parts(bytes)?;
    let manifest = Manifest::parse(&parts.manifest).map_err(|why| format!("its manifest: {why}"))?;
    let version = |name: &str| name.split_once('@').map(|(_, version)| version.to_string());
    let exports_lifecycle = parts.exports.iter().any(|name| {
        name.starts_with("rehome:phase/lifecycle@") && version(name).is_some_and(|v| v.starts_with(&format!("{API}.")))
    });
    if !exports_lifecycle {
        return Err(format!("exports no rehome:phase/lifecycle@{API}.x, but: {}", listed(&parts.exports)));
    }
    let other =
        |name: &&String| name.starts_with(CONTRACT) && version(name).is_none_or(|v| !v.starts_with(&format!("{API}.")));
    if let Some(import) = parts.imports.iter().find(other) {
        return Err(format!("imports {import}, and its manifest says api = \"{}\"", manifest.api));
    }
    let remarks = remarks(&manifest, &parts.imports);
    let requested = requested(&manifest).into_iter().filter(|(_, requested)| *requested);
    let not_imported = requested.map(|(name, _)| name).filter(|name| !imports_it(&parts.imports, name)).collect();
    let digest = Sha256::digest(bytes).iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}"));
    Ok(Inspection {
        manifest_text: parts.manifest,
        manifest,
        imports: parts.imports,
        exports: parts.exports,
        size: bytes.len() as u64,
        digest,
        remarks,
        not_imported,
    })
}

struct Parts {
    manifest: String,
    imports: Vec<String>,
    exports: Vec<String>,
}

fn parts(bytes: &[u8]) -> Result<Parts, String> {
    let mut manifests = Vec::new();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let broken = |why: wasmparser::BinaryReaderError| format!("is no component: {why}");
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err("is a core module, and no component: `rehome phase build` makes one".into());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_string());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(broken)?.name.name.to_string());
                }
            }
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                manifests.push(section.data());
            }
            _ => {}
        }
    }
    match manifests.as_slice() {
        [] => Err(format!("has no manifest: no custom section `{SECTION}`; `rehome phase build` adds it")),
        [one] => {
            let manifest = String::from_utf8(one.to_vec()).map_err(|_| "its manifest is not UTF-8".to_string())?;
            Ok(Parts { manifest, imports, exports })
        }
        many => Err(format!("has {} manifests, and no way to tell which one counts", many.len())),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

/// Capabilities that need requests, and whether the manifest has some.
fn requested(manifest: &Manifest) -> [(&'static str, bool); 6] {
    [
        ("exec", !(manifest.exec.is_empty() && manifest.pipe.is_empty())),
        (
            "files",
            !(manifest.tree.is_empty()
                && manifest.sync.is_empty()
                && manifest.file.is_empty()
                && manifest.aside.is_empty()),
        ),
        (
            "sql",
            !(manifest.schema.is_empty()
                && manifest.sql.is_empty()
                && manifest.copy.is_empty()
                && manifest.snapshot.is_empty()),
        ),
        ("redis", !manifest.redis_copy.is_empty()),
        ("dns", !(manifest.lookup.is_empty() && manifest.record.is_empty())),
        ("operator", !manifest.question.is_empty()),
    ]
}

fn remarks(manifest: &Manifest, imports: &[String]) -> Vec<String> {
    // Other toolchains than Rust's import the whole world: then an import says nothing.
    let whole_world = requested(manifest).iter().all(|(name, _)| imports_it(imports, name));
    requested(manifest)
        .into_iter()
        .filter_map(|(name, requested)| match (requested, imports_it(imports, name)) {
            (true, false) => Some(format!("requests {name}, and never calls it: it imports no rehome:phase/{name}")),
            (false, true) if !whole_world => {
                Some(format!("imports rehome:phase/{name}, and its manifest requests nothing of it: calls are refused"))
            }
            _ => None,
        })
        .collect()
}

fn imports_it(imports: &[String], capability: &str) -> bool {
    imports
        .iter()
        .any(|name| name.strip_prefix(CONTRACT).is_some_and(|rest| rest.split('@').next() == Some(capability)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::append_section;

    const MANIFEST: &str = r#"
name = "example"
version = "0.1.0"
api = "0.1"
about = "An example"
[question.go-on]
kind = "confirm"
about = "whether"
"#;

    /// A component with these imports and the lifecycle export, all of them empty instances.
    fn component(imports: &[&str], manifests: &[&str]) -> Vec<u8> {
        let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
        let text = format!(
            "(component {imports} (core module) (instance $i) (export \"rehome:phase/lifecycle@0.1.0\" (instance $i)))"
        );
        let mut bytes = wat::parse_str(text).unwrap();
        for manifest in manifests {
            append_section(&mut bytes, SECTION, manifest.as_bytes());
        }
        bytes
    }

    #[test]
    fn manifest_imports_and_digest_are_read_without_running_anything() {
        let bytes = component(&["rehome:phase/operator@0.1.0", "rehome:phase/report@0.1.0"], &[MANIFEST]);
        let seen = inspect(&bytes).unwrap();
        assert_eq!(seen.manifest.name, "example");
        assert_eq!(seen.imports.len(), 2);
        assert_eq!(seen.size, bytes.len() as u64);
        assert!(seen.digest.starts_with("sha256:") && seen.digest.len() == 71);
        assert!(seen.remarks.is_empty() && seen.foreign_imports().is_empty());
    }

    #[test]
    fn a_request_without_its_import_and_the_reverse_are_remarked() {
        let seen = inspect(&component(&["rehome:phase/exec@0.1.0"], &[MANIFEST])).unwrap();
        assert_eq!(seen.remarks.len(), 2, "{:?}", seen.remarks);
        assert!(seen.remarks[0].contains("imports rehome:phase/exec"));
        assert!(seen.remarks[1].contains("requests operator"));
        assert_eq!(seen.not_imported, ["operator"]);
    }

    #[test]
    fn wasi_is_foreign() {
        let bytes = component(&["rehome:phase/operator@0.1.0", "wasi:cli/environment@0.2.0"], &[MANIFEST]);
        assert_eq!(inspect(&bytes).unwrap().foreign_imports(), ["wasi:cli/environment@0.2.0"]);
    }

    #[test]
    fn what_is_no_phase_is_refused_with_the_reason() {
        for (bytes, why) in [
            (wat::parse_str("(module)").unwrap(), "core module"),
            (b"\0asm\x0d\0\x01\0\xff\xff".to_vec(), "is no component"),
            (b"hello".to_vec(), "is no component"),
            (component(&[], &[]), "no manifest"),
            (component(&[], &[MANIFEST, MANIFEST]), "2 manifests"),
            (component(&[], &["name = 1"]), "its manifest"),
            (component(&["rehome:phase/operator@0.2.0"], &[MANIFEST]), "0.2.0"),
        ] {
            let said = inspect(&bytes).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let mut bare = wat::parse_str("(component)").unwrap();
        append_section(&mut bare, SECTION, MANIFEST.as_bytes());
        assert!(inspect(&bare).unwrap_err().contains("exports no"));
    }

    #[test]
    fn a_manifest_hidden_in_a_nested_module_does_not_count() {
        let text = "(component (core module (@custom \"rehome:manifest\" \"name = 1\")) (instance $i) \
                    (export \"rehome:phase/lifecycle@0.1.0\" (instance $i)))";
        assert!(inspect(&wat::parse_str(text).unwrap()).unwrap_err().contains("no manifest"));
    }
}

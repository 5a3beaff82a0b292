//! A look at a component's outermost imports and exports, before anything of it is compiled or run. Invariant: what passes
//! imports nothing but interfaces of the contract (the linker alone would accept an unknown import that is empty).

use wasmparser::{Chunk, Encoding, Parser, Payload};

use crate::error::{INTERFACES, LINE, LoadError, PACKAGE, one_line};

/// Checks imports and exports; answers the capabilities it imports, sorted.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Vec<String>, LoadError> {
    let (imports, exports) = names(bytes)?;
    let mut capabilities = Vec::new();
    for import in &imports {
        let interface = interface(import)?;
        if interface != "types" {
            capabilities.push(interface.to_string());
        }
    }
    let lifecycle = exports.iter().find_map(|name| name.strip_prefix(PACKAGE)?.strip_prefix("lifecycle@"));
    match lifecycle {
        Some(version) if fits(version) => {}
        Some(version) => {
            return Err(LoadError::OtherVersion { name: one_line(&format!("{PACKAGE}lifecycle@{version}")) });
        }
        None => return Err(LoadError::NoLifecycle),
    }
    capabilities.sort();
    capabilities.dedup();
    Ok(capabilities)
}

/// The interface of the contract that an import names.
fn interface(import: &str) -> Result<&str, LoadError> {
    let shown = || one_line(import);
    if import.starts_with("wasi:") {
        return Err(LoadError::Wasi { import: shown() });
    }
    let named = import.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'));
    match named {
        Some((interface, version)) if INTERFACES.contains(&interface) => {
            if fits(version) {
                Ok(interface)
            } else {
                Err(LoadError::OtherVersion { name: shown() })
            }
        }
        _ => Err(LoadError::UnknownImport { import: shown() }),
    }
}

/// 0.1.0 to 0.1.∞, no pre-releases.
fn fits(version: &str) -> bool {
    version.strip_prefix(LINE).is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Names of the outermost imports and exports. Nested modules and components are jumped over.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), LoadError> {
    let broken = |error: wasmparser::BinaryReaderError| LoadError::NotAComponent { what: one_line(&error.to_string()) };
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let (mut parser, mut at) = (Parser::new(0), 0);
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(&bytes[at..], true).map_err(broken)? else {
            return Err(LoadError::NotAComponent { what: "it ends too early".into() });
        };
        at += consumed;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => return Err(LoadError::CoreModule),
            Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                at = at.saturating_add(unchecked_range.len());
                if at > bytes.len() {
                    return Err(LoadError::NotAComponent {
                        what: "it ends within a module: the file is cut short".into(),
                    });
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_string());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    exports.push(export.map_err(broken)?.name.name.to_string());
                }
            }
            Payload::End(_) => return Ok((imports, exports)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_0_1_fits() {
        for version in ["0.1.0", "0.1.17"] {
            assert!(fits(version), "{version}");
        }
        for version in ["0.1", "0.1.", "0.2.0", "1.0.0", "0.1.0-rc.1", "0.10.0", ""] {
            assert!(!fits(version), "{version}");
        }
    }

    #[test]
    fn an_import_is_of_the_contract_or_named_in_the_error() {
        assert_eq!(interface("rehome:phase/exec@0.1.3"), Ok("exec"));
        assert!(matches!(interface("wasi:io/poll@0.2.0"), Err(LoadError::Wasi { .. })));
        assert!(matches!(interface("rehome:phase/exec@0.2.0"), Err(LoadError::OtherVersion { .. })));
        for unknown in ["rehome:phase/shell@0.1.0", "rehome:phase/exec", "evil:host/x@0.1.0", "run", "\x1b[2J"] {
            let error = interface(unknown).unwrap_err();
            assert!(matches!(error, LoadError::UnknownImport { .. }), "{error}");
            assert!(!error.to_string().contains('\x1b'));
        }
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        assert!(matches!(inspect(b""), Err(LoadError::NotAComponent { .. })));
        assert!(matches!(inspect(b"#!/bin/sh\n"), Err(LoadError::NotAComponent { .. })));
        assert_eq!(inspect(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule));
        assert_eq!(inspect(b"\0asm\x0d\0\x01\0"), Err(LoadError::NoLifecycle));
        let cut = wat::parse_str("(component (core module (func unreachable)))").unwrap();
        assert!(matches!(inspect(&cut[..cut.len() - 3]), Err(LoadError::NotAComponent { .. })));
    }
}

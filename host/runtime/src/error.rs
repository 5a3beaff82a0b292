//! Why a component cannot be used, in words for the operator and for who wrote it: what is wrong, where, and what to do.
//! How a call of a usable one ends is the gatekeeper's `CallError`.

use rehome_sync::escape;

/// Why there is no runtime at all.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime does not run here
    #[error("cannot make a WebAssembly engine: {0}")]
    Engine(String),
    /// no thread
    #[error("cannot start the thread that limits how long a component computes: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why bytes are not a component that can be called. Names that come from the component are made safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// native code that some wasmtime made
    #[error(
        "this is precompiled native code (a .cwasm), which is never loaded from outside: nothing could bound what it does\n\
         hint: give the component (.wasm) that it was made from; rehome compiles it and keeps the result"
    )]
    Precompiled,
    /// not WebAssembly, or broken
    #[error("this is not a WebAssembly component: {what}\nhint: build the phase again, or copy the file again")]
    NotAComponent {
        /// where and why, as the parser says it
        what: String,
    },
    /// a bare module
    #[error(
        "this is a core WebAssembly module, not a component\n\
         hint: `rehome phase build` makes a component of it"
    )]
    CoreModule,
    /// it imports WASI
    #[error(
        "the component imports `{import}`: this host offers no WASI, only `rehome:phase`\n\
         hint: build a Rust phase for wasm32-unknown-unknown; in other languages turn WASI off (files, clocks, random, stdio): \
         time, chance and log lines come from `rehome:phase/clock` and `rehome:phase/report`"
    )]
    Wasi {
        /// "wasi:cli/environment@0.2.0"
        import: String,
    },
    /// it imports something else that is not of the contract
    #[error(
        "the component imports `{import}`, which is not of the contract; a phase may import {}\n\
         hint: build it against this rehome's `wit/`",
        known()
    )]
    UnknownImport {
        /// its name
        import: String,
    },
    /// the contract, in another version
    #[error(
        "the component was built for `{name}`, and this rehome speaks {}\n\
         hint: build it against this rehome's `wit/`, or use the rehome it was built for",
        version()
    )]
    OtherVersion {
        /// an import or an export
        name: String,
    },
    /// it exports no phase
    #[error(
        "the component does not export `{LIFECYCLE}`: it is not a phase\n\
         hint: with the SDK, `rehome_sdk::phase!(…)` exports it"
    )]
    NoLifecycle,
    /// its imports or exports have other types than the contract
    #[error("the component does not fit the contract: {what}\nhint: build it against this rehome's `wit/`")]
    Contract {
        /// as the linker says it
        what: String,
    },
    /// it is not valid
    #[error("the component cannot be compiled: {what}\nhint: build the phase again, or copy the file again")]
    Compile {
        /// as the compiler says it
        what: String,
    },
}

/// The package of the contract.
pub(crate) const PACKAGE: &str = "rehome:phase/";
/// The line of versions that fit together.
pub(crate) const LINE: &str = "0.1.";
const LIFECYCLE: &str = "rehome:phase/lifecycle@0.1";
/// What a component may import.
pub(crate) const INTERFACES: [&str; 10] =
    ["clock", "dns", "exec", "files", "journal", "operator", "redis", "report", "sql", "types"];

fn known() -> String {
    format!("{PACKAGE}{{{}}}@{LINE}x", INTERFACES.join(", "))
}

fn version() -> String {
    format!("{LINE}x")
}

/// An error of wasmtime's with its causes, safe to show, on one line.
pub(crate) fn said(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(|cause| cause.to_string()).collect();
    one_line(&causes.join(": "))
}

/// Text of a component, or with names of a component in it: at most 500 characters on one line, safe to show.
pub(crate) fn one_line(text: &str) -> String {
    const MOST: usize = 500;
    let joined: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = joined.join(" ");
    match joined.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", escape(&joined.as_bytes()[..end])),
        None => escape(joined.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_says_is_one_short_safe_line() {
        assert_eq!(one_line("panicked at\n  \x1b[2Jhere\r\n"), "panicked at \\u{1b}[2Jhere");
        assert_eq!(one_line(&"ü".repeat(501)), format!("{}…", "ü".repeat(500)));
    }

    #[test]
    fn errors_name_the_import_and_the_remedy() {
        let text = LoadError::Wasi { import: "wasi:cli/environment@0.2.0".into() }.to_string();
        assert!(text.contains("wasi:cli/environment@0.2.0") && text.contains("hint: "), "{text}");
        let text = LoadError::UnknownImport { import: "evil:x/y".into() }.to_string();
        assert!(text.contains("rehome:phase/{clock, dns,") && text.contains("}@0.1.x"), "{text}");
    }
}

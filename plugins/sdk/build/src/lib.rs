//! For the `build.rs` of a phase: `fn main() { rehome_sdk_build::constants(); }` makes a constant of every request in
//! `manifest.toml`, so that a misspelt request, or one value too few, fails when the phase is built.
//! `rehome_sdk::manifest!()` takes them in; [`generate`] is the same for a text.

use std::fmt::Write as _;
use std::path::Path;

use rehome_manifest::hole::segments;
use rehome_manifest::manifest::QuestionKind;
use rehome_manifest::words::{Effect, SideName};
use rehome_manifest::{Hole, Manifest, ManifestError, Segment};

/// Reads `manifest.toml` of the crate that is being built and writes `$OUT_DIR/requests.rs`.
///
/// Ends the build with a message when the manifest is missing or refused.
pub fn constants() {
    println!("cargo::rerun-if-changed=manifest.toml");
    let written = std::env::var_os("OUT_DIR")
        .ok_or_else(|| "is not a build script: cargo sets no OUT_DIR".to_string())
        .and_then(|out| write(Path::new("manifest.toml"), &Path::new(&out).join("requests.rs")));
    if let Err(why) = written {
        println!("cargo::error=manifest.toml: {why}");
        std::process::exit(1);
    }
}

fn write(manifest: &Path, requests: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(manifest).map_err(|why| why.to_string())?;
    let code = generate(&text).map_err(|why| why.to_string())?;
    std::fs::write(requests, code).map_err(|why| format!("cannot write {}: {why}", requests.display()))
}

/// The Rust text of the constants of a manifest.
pub fn generate(text: &str) -> Result<String, ManifestError> {
    let manifest = Manifest::parse(text)?;
    let mut code = Code(String::new());
    let _ = writeln!(code.0, "/// The manifest itself.\npub const MANIFEST: &str = {text:?};");
    exec(&mut code, &manifest);
    files(&mut code, &manifest);
    databases(&mut code, &manifest);
    others(&mut code, &manifest);
    Ok(code.0)
}

struct Code(String);

impl Code {
    /// `pub mod MODULE { pub const NAME: ::rehome_sdk::TYPE = …; }`
    fn module(&mut self, module: &str, constants: impl Iterator<Item = (String, String, String)>) {
        let mut constants = constants.peekable();
        if constants.peek().is_none() {
            return;
        }
        let _ = writeln!(self.0, "/// `[{}.*]`\npub mod {module} {{", module.replace('_', "-"));
        for (name, kind, about) in constants {
            let constant = name.to_uppercase().replace('-', "_");
            let about: Vec<&str> = about.lines().collect();
            let path = kind.split('<').next().unwrap_or_default();
            let _ = writeln!(self.0, "    #[doc = {:?}]", about.join(" "));
            let _ = writeln!(
                self.0,
                "    pub const {constant}: ::rehome_sdk::{kind} = ::rehome_sdk::{path}::named({name:?});"
            );
        }
        self.0.push_str("}\n");
    }
}

fn exec(code: &mut Code, manifest: &Manifest) {
    let request = |(name, request): (&String, &rehome_manifest::manifest::Exec)| {
        let holes = request
            .argv
            .iter()
            .filter(|argument| matches!(Hole::parse(argument), Ok(Some(hole)) if hole.takes_value()))
            .count();
        let kind = match &request.rows {
            Some(template) => format!("exec::Fed<{holes}, {}>", columns(Some(template))),
            None => format!("exec::Request<{holes}>"),
        };
        let about = format!("`{}` ({} on {})", request.argv.join(" "), request.effect, sides(&request.on));
        (name.clone(), kind, with_reason(about, request.reason.as_deref()))
    };
    code.module("exec", manifest.exec.iter().map(request));
    code.module(
        "pipe",
        manifest.pipe.iter().map(|(name, pipe)| {
            let about = format!("`{}` into `{}`", pipe.source, pipe.sink);
            (name.clone(), "exec::Pipe".into(), with_reason(about, Some(&pipe.reason)))
        }),
    );
}

fn files(code: &mut Code, manifest: &Manifest) {
    code.module(
        "tree",
        manifest.tree.iter().map(|(name, tree)| {
            (name.clone(), "files::Tree".into(), format!("`{}` on {}", tree.path, sides(&tree.on)))
        }),
    );
    code.module(
        "sync",
        manifest.sync.iter().map(|(name, sync)| {
            let about = format!("tree `{}` to {}", sync.tree, sync.to);
            (name.clone(), "files::Sync".into(), with_reason(about, Some(&sync.reason)))
        }),
    );
    code.module(
        "file",
        manifest.file.iter().map(|(name, file)| {
            let about = format!("`{}` on {}", file.path, sides(&file.on));
            let kind = format!("files::File<{}>", columns(file.line.as_deref()));
            (name.clone(), kind, with_reason(about, Some(&file.reason)))
        }),
    );
    code.module(
        "aside",
        manifest.aside.iter().map(|(name, aside)| {
            let about = format!("`{}` in tree `{}` on {}", aside.names.join("`, `"), aside.tree, sides(&aside.on));
            (name.clone(), "files::Aside".into(), with_reason(about, Some(&aside.reason)))
        }),
    );
}

fn databases(code: &mut Code, manifest: &Manifest) {
    code.module(
        "schema",
        manifest.schema.iter().map(|(name, schema)| {
            (name.clone(), "sql::Schema".into(), format!("database `{}` on {}", schema.database, sides(&schema.on)))
        }),
    );
    code.module(
        "sql",
        manifest.sql.iter().map(|(name, sql)| {
            let kind = if sql.effect == Effect::Read { "Query" } else { "Statement" };
            let about = format!("`{}` ({} on {})", sql.text, sql.effect, sides(&sql.on));
            (name.clone(), format!("sql::{kind}<{}>", bound(&sql.text)), with_reason(about, sql.reason.as_deref()))
        }),
    );
    code.module(
        "copy",
        manifest.copy.iter().map(|(name, copy)| {
            let about = format!("database `{}`, from old to new", copy.database);
            (name.clone(), "sql::Copy".into(), with_reason(about, Some(&copy.reason)))
        }),
    );
    code.module(
        "snapshot",
        manifest.snapshot.iter().map(|(name, snapshot)| {
            let about = format!("database `{}` on {}", snapshot.database, sides(&snapshot.on));
            (name.clone(), "sql::Snapshot".into(), with_reason(about, Some(&snapshot.reason)))
        }),
    );
}

fn others(code: &mut Code, manifest: &Manifest) {
    code.module(
        "redis_copy",
        manifest.redis_copy.iter().map(|(name, copy)| {
            (
                name.clone(),
                "redis::Copy".into(),
                with_reason(format!("`{}`", copy.patterns.join("`, `")), Some(&copy.reason)),
            )
        }),
    );
    code.module(
        "lookup",
        manifest.lookup.iter().map(|(name, lookup)| {
            let about = format!("`{} {}`", lookup.owner, lookup.kind);
            (name.clone(), format!("dns::Lookup<{}>", columns(Some(&lookup.owner))), about)
        }),
    );
    code.module(
        "record",
        manifest.record.iter().map(|(name, record)| {
            let holes = columns(Some(&record.owner));
            let about = format!("`{} {}`", record.owner, record.kind);
            (name.clone(), format!("dns::Record<{holes}>"), with_reason(about, Some(&record.reason)))
        }),
    );
    code.module(
        "question",
        manifest.question.iter().map(|(name, question)| {
            let kind = match question.kind {
                QuestionKind::Confirm => "operator::Confirm",
                QuestionKind::Choose => "operator::Choose",
                QuestionKind::Wait => "operator::Wait",
            };
            (name.clone(), kind.into(), question.about.clone())
        }),
    );
}

fn with_reason(about: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{about}: {reason}"),
        None => about,
    }
}

fn sides(on: &[SideName]) -> String {
    on.iter().map(|side| side.as_str()).collect::<Vec<_>>().join(" and ")
}

/// Holes of a line template.
fn columns(template: Option<&str>) -> usize {
    segments(template.unwrap_or_default())
        .unwrap_or_default()
        .iter()
        .filter(|segment| matches!(segment, Segment::Hole(_)))
        .count()
}

/// Different `:name`s of a statement, outside its quotes.
fn bound(statement: &str) -> usize {
    let bytes = statement.as_bytes();
    let mut names: Vec<&str> = Vec::new();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'\'' | b'"' | b'`')) => quote = Some(byte),
            (None, b':') => {
                let length = bytes[at + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                let name = &statement[at + 1..at + 1 + length];
                // `::` is a cast of PostgreSQL
                if length > 0 && at.checked_sub(1).is_none_or(|before| bytes[before] != b':') && !names.contains(&name)
                {
                    names.push(name);
                }
                at += length;
            }
            _ => {}
        }
        at += 1;
    }
    names.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        name = "example"
        version = "0.1.0"
        api = "0.1"
        about = "An example"
        [exec.users]
        on = ["old"]
        argv = ["doveadm", "user", "*"]
        effect = "read"
        yields = "lines"
        [exec.force-resync]
        on = ["new"]
        argv = ["doveadm", "force-resync", "-u", "{user: mailbox from exec.users}", "*"]
        effect = "repeatable"
        reason = "rebuilds what Dovecot knows"
        [sql.of-domain]
        on = ["old", "new"]
        database = "mailserver"
        text = "SELECT email FROM u WHERE d = :domain AND t <> ':no' AND e <> :domain AND q > :quota"
        effect = "read"
    "#;

    #[test]
    fn each_request_becomes_a_constant_with_the_number_of_its_values() {
        let code = generate(MANIFEST).unwrap();
        assert!(code.contains("pub const FORCE_RESYNC: ::rehome_sdk::exec::Request<1>"), "{code}");
        assert!(code.contains("pub const USERS: ::rehome_sdk::exec::Request<0>"), "{code}");
        assert!(code.contains("pub const OF_DOMAIN: ::rehome_sdk::sql::Query<2>"), "{code}");
        assert!(!code.contains("pub mod question"), "{code}");
    }

    #[test]
    fn a_refused_manifest_makes_no_constants() {
        let why = generate(&MANIFEST.replace("exec.users}", "exec.user}")).unwrap_err().to_string();
        assert!(why.contains("exec.force-resync") && why.contains("exec.user"), "{why}");
    }

    #[test]
    fn bound_values_are_counted_once_and_not_in_quotes_or_casts() {
        assert_eq!(bound("SELECT :a, :b, :a, ':c', \":d\""), 2);
        assert_eq!(bound("SELECT now()::date"), 0);
        assert_eq!(bound("SELECT 1"), 0);
    }
}

//! Fills a plan's config into a manifest: the result is what is shown, approved, hashed and obeyed. After this, nothing of
//! a request changes any more but its holes.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::config::{Config, ConfigValue};
use crate::manifest::Manifest;
use crate::parse::{ManifestError, refuse};
use crate::words::{Effect, SideName, Verb};
use crate::{render, value};

/// A manifest with its config filled in, and its requests as an operator sees them.
#[derive(Clone, Debug)]
pub struct Filled {
    /// every `${config.…}` replaced
    pub manifest: Manifest,
    /// by id: `exec.stop`
    pub requests: BTreeMap<String, Request>,
    /// ids of requests that are not asked for with this config
    pub left_out: BTreeSet<String>,
    /// what the component gets
    pub config: Config,
}

/// One request as an operator approves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `exec.stop`
    pub id: String,
    /// as its author says
    pub effect: Effect,
    /// the sides it touches
    pub on: Vec<SideName>,
    /// only under these verbs; empty: wherever its effect is allowed
    pub verbs: Vec<Verb>,
    /// why it is asked for
    pub reason: Option<String>,
    /// what it does, verbatim, one line or more
    pub text: String,
    /// what to look at twice
    pub marks: Vec<String>,
    /// `sha256:…` of the filled request: changes whenever anything of it does
    pub digest: String,
}

/// Fills `config` into `manifest`.
pub fn fill(manifest: &Manifest, config: Config) -> Result<Filled, ManifestError> {
    let mut table = toml::Table::try_from(manifest).map_err(|error| ManifestError::Syntax(error.to_string()))?;
    // The config declarations stay as they are; everything else may hold placeholders.
    let declared = table.remove("config");
    let (mut digests, mut left_out) = (BTreeMap::new(), BTreeSet::new());
    for (capability, requests) in &mut table {
        let toml::Value::Table(requests) = requests else { continue };
        requests.retain(|name, request| {
            let asked = asked_for(request, &config);
            if !asked {
                left_out.insert(format!("{capability}.{name}"));
            }
            asked
        });
        for (name, request) in requests {
            let id = format!("{capability}.{name}");
            walk(request, &config, false).map_err(|why| refuse(&id, &why))?;
            let digest = Sha256::digest(toml::to_string(request).unwrap_or_default().as_bytes());
            digests.insert(id, digest.iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}")));
        }
    }
    if let Some(declared) = declared {
        table.insert("config".into(), declared);
    }
    let filled: Manifest =
        table.try_into().map_err(|error: toml::de::Error| ManifestError::Syntax(error.to_string()))?;
    let filled = Manifest::parse(&toml::to_string(&filled).map_err(|error| ManifestError::Syntax(error.to_string()))?)?;
    paths(&filled)?;
    let requests = render::requests(&filled, &digests);
    Ok(Filled { manifest: filled, requests, left_out, config })
}

/// Whether a request's `when` holds; takes it off, so that the same request has the same digest whatever it depends on.
fn asked_for(request: &mut toml::Value, config: &Config) -> bool {
    let Some(toml::Value::Table(when)) = request.as_table_mut().and_then(|table| table.remove("when")) else {
        return true;
    };
    when.iter().all(|(key, words)| {
        let Some(value) = config.get(key) else { return false };
        let is = |word: &str| match (value.list, value.texts.is_empty()) {
            (true, empty) => word == if empty { "none" } else { "some" },
            (false, _) => value.texts.iter().any(|text| text == word),
        };
        words.as_array().is_some_and(|words| words.iter().filter_map(toml::Value::as_str).any(is))
    })
}

/// Keys whose text is SQL.
const SQL: [&str; 5] = ["text", "select", "compare", "insert", "delete"];

fn walk(value: &mut toml::Value, config: &Config, sql: bool) -> Result<(), String> {
    match value {
        toml::Value::String(text) => *text = filled(text, config, sql)?,
        toml::Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for mut item in std::mem::take(items) {
                match item.as_str().and_then(|text| whole_list(text, config)) {
                    Some(list) => out.extend(list.texts.iter().cloned().map(toml::Value::String)),
                    None => {
                        walk(&mut item, config, sql)?;
                        out.push(item);
                    }
                }
            }
            *items = out;
        }
        toml::Value::Table(table) => {
            // A statement has `database`; a copy step has `select`. The text of a file is not SQL.
            let statements = table.contains_key("database") || table.contains_key("select");
            for (key, value) in table {
                walk(value, config, statements && SQL.contains(&key.as_str()))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The list that an element like `"${config.domains}"` stands for.
fn whole_list<'a>(text: &str, config: &'a Config) -> Option<&'a ConfigValue> {
    let key = text.strip_prefix("${config.")?.strip_suffix('}')?;
    config.get(key).filter(|value| value.list)
}

fn filled(text: &str, config: &Config, sql: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else { return Err(format!("`{text}`: `${{` without `}}`")) };
        let name = &rest[at + 2..at + end];
        let value = name.strip_prefix("config.").and_then(|key| config.get(key));
        let Some(value) = value else { return Err(format!("`${{{name}}}` is no config key of this component")) };
        match (sql, value.list) {
            (true, _) => out.push_str(&literal(value)),
            (false, false) => out.push_str(&value.texts.concat()),
            (false, true) => {
                return Err(format!("`${{{name}}}` is a list: it can only stand alone, as an element of a list"));
            }
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// A config value inside a statement. An empty list is NULL: `IN (NULL)` matches nothing.
fn literal(value: &ConfigValue) -> String {
    if value.texts.is_empty() {
        return "NULL".into();
    }
    let quoted = |text: &String| match (value.bare, &value.json) {
        (true, _) | (_, serde_json::Value::Number(_)) => text.clone(),
        // Backslashes are escapes to MariaDB and none to SQLite: types that reach SQL do not hold them.
        _ => format!("'{}'", text.replace('\'', "''")),
    };
    value.texts.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Whether a path is another one, or lies below it.
fn is_below(path: &str, above: &str) -> bool {
    let rest = path.trim_end_matches('/').strip_prefix(above.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn paths(manifest: &Manifest) -> Result<(), ManifestError> {
    let backslash = |id: String, text: &str| {
        if text.contains('\\') && text.contains('\'') {
            Err(refuse(&id, "has a backslash in a statement with quotes"))
        } else {
            Ok(())
        }
    };
    for (name, tree) in &manifest.tree {
        let id = format!("tree.{name}");
        value::absolute(&tree.path).map_err(|why| refuse(&id, &format!("its path `{}` {why}", tree.path)))?;
        for folder in &tree.scope {
            if folder.starts_with('/') || folder.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(refuse(&id, &format!("its scope `{folder}` is not a folder below it")));
            }
        }
    }
    for (name, sync) in &manifest.sync {
        let Some(into) = &sync.into else { continue };
        let id = format!("sync.{name}");
        value::absolute(into).map_err(|why| refuse(&id, &format!("its folder `{into}` {why}")))?;
        let path = manifest.tree.get(&sync.tree).map_or("", |tree| tree.path.as_str());
        if sync.source() == sync.to && (is_below(path, into) || is_below(into, path)) {
            return Err(refuse(&id, &format!("its folder `{into}` and the tree `{path}` lie in each other")));
        }
    }
    for (name, file) in &manifest.file {
        value::absolute(&file.path)
            .map_err(|why| refuse(&format!("file.{name}"), &format!("its path `{}` {why}", file.path)))?;
    }
    for (name, sql) in &manifest.sql {
        backslash(format!("sql.{name}"), &sql.text)?;
    }
    for (name, copy) in &manifest.copy {
        for step in &copy.step {
            backslash(format!("copy.{name}"), &step.select)?;
            backslash(format!("copy.{name}"), &step.insert)?;
            backslash(format!("copy.{name}"), step.compare.as_deref().unwrap_or_default())?;
            backslash(format!("copy.{name}"), step.delete.as_deref().unwrap_or_default())?;
        }
    }
    Ok(())
}

//! What a plan sets for a phase: checked against the manifest's `[config.*]` before anything is shown or run.
//! A `Config` holds every key, defaults filled in, as text for requests and as JSON for the component.

use std::collections::BTreeMap;

use crate::manifest::{ConfigKey, Manifest};
use crate::{quantity, value::ValueType};

/// A phase's checked config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(BTreeMap<String, ConfigValue>);

/// One checked value.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue {
    /// as text, one for a scalar
    pub texts: Vec<String>,
    /// whether it is a list
    pub list: bool,
    /// whether SQL may take it as it is, without quotes
    pub bare: bool,
    /// as the component gets it: durations in seconds, sizes in bytes
    pub json: serde_json::Value,
}

/// What is wrong with a phase's config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// a key that the component does not have
    #[error("component `{component}` has no config key `{key}`; it has {known}")]
    #[expect(missing_docs, reason = "the message names them")]
    Unknown { component: String, key: String, known: String },
    /// a key without default that the plan does not set
    #[error("component `{component}` needs the config key `{key}`: {about}")]
    #[expect(missing_docs, reason = "the message names them")]
    Missing { component: String, key: String, about: String },
    /// a value that its key's type refuses
    #[error("config key `{key}`: {why}")]
    #[expect(missing_docs, reason = "the message names them")]
    Refused { key: String, why: String },
}

impl ConfigError {
    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            ConfigError::Unknown { key, .. } | ConfigError::Missing { key, .. } | ConfigError::Refused { key, .. } => {
                key
            }
        }
    }
}

impl Config {
    /// Checks `given` against the manifest.
    pub fn check(manifest: &Manifest, given: &toml::Table) -> Result<Config, ConfigError> {
        if let Some(key) = given.keys().find(|key| !manifest.config.contains_key(*key)) {
            let known: Vec<&str> = manifest.config.keys().map(String::as_str).collect();
            return Err(ConfigError::Unknown {
                component: manifest.name.clone(),
                key: key.clone(),
                known: if known.is_empty() { "none".into() } else { known.join(", ") },
            });
        }
        let mut values = BTreeMap::new();
        for (key, declared) in &manifest.config {
            let Some(value) = given.get(key).or(declared.default.as_ref()) else {
                return Err(ConfigError::Missing {
                    component: manifest.name.clone(),
                    key: key.clone(),
                    about: declared.about.clone(),
                });
            };
            let value = convert(declared, value).map_err(|why| ConfigError::Refused { key: key.clone(), why })?;
            values.insert(key.clone(), value);
        }
        Ok(Config(values))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&ConfigValue> {
        self.0.get(key)
    }

    /// The JSON object that the component gets.
    pub fn to_json(&self) -> String {
        let object: serde_json::Map<_, _> =
            self.0.iter().map(|(key, value)| (key.clone(), value.json.clone())).collect();
        serde_json::Value::Object(object).to_string()
    }
}

/// Checks what the manifest itself says of a key: its type is known, its default is of that type.
pub(crate) fn check_key(key: &str, declared: &ConfigKey) -> Result<(), String> {
    let scalar = declared.kind.strip_prefix("list of ").unwrap_or(&declared.kind);
    let known = ValueType::named(scalar).is_some() || ["boolean", "duration", "size", "choice"].contains(&scalar);
    if !known {
        return Err(format!(
            "config key `{key}`: `{}` is no type; types are {}, boolean, duration, size, choice, and `list of` each",
            declared.kind,
            ValueType::names().collect::<Vec<_>>().join(", ")
        ));
    }
    if scalar == "choice" && declared.of.is_empty() {
        return Err(format!("config key `{key}`: a choice needs `of = […]`"));
    }
    match &declared.default {
        Some(value) => {
            convert(declared, value).map(drop).map_err(|why| format!("default of config key `{key}`: {why}"))
        }
        None => Ok(()),
    }
}

fn convert(declared: &ConfigKey, value: &toml::Value) -> Result<ConfigValue, String> {
    let Some(kind) = declared.kind.strip_prefix("list of ") else {
        let (text, json) = scalar(&declared.kind, &declared.of, value)?;
        return Ok(ConfigValue { texts: vec![text], list: false, bare: declared.kind == "identifier", json });
    };
    let toml::Value::Array(items) = value else {
        return Err(format!("is {}, and should be a list of {kind}", kind_of(value)));
    };
    let (texts, json): (Vec<String>, Vec<serde_json::Value>) =
        items.iter().map(|item| scalar(kind, &declared.of, item)).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    Ok(ConfigValue { texts, list: true, bare: kind == "identifier", json: json.into() })
}

fn scalar(kind: &str, of: &[String], value: &toml::Value) -> Result<(String, serde_json::Value), String> {
    match (kind, value) {
        ("boolean", toml::Value::Boolean(yes)) => Ok((yes.to_string(), (*yes).into())),
        ("integer", toml::Value::Integer(number)) => Ok((number.to_string(), (*number).into())),
        ("size", toml::Value::Integer(number)) if *number >= 0 => Ok((number.to_string(), (*number).into())),
        ("duration", toml::Value::String(text)) => quantity::duration(text).map(|d| (text.clone(), d.as_secs().into())),
        ("size", toml::Value::String(text)) => quantity::size(text).map(|bytes| (text.clone(), bytes.into())),
        ("choice", toml::Value::String(text)) if of.contains(text) => Ok((text.clone(), text.as_str().into())),
        ("choice", toml::Value::String(text)) => Err(format!("`{text}` is none of {}", of.join(", "))),
        (_, toml::Value::String(text)) => match ValueType::named(kind) {
            Some(kind) if kind != ValueType::Integer => match kind.check(text) {
                Ok(()) => Ok((text.clone(), text.as_str().into())),
                Err(why) => Err(format!("`{}` {why}", text.escape_default())),
            },
            _ => Err(format!("is {}, and should be {kind}", kind_of(value))),
        },
        _ => Err(format!("is {}, and should be {kind}", kind_of(value))),
    }
}

fn kind_of(value: &toml::Value) -> &'static str {
    match value {
        toml::Value::String(_) => "a string",
        toml::Value::Integer(_) => "an integer",
        toml::Value::Float(_) => "a number with a fraction",
        toml::Value::Boolean(_) => "a boolean",
        toml::Value::Datetime(_) => "a date",
        toml::Value::Array(_) => "a list",
        toml::Value::Table(_) => "a table",
    }
}

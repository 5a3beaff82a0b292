//! The plan as TOML has it: which keys there are, and of what type. Unknown keys are refused here, by serde.
//! Invariant: whatever a later refusal may have to point at is `Spanned`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rehome_gatekeeper::types::Stage;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPlan {
    #[serde(default)]
    pub migration: RawMigration,
    pub old: Spanned<RawSide>,
    pub new: Spanned<RawSide>,
    #[serde(default)]
    pub dns: RawDns,
    #[serde(default, rename = "publisher")]
    pub publishers: BTreeMap<String, Spanned<RawPublisher>>,
    #[serde(default, rename = "secret")]
    pub secrets: BTreeMap<String, Spanned<RawSecret>>,
    #[serde(default, rename = "phase")]
    pub phases: Vec<Spanned<RawPhase>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMigration {
    pub name: Option<Spanned<String>>,
    #[serde(default)]
    pub components: Folders,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSide {
    pub ssh: Option<Spanned<String>>,
    pub local: Option<Spanned<bool>>,
    pub folder: Option<Spanned<PathBuf>>,
    pub sudo: Option<Spanned<bool>>,
    pub ssh_config: Option<Spanned<PathBuf>>,
    pub known_hosts: Option<Spanned<PathBuf>>,
    pub control_dir: Option<Spanned<PathBuf>>,
    pub direct: Option<Spanned<bool>>,
    pub redis: Option<Spanned<RawRedis>>,
    #[serde(default)]
    pub database: BTreeMap<String, Spanned<RawDatabase>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDns {
    pub resolver: Option<Spanned<String>>,
    #[serde(default)]
    pub zone: BTreeMap<String, RawZone>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawZone {
    pub server: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPublisher {
    pub key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSecret {
    pub file: Spanned<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRedis {
    pub socket: Option<Spanned<PathBuf>>,
    pub port: Option<Spanned<u16>>,
    pub user: Option<Spanned<String>>,
    pub password: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDatabase {
    pub socket: Option<Spanned<PathBuf>>,
    pub postgres: Option<Spanned<PathBuf>>,
    pub sqlite: Option<Spanned<PathBuf>>,
    pub user: Option<Spanned<String>>,
    pub password: Option<Spanned<String>>,
    pub read_user: Option<Spanned<String>>,
    pub read_password: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPhase {
    pub id: Spanned<String>,
    pub component: Spanned<String>,
    pub stage: Spanned<Stage>,
    pub publisher: Option<Spanned<String>>,
    pub about: Option<String>,
    #[serde(default)]
    pub config: BTreeMap<Spanned<String>, toml::Value>,
}

/// One folder, or a list of them.
#[derive(Default)]
pub(super) struct Folders(pub Vec<PathBuf>);

impl<'de> Deserialize<'de> for Folders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Folders, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Folders;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a folder, or a list of folders")
            }
            fn visit_str<E>(self, folder: &str) -> Result<Folders, E> {
                Ok(Folders(vec![folder.into()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Folders, A::Error> {
                let mut folders = Vec::new();
                while let Some(folder) = items.next_element::<PathBuf>()? {
                    folders.push(folder);
                }
                Ok(Folders(folders))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

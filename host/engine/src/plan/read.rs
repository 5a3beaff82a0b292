//! From the plan's text to a `Plan`: one side one way, phases unique and in the order of their stages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rehome_remote::{Options, Target};
use toml::Spanned;

use crate::publisher::{Publishers, check_key};

use super::error::{PlanError, Refused};
use super::raw::{RawPhase, RawPlan, RawSide};
use super::{PhasePlan, PhaseSpans, Plan, SidePlan, Source, below, database, folder_of, services};

pub(super) fn plan(source: Source) -> Result<Plan, PlanError> {
    let raw: RawPlan = toml::from_str(&source.text).map_err(|error| missing_side(&source, &error))?;
    let old = side(&source, "old", &raw.old)?;
    let new = side(&source, "new", &raw.new)?;
    if old.target == new.target {
        let what = format!("[new] is the same side as [old]: {}", new.target);
        return Err(Refused::at(&source, raw.new.span(), what).more("rehome moves from one side to another").into());
    }
    let folder = folder_of(&source.path);
    let name = match &raw.migration.name {
        Some(name) if name.as_ref().trim().is_empty() => {
            return Err(Refused::at(&source, name.span(), "`name` is empty").into());
        }
        Some(name) => name.as_ref().clone(),
        None => named_after(folder),
    };
    let components = raw.migration.components.0.iter().map(|path| below(folder, path)).collect();
    if raw.phases.is_empty() {
        let refused = Refused::at(&source, 0..0, "the plan has no phase");
        return Err(refused.more("a phase is a table `[[phase]]` with the keys id, component and stage").into());
    }
    let services = services::read(&source, &raw)?;
    let publishers = publishers(&source, &raw)?;
    database::passwords_are_secrets(&source, &raw)?;
    let mut phases: Vec<PhasePlan> = Vec::with_capacity(raw.phases.len());
    for phase in raw.phases {
        let phase = read_phase(&source, phase, &phases, &publishers)?;
        phases.push(phase);
    }
    Ok(Plan { name, old, new, services, publishers, phases, components, source })
}

/// "missing field `old`" points nowhere; say what a side looks like.
fn missing_side(source: &Source, error: &toml::de::Error) -> PlanError {
    let refused = Refused::from_toml(source, error);
    match error.message() {
        "missing field `old`" | "missing field `new`" => refused
            .more("a side is a table [old] or [new] with one of: ssh = \"root@host\", local = true, folder = \"…\"")
            .into(),
        _ => refused.into(),
    }
}

fn named_after(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    full.file_name().map_or_else(|| "migration".to_string(), |name| name.to_string_lossy().into_owned())
}

fn side(source: &Source, name: &str, raw: &Spanned<RawSide>) -> Result<SidePlan, PlanError> {
    let side = raw.as_ref();
    let ways = [side.ssh.is_some(), side.local.is_some(), side.folder.is_some()];
    let accepted = "it has one of: ssh = \"root@host\", local = true, folder = \"…\"";
    if ways.iter().filter(|way| **way).count() != 1 {
        let what = if ways.contains(&true) {
            format!("[{name}] is said to be reached in more than one way")
        } else {
            format!("[{name}] does not say how it is reached")
        };
        return Err(Refused::at(source, raw.span(), what).more(accepted).into());
    }
    let folder = folder_of(&source.path);
    let target = match (&side.ssh, &side.local, &side.folder) {
        (Some(ssh), _, _) => destination(source, ssh)?,
        (_, Some(local), _) if !local.as_ref() => {
            return Err(Refused::at(source, local.span(), "`local` can only be true").more(accepted).into());
        }
        (_, _, Some(path)) => Target::Folder(below(folder, path.as_ref())),
        _ => Target::Local,
    };
    let mut options = Options::default();
    only_for(source, &side.sudo, "sudo", !matches!(target, Target::Folder(_)), "a machine (ssh or local)")?;
    only_for(
        source,
        &side.control_dir,
        "control-dir",
        !matches!(target, Target::Folder(_)),
        "a machine (ssh or local)",
    )?;
    only_for(source, &side.ssh_config, "ssh-config", matches!(target, Target::Ssh { .. }), "a side reached by ssh")?;
    only_for(source, &side.known_hosts, "known-hosts", matches!(target, Target::Ssh { .. }), "a side reached by ssh")?;
    only_for(source, &side.direct, "direct", matches!(target, Target::Ssh { .. }), "a side reached by ssh")?;
    options.direct = side.direct.as_ref().is_none_or(|direct| *direct.as_ref());
    options.sudo = side.sudo.as_ref().is_some_and(|sudo| *sudo.as_ref());
    options.ssh_config = side.ssh_config.as_ref().map(|path| folder.join(path.as_ref()));
    options.known_hosts = side.known_hosts.as_ref().map(|path| folder.join(path.as_ref()));
    if let Some(path) = &side.control_dir {
        options.control_dir = absolute(&folder.join(path.as_ref()));
    }
    let mut databases = BTreeMap::new();
    for (name, raw) in &side.database {
        databases.insert(name.clone(), database::place(source, name, raw)?);
    }
    let redis = services::redis(source, side.redis.as_ref())?;
    Ok(SidePlan { target, options, databases, redis })
}

fn destination(source: &Source, ssh: &Spanned<String>) -> Result<Target, PlanError> {
    let text: &String = ssh.as_ref();
    let refuse = |why: &str| {
        Err(Refused::at(source, ssh.span(), format!("`ssh`: {why}"))
            .more("it is a destination as for ssh(1): root@host")
            .into())
    };
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.starts_with('-') {
        return refuse("begins with `-`, which ssh would take for an option");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse("holds a space or a control character");
    }
    Ok(Target::Ssh { destination: text.clone() })
}

fn only_for<T>(
    source: &Source,
    value: &Option<Spanned<T>>,
    key: &str,
    fits: bool,
    what: &str,
) -> Result<(), PlanError> {
    match value {
        Some(value) if !fits => Err(Refused::at(source, value.span(), format!("`{key}` is for {what}")).into()),
        _ => Ok(()),
    }
}

/// `[publisher.NAME]`: keys that are keys.
fn publishers(source: &Source, raw: &RawPlan) -> Result<Publishers, PlanError> {
    let mut publishers = Publishers::new();
    for (name, publisher) in &raw.publishers {
        let key = &publisher.as_ref().key;
        if let Err(why) = check_key(key.as_ref()) {
            return Err(Refused::at(source, key.span(), format!("[publisher.{name}]: `key` {why}")).into());
        }
        publishers.insert(name.clone(), key.as_ref().clone());
    }
    Ok(publishers)
}

fn read_phase(
    source: &Source,
    raw: Spanned<RawPhase>,
    before: &[PhasePlan],
    publishers: &Publishers,
) -> Result<PhasePlan, PlanError> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let refuse = |span, what: String| Refused::at(source, span, what);
    let id: &String = raw.id.as_ref();
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if id.is_empty() || id.len() > 64 || !plain || id.starts_with('-') {
        return Err(refuse(raw.id.span(), "`id` is no name of a phase".into())
            .more("it is letters, digits and hyphens, at most 64, and does not begin with a hyphen")
            .into());
    }
    if before.iter().any(|phase| phase.id == *id) {
        return Err(refuse(raw.id.span(), format!("`id`: there is a phase `{id}` already"))
            .more("the id is what the journal and the command line know a phase by")
            .into());
    }
    let stage = *raw.stage.as_ref();
    if let Some(last) = before.last()
        && stage < last.stage
    {
        let what = format!("`stage`: phase `{id}` is in {stage}, after phase `{}` in {}", last.id, last.stage);
        return Err(refuse(raw.stage.span(), what)
            .more("phases are in the order of their stages: prepare, copy, cutover, settle, retire")
            .into());
    }
    if raw.component.as_ref().is_empty() {
        return Err(refuse(raw.component.span(), "`component` is empty".into()).into());
    }
    if let Some(publisher) = &raw.publisher
        && !publishers.contains_key(publisher.as_ref())
    {
        let what = format!("`publisher`: the plan has no publisher `{}`", publisher.as_ref());
        return Err(refuse(publisher.span(), what)
            .more("name its key in the plan: [publisher.NAME] with key = \"RW…\", as in its minisign.pub")
            .into());
    }
    let mut spans = PhaseSpans { whole, component: raw.component.span(), config: BTreeMap::new() };
    let mut config = toml::Table::new();
    for (key, value) in raw.config {
        spans.config.insert(key.as_ref().clone(), key.span());
        config.insert(key.into_inner(), value);
    }
    let component = raw.component.into_inner();
    let publisher = raw.publisher.map(Spanned::into_inner);
    Ok(PhasePlan { id: raw.id.into_inner(), component, stage, publisher, about: raw.about, config, spans })
}

/// A path that still means the same when something else changes the working folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

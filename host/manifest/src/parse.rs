//! Reads a manifest and refuses whatever could not be obeyed to the letter: unknown keys, requests that refer to nothing,
//! effects without a reason, programs that are never granted. What depends on the plan's config is checked in `fill`.

use crate::hole::{Hole, HoleType, Segment, Source, segments};
use crate::manifest::{API, Manifest, When};
use crate::words::{Effect, SideName, Verb};
use crate::{config, quantity, vouch};

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// not TOML, an unknown key, a wrong type: the text has line and column
    #[error("{0}")]
    Syntax(String),
    /// TOML, but not to be obeyed
    #[error("{request}: {why}")]
    #[expect(missing_docs, reason = "the message names them")]
    Request { request: String, why: String },
    /// built for another contract
    #[error("is made for the contract {found}; this rehome speaks {API}")]
    #[expect(missing_docs, reason = "the message names it")]
    Api { found: String },
}

impl Manifest {
    /// Reads and checks a manifest as its author wrote it.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| ManifestError::Syntax(error.to_string()))?;
        manifest.checked()
    }

    fn checked(self) -> Result<Manifest, ManifestError> {
        if self.api != API {
            return Err(ManifestError::Api { found: self.api });
        }
        if !is_name(&self.name) {
            return Err(refuse("name", "is lower-case letters, digits and hyphens"));
        }
        if self.version.split('.').count() != 3 || self.version.split('.').any(|part| part.parse::<u32>().is_err()) {
            return Err(refuse("version", "is three numbers: 0.1.0"));
        }
        for (key, declared) in &self.config {
            config::check_key(key, declared).map_err(|why| refuse("config", &why))?;
        }
        self.names_are_plain()?;
        self.conditions()?;
        self.exec_requests()?;
        self.pipes()?;
        self.file_requests()?;
        self.database_requests()?;
        self.network_requests()?;
        Ok(self)
    }

    fn names_are_plain(&self) -> Result<(), ManifestError> {
        let maps: [(&str, Vec<&String>); 15] = [
            ("config", self.config.keys().collect()),
            ("exec", self.exec.keys().collect()),
            ("pipe", self.pipe.keys().collect()),
            ("tree", self.tree.keys().collect()),
            ("sync", self.sync.keys().collect()),
            ("file", self.file.keys().collect()),
            ("aside", self.aside.keys().collect()),
            ("schema", self.schema.keys().collect()),
            ("sql", self.sql.keys().collect()),
            ("copy", self.copy.keys().collect()),
            ("snapshot", self.snapshot.keys().collect()),
            ("redis-copy", self.redis_copy.keys().collect()),
            ("lookup", self.lookup.keys().collect()),
            ("record", self.record.keys().collect()),
            ("question", self.question.keys().collect()),
        ];
        for (capability, names) in maps {
            if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
                return Err(refuse(
                    &format!("{capability}.{name}"),
                    "names are lower-case letters, digits and hyphens",
                ));
            }
        }
        Ok(())
    }

    /// Every `when` names a config key and values that it can have.
    fn conditions(&self) -> Result<(), ManifestError> {
        let mut all: Vec<(String, &When)> = Vec::new();
        macro_rules! of {
            ($($map:ident $kind:literal),+) => {
                $(all.extend(self.$map.iter().map(|(name, request)| (format!("{}.{name}", $kind), &request.when)));)+
            };
        }
        of!(exec "exec", pipe "pipe", tree "tree", sync "sync", file "file", aside "aside", schema "schema", sql "sql", copy "copy");
        of!(snapshot "snapshot", redis_copy "redis-copy", lookup "lookup", record "record", question "question");
        for (id, when) in all {
            for (key, words) in &when.0 {
                let Some(declared) = self.config.get(key) else {
                    return Err(refuse(&id, &format!("`when.{key}`: there is no config key `{key}`")));
                };
                let possible: Vec<&str> = match declared.kind.as_str() {
                    "choice" => declared.of.iter().map(String::as_str).collect(),
                    "boolean" => vec!["true", "false"],
                    kind if kind.starts_with("list of ") => vec!["some", "none"],
                    kind => return Err(refuse(&id, &format!("`when.{key}`: a {kind} is no choice, boolean or list"))),
                };
                if words.is_empty() || words.iter().any(|word| !possible.contains(&word.as_str())) {
                    return Err(refuse(&id, &format!("`when.{key}` is some of {}", possible.join(", "))));
                }
            }
        }
        Ok(())
    }

    fn exec_requests(&self) -> Result<(), ManifestError> {
        for (name, request) in &self.exec {
            let id = format!("exec.{name}");
            let refuse = |why: &str| refuse(&id, why);
            sides(&id, &request.on)?;
            let Some(program) = request.argv.first() else { return Err(refuse("has an empty argv")) };
            vouch::grantable(program).map_err(|why| refuse(&why))?;
            if request.effect != Effect::Read && request.reason.is_none() {
                return Err(refuse("changes a side: give a `reason`"));
            }
            if request.ok.is_empty() {
                return Err(refuse("`ok` lists no status: nothing would be success"));
            }
            quantity::duration(&request.timeout).map_err(|why| refuse(&why))?;
            quantity::size(&request.output).map_err(|why| refuse(&why))?;
            if request.stdin.is_some() && request.rows.is_some() {
                return Err(refuse("has `stdin` and `rows`: standard input is one or the other"));
            }
            for argument in request.argv.iter().skip(1) {
                if let Some(hole) = Hole::parse(argument).map_err(|why| refuse(&why))? {
                    self.hole(&id, &hole)?;
                }
            }
            self.template(&id, request.rows.as_deref())?;
            if let Some(yields) = &request.yields {
                let known = ["lines", "words"].contains(&yields.as_str()) || yields.starts_with("json-lines:/");
                self.yields(&id, yields, request.effect, known)?;
            }
        }
        Ok(())
    }

    fn yields(&self, id: &str, yields: &str, effect: Effect, known: bool) -> Result<(), ManifestError> {
        if effect != Effect::Read {
            return Err(refuse(id, "yields values, but is not a `read`"));
        }
        if !known {
            return Err(refuse(
                id,
                &format!("yields `{yields}`: exec yields `lines`, `words` or `json-lines:/POINTER`, sql `column:NAME`"),
            ));
        }
        Ok(())
    }

    fn template(&self, id: &str, template: Option<&str>) -> Result<(), ManifestError> {
        for segment in segments(template.unwrap_or_default()).map_err(|why| refuse(id, &why))? {
            if let Segment::Hole(hole) = segment {
                self.hole(id, &hole)?;
            }
        }
        Ok(())
    }

    fn hole(&self, id: &str, hole: &Hole) -> Result<(), ManifestError> {
        match &hole.kind {
            HoleType::PathIn(tree) if !self.tree.contains_key(tree) => {
                return Err(refuse(id, &format!("hole `{}`: there is no `[tree.{tree}]`", hole.name)));
            }
            HoleType::AsFirstSeen(request) => {
                let reads = request
                    .strip_prefix("exec.")
                    .and_then(|name| self.exec.get(name))
                    .is_some_and(|r| r.effect == Effect::Read);
                if !reads {
                    return Err(refuse(
                        id,
                        &format!("hole `{}`: `{request}` is no exec request that reads", hole.name),
                    ));
                }
            }
            _ => {}
        }
        for source in &hole.sources.of {
            let there = match source {
                Source::Operator(key) => self.question.contains_key(key),
                Source::Config(key) => self.config.get(key).is_some_and(|key| key.kind.starts_with("list of ")),
                Source::Yielded(request) => match request.split_once('.') {
                    Some(("exec", name)) => self.exec.get(name).is_some_and(|r| r.yields.is_some()),
                    Some(("sql", name)) => self.sql.get(name).is_some_and(|r| r.yields.is_some()),
                    Some(("lookup", name)) => self.lookup.contains_key(name),
                    _ => false,
                },
            };
            if !there {
                return Err(refuse(
                    id,
                    &format!("hole `{}`: its source `{source}` is not there, or yields nothing", hole.name),
                ));
            }
        }
        Ok(())
    }

    fn pipes(&self) -> Result<(), ManifestError> {
        for (name, pipe) in &self.pipe {
            let id = format!("pipe.{name}");
            quantity::duration(&pipe.timeout).map_err(|why| refuse(&id, &why))?;
            for end in [&pipe.source, &pipe.sink] {
                let Some((request, side)) = pipe_end(end) else {
                    return Err(refuse(&id, &format!("`{end}` is not `NAME on SIDE`")));
                };
                let Some(exec) = self.exec.get(request) else {
                    return Err(refuse(&id, &format!("there is no `[exec.{request}]`")));
                };
                let has_holes = exec.argv.iter().any(|argument| matches!(Hole::parse(argument), Ok(Some(_))));
                if has_holes || !exec.on.contains(&side) {
                    return Err(refuse(&id, &format!("`exec.{request}` has holes, or may not run on {side}")));
                }
            }
        }
        Ok(())
    }

    fn file_requests(&self) -> Result<(), ManifestError> {
        for (name, tree) in &self.tree {
            sides(&format!("tree.{name}"), &tree.on)?;
        }
        for (name, sync) in &self.sync {
            let id = format!("sync.{name}");
            let Some(tree) = self.tree.get(&sync.tree) else {
                return Err(refuse(&id, &format!("there is no `[tree.{}]`", sync.tree)));
            };
            if !tree.on.contains(&sync.source()) || sync.into.is_none() && !tree.on.contains(&sync.to) {
                return Err(refuse(
                    &id,
                    "its tree does not lie on both sides; with `into`, it must lie on the one that is read",
                ));
            }
            if sync.source() == sync.to && sync.into.is_none() {
                return Err(refuse(&id, "reads and writes one tree: give `into`, another folder"));
            }
            if sync.to == SideName::Old && !(sync.add_only && !sync.delete && sync.verbs == [Verb::Undo]) {
                return Err(refuse(
                    &id,
                    "the old side is read-only: only `verbs = [\"undo\"]` with `add-only = true` may write there",
                ));
            }
            if sync.delete && sync.add_only {
                return Err(refuse(&id, "has `delete` and `add-only`"));
            }
        }
        for (name, file) in &self.file {
            let id = format!("file.{name}");
            sides(&id, &file.on)?;
            old_is_read_only(&id, &file.on, &file.verbs)?;
            self.template(&id, file.line.as_deref())?;
            if u32::from_str_radix(&file.mode, 8).is_err() || file.mode.len() > 4 {
                return Err(refuse(&id, "`mode` is octal: \"0644\", without setuid and setgid"));
            }
        }
        for (name, aside) in &self.aside {
            let id = format!("aside.{name}");
            sides(&id, &aside.on)?;
            old_is_read_only(&id, &aside.on, &aside.verbs)?;
            if !self.tree.contains_key(&aside.tree) {
                return Err(refuse(&id, &format!("there is no `[tree.{}]`", aside.tree)));
            }
            if aside.names.is_empty() || aside.names.iter().any(|n| n.contains('/') || n.trim_matches('*').is_empty()) {
                return Err(refuse(&id, "`names` are patterns of file names, more than `*` alone"));
            }
        }
        Ok(())
    }

    fn network_requests(&self) -> Result<(), ManifestError> {
        for (name, copy) in &self.redis_copy {
            let id = format!("redis-copy.{name}");
            if copy.databases.is_empty() || copy.patterns.is_empty() {
                return Err(refuse(&id, "names no database, or no pattern: `databases = [0]`, `patterns = [\"RS*\"]`"));
            }
            let is_number = |text: &&String| text.contains("${") || text.parse::<u32>().is_ok();
            if let Some(text) = copy.databases.iter().find(|text| !is_number(text)) {
                return Err(refuse(&id, &format!("`{text}` is no number of a database")));
            }
        }
        for (name, lookup) in &self.lookup {
            self.template(&format!("lookup.{name}"), Some(&lookup.owner))?;
        }
        for (name, record) in &self.record {
            let id = format!("record.{name}");
            self.template(&id, Some(&record.owner))?;
            if !["A", "AAAA", "CNAME", "MX", "TXT"].contains(&record.kind.as_str()) {
                return Err(refuse(&id, &format!("its kind `{}` is none of A, AAAA, CNAME, MX, TXT", record.kind)));
            }
            if record.swap.is_some() && !record.data.is_empty() {
                return Err(refuse(&id, "has `data` and `swap`: it is one or the other"));
            }
            if record.swap.is_none() && record.data.is_empty() && record.ttl.is_none() {
                return Err(refuse(&id, "changes nothing: give `data`, `swap` or `ttl`"));
            }
            match record.ttl.as_deref() {
                None | Some("first-seen") => {}
                Some(ttl) if ttl.contains("${") || ttl.parse::<u32>().is_ok_and(|ttl| ttl <= i32::MAX as u32) => {}
                Some(ttl) => return Err(refuse(&id, &format!("its TTL `{ttl}` is neither seconds nor `first-seen`"))),
            }
        }
        Ok(())
    }

    fn database_requests(&self) -> Result<(), ManifestError> {
        for (name, schema) in &self.schema {
            sides(&format!("schema.{name}"), &schema.on)?;
        }
        for (name, sql) in &self.sql {
            let id = format!("sql.{name}");
            sides(&id, &sql.on)?;
            if sql.effect != Effect::Read && sql.reason.is_none() {
                return Err(refuse(&id, "changes a database: give a `reason`"));
            }
            if let Some(yields) = &sql.yields {
                self.yields(&id, yields, sql.effect, yields.starts_with("column:"))?;
            }
        }
        for (name, copy) in &self.copy {
            let id = format!("copy.{name}");
            use crate::manifest::CopyKind::{Rows, Tables};
            match copy.kind {
                Rows if copy.step.is_empty() => return Err(refuse(&id, "copies rows, but has no step")),
                Rows if copy.effect != Effect::Repeatable => {
                    return Err(refuse(&id, "copies rows: its effect is `repeatable`"));
                }
                Tables if copy.effect == Effect::Read => {
                    let why = "copies whole tables: its effect is `once`, or `repeatable` if the phase knows when to do it again";
                    return Err(refuse(&id, why));
                }
                Tables if !copy.step.is_empty() => return Err(refuse(&id, "copies whole tables: it has no steps")),
                _ => {}
            }
        }
        for (name, snapshot) in &self.snapshot {
            sides(&format!("snapshot.{name}"), &snapshot.on)?;
        }
        Ok(())
    }
}

/// `NAME on SIDE`.
pub(crate) fn pipe_end(text: &str) -> Option<(&str, SideName)> {
    let (name, side) = text.split_once(" on ")?;
    Some((name.trim(), side.trim().parse().ok()?))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn sides(id: &str, on: &[SideName]) -> Result<(), ManifestError> {
    if on.is_empty() { Err(refuse(id, "names no side: `on = [\"new\"]`")) } else { Ok(()) }
}

fn old_is_read_only(id: &str, on: &[SideName], verbs: &[Verb]) -> Result<(), ManifestError> {
    if on.contains(&SideName::Old) && verbs != [Verb::Undo] {
        return Err(refuse(
            id,
            "the files of the old side are read-only, except for requests with `verbs = [\"undo\"]`",
        ));
    }
    Ok(())
}

pub(crate) fn refuse(request: &str, why: &str) -> ManifestError {
    ManifestError::Request { request: request.into(), why: why.into() }
}

//! What a side's gate lets pass, from the requests that are granted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rehome_manifest::Filled;
use rehome_manifest::hole::{self, Hole, HoleType, Segment, segments};
use rehome_manifest::manifest::{Access, Exec};
use rehome_manifest::words::SideName;

/// Where the plan says that a side's servers are.
pub struct Places<'a> {
    /// the unix socket of a database's server; none: it has no socket
    pub database: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// of Redis: a unix socket, or a port of the loopback address
    pub redis: (Option<PathBuf>, Option<u16>),
}

/// Everything a side's gate lets pass.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    pub(crate) commands: Vec<Command>,
    pub(crate) trees: BTreeMap<PathBuf, Tree>,
    pub(crate) sockets: BTreeSet<String>,
    pub(crate) redis: Option<Redis>,
    /// databases that are read, by name
    pub databases: BTreeSet<String>,
    /// granted requests that no gate lets pass: a line each
    pub beyond: Vec<String>,
}

/// A granted command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// `PHASE exec.NAME`
    pub(crate) id: String,
    pub(crate) words: Vec<Word>,
    pub(crate) input: Input,
    pub(crate) ok: Vec<i32>,
    /// only where some hole takes its values from it
    pub(crate) yields: Option<String>,
    /// under what name its first line is kept, where some hole takes that
    pub(crate) kept: Option<String>,
}

/// What a command reads.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Nothing,
    Text(String),
    /// the output of the other side's end of a pipe
    Stream,
    /// lines of a template
    Lines(Vec<Word>),
}

/// An argument, or a piece of a line.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    Literal(String),
    Hole { place: Place, all: bool, sources: Vec<Source> },
}

/// What may fill a hole.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// what matches this
    Value(String),
    PathIn(String),
    /// kept under this name
    FirstSeen(String),
}

/// Where a value must come from, as far as the side itself can tell.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// the command with this id yields it
    Yielded(String),
    /// what the plan sets
    Set(Vec<String>),
}

/// What a hand may do in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    List,
    Read,
    /// and add
    Add,
}

/// A granted tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) mode: Mode,
    /// file names that may be replaced or set aside
    pub(crate) names: BTreeSet<String>,
    /// only below these folders; none: all
    pub(crate) scope: Option<BTreeSet<String>>,
}

/// Keys that may be read.
#[derive(Clone, Debug)]
pub struct Redis {
    pub(crate) socket: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) databases: BTreeSet<u32>,
    pub(crate) patterns: BTreeSet<String>,
}

impl Grants {
    /// Adds what a phase is granted on `side`: of its filled manifest the requests whose ids `is_granted`.
    pub fn add(
        &mut self,
        phase: &str,
        filled: &Filled,
        side: SideName,
        is_granted: &dyn Fn(&str) -> bool,
        places: &Places<'_>,
    ) {
        let phase = Phase { phase, filled, side, is_granted };
        self.add_commands(&phase);
        self.add_trees(&phase);
        self.add_databases(&phase, places);
        let files = filled.manifest.file.iter().filter(|(_, file)| file.on.contains(&side));
        for (name, file) in files.filter(|(name, _)| is_granted(&format!("file.{name}"))) {
            self.beyond.push(format!("{}:file.{name} writes {}", phase.phase, file.path));
        }
    }

    fn add_commands(&mut self, phase: &Phase<'_>) {
        let manifest = &phase.filled.manifest;
        let of_side = manifest.exec.iter().filter(|(_, exec)| exec.on.contains(&phase.side));
        for (name, exec) in of_side.filter(|(name, _)| (phase.is_granted)(&format!("exec.{name}"))) {
            let input = match (&exec.stdin, &exec.rows) {
                (_, Some(template)) => match phase.pieces(template) {
                    Some(pieces) => Input::Lines(pieces),
                    None => continue,
                },
                (Some(text), None) => Input::Text(text.clone()),
                (None, None) => Input::Nothing,
            };
            self.commands.extend(phase.command(name, exec, input));
        }
        let pipes = manifest.pipe.iter().filter(|(name, _)| (phase.is_granted)(&format!("pipe.{name}")));
        for (end, input) in pipes.flat_map(|(_, pipe)| [(&pipe.source, Input::Nothing), (&pipe.sink, Input::Stream)]) {
            let Some((name, side)) = end.split_once(" on ") else { continue };
            if side.trim() == phase.side.as_str()
                && let Some(exec) = manifest.exec.get(name.trim())
            {
                self.commands.extend(phase.command(name.trim(), exec, input));
            }
        }
    }

    fn add_trees(&mut self, phase: &Phase<'_>) {
        let manifest = &phase.filled.manifest;
        for (name, tree) in &manifest.tree {
            let mut mode = None;
            let mut names = BTreeSet::new();
            if tree.on.contains(&phase.side) && (phase.is_granted)(&format!("tree.{name}")) {
                mode = Some(if tree.access == Access::Read { Mode::Read } else { Mode::List });
            }
            let syncs = manifest.sync.iter().filter(|(_, sync)| &sync.tree == name);
            for (id, sync) in syncs.filter(|(id, _)| (phase.is_granted)(&format!("sync.{id}"))) {
                if sync.source() == phase.side {
                    mode = mode.max(Some(Mode::Read));
                }
                if sync.to == phase.side && sync.add_only && sync.into.is_none() {
                    mode = Some(Mode::Add);
                    names.extend(sync.also_replace.iter().cloned());
                } else if sync.to == phase.side {
                    let into = sync.into.as_deref().unwrap_or(&tree.path);
                    self.beyond.push(format!("{}:sync.{id} replaces what is in {into}", phase.phase));
                }
            }
            let asides =
                manifest.aside.iter().filter(|(_, aside)| &aside.tree == name && aside.on.contains(&phase.side));
            for (_, aside) in asides.filter(|(id, _)| (phase.is_granted)(&format!("aside.{id}"))) {
                mode = Some(Mode::Add);
                names.extend(aside.names.iter().cloned());
            }
            if let Some(mode) = mode {
                self.add_tree(Path::new(&tree.path), mode, names, &tree.scope);
            }
        }
    }

    fn add_tree(&mut self, root: &Path, mode: Mode, names: BTreeSet<String>, scope: &[String]) {
        let scope: Option<BTreeSet<String>> = (!scope.is_empty()).then(|| scope.iter().cloned().collect());
        let new = Tree { mode, names: BTreeSet::new(), scope: scope.clone() };
        let tree = self.trees.entry(root.to_path_buf()).or_insert(new);
        tree.mode = tree.mode.max(mode);
        tree.names.extend(names);
        tree.scope = match (tree.scope.take(), scope) {
            (Some(mut one), Some(other)) => {
                one.extend(other);
                Some(one)
            }
            _ => None,
        };
    }

    fn add_databases(&mut self, phase: &Phase<'_>, places: &Places<'_>) {
        let (manifest, side) = (&phase.filled.manifest, phase.side);
        let granted = |kind: &str, name: &str| (phase.is_granted)(&format!("{kind}.{name}"));
        let sql = manifest.sql.iter().filter(|(name, sql)| sql.on.contains(&side) && granted("sql", name));
        let schema = manifest.schema.iter().filter(|(name, one)| one.on.contains(&side) && granted("schema", name));
        let snapshot =
            manifest.snapshot.iter().filter(|(name, one)| one.on.contains(&side) && granted("snapshot", name));
        let copy = manifest.copy.iter().filter(|(name, _)| side == SideName::Old && granted("copy", name));
        let databases = (sql.map(|(_, one)| &one.database))
            .chain(schema.map(|(_, one)| &one.database))
            .chain(snapshot.map(|(_, one)| &one.database))
            .chain(copy.map(|(_, one)| &one.database));
        for database in databases {
            if let Some(socket) = (places.database)(database) {
                self.databases.insert(database.to_string());
                self.sockets.insert(socket.to_string_lossy().into_owned());
            }
        }
        let keys = manifest.redis_copy.iter().filter(|(name, _)| side == SideName::Old && granted("redis-copy", name));
        for (_, copy) in keys {
            let (socket, port) = &places.redis;
            let socket = socket.as_ref().map(|path| path.to_string_lossy().into_owned());
            self.sockets.extend(socket.clone());
            let new = Redis { socket, port: *port, databases: BTreeSet::new(), patterns: BTreeSet::new() };
            let redis = self.redis.get_or_insert(new);
            redis.databases.extend(copy.numbers());
            redis.patterns.extend(copy.patterns.iter().cloned());
        }
    }
}

/// A phase on the gate's side.
struct Phase<'a> {
    phase: &'a str,
    filled: &'a Filled,
    side: SideName,
    is_granted: &'a dyn Fn(&str) -> bool,
}

impl Phase<'_> {
    /// None: it cannot be run on this side at all (a tree it names is not there).
    fn command(&self, name: &str, exec: &Exec, input: Input) -> Option<Command> {
        let words = exec.argv.iter().map(|argument| self.word(argument)).collect::<Option<Vec<_>>>()?;
        let id = format!("exec.{name}");
        let holes = self.filled.manifest.exec.values().flat_map(|exec| &exec.argv);
        let kept = holes.filter_map(|argument| Hole::parse(argument).ok().flatten());
        let kept = kept.into_iter().any(|hole| hole.kind == HoleType::AsFirstSeen(id.clone()));
        Some(Command {
            id: self.scoped(&id),
            words,
            input,
            ok: exec.ok.clone(),
            yields: exec.yields.clone(),
            kept: kept.then(|| self.kept(&id)),
        })
    }

    fn word(&self, argument: &str) -> Option<Word> {
        match Hole::parse(argument).ok()? {
            None => Some(Word::Literal(argument.to_owned())),
            Some(hole) => self.hole(&hole),
        }
    }

    fn pieces(&self, template: &str) -> Option<Vec<Word>> {
        let mut words: Vec<Word> = Vec::new();
        for piece in segments(template).ok()? {
            words.push(match piece {
                Segment::Literal(literal) => Word::Literal(literal),
                Segment::Hole(hole) => self.hole(&hole)?,
            });
        }
        // The host ends each line.
        if !matches!(words.last(), Some(Word::Literal(last)) if last.ends_with('\n')) {
            words.push(Word::Literal("\n".to_owned()));
        }
        Some(words)
    }

    fn hole(&self, hole: &Hole) -> Option<Word> {
        let place = match &hole.kind {
            HoleType::Value(kind) => Place::Value(kind.pattern().to_owned()),
            HoleType::PathIn(tree) => Place::PathIn(self.filled.manifest.tree.get(tree)?.path.clone()),
            HoleType::AsFirstSeen(request) => Place::FirstSeen(self.kept(request)),
        };
        let all = hole.sources.all;
        let known: Vec<Option<Source>> = hole.sources.of.iter().map(|source| self.source(source)).collect();
        // Of several of which one is enough, one that the side cannot look at may be the one.
        let sources =
            if !all && known.iter().any(Option::is_none) { vec![] } else { known.into_iter().flatten().collect() };
        Some(Word::Hole { place, all, sources })
    }

    /// None: the side cannot tell.
    fn source(&self, source: &hole::Source) -> Option<Source> {
        match source {
            hole::Source::Config(key) => Some(Source::Set(self.filled.config.get(key)?.texts.clone())),
            hole::Source::Operator(_) => None,
            hole::Source::Yielded(id) => {
                let exec = self.filled.manifest.exec.get(id.strip_prefix("exec.")?)?;
                let plain = exec.argv.iter().all(|argument| matches!(Hole::parse(argument), Ok(None)));
                let here = exec.on.contains(&self.side) && (self.is_granted)(id) && exec.yields.is_some();
                (plain && here && exec.stdin.is_none()).then(|| Source::Yielded(self.scoped(id)))
            }
        }
    }

    fn scoped(&self, id: &str) -> String {
        format!("{} {id}", self.phase)
    }

    /// As the journal has it: phases of one component share what it saw first.
    fn kept(&self, id: &str) -> String {
        format!("{} {id}", self.filled.manifest.name)
    }
}

//! Requests as an operator reads them: verbatim, one line for what is done and one for each thing that bounds it.
//! Arguments are quoted as a POSIX shell would take them, so that a space inside one cannot pass for two.

use std::collections::BTreeMap;

use crate::fill::Request;
use crate::manifest::{Access, CopyKind, Exec, Layout, Manifest, Sync};
use crate::vouch;
use crate::words::{Effect, SideName, Verb};

/// Every request of a filled manifest.
pub(crate) fn requests(manifest: &Manifest, digests: &BTreeMap<String, String>) -> BTreeMap<String, Request> {
    let mut all = Collected { digests, requests: BTreeMap::new() };
    for (name, r) in &manifest.exec {
        let marks = if r.effect == Effect::Read {
            vouch::mark(&r.argv).into_iter().map(String::from).collect()
        } else {
            vec![]
        };
        all.add("exec", name, r.effect, &r.on, &r.verbs, r.reason.as_deref(), exec(r), marks);
    }
    for (name, r) in &manifest.pipe {
        let text = format!("pipe the output of `{}` into `{}`", r.source, r.sink);
        all.add("pipe", name, r.effect, &[SideName::Old, SideName::New], &r.verbs, Some(&r.reason), text, vec![]);
    }
    for (name, r) in &manifest.tree {
        let what = match r.access {
            Access::List => "list names, sizes and times",
            Access::Read => "read every file",
        };
        let text = format!("{what} below {}{}", quote(&r.path), scope(&r.scope));
        all.add("tree", name, Effect::Read, &r.on, &[], None, text, vec![]);
    }
    for (name, r) in &manifest.sync {
        let on: &[SideName] = if r.source() == r.to { &[r.to] } else { &[SideName::Old, SideName::New] };
        let text = sync(r, manifest.tree.get(&r.tree).map_or("?", |tree| &tree.path), manifest);
        all.add("sync", name, Effect::Repeatable, on, &r.verbs, Some(&r.reason), text, vec![]);
    }
    for (name, r) in &manifest.file {
        let mut text = format!("write {} (mode {}, owner {}):\n{}", quote(&r.path), r.mode, r.owner, indent(&r.text));
        if let Some(line) = &r.line {
            text.push_str(&format!("\n  and a line for each row: {}", quote(line)));
        }
        all.add("file", name, Effect::Repeatable, &r.on, &r.verbs, Some(&r.reason), text, vec![]);
    }
    for (name, r) in &manifest.aside {
        let path = manifest.tree.get(&r.tree).map_or("?", |tree| &tree.path);
        let text = format!("move files named {} out of folders of {}, and keep them", quote_all(&r.names), quote(path));
        all.add("aside", name, Effect::Repeatable, &r.on, &r.verbs, Some(&r.reason), text, vec![]);
    }
    databases(manifest, &mut all);
    others(manifest, &mut all);
    all.requests
}

struct Collected<'a> {
    digests: &'a BTreeMap<String, String>,
    requests: BTreeMap<String, Request>,
}

impl Collected<'_> {
    #[expect(clippy::too_many_arguments, reason = "one place that builds a Request from what every kind has")]
    fn add(
        &mut self,
        kind: &str,
        name: &str,
        effect: Effect,
        on: &[SideName],
        verbs: &[Verb],
        reason: Option<&str>,
        text: String,
        marks: Vec<String>,
    ) {
        let id = format!("{kind}.{name}");
        let digest = self.digests.get(&id).cloned().unwrap_or_default();
        let request = Request {
            id: id.clone(),
            effect,
            on: on.to_vec(),
            verbs: verbs.to_vec(),
            reason: reason.map(String::from),
            text,
            marks,
            digest,
        };
        self.requests.insert(id, request);
    }
}

fn databases(manifest: &Manifest, all: &mut Collected<'_>) {
    let account = || vec!["the database account that is used can do more than read".to_string()];
    for (name, r) in &manifest.schema {
        let text = format!("look at the server and the schema of database {}", quote(&r.database));
        all.add("schema", name, Effect::Read, &r.on, &[], None, text, vec![]);
    }
    for (name, r) in &manifest.sql {
        let text = format!("in database {}: {}", quote(&r.database), r.text);
        let marks = if r.effect == Effect::Read { account() } else { vec![] };
        all.add("sql", name, r.effect, &r.on, &r.verbs, r.reason.as_deref(), text, marks);
    }
    for (name, r) in &manifest.copy {
        let mut text = match r.kind {
            CopyKind::Rows => {
                format!("copy rows of database {} from old to new, in one transaction:", quote(&r.database))
            }
            CopyKind::Tables if r.tables.is_empty() => {
                format!("replace all tables of database {} on new by those of old", quote(&r.database))
            }
            CopyKind::Tables => format!(
                "replace the tables {} of database {} on new by those of old",
                quote_all(&r.tables),
                quote(&r.database)
            ),
        };
        for step in &r.step {
            if let Some(delete) = &step.delete {
                text.push_str(&format!("\n  on new: {delete}"));
            }
        }
        for step in &r.step {
            text.push_str(&format!("\n  on old: {}\n  on new, for each row: {}", step.select, step.insert));
            if let Some(compare) = &step.compare {
                text.push_str(&format!("\n  to compare, on both: {compare}"));
            }
        }
        all.add("copy", name, r.effect, &[SideName::Old, SideName::New], &r.verbs, Some(&r.reason), text, vec![]);
    }
    for (name, r) in &manifest.snapshot {
        let text = format!("keep database {} as it is, and put it back on undo", quote(&r.database));
        all.add("snapshot", name, Effect::Repeatable, &r.on, &[], Some(&r.reason), text, vec![]);
    }
}

fn others(manifest: &Manifest, all: &mut Collected<'_>) {
    let both = [SideName::Old, SideName::New];
    for (name, r) in &manifest.redis_copy {
        let text =
            format!("copy the keys {} of Redis databases {:?} from old to new", quote_all(&r.patterns), r.numbers());
        all.add("redis-copy", name, Effect::Repeatable, &both, &r.verbs, Some(&r.reason), text, vec![]);
    }
    for (name, r) in &manifest.lookup {
        let text = format!("ask each authoritative name server for the {} records of {}", r.kind, quote(&r.owner));
        all.add("lookup", name, Effect::Read, &[], &[], None, text, vec![]);
    }
    for (name, r) in &manifest.record {
        let data = match (&r.swap, r.data.as_slice()) {
            (Some(swap), _) => format!("so that {} takes the place of {}", quote(&swap.to), quote(&swap.from)),
            (None, []) => "with the data they have".to_string(),
            (None, data) => format!("as {}", quote_all(data)),
        };
        let ttl = match r.ttl.as_deref() {
            None => String::new(),
            Some("first-seen") => ", with the TTL they had before the migration".into(),
            Some(ttl) => format!(", with a TTL of {ttl} s"),
        };
        let (kind, owner) = (&r.kind, quote(&r.owner));
        let text =
            format!("write the {kind} records of {owner} {data}{ttl}\n  signed with the plan's secret `{}`", r.key);
        all.add("record", name, Effect::Repeatable, &[], &r.verbs, Some(&r.reason), text, vec![]);
    }
    for (name, r) in &manifest.question {
        all.add("question", name, Effect::Read, &[], &[], None, format!("ask or wait: {}", r.about), vec![]);
    }
}

fn exec(r: &Exec) -> String {
    let mut text = r.argv.iter().map(|argument| quote(argument)).collect::<Vec<_>>().join(" ");
    if let Some(stdin) = &r.stdin {
        text.push_str(&format!("\n  with standard input {}", quote(stdin)));
    }
    if let Some(rows) = &r.rows {
        text.push_str(&format!("\n  with a line of standard input for each row: {}", quote(rows)));
    }
    if r.ok != [0] {
        let statuses: Vec<String> = r.ok.iter().map(i32::to_string).collect();
        text.push_str(&format!("\n  success is status {}", statuses.join(" or ")));
    }
    if r.timeout != "60s" {
        text.push_str(&format!("\n  for at most {}", r.timeout));
    }
    text
}

fn sync(r: &Sync, path: &str, manifest: &Manifest) -> String {
    let places = manifest.tree.get(&r.tree).map(|tree| scope(&tree.scope)).unwrap_or_default();
    // Two sides are told apart by their names, two folders of one side by their paths.
    let (from, to) = match (&r.into, r.source() == r.to) {
        (Some(into), true) => (quote(path), quote(into)),
        _ => (r.source().to_string(), r.to.to_string()),
    };
    let mut text = match &r.into {
        Some(into) => format!("make {} on {} like {} on {}{places}", quote(into), r.to, quote(path), r.source()),
        None => format!("make {} on {to} like on {from}{places}", quote(path)),
    };
    let on = if r.source() == r.to { "in " } else { "on " };
    if r.layout == Layout::Maildir {
        text.push_str("\n  as maildirs: messages are known by name");
    }
    if r.delete {
        text.push_str(&format!("\n  what {from} lacks is kept aside {on}{to}, at most {}", r.delete_limit));
    }
    if r.add_only {
        text.push_str(&format!("\n  only adding: nothing {on}{to} is overwritten"));
        if !r.also_replace.is_empty() {
            text.push_str(&format!(", except {}", quote_all(&r.also_replace)));
        }
    }
    if !r.without.is_empty() {
        text.push_str(&format!("\n  without {}", quote_all(&r.without)));
    }
    if let Some(owner) = &r.owner {
        text.push_str(&format!("\n  all owned by {owner}"));
    }
    text
}

fn scope(folders: &[String]) -> String {
    if folders.is_empty() { String::new() } else { format!(", only {}", quote_all(folders)) }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  | {}", escape(line))).collect::<Vec<_>>().join("\n")
}

fn quote_all(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell takes it; control characters as `$'…'` escapes.
fn quote(word: &str) -> String {
    if word.chars().any(|c| c.is_control()) {
        return format!("$'{}'", escape(word).replace('\'', "\\'"));
    }
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./=:@%+,{}".contains(&b));
    // A hole keeps its look: `{user: mailbox from exec.users}`.
    let hole = word.starts_with('{') && word.ends_with('}') && !word.contains('\'');
    if plain || hole { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn escape(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

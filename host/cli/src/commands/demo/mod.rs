//! `rehome demo`: a small mail server in a folder, moved by the same verbs and components as a real one. Every command is shown
//! as a user would type it. The folder stays, to be looked at.

mod accounts;
mod mail;
mod random;

use std::path::{Path, PathBuf};

use rehome_engine::{Error, Explanation, Settings};

use super::{answer, apply, approve, check, preview, status, verify};
use crate::args;
use crate::args::Global;
use crate::exit::Exit;
use crate::ui::{Text, Tone, Ui};

const PLAN: &str = include_str!("plan.toml");
/// Says that a folder is a demo's, and may be made anew.
const MARK: &str = ".rehome-demo";

/// Makes the folder and goes through a whole migration in it.
pub async fn run(ui: &Ui, global: &Global, args: &args::Demo) -> Result<Exit, Error> {
    // What is named relative to here is looked up before we go elsewhere.
    Settings::of_process();
    let made = match make(&args.folder, args.fresh).await {
        Ok(made) => made,
        Err(Failed::Usage(explanation)) => {
            ui.explain(&explanation);
            return Ok(Exit::Usage);
        }
        Err(Failed::Other(explanation)) => return Ok(ui.failed(&explanation)),
    };
    ui.say(Text::bold("Two folders stand in for two machines").plain(format!(": {}", made.words())).at(0).hang(2));
    if let Err(error) = std::env::set_current_dir(&args.folder) {
        return Ok(ui.failed(&cannot("enter", &args.folder, &error)));
    }
    let story = Story { ui, global: Global { plan: "plan.toml".into(), yes: true, ..global.clone() } };
    story.typed(&format!("cd {}", args.folder.display()));
    let exit = story.tell().await?;
    if exit == Exit::Done {
        last_words(ui, &args.folder);
    }
    Ok(exit)
}

struct Story<'a> {
    ui: &'a Ui,
    global: Global,
}

impl Story<'_> {
    async fn tell(&self) -> Result<Exit, Error> {
        let ui = &Ui::new(&self.global);
        let global = &self.global;
        let nothing = args::Approve { only: vec![], deny: vec![], older: vec![] };
        let apply_all = args::Apply { until: None, again: None, take_over: false };
        let look = args::Preview { exit_code: false };

        self.typed("rehome approve --yes");
        expect(approve::run(ui, global, &nothing).await?, Exit::Done)?;
        self.typed("rehome check");
        if let stopped @ (Exit::Blocked | Exit::Error) = check::run(ui, global, &args::Check { until: None }).await? {
            return Ok(stopped);
        }
        self.typed("rehome preview");
        expect(preview::run(ui, global, &look).await?, Exit::Done)?;
        self.typed("rehome apply");
        let waits = apply::run(ui, global, &apply_all).await?;
        if waits != Exit::Waiting {
            return Ok(waits);
        }
        self.meanwhile().await?;
        self.typed("rehome status");
        status::run(ui, global).await?;
        let yes = args::Answer { phase: "confirm".into(), key: "go-on".into(), values: vec!["yes".into()] };
        self.typed("rehome answer confirm go-on yes");
        answer::run(ui, global, &yes).await?;
        self.typed("rehome apply");
        let applied = apply::run(ui, global, &apply_all).await?;
        if applied != Exit::Done {
            return Ok(applied);
        }
        self.typed("rehome verify");
        let verified = verify::run(ui, global).await?;
        if verified != Exit::Done {
            return Ok(verified);
        }
        self.typed("rehome preview --exit-code");
        preview::run(ui, global, &args::Preview { exit_code: true }).await
    }

    /// Life goes on on the old side while the migration waits.
    async fn meanwhile(&self) -> Result<(), Error> {
        let old = Path::new("old");
        let happened = mail::goes_on(old).map_err(|error| error.to_string());
        let added = accounts::one_more(&old.join("var/lib/mailserver.db")).await.map_err(|error| error.to_string());
        match (happened, added) {
            (Ok(happened), Ok(email)) => {
                self.ui.gap();
                let text = format!("Meanwhile, on old: {happened}; and {email} gets an account.");
                self.ui.say(Text::dim(text).at(0).hang(2));
                Ok(())
            }
            (Err(why), _) | (_, Err(why)) => Err(usage(&format!("the demo could not change its old side: {why}"))),
        }
    }

    fn typed(&self, line: &str) {
        self.ui.event(&serde_json::json!({ "event": "command", "line": line }));
        self.ui.gap();
        self.ui.out(Text::default().with(Tone::Cyan, "$ ").with(Tone::Bold, line).into());
    }
}

fn expect(exit: Exit, wanted: Exit) -> Result<(), Error> {
    if exit == wanted {
        Ok(())
    } else {
        Err(usage(&format!("the demo stops here: the last command ended with status {}", exit as u8)))
    }
}

fn usage(what: &str) -> Error {
    rehome_engine::UsageError { what: what.into(), more: vec![], hint: None }.into()
}

fn last_words(ui: &Ui, folder: &Path) {
    let folder = folder.display();
    ui.gap();
    ui.say(Text::green("The server has moved. ").plain("Everything is still there to look at:").into());
    for (command, about) in [
        (format!("cd {folder}"), ""),
        ("rehome status".into(), "how the migration stands"),
        ("less plan.toml plan.lock".into(), "what was planned, and what was granted"),
        ("diff -r old/var/vmail new/var/vmail".into(), "the same mail on both sides"),
        ("rehome apply --again mail-hot".into(), "try to undo the cutover by accident: it is refused"),
        ("rehome phase new my-phase".into(), "write a phase of your own"),
    ] {
        ui.say(Text::default().with(Tone::Cyan, &command).pad(40).and_dim(about).at(2).hang(42));
    }
}

enum Failed {
    Usage(Explanation),
    Other(Explanation),
}

/// What was made.
struct Made {
    mails: usize,
    users: usize,
    domains: usize,
}

impl Made {
    fn words(&self) -> String {
        let mails = crate::ui::words::thousands(self.mails as u64);
        format!(
            "{} domains, {} users, {mails} mails on old; nothing but empty tables and an empty folder on new",
            self.domains, self.users
        )
    }
}

async fn make(folder: &Path, fresh: bool) -> Result<Made, Failed> {
    clear(folder, fresh)?;
    let other = |path: &Path| {
        let path = path.to_path_buf();
        move |error: std::io::Error| Failed::Other(cannot("make", &path, &error))
    };
    for side in ["old", "new"] {
        for below in ["var/vmail", "var/lib"] {
            let path = folder.join(side).join(below);
            std::fs::create_dir_all(&path).map_err(other(&path))?;
        }
    }
    for (name, text) in [(MARK, "made by `rehome demo`; `--fresh` makes it anew\n"), ("plan.toml", PLAN)] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(other(&path))?;
    }
    let mails = mail::fill(&folder.join("old")).map_err(other(&folder.join("old")))?;
    for side in ["old", "new"] {
        let path = folder.join(side).join("var/lib/mailserver.db");
        accounts::make(&path, side == "old").await.map_err(|error| other(&path)(std::io::Error::other(error)))?;
    }
    Ok(Made { mails, users: accounts::users().len(), domains: accounts::DOMAINS.len() })
}

/// An empty folder, or the folder of an earlier demo that may go.
fn clear(folder: &Path, fresh: bool) -> Result<(), Failed> {
    let empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(Failed::Other(cannot("use", folder, &error))),
    };
    if empty {
        return Ok(());
    }
    let shown = folder.display();
    if !folder.join(MARK).is_file() {
        let explanation = Explanation::of(format!("{shown} is not empty, and no demo of rehome made it"));
        return Err(Failed::Usage(explanation.hint("name another folder: `rehome demo FOLDER`")));
    }
    if !fresh {
        let explanation = Explanation::of(format!("there has been a demo in {shown} already"));
        return Err(Failed::Usage(explanation.hint(format!("to make it anew: `rehome demo --fresh {shown}`"))));
    }
    // Only what the demo makes: whatever else somebody put there stays.
    for name in ["old", "new", ".rehome", "plan.lock"] {
        let path: PathBuf = folder.join(name);
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        removed.map_err(|error| Failed::Other(cannot("remove", &path, &error)))?;
    }
    Ok(())
}

fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> Explanation {
    Explanation::of(format!("cannot {doing} {}", path.display())).line(error.to_string())
}

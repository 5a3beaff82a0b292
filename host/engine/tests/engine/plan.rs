//! A plan that cannot be used is refused with file, line, column, the key, and what would be accepted.

use std::path::Path;

use rehome_engine::{Error, Plan};
use rehome_gatekeeper::types::Stage;
use rehome_gatekeeper::{Account, DatabasePlace};

const SIDES: &str = "[old]\nssh = \"root@old.example.org\"\n[new]\nlocal = true\n";

fn phase(id: &str, stage: &str) -> String {
    format!("[[phase]]\nid = \"{id}\"\ncomponent = \"maildir\"\nstage = \"{stage}\"\n")
}

fn refused(text: &str) -> String {
    match Plan::parse(Path::new("plan.toml"), text) {
        Ok(_) => panic!("was accepted:\n{text}"),
        Err(error) => crate::common::told(&Error::Plan(error)),
    }
}

#[test]
fn a_whole_plan_is_read() {
    let text = format!(
        "[migration]\nname = \"bullseye to bookworm\"\ncomponents = [\"a\", \"b\"]\n\
         [old]\nssh = \"root@old\"\nsudo = true\nknown-hosts = \"hosts\"\ndirect = false\n\
         [old.database.mailserver]\nsocket = \"/tmp/s.sock\"\nuser = \"me\"\npassword = \"db\"\nread-user = \"reader\"\n[secret.db]\nfile = \"db\"\n\
         [new]\nfolder = \"new\"\n[new.database.mailserver]\nsqlite = \"/m.db\"\n{}about = \"hot\"\n\
         [phase.config]\npass = \"hot\"\nfolders = [\"x\"]\n{}",
        phase("mail-hot", "copy"),
        phase("mail-cold", "cutover")
    );
    let plan = Plan::parse(Path::new("/etc/move/plan.toml"), &text).unwrap();
    assert_eq!(plan.name, "bullseye to bookworm");
    assert_eq!(plan.components, [Path::new("/etc/move/a"), Path::new("/etc/move/b")]);
    assert!(plan.old.options.sudo && !plan.old.options.direct && plan.new.options.direct);
    assert_eq!(plan.old.options.known_hosts.as_deref(), Some(Path::new("/etc/move/hosts")));
    assert_eq!(
        plan.old.databases["mailserver"],
        DatabasePlace::MySql {
            socket: "/tmp/s.sock".into(),
            account: Account { user: "me".into(), password: Some("db".into()) },
            reader: Some(Account::by_socket("reader")),
        }
    );
    assert_eq!(plan.new.databases["mailserver"], DatabasePlace::Sqlite { path: "/m.db".into() });
    assert_eq!(plan.phases[1].stage, Stage::Cutover);
    assert_eq!(plan.phases[0].config["pass"].as_str(), Some("hot"));
    assert_eq!(plan.phases[0].about.as_deref(), Some("hot"));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let text = format!("{SIDES}{}stages = \"copy\"\n", phase("a", "copy"));
    let said = refused(&text);
    assert!(said.starts_with("error: plan.toml:9:1: unknown key `stages`\n"), "{said}");
    assert!(said.contains("9 | stages = \"copy\"\n") && said.contains("  | ^^^^^^\n"), "{said}");
    assert!(said.contains("keys here are: id, component, stage, publisher, about, config"), "{said}");
    assert!(said.contains("hint: did you mean `stage`?"), "{said}");
}

#[test]
fn each_mistake_is_refused_at_its_place() {
    let sides = SIDES;
    let one = phase("a", "copy");
    for (text, place, words) in [
        (format!("{sides}[[phase]]\nid = 5\ncomponent = \"x\"\nstage = \"copy\"\n"), "6:6", "`id`: should be a string"),
        (format!("{sides}{}", phase("a", "copi")), "8:9", "`copi` is not a value of it"),
        (format!("{sides}[[phase]]\nid = \"a\"\nstage = \"copy\"\n"), "5:1", "the key `component` is missing"),
        (format!("{sides}{one}{one}"), "10:6", "there is a phase `a` already"),
        (format!("{sides}{}{}", phase("a", "cutover"), phase("b", "copy")), "12:9", "after phase `a` in cutover"),
        (format!("{sides}{}", phase("-a", "copy")), "6:6", "`id` is no name"),
        (format!("{sides}{}", phase("a b", "copy")), "6:6", "`id` is no name"),
        ("[new]\nlocal = true\n".to_string() + &one, "1:1", "the key `old` is missing"),
        (format!("[old]\nssh = \"-oProxyCommand=x\"\n[new]\nlocal = true\n{one}"), "2:7", "take for an option"),
        (format!("[old]\nssh = \"a\"\nlocal = true\n[new]\nlocal = true\n{one}"), "1:1", "more than one way"),
        (format!("[old]\nsudo = true\n[new]\nlocal = true\n{one}"), "1:1", "does not say how"),
        (format!("[old]\nlocal = true\n[new]\nlocal = true\n{one}"), "3:1", "the same side"),
        (format!("[old]\nlocal = false\n[new]\nlocal = true\n{one}"), "2:9", "can only be true"),
        (format!("[old]\nfolder = \"x\"\nsudo = true\n[new]\nlocal = true\n{one}"), "3:8", "`sudo` is for a machine"),
        (format!("{sides}[new.database.m]\nsqlite = \"m.db\"\n{one}"), "6:10", "not an absolute path"),
        (format!("{sides}[new.database.m]\npassword = \"hunter2\"\n{one}"), "5:1", "names no secret of the plan"),
        (
            format!("{sides}[new.database.m]\nsqlite = \"/m\"\npassword = \"p\"\n[secret.p]\nfile = \"p\"\n{one}"),
            "7:12",
            "a SQLite file has no users",
        ),
        (format!("{sides}[new.database.m]\nsqlite = \"/m\"\nsocket = \"/s\"\n{one}"), "5:1", "more than one place"),
        (sides.to_string(), "1:1", "has no phase"),
        (format!("{sides}{one}x = = 1\n"), "9:5", ""),
    ] {
        let said = refused(&text);
        assert!(said.starts_with(&format!("error: plan.toml:{place}: ")), "{place} {words}\n{said}");
        assert!(said.contains(words), "{words}\n{said}");
    }
}

#[test]
fn a_plan_that_is_not_there_says_so() {
    let error = Error::Plan(Plan::read(Path::new("/nowhere/plan.toml")).unwrap_err());
    let said = crate::common::told(&error);
    assert!(said.contains("cannot read the plan /nowhere/plan.toml") && said.contains("--plan"), "{said}");
}

#[test]
fn a_publisher_has_a_key_and_a_phase_names_one_that_is_there() {
    let said = refused(&format!("{SIDES}[publisher.acme]\nkey = \"RWQ\"\n{}", phase("a", "copy")));
    assert!(said.contains("plan.toml:6") && said.contains("is no public key of minisign"), "{said}");
    let said = refused(&format!("{SIDES}{}publisher = \"acme\"\n", phase("a", "copy")));
    assert!(said.contains("no publisher `acme`") && said.contains("[publisher.NAME]"), "{said}");
}

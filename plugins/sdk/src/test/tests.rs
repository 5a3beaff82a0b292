//! The rules of the test host: a phase that breaks one in its unit test would be refused by a real host as well.

use serde_json::json;

use super::Host;
use crate::prelude::*;
use crate::{exec, sql};

const MANIFEST: &str = r#"
name = "example"
version = "0.1.0"
api = "0.1"
about = "An example"
[config.domain]
type = "domain"
default = "example.org"
about = "one"
[exec.users]
on = ["old"]
argv = ["doveadm", "user", "*@${config.domain}"]
effect = "read"
yields = "lines"
[exec.kick]
on = ["old"]
argv = ["doveadm", "kick", "{user: mailbox from exec.users}"]
effect = "repeatable"
reason = "logs one user out"
[exec.start]
on = ["old"]
argv = ["systemctl", "start", "dovecot"]
effect = "repeatable"
reason = "as before"
verbs = ["undo"]
[sql.count]
on = ["old", "new"]
database = "mailserver"
text = "SELECT COUNT(*) FROM virtual_users WHERE email = :email"
effect = "read"
"#;

const USERS: exec::Request<0> = exec::Request::named("users");
const KICK: exec::Request<1> = exec::Request::named("kick");
const START: exec::Request<0> = exec::Request::named("start");

/// Does what each test says.
struct Example;

#[derive(Deserialize)]
struct Config {
    domain: String,
}

impl Phase for Example {
    type Config = Config;
    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let rows = sql::Query::<1>::named("count").on(Side::New).rows_with([ctx.config.domain.as_str().into()])?;
        let mut found = Findings::new();
        found.note("count", format!("{:?}", rows.number()));
        Ok(found.into())
    }
    fn preview(_: &Context<Config>) -> Result<Forecast, Failure> {
        USERS.on(Side::Old).run()?;
        KICK.on(Side::Old).run_with(["john@example.org"]).map(|_| Forecast::default())
    }
    fn apply(_: &Context<Config>) -> Result<(), Failure> {
        for user in USERS.on(Side::Old).run()?.lines() {
            KICK.on(Side::Old).run_with([&user])?;
        }
        journal::remember("once", "yes")?;
        KICK.on(Side::Old).run_with(["mary@example.org"]).map(drop)
    }
    fn verify(_: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        USERS.on(Side::New).run()?;
        Ok(Vec::new())
    }
    fn undo(_: &Context<Config>) -> Result<(), Failure> {
        START.on(Side::Old).run()?;
        KICK.on(Side::Old).run_with(["john@example.org"]).map(drop)
    }
}

fn host() -> Host {
    let mut host = Host::new(MANIFEST);
    host.exec("users", Side::Old).says("john@example.org\n");
    host
}

#[test]
fn a_value_comes_from_a_read_of_the_same_call_or_is_refused() {
    let mut host = host();
    let refused = host.apply::<Example>(json!({})).unwrap_err();
    assert!(matches!(&refused, Failure::RefusedValue(why) if why.contains("mary@example.org")), "{refused:?}");
    assert_eq!(host.calls(), ["exec.users on old", "exec.kick on old: john@example.org"]);
    assert_eq!(host.remembered("once").as_deref(), Some("yes"));
    // what another call has read does not count
    let refused = host.undo::<Example>(json!({})).unwrap_err();
    assert!(matches!(&refused, Failure::RefusedValue(why) if why.contains("exec.users")), "{refused:?}");
    assert_eq!(host.effects().last().map(String::as_str), Some("exec.start on old"));
}

#[test]
fn a_value_must_fit_the_type_of_its_hole() {
    let mut host = host();
    host.exec("users", Side::Old).anew().says("*@example.org\n");
    assert!(matches!(host.apply::<Example>(json!({})), Err(Failure::RefusedValue(_))));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn preview_only_reads_and_a_side_must_be_requested() {
    let mut host = host();
    assert!(matches!(host.preview::<Example>(json!({})), Err(Failure::ReadOnly(_))));
    assert!(matches!(host.verify::<Example>(json!({})), Err(Failure::Denied(_))));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_status_that_is_not_listed_is_a_failure_with_the_tools_words() {
    let mut host = host();
    host.exec("users", Side::Old).anew().ends(75, "", "User listing returned failure");
    let why = host.apply::<Example>(json!({})).unwrap_err();
    assert_eq!(why.words(), "User listing returned failure (`exec.users` ended with status 75)");
}

#[test]
fn config_is_checked_and_filled_as_a_plan_is() {
    let mut host = host();
    host.query("count", Side::New).counts(3);
    assert_eq!(host.check::<Example>(json!({})).unwrap()[0].text, "Some(3)");
    host.check::<Example>(json!({ "domain": "other.example" })).unwrap();
    assert_eq!(host.calls(), ["sql.count on new: example.org", "sql.count on new: other.example"]);
}

#[test]
#[should_panic(expected = "scripted no answer for `sql.count on new`")]
fn a_read_without_a_scripted_answer_ends_the_test() {
    let _ = host().check::<Example>(json!({}));
}

#[test]
#[should_panic(expected = "config: ")]
fn a_config_that_a_plan_could_not_hold_ends_the_test() {
    let _ = host().check::<Example>(json!({ "domian": "example.org" }));
}

//! The database that needs a login: a user with a password, which is a secret of the plan; and what a refusal says.

use rehome_gatekeeper::types::{SideName, Verb};

use crate::lab::{SIDES, ended_badly};
use crate::servers::Databases;

const REQUESTS: &str = r#"
[schema.mail]
on = ["old", "new"]
database = "DB"

[sql.who]
on = ["old", "new"]
database = "DB"
text = "SELECT CURRENT_USER() AS who"
effect = "read"
"#;

const PASSWORD: &str = "hush ' \\ ü 4711";

/// A user on both sides, of this test alone, who has a password and may use the test's database.
fn make(user: &str, at: &Databases, rights: bool) {
    for side in SIDES {
        at.sql(
            side,
            &format!(
                "CREATE OR REPLACE USER {user}@localhost IDENTIFIED BY '{}'",
                PASSWORD.replace('\'', "''").replace('\\', "\\\\")
            ),
        );
        if rights {
            at.sql(side, &format!("GRANT ALL PRIVILEGES ON `{}`.* TO {user}@localhost", at.name));
        }
    }
}

#[tokio::test]
async fn a_user_with_a_password_is_let_in_and_nothing_of_the_password_is_kept() {
    let Some(at) = Databases::logging_in(REQUESTS, "mover", Some(("db", PASSWORD)), None).await else { return };
    make("mover", &at, true);
    for side in SIDES {
        let rows = at.lab.session(Verb::Check, 1).query("who", side, &[]).await.unwrap();
        assert_eq!(format!("{:?}", rows.rows), "[[Text(\"mover@localhost\")]]");
    }
    assert!(!at.lab.journal_holds("4711").await);
}

#[tokio::test]
async fn a_wrong_password_names_the_side_the_user_and_the_secret_and_not_the_password() {
    let Some(at) = Databases::logging_in(REQUESTS, "erring", Some(("db", "wrong 4712")), None).await else { return };
    make("erring", &at, true);
    let words = ended_badly(at.lab.session(Verb::Check, 1).describe("mail", SideName::Old).await);
    let place = format!("database `{}` on old", at.name);
    for part in
        ["Access denied for user 'erring'@'localhost'", &place, "as user `erring` with the password in the secret `db`"]
    {
        assert!(words.contains(part), "{words}");
    }
    assert!(
        words.contains("\nhint: the file of [secret.db] must hold the password that `erring` has on old"),
        "{words}"
    );
    assert!(!words.contains("4712") && !at.lab.journal_holds("4712").await, "{words}");
}

#[tokio::test]
async fn a_refused_login_without_a_password_says_what_to_put_into_the_plan() {
    let Some(at) = Databases::as_user(REQUESTS, "silent").await else { return };
    make("silent", &at, true);
    let words = ended_badly(at.lab.session(Verb::Check, 1).describe("mail", SideName::New).await);
    assert!(words.contains("on new") && words.contains("as user `silent` without a password"), "{words}");
    for part in [&format!("[new.database.{}]", at.name), "password = \"NAME\"", "[secret.NAME]", "unix_socket"] {
        assert!(words.contains(part), "{words}");
    }
}

#[tokio::test]
async fn a_user_without_rights_to_the_database_is_told_apart() {
    let Some(at) = Databases::logging_in(REQUESTS, "stranger", Some(("db", PASSWORD)), None).await else { return };
    make("stranger", &at, false);
    let words = ended_badly(at.lab.session(Verb::Check, 1).describe("mail", SideName::New).await);
    assert!(words.contains("Access denied for user 'stranger'@'localhost' to database"), "{words}");
    assert!(words.contains("hint: on new, give `stranger` all rights"), "{words}");
}

#[tokio::test]
async fn what_only_reads_does_so_as_the_account_that_can_only_read() {
    let requests = format!(
        "{REQUESTS}[sql.add]\non = [\"old\", \"new\"]\ndatabase = \"DB\"\ntext = \"CREATE TABLE made (who TEXT)\"\n\
         effect = \"repeatable\"\nreason = \"a test\"\n\
         [sql.pretends]\non = [\"new\"]\ndatabase = \"DB\"\ntext = \"SELECT SLEEP(0), GET_LOCK('x', 0) FROM mysql.user\"\n\
         effect = \"read\"\n"
    );
    let Some(at) = Databases::logging_in(&requests, "writing", None, Some("reading")).await else { return };
    for side in SIDES {
        let name = &at.name;
        at.sql(side, "CREATE OR REPLACE USER reading@localhost IDENTIFIED BY ''");
        at.sql(side, "CREATE OR REPLACE USER writing@localhost IDENTIFIED BY ''");
        at.sql(side, &format!("GRANT SELECT ON `{name}`.* TO reading@localhost"));
        at.sql(side, &format!("GRANT ALL PRIVILEGES ON `{name}`.* TO writing@localhost"));
        let rows = at.lab.apply().query("who", side, &[]).await.unwrap();
        assert_eq!(format!("{:?}", rows.rows), "[[Text(\"reading@localhost\")]]");
    }
    at.lab.apply().execute("add", SideName::New, &[]).await.expect("the other account writes");
    let words = ended_badly(at.lab.apply().query("pretends", SideName::New, &[]).await);
    assert!(words.contains("denied"), "{words}");
}

#[tokio::test]
async fn an_account_for_reading_that_can_do_more_is_refused() {
    let Some(at) = Databases::logging_in(REQUESTS, "writing", None, Some("reading_more")).await else { return };
    for side in SIDES {
        at.sql(side, "CREATE OR REPLACE USER reading_more@localhost IDENTIFIED BY ''");
        at.sql(side, &format!("GRANT SELECT, UPDATE ON `{}`.* TO reading_more@localhost", at.name));
    }
    let words = ended_badly(at.lab.session(Verb::Check, 1).query("who", SideName::New, &[]).await);
    for part in
        ["can do more than read: UPDATE", "database `", "on new", "hint: on new, take all of that from `reading_more`"]
    {
        assert!(words.contains(part), "{words}");
    }
    for side in SIDES {
        at.sql(side, &format!("REVOKE UPDATE ON `{}`.* FROM reading_more@localhost", at.name));
    }
    at.lab.session(Verb::Check, 1).query("who", SideName::New, &[]).await.expect("now it only reads");
}

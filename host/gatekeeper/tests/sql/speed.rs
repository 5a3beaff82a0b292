//! How fast it is. Not run by default, and nothing is asserted of time:
//! `cargo test -p rehome-gatekeeper --test sql speed -- --ignored --nocapture`

use rehome_gatekeeper::types::{SideName, Verb};

use crate::servers::Databases;

const REQUESTS: &str = r#"
[copy.rows]
database = "DB"
kind = "rows"
effect = "repeatable"
reason = "speed"
[[copy.rows.step]]
table = "users"
delete = "DELETE FROM users"
select = "SELECT id, email, password FROM users"
insert = "INSERT INTO users (id, email, password) VALUES (:id, :email, :password)"

[copy.tables]
database = "DB"
kind = "tables"
effect = "once"
reason = "speed"

[snapshot.all]
on = ["new"]
database = "DB"
reason = "speed"
"#;

#[tokio::test]
#[ignore = "measures"]
async fn rows_a_second() {
    let Some(at) = Databases::new(REQUESTS).await else { return };
    at.sql(SideName::Old, "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE, password VARCHAR(150)) ENGINE=InnoDB");
    at.sql(
        SideName::Old,
        "INSERT INTO users SELECT seq, CONCAT('user', seq, '@example.org'), REPEAT('x', 106) FROM seq_1_to_100000",
    );
    at.sql(SideName::New, "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE, password VARCHAR(150)) ENGINE=InnoDB");
    let say = |what: &str, milliseconds: u128| println!("{what}: 100,000 rows in {milliseconds} ms");
    say("copy of rows", at.lab.apply().copy("rows").await.unwrap().milliseconds.into());
    say("copy of tables", at.lab.apply().copy("tables").await.unwrap().milliseconds.into());
    let begun = std::time::Instant::now();
    assert!(at.lab.session(Verb::Verify, 1).compare_rows("rows").await.unwrap()[0].equal);
    say("comparison", begun.elapsed().as_millis());
    let begun = std::time::Instant::now();
    let name = at.lab.apply().snapshot("all", SideName::New).await.unwrap();
    say("snapshot", begun.elapsed().as_millis());
    let begun = std::time::Instant::now();
    at.lab.apply().restore_snapshot("all", SideName::New, &name).await.unwrap();
    say("snapshot and restore", begun.elapsed().as_millis());
}

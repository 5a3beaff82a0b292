//! What the little lexer takes, changes and refuses.

use super::*;

fn sql(text: &str, dialect: Dialect) -> Result<String, String> {
    Statement::parse(text, dialect).map(|statement| statement.sql())
}

#[test]
fn placeholders_become_the_servers_own_and_one_name_is_one_value() {
    let text = "SELECT a FROM t WHERE b = :b AND (c = :c OR d = :b)";
    assert_eq!(sql(text, Dialect::MySql).unwrap(), "SELECT a FROM t WHERE b = ? AND (c = ? OR d = ?)");
    assert_eq!(sql(text, Dialect::Postgres).unwrap(), "SELECT a FROM t WHERE b = $1 AND (c = $2 OR d = $1)");
    let values = [SqlValue::Integer(1), SqlValue::Integer(2)];
    let order = |dialect| {
        let statement = Statement::parse(text, dialect).unwrap();
        assert_eq!(statement.names(), ["b", "c"]);
        statement.bound(&values).unwrap().into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(order(Dialect::Sqlite), [SqlValue::Integer(1), SqlValue::Integer(2), SqlValue::Integer(1)]);
    assert_eq!(order(Dialect::Postgres), values);
}

#[test]
fn the_number_of_values_must_be_right() {
    let statement = Statement::parse("SELECT :a", Dialect::MySql).unwrap();
    assert_eq!(statement.bound(&[]).unwrap_err(), "was given 0 values and takes 1: :a");
    let statement = Statement::parse("SELECT 1", Dialect::MySql).unwrap();
    assert_eq!(statement.bound(&[SqlValue::Null]).unwrap_err(), "was given 1 values and takes 0: none");
}

#[test]
fn quotes_casts_and_times_hold_no_placeholders() {
    for (text, dialect) in [
        ("SELECT ':a', 'it''s :b', \":c\", `:d`", Dialect::MySql),
        ("SELECT '12:30:00'", Dialect::MySql),
        ("SELECT '1'::integer, a[1:2] FROM t", Dialect::Postgres),
        ("SELECT [:a], 'back\\slash' FROM t", Dialect::Sqlite),
        ("SELECT @a := 1", Dialect::MySql),
        ("SELECT 'größe :x' AS größe", Dialect::MySql),
        ("SELECT a$b, j ? 'k' FROM t", Dialect::Postgres),
    ] {
        let statement = Statement::parse(text, dialect).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(statement.names(), [""; 0], "{text}");
        assert_eq!(statement.sql(), text);
    }
}

#[test]
fn comments_become_spaces_and_hold_no_placeholders() {
    let text = "SELECT/* :a ; */1 -- :b ;\n, 2 # :c ;\n;  -- the end ;";
    assert_eq!(sql(text, Dialect::MySql).unwrap(), "SELECT 1  \n, 2  \n");
}

#[test]
fn a_second_statement_is_refused_wherever_it_hides() {
    for text in [
        "SELECT 1; SELECT 2",
        "SELECT 1;; SELECT 2",
        "SELECT 1; /* */ x",
        "SELECT 1; 2",
        "SELECT ';' ; 'x'",
        "SELECT 1; :a",
    ] {
        let why = sql(text, Dialect::MySql).unwrap_err();
        assert!(why.contains("more than one statement"), "{text}: {why}");
    }
    assert_eq!(sql("SELECT ';' ; ;", Dialect::Sqlite).unwrap(), "SELECT ';' ");
}

#[test]
fn executable_comments_are_refused() {
    for text in ["SELECT 1 /*!50000 INTO OUTFILE '/tmp/x' */", "SELECT 1 /*M!100000 INTO OUTFILE '/tmp/x' */"] {
        assert_eq!(sql(text, Dialect::MySql).unwrap_err(), "has an executable comment");
    }
}

#[test]
fn what_servers_read_differently_is_refused() {
    for (text, dialect) in [
        ("SELECT 'a\\'; DROP TABLE t; -- '", Dialect::MySql),
        ("SELECT E'\\''", Dialect::Postgres),
        ("SELECT $$ ; $$", Dialect::Postgres),
        ("SELECT $1", Dialect::Postgres),
        ("SELECT ?", Dialect::MySql),
        ("SELECT @x", Dialect::Sqlite),
        ("SELECT 5--1", Dialect::MySql),
        ("SELECT /* /* */ 1", Dialect::Postgres),
        ("SELECT 'open", Dialect::Sqlite),
        ("SELECT /* open", Dialect::Sqlite),
        ("SELECT '\0'", Dialect::Sqlite),
        (" ; -- nothing", Dialect::Sqlite),
    ] {
        assert!(sql(text, dialect).is_err(), "{text}");
    }
}

#[test]
fn reads_are_known_by_their_first_word_and_reach_no_files() {
    let check = |text: &str| Statement::parse(text, Dialect::MySql).unwrap().only_reads();
    for text in [
        "SELECT 1",
        "(SELECT 1) UNION (SELECT 2)",
        "show tables",
        "SELECT 'INTO OUTFILE'",
        "WITH a AS (SELECT 1) SELECT 1",
    ] {
        assert_eq!(check(text), Ok(()), "{text}");
    }
    for text in [
        "DELETE FROM t",
        "SET GLOBAL x = 1",
        "COMMIT",
        "SELECT 1 INTO OUTFILE '/x'",
        "select load_file('/x')",
        "SELECT 1 into/**/dumpfile '/x'",
    ] {
        assert!(check(text).is_err(), "{text}");
    }
}

#[test]
fn sessions_and_transactions_are_not_a_phases() {
    for text in [
        "COMMIT",
        "begin",
        "ATTACH 'x' AS y",
        "SET GLOBAL a = 1",
        "VACUUM INTO 'x'",
        "LOAD DATA INFILE 'x' INTO TABLE t",
    ] {
        assert!(Statement::parse(text, Dialect::Sqlite).unwrap().may_run().is_err(), "{text}");
    }
    assert_eq!(Statement::parse("UPDATE t SET a = 1", Dialect::Sqlite).unwrap().may_run(), Ok(()));
}

#[test]
fn tables_are_found_in_and_out_of_quotes() {
    let statement = Statement::parse("INSERT INTO `Odd Name` SELECT a FROM plain", Dialect::MySql).unwrap();
    assert!(statement.mentions("odd name") && statement.mentions("PLAIN") && !statement.mentions("other"));
}

#[test]
fn identifiers_cannot_leave_their_quotes() {
    assert_eq!(identifier("a`; DROP", Dialect::MySql), "`a``; DROP`");
    assert_eq!(identifier("a\"; DROP", Dialect::Sqlite), "\"a\"\"; DROP\"");
}

//! Filling a plan's config into a manifest: what an operator approves is what is obeyed, to the letter.

use rehome_manifest::{Config, ConfigError, Filled, Manifest, ManifestError, fill};

const HEAD: &str = "name = \"x\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"x\"\n";

fn manifest(requests: &str) -> Manifest {
    Manifest::parse(&format!("{HEAD}{requests}")).expect("a good manifest")
}

fn refused(requests: &str) -> String {
    Manifest::parse(&format!("{HEAD}{requests}")).expect_err("must be refused").to_string()
}

fn filled(requests: &str, config: &str) -> Result<Filled, ManifestError> {
    let manifest = manifest(requests);
    let config = Config::check(&manifest, &config.parse().expect("TOML")).expect("good config");
    fill(&manifest, config)
}

const CONFIG: &str = r#"
[config.domains]
type = "list of domain"
default = []
about = "which"
[config.database]
type = "identifier"
default = "mailserver"
about = "where"
[config.note]
type = "text"
default = "it's"
about = "what"
[config.hold]
type = "duration"
default = "7d"
about = "how long"
"#;

#[test]
fn a_list_becomes_elements_of_an_argv_and_literals_of_a_statement() {
    let requests = format!(
        "{CONFIG}
[exec.a]
on = [\"new\"]
argv = [\"id\", \"${{config.domains}}\", \"--note=${{config.note}}\"]
effect = \"read\"
[sql.b]
on = [\"old\"]
database = \"${{config.database}}\"
text = \"SELECT 1 FROM ${{config.database}} WHERE d IN (${{config.domains}}) AND n = ${{config.note}}\"
effect = \"read\"
"
    );
    let two = filled(&requests, "domains = [\"a.org\", \"b.org\"]").expect("filled");
    assert_eq!(two.manifest.exec["a"].argv, ["id", "a.org", "b.org", "--note=it's"]);
    assert_eq!(two.manifest.sql["b"].text, "SELECT 1 FROM mailserver WHERE d IN ('a.org', 'b.org') AND n = 'it''s'");
    let none = filled(&requests, "").expect("filled");
    assert_eq!(none.manifest.exec["a"].argv.len(), 2);
    assert!(none.manifest.sql["b"].text.contains("IN (NULL)"));
}

#[test]
fn the_digest_of_a_request_changes_with_whatever_fills_it_and_with_nothing_else() {
    let requests = format!(
        "{CONFIG}
[exec.a]
on = [\"new\"]
argv = [\"id\", \"${{config.database}}\"]
effect = \"read\"
"
    );
    let digest = |config: &str| filled(&requests, config).expect("filled").requests["exec.a"].digest.clone();
    assert_eq!(digest(""), digest("hold = \"1d\""));
    assert_ne!(digest(""), digest("database = \"other\""));
}

#[test]
fn the_component_gets_seconds_and_defaults() {
    let manifest = manifest(CONFIG);
    let config = Config::check(&manifest, &toml::Table::new()).expect("defaults");
    let json: serde_json::Value = serde_json::from_str(&config.to_json()).expect("JSON");
    assert_eq!(json["hold"], 604_800);
    assert_eq!(json["domains"], serde_json::json!([]));
}

#[test]
fn config_that_does_not_fit_is_named_with_what_would() {
    let manifest = manifest(CONFIG);
    let check = |text: &str| Config::check(&manifest, &text.parse().expect("TOML")).expect_err("refused");
    assert!(matches!(check("domain = 1"), ConfigError::Unknown { known, .. } if known.contains("domains")));
    assert!(check("domains = \"a.org\"").to_string().contains("list of domain"));
    assert!(check("domains = [\"-a.org\"]").to_string().contains("option"));
    assert!(check("hold = 7").to_string().contains("duration"));
}

#[test]
fn a_manifest_that_could_not_be_obeyed_to_the_letter_is_refused() {
    let exec = |line: &str| format!("[exec.a]\non = [\"new\"]\n{line}\n");
    for (requests, says) in [
        (exec("argv = [\"sh\", \"-c\", \"x\"]\neffect = \"read\""), "never granted"),
        (exec("argv = []\neffect = \"read\""), "empty argv"),
        (exec("argv = [\"id\"]\neffect = \"once\""), "reason"),
        (exec("argv = [\"id\"]\neffect = \"maybe\""), "effect"),
        (exec("argv = [\"id\"]\neffect = \"read\"\nshell = true"), "unknown field"),
        (exec("argv = [\"id\", \"{u: mailbox from exec.b}\"]\neffect = \"read\""), "exec.b"),
        (exec("argv = [\"id\"]\neffect = \"read\"\nyields = \"bytes\""), "yields"),
        (exec("argv = [\"id\"]\neffect = \"read\"\ntimeout = \"soon\""), "duration"),
        ("[file.a]\non = [\"old\"]\npath = \"/etc/a\"\nmode = \"0644\"\nreason = \"x\"\n".into(), "read-only"),
        ("[file.a]\non = [\"new\"]\npath = \"/etc/a\"\nmode = \"04755\"\nreason = \"x\"\n".into(), "octal"),
        ("[sync.a]\ntree = \"b\"\nto = \"new\"\nreason = \"x\"\n".into(), "tree.b"),
    ] {
        let said = refused(&requests);
        assert!(said.contains(says), "{said}\n  should say `{says}`");
    }
}

#[test]
fn the_old_side_is_written_only_by_an_undo_that_adds() {
    let tree = "[tree.t]\non = [\"old\", \"new\"]\npath = \"/t\"\naccess = \"list\"\n";
    let sync = |more: &str| format!("{tree}[sync.s]\ntree = \"t\"\nto = \"old\"\nreason = \"x\"\n{more}");
    assert!(refused(&sync("")).contains("read-only"));
    assert!(refused(&sync("add-only = true\n")).contains("read-only"));
    assert!(refused(&sync("verbs = [\"undo\"]\n")).contains("read-only"));
    manifest(&sync("verbs = [\"undo\"]\nadd-only = true\n"));
}

#[test]
fn a_tree_goes_into_another_folder_only_where_the_two_stay_apart() {
    let tree = "[tree.t]\non = [\"new\"]\npath = \"/t\"\naccess = \"list\"\n";
    let sync = |more: &str| format!("{tree}[sync.s]\ntree = \"t\"\nto = \"new\"\nreason = \"x\"\n{more}");
    assert!(refused(&sync("")).contains("both sides"));
    assert!(refused(&sync("into = \"/kept\"\n")).contains("both sides"), "old is read, and the tree is on new");
    assert!(refused(&sync("from = \"new\"\n")).contains("into"));
    for into in ["/t", "/t/kept", "/", "kept", "/x/../t"] {
        let said = filled(&sync(&format!("from = \"new\"\ninto = \"{into}\"\n")), "");
        assert!(said.is_err(), "{into}: {said:?}");
    }
    let kept = filled(&sync("from = \"new\"\ninto = \"/tkept\"\ndelete = true\n"), "").expect("filled");
    let request = &kept.requests["sync.s"];
    assert_eq!(request.text, "make /tkept on new like /t on new\n  what /t lacks is kept aside in /tkept, at most 5%");
    assert_eq!(request.on, [rehome_manifest::words::SideName::New]);
    let old = tree.replace("new", "old") + "[sync.s]\ntree = \"t\"\nto = \"new\"\ninto = \"/backup\"\nreason = \"x\"\n";
    assert_eq!(filled(&old, "").expect("filled").requests["sync.s"].text, "make /backup on new like /t on old");
}

#[test]
fn a_path_that_config_makes_dangerous_is_refused_when_it_is_filled() {
    let tree = |path: &str| {
        format!(
            "[config.p]\ntype = \"text\"\nabout = \"where\"\n[tree.t]\non = [\"new\"]\npath = \"{path}\"\naccess = \"list\"\n"
        )
    };
    for (path, config) in
        [("${config.p}", "p = \"/\""), ("${config.p}", "p = \"var\""), ("/var/${config.p}", "p = \"../etc\"")]
    {
        assert!(filled(&tree(path), config).is_err(), "{path} with {config}");
    }
}

#[test]
fn what_an_operator_reads_has_every_argument_apart() {
    let requests = "[exec.a]\non = [\"old\", \"new\"]\nargv = [\"id\", \"two words\", \"a\\nb\"]\neffect = \"read\"\nok = [0, 3]\n";
    let request = &filled(requests, "").expect("filled").requests["exec.a"];
    assert_eq!(request.text, "id 'two words' $'a\\nb'\n  success is status 0 or 3");
}

#[test]
fn a_request_is_asked_for_only_where_the_config_is_as_it_says() {
    let requests = format!(
        "{CONFIG}
[config.part]
type = \"choice\"
of = [\"stop\", \"open\"]
about = \"which\"
[exec.stop]
when.part = [\"stop\"]
on = [\"old\"]
argv = [\"id\"]
effect = \"read\"
[exec.some]
when.domains = [\"some\"]
on = [\"old\"]
argv = [\"id\"]
effect = \"read\"
[exec.always]
on = [\"old\"]
argv = [\"id\"]
effect = \"read\"
"
    );
    let asked = |config: &str| {
        let filled = filled(&requests, config).expect("filled");
        assert!(filled.left_out.iter().all(|id| !filled.requests.contains_key(id)));
        filled.requests.into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(asked("part = \"stop\""), "exec.always exec.stop");
    assert_eq!(asked("part = \"open\"\ndomains = [\"a.org\"]"), "exec.always exec.some");
    // a condition that can never hold is a mistake of the author
    for wrong in ["when.part = [\"shut\"]", "when.nothing = [\"x\"]", "when.database = [\"x\"]", "when.part = []"] {
        refused(&requests.replace("when.part = [\"stop\"]", wrong));
    }
}

#[test]
fn databases_of_redis_are_numbers_or_a_list_of_the_config() {
    let requests = "[config.databases]\ntype = \"list of integer\"\ndefault = [0]\nabout = \"which\"\n\
        [redis-copy.k]\ndatabases = [\"${config.databases}\"]\npatterns = [\"RS*\"]\nreason = \"r\"\n";
    let numbers = |config: &str| filled(requests, config).map(|filled| filled.manifest.redis_copy["k"].numbers());
    assert_eq!(numbers("").unwrap(), [0]);
    assert_eq!(numbers("databases = [2, 5]").unwrap(), [2, 5]);
    assert!(numbers("databases = [99999999999]").unwrap_err().to_string().contains("no number of a database"));
    let text = &filled(requests, "databases = [2]").unwrap().requests["redis-copy.k"].text;
    assert!(text.contains("databases [2]"), "{text}");
    refused("[redis-copy.k]\ndatabases = [\"all\"]\npatterns = [\"RS*\"]\nreason = \"r\"\n");
}

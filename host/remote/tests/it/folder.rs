//! A folder standing in for a machine: it has files, and nothing else.

use std::path::Path;

use rehome_remote::{Command, Endpoint, Error, Options, Side, Target};

async fn side(path: &Path) -> Result<Side, Error> {
    Side::connect(&Target::Folder(path.to_owned()), &Options::default()).await
}

#[tokio::test]
async fn absolute_paths_resolve_below_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let side = side(folder.path()).await.unwrap();
    assert!(side.is_local());
    assert_eq!(side.root(), Some(root.as_path()));
    assert_eq!(side.name(), format!("the folder {}", folder.path().display()));
    for (asked, below) in [
        ("/var/vmail", "var/vmail"),
        ("/", ""),
        ("/../../etc/passwd", "etc/passwd"),
        ("/a/./b/../c", "a/c"),
        ("a/b", "a/b"),
    ] {
        assert_eq!(side.resolve(Path::new(asked)), root.join(below), "{asked}");
    }
}

#[tokio::test]
async fn it_runs_nothing_and_has_no_network_but_it_may_hold_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let side = side(folder.path()).await.unwrap();
    let error = side.run(&Command::new(["true"])).await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { .. }) && !error.outcome_unknown(), "{error}");
    assert!(error.to_string().contains("cannot run `true`: it is a folder"), "{error}");
    assert!(matches!(side.spawn(&Command::new(["true"])).await, Err(Error::Unsupported { .. })));
    let port = Endpoint::Tcp("127.0.0.1".into(), 6379);
    assert!(matches!(side.forward(&port).await, Err(Error::Unsupported { .. })));
    let socket = side.forward(&Endpoint::Unix("/run/mysqld/mysqld.sock".into())).await.unwrap();
    assert_eq!(socket.path(), side.resolve(Path::new("/run/mysqld/mysqld.sock")));
    side.close().await;
}

#[tokio::test]
async fn a_folder_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file, folder.path().join("missing")] {
        let error = side(&path).await.err().unwrap();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

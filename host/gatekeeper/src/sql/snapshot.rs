//! Databases as they were, in the migration's own folder until retire. Invariant: a snapshot's name stands for a whole one
//! (written aside, synced, renamed), is taken once a run, and never leads out of the folder; nobody else may read it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::copy;
use super::driver::{Driver, Origin};
use super::kept::{self, Kept};
use super::place::{At, Use, open};
use super::sqlite;
use crate::door::{Permit, Scope};
use crate::types::{Failure, SideName};

/// What every SQLite file begins with: <https://www.sqlite.org/fileformat.html>.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// The snapshots of one request on one side.
pub(super) struct Shelf<'a> {
    folder: PathBuf,
    id: &'a str,
    phase: &'a str,
    /// "NAME-SIDE"
    ending: String,
    run: u32,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(
        permit: &Permit,
        scope: &'a Scope,
        id: &'a str,
        name: &str,
        on: SideName,
    ) -> Result<Shelf<'a>, Failure> {
        for part in [scope.phase.as_str(), name] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if !part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) || !part.bytes().all(plain) {
                return Err(Failure::RefusedValue(format!(
                    "`{id}`: `{}` is no part of a snapshot's name",
                    crate::report::shown(part)
                )));
            }
        }
        let folder = permit.host().state().join("snapshots");
        Ok(Shelf { folder, id, phase: &scope.phase, ending: format!("{name}-{on}"), run: scope.run })
    }

    /// The name of this run's snapshot: "PHASE-RUN-NAME-SIDE".
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", self.phase, self.run, self.ending)
    }

    /// The name for what a restore is about to replace: the first that is free.
    fn name_before_restore(&self) -> String {
        let mut names = (1_u32..).map(|number| format!("{}-before-restore-{number}", self.name()));
        names.find(|name: &String| !self.folder.join(name).exists()).unwrap_or_else(|| self.name())
    }

    /// Where a snapshot is that a phase names, if it is one of this phase, request and side.
    fn path_of(&self, snapshot: &str) -> Result<PathBuf, Failure> {
        let rest = snapshot.strip_prefix(self.phase).and_then(|rest| rest.strip_prefix('-'));
        let rest = rest.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let rest = rest.and_then(|rest| rest.strip_prefix('-')?.strip_prefix(self.ending.as_str()));
        let numbered = |rest: &str| {
            let number = rest.strip_prefix("-before-restore-");
            number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if !rest.is_some_and(|rest| rest.is_empty() || numbered(rest)) {
            let shown = crate::report::shown(snapshot);
            return Err(Failure::RefusedValue(format!(
                "`{}`: `{shown}` is no snapshot of this phase, request and side",
                self.id
            )));
        }
        let path = self.folder.join(snapshot);
        match super::place::is_file(&path) {
            true => Ok(path),
            false => Err(Failure::NotFound(format!("`{}`: there is no snapshot `{snapshot}`", self.id))),
        }
    }

    /// Keeps the database under this run's name, unless that is done.
    pub(super) async fn keep(&self, permit: &Permit, on: SideName, database: &str) -> Result<String, Failure> {
        let name = self.name();
        if !self.folder.join(&name).exists() {
            self.keep_as(permit, on, database, &name).await?;
        }
        Ok(name)
    }

    async fn keep_as(&self, permit: &Permit, on: SideName, database: &str, name: &str) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::other(self.id, format!("{}: {error}", self.folder.display()));
        let mut source = open(permit, self.id, on, database, Use::ExactRead).await?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let part = self.folder.join(format!(".{name}.part"));
        // Left by a rehome that was killed.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        let written = self.write(&mut *source, file, &part).await;
        if let Err(failure) = written {
            let _ = fs::remove_file(&part);
            return Err(failure);
        }
        fs::rename(&part, self.folder.join(name)).map_err(failed)?;
        fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    async fn write(&self, source: &mut dyn Driver, file: fs::File, part: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::other(self.id, format!("{}: {error}", part.display()));
        let path = part.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        if source.whole()?.keep_in(path).await? {
            return file.sync_all().map_err(failed);
        }
        source.begin_reading().await?;
        kept::write(source.whole()?, file, self.id).await
    }

    /// Puts a snapshot back, after keeping what is there now. Where only rows have changed since, those who read meanwhile see
    /// them as they are or as they were, and a rehome that is killed has changed nothing; else tables of MariaDB and MySQL are
    /// missing for a moment.
    pub(super) async fn restore(
        &self,
        permit: &Permit,
        on: SideName,
        database: &str,
        snapshot: &str,
    ) -> Result<(), Failure> {
        let path = self.path_of(snapshot)?;
        let mut origin = self.origin(&path, snapshot).await?;
        let mut target = open(permit, self.id, on, database, Use::Whole).await?;
        if origin.written_in() != target.dialect() {
            let why = "is of another kind of server than the plan now says";
            return Err(Failure::Conflict(format!("`{}`: `{snapshot}` {why}", self.id)));
        }
        let inventory = origin.inventory(&[]).await?;
        self.keep_as(permit, on, database, &self.name_before_restore()).await?;
        let target = target.whole()?;
        if copy::replace(&mut *origin, &inventory, target).await? {
            return Ok(());
        }
        let there = target.names().await?;
        copy::load(&mut *origin, &inventory, target, &there, &|_, _| {}).await.map(|_| ())
    }

    async fn origin(&self, path: &Path, snapshot: &str) -> Result<Box<dyn Origin>, Failure> {
        let mut head = [0; 16];
        let read = fs::File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut head));
        read.map_err(|error| Failure::other(self.id, format!("{}: {error}", path.display())))?;
        if head != SQLITE {
            return Ok(Box::new(Kept::open(path, self.id).await?));
        }
        let at = At::new(self.id, format!("snapshot `{snapshot}`"));
        let mut file = sqlite::File::open(path, at, Use::ExactRead).await?;
        file.begin_reading().await?;
        Ok(Box::new(file))
    }
}

//! Looking through a hand: folders into a collector, single entries.
//! Invariant: what a hand answers goes through `listing` before anybody uses it.
//! Used by `tree` and by passes (`pass::scope`).

use crate::hand::{Reply, Request, Session, explain, unexpected};
use crate::listing::{Collector, Listing};
use crate::{Entry, Error, RelativePath};

/// Lists one folder into a collector.
pub(crate) async fn collect(
    session: &mut Session,
    collector: &mut Collector,
    below: &RelativePath,
    depth: u32,
) -> Result<(), Error> {
    collector.expect(below.as_bytes(), depth);
    session.send(Request::List { below: below.as_bytes().to_vec(), depth }).await;
    loop {
        match session.next().await? {
            Reply::Listed { folder, entries } => collector.take(&folder, entries)?,
            Reply::Gone { folder } => collector.gone(&folder)?,
            Reply::Done => return Ok(()),
            Reply::Failed(fault) => return Err(explain(session.side(), "list", below.as_bytes(), &fault)),
            other => return Err(unexpected(session.side(), &other)),
        }
    }
}

/// One entry, or `None` where there is none (or where a folder above it is none).
pub(crate) async fn stat(session: &mut Session, path: &RelativePath) -> Result<Option<Entry>, Error> {
    session.send(Request::Stat(path.as_bytes().to_vec())).await;
    let mut found = None;
    loop {
        match session.next().await? {
            Reply::Listed { folder, entries } if found.is_none() => {
                found = Some(Listing::single(session.side(), path, &folder, entries)?);
            }
            Reply::Done => return Ok(found),
            Reply::Failed(fault) if fault.vanished() => return Ok(None),
            Reply::Failed(fault) => return Err(explain(session.side(), "look at", path.as_bytes(), &fault)),
            other => return Err(unexpected(session.side(), &other)),
        }
    }
}

//! Looking through a hand: folders into a collector, single entries.
//! Invariant: what a hand answers goes through `listing` before anybody uses it.
//! Used by `tree` and by passes (`pass::scope`).

use crate::hand::{Incoming, Outgoing, Reply, Request, Session, explain, unexpected};
use crate::listing::{Collector, Listing, Names};
use crate::{Entry, Error, RelativePath};

/// Requests for listings that are on their way at a time: fewer than a hand queues, so that nobody waits for the other.
pub(crate) const LISTINGS: usize = 16;

/// Lists one folder into a collector.
pub(crate) async fn collect(
    session: &mut Session,
    collector: &mut Collector,
    below: &RelativePath,
    depth: u32,
) -> Result<(), Error> {
    let (ask, replies) = session.halves();
    ask_for_listing(ask, collector, below, depth, false).await;
    hear_listing(replies, collector, below).await
}

/// Lists many folders into a collector, asked for at the same time. One that is gone by now is noted as gone.
pub(crate) async fn collect_all(
    session: &mut Session,
    collector: &mut Collector,
    folders: &[RelativePath],
    depth: u32,
) -> Result<(), Error> {
    let (ask, replies) = session.halves();
    let mut asked = 0;
    for (heard, folder) in folders.iter().enumerate() {
        while asked < folders.len().min(heard + LISTINGS) {
            ask_for_listing(ask, collector, &folders[asked], depth, false).await;
            asked += 1;
        }
        hear_listing_or_gone(replies, collector, folder).await?;
    }
    Ok(())
}

/// `pruned`: of leaves that the hand was told to know only what is new about them.
pub(crate) async fn ask_for_listing(
    ask: &mut Outgoing,
    collector: &mut Collector,
    below: &RelativePath,
    depth: u32,
    pruned: bool,
) {
    collector.expect(below.as_bytes(), depth);
    ask.send(Request::List { below: below.as_bytes().to_vec(), depth, pruned }).await;
}

pub(crate) async fn hear_listing(
    replies: &mut Incoming,
    collector: &mut Collector,
    below: &RelativePath,
) -> Result<(), Error> {
    loop {
        match replies.next().await? {
            Reply::Listed { folder, entries } => collector.take(&folder, entries)?,
            Reply::Gone { folder } => collector.gone(&folder)?,
            Reply::Same { folder } => collector.same(&folder)?,
            Reply::Names { folder, names } => collector.names(&folder, names)?,
            Reply::Done => return Ok(()),
            Reply::Failed(fault) => return Err(explain(replies.side(), "list", below.as_bytes(), &fault)),
            other => return Err(unexpected(replies.side(), &other)),
        }
    }
}

/// The same; a folder that is gone by now, or no folder any more, holds nothing.
pub(crate) async fn hear_listing_or_gone(
    replies: &mut Incoming,
    collector: &mut Collector,
    below: &RelativePath,
) -> Result<(), Error> {
    match hear_listing(replies, collector, below).await {
        // Of this folder itself: what vanishes below it is told, and is no failure.
        Err(Error::NotFound { path, .. }) if path == *below => collector.gone(below.as_bytes()),
        other => other,
    }
}

/// One entry, or `None` where there is none (or where a folder above it is none).
pub(crate) async fn stat(session: &mut Session, path: &RelativePath) -> Result<Option<Entry>, Error> {
    Ok(stat_all(session, std::slice::from_ref(path)).await?.pop().flatten())
}

/// Many entries, asked for at the same time: `None` where there is none.
pub(crate) async fn stat_all(session: &mut Session, paths: &[RelativePath]) -> Result<Vec<Option<Entry>>, Error> {
    let side = session.side().to_owned();
    let (ask, replies) = session.halves();
    let asking = async {
        for path in paths {
            ask.add(Request::Stat(path.as_bytes().to_vec())).await;
        }
        ask.flush().await;
        Ok::<(), Error>(())
    };
    let hearing = async {
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            all.push(stat_reply(replies, &side, path).await?);
        }
        Ok(all)
    };
    let ((), all) = tokio::try_join!(asking, hearing)?;
    Ok(all)
}

async fn stat_reply(replies: &mut Incoming, side: &str, path: &RelativePath) -> Result<Option<Entry>, Error> {
    let mut found = None;
    loop {
        match replies.next().await? {
            Reply::Listed { folder, entries } if found.is_none() => {
                found = Some(Listing::single(side, path, &folder, entries)?);
            }
            Reply::Done => return Ok(found),
            Reply::Failed(fault) if fault.vanished() => return Ok(None),
            Reply::Failed(fault) => return Err(explain(side, "look at", path.as_bytes(), &fault)),
            other => return Err(unexpected(side, &other)),
        }
    }
}

/// The names in each of these folders, asked for at the same time; `None` where the folder is not there (any more).
pub(crate) async fn names_of(session: &mut Session, folders: &[RelativePath]) -> Result<Vec<Option<Names>>, Error> {
    let side = session.side().to_owned();
    let (ask, replies) = session.halves();
    let asking = async {
        ask_for_names(ask, folders).await;
        Ok::<(), Error>(())
    };
    let hearing = async {
        let mut all = Vec::with_capacity(folders.len());
        for folder in folders {
            all.push(names_reply(replies, &side, folder).await?);
        }
        Ok(all)
    };
    let ((), all) = tokio::try_join!(asking, hearing)?;
    Ok(all)
}

pub(crate) async fn ask_for_names(ask: &mut Outgoing, folders: &[RelativePath]) {
    for folder in folders {
        ask.add(Request::Names(folder.as_bytes().to_vec())).await;
    }
    ask.flush().await;
}

pub(crate) async fn names_reply(
    replies: &mut Incoming,
    side: &str,
    asked: &RelativePath,
) -> Result<Option<Names>, Error> {
    let mut collector = Collector::for_names(side, asked);
    loop {
        match replies.next().await? {
            Reply::Names { folder, names } => collector.names(&folder, names)?,
            Reply::Done => return Ok(collector.finish()?.leaves.remove(asked)),
            Reply::Failed(fault) if fault.vanished() => return Ok(None),
            Reply::Failed(fault) => return Err(explain(side, "list", asked.as_bytes(), &fault)),
            other => return Err(unexpected(side, &other)),
        }
    }
}

/// All names of these files (device, inode) below a folder.
pub(crate) async fn find_links(
    session: &mut Session,
    below: &RelativePath,
    inodes: &[(u64, u64)],
) -> Result<Vec<Entry>, Error> {
    let mut collector = Collector::new(session.side(), usize::MAX);
    session.send(Request::Links { below: below.as_bytes().to_vec(), inodes: inodes.to_vec() }).await;
    loop {
        match session.next().await? {
            Reply::Listed { folder, entries }
                if !entries.is_empty() && RelativePath::new(folder.as_slice())?.is_within(below.as_bytes()) =>
            {
                collector.expect(&folder, 1);
                collector.take(&folder, entries)?;
            }
            Reply::Done => break,
            Reply::Failed(fault) => return Err(explain(session.side(), "list", below.as_bytes(), &fault)),
            other => return Err(unexpected(session.side(), &other)),
        }
    }
    let mut entries = collector.finish()?.entries;
    entries.retain(|entry| inodes.contains(&entry.inode));
    Ok(entries)
}

/// What time it is there: seconds since 1970 and nanoseconds.
pub(crate) async fn clock(session: &mut Session) -> Result<(i64, u32), Error> {
    session.send(Request::Clock).await;
    match session.next().await? {
        Reply::Clock(now) => Ok(now),
        Reply::Failed(fault) => Err(explain(session.side(), "ask for the time", b"", &fault)),
        other => Err(unexpected(session.side(), &other)),
    }
}

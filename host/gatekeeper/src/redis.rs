//! `redis` of the contract: keys of a request's databases and patterns, from old to new. Invariant: what new held under a
//! key before the first copy is in the journal before the key is overwritten; keys that the request does not name are not
//! touched. `place` connects, `keys` reads and writes.

mod keys;
mod place;

use rehome_manifest::manifest::RedisCopy;

use crate::door::{Call, Permit, Session};
use crate::journal::BeforeImage;
use crate::types::{Failure, RedisDifferences, SideName, Tally};
use keys::{Dumped, Keys};
use place::Server;

impl Session {
    /// `redis.server-version`, for whoever has a request for Redis at all.
    pub async fn redis_version(&self, name: &str, on: SideName) -> Result<String, Failure> {
        let id = format!("redis-copy.{name}");
        let request = self.redis_request(name);
        let values = ["version".to_string()];
        self.pass_as_read(Call { request: &id, side: Some(on), values: &values, input: None }, |permit| async move {
            let database = request?.numbers().first().copied().unwrap_or_default();
            Server::open(&permit, "redis", on, database).await?.version().await
        })
        .await
    }

    /// `redis.copy`.
    pub async fn redis_copy(&self, name: &str) -> Result<Vec<Tally>, Failure> {
        let id = format!("redis-copy.{name}");
        let request = self.redis_request(name);
        let kept = self.kept_under(name);
        self.pass(Call { request: &id, side: None, values: &[], input: None }, |permit| async move {
            let request = request?;
            let mut tallies = Tallies::of(&request);
            for database in request.numbers() {
                let (mut old, mut new) = both(&permit, database).await?;
                fits(&old.version().await?, &new.version().await?)?;
                for (pattern, tally) in request.patterns.iter().zip(&mut tallies.0) {
                    let mut all = Keys::of(pattern);
                    loop {
                        let batch = all.next(&mut old).await?;
                        if batch.is_empty() {
                            break;
                        }
                        self.keep(&permit, &mut new, &format!("{kept}{database} "), &batch).await?;
                        let dumped = keys::dump(&mut old, &batch).await?;
                        keys::restore(&mut new, &dumped).await?;
                        tally.keys += dumped.len() as u64;
                    }
                }
            }
            Ok(tallies.0)
        })
        .await
    }

    /// `redis.count`.
    pub async fn redis_count(&self, name: &str, on: SideName) -> Result<Vec<Tally>, Failure> {
        let id = format!("redis-copy.{name}");
        let request = self.redis_request(name);
        let values = ["count".to_string()];
        self.pass_as_read(Call { request: &id, side: Some(on), values: &values, input: None }, |permit| async move {
            let request = request?;
            let mut tallies = Tallies::of(&request);
            for database in request.numbers() {
                let mut server = Server::open(&permit, "redis", on, database).await?;
                for (pattern, tally) in request.patterns.iter().zip(&mut tallies.0) {
                    let mut all = Keys::of(pattern);
                    while !all.next(&mut server).await?.is_empty() {}
                    tally.keys += all.count();
                }
            }
            Ok(tallies.0)
        })
        .await
    }

    /// `redis.compare`.
    pub async fn redis_compare(&self, name: &str) -> Result<RedisDifferences, Failure> {
        let id = format!("redis-copy.{name}");
        let request = self.redis_request(name);
        let values = ["compare".to_string()];
        self.pass_as_read(Call { request: &id, side: None, values: &values, input: None }, |permit| async move {
            let request = request?;
            let mut differences = RedisDifferences::default();
            for database in request.numbers() {
                let (mut old, mut new) = both(&permit, database).await?;
                for pattern in &request.patterns {
                    compare(&mut old, &mut new, pattern, &mut differences).await?;
                }
            }
            Ok(differences)
        })
        .await
    }

    /// `redis.restore`.
    pub async fn redis_restore(&self, name: &str) -> Result<u64, Failure> {
        let id = format!("redis-copy.{name}");
        let request = self.redis_request(name);
        let kept = self.kept_under(name);
        let values = ["restore".to_string()];
        self.pass(Call { request: &id, side: Some(SideName::New), values: &values, input: None }, |permit| async move {
            let mut restored = 0;
            for database in request?.numbers() {
                let mut new = Server::open(&permit, "redis", SideName::New, database).await?;
                let under = format!("{kept}{database} ");
                loop {
                    let journal = &permit.host().journal;
                    let images = self.journaled(journal.before_below(&under, 500).await)?;
                    if images.is_empty() {
                        break;
                    }
                    put_back(&mut new, &under, &images).await?;
                    restored += images.len() as u64;
                    let whats: Vec<String> = images.into_iter().map(|(what, _)| what).collect();
                    self.journaled(journal.forget_all_before(&whats).await)?;
                }
            }
            Ok(restored)
        })
        .await
    }

    fn redis_request(&self, name: &str) -> Result<RedisCopy, Failure> {
        let request = self.filled().manifest.redis_copy.get(name).cloned();
        request.ok_or_else(|| Failure::NotFound(format!("redis-copy.{name}")))
    }

    /// What the journal keeps a key of new under, but for the database's number and the key.
    fn kept_under(&self, name: &str) -> String {
        format!("Redis key of new before redis-copy.{name} of {} in ", self.scope().component)
    }

    /// Keeps what new holds under these keys, unless it is kept already.
    async fn keep(&self, permit: &Permit, new: &mut Server, under: &str, batch: &[Vec<u8>]) -> Result<(), Failure> {
        let held = keys::dump(new, batch).await?;
        let image = |key: &Vec<u8>| {
            let content = held.iter().find(|held| held.key == *key).map(|held| {
                let mut content = held.ttl.to_be_bytes().to_vec();
                content.extend(&held.payload);
                content
            });
            (format!("{under}{}", hex(key)), BeforeImage { content, written: None })
        };
        let images: Vec<_> = batch.iter().map(image).collect();
        self.journaled(permit.host().journal.keep_all_before(&images).await)
    }
}

/// How many keys of each pattern.
struct Tallies(Vec<Tally>);

impl Tallies {
    fn of(request: &RedisCopy) -> Tallies {
        Tallies(request.patterns.iter().map(|pattern| Tally { pattern: pattern.clone(), keys: 0 }).collect())
    }
}

async fn both(permit: &Permit, database: u32) -> Result<(Server, Server), Failure> {
    let old = Server::open(permit, "redis", SideName::Old, database).await?;
    Ok((old, Server::open(permit, "redis", SideName::New, database).await?))
}

/// A payload has the version of the server that made it; an older server refuses it. Said before the first key.
fn fits(old: &str, new: &str) -> Result<(), Failure> {
    let major = |version: &str| version.split('.').next().and_then(|text| text.parse::<u32>().ok());
    if major(old) > major(new) {
        return Err(Failure::Unsupported(format!(
            "Redis on old is {old}, and {new} on new: an older Redis does not take keys of a newer one; nothing was copied\n\
             hint: install a Redis on new that is at least as new as the one on old"
        )));
    }
    Ok(())
}

async fn compare(
    old: &mut Server,
    new: &mut Server,
    pattern: &str,
    into: &mut RedisDifferences,
) -> Result<(), Failure> {
    let mut all = Keys::of(pattern);
    loop {
        let batch = all.next(old).await?;
        if batch.is_empty() {
            break;
        }
        let (on_old, on_new) = (keys::digests(old, &batch).await?, keys::digests(new, &batch).await?);
        for pair in on_old.into_iter().zip(on_new) {
            match pair {
                (Some(_), None) => into.only_old += 1,
                (Some(a), Some(b)) if a != b => into.different += 1,
                _ => into.equal += u64::from(pair.0.is_some()),
            }
        }
    }
    let mut all = Keys::of(pattern);
    loop {
        let batch = all.next(new).await?;
        if batch.is_empty() {
            return Ok(());
        }
        let on_old = keys::digests(old, &batch).await?;
        into.only_new += on_old.iter().filter(|digest| digest.is_none()).count() as u64;
    }
}

async fn put_back(new: &mut Server, under: &str, images: &[(String, BeforeImage)]) -> Result<(), Failure> {
    let (mut back, mut gone) = (Vec::new(), Vec::new());
    for (what, image) in images {
        let Some(key) = what.strip_prefix(under).and_then(unhex) else { continue };
        match image.content.as_deref().and_then(|content| content.split_first_chunk::<8>()) {
            Some((ttl, payload)) => {
                back.push(Dumped { key, ttl: i64::from_be_bytes(*ttl), payload: payload.to_vec() });
            }
            None => gone.push(key),
        }
    }
    keys::restore(new, &back).await?;
    keys::delete(new, &gone).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect()
}

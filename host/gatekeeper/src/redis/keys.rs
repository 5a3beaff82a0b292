//! Keys of a pattern, batch by batch (SCAN), and their values: as payloads to move (DUMP), or as digests to compare. Two
//! servers of different versions dump the same value differently, so values are compared by what clients read.

use std::collections::HashSet;

use redis::{Pipeline, Value, cmd};
use sha2::{Digest, Sha256};

use super::place::Server;
use crate::types::Failure;

/// Keys a server is asked for at a time.
const BATCH: usize = 250;

/// A key's value with its time to live, as another server takes it.
pub(super) struct Dumped {
    pub(super) key: Vec<u8>,
    /// milliseconds; 0: for ever
    pub(super) ttl: i64,
    pub(super) payload: Vec<u8>,
}

/// Goes through the keys of a pattern. SCAN may give a key twice: the second time it is left out.
pub(super) struct Keys {
    pattern: String,
    cursor: Option<Vec<u8>>,
    seen: HashSet<[u8; 16]>,
    waiting: Vec<Vec<u8>>,
}

impl Keys {
    pub(super) fn of(pattern: &str) -> Keys {
        Keys { pattern: pattern.into(), cursor: Some(b"0".to_vec()), seen: HashSet::new(), waiting: vec![] }
    }

    /// How many keys there were.
    pub(super) fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The next keys; empty at the end.
    pub(super) async fn next(&mut self, server: &mut Server) -> Result<Vec<Vec<u8>>, Failure> {
        while self.waiting.len() < BATCH {
            let Some(cursor) = self.cursor.take() else { break };
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(1000);
            let (cursor, keys): (Vec<u8>, Vec<Vec<u8>>) =
                scan.query_async(&mut server.connection).await.map_err(|error| server.failed(error))?;
            self.cursor = (cursor != b"0").then_some(cursor);
            self.waiting.extend(keys.into_iter().filter(|key| self.seen.insert(short(key))));
        }
        let at = self.waiting.len().saturating_sub(BATCH);
        Ok(self.waiting.split_off(at))
    }
}

fn short(key: &[u8]) -> [u8; 16] {
    let whole: [u8; 32] = Sha256::digest(key).into();
    let mut short = [0; 16];
    short.copy_from_slice(&whole[..16]);
    short
}

/// Payloads of keys; those that are gone meanwhile are left out.
pub(super) async fn dump(server: &mut Server, keys: &[Vec<u8>]) -> Result<Vec<Dumped>, Failure> {
    let mut pipe = Pipeline::new();
    for key in keys {
        pipe.cmd("PTTL").arg(key).cmd("DUMP").arg(key);
    }
    let answers: Vec<Value> = run(server, &pipe).await?;
    let mut dumped = Vec::with_capacity(keys.len());
    for (key, pair) in keys.iter().zip(answers.chunks(2)) {
        if let [Value::Int(ttl), Value::BulkString(payload)] = pair
            && (*ttl == -1 || *ttl > 0)
        {
            dumped.push(Dumped { key: key.clone(), ttl: (*ttl).max(0), payload: payload.clone() });
        }
    }
    Ok(dumped)
}

/// Writes payloads over whatever was there.
pub(super) async fn restore(server: &mut Server, dumped: &[Dumped]) -> Result<(), Failure> {
    let mut pipe = Pipeline::new();
    for one in dumped {
        pipe.cmd("RESTORE").arg(&one.key).arg(one.ttl).arg(&one.payload).arg("REPLACE").ignore();
    }
    run::<()>(server, &pipe).await
}

/// Takes keys away.
pub(super) async fn delete(server: &mut Server, keys: &[Vec<u8>]) -> Result<(), Failure> {
    let mut pipe = Pipeline::new();
    for key in keys {
        pipe.cmd("DEL").arg(key).ignore();
    }
    run::<()>(server, &pipe).await
}

/// What clients read of each key, as a digest; none: it is not there. Whether it expires at all counts, when does not.
pub(super) async fn digests(server: &mut Server, keys: &[Vec<u8>]) -> Result<Vec<Option<[u8; 32]>>, Failure> {
    let mut pipe = Pipeline::new();
    for key in keys {
        pipe.cmd("TYPE").arg(key).cmd("PTTL").arg(key);
    }
    let known: Vec<(String, i64)> = run(server, &pipe).await?;
    let mut pipe = Pipeline::new();
    for (key, (kind, _)) in keys.iter().zip(&known) {
        match kind.as_str() {
            "string" => pipe.cmd("GET").arg(key),
            "hash" => pipe.cmd("HGETALL").arg(key),
            "set" => pipe.cmd("SMEMBERS").arg(key),
            "list" => pipe.cmd("LRANGE").arg(key).arg(0).arg(-1),
            "zset" => pipe.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES"),
            "stream" => pipe.cmd("XRANGE").arg(key).arg("-").arg("+"),
            _ => pipe.cmd("DUMP").arg(key),
        };
    }
    let values: Vec<Value> = run(server, &pipe).await?;
    let digest = |((kind, ttl), value): (&(String, i64), &Value)| {
        if kind == "none" || matches!(value, Value::Nil) {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(kind.as_bytes());
        hash.update([u8::from(*ttl == -1)]);
        let mut parts = Vec::new();
        flatten(value, &mut parts);
        let width = if kind == "hash" { 2 } else { 1 };
        let mut groups: Vec<&[Vec<u8>]> = parts.chunks(width).collect();
        if matches!(kind.as_str(), "hash" | "set") {
            groups.sort();
        }
        for part in groups.into_iter().flatten() {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Some(hash.finalize().into())
    };
    Ok(known.iter().zip(&values).map(digest).collect())
}

fn flatten(value: &Value, into: &mut Vec<Vec<u8>>) {
    match value {
        Value::Array(values) | Value::Set(values) => values.iter().for_each(|value| flatten(value, into)),
        Value::BulkString(bytes) => into.push(bytes.clone()),
        other => into.push(format!("{other:?}").into_bytes()),
    }
}

async fn run<T: redis::FromRedisValue + Default>(server: &mut Server, pipe: &Pipeline) -> Result<T, Failure> {
    if pipe.is_empty() {
        return Ok(T::default());
    }
    pipe.query_async(&mut server.connection).await.map_err(|error| server.failed(error))
}

//! From a side to a connection with its Redis: through a forwarded socket, logged in as the plan says.
//! Invariant: a failure names the side and the server's own words, and never a key's value.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use rehome_remote::{Endpoint, Forward};

use crate::door::Permit;
use crate::host::{RedisDoor, failure};
use crate::report::shown;
use crate::types::{Failure, SideName};

/// For a connection and its login.
const CONNECT: Duration = Duration::from_secs(15);
/// For one answer: a batch of large values takes its time over a slow link.
const ANSWER: Duration = Duration::from_secs(120);

/// A connection to one database of a side's Redis. The forwarded socket lives as long as it does.
pub(super) struct Server {
    pub(super) connection: MultiplexedConnection,
    what: String,
    forward: Arc<Forward>,
}

impl Server {
    pub(super) async fn open(permit: &Permit, id: &str, on: SideName, database: u32) -> Result<Server, Failure> {
        let what = format!("Redis on {}", permit.host().name(on));
        let side = permit.side(on).await?;
        let place = permit.host().redis(permit, on);
        let endpoint = match &place.door {
            RedisDoor::Port(port) => Endpoint::Tcp("127.0.0.1".into(), *port),
            RedisDoor::Socket(path) => Endpoint::Unix(path.clone()),
        };
        let forward = side.forward(&endpoint).await.map_err(|error| match failure(id, error) {
            Failure::RefusedValue(said) => Failure::Unreachable(format!("{what}: {said}")),
            other => other,
        })?;
        let mut login = RedisConnectionInfo::default().set_db(i64::from(database)).set_protocol(ProtocolVersion::RESP2);
        if let Some(user) = &place.user {
            login = login.set_username(user);
        }
        if let Some(name) = &place.password {
            login = login.set_password(permit.host().services.secret(permit, name)?.expose());
        }
        let at = ConnectionAddr::Unix(forward.path().to_path_buf()).into_connection_info();
        let forward = Arc::new(forward);
        let failed = |error| failed(&what, &forward, error);
        let client =
            Client::open(at.map_err(failed)?.set_redis_settings(login.set_skip_set_lib_name())).map_err(failed)?;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)?;
        Ok(Server { connection, what, forward })
    }

    /// A driver's error as a phase sees it.
    pub(super) fn failed(&self, error: redis::RedisError) -> Failure {
        failed(&self.what, &self.forward, error)
    }

    /// "7.0.15".
    pub(super) async fn version(&mut self) -> Result<String, Failure> {
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut self.connection)
            .await
            .map_err(|error| failed(&self.what, &self.forward, error))?;
        let version = info.lines().find_map(|line| line.trim().strip_prefix("redis_version:"));
        let version = version.map(|version| shown(version.trim()).to_string());
        version.ok_or_else(|| Failure::other("redis", format!("{} does not say its version", self.what)))
    }
}

fn failed(what: &str, forward: &Forward, error: redis::RedisError) -> Failure {
    let trouble = forward.trouble().map(|said| format!("\n  {}", shown(&said))).unwrap_or_default();
    let said = error.to_string();
    let said = shown(&said);
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Failure::other(
            "redis",
            format!(
                "{what} lets nobody in without a password: {said}\n\
                 hint: name it in the plan: [old.redis] or [new.redis] with password = \"NAME\", and [secret.NAME] with its file"
            ),
        ),
        Some(_) => Failure::other("redis", format!("{what}: {said}")),
        None => Failure::Unreachable(format!(
            "{what} does not answer: {said}{trouble}\nhint: does it run, and does the plan say where? [old.redis] has `port` or `socket`"
        )),
    }
}

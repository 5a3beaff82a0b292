//! What a plan names beside its sides: `[dns]`, `[secret.NAME]`, and where Redis is on a side.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use rehome_gatekeeper::{DNS_PORT, RedisDoor, RedisPlace, Services};
use toml::Spanned;

use super::error::{PlanError, Refused};
use super::raw::{RawPlan, RawRedis};
use super::{Source, below, folder_of};

/// `[dns]` and the secrets.
pub(super) fn read(source: &Source, raw: &RawPlan) -> Result<Services, PlanError> {
    let mut services = Services::default();
    if let Some(resolver) = &raw.dns.resolver {
        services.dns.resolver = Some(server(source, "resolver", resolver)?);
    }
    for (zone, raw) in &raw.dns.zone {
        let name = zone.trim_end_matches('.').to_ascii_lowercase();
        services.dns.primaries.insert(name, server(source, "server", &raw.server)?);
    }
    for (name, secret) in &raw.secrets {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if name.is_empty() || name.starts_with('-') || !plain {
            let what = format!("[secret.{name}]: the name of a secret is letters, digits, `_` and `-`");
            return Err(Refused::at(source, secret.span(), what).into());
        }
        let file = below(folder_of(&source.path), secret.as_ref().file.as_ref());
        services.secrets.insert(name.clone(), file);
    }
    Ok(services)
}

fn server(source: &Source, key: &str, text: &Spanned<String>) -> Result<SocketAddr, PlanError> {
    let value: &String = text.as_ref();
    let address = value.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    address.or_else(|_| value.parse()).map_err(|_| {
        Refused::at(source, text.span(), format!("`{key}`: `{value}` is no address of a name server"))
            .more("it is an address, or an address with a port: \"192.0.2.53\", \"[2001:db8::53]:5353\"")
            .into()
    })
}

/// Where Redis is on a side, and how it lets one in. None: Debian's own place.
pub(super) fn redis(source: &Source, raw: Option<&Spanned<RawRedis>>) -> Result<RedisPlace, PlanError> {
    let Some(raw) = raw else { return Ok(RedisPlace::default()) };
    let redis = raw.as_ref();
    let door = match (&redis.socket, &redis.port) {
        (Some(_), Some(port)) => {
            return Err(Refused::at(source, port.span(), "Redis is said to be at a socket and at a port").into());
        }
        (Some(socket), None) => {
            let path: &PathBuf = socket.as_ref();
            if !path.is_absolute() {
                let what = format!("`socket`: `{}` is not an absolute path", path.display());
                return Err(Refused::at(source, socket.span(), what).into());
            }
            RedisDoor::Socket(path.clone())
        }
        (None, Some(port)) => RedisDoor::Port(*port.as_ref()),
        (None, None) => RedisDoor::default(),
    };
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.as_ref().clone());
    Ok(RedisPlace { door, user: text(&redis.user), password: text(&redis.password) })
}

//! The one door between a phase and a side: is it granted? does this verb allow its effect? journal the intent → do it →
//! journal the outcome. One file per capability; every function of the contract passes `door.rs`, and nothing else in
//! rehome reaches a side on behalf of a phase. No wasm here: `host/runtime` calls this for components.

pub mod clock;
pub mod component;
mod dns;
mod door;
mod exec;
mod fence;
mod files;
mod holes;
mod host;
pub mod journal;
mod memory;
mod operator;
mod receipts;
mod redis;
mod report;
mod services;
mod sql;
pub mod types;

/// For `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::dns::fuzz as dns_answer;
}

pub use clock::Clock;
pub use component::{CallError, Component};
pub use door::{Scope, Session};
pub use fence::Fence;
pub use host::{Account, DatabasePlace, Event, Host, HostError, Observer, RedisDoor, RedisPlace, SideSpec};
pub use journal::{Journal, JournalError};
pub use receipts::Receipts;
pub use services::{DNS_PORT, DnsSpec, Services};

//! `dns` of the contract: look-ups at each authoritative server, and updates on condition. Invariant: an RRset is only
//! replaced if it is what was read, and what it was before the first update is in the journal before the update is sent.
//! `zone` finds servers, `ask` asks one, `update` writes, `data` knows records as text.

mod ask;
mod data;
mod update;
mod zone;

use hickory_net::proto::rr::{Name, RecordType};
use rehome_manifest::manifest::Record;

use crate::door::{Call, Permit, Session};
use crate::journal::BeforeImage;
use crate::services::DnsSpec;
use crate::types::{DnsAnswer, Failure, Rrset};
use update::Held;
use zone::{Server, Zone};

/// A record request with its holes filled, and the place it is about.
struct Task {
    request: Record,
    owner: Name,
    kind: RecordType,
    /// what the journal keeps its before-image under
    key: String,
    /// and the one of whatever request of this component wrote it first
    first: String,
}

impl Session {
    /// `dns.look-up`.
    pub async fn look_up(&self, name: &str, values: &[String]) -> Result<Vec<DnsAnswer>, Failure> {
        let id = format!("lookup.{name}");
        let request = self.filled().manifest.lookup.get(name).cloned();
        let task_id = id.clone();
        let filled = request.as_ref().map(|request| self.owner(&id, &request.owner, values));
        let answers: Vec<DnsAnswer> = self
            .pass(Call { request: &id, side: None, values, input: None }, |permit| async move {
                let request = request.ok_or(Failure::NotFound(task_id))?;
                let kind = data::kind(&request.kind)?;
                let owner = data::owner(&filled.unwrap_or(Ok(String::new()))?, kind)?;
                look(&permit.host().services.dns, &owner, kind).await
            })
            .await?;
        let all = answers.iter().filter_map(|answer| answer.rrset.as_ref()).flat_map(|rrset| &rrset.data);
        self.observe(&id, all.filter_map(|data| data::named(data)));
        Ok(answers)
    }

    /// `dns.planned`.
    pub async fn planned(&self, name: &str, values: &[String]) -> Result<Rrset, Failure> {
        let id = format!("record.{name}");
        let task = self.record_task(name, values);
        self.pass_as_read(Call { request: &id, side: None, values, input: None }, |permit| async move {
            let task = task?;
            let (_, _, before) = held(&permit, &task).await?;
            let after = self.after(&permit, &task, &before).await?;
            Ok(data::rrset(&task.owner, task.kind, after.ttl, &after.data))
        })
        .await
    }

    /// `dns.update`.
    pub async fn update(&self, name: &str, values: &[String], expected: Option<&Rrset>) -> Result<Rrset, Failure> {
        let id = format!("record.{name}");
        let task = self.record_task(name, values);
        let input = expected.map(|expected| serde_json::to_string(expected).unwrap_or_default());
        let expected = expected.cloned();
        self.pass(Call { request: &id, side: None, values, input }, |permit| async move {
            let task = task?;
            let signer =
                update::signer(&task.request.key, &permit.host().services.secret(&permit, &task.request.key)?)?;
            let (zone, primary, before) = held(&permit, &task).await?;
            let now = data::rrset(&task.owner, task.kind, before.ttl, &before.data);
            if let Some(expected) = expected.filter(|expected| expected.data != now.data) {
                return Err(conflict(&task, &now, &format!("{} was expected", shown(&expected))));
            }
            let after = self.after(&permit, &task, &before).await?;
            let planned = data::rrset(&task.owner, task.kind, after.ttl, &after.data);
            for key in [&task.key, &task.first] {
                let image = BeforeImage { content: Some(json(&now)), written: Some(json(&planned)) };
                self.journaled(permit.host().journal.keep_before(key, &image).await)?;
            }
            if planned != now {
                update::replace(&primary, &zone, (&task.owner, task.kind), &before, &after, signer).await?;
                look_again(&primary, &zone, &task, &planned).await?;
            }
            Ok(planned)
        })
        .await
    }

    /// `dns.restore`.
    pub async fn restore_record(&self, name: &str, values: &[String]) -> Result<(), Failure> {
        let id = format!("record.{name}");
        let task = self.record_task(name, values);
        let call = [values, &["restore".to_string()]].concat();
        self.pass(Call { request: &id, side: None, values: &call, input: None }, |permit| async move {
            let task = task?;
            let journal = permit.host().journal.clone();
            let Some(image) = self.journaled(journal.before_image(&task.key).await)? else { return Ok(()) };
            let (kept, written) = (parsed(image.content)?, parsed(image.written)?);
            let (zone, primary, before) = held(&permit, &task).await?;
            let now = data::rrset(&task.owner, task.kind, before.ttl, &before.data);
            if now != kept {
                if now.data != written.data {
                    return Err(conflict(&task, &now, &format!("rehome wrote {}", shown(&written))));
                }
                let secret = permit.host().services.secret(&permit, &task.request.key)?;
                let signer = update::signer(&task.request.key, &secret)?;
                let after = of_text(&task, &kept)?;
                update::replace(&primary, &zone, (&task.owner, task.kind), &before, &after, signer).await?;
                look_again(&primary, &zone, &task, &kept).await?;
            }
            self.journaled(journal.forget_before(&task.key).await)
        })
        .await
    }

    fn owner(&self, id: &str, template: &str, values: &[String]) -> Result<String, Failure> {
        self.fill_lines(id, template, &[values.to_vec()]).map(|line| line.trim_end().to_string())
    }

    fn record_task(&self, name: &str, values: &[String]) -> Result<Task, Failure> {
        let id = format!("record.{name}");
        let request = self.filled().manifest.record.get(name).cloned().ok_or_else(|| Failure::NotFound(id.clone()))?;
        let kind = data::kind(&request.kind)?;
        let owner = data::name(&self.owner(&id, &request.owner, values)?)?;
        let component = &self.scope().component;
        let key = format!("{kind} {owner} before {id} of {component}");
        let first = format!("{kind} {owner} before {component}");
        Ok(Task { request, owner, kind, key, first })
    }

    /// What an RRset becomes.
    async fn after(&self, permit: &Permit, task: &Task, before: &Held) -> Result<Held, Failure> {
        let request = &task.request;
        let texts = match (&request.swap, request.data.as_slice()) {
            (Some(swap), _) => {
                let now: Vec<String> = before.data.iter().map(data::shown).collect();
                now.iter().map(|data| data::swapped(data, &swap.from, &swap.to)).collect()
            }
            (None, []) => before.data.iter().map(data::shown).collect(),
            (None, data) => data.to_vec(),
        };
        let mut texts: Vec<String> = texts;
        texts.sort();
        texts.dedup();
        let ttl = match request.ttl.as_deref() {
            None => before.ttl,
            Some("first-seen") => match self.journaled(permit.host().journal.before_image(&task.first).await)? {
                Some(image) => parsed(image.content)?.ttl,
                None => before.ttl,
            },
            Some(ttl) => ttl.parse().map_err(|_| Failure::RefusedValue(format!("`{ttl}` is no TTL in seconds")))?,
        };
        let data = texts.iter().map(|text| data::read(task.kind, text)).collect::<Result<_, _>>()?;
        Ok(Held { ttl, data })
    }
}

async fn look(spec: &DnsSpec, owner: &Name, kind: RecordType) -> Result<Vec<DnsAnswer>, Failure> {
    let zone = zone::zone_of(spec, owner).await?;
    let mut answers = Vec::new();
    for server in zone::servers(spec, &zone).await? {
        let told = server.tell(&zone, owner, kind).await?;
        let rrset = (!told.data.is_empty()).then(|| data::rrset(owner, kind, told.ttl, &told.data));
        answers.push(DnsAnswer { server: told.server, serial: told.serial, rrset });
    }
    Ok(answers)
}

/// The zone, the server that takes its updates, and what it holds now.
async fn held(permit: &Permit, task: &Task) -> Result<(Zone, Server, Held), Failure> {
    let spec = &permit.host().services.dns;
    let zone = zone::zone_of(spec, &task.owner).await?;
    let plain = zone.name.to_ascii();
    let primary = match spec.primaries.get(plain.trim_end_matches('.')) {
        Some(address) => Server::at(*address),
        None => zone::server(spec, &zone.primary).await?,
    };
    let told = primary.tell(&zone, &task.owner, task.kind).await?;
    Ok((zone, primary, Held { ttl: told.ttl, data: told.data }))
}

/// A server's yes proves nothing: what does it say now?
async fn look_again(primary: &Server, zone: &Zone, task: &Task, planned: &Rrset) -> Result<(), Failure> {
    let told = primary.tell(zone, &task.owner, task.kind).await?;
    let now = data::rrset(&task.owner, task.kind, told.ttl, &told.data);
    if now.data == planned.data && (now.ttl == planned.ttl || now.data.is_empty()) {
        return Ok(());
    }
    Err(conflict(task, &now, &format!("the name server {} took an update to {}", told.server, shown(planned))))
}

fn conflict(task: &Task, now: &Rrset, why: &str) -> Failure {
    Failure::Conflict(format!("{} {} is {} now; {why}", task.kind, task.owner, shown(now)))
}

fn shown(rrset: &Rrset) -> String {
    if rrset.data.is_empty() { "empty".into() } else { format!("`{}` (TTL {})", rrset.data.join("`, `"), rrset.ttl) }
}

fn of_text(task: &Task, rrset: &Rrset) -> Result<Held, Failure> {
    let data = rrset.data.iter().map(|text| data::read(task.kind, text)).collect::<Result<_, _>>()?;
    Ok(Held { ttl: rrset.ttl, data })
}

fn json(rrset: &Rrset) -> Vec<u8> {
    serde_json::to_vec(rrset).unwrap_or_default()
}

fn parsed(kept: Option<Vec<u8>>) -> Result<Rrset, Failure> {
    serde_json::from_slice(&kept.unwrap_or_default())
        .map_err(|error| Failure::other("journal", format!("an RRset that was kept cannot be read: {error}")))
}

/// An answer of a name server, as bytes: nothing in it makes anything panic, and no text of it holds a control character.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    use hickory_net::proto::op::Message;
    let Ok(answer) = Message::from_vec(data) else { return };
    for record in &answer.answers {
        let kind = record.record_type();
        let found: Vec<_> = ask::matching(&answer, &record.name, kind).map(|record| record.data.clone()).collect();
        let rrset = data::rrset(&record.name, kind, record.ttl, &found);
        for text in &rrset.data {
            assert!(text.chars().all(|letter| !letter.is_control()), "{text:?}");
            data::named(text);
            data::swapped(text, "mail.example.org", "new.example.org");
        }
        found.iter().for_each(|data| _ = ask::serial(data));
    }
}

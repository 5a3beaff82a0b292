//! `RESULTS.md`, from the rows: one table for each run and size, with when, where and how it was measured.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::row::{CutoverRow, Row, SyncRow};
use super::{Kept, Run};

const HEAD: &str = "# Bench results

Made by the commands named below from `rows.jsonl`; each run replaces the rows it measured anew and keeps all others.
Ours and a peer take turns in pairs. Seconds are medians; a **ratio** is the peer's seconds through ours, the median of the
pairs' ratios, so above 1 ours is faster.
";

const SYNC: &str = "
## Passes of the synchroniser: `cargo xtask bench sync`

Source and target on the same disk, an sshd in between, connections open before the clock starts, each tool with its own target
and the same changes. After each figure `rsync -nci` finds nothing to do. Ours makes durable what it copies (syncfs, fsync of folders)
before it is done; rsync and tar leave that to the kernel: *on the disk* is what they take together with a `sync -f` of the target. *first*: onto a blank file system, made anew for each copy in a file on
that disk. *cold-unchanged*: nothing has changed since the last pass. *cold-churn*: 0.5 % new, 1 % other flags, 0.3 % gone since.
*converged*: the last pass after two hot ones, while 10 mails and 20 flag changes a second came in. *dropped*: with empty caches,
as after a boot.
CPU seconds and peak memory are those of all processes that took part: both ends, ssh and sshd. Memory is the sum of what they
hold for themselves and their shares of what they share, looked at every 50 ms; page cache does not count.

![seconds by messages](sync.svg)
";

const CUTOVER: &str = "
## Downtime: `cargo xtask bench cutover`

Debian 11 to Debian 12 in the lab, 100 users, mail on a disk, caches dropped. Before each run the copies are brought up to date, then
0.5 % of all mails arrive, 1 % get other flags, 0.3 % are deleted; one more in two seconds does so until old has stopped. Downtime:
from the old Dovecot's stop to the first IMAP login on new, as both Dovecots' journals say. *ours*: the cutover stage of the example
plan's phases for accounts and mail. *the guide by hand*: `systemctl stop dovecot` on both, `rsync -a --delete` over ssh, `systemctl
start dovecot`, `doveadm force-resync -A '*'` (the guide has it before the start, where it fails), then users log in. *one more rsync
just before*: while users still work, as ours does by itself, so that those commands find caches warm and little to copy. *doveadm
backup*: both Dovecots closed to users and running, `doveadm backup -R -A` over ssh, new opened, and nothing else changes meanwhile.
*floor*: old's stop and new's start with nothing in between: nobody moves it, so the ratio is that of what is above it.

![downtime by messages](cutover.svg)
";

pub fn results(rows: &[Kept]) -> String {
    let mut text = HEAD.to_string();
    let sync = grouped(rows, |row| match row {
        Row::Sync(row) => Some(((row.messages, row.delay_ms), row)),
        Row::Cutover(_) => None,
    });
    if !sync.is_empty() {
        text.push_str(SYNC);
    }
    for (((messages, delay), run), rows) in &sync {
        let far = if *delay == 0 { String::new() } else { format!(", {delay} ms away each way") };
        heading(&mut text, &format!("{} messages{far}", thousands(*messages)), run);
        sync_table(&mut text, rows);
    }
    let cutover = grouped(rows, |row| match row {
        Row::Cutover(row) => Some(((row.messages, 0), row)),
        Row::Sync(_) => None,
    });
    if !cutover.is_empty() {
        text.push_str(CUTOVER);
    }
    for (((messages, _), run), rows) in cutover {
        heading(&mut text, &format!("{} mails", thousands(messages)), run);
        cutover_table(&mut text, &rows);
    }
    text
}

type Groups<'a, T> = BTreeMap<((u64, u64), &'a Run), Vec<&'a T>>;

/// Rows of one kind by size and run.
fn grouped<'a, T>(rows: &'a [Kept], of: impl Fn(&'a Row) -> Option<((u64, u64), &'a T)>) -> Groups<'a, T> {
    let mut groups = Groups::new();
    for kept in rows {
        if let Some((size, row)) = of(&kept.row) {
            groups.entry((size, &kept.run)).or_default().push(row);
        }
    }
    groups
}

fn heading(text: &mut String, what: &str, run: &Run) {
    let Run { date, machine, command } = run;
    _ = writeln!(text, "\n### {what}\n\n{date} · {machine} · `{command}`\n");
}

fn sync_table(text: &mut String, rows: &[&SyncRow]) {
    text.push_str(
        "| pass | caches | peer | ours s | peer s | ratio | peer s, on the disk | ratio | CPU s, ours / peer | peak MB, ours / peer | pairs |\n",
    );
    text.push_str("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in rows {
        _ = writeln!(
            text,
            "| {} | {} | `{}` | {} | {} | **{}** | {} | {} | {} | {} | {} |",
            row.pass,
            row.cache,
            // In a table a bar ends the cell, in code too.
            row.peer.replace('|', "\\|"),
            seconds(row.ours_s),
            seconds(row.peer_s),
            ratio(row.ratio),
            row.peer_durable_s.map_or("?".into(), seconds),
            row.ratio_durable.map_or("?".into(), ratio),
            both(row.ours_cpu_s, row.peer_cpu_s, seconds),
            both(row.ours_peak_mb, row.peer_peak_mb, |megabytes| format!("{megabytes:.0}")),
            row.pairs
        );
    }
}

fn cutover_table(text: &mut String, rows: &[&CutoverRow]) {
    text.push_str("| peer | ours s | peer s | floor s | above the floor, ours / peer | ratio | of all | pairs |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in rows {
        let above = both(Some(row.ours_s - row.floor_s), Some(row.peer_s - row.floor_s), seconds);
        _ = writeln!(
            text,
            "| {} | {} | {} | {} | {above} | **{}** | {} | {} |",
            row.peer,
            seconds(row.ours_s),
            seconds(row.peer_s),
            seconds(row.floor_s),
            ratio(row.ratio),
            ratio(row.ratio_of_all),
            row.pairs
        );
    }
    for row in rows {
        let parts = |parts: &BTreeMap<String, f64>| {
            let mut parts: Vec<(&String, &f64)> = parts.iter().collect();
            parts.sort_by(|one, other| other.1.total_cmp(one.1));
            parts.iter().map(|(part, took)| format!("`{part}` {}", seconds(**took))).collect::<Vec<_>>().join(" · ")
        };
        _ = writeln!(text, "\nWhere the seconds go: ours {}", parts(&row.parts));
        _ = writeln!(text, "{}: {}", row.peer, parts(&row.peer_parts));
    }
}

fn both(ours: Option<f64>, peer: Option<f64>, shown: impl Fn(f64) -> String) -> String {
    let shown = |value: Option<f64>| value.map_or("?".into(), &shown);
    format!("{} / {}", shown(ours), shown(peer))
}

fn seconds(value: f64) -> String {
    if value.abs() < 9.95 { format!("{value:.2}") } else { format!("{value:.1}") }
}

fn ratio(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// 200,000
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_groups_of_three() {
        assert_eq!([5, 20_000, 1_234_567].map(thousands), ["5", "20,000", "1,234,567"]);
    }
}

//! Certbot's lineages: what stands in `live/NAME`, and which certificate that is today.
//! Invariant: links are resolved by what they say, never followed; a private key is only ever named.
//! `certificate` reads the certificate itself.

use rehome_sdk::prelude::*;

use crate::certificate::Certificate;
use crate::{Config, requests};

/// One folder of `live/`.
#[derive(Debug, Clone)]
pub(crate) struct Lineage {
    pub(crate) name: String,
    /// file of the key, in the tree
    pub(crate) key: Option<String>,
    /// the certificate, or why there is none, in words that end a sentence
    pub(crate) certificate: Result<Certificate, String>,
    /// files that are copies where certbot wants links
    pub(crate) copies: Vec<String>,
}

/// Whether there is a tree at all.
pub(crate) fn tree_is_there(side: Side) -> Result<bool, Failure> {
    match requests::tree::WHOLE.on(side).list(b"", 1) {
        Ok(_) => Ok(true),
        Err(Failure::NotFound(_)) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// All of a side, in the order of their names.
pub(crate) fn all(config: &Config, side: Side) -> Result<Vec<Lineage>, Failure> {
    let listing = requests::exec::LIVE.on(side).run()?;
    let mut lineages = Vec::new();
    for (name, files) in folders(config, &String::from_utf8_lossy(&listing.stdout)) {
        let place = |file: &str| files.iter().find(|found| found.name == file).and_then(|found| found.place.clone());
        let certificate = match place("cert.pem") {
            Some(path) => read(side, &path)?,
            None => Err(format!("live/{name}/cert.pem is not there, or leads out of {}", config.path)),
        };
        let key = place("privkey.pem");
        let copies = files.iter().filter(|file| file.is_copy).map(|file| format!("live/{name}/{}", file.name));
        let copies = copies.collect();
        lineages.push(Lineage { name, key, certificate, copies });
    }
    Ok(lineages)
}

fn read(side: Side, path: &str) -> Result<Result<Certificate, String>, Failure> {
    match requests::exec::CERTIFICATE.on(side).run_with([path]) {
        Ok(output) => Ok(Certificate::in_text(&output.text())),
        // A link that leads to nothing.
        Err(Failure::RefusedValue(_) | Failure::NotFound(_)) => Ok(Err(format!("{path} is not there"))),
        Err(failure @ Failure::EndedBadly(_)) => Ok(Err(failure.words())),
        Err(failure) => Err(failure),
    }
}

/// A `.pem` in a folder of `live/`.
struct File {
    name: String,
    /// where its content is, in the tree
    place: Option<String>,
    is_copy: bool,
}

/// The folders of `live/` as `ls -lR` prints them. Names with blanks are none of certbot's.
fn folders(config: &Config, listing: &str) -> Vec<(String, Vec<File>)> {
    let live = format!("{}/live/", config.path.trim_end_matches('/'));
    let mut folders: Vec<(String, Vec<File>)> = Vec::new();
    let mut inside = false;
    for line in listing.lines() {
        if let Some(folder) = line.strip_suffix(':') {
            let name = folder.strip_prefix(&live).filter(|name| !name.is_empty() && !name.contains('/'));
            inside = name.is_some();
            folders.extend(name.map(|name| (name.to_string(), Vec::new())));
        } else if let (true, Some((name, files))) = (inside, folders.last_mut()) {
            files.extend(file(config, name, line));
        }
    }
    folders.retain(|(_, files)| !files.is_empty());
    folders
}

fn file(config: &Config, lineage: &str, line: &str) -> Option<File> {
    let named =
        |text: &str| text.split_whitespace().next_back().filter(|name| name.ends_with(".pem")).map(String::from);
    if line.starts_with('l') {
        let (before, target) = line.split_once(" -> ")?;
        return Some(File { name: named(before)?, place: in_tree(config, target), is_copy: false });
    }
    let name = named(line).filter(|_| line.starts_with('-'))?;
    Some(File { place: Some(format!("live/{lineage}/{name}")), name, is_copy: true })
}

/// Where a link of `live/NAME` leads, in the tree.
fn in_tree(config: &Config, target: &str) -> Option<String> {
    let root = format!("{}/", config.path.trim_end_matches('/'));
    let path = target.strip_prefix("../../").or_else(|| target.strip_prefix(&root))?;
    (!path.split('/').any(|part| matches!(part, "" | "." | ".."))).then(|| path.to_string())
}

/// A lineage's files in the archive, without their folder: those of one side that the other lacks say what must not stay.
pub(crate) fn archived(side: Side, name: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let folder = format!("archive/{name}");
    match requests::tree::WHOLE.on(side).list(folder.as_bytes(), 1) {
        Ok(entries) => Ok(entries.into_iter().map(|entry| entry.path).collect()),
        Err(Failure::NotFound(_)) => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

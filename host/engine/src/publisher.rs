//! Who made a component: a minisign signature beside its file, against the publishers whose keys the plan names.
//! Invariant: a signature is only believed of the very bytes that were hashed, and only by a key that the operator wrote down.
//! The format is minisign's (`NAME.wasm.minisig`), prehashed; signatures of its old format are refused, as minisign(1) does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

/// A signature has four lines; anything longer is none.
const LONGEST: u64 = 16 << 10;

/// Publishers by their names in the plan, with their public keys as minisign prints them (`RW…`).
pub type Publishers = BTreeMap<String, String>;

/// Who vouches for a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Publisher {
    /// as the plan calls it
    pub name: String,
    /// its public key, as minisign prints it
    pub key: String,
}

/// What a look for a signature gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// by somebody whom the plan names
    By(Publisher),
    /// there is no signature beside the file
    No,
    /// there is one, and it says nothing
    Not(Doubt),
}

/// Why a signature says nothing; shown, it is part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// where, and what the system says
    #[error("its signature {} cannot be read: {why}", path.display())]
    #[expect(missing_docs, reason = "the message names them")]
    Unreadable { path: PathBuf, why: String },
    /// something else
    #[error("{} is no signature of minisign", .0.display())]
    NotOne(PathBuf),
    /// by this publisher
    #[error("its signature by `{0}` is of minisign's old format: sign it again")]
    OldFormat(String),
    /// by this publisher
    #[error("its signature by `{0}` is not of this file")]
    OtherFile(String),
    /// by nobody who is known
    #[error("it is signed, by a key that is not known here")]
    OtherKey,
}

impl Signed {
    /// Who signed, if that is known.
    pub fn publisher(&self) -> Option<&Publisher> {
        match self {
            Signed::By(publisher) => Some(publisher),
            Signed::No | Signed::Not(_) => None,
        }
    }
}

/// Whether a key is one, before it is relied on.
///
/// # Errors
/// It is none: the rest of a sentence about it.
pub fn check_key(key: &str) -> Result<(), String> {
    PublicKey::from_base64(key).map(drop).map_err(|_| {
        "is no public key of minisign: it is the second line of a `minisign.pub`, and begins with `RW`".to_string()
    })
}

/// The file of the signature of a component's file.
pub fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Looks for the signature beside `file`, whose content is `bytes`.
pub fn look(file: &Path, bytes: &[u8], publishers: &Publishers) -> Signed {
    let path = signature_of(file);
    let text = match read(&path) {
        Ok(Some(text)) => text,
        Ok(None) => return Signed::No,
        Err(why) => return Signed::Not(Doubt::Unreadable { path, why }),
    };
    let Ok(signature) = Signature::decode(&text) else { return Signed::Not(Doubt::NotOne(path)) };
    let mut doubt = Doubt::OtherKey;
    for (name, key) in publishers {
        let verified = PublicKey::from_base64(key).and_then(|public| public.verify(bytes, &signature, false));
        match verified {
            Ok(()) => return Signed::By(Publisher { name: name.clone(), key: key.clone() }),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(minisign_verify::Error::UnsupportedLegacyMode) => doubt = Doubt::OldFormat(name.clone()),
            Err(_) => doubt = Doubt::OtherFile(name.clone()),
        }
    }
    Signed::Not(doubt)
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(found) if found.len() > LONGEST => return Err("it is too long".into()),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| error.to_string())
}

/// Whether a version (three numbers) comes before another one.
pub(crate) fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| text.split('.').map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<u32>>>();
    // A version that is none was written by hand: nothing vouches that it is not older.
    match (numbers(version), numbers(than)) {
        (Some(version), Some(than)) => version < than,
        _ => version != than,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Signer(minisign::KeyPair);

    impl Signer {
        fn new() -> Signer {
            Signer(minisign::KeyPair::generate_unencrypted_keypair().unwrap())
        }

        fn key(&self) -> String {
            self.0.pk.to_base64()
        }

        fn sign(&self, bytes: &[u8], file: &Path) {
            let made = minisign::sign(None, &self.0.sk, bytes, Some("file:x.wasm"), None).unwrap();
            std::fs::write(signature_of(file), made.into_string()).unwrap();
        }
    }

    fn publishers(named: &[(&str, &Signer)]) -> Publishers {
        named.iter().map(|(name, signer)| (name.to_string(), signer.key())).collect()
    }

    #[test]
    fn a_signature_is_believed_of_its_own_bytes_and_by_a_key_of_the_plan_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        let (acme, other) = (Signer::new(), Signer::new());
        let named = publishers(&[("acme", &acme), ("other", &other)]);
        assert_eq!(look(&file, b"code", &named), Signed::No);
        acme.sign(b"code", &file);
        assert_eq!(look(&file, b"code", &named).publisher().map(|by| by.name.as_str()), Some("acme"));
        assert_eq!(look(&file, b"c0de", &named), Signed::Not(Doubt::OtherFile("acme".into())));
        assert_eq!(look(&file, b"code", &publishers(&[("other", &other)])), Signed::Not(Doubt::OtherKey));
        std::fs::write(signature_of(&file), "untrusted comment: x\nRWQ\n").unwrap();
        assert_eq!(look(&file, b"code", &named), Signed::Not(Doubt::NotOne(signature_of(&file))));
    }

    #[test]
    fn keys_and_versions_are_what_they_are() {
        assert!(check_key(&Signer::new().key()).is_ok());
        for wrong in ["", "RWQ", "ssh-ed25519 AAAA", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO"] {
            assert!(check_key(wrong).unwrap_err().contains("minisign.pub"), "{wrong}");
        }
        assert!(is_older("0.9.9", "0.10.0") && is_older("1.2.3", "1.2.4") && is_older("x", "0.1.0"));
        assert!(!is_older("0.1.0", "0.1.0") && !is_older("1.0.0", "0.9.9"));
    }
}

//! The local hand hashes content, so that it need not travel to be compared.
//! Invariant: a hash is of a regular file that was read whole and was the same, by size and time, before and after; else there
//! is none. The far side's counterpart is in `agent.pl`.

use super::local::{Local, read_piece};
use super::local_list::kind_of;
use super::local_write::{is_changed, open_quietly};
use super::{Fault, Hash, Reply, Why};
use crate::Kind;
use rustix::fs::fstat;
use sha2::{Digest, Sha256};

impl Local {
    pub(super) fn hash(&mut self, files: &[Vec<u8>]) -> Reply {
        Reply::Hashes(files.iter().map(|file| self.hash_of(file).ok().flatten()).collect())
    }

    fn hash_of(&mut self, file: &[u8]) -> Result<Option<Hash>, Fault> {
        let (folder, name) = self.place(file)?;
        let handle = open_quietly(&folder, name)?;
        let before = fstat(&handle)?;
        if kind_of(&before) != Kind::File {
            return Err(Why::NotRegular.into());
        }
        let mut digest = Sha256::new();
        let mut left = u64::try_from(before.st_size).unwrap_or(0);
        while left > 0 {
            let piece = read_piece(&handle, usize::try_from(left).unwrap_or(usize::MAX))?;
            if piece.is_empty() {
                return Ok(None);
            }
            left -= piece.len() as u64;
            digest.update(&piece);
        }
        Ok((!is_changed(&before, &fstat(&handle)?)).then(|| digest.finalize().into()))
    }
}

//! The local hand reads and sets extended attributes and ACLs.
//! Invariant: by a name in an opened folder that is not followed, or by an opened file; what is not copied is never changed.

use super::local::Local;
use super::{Fault, Why};
use crate::attributes::{ACCESS, Attributes, DEFAULT, MOST, acl_from_text, acl_to_text, is_copied};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

/// Bytes of names, or of a value, that are read at the first try.
const ROOM: usize = 4096;

impl Local {
    /// Of an entry of a folder; a link has none that are copied.
    pub(super) fn attributes(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<Attributes, Fault> {
        // There is no llistxattrat(2): the kernel goes through the handle, not through a path.
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        let names = read_all(|buffer| llistxattr(path.as_slice(), buffer))?;
        self.collect(&names, |attribute, buffer| lgetxattr(path.as_slice(), attribute, buffer))
    }

    fn collect(
        &mut self,
        names: &[u8],
        get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Attributes, Fault> {
        let mut all = Vec::new();
        for attribute in names.split(|&byte| byte == 0).filter(|attribute| is_copied(attribute)) {
            let value = match read_all(|buffer| get(attribute, buffer)) {
                Err(Errno::NODATA) => continue,
                other => other?,
            };
            let is_list = attribute == ACCESS || attribute == DEFAULT;
            let value = if is_list {
                Some(value)
            } else {
                all.push((attribute.to_vec(), value));
                None
            };
            let text = value.and_then(|value| {
                acl_to_text(&value, |is_user, id| {
                    if is_user { self.names.user(id) } else { self.names.group(id) }.to_string()
                })
            });
            all.extend(text.map(|text| (attribute.to_vec(), text)));
        }
        let attributes = Attributes::of(all);
        if attributes.bytes().len() > MOST { Err(Why::System(libc::E2BIG).into()) } else { Ok(attributes) }
    }

    /// Makes those that are copied equal to these; a new file may have inherited some from its folder.
    pub(super) fn set_attributes(&mut self, file: &OwnedFd, wanted: &Attributes) -> Result<(), Fault> {
        let names = read_all(|buffer| flistxattr(file, buffer))?;
        if names.is_empty() && wanted.bytes().is_empty() {
            return Ok(());
        }
        let present = self.collect(&names, |attribute, buffer| fgetxattr(file, attribute, buffer))?;
        if present == *wanted {
            return Ok(());
        }
        let wanted = wanted.pairs();
        for (attribute, _) in present.pairs() {
            if !wanted.iter().any(|(name, _)| *name == attribute) {
                fremovexattr(file, attribute)?;
            }
        }
        for (attribute, value) in wanted {
            if attribute == ACCESS || attribute == DEFAULT {
                let names = &mut self.names;
                let id_of = |is_user, name: &str| if is_user { names.uid(name) } else { names.gid(name) }.ok();
                let list = acl_from_text(value, id_of).map_err(|unknown| match unknown {
                    Some(true) => Why::NoUser,
                    Some(false) => Why::NoGroup,
                    None => Why::System(libc::EINVAL),
                })?;
                fsetxattr(file, attribute, &list, XattrFlags::empty())?;
            } else {
                fsetxattr(file, attribute, value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// Reads until it fits. A file system without attributes has none.
fn read_all(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; ROOM];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < MOST => buffer.resize(buffer.len() * 4, 0),
            Err(Errno::RANGE) => return Err(Errno::TOOBIG),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
    }
}

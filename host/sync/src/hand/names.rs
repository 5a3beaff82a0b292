//! Users and groups by name, on this machine.
//! Invariant: asked of the system's own name service (so LDAP and the like count), once a name.
//! The far side's counterpart is in `agent.pl`.

use super::Why;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

/// What was asked so far.
#[derive(Default)]
pub(super) struct Names {
    users: HashMap<u32, Arc<str>>,
    groups: HashMap<u32, Arc<str>>,
    uids: HashMap<String, u32>,
    gids: HashMap<String, u32>,
}

impl Names {
    pub(super) fn user(&mut self, uid: u32) -> Arc<str> {
        self.users.entry(uid).or_insert_with(|| user_name(uid).unwrap_or_else(|| uid.to_string()).into()).clone()
    }

    pub(super) fn group(&mut self, gid: u32) -> Arc<str> {
        self.groups.entry(gid).or_insert_with(|| group_name(gid).unwrap_or_else(|| gid.to_string()).into()).clone()
    }

    pub(super) fn uid(&mut self, name: &str) -> Result<u32, Why> {
        resolve(&mut self.uids, name, user_number).ok_or(Why::NoUser)
    }

    pub(super) fn gid(&mut self, name: &str) -> Result<u32, Why> {
        resolve(&mut self.gids, name, group_number).ok_or(Why::NoGroup)
    }
}

fn resolve(known: &mut HashMap<String, u32>, name: &str, ask: fn(&CStr) -> Option<u32>) -> Option<u32> {
    if let Some(&number) = known.get(name) {
        return Some(number);
    }
    let number = ask(&CString::new(name).ok()?).or_else(|| name.parse().ok())?;
    known.insert(name.to_owned(), number);
    Some(number)
}

/// Calls one of the `get…_r` family with a buffer that grows until the answer fits.
fn lookup<T, R>(
    call: impl Fn(*mut T, *mut libc::c_char, usize, *mut *mut T) -> i32,
    take: impl Fn(&T) -> R,
) -> Option<R> {
    let mut size = 1024;
    loop {
        let mut record = std::mem::MaybeUninit::<T>::uninit();
        let mut buffer = vec![0; size];
        let mut found = std::ptr::null_mut();
        let status = call(record.as_mut_ptr(), buffer.as_mut_ptr(), size, &mut found);
        if status == libc::ERANGE && size < 1 << 20 {
            size *= 2;
            continue;
        }
        // SAFETY: on success `found` is null or points at `record`, whose strings lie in `buffer`; both live until here.
        return if status == 0 { unsafe { found.as_ref() }.map(take) } else { None };
    }
}

fn text(name: *const libc::c_char) -> String {
    // SAFETY: the name service ends its strings with a NUL, and the buffer lives while `lookup` runs.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

fn user_name(uid: u32) -> Option<String> {
    // SAFETY: the arguments are what getpwuid_r(3) asks for.
    lookup(
        |record, buffer, size, found| unsafe { libc::getpwuid_r(uid, record, buffer, size, found) },
        |user: &libc::passwd| text(user.pw_name),
    )
}

fn group_name(gid: u32) -> Option<String> {
    // SAFETY: the arguments are what getgrgid_r(3) asks for.
    lookup(
        |record, buffer, size, found| unsafe { libc::getgrgid_r(gid, record, buffer, size, found) },
        |group: &libc::group| text(group.gr_name),
    )
}

fn user_number(name: &CStr) -> Option<u32> {
    // SAFETY: the arguments are what getpwnam_r(3) asks for.
    lookup(
        |record, buffer, size, found| unsafe { libc::getpwnam_r(name.as_ptr(), record, buffer, size, found) },
        |user: &libc::passwd| user.pw_uid,
    )
}

fn group_number(name: &CStr) -> Option<u32> {
    // SAFETY: the arguments are what getgrnam_r(3) asks for.
    lookup(
        |record, buffer, size, found| unsafe { libc::getgrnam_r(name.as_ptr(), record, buffer, size, found) },
        |group: &libc::group| group.gr_gid,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        let mut names = Names::default();
        assert_eq!(&*names.user(0), "root");
        assert_eq!((names.uid("root"), names.gid("root")), (Ok(0), Ok(0)));
        assert_eq!(&*names.user(4_000_000_001), "4000000001");
        assert_eq!(names.uid("4000000001"), Ok(4_000_000_001));
        assert_eq!(names.uid("no such user"), Err(Why::NoUser));
        assert_eq!(names.gid("no such group"), Err(Why::NoGroup));
    }
}

//! Extended attributes and POSIX access control lists (xattr(7), acl(5)) of a file or folder, in one form for both sides.
//! Invariant: sorted, each once, of the namespaces below only, and an ACL names users and groups, not their numbers.
//! `trusted.` and `security.` are left alone: they hand down privileges (capabilities) that only the target may give.

use crate::hand::wire_fields;

/// Namespace of what users and programs set.
const USER: &[u8] = b"user.";
/// The access control list of a file or folder.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The one that what is made in a folder begins with.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";
/// All of one file together, as they travel, in bytes.
pub(crate) const MOST: usize = 256 * 1024;
/// Of `struct posix_acl_xattr_header` (Linux, include/uapi/linux/posix_acl_xattr.h).
const ACL_VERSION: u32 = 2;
/// Tags of entries that name a user or a group.
const OF_USER: u16 = 2;
const OF_GROUP: u16 = 8;

/// Names with values, each after its length (4 bytes, big-endian); empty: there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Box<[u8]>);

/// Whether it is copied.
pub(crate) fn is_copied(name: &[u8]) -> bool {
    name.starts_with(USER) || name == ACCESS || name == DEFAULT
}

impl Attributes {
    pub(crate) fn of(mut all: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        all.sort();
        let mut bytes = Vec::new();
        for field in all.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        Self(bytes.into())
    }

    /// As told by a hand, checked.
    pub(crate) fn told(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > MOST {
            return Err("more attributes than a file has");
        }
        let fields = wire_fields(bytes)?;
        let (pairs, rest) = fields.as_chunks::<2>();
        let sorted = pairs.windows(2).all(|pair| pair[0][0] < pair[1][0]);
        let named = pairs.iter().all(|[name, _]| is_copied(name) && name.len() <= 255 && !name.contains(&0));
        if !rest.is_empty() || !sorted || !named {
            return Err("an attribute that is none");
        }
        Ok(Self(bytes.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let fields = wire_fields(&self.0).unwrap_or_default();
        fields.as_chunks::<2>().0.iter().map(|[name, value]| (*name, *value)).collect()
    }
}

/// An access control list as the kernel has it, as text: a line `TAG PERMISSIONS NAME` an entry; none if it is no such list.
pub(crate) fn acl_to_text(value: &[u8], mut name_of: impl FnMut(bool, u32) -> String) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != ACL_VERSION {
        return None;
    }
    let (entries, rest) = entries.as_chunks::<8>();
    let mut text = String::new();
    for [a, b, c, d, e, f, g, h] in entries {
        let (tag, permissions) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let id = u32::from_le_bytes([*e, *f, *g, *h]);
        let name = if matches!(tag, OF_USER | OF_GROUP) { name_of(tag == OF_USER, id) } else { String::new() };
        text += &format!("{tag} {permissions} {name}\n");
    }
    rest.is_empty().then(|| text.into_bytes())
}

/// The reverse of [`acl_to_text`]; `Err(is_user)`: a user (group) that is not known here.
pub(crate) fn acl_from_text(
    text: &[u8],
    mut id_of: impl FnMut(bool, &str) -> Option<u32>,
) -> Result<Vec<u8>, Option<bool>> {
    let text = std::str::from_utf8(text).map_err(|_| None)?;
    let mut value = ACL_VERSION.to_le_bytes().to_vec();
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u16>().ok()).ok_or(None);
        let (tag, permissions) = (number()?, number()?);
        let name = words.next().unwrap_or_default();
        let id = match tag {
            OF_USER | OF_GROUP => id_of(tag == OF_USER, name).ok_or(Some(tag == OF_USER))?,
            _ => u32::MAX,
        };
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_by_names_and_comes_back() {
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let value = [&2u32.to_le_bytes()[..], &entry(1, 6, u32::MAX), &entry(2, 4, 5000), &entry(8, 4, 7)].concat();
        let text = acl_to_text(&value, |is_user, id| format!("{}{id}", if is_user { "u" } else { "g" })).unwrap();
        assert_eq!(text, b"1 6 \n2 4 u5000\n8 4 g7\n");
        let back =
            acl_from_text(&text, |is_user, name| name[1..].parse().ok().filter(|_| is_user == name.starts_with('u')));
        assert_eq!(back, Ok(value.clone()));
        assert_eq!(acl_from_text(&text, |is_user, _| (!is_user).then_some(1)), Err(Some(true)));
        assert_eq!(acl_to_text(&value[..9], |_, _| String::new()), None);
    }

    #[test]
    fn what_hands_down_privileges_or_is_broken_is_refused() {
        let told = |pairs: &[(&[u8], &[u8])]| {
            let pairs = pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            Attributes::told(Attributes::of(pairs).bytes())
        };
        assert!(told(&[]).is_ok() && told(&[(b"user.x", b"\0\xff"), (b"user.a", b"")]).is_ok());
        for name in [&b"security.capability"[..], b"trusted.x", b"user", b"system.other", b"user.\0"] {
            assert!(told(&[(name, b"1")]).is_err());
        }
        assert!(told(&[(b"user.x", b"1"), (b"user.x", b"2")]).is_err());
        assert!(Attributes::told(b"\0\0\0\x06user.x").is_err());
        assert!(Attributes::told(&vec![0; MOST + 1]).is_err());
    }
}

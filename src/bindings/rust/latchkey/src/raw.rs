// SPDX-License-Identifier: MIT
//! What callers give, in the form that the library reads. Each owner keeps what its pointers point to, for as long as it lives.
use crate::entry::c_string;
use crate::{Error, Record, Result};
use latchkey_sys as sys;
use std::ffi::CString;
use std::mem::size_of;
use std::os::raw::c_char;
use std::ptr::null;
use std::time::Duration;

/// What a login knows. `Draft { role: "member".into(), ..Draft::of(42) }`
#[derive(Clone, Default)]
pub struct Draft {
    /// The user's number.
    pub user_id: u64,
    /// For a user that has a name and no number (a UUID, an address).
    pub user_name: Option<String>,
    /// At most 16 bytes.
    pub role: String,
    /// Yours.
    pub permissions_hash: [u8; 32],
    /// Yours: a class of device.
    pub device: u32,
    /// Yours.
    pub flags: u16,
    /// `None`: that of the configuration.
    pub idle: Option<Duration>,
    /// `None`: that of the configuration.
    pub lifetime: Option<Duration>,
    /// Of `user_generation`; 0: not checked.
    pub generation: u64,
    /// Names and values that are kept with the session in Redis.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Of `token_new`, for this user.
    pub token: Option<String>,
}

impl Draft {
    /// A draft for a user with a number.
    pub fn of(user_id: u64) -> Self {
        Draft { user_id, ..Draft::default() }
    }
    /// A draft for a user with a name.
    pub fn named(name: impl Into<String>) -> Self {
        Draft { user_name: Some(name.into()), ..Draft::default() }
    }
}

/// What a session may do, to be changed in place. What is `None` stays.
#[derive(Clone, Default)]
pub struct Access {
    /// At most 16 bytes.
    pub role: Option<String>,
    /// Yours.
    pub permissions_hash: Option<[u8; 32]>,
    /// The new flags, and which of them change.
    pub flags: Option<(u16, u16)>,
    /// The user has just proved again who they are.
    pub authenticated: bool,
}

/// A duration that is not 0 is not 0 ms.
pub(crate) fn milliseconds(value: Duration) -> Result<i64> {
    let whole = value.as_millis() + u128::from(value.subsec_nanos() % 1_000_000 != 0);
    i64::try_from(whole).map_err(|_| Error::argument("a duration is too long"))
}

/// `None` is that of the configuration, which is 0 for the library.
fn optional_milliseconds(value: Option<Duration>) -> Result<i64> {
    match value {
        None => Ok(0),
        Some(Duration::ZERO) => Err(Error::argument("idle or lifetime is 0: None means that of the configuration")),
        Some(value) => milliseconds(value),
    }
}

fn role(value: &str) -> Result<CString> {
    if value.len() > 16 {
        return Err(Error::argument("the role is longer than 16 bytes"));
    }
    c_string(value, "the role")
}

/// Fields with their names. `None` deletes.
pub(crate) struct Fields {
    _names: Vec<CString>,
    pub fields: Vec<sys::latchkey_field>,
    pub changes: Vec<sys::latchkey_change>,
}

impl Fields {
    /// The data is the caller's: it must live as long as this.
    pub fn of<'a>(list: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>, record: Option<&Record>) -> Result<Self> {
        let (mut names, mut fields, mut changes) = (vec![], vec![], vec![]);
        for (name, data) in list {
            let version = record.map_or(0, |record| record.version(name));
            let name = c_string(name, "the name of a field")?;
            let size = data.map_or(0, <[u8]>::len);
            let data = data.map_or(null(), |data| data.as_ptr().cast());
            fields.push(sys::latchkey_field { name: name.as_ptr(), data, size });
            changes.push(sys::latchkey_change { name: name.as_ptr(), data, size, version });
            names.push(name); // the text stays where it is
        }
        Ok(Fields { _names: names, fields, changes })
    }
}

pub(crate) struct Names {
    _names: Vec<CString>,
    pub pointers: Vec<*const c_char>,
}

impl Names {
    pub fn of(list: &[&str]) -> Result<Self> {
        let names = list.iter().map(|name| c_string(name, "the name of a field")).collect::<Result<Vec<_>>>()?;
        let pointers = names.iter().map(|name| name.as_ptr()).collect();
        Ok(Names { _names: names, pointers })
    }
}

pub(crate) struct RawDraft {
    _role: CString,
    _fields: Fields,
    pub raw: sys::latchkey_draft,
}

impl RawDraft {
    /// The draft must live as long as this.
    pub fn of(draft: &Draft) -> Result<Self> {
        let role = role(&draft.role)?;
        let fields = Fields::of(draft.fields.iter().map(|(name, data)| (name.as_str(), Some(data.as_slice()))), None)?;
        let name = draft.user_name.as_deref().unwrap_or("");
        if draft.user_name.is_some() && name.is_empty() {
            return Err(Error::argument("the user's name is empty"));
        }
        let raw = sys::latchkey_draft {
            size: size_of::<sys::latchkey_draft>(),
            user_id: draft.user_id,
            role: role.as_ptr(),
            permissions_hash: draft.permissions_hash,
            device: draft.device,
            flags: draft.flags.into(),
            idle_ms: optional_milliseconds(draft.idle)?,
            lifetime_ms: optional_milliseconds(draft.lifetime)?,
            generation: draft.generation,
            fields: fields.fields.as_ptr(),
            field_count: fields.fields.len(),
            user_name: if name.is_empty() { null() } else { name.as_ptr().cast() },
            user_name_size: name.len(),
        };
        Ok(RawDraft { _role: role, _fields: fields, raw })
    }
}

pub(crate) struct RawAccess {
    _role: Option<CString>,
    pub raw: sys::latchkey_access,
}

impl RawAccess {
    /// The change must live as long as this.
    pub fn of(access: &Access) -> Result<Self> {
        let role = access.role.as_deref().map(role).transpose()?;
        let (flags, flags_mask) = access.flags.unwrap_or_default();
        let raw = sys::latchkey_access {
            size: size_of::<sys::latchkey_access>(),
            role: role.as_ref().map_or(null(), |role| role.as_ptr()),
            permissions_hash: access.permissions_hash.as_ref().map_or(null(), |hash| hash.as_ptr()),
            flags: flags.into(),
            flags_mask: flags_mask.into(),
            authenticated: access.authenticated.into(),
        };
        Ok(RawAccess { _role: role, raw })
    }
}

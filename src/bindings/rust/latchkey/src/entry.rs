// SPDX-License-Identifier: MIT
use latchkey_sys as sys;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.max(0) as u64)
}

/// Whose session it is: a copy of the 120 bytes of `latchkey_entry`. Times are by the clock of Redis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry(pub(crate) sys::latchkey_entry);

impl Entry {
    /// The user's number.
    pub fn user_id(&self) -> u64 {
        self.0.user_id
    }
    /// At most 16 bytes.
    pub fn role(&self) -> Cow<'_, str> {
        let end = self.0.role.iter().position(|&c| c == 0).unwrap_or(16);
        String::from_utf8_lossy(&self.0.role[..end])
    }
    /// Yours.
    pub fn permissions_hash(&self) -> &[u8; 32] {
        &self.0.permissions_hash
    }
    /// Zeros where the session has no key material.
    pub fn pq_key_hash(&self) -> &[u8; 32] {
        &self.0.pq_key_hash
    }
    /// The absolute expiry. Only Redis knows the idle expiry.
    pub fn expires_at(&self) -> SystemTime {
        time(self.0.expires_at_ms)
    }
    /// When the session was made.
    pub fn created_at(&self) -> SystemTime {
        time(self.0.created_at_ms)
    }
    /// When the user last proved who they are.
    pub fn auth_at(&self) -> SystemTime {
        time(self.0.auth_at_ms)
    }
    /// Yours.
    pub fn device(&self) -> u32 {
        self.0.device
    }
    /// Yours.
    pub fn flags(&self) -> u16 {
        (self.0.flags & sys::LATCHKEY_FLAGS_YOURS) as u16
    }
    /// The token is old: exchange it (`rotate`), and send the new one.
    pub fn renew(&self) -> bool {
        self.0.flags & sys::LATCHKEY_FLAG_RENEW != 0
    }
    /// Redis is lost, and `grace_ms` lets memory answer.
    pub fn stale(&self) -> bool {
        self.0.flags & sys::LATCHKEY_FLAG_STALE != 0
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("user_id", &self.user_id())
            .field("role", &self.role())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// A session as Redis holds it: its entry, and the fields that were asked for.
#[derive(Clone)]
pub struct Record {
    /// Whose session it is.
    pub entry: Entry,
    fields: HashMap<String, (Vec<u8>, u64)>,
}

impl Record {
    /// The bytes of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.get(name).map(|(data, _)| data.as_slice())
    }
    /// The names of the fields, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
    pub(crate) fn version(&self, name: &str) -> u64 {
        self.fields.get(name).map_or(0, |(_, version)| *version)
    }

    /// Copies a record, and frees it.
    ///
    /// # Safety
    /// It must be a record of the library, and nothing else may use it any more.
    pub(crate) unsafe fn take(record: *mut sys::latchkey_record) -> Self {
        let mut fields = HashMap::new();
        let mut index = 0;
        loop {
            let name = sys::latchkey_record_field_name(record, index);
            if name.is_null() {
                break;
            }
            let mut size = 0;
            let data = sys::latchkey_record_field(record, name, &mut size);
            if !data.is_null() {
                let data = std::slice::from_raw_parts(data.cast::<u8>(), size).to_vec();
                let version = sys::latchkey_record_version(record, name);
                fields.insert(CStr::from_ptr(name).to_string_lossy().into_owned(), (data, version));
            }
            index += 1;
        }
        let entry = Entry(*sys::latchkey_record_entry(record));
        sys::latchkey_record_free(record);
        Record { entry, fields }
    }
}

/// Fields are key material and the application's secrets: their sizes are shown, not their bytes.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: HashMap<_, _> = self.fields.iter().map(|(name, (data, _))| (name, data.len())).collect();
        f.debug_struct("Record").field("entry", &self.entry).field("sizes", &sizes).finish()
    }
}

/// One of a user's sessions.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The first 20 characters of the token: it names the session, and is no secret.
    pub selector: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When the user last proved who they are.
    pub auth_at: SystemTime,
    /// When it was last used, to a tenth of its idle time.
    pub active_at: SystemTime,
    /// When it ends if it is not used.
    pub idle_expires_at: SystemTime,
    /// The absolute expiry.
    pub expires_at: SystemTime,
    /// Yours.
    pub device: u32,
    /// Yours.
    pub flags: u16,
    /// It is the session that asks.
    pub current: bool,
}

impl SessionInfo {
    pub(crate) fn of(info: &sys::latchkey_session_info) -> Self {
        let end = info.selector.iter().position(|&c| c == 0).unwrap_or(info.selector.len());
        SessionInfo {
            selector: String::from_utf8_lossy(&info.selector[..end]).into_owned(),
            created_at: time(info.created_at_ms),
            auth_at: time(info.auth_at_ms),
            active_at: time(info.active_at_ms),
            idle_expires_at: time(info.idle_expires_at_ms),
            expires_at: time(info.expires_at_ms),
            device: info.device,
            flags: (info.flags & sys::LATCHKEY_FLAGS_YOURS) as u16,
            current: info.current != 0,
        }
    }
}

/// The characters up to the NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&c| c == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

pub(crate) fn c_string(value: &str, what: &str) -> crate::Result<CString> {
    CString::new(value).map_err(|_| crate::Error::argument(format!("{what} holds a NUL")))
}

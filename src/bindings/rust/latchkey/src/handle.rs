// SPDX-License-Identifier: MIT
use crate::entry::{c_string, text};
use crate::error::is_no;
use crate::raw::{milliseconds, Fields, Names, RawAccess, RawDraft};
use crate::{Access, Draft, Entry, Error, Kind, Record, Result, SessionInfo};
use latchkey_sys as sys;
use std::ffi::{CStr, CString};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::raw::{c_char, c_int};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// What an exchange of a token came to.
#[derive(Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The new token.
    To(String),
    /// Another call has exchanged it already: go on with the old one.
    Already,
}

/// It does not show the token.
impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rotated::To(_) => "To(a token)",
            Rotated::Already => "Already",
        })
    }
}

/// The level of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A guarantee does not hold now, or nothing works until somebody acts.
    Error,
    /// One more fault would break a guarantee.
    Warning,
    /// Worth knowing.
    Notice,
    /// Events, where the configuration asks for them.
    Info,
}

/// An open handle. Clones are the same handle, for other threads; the last one closes it. One for a process is enough.
///
/// In a forked child the handle opens itself anew at the first call.
#[derive(Clone)]
pub struct Latchkey {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    lk: AtomicPtr<sys::latchkey>, // replaced once, in a forked child
    config: CString,
    closed: AtomicBool,
}

// SAFETY: every function of the library may be called from any thread. latchkey_close is called by Drop alone, when nobody
// has the handle any more.
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this is the last use of the handle.
        unsafe { sys::latchkey_close(*self.lk.get_mut()) }
    }
}

fn open_raw(config: &CStr) -> Result<*mut sys::latchkey> {
    let (mut lk, mut error) = (null_mut(), [0u8; 512]);
    // SAFETY: the text ends with a NUL, and the buffer has that size.
    let status = unsafe { sys::latchkey_open(config.as_ptr(), &mut lk, error.as_mut_ptr().cast(), error.len()) };
    if status == sys::LATCHKEY_OK {
        Ok(lk)
    } else {
        Err(Error::of(status, &text(&error)))
    }
}

impl Inner {
    /// The handle of this process.
    pub(crate) fn raw(&self) -> Result<*mut sys::latchkey> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::closed());
        }
        Ok(self.lk.load(Ordering::Acquire))
    }

    /// This process was forked: a handle of its own, in place of its parent's. (What the parent's leaves in this process is small,
    /// and another thread may be looking at it.)
    fn reopen(&self, parents: *mut sys::latchkey) -> Result<*mut sys::latchkey> {
        let fresh = open_raw(&self.config)?;
        match self.lk.compare_exchange(parents, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(fresh),
            Err(other) => {
                // SAFETY: nobody else knows this one.
                unsafe { sys::latchkey_close(fresh) };
                Ok(other)
            }
        }
    }

    /// Calls the library, in a forked child on a handle of its own. Gives the status and the handle.
    pub(crate) fn call(&self, mut verb: impl FnMut(*mut sys::latchkey) -> c_int) -> Result<c_int> {
        let lk = self.raw()?;
        let status = verb(lk);
        if status != sys::LATCHKEY_FORKED {
            return Ok(status);
        }
        Ok(verb(self.reopen(lk)?))
    }

    /// Why the last call of this thread failed.
    pub(crate) fn failure(&self, status: c_int) -> Error {
        let mut why = [0u8; 512];
        if let Ok(lk) = self.raw() {
            // SAFETY: the buffer has that size.
            unsafe { sys::latchkey_error_text(lk, why.as_mut_ptr().cast(), why.len()) };
        }
        Error::of(status, &text(&why))
    }

    /// true: OK. false: there is no such session.
    fn ask(&self, verb: impl FnMut(*mut sys::latchkey) -> c_int) -> Result<bool> {
        match self.call(verb)? {
            sys::LATCHKEY_OK => Ok(true),
            status if is_no(status) => Ok(false),
            status => Err(self.failure(status)),
        }
    }
}

pub(crate) fn parts(token: &[u8]) -> (*const c_char, usize) {
    (token.as_ptr().cast(), token.len())
}

fn optional(token: Option<&str>) -> (*const c_char, usize) {
    token.map_or((null(), 0), |token| parts(token.as_bytes()))
}

impl Latchkey {
    /// Opens a handle. The configuration is described at `latchkey_open` in `latchkey.h`.
    pub fn open(config: &str) -> Result<Self> {
        let config = c_string(config, "the configuration")?;
        let lk = open_raw(&config)?;
        Ok(Latchkey { inner: Arc::new(Inner { lk: AtomicPtr::new(lk), config, closed: AtomicBool::new(false) }) })
    }

    /// From now on each call is an error, in all clones. What the handle holds is freed when the last clone is dropped, which
    /// alone is enough where nothing is to be told.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
    }

    // -------------------------------------------------------------------------------------------- validating --

    /// `Some`: yes. `None`: there is no such session. Memory answers; where it cannot tell, this thread asks Redis, for at most
    /// `deadline_ms`. A token is whatever the client sent.
    pub fn validate(&self, token: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let (token, len) = parts(token.as_ref());
        // SAFETY: in all of this file the pointers are valid during the call, and the lengths are theirs.
        self.entry(|lk, entry| unsafe { sys::latchkey_validate(lk, token, len, entry) })
    }

    /// For sensitive requests: memory answers only if it was confirmed at most `max_age` ago. Zero asks Redis.
    pub fn validate_fresh(&self, token: impl AsRef<[u8]>, max_age: Duration) -> Result<Option<Entry>> {
        let ((token, len), max_age) = (parts(token.as_ref()), milliseconds(max_age)?);
        self.entry(|lk, entry| unsafe { sys::latchkey_validate_fresh(lk, token, len, max_age, entry) })
    }

    /// From memory alone, never waiting. `None`: memory cannot tell; else what `validate` gives.
    pub fn try_validate(&self, token: impl AsRef<[u8]>) -> Option<Result<Option<Entry>>> {
        let (token, len) = parts(token.as_ref());
        let mut again = false;
        let answer = self.entry(|lk, entry| unsafe {
            let status = sys::latchkey_try_validate(lk, token, len, entry);
            again = status == sys::LATCHKEY_AGAIN;
            if again {
                sys::LATCHKEY_NOT_FOUND
            } else {
                status
            }
        });
        if again {
            None
        } else {
            Some(answer)
        }
    }

    fn entry(&self, mut verb: impl FnMut(*mut sys::latchkey, *mut sys::latchkey_entry) -> c_int) -> Result<Option<Entry>> {
        let mut entry = MaybeUninit::uninit();
        // SAFETY: the library has written the entry where it says OK.
        Ok(self.inner.ask(|lk| verb(lk, entry.as_mut_ptr()))?.then(|| Entry(unsafe { entry.assume_init() })))
    }

    // -------------------------------------------------------------------------------- the life of a session --

    /// Makes a session. Gives its token.
    pub fn create(&self, draft: &Draft) -> Result<String> {
        let raw = RawDraft::of(draft)?;
        let mut token = [0u8; sys::LATCHKEY_TOKEN_SIZE];
        let status = self.inner.call(|lk| match &draft.token {
            Some(given) => unsafe { sys::latchkey_create_with(lk, &raw.raw, given.as_ptr().cast(), given.len()) },
            None => unsafe { sys::latchkey_create(lk, &raw.raw, token.as_mut_ptr().cast()) },
        })?;
        match (status, &draft.token) {
            (sys::LATCHKEY_OK, Some(given)) => Ok(given.clone()),
            (sys::LATCHKEY_OK, None) => Ok(text(&token)),
            (sys::LATCHKEY_MALFORMED, _) => Err(Error::argument("the token of the draft is not one of token_new")),
            (status, _) => Err(self.inner.failure(status)),
        }
    }

    /// A token for a session of this user that is yet to be made: [`Draft::token`].
    pub fn token_new(&self, user_id: u64) -> Result<String> {
        let mut token = [0u8; sys::LATCHKEY_TOKEN_SIZE];
        self.inner.ask(|lk| unsafe { sys::latchkey_token_new(lk, user_id, token.as_mut_ptr().cast()) })?;
        Ok(text(&token))
    }

    /// Ends the session. `false`: there was nothing to end. [`Kind::Pending`]: denied here, and not confirmed by Redis yet.
    pub fn revoke(&self, token: impl AsRef<[u8]>) -> Result<bool> {
        let (token, len) = parts(token.as_ref());
        self.inner.ask(|lk| unsafe { sys::latchkey_revoke(lk, token, len) })
    }

    /// Says that the session was used, where `validate` does not see it. `false`: there is no such session.
    pub fn touch(&self, token: impl AsRef<[u8]>) -> Result<bool> {
        let (token, len) = parts(token.as_ref());
        self.inner.ask(|lk| unsafe { sys::latchkey_touch(lk, token, len) })
    }

    /// Exchanges the token. The old one goes on for `grace`. `None`: there is no such session.
    pub fn rotate(&self, token: impl AsRef<[u8]>, grace: Duration) -> Result<Option<Rotated>> {
        let ((token, len), grace) = (parts(token.as_ref()), milliseconds(grace)?);
        let mut fresh = [0u8; sys::LATCHKEY_TOKEN_SIZE];
        match self.inner.ask(|lk| unsafe { sys::latchkey_rotate(lk, token, len, grace, fresh.as_mut_ptr().cast()) }) {
            Ok(true) => Ok(Some(Rotated::To(text(&fresh)))),
            Ok(false) => Ok(None),
            Err(error) if error.kind() == Kind::Refused => Ok(Some(Rotated::Already)),
            Err(error) => Err(error),
        }
    }

    /// Changes what the session may do. `false`: there is no such session.
    pub fn set_access(&self, token: impl AsRef<[u8]>, change: &Access) -> Result<bool> {
        let ((token, len), access) = (parts(token.as_ref()), RawAccess::of(change)?);
        self.inner.ask(|lk| unsafe { sys::latchkey_set_access(lk, token, len, &access.raw) })
    }

    // ------------------------------------------------------------------------------------------------ fields --

    /// Reads the whole record. `None`: there is no such session.
    pub fn load(&self, token: impl AsRef<[u8]>) -> Result<Option<Record>> {
        let (token, len) = parts(token.as_ref());
        self.record(|lk, out| unsafe { sys::latchkey_load(lk, token, len, out) })
    }

    /// Reads some fields.
    pub fn get_fields(&self, token: impl AsRef<[u8]>, names: &[&str]) -> Result<Option<Record>> {
        let ((token, len), names) = (parts(token.as_ref()), Names::of(names)?);
        let (list, count) = (names.pointers.as_ptr(), names.pointers.len());
        self.record(|lk, out| unsafe { sys::latchkey_get_fields(lk, token, len, list, count, out) })
    }

    fn record(
        &self,
        mut verb: impl FnMut(*mut sys::latchkey, *mut *mut sys::latchkey_record) -> c_int,
    ) -> Result<Option<Record>> {
        let mut record = null_mut();
        // SAFETY: where it is OK the record is ours.
        Ok(self.inner.ask(|lk| verb(lk, &mut record))?.then(|| unsafe { Record::take(record) }))
    }

    /// Sets fields, all of them or none; `None` deletes one. `false`: there is no such session.
    pub fn set_fields(&self, token: impl AsRef<[u8]>, fields: &[(&str, Option<&[u8]>)]) -> Result<bool> {
        let ((token, len), fields) = (parts(token.as_ref()), Fields::of(fields.iter().copied(), None)?);
        self.inner.ask(|lk| unsafe { sys::latchkey_set_fields(lk, token, len, fields.fields.as_ptr(), fields.fields.len()) })
    }

    /// Sets fields, only if each is still as in the record. `Some(false)`: one has changed, read again. `None`: no such session.
    pub fn change_fields(
        &self,
        token: impl AsRef<[u8]>,
        record: &Record,
        fields: &[(&str, Option<&[u8]>)],
    ) -> Result<Option<bool>> {
        let ((token, len), fields) = (parts(token.as_ref()), Fields::of(fields.iter().copied(), Some(record))?);
        let changes = &fields.changes;
        match self.inner.ask(|lk| unsafe { sys::latchkey_change_fields(lk, token, len, changes.as_ptr(), changes.len()) }) {
            Ok(done) => Ok(done.then_some(true)),
            Err(error) if error.kind() == Kind::Refused => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    /// Makes the new value of a field of the old one, as often as it takes. `false`: there is no such session.
    pub fn update_field(
        &self,
        token: impl AsRef<[u8]>,
        name: &str,
        mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<bool> {
        let token = token.as_ref();
        loop {
            let record = match self.get_fields(token, &[name])? {
                Some(record) => record,
                None => return Ok(false),
            };
            let value = change(record.get(name));
            match self.change_fields(token, &record, &[(name, value.as_deref())])? {
                Some(true) => return Ok(true),
                Some(false) => continue,
                None => return Ok(false),
            }
        }
    }

    // ---------------------------------------------------------------------------------------- a user's sessions --

    /// Lists a user's sessions, the last used first, at most 1,000. `current` marks the session that asks.
    pub fn sessions(&self, user_id: u64, current: Option<&str>) -> Result<Vec<SessionInfo>> {
        let (token, len) = optional(current);
        // SAFETY: zeros are such infos.
        let mut list = vec![unsafe { std::mem::zeroed::<sys::latchkey_session_info>() }; sys::LATCHKEY_SESSIONS_MAX];
        let mut total = 0;
        let known = self
            .inner
            .ask(|lk| unsafe { sys::latchkey_sessions(lk, user_id, token, len, list.as_mut_ptr(), list.len(), &mut total) })?;
        if !known {
            return Err(Error::argument("the current token is not one"));
        }
        Ok(list.iter().take_while(|info| info.selector[0] != 0).map(SessionInfo::of).collect())
    }

    /// Ends all sessions of a user, but the one to keep. Gives how many.
    pub fn revoke_user(&self, user_id: u64, keep: Option<&str>) -> Result<usize> {
        let (token, len) = optional(keep);
        let mut revoked = 0;
        if !self.inner.ask(|lk| unsafe { sys::latchkey_revoke_user(lk, user_id, token, len, &mut revoked) })? {
            return Err(Error::argument("the token to keep is not one"));
        }
        Ok(revoked)
    }

    /// Ends one session of a user by its selector. `false`: there is no such session of this user.
    pub fn revoke_selector(&self, user_id: u64, selector: &str) -> Result<bool> {
        if selector.len() != sys::LATCHKEY_SELECTOR_LENGTH {
            return Ok(false);
        }
        self.inner.ask(|lk| unsafe { sys::latchkey_revoke_selector(lk, user_id, selector.as_ptr().cast()) })
    }

    /// Ends all sessions of all users, on every instance.
    pub fn revoke_everyone(&self) -> Result<()> {
        self.inner.ask(|lk| unsafe { sys::latchkey_revoke_everyone(lk) }).map(|_| ())
    }

    /// Is read before a login of several steps, for [`Draft::generation`].
    pub fn user_generation(&self, user_id: u64) -> Result<u64> {
        let mut generation = 0;
        self.inner.ask(|lk| unsafe { sys::latchkey_user_generation(lk, user_id, &mut generation) })?;
        Ok(generation)
    }

    /// Changes all sessions of a user. Gives how many.
    pub fn set_user_access(&self, user_id: u64, change: &Access) -> Result<usize> {
        let (access, mut changed) = (RawAccess::of(change)?, 0);
        self.inner.ask(|lk| unsafe { sys::latchkey_set_user_access(lk, user_id, &access.raw, &mut changed) })?;
        Ok(changed)
    }

    // --------------------------------------------------------------------------------------------- observation --

    /// Fills memory with the most recently active sessions. Gives how many.
    pub fn prewarm(&self, count: usize) -> Result<usize> {
        let mut loaded = 0;
        self.inner.ask(|lk| unsafe { sys::latchkey_prewarm(lk, count, &mut loaded) })?;
        Ok(loaded)
    }

    /// Prometheus text.
    pub fn metrics(&self) -> Result<String> {
        let mut buffer = vec![0u8; 65536];
        loop {
            let mut needed = 0;
            let status = self
                .inner
                .call(|lk| unsafe { sys::latchkey_metrics(lk, buffer.as_mut_ptr().cast(), buffer.len(), &mut needed) })?;
            match status {
                sys::LATCHKEY_OK => return Ok(text(&buffer)),
                sys::LATCHKEY_NO_MEMORY if needed > buffer.len() => buffer.resize(needed + 1024, 0),
                status => return Err(self.inner.failure(status)),
            }
        }
    }

    /// Takes the oldest line of the log that was not read yet. Hand it to your own way of logging, in your own thread.
    pub fn read_log(&self) -> Result<Option<(Level, String)>> {
        let (mut level, mut line) = (0, [0u8; 640]);
        let some =
            self.inner.ask(|lk| unsafe { sys::latchkey_log_read(lk, &mut level, line.as_mut_ptr().cast(), line.len()) })?;
        let level = match level {
            3 => Level::Error,
            4 => Level::Warning,
            5 => Level::Notice,
            _ => Level::Info,
        };
        Ok(some.then(|| (level, text(&line))))
    }
}

impl fmt::Debug for Latchkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Latchkey")
    }
}

/// Looks whether [`Latchkey::open`] could use this configuration. It connects nowhere.
pub fn check_config(config: &str) -> Result<()> {
    let (config, mut error) = (c_string(config, "the configuration")?, [0u8; 512]);
    match unsafe { sys::latchkey_check_config(config.as_ptr(), error.as_mut_ptr().cast(), error.len()) } {
        sys::LATCHKEY_OK => Ok(()),
        status => Err(Error::of(status, &text(&error))),
    }
}

/// The user id of a name (a UUID, an address): the same number in every language.
pub fn user_id(name: &str) -> u64 {
    unsafe { sys::latchkey_user_id(name.as_ptr().cast(), name.len()) }
}

/// The library's version.
pub fn version() -> &'static str {
    // SAFETY: the text is static.
    unsafe { CStr::from_ptr(sys::latchkey_version()) }.to_str().unwrap_or("")
}

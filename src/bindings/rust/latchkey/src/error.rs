// SPDX-License-Identifier: MIT
use latchkey_sys as sys;
use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_int;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No answer could be had. Answer 503, and leave the cookie alone: it is never a logout.
    Unavailable,
    /// `revoke`: this process denies the session from now on. Redis has not confirmed it, and is asked again.
    Pending,
    /// `create`: the user has as many sessions as are allowed.
    Limit,
    /// `create`: the user's generation has moved, or the token or the name is taken.
    Refused,
    /// What Redis holds is not a record of this session. No answer, as `Unavailable`.
    Corrupt,
    /// No memory is left. No answer, as `Unavailable`.
    NoMemory,
    /// `open`: the configuration, or the server that it names, cannot be used as it is.
    Config,
    /// A mistake in the program. Redis was not asked.
    Argument,
    /// The handle is closed.
    Closed,
}

/// What a call failed with. Its text holds no token and no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    text: String,
}

impl Error {
    /// What kind of error it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// No answer could be had: send 503.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Corrupt | Kind::NoMemory)
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Error { kind: Kind::Argument, text: format!("BAD_ARGUMENT: {}", text.into()) }
    }

    pub(crate) fn closed() -> Self {
        Error { kind: Kind::Closed, text: "the handle is closed".into() }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn unavailable(text: impl fmt::Display) -> Self {
        Error { kind: Kind::Unavailable, text: format!("UNAVAILABLE: {text}") }
    }

    /// `reason` is why, or "".
    pub(crate) fn of(status: c_int, reason: &str) -> Self {
        // SAFETY: the text is static, for every number.
        let meaning = unsafe { CStr::from_ptr(sys::latchkey_status_text(status)) }.to_string_lossy();
        let text = match meaning.split_once(':') {
            Some((name, _)) if !reason.is_empty() => format!("{name}: {reason}"),
            _ => meaning.into_owned(),
        };
        let kind = match status {
            sys::LATCHKEY_PENDING => Kind::Pending,
            sys::LATCHKEY_LIMIT => Kind::Limit,
            sys::LATCHKEY_REFUSED => Kind::Refused,
            sys::LATCHKEY_CORRUPT => Kind::Corrupt,
            sys::LATCHKEY_NO_MEMORY => Kind::NoMemory,
            sys::LATCHKEY_CONFIG => Kind::Config,
            sys::LATCHKEY_BAD_ARGUMENT => Kind::Argument,
            _ => Kind::Unavailable,
        };
        Error { kind, text }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latchkey: {}", self.text)
    }
}

impl std::error::Error for Error {}

/// The statuses that say that there is no such session.
pub(crate) fn is_no(status: c_int) -> bool {
    matches!(status, sys::LATCHKEY_NOT_FOUND | sys::LATCHKEY_EXPIRED | sys::LATCHKEY_MALFORMED)
}

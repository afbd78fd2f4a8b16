// SPDX-License-Identifier: MIT
//! Is this session valid, and whose is it? Answered from this process's own memory, coherent with Redis.
//!
//! ```no_run
//! use latchkey::{Draft, Latchkey};
//!
//! let lk = Latchkey::open("redis://127.0.0.1:6379")?;
//! let token = lk.create(&Draft { role: "member".into(), ..Draft::of(42) })?;
//! let entry = lk.validate(&token)?; // Some(Entry): yes. None: there is no such session
//! lk.revoke(&token)?;
//! # Ok::<(), latchkey::Error>(())
//! ```
//!
//! A "no" is `None` or `false`. Where no answer can be had it is an [`Error`] whose [`kind`](Error::kind) is [`Kind::Unavailable`]:
//! answer 503, and leave the cookie alone.
//!
//! [`Latchkey`] blocks where Redis has to be asked. With the feature `tokio`, `Latchkey::aio` gives a handle whose methods are async:
//! memory answers at once, and anything else waits on the runtime, without a thread. With `tower` there is a layer for HTTP servers.
#![warn(missing_docs)]

#[cfg(feature = "tokio")]
pub mod aio;
mod entry;
mod error;
mod handle;
mod raw;
#[cfg(feature = "tower")]
pub mod tower;

pub use entry::{Entry, Record, SessionInfo};
pub use error::{Error, Kind};
pub use handle::{check_config, user_id, version, Latchkey, Level, Rotated};
pub use raw::{Access, Draft};

/// What every call gives.
pub type Result<T> = std::result::Result<T, Error>;

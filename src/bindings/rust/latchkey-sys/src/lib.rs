// SPDX-License-Identifier: MIT
//! `latchkey.h` as it is. What each function promises is said there; the crate `latchkey` is the one to use.
//!
//! Structs that begin with `size` may grow at their end: zero them, and set `size`.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_void};

pub const LATCHKEY_OK: c_int = 0;
pub const LATCHKEY_NOT_FOUND: c_int = 1;
pub const LATCHKEY_EXPIRED: c_int = 2;
pub const LATCHKEY_MALFORMED: c_int = 3;
pub const LATCHKEY_LIMIT: c_int = 4;
pub const LATCHKEY_REFUSED: c_int = 5;
pub const LATCHKEY_BAD_ARGUMENT: c_int = -1;
pub const LATCHKEY_NO_MEMORY: c_int = -2;
pub const LATCHKEY_UNAVAILABLE: c_int = -3;
pub const LATCHKEY_CORRUPT: c_int = -4;
pub const LATCHKEY_PENDING: c_int = -5;
pub const LATCHKEY_CONFIG: c_int = -6;
pub const LATCHKEY_FORKED: c_int = -7;
pub const LATCHKEY_AGAIN: c_int = -8;

pub const LATCHKEY_TOKEN_LENGTH: usize = 43;
pub const LATCHKEY_TOKEN_SIZE: usize = 44;
pub const LATCHKEY_SELECTOR_LENGTH: usize = 20;
pub const LATCHKEY_SESSIONS_MAX: usize = 1000;
pub const LATCHKEY_SECTION_SIZE_MAX: usize = 1024 * 1024;
pub const LATCHKEY_FLAGS_YOURS: u32 = 0x0000_ffff;
pub const LATCHKEY_FLAG_STALE: u32 = 0x8000_0000;
pub const LATCHKEY_FLAG_RENEW: u32 = 0x4000_0000;

pub const LATCHKEY_VALIDATE: c_int = 0;
pub const LATCHKEY_CREATE: c_int = 1;
pub const LATCHKEY_REVOKE: c_int = 2;
pub const LATCHKEY_ROTATE: c_int = 3;
pub const LATCHKEY_TOUCH: c_int = 4;
pub const LATCHKEY_GET_FIELDS: c_int = 5;
pub const LATCHKEY_CHANGE_FIELDS: c_int = 6;
pub const LATCHKEY_SET_FIELDS: c_int = 7;
pub const LATCHKEY_LOAD: c_int = 8;
pub const LATCHKEY_SET_ACCESS: c_int = 9;
pub const LATCHKEY_REVOKE_USER: c_int = 10;

macro_rules! opaque {
    ($($name:ident),*) => { $(
        #[repr(C)]
        pub struct $name { _private: [u8; 0] }
    )* };
}
opaque!(latchkey, latchkey_record, latchkey_queue);

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct latchkey_entry {
    pub user_id: u64,
    pub role: [u8; 16],
    pub expires_at_ms: i64,
    pub permissions_hash: [u8; 32],
    pub pq_key_hash: [u8; 32],
    pub created_at_ms: i64,
    pub auth_at_ms: i64,
    pub device: u32,
    pub flags: u32,
}

#[repr(C)]
pub struct latchkey_field {
    pub name: *const c_char,
    pub data: *const c_void,
    pub size: usize,
}

#[repr(C)]
pub struct latchkey_change {
    pub name: *const c_char,
    pub data: *const c_void,
    pub size: usize,
    pub version: u64,
}

#[repr(C)]
pub struct latchkey_draft {
    pub size: usize,
    pub user_id: u64,
    pub role: *const c_char,
    pub permissions_hash: [u8; 32],
    pub device: u32,
    pub flags: u32,
    pub idle_ms: i64,
    pub lifetime_ms: i64,
    pub generation: u64,
    pub fields: *const latchkey_field,
    pub field_count: usize,
    pub user_name: *const c_void,
    pub user_name_size: usize,
}

#[repr(C)]
pub struct latchkey_access {
    pub size: usize,
    pub role: *const c_char,
    pub permissions_hash: *const u8,
    pub flags: u32,
    pub flags_mask: u32,
    pub authenticated: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct latchkey_session_info {
    pub selector: [u8; 24],
    pub created_at_ms: i64,
    pub auth_at_ms: i64,
    pub active_at_ms: i64,
    pub idle_expires_at_ms: i64,
    pub expires_at_ms: i64,
    pub device: u32,
    pub flags: u32,
    pub current: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct latchkey_request {
    pub size: usize,
    pub kind: c_int,
    pub fresh: c_int,
    pub tag: u64,
    pub token: *const c_char,
    pub token_len: usize,
    pub max_age_ms: i64,
    pub grace_ms: i64,
    pub draft: *const latchkey_draft,
    pub names: *const *const c_char,
    pub fields: *const latchkey_field,
    pub changes: *const latchkey_change,
    pub count: usize,
    pub access: *const latchkey_access,
    pub user_id: u64,
}

#[repr(C)]
pub struct latchkey_result {
    pub tag: u64,
    pub kind: c_int,
    pub status: c_int,
    pub entry: latchkey_entry,
    pub token: [u8; LATCHKEY_TOKEN_SIZE],
    pub reserved: u32,
    pub count: u64,
    pub record: *mut latchkey_record,
}

extern "C" {
    pub fn latchkey_version() -> *const c_char;
    pub fn latchkey_status_text(status: c_int) -> *const c_char;
    pub fn latchkey_entry_size() -> usize;
    pub fn latchkey_draft_size() -> usize;
    pub fn latchkey_field_size() -> usize;
    pub fn latchkey_change_size() -> usize;
    pub fn latchkey_access_size() -> usize;
    pub fn latchkey_session_info_size() -> usize;
    pub fn latchkey_request_size() -> usize;
    pub fn latchkey_result_size() -> usize;
    pub fn latchkey_token_size() -> usize;
    pub fn latchkey_user_id(name: *const c_void, size: usize) -> u64;

    pub fn latchkey_open(config: *const c_char, out: *mut *mut latchkey, error: *mut c_char, error_size: usize) -> c_int;
    pub fn latchkey_close(lk: *mut latchkey);
    pub fn latchkey_check_config(config: *const c_char, error: *mut c_char, size: usize) -> c_int;
    pub fn latchkey_error_text(lk: *mut latchkey, buffer: *mut c_char, size: usize) -> c_int;
    pub fn latchkey_log_read(lk: *mut latchkey, level: *mut c_int, text: *mut c_char, size: usize) -> c_int;

    pub fn latchkey_create(lk: *mut latchkey, draft: *const latchkey_draft, token: *mut c_char) -> c_int;
    pub fn latchkey_create_with(lk: *mut latchkey, draft: *const latchkey_draft, token: *const c_char, token_len: usize)
        -> c_int;
    pub fn latchkey_token_new(lk: *mut latchkey, user_id: u64, token: *mut c_char) -> c_int;
    pub fn latchkey_validate(lk: *mut latchkey, token: *const c_char, token_len: usize, entry: *mut latchkey_entry) -> c_int;
    pub fn latchkey_validate_fresh(
        lk: *mut latchkey,
        token: *const c_char,
        token_len: usize,
        max_age_ms: i64,
        entry: *mut latchkey_entry,
    ) -> c_int;
    pub fn latchkey_try_validate(lk: *mut latchkey, token: *const c_char, token_len: usize, entry: *mut latchkey_entry) -> c_int;
    pub fn latchkey_touch(lk: *mut latchkey, token: *const c_char, token_len: usize) -> c_int;
    pub fn latchkey_revoke(lk: *mut latchkey, token: *const c_char, token_len: usize) -> c_int;
    pub fn latchkey_rotate(
        lk: *mut latchkey,
        token: *const c_char,
        token_len: usize,
        grace_ms: i64,
        new_token: *mut c_char,
    ) -> c_int;

    pub fn latchkey_user_generation(lk: *mut latchkey, user_id: u64, generation: *mut u64) -> c_int;
    pub fn latchkey_revoke_user(
        lk: *mut latchkey,
        user_id: u64,
        keep_token: *const c_char,
        keep_len: usize,
        revoked: *mut usize,
    ) -> c_int;
    pub fn latchkey_revoke_selector(lk: *mut latchkey, user_id: u64, selector: *const c_char) -> c_int;
    pub fn latchkey_revoke_everyone(lk: *mut latchkey) -> c_int;
    pub fn latchkey_sessions(
        lk: *mut latchkey,
        user_id: u64,
        current_token: *const c_char,
        current_len: usize,
        sessions: *mut latchkey_session_info,
        max: usize,
        total: *mut usize,
    ) -> c_int;

    pub fn latchkey_queue_open(lk: *mut latchkey) -> *mut latchkey_queue;
    pub fn latchkey_queue_own(lk: *mut latchkey) -> *mut latchkey_queue;
    pub fn latchkey_queue_fd(q: *mut latchkey_queue) -> c_int;
    pub fn latchkey_queue_submit(q: *mut latchkey_queue, request: *const latchkey_request) -> c_int;
    pub fn latchkey_queue_reap(q: *mut latchkey_queue, results: *mut latchkey_result, result_size: usize, max: usize) -> usize;
    pub fn latchkey_queue_close(q: *mut latchkey_queue);

    pub fn latchkey_load(lk: *mut latchkey, token: *const c_char, token_len: usize, out: *mut *mut latchkey_record) -> c_int;
    pub fn latchkey_get_fields(
        lk: *mut latchkey,
        token: *const c_char,
        token_len: usize,
        names: *const *const c_char,
        count: usize,
        out: *mut *mut latchkey_record,
    ) -> c_int;
    pub fn latchkey_set_fields(
        lk: *mut latchkey,
        token: *const c_char,
        token_len: usize,
        fields: *const latchkey_field,
        field_count: usize,
    ) -> c_int;
    pub fn latchkey_change_fields(
        lk: *mut latchkey,
        token: *const c_char,
        token_len: usize,
        changes: *const latchkey_change,
        count: usize,
    ) -> c_int;
    pub fn latchkey_record_entry(record: *const latchkey_record) -> *const latchkey_entry;
    pub fn latchkey_record_field(record: *const latchkey_record, name: *const c_char, size: *mut usize) -> *const c_void;
    pub fn latchkey_record_field_name(record: *const latchkey_record, index: usize) -> *const c_char;
    pub fn latchkey_record_version(record: *const latchkey_record, name: *const c_char) -> u64;
    pub fn latchkey_record_free(record: *mut latchkey_record);

    pub fn latchkey_set_access(
        lk: *mut latchkey,
        token: *const c_char,
        token_len: usize,
        access: *const latchkey_access,
    ) -> c_int;
    pub fn latchkey_set_user_access(
        lk: *mut latchkey,
        user_id: u64,
        access: *const latchkey_access,
        changed: *mut usize,
    ) -> c_int;
    pub fn latchkey_prewarm(lk: *mut latchkey, count: usize, loaded: *mut usize) -> c_int;
    pub fn latchkey_metrics(lk: *mut latchkey, text: *mut c_char, text_size: usize, needed: *mut usize) -> c_int;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    #[test]
    fn layouts_are_those_of_the_library() {
        unsafe {
            assert_eq!(latchkey_entry_size(), size_of::<latchkey_entry>());
            assert_eq!(latchkey_draft_size(), size_of::<latchkey_draft>());
            assert_eq!(latchkey_field_size(), size_of::<latchkey_field>());
            assert_eq!(latchkey_change_size(), size_of::<latchkey_change>());
            assert_eq!(latchkey_access_size(), size_of::<latchkey_access>());
            assert_eq!(latchkey_session_info_size(), size_of::<latchkey_session_info>());
            assert_eq!(latchkey_request_size(), size_of::<latchkey_request>());
            assert_eq!(latchkey_result_size(), size_of::<latchkey_result>());
            assert_eq!(latchkey_token_size(), LATCHKEY_TOKEN_SIZE);
        }
    }
}

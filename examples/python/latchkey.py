# SPDX-License-Identifier: MIT
"""latchkey from Python: sessions validated from this process's memory, through ctypes and nothing else.

    with Latchkey("redis://127.0.0.1:6379") as lk:
        token = lk.create(42, role="member")
        entry = lk.validate(token)          # an Entry, or None: there is no such session
        lk.revoke(token)

An answer that says "no" is None or False. Where no answer could be had (Redis is away) NoAnswer is raised, so that it
can never be taken for either. A value that the library does not accept raises ValueError.

The library is found through LATCHKEY_LIBRARY, a path, or where the system looks for libraries. Every method may be
called from any thread; the interpreter's lock is let go of during the call. See latchkey.h for what each one promises.
"""
import ctypes
import ctypes.util
import os
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

OK, NOT_FOUND, EXPIRED, MALFORMED = 0, 1, 2, 3
BAD_ARGUMENT, NO_MEMORY = -1, -2
_TOKEN_SIZE = 44


class NoAnswer(Exception):
    """Neither yes nor no. `status` is the number; a request that needs a session is to be refused, and may be retried."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Entry(ctypes.Structure):
    """latchkey_entry: whose session it is. Times are Unix times in milliseconds."""

    _fields_ = [
        ("user_id", c_uint64),
        ("_role", c_char * 16),
        ("expires_at_ms", c_int64),
        ("_permissions_hash", c_uint8 * 32),
        ("_pq_key_hash", c_uint8 * 32),
        ("created_at_ms", c_int64),
        ("auth_at_ms", c_int64),
        ("device", c_uint32),
        ("flags", c_uint32),
    ]
    role = property(lambda self: self._role.decode("utf-8", "replace"))
    permissions_hash = property(lambda self: bytes(self._permissions_hash))
    pq_key_hash = property(lambda self: bytes(self._pq_key_hash))

    def __repr__(self):
        return f"Entry(user_id={self.user_id}, role={self.role!r}, expires_at_ms={self.expires_at_ms})"


class _Field(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("data", c_void_p), ("size", c_size_t)]


class _Draft(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("user_id", c_uint64),
        ("role", c_char_p),
        ("permissions_hash", c_uint8 * 32),
        ("device", c_uint32),
        ("flags", c_uint32),
        ("idle_ms", c_int64),
        ("lifetime_ms", c_int64),
        ("generation", c_uint64),
        ("fields", POINTER(_Field)),
        ("field_count", c_size_t),
    ]


class _Stats(ctypes.Structure):
    _fields_ = (
        [(name, c_uint64) for name in (
            "validates l1_hits l1_misses malformed l2_reads l2_writes l2_errors joined fills fills_refused evictions purges"
            " empties missed reconnects touches touches_dropped beats lapses corrupt pending l1_entries l1_capacity l1_bytes"
            " connected").split()]
        + [("lease_age_ms", c_int64), ("hit_rate", c_double), ("l2_read_amplification", c_double),
           ("revocations_heard", c_uint64), ("revocation_p50_ms", c_double), ("revocation_p99_ms", c_double),
           ("session_size_p50_bytes", c_uint64), ("session_size_p99_bytes", c_uint64),
           ("l2_read_p50_ms", c_double), ("l2_read_p99_ms", c_double), ("last_error", c_char * 160)])


def _load():
    path = os.environ.get("LATCHKEY_LIBRARY") or ctypes.util.find_library("latchkey")
    if not path:
        raise ImportError("liblatchkey was not found: install it, or name the file in LATCHKEY_LIBRARY")
    lib = ctypes.CDLL(path)
    token = [c_void_p, c_char_p, c_size_t]
    for name, result, arguments in (
        ("version", c_char_p, []),
        ("token_size", c_size_t, []),
        ("entry_size", c_size_t, []),
        ("stats_size", c_size_t, []),
        ("draft_size", c_size_t, []),
        ("status_text", c_char_p, [c_int]),
        ("open", c_int, [c_char_p, POINTER(c_void_p), c_char_p, c_size_t]),
        ("close", None, [c_void_p]),
        ("create", c_int, [c_void_p, POINTER(_Draft), c_char_p]),
        ("validate", c_int, token + [POINTER(Entry)]),
        ("touch", c_int, token),
        ("revoke", c_int, token),
        ("stats_read", c_int, [c_void_p, POINTER(_Stats), c_size_t]),
        ("metrics", c_int, [c_void_p, c_char_p, c_size_t, POINTER(c_size_t)]),
    ):
        function = getattr(lib, "latchkey_" + name)
        function.restype, function.argtypes = result, arguments
    # ctypes checks nothing: a library whose layouts are not those above would have its bytes taken for something else.
    # The statistics and the draft may be longer there, for both are passed with their size; the entry is frozen.
    if (lib.latchkey_entry_size() != ctypes.sizeof(Entry) or lib.latchkey_token_size() != _TOKEN_SIZE
            or lib.latchkey_stats_size() < ctypes.sizeof(_Stats) or lib.latchkey_draft_size() < ctypes.sizeof(_Draft)):
        raise ImportError(f"{path} is latchkey {lib.latchkey_version().decode()}, whose structures are not the ones here")
    return lib


_lib = _load()


def _text(token):
    """Whatever a client sent, as bytes. What cannot be ASCII becomes '?', which no token holds."""
    return token.encode("ascii", "replace") if isinstance(token, str) else bytes(token)


def _number(name, value, bits):
    """ctypes would cut a number that is too large and go on."""
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name} is not a number of {bits} bits: {value}")
    return value


def _check(status):
    """True for yes, False for no; the rest is raised."""
    if status >= 0:
        return status == OK
    text = _lib.latchkey_status_text(status).decode()
    raise ValueError(text) if status == BAD_ARGUMENT else NoAnswer(status, text)


class Latchkey:
    def __init__(self, config):
        self._handle = None
        handle, error = c_void_p(), ctypes.create_string_buffer(256)
        status = _lib.latchkey_open(config.encode(), byref(handle), error, len(error))
        if status != OK:
            raise NoAnswer(status, error.value.decode("utf-8", "replace"))
        self._handle = handle

    def close(self):
        """The last call: no other may be running on any thread."""
        handle, self._handle = self._handle, None
        if handle:
            _lib.latchkey_close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    __del__ = close

    def create(self, user_id, role="", permissions_hash=bytes(32), fields=None, device=0, flags=0, idle_ms=0,
               lifetime_ms=0, generation=0):
        """The new session's token; None where the user may have no further session. `fields` maps names to bytes."""
        if len(permissions_hash) != 32 or "\0" in role:
            raise ValueError("permissions_hash has 32 bytes, and role no NUL")
        fields = fields or {}
        # The array keeps the bytes alive for as long as it lives, and that is until the call is over.
        array = (_Field * len(fields))(*(
            _Field(name.encode(), ctypes.cast(c_char_p(bytes(data)), c_void_p), len(data)) for name, data in fields.items()))
        draft = _Draft(
            size=ctypes.sizeof(_Draft), user_id=_number("user_id", user_id, 64), role=role.encode(),
            permissions_hash=(c_uint8 * 32)(*permissions_hash), device=_number("device", device, 32),
            flags=_number("flags", flags, 32), idle_ms=_number("idle_ms", idle_ms, 63),
            lifetime_ms=_number("lifetime_ms", lifetime_ms, 63), generation=_number("generation", generation, 64),
            fields=array, field_count=len(array))
        token = ctypes.create_string_buffer(_TOKEN_SIZE)
        return token.value.decode() if _check(_lib.latchkey_create(self._handle, byref(draft), token)) else None

    def validate(self, token):
        """Whose session this is: an Entry. None: not a session that is valid now."""
        text, entry = _text(token), Entry()
        return entry if _check(_lib.latchkey_validate(self._handle, text, len(text), byref(entry))) else None

    def touch(self, token):
        """The session was used in a way that validate does not see. False where there is none."""
        text = _text(token)
        return _check(_lib.latchkey_touch(self._handle, text, len(text)))

    def revoke(self, token):
        """Ends the session, here and everywhere. False where there was nothing to end."""
        text = _text(token)
        return _check(_lib.latchkey_revoke(self._handle, text, len(text)))

    def stats(self):
        """Counters and gauges by name, as latchkey.h lists them."""
        stats = _Stats()
        _check(_lib.latchkey_stats_read(self._handle, byref(stats), ctypes.sizeof(stats)))
        values = {name: getattr(stats, name) for name, _ in _Stats._fields_}
        values["last_error"] = values["last_error"].decode("utf-8", "replace")
        return values

    def metrics(self):
        """The same as Prometheus text."""
        needed = c_size_t()
        status = _lib.latchkey_metrics(self._handle, None, 0, byref(needed))
        while status == NO_MEMORY:  # twice at most times: the text may have grown by a digit in between
            text = ctypes.create_string_buffer(needed.value)
            status = _lib.latchkey_metrics(self._handle, text, len(text), byref(needed))
        _check(status)
        return text.value.decode()

# SPDX-License-Identifier: MIT
"""What the web frameworks share: cookies, and a session's data in one field that is saved by compare-and-set."""
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import Entry, Latchkey, Record

ANONYMOUS = "anonymous"  # the role of a visitor who has not logged in; the user id is random
GRACE_MS = 300000        # for how long a token that was renewed goes on: longer than a client may be without an answer
_COOKIES_MAX = 8         # of one name, in one request: each costs a question
_ABSENT = object()


def anonymous() -> dict[str, Any]:
    """The draft of the session of a visitor who has not logged in."""
    return {"user": secrets.randbits(64), "role": ANONYMOUS}


def cookies(header: str | None, name: str) -> Sequence[str]:
    """All values of a cookie in a Cookie header, in their order. A client may send several of one name: an old one with another
    path, one that another host of the domain has set. Of more than _COOKIES_MAX none counts."""
    if not header:
        return ()
    if ";" not in header:
        key, _, value = header.partition("=")
        return (value.strip().strip('"'),) if key.strip() == name and value else ()
    found = []
    for part in header.split(";"):
        key, _, value = part.partition("=")
        if key.strip() == name and value:
            found.append(value.strip().strip('"'))
    return found if len(found) <= _COOKIES_MAX else ()


def check_name(name: str, *, secure: bool = True, path: str = "/", domain: str | None = None, **_: Any) -> None:
    """Raises ValueError for a cookie that no browser takes."""
    lower = name.lower()
    if lower.startswith("__host-") and (not secure or path != "/" or domain):
        raise ValueError(f'the cookie is named "{name}": browsers take it only with Secure, with Path=/ and without Domain')
    if lower.startswith("__secure-") and not secure:
        raise ValueError(f'the cookie is named "{name}": browsers take it only with Secure')


def cookie(name: str, token: str, *, secure: bool = True, samesite: str = "Lax", path: str = "/", domain: str | None = None,
           max_age: int | None = None) -> str:
    """A Set-Cookie header. HttpOnly always: no script has any use for a token."""
    parts = [f"{name}={token}", f"Path={path}", "HttpOnly", f"SameSite={samesite}"]
    if secure:
        parts.append("Secure")
    if domain:
        parts.append(f"Domain={domain}")
    if max_age is not None:
        parts.append(f"Max-Age={max_age}")
    return "; ".join(parts)


def first_valid(tokens: Iterable[str], validate: Callable[[str], "Entry | None"]) -> "tuple[str, Entry] | tuple[None, None]":
    """Of several cookies, the first that is a session: (token, entry). Else (None, None)."""
    for token in tokens:
        entry = validate(token)
        if entry is not None:
            return token, entry
    return None, None


def end_all(tokens: "Iterable[str | None]", revoke: Callable[[str], Any]) -> None:
    """A logout: of all the sessions that a browser sent none goes on. It tries each, and raises what the last failure was."""
    failed: Exception | None = None
    for token in dict.fromkeys(tokens):
        try:
            if token:
                revoke(token)
        except Exception as error:  # pylint: disable=broad-except # no answer for one says nothing about the others
            failed = error
    if failed is not None:
        raise failed


class Ended(Exception):
    """The session was ended while its data was being changed. It is not made again."""


class Data:
    """The data of one session: a dict in one field. It is read when it is first needed, in one round trip. When it is saved, what
    others have written meanwhile is kept, and only the keys that were changed here are changed there."""

    def __init__(self, lk: "Latchkey", field: str, loads: Callable[[bytes], dict[str, Any]],
                 dumps: Callable[[dict[str, Any]], bytes]) -> None:
        self._lk, self._field, self._loads, self._dumps = lk, field, loads, dumps
        self._record: "Record | None" = None
        self._raw: bytes | None = None

    def load(self, token: str | None) -> "tuple[Entry, dict[str, Any]] | tuple[None, None]":
        """(entry, dict); (None, None) where there is no session."""
        self._record = self._lk.fields(token, self._field)
        if self._record is None:
            return None, None
        self._raw = self._record.get(self._field)
        return self._record.entry, self._decode(self._raw)

    def entry(self, token: str | None) -> "Entry":
        """The entry that the data was read with; read now where it was not."""
        return self._read(token).entry

    def _read(self, token: str | None) -> "Record":
        if self._record is None:
            self._record = self._lk.fields(token, self._field)
            if self._record is None:
                raise Ended
        return self._record

    def fields(self, wanted: dict[str, Any]) -> dict[str, bytes]:
        """For the draft of a new session."""
        self._record, self._raw = None, self._encode(wanted)
        return {} if self._raw is None else {self._field: self._raw}

    def save(self, token: str | None, wanted: dict[str, Any]) -> dict[str, Any]:
        """Writes what was changed. Gives the data as it is now. Raises Ended where the session has ended."""
        base = self._decode(self._raw)
        while True:
            record = self._read(token)
            raw = record.get(self._field)
            if raw != self._raw:
                wanted = self._merged(base, wanted, self._decode(raw))
            new = self._encode(wanted)
            if new == raw:
                self._raw = raw
                return wanted
            done = self._lk.change_fields(token, record, {self._field: new})
            self._record = None  # the field has another version now, here or by another writer
            if done is None:
                raise Ended
            if done:
                self._raw = new
                return wanted

    @staticmethod
    def _merged(base: dict[str, Any], wanted: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
        merged = dict(theirs)
        for key in base.keys() | wanted.keys():
            value = wanted.get(key, _ABSENT)
            if value is _ABSENT:
                merged.pop(key, None)
            elif value != base.get(key, _ABSENT):
                merged[key] = value
        return merged

    def _decode(self, raw: bytes | None) -> dict[str, Any]:
        return self._loads(raw) if raw else {}

    def _encode(self, data: dict[str, Any]) -> bytes | None:
        return self._dumps(data) if data else None

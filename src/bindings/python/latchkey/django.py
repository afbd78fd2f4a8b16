# SPDX-License-Identifier: MIT
"""Sessions of Django in latchkey.

    SESSION_ENGINE = "latchkey.django"
    LATCHKEY = "redis://127.0.0.1:6379"       # the URL, or a dict: {"url": "redis://...", "staleness_ms": 500}
    MIDDLEWARE = [..., "latchkey.django.SessionMiddleware", ...]    # in place of Django's

The session key is the token. Django's three login keys (user, backend, hash of the password) are in the entry, so `request.user` is
answered from memory. All other data is one field, read when it is used. A session that was logged out is never saved
again. `latchkey.django.handle()` is the handle.
"""
import contextlib
import copy
import hashlib
import logging
import sys
import threading
from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions import middleware
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.serializers import JSONSerializer
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse

import latchkey

from . import _web

_FIELD = "django"
_EXPIRY = "_session_expiry"
_TEN_YEARS_MS = 315360000000  # the longest that a session may have
_LOGIN_KEYS = frozenset((SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY))
_LOGGED_IN = 0x8000  # of the entry's flags: its user, permissions_hash and the other 15 bits are Django's login
_log = logging.getLogger("latchkey")
_lock = threading.Lock()
_opened: latchkey.Latchkey | None = None


def handle() -> latchkey.Latchkey:
    """The handle of this process. It is opened by the first request that needs it."""
    global _opened
    if _opened is None:
        with _lock:
            if _opened is None:
                config = settings.LATCHKEY
                options: dict[str, Any] = {"url": config} if isinstance(config, str) else dict(config)
                _opened = latchkey.open(options.pop("url"), **options)
    return _opened


def _number(backend: str) -> int:
    """15 bits that stand for a backend's path, whatever the order of AUTHENTICATION_BACKENDS is."""
    return int.from_bytes(hashlib.blake2b(backend.encode(), digest_size=2).digest(), "little") & 0x7fff


def _backend(number: int) -> str | None:
    found = [path for path in settings.AUTHENTICATION_BACKENDS if _number(path) == number]
    if len(found) > 1:
        raise ImproperlyConfigured(f"latchkey cannot tell these backends apart; rename one: {found}")
    return found[0] if found else None


def _login_of(entry: latchkey.Entry) -> dict[str, Any]:
    """The login that an entry holds, as Django's three keys; {} where it holds none."""
    backend = _backend(entry.flags & 0x7fff) if entry.flags & _LOGGED_IN else None
    if backend is None:
        return {}
    return {SESSION_KEY: str(entry.user_id), BACKEND_SESSION_KEY: backend, HASH_SESSION_KEY: entry.permissions_hash.hex()}


def _draft(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(draft, rest): what an entry can hold of the data, and what it cannot. A login whose user is no number of 64 bits, or whose
    hash is not SHA-256, stays in the data; the session is then the one of a user who has a name."""
    user: Any = data.get(SESSION_KEY)
    hash_: Any = data.get(HASH_SESSION_KEY)
    if user is None:
        return _web.anonymous(), data
    try:
        fits = str(int(user)) == user and 0 <= int(user) < 2 ** 64 and len(hash_) == 64 and bytes.fromhex(hash_).hex() == hash_
    except (TypeError, ValueError):
        fits = False
    if not fits:
        return {"user": str(user)}, data
    draft = {"user": int(user), "flags": _LOGGED_IN | _number(data[BACKEND_SESSION_KEY]), "permissions_hash": bytes.fromhex(hash_)}
    return draft, {key: value for key, value in data.items() if key not in _LOGIN_KEYS}


def _same_login(entry: latchkey.Entry, draft: dict[str, Any]) -> bool:
    """Is this the entry of that draft, but for the hash of the password?"""
    if entry.role == _web.ANONYMOUS or draft.get("role") == _web.ANONYMOUS:
        return entry.role == draft.get("role")
    user = draft["user"]
    return entry.user_id == (user if isinstance(user, int) else latchkey.user_id(user)) and entry.flags == draft.get("flags", 0)


class SessionStore(SessionBase):
    """A session. Nothing is asked of latchkey before it is used."""

    _entry: latchkey.Entry | None  # not there: not asked for yet
    _session_cache: dict[str, Any]
    _session_key: str | None
    others: Sequence[str] = ()  # what else the browser sent under the cookie's name
    made = False                # the key was made in this request
    gone = False                # the session ended elsewhere in this request: what is changed from then on is not kept
    unanswered = False          # another middleware failed for want of an answer
    _user_in_data: Any = None   # an imported session has its login there

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._data: _web.Data | None = None
        self._cycled = False

    # ------------------------------------------------------------------------------------- what memory knows --
    def entry(self) -> latchkey.Entry | None:
        """The session's entry, or None. It is asked for once in a request."""
        try:
            return self._entry
        except AttributeError:
            self._entry = handle().validate(self.session_key) if self.session_key else None
            return self._entry

    def _from_entry(self, key: str) -> dict[str, Any] | None:
        """The login, where the data was not read yet and the entry answers for this key. Else None."""
        if key not in _LOGIN_KEYS or hasattr(self, "_session_cache"):
            return None
        entry = self.entry()
        if entry is None:
            return None
        login = _login_of(entry)
        if not login and entry.role != _web.ANONYMOUS:
            return None  # it is in the data
        self.accessed = True
        return login

    def __getitem__(self, key: str) -> Any:
        login = self._from_entry(key)
        return super().__getitem__(key) if login is None else login[key]

    def __contains__(self, key: str) -> bool:
        login = self._from_entry(key)
        return super().__contains__(key) if login is None else key in login

    has_key = __contains__

    def get(self, key: str, default: Any = None) -> Any:
        login = self._from_entry(key)
        return super().get(key, default) if login is None else login.get(key, default)

    # ------------------------------------------------------------------------------------------ what Redis has --
    def _new_data(self) -> _web.Data:
        serializer = self.serializer()

        def loads(raw: bytes) -> Any:
            try:
                return serializer.loads(raw)
            except Exception as error:  # pylint: disable=broad-except
                with contextlib.suppress(ValueError):
                    return JSONSerializer().loads(raw)  # an imported session is JSON, whatever SESSION_SERIALIZER is
                # As Django's SessionBase.decode does it. An error would come back with each request, also with a login.
                _log.warning("the data of a session cannot be read by SESSION_SERIALIZER (%s): it is taken for empty",
                             type(error).__name__)
                return {}

        return _web.Data(handle(), _FIELD, loads, serializer.dumps)

    def load(self) -> dict[str, Any]:
        self._data = self._new_data()
        entry, data = self._data.load(self.session_key)
        if entry is None or data is None:
            self.gone = getattr(self, "_entry", None) is not None
            if not self.gone:
                self._session_key = None
            self._data = None
            return {}
        self._expiry = data.get(_EXPIRY)
        self._user_in_data = data.get(SESSION_KEY)
        data.update(_login_of(entry))
        return data

    def exists(self, session_key: str) -> bool:
        return handle().validate(session_key) is not None

    def create(self) -> None:
        self._session_cache = {}
        self._make({})
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        data = self._get_session(no_load=must_create)
        if must_create or self.session_key is None:
            return self._make(data)
        if self._data is None:  # it was cleared, or made in this request
            self._data = self._new_data()
        try:
            self._update(data, self._data)
        except _web.Ended:
            raise UpdateError from None

    def delete(self, session_key: str | None = None) -> None:
        session_key = session_key or self.session_key
        if session_key:
            handle().revoke(session_key)

    def flush(self) -> None:
        if self.others:
            _web.end_all((self.session_key, *self.others), handle().revoke)
        super().flush()

    def cycle_key(self) -> None:
        with contextlib.suppress(latchkey.Unavailable):  # pending: they are denied here already
            _web.end_all(self.others, handle().revoke)
        data = self._session
        if self.gone:
            self._session_key = None
        old = self.session_key
        if old is None:
            return  # there will be a key when it is saved
        self.modified = True
        if SESSION_KEY not in data:
            self._cycled = True  # a login may follow, which makes another session anyhow: that is seen when it is saved
            return
        new = handle().rotate(old)
        if new is None:
            raise SessionInterrupted("The session was ended before it could get a new key.")
        if new is False:  # it was exchanged before, and goes on in its grace
            self._cycled = True
            return
        self._use(new)

    # Of Django 5.1 and newer, which end no other sessions by themselves.
    async def aflush(self) -> None:
        await sync_to_async(self.flush)()

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Redis does that."""

    # ------------------------------------------------------------------------------------------------- how --
    def _use(self, token: str) -> None:
        self._session_key, self.made = token, True
        self._cycled = False
        self.__dict__.pop("_entry", None)

    def _make(self, data: dict[str, Any]) -> None:
        draft, rest = _draft(data)
        self._data = self._data or self._new_data()
        milliseconds = min(max(int(self.get_expiry_age() * 1000), 1000), _TEN_YEARS_MS)
        try:
            self._use(handle().create(draft.pop("user"), fields=self._data.fields(rest), idle_ms=milliseconds,
                                      lifetime_ms=milliseconds, **draft))
        except (latchkey.LimitReached, latchkey.Refused) as error:
            raise CreateError from error
        self._expiry = data.get(_EXPIRY)

    def _update(self, data: dict[str, Any], kept: _web.Data) -> None:
        draft, rest = _draft(data)
        entry = kept.entry(self.session_key)
        imported = ("flags" in draft and not entry.flags & _LOGGED_IN and entry.user_id == draft["user"]
                    and self._user_in_data == data[SESSION_KEY])
        same = imported or _same_login(entry, draft)
        if not same or self._cycled or data.get(_EXPIRY) != getattr(self, "_expiry", data.get(_EXPIRY)):
            # Another user, another key or another expiry is another session. The one before ends.
            old = self.session_key
            self._make(data)
            try:
                ended = handle().revoke(old)
            except latchkey.Unavailable:
                if not same:
                    return  # a login: the one before is denied here already
                self._drop(old)
                raise
            if not ended and same:
                self._drop(old)
                raise _web.Ended
            return
        if imported:  # the same session goes on, for requests beside this one have its token: the login moves into the entry
            if not handle().set_access(self.session_key, permissions_hash=draft["permissions_hash"], flags=draft["flags"],
                                       flags_mask=0xffff):
                raise _web.Ended
            self.__dict__.pop("_entry", None)
        elif entry.permissions_hash != draft.get("permissions_hash", entry.permissions_hash):
            if not handle().set_access(self.session_key, permissions_hash=draft["permissions_hash"], authenticated=True):
                raise _web.Ended
            self.__dict__.pop("_entry", None)
        saved = kept.save(self.session_key, rest)
        if saved is not rest:
            self._session_cache = {**saved, **{key: data[key] for key in _LOGIN_KEYS if key in data}}


    def _drop(self, old: str | None) -> None:
        """Ends the session that was just made: the one before has ended elsewhere, or may have, and must not rise again."""
        new, self._session_key, self.made = self._session_key, old, False
        with contextlib.suppress(latchkey.Unavailable):
            handle().revoke(new)


class Unanswered(HttpResponse):
    """There was no answer: 503, and the cookie stays as it is, unless its key was exchanged in this request."""

    def __init__(self) -> None:
        super().__init__("The service cannot check sessions now.\n", status=503, content_type="text/plain",
                         headers={"Retry-After": "1", "Cache-Control": "no-store"})


def _failed(request: HttpRequest | None = None, **_: Any) -> None:
    """Django makes a 500 of what another middleware raises, and asks no process_exception."""
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore) and isinstance(sys.exc_info()[1], latchkey.Unavailable):
        session.unanswered = True


got_request_exception.connect(_failed)


class SessionMiddleware(middleware.SessionMiddleware):
    """Django's, and: no answer of Redis is 503 with the cookie left alone; a token that has grown old is renewed; of several cookies
    of one name the first that is a session counts."""

    def __init__(self, get_response: Any) -> None:
        try:
            _web.check_name(settings.SESSION_COOKIE_NAME, secure=settings.SESSION_COOKIE_SECURE, path=settings.SESSION_COOKIE_PATH,
                            domain=settings.SESSION_COOKIE_DOMAIN)
        except ValueError as error:
            raise ImproperlyConfigured(str(error)) from None
        super().__init__(get_response)

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        tokens = _web.cookies(request.META.get("HTTP_COOKIE"), settings.SESSION_COOKIE_NAME)
        if len(tokens) > 1:
            try:
                token, _ = _web.first_valid(tokens, handle().validate)
            except latchkey.Unavailable:
                return Unanswered()
            request.session = self.SessionStore(token or tokens[0])
            request.session.others = [each for each in tokens if each != request.session.session_key]
        else:
            request.session = self.SessionStore(tokens[0] if tokens else None)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return Unanswered() if isinstance(exception, latchkey.Unavailable) else None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        session: Any = getattr(request, "session", None)
        if getattr(session, "unanswered", False):
            response = Unanswered()
        if not isinstance(response, Unanswered):
            entry = getattr(session, "_entry", None)
            is_websocket = request.META.get("HTTP_UPGRADE", "").lower() == "websocket"  # what answers that may send no cookie
            if response.status_code < 500 and entry is not None and entry.renew and not session.modified and not is_websocket:
                with contextlib.suppress(latchkey.Unavailable):  # the old token goes on, and the next request tries again
                    new = handle().rotate(session.session_key, grace_ms=_web.GRACE_MS)
                    if new:
                        session._use(new)
            own = copy.copy(response.cookies.get(settings.SESSION_COOKIE_NAME))
            try:
                response = super().process_response(request, response)
            except latchkey.Unavailable:
                response = Unanswered()
            # Django sends the key with every change. It ends no later for that, and a request beside this one may have exchanged it.
            sent = response.cookies.get(settings.SESSION_COOKIE_NAME)
            if sent is not None and sent.value and (own or not session.made):
                del response.cookies[settings.SESSION_COOKIE_NAME]
            if own:
                response.cookies[settings.SESSION_COOKIE_NAME] = own
        # Whatever answers: without it nobody has the key, and the one before is over.
        if getattr(session, "made", False) and session.session_key and settings.SESSION_COOKIE_NAME not in response.cookies:
            self._set_cookie(response, session, session.session_key)
        if settings.SESSION_COOKIE_NAME in response.cookies and response.cookies[settings.SESSION_COOKIE_NAME].value:
            response["Cache-Control"] = "private, no-store"  # a cache would give the key to others; Django's own looks for "private"
        return response

    @staticmethod
    def _set_cookie(response: HttpResponse, session: SessionStore, token: str) -> None:
        max_age = None if settings.SESSION_EXPIRE_AT_BROWSER_CLOSE else settings.SESSION_COOKIE_AGE
        with contextlib.suppress(latchkey.Unavailable):  # set_expiry is in the data; the token has to be sent in any case
            max_age = None if session.get_expire_at_browser_close() else int(session.get_expiry_age())
        response.set_cookie(settings.SESSION_COOKIE_NAME, token, max_age=max_age, domain=settings.SESSION_COOKIE_DOMAIN,
                            path=settings.SESSION_COOKIE_PATH, secure=settings.SESSION_COOKIE_SECURE or None, httponly=True,
                            samesite=settings.SESSION_COOKIE_SAMESITE)

# SPDX-License-Identifier: MIT
"""Sessions of Flask in latchkey.

    app = Flask(__name__)
    auth = latchkey.flask.Sessions(app, "redis://127.0.0.1:6379")

    session.login(42, role="member")     # a new token; ends what the visitor had before
    session.entry                        # an Entry from memory, or None: there is no login
    session["cart"] = [1, 2]             # data is one field, read when it is used
    session.logout()

A session that was logged out is never saved again. No answer of Redis is 503, with the cookie left alone. A login's cookie is sent
with whatever answers its request.
"""
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from flask import Flask, Request, Response
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SessionInterface, SessionMixin

import latchkey

from . import _web

_FIELD = "flask"
_json = TaggedJSONSerializer()


def _loads(raw: bytes) -> dict[str, Any]:
    data: dict[str, Any] = _json.loads(raw.decode())
    return data


def _dumps(data: dict[str, Any]) -> bytes:
    return _json.dumps(data).encode()


class Session(SessionMixin):
    """The session of a request. Nothing is asked of latchkey before it is used."""

    # What most requests leave as it is stands here once.
    modified = accessed = False
    changed = False  # another token than that of the cookie, or none
    renews = True    # not in the handshake of a WebSocket, which is not answered by a Response: the cookie would reach nobody
    _token: str | None = None
    _entry: latchkey.Entry | None = None
    _dict: dict[str, Any] | None = None
    _kept: _web.Data | None = None

    def __init__(self, lk: latchkey.Latchkey, tokens: Sequence[str]) -> None:
        self._lk, self._tokens = lk, tokens

    def _look(self) -> None:
        if not self.accessed:
            self._token, self._entry = _web.first_valid(self._tokens, self._lk.validate)
            self.accessed = True

    @property
    def _data(self) -> _web.Data:
        if self._kept is None:
            self._kept = _web.Data(self._lk, _FIELD, _loads, _dumps)
        return self._kept

    @property
    def entry(self) -> latchkey.Entry | None:
        """Whose session it is. None: there is no login."""
        self._look()
        entry = self._entry
        return None if entry is None or entry.role == _web.ANONYMOUS else entry

    @property
    def token(self) -> str | None:
        """The token, or None where there is no session."""
        self._look()
        return self._token

    @property
    def new(self) -> bool:  # type: ignore[override]  # Flask: an attribute
        return self.token is None

    def login(self, user: int | str | bytes, role: str = "", **draft: Any) -> str:
        """Makes a session of this user, with the data that the visitor had, and ends the one before."""
        data, old = dict(self._loaded()), self._token
        self._token = token = self._lk.create(user, role, fields=self._data.fields(data), **draft)
        self._entry, self.changed, self.modified = None, True, False
        try:
            self._entry = self._lk.validate(token)
        finally:
            with contextlib.suppress(latchkey.Unavailable):  # pending: they are denied here already
                _web.end_all((old, *self._tokens), self._lk.revoke)
        return token

    def logout(self) -> None:
        """Ends the session, and every other that the browser sent. Pending, which is a kind of Unavailable: it ends, but Redis did not confirm it yet."""
        self._look()
        _web.end_all((self._token, *self._tokens), self._lk.revoke)
        self._token, self._entry, self._dict = None, None, {}
        self.changed, self.modified = True, False

    # ------------------------------------------------------------------------------------------------ the data --
    def _loaded(self) -> dict[str, Any]:
        self._look()
        if self._dict is None:
            data = self._data.load(self._token)[1] if self._token else None
            self._dict = {} if data is None else data  # not before there is an answer: the next read would find nothing
        return self._dict

    def __getitem__(self, key: str) -> Any:
        return self._loaded()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._loaded()[key] = value
        self.modified = True

    def __delitem__(self, key: str) -> None:
        del self._loaded()[key]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        return f"<latchkey.flask.Session entry={self._entry!r}>"

    def save(self) -> None:
        """What the interface calls at the end of the request."""
        if self.modified:
            self.modified = False
            if self._token is None:
                if self._dict:
                    self._token = self._lk.create(**_web.anonymous(), fields=self._data.fields(self._dict))
                    self.changed = True
            else:
                try:
                    self._data.save(self._token, self._loaded())
                except _web.Ended:  # the cookie stays: by now the browser may have that of a login beside this request
                    self._token, self._entry = None, None
        if self._entry is not None and self._entry.renew and self.renews and not self.changed:
            with contextlib.suppress(latchkey.Unavailable):  # the old token goes on, and the next request tries again
                new = self._lk.rotate(self._token, grace_ms=_web.GRACE_MS)
                if new:
                    self._token, self.changed = new, True


def unavailable(error: Exception | None = None) -> Response:
    return Response("The service cannot check sessions now.\n", 503, {"Retry-After": "1", "Cache-Control": "no-store"},
                    mimetype="text/plain")


class Sessions(SessionInterface):
    """`app.session_interface`. `lk` is a handle, or the URL to open one with."""

    def __init__(self, app: Flask | None, lk: latchkey.Latchkey | str, **options: Any) -> None:
        self.lk = latchkey.open(lk, **options) if isinstance(lk, str) else lk
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        app.session_interface = self
        app.register_error_handler(latchkey.Unavailable, unavailable)

    def open_session(self, app: Flask, request: Request) -> Session:
        name = self.get_cookie_name(app)
        # Not in init_app: the application may be configured after it.
        _web.check_name(name, secure=self.get_cookie_secure(app), path=self.get_cookie_path(app), domain=self.get_cookie_domain(app))
        session = Session(self.lk, _web.cookies(request.environ.get("HTTP_COOKIE"), name))
        if request.environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            session.renews = False
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if not isinstance(session, Session) or not session.accessed:
            return
        if response.status_code != 503:
            try:
                session.save()
            except latchkey.Unavailable:
                answer = unavailable()
                response.status_code, response.headers = 503, answer.headers
                response.set_data(answer.get_data())
        response.headers.add("Vary", "Cookie")  # beside one that is there already: two lines mean what one list means
        if not session.changed:
            return
        name = self.get_cookie_name(app)
        theirs = response.headers.getlist("Set-Cookie")  # of two cookies of one name the last counts: the application's own
        response.headers.remove("Set-Cookie")
        where: dict[str, Any] = {"domain": self.get_cookie_domain(app), "path": self.get_cookie_path(app),
                 "secure": self.get_cookie_secure(app), "samesite": self.get_cookie_samesite(app) or "Lax", "httponly": True}
        if session._token is None:
            response.delete_cookie(name, **where)
        else:
            response.headers["Cache-Control"] = "no-store"  # a cache would give the token to others
            response.set_cookie(name, session._token, expires=self.get_expiration_time(app, session), **where)
        for line in theirs:
            response.headers.add("Set-Cookie", line)

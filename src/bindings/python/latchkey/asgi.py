# SPDX-License-Identifier: MIT
"""latchkey for ASGI applications (Starlette, FastAPI, Quart, ...).

    app = latchkey.asgi.Middleware(app, lk, cookie="sid")

Each request has `scope["latchkey"]`, an Entry, and `scope["latchkey.token"]`. No session is 401; with `required=False`, both are None. No
answer is 503, with the cookie left alone. `required` may be a function of the scope; where it gives None, the request is not looked
at. A token that has grown old is renewed. A hit is answered at once, a miss without a thread.
"""
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import latchkey

from . import _web

_Scope = MutableMapping[str, Any]  # and a message
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_TEXT = {401: b"There is no such session. Log in.\n", 503: b"The service cannot check sessions now.\n"}


def tokens(scope: _Scope, cookie: str) -> Sequence[str]:
    """What a connection sent under the cookie's name."""
    header = "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie")
    return _web.cookies(header, cookie)


async def find(lk: latchkey.Latchkey, scope: _Scope, cookie: str) -> tuple[str, latchkey.Entry] | tuple[None, None]:
    """(token, entry) of a connection; (None, None) where there is no session."""
    for token in tokens(scope, cookie):
        entry = await lk.aio.validate(token)
        if entry is not None:
            return token, entry
    return None, None


async def renewed(lk: latchkey.Latchkey, scope: _Scope, token: str | None, entry: latchkey.Entry) -> str | None:
    """The new token of one that has grown old; None where there is nothing to do. It goes on for a while, so nothing is lost if it
    cannot be renewed now. A WebSocket's handshake does not renew it: a framework may answer that without the cookie."""
    if not entry.renew or scope["type"] != "http":
        return None
    try:
        return await lk.aio.rotate(token, grace_ms=_web.GRACE_MS) or None
    except latchkey.Unavailable:
        return None


class Middleware:
    def __init__(self, app: _App, lk: latchkey.Latchkey, cookie: str = "sid",
                 required: bool | Callable[[_Scope], bool | None] = True, **attributes: Any) -> None:
        """attributes of a renewed cookie: secure=True, samesite="Lax", path="/", domain, max_age."""
        _web.check_name(cookie, **attributes)
        self.app, self.lk, self.cookie, self.required, self.attributes = app, lk, cookie, required, attributes

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        required = self.required(scope) if callable(self.required) else self.required
        if required is None:
            return await self.app({**scope, "latchkey": None, "latchkey.token": None}, receive, send)
        try:
            token, entry = await find(self.lk, scope, self.cookie)
        except latchkey.Unavailable:
            return await self._refuse(scope, receive, send, 503)
        if entry is None and required:
            return await self._refuse(scope, receive, send, 401)
        scope = {**scope, "latchkey": entry, "latchkey.token": token}
        if entry is not None:
            new = await renewed(self.lk, scope, token, entry)
            if new:
                scope["latchkey.token"] = new
                return await self._with_cookie(scope, receive, send, new)
        await self.app(scope, receive, send)

    async def _with_cookie(self, scope: _Scope, receive: _Receive, send: _Send, token: str) -> None:
        # No cache may keep the answer, whatever the application says of it: it would give the token to others.
        ours = [(b"set-cookie", _web.cookie(self.cookie, token, **self.attributes).encode()), (b"cache-control", b"no-store")]
        started = False

        async def with_cookie(message: _Scope) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                # Of two cookies of one name the last counts: that of a login or a logout of the application.
                theirs = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"cache-control"]
                message = {**message, "headers": [*ours, *theirs]}
            await send(message)
        try:
            await self.app(scope, receive, with_cookie)
        except Exception:
            if not started:  # what is around this, as Starlette's answer of 500, would not send the cookie
                await with_cookie({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/plain")]})
                await send({"type": "http.response.body", "body": b"Internal Server Error"})
            raise

    @staticmethod
    async def _refuse(scope: _Scope, receive: _Receive, send: _Send, status: int) -> None:
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close", "code": 1008 if status == 401 else 1013})
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": _TEXT[status]})

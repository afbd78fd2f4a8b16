# SPDX-License-Identifier: MIT
"""latchkey as a dependency of FastAPI.

    auth = latchkey.fastapi.Auth(lk, cookie="sid")

    @app.get("/me")
    async def me(entry: latchkey.Entry = Depends(auth)): ...

    @app.post("/login")
    async def login(request: Request, response: Response): await auth.login(response, 42, role="member", request=request)

No session is 401, no answer is 503. `Depends(auth.optional)` gives None where there is no session. A token that has grown old is
renewed on the response that FastAPI makes; an application that returns responses of its own uses latchkey.asgi.Middleware. Where
`auth` or `auth.optional` is a dependency of the route, an HTTPException carries the cookie too; elsewhere FastAPI drops it, so call
`login` last.
"""
import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import HTTPException, Response, WebSocketException
from starlette.requests import HTTPConnection

import latchkey

from . import _web
from .asgi import find, renewed, tokens


class Auth:
    def __init__(self, lk: latchkey.Latchkey, cookie: str = "sid", **attributes: Any) -> None:
        """attributes of the cookie: secure=True, samesite="Lax", path="/", domain, max_age."""
        _web.check_name(cookie, **attributes)
        self.lk, self.cookie, self.attributes = lk, cookie, attributes

    async def __call__(self, connection: HTTPConnection, response: Response) -> AsyncIterator[latchkey.Entry]:
        entry = await self._find(connection, response)
        if entry is None:
            if connection.scope["type"] == "websocket":  # of an HTTPException this would be 500
                raise WebSocketException(1008)
            raise HTTPException(401, "There is no such session. Log in.")
        with self._carrying(response):
            yield entry

    async def optional(self, connection: HTTPConnection, response: Response) -> AsyncIterator[latchkey.Entry | None]:
        entry = await self._find(connection, response)
        with self._carrying(response):
            yield entry

    @contextlib.contextmanager
    def _carrying(self, response: Response) -> Iterator[None]:
        """An HTTPException answers in place of the response, and then has its cookie."""
        try:
            yield
        except HTTPException as error:
            lines = [line for line in response.headers.getlist("set-cookie") if line.startswith(self.cookie + "=")]
            if lines:
                error.headers = {"set-cookie": lines[-1], "cache-control": "no-store", **(error.headers or {})}
            raise

    async def _find(self, connection: HTTPConnection, response: Response) -> latchkey.Entry | None:
        try:
            token, entry = await find(self.lk, connection.scope, self.cookie)
        except latchkey.Unavailable:
            if connection.scope["type"] == "websocket":
                raise WebSocketException(1013) from None
            raise self._unavailable() from None
        if entry is not None:
            new = await renewed(self.lk, connection.scope, token, entry)
            if new:
                self._set(response, new)
        return entry

    async def login(self, response: Response, user: int | str | bytes, role: str = "", *,
                    request: HTTPConnection | None = None, **draft: Any) -> str:
        """Makes a session, and puts its token into the cookie of the response. With `request`, every session that the browser sent
        under the cookie's name ends: otherwise one that comes first stays in use."""
        try:
            token = await self.lk.aio.create(user, role, **draft)
        except latchkey.Unavailable:
            raise self._unavailable() from None
        self._set(response, token)
        if request is not None:
            with contextlib.suppress(latchkey.Unavailable):  # pending: they are denied here already
                await self._end_all(request)
        return token

    async def logout(self, connection: HTTPConnection, response: Response) -> None:
        """Ends every session that the browser sent under the cookie's name. 503: they end, but Redis did not confirm it yet; the cookie stays, and the client may try again."""
        try:
            await self._end_all(connection)
        except latchkey.Unavailable:
            raise self._unavailable() from None
        ended: dict[str, Any] = {**self.attributes, "max_age": 0}
        response.headers.append("set-cookie", _web.cookie(self.cookie, "", **ended))

    async def _end_all(self, connection: HTTPConnection) -> None:
        ends = [self.lk.aio.revoke(token) for token in set(tokens(connection.scope, self.cookie))]
        for answer in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _set(self, response: Response, token: str) -> None:
        response.headers.append("set-cookie", _web.cookie(self.cookie, token, **self.attributes))
        response.headers.append("cache-control", "no-store")  # of several lines the strictest holds

    @staticmethod
    def _unavailable() -> HTTPException:
        return HTTPException(503, "The service cannot check sessions now.", {"Retry-After": "1"})

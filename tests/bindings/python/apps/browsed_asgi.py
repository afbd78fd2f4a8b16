# SPDX-License-Identifier: MIT
"""The application that tests/http/browsers.py visits, behind the ASGI middleware."""
import asyncio
import urllib.parse

from starlette.middleware.errors import ServerErrorMiddleware

import latchkey
import latchkey.asgi
from browsed import Fault, Handled, plan
from latchkey import _web
from opened import opened

lk = opened()


async def answer(send, status, headers, pieces=(b"",), wait=0, cut=False):
    await send({"type": "http.response.start", "status": status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(wait)
        if cut:
            raise Fault
    await send({"type": "http.response.body", "body": b""})


async def page(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-app", b"1"), (b"x-user", str(scope["latchkey"].user_id).encode())]})
        return await send({"type": "websocket.close"})
    while (await receive()).get("more_body"):
        pass
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    do = headers.get("x-do", "")
    if "slow" in do:
        await asyncio.sleep(0.05)
    try:
        status, headers, pieces = plan(do, headers.get("x-value"), scope["latchkey"].user_id)
    except Handled:
        return await answer(send, 418, [("X-App", "1"), ("X-User", str(scope["latchkey"].user_id))])
    await answer(send, status, headers, pieces, 0.01 if "stream" in do else 0, "cut" in do)


async def others(scope, receive, send):
    path, user = scope["path"], urllib.parse.parse_qs(scope["query_string"].decode()).get("user")
    headers = [("X-App", "1")]
    try:
        if path == "/login":
            token = await lk.aio.create(int(user[0]), role="member")
            headers += [("Set-Cookie", _web.cookie("sid", token, secure=False)), ("Cache-Control", "no-store")]
        elif path == "/logout":
            for each in latchkey.asgi.tokens(scope, "sid"):
                await lk.aio.revoke(each)
            headers.append(("Set-Cookie", _web.cookie("sid", "", secure=False, max_age=0)))
        elif path == "/end":
            await lk.aio.revoke_user(int(user[0])) if user else await asyncio.to_thread(lk.revoke_everyone)
    except latchkey.Unavailable:
        return await answer(send, 503, [("Cache-Control", "no-store")])
    await answer(send, 200, headers)


middleware = latchkey.asgi.Middleware(page, lk, cookie="sid", secure=False)
around = ServerErrorMiddleware(middleware)


async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        await (around if scope["path"] == "/page" else others)(scope, receive, send)

# SPDX-License-Identifier: MIT
"""The application that test_web.py speaks to, in FastAPI: routes with the dependency, and one behind the ASGI middleware."""
import asyncio

from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse
from starlette.middleware.errors import ServerErrorMiddleware

import latchkey
import latchkey.asgi
import latchkey.fastapi
from opened import opened

lk = opened()
auth = latchkey.fastapi.Auth(lk, cookie="session", secure=False)
api = FastAPI()


@api.post("/login")
async def login(user: int, request: Request, response: Response):
    await auth.login(response, user, role="member", request=request)
    return "welcome"


@api.get("/me", response_class=PlainTextResponse)
async def me(response: Response, entry: latchkey.Entry = Depends(auth)):
    response.headers.append("Cache-Control", "public, max-age=60")
    return str(entry.user_id)


@api.get("/lost")
async def lost(entry: latchkey.Entry = Depends(auth)):
    raise HTTPException(404, "there is nothing")


@api.post("/failed", dependencies=[Depends(auth.optional)])
async def failed(response: Response):
    await auth.login(response, 14)
    raise HTTPException(503, "something else that the login needs")


@api.get("/maybe", response_class=PlainTextResponse)
async def maybe(entry=Depends(auth.optional)):
    return str(entry and entry.user_id)


@api.websocket("/socket")
async def websocket(websocket: WebSocket, entry: latchkey.Entry = Depends(auth)):
    await websocket.accept()
    await websocket.close()


@api.post("/logout")
async def logout(request: Request, response: Response):
    await auth.logout(request, response)
    return "bye"


@api.get("/stats")
async def stats():
    return lk.stats()


@api.get("/tasks")
async def tasks():
    return len(asyncio.all_tasks())


async def behind(scope, receive, send):
    text = str(scope["latchkey"] and scope["latchkey"].user_id).encode()
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"public, max-age=60")]
    if scope["path"] == "/behind/fails":
        raise KeyError
    if scope["path"] == "/behind/login":
        headers.append((b"set-cookie", b"session=a-login"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def required(scope):
    return {"/behind": True, "/behind/login": True, "/behind/fails": True, "/behind/maybe": False}.get(scope["path"])


middleware = latchkey.asgi.Middleware(behind, lk, cookie="session", required=required, secure=False)
around = ServerErrorMiddleware(middleware)


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"].startswith("/behind"):
        return await around(scope, receive, send)
    await api(scope, receive, send)

# SPDX-License-Identifier: MIT
"""The application that tests/http/browsers.py visits, with FastAPI's dependency."""
import asyncio

from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket

import latchkey
import latchkey.fastapi
from browsed import Fault, Handled, plan
from opened import opened

lk = opened()
auth = latchkey.fastapi.Auth(lk, cookie="sid", secure=False)
app = FastAPI()


@app.api_route("/page", methods=["GET", "HEAD", "POST", "OPTIONS"])
async def page(request: Request, response: Response, entry: latchkey.Entry = Depends(auth)):
    await request.body()
    do, user = request.headers.get("x-do", ""), {"X-App": "1", "X-User": str(entry.user_id)}
    if "slow" in do:
        await asyncio.sleep(0.05)
    try:
        status, headers, pieces = plan(do, request.headers.get("x-value"), entry.user_id)
    except Handled:
        raise HTTPException(418, headers=user) from None
    if status in (404, 503):
        raise HTTPException(status, headers={name: value for name, value in headers if name != "Content-Type"})
    response.status_code = status
    for name, value in headers:
        response.headers.append(name, value)
    return "".join(piece.decode() for piece in pieces) or None


@app.websocket("/page")
async def socket(websocket: WebSocket, entry: latchkey.Entry = Depends(auth)):
    await websocket.accept(headers=[(b"x-app", b"1"), (b"x-user", str(entry.user_id).encode())])
    await websocket.close()


@app.post("/login")
async def login(user: int, request: Request, response: Response):
    await auth.login(response, user, role="member", request=request)
    response.headers["X-App"] = "1"


@app.post("/logout")
async def logout(request: Request, response: Response):
    await auth.logout(request, response)
    response.headers["X-App"] = "1"


@app.post("/end")
async def end(response: Response, user: int | None = None):
    try:
        await lk.aio.revoke_user(user) if user is not None else await asyncio.to_thread(lk.revoke_everyone)
    except latchkey.Unavailable:
        raise HTTPException(503) from None
    response.headers["X-App"] = "1"


@app.get("/ready")
async def ready():
    return None


@app.exception_handler(Fault)
async def fault(request: Request, error: Fault):
    return Response(status_code=500)

# SPDX-License-Identifier: MIT
"""Looked at by mypy, and not run: what the types promise, and mistakes that they notice. An `ignore` that is not needed is an error."""
from typing import assert_type

import latchkey
from latchkey.asgi import Middleware
from latchkey.fastapi import Auth
from latchkey.flask import Sessions


def blocking(lk: latchkey.Latchkey) -> None:
    token = assert_type(lk.create(42, role="member", fields={"cart": b"[]"}), str)
    entry = lk.validate(token)
    print(entry.user_id)  # type: ignore[union-attr]  # there may be no session
    if entry is not None:
        assert_type(entry.user_id, int)
        entry.user_id = 43  # type: ignore[misc]
    found = lk.try_validate(token)
    if isinstance(found, latchkey.Entry):
        assert_type(found.role, str)
    renewed = lk.rotate(token, grace_ms=60000)
    if renewed:
        assert_type(renewed, str)
    record = lk.fields(token, "cart")
    if record is not None:
        assert_type(record["cart"], bytes)
        assert_type(lk.change_fields(token, record, {"cart": b"[1]", "old": None}), bool | None)
    for session in lk.sessions(42, current=token):
        selector, *_, current = session
        assert_type((selector, current), tuple[str, bool])
        assert_type(session.created_at_ms, int)
        session._replace(flags=1)  # type: ignore[attr-defined]
    lk.create(1.5)  # type: ignore[arg-type]
    lk.create(1, fields={"cart": "text"})  # type: ignore[dict-item]
    lk.create(1, rule="member")  # type: ignore[call-arg]


async def awaited(lk: latchkey.Latchkey) -> None:
    entry = await lk.aio.validate("token")
    if entry is not None:
        assert_type(bytes(entry), bytes)
    assert_type(await lk.aio.revoke("token"), bool)
    lk.aio.sessions(42)  # type: ignore[attr-defined]


def web(lk: latchkey.Latchkey) -> None:
    Sessions(None, lk)
    Sessions(None, 7)  # type: ignore[arg-type]
    assert_type(Auth(lk).cookie, str)
    Middleware(print, lk)  # type: ignore[arg-type]

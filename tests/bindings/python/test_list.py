# SPDX-License-Identifier: MIT
"""The list of tests/bindings/README.md, but for what needs a web framework (test_django, test_flask, test_asgi)."""
import asyncio
import gc
import logging
import os
import re
import secrets
import sys
import threading
import time

import latchkey
from support import (SHORT, SOCKET, URL, WORK, descriptors, open_short, point, raises, redis, redis_stopped, run, threads,
                     wait_until)

# For the last point but a few: a token has to grow old, so it is made first.
aging = latchkey.open(URL, renew_ms=10000)
aging_token, aging_began = aging.create(5000), time.monotonic()

here = latchkey.open(URL, staleness_ms=500)
there = latchkey.open(URL, staleness_ms=500)


def wrong_half(token):
    return token[:30] + ("A" if token[30] != "A" else "B") + token[31:]


@point(1, "create gives a token, and validate gives every member back")
def create():
    user, role, permissions = 2 ** 63 + 9, "sixteen bytes ok", bytes(range(32))
    before = time.time() * 1000
    token = here.create(user, role, permissions_hash=permissions, device=2 ** 32 - 1, flags=0xa5a5)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    entry = here.validate(token)
    assert (entry.user_id, entry.role, entry.permissions_hash, entry.device, entry.flags) == \
        (user, role, permissions, 2 ** 32 - 1, 0xa5a5)
    assert before - 60000 < entry.created_at_ms == entry.auth_at_ms < before + 60000 < entry.expires_at_ms
    assert not entry.stale and not entry.renew and entry.pq_key_hash == bytes(32) and len(bytes(entry)) == 120
    named = here.validate(here.create("alice@example.org"))
    assert named.user_id == latchkey.user_id("alice@example.org") == latchkey.user_id(b"alice@example.org")
    with_keys = {"pq.mlkem768": os.urandom(1184)}
    assert here.validate(here.create(1, fields=with_keys)).pq_key_hash == latchkey.key_hash(with_keys) != bytes(32)
    ahead = here.token_new(7)
    assert here.validate(ahead) is None and here.create(7, token=ahead) == ahead and here.validate(ahead).user_id == 7


@point(2, "a hit asks Redis nothing")
def hit():
    token = here.create(2)
    before = here.stats()
    for _ in range(1000):
        assert here.validate(token).user_id == 2
    assert here.try_validate(token.encode()).user_id == 2
    after = here.stats()
    assert after["l1_hits"] == before["l1_hits"] + 1001 and after["l2_reads"] == before["l2_reads"]


@point(3, "a miss is answered by Redis, and the next one is a hit, blocking and awaited")
def miss():
    token, second = here.create(3), here.create(3)
    assert there.try_validate(token) is latchkey.AGAIN
    assert there.validate(token) == here.validate(token)
    assert there.try_validate(token) == here.validate(token)

    async def awaited():
        reads = there.stats()["l2_reads"]
        assert await there.aio.validate(second) == here.validate(second)
        assert there.stats()["l2_reads"] == reads + 1
        assert await there.aio.validate(second) == here.validate(second)
        assert there.stats()["l2_reads"] == reads + 1
        assert (await there.aio.validate_fresh(second)) == there.validate_fresh(second, max_age_ms=0) == here.validate(second)
    asyncio.run(awaited())


@point(4, "what is no session is None")
def no():
    token = here.create(4)
    bad = [None, "", b"", token[:-1], token + "A", "a" * 20 + "\0" + "a" * 22, "\u00e9" * 43, "\udcff" * 43, b"\xff" * 43,
           wrong_half(token), "x" * 100000, token.replace(token[:20], secrets.token_urlsafe(15))]

    async def awaited():
        for each in bad:
            assert await there.aio.validate(each) is None, each
    for each in bad:
        assert here.validate(each) is None and there.validate(each) is None, each
        assert there.validate_fresh(each) is None and there.load(each) is None and there.revoke(each) is False, each
    asyncio.run(awaited())
    assert here.validate(token) and there.validate(token)
    raises(TypeError, here.validate, 42)


@point(5, "revoke ends it here")
def revoke_here():
    token, second = here.create(5), here.create(5)
    assert here.revoke(token) is True and here.validate(token) is None and here.revoke(token) is False

    async def awaited():
        assert await here.aio.revoke(second) is True and here.validate(second) is None
        assert await here.aio.revoke(second) is False
    asyncio.run(awaited())


@point(6, "and there, where it was in memory")
def revoke_there():
    token = here.create(6)
    assert there.validate(token) and there.try_validate(token).user_id == 6
    assert here.revoke(token)
    wait_until("the other handle stops", lambda: there.validate(token) is None)
    purged = there.stats()["purges"]
    assert purged > 0


@point(7, "an error of Redis is Unavailable")
def refused():
    redis("CONFIG", "SET", "maxmemory", "1")
    try:
        raised = raises(latchkey.Unavailable, here.create, 7)
        assert raised.status == -3 and not isinstance(raised, latchkey.Pending)
        asyncio.run(awaited_refusal())
    finally:
        redis("CONFIG", "SET", "maxmemory", "0")
    wait_until("logins work again", lambda: here.create(7))
    nothing = f"unix://{WORK}/nothing.sock?deadline_ms=200"
    raises(latchkey.Unavailable, latchkey.open, nothing)
    with latchkey.open(nothing, lazy=True, log=None) as lazy:
        token = here.create(7)
        raises(latchkey.Unavailable, lazy.validate, token)
        raises(latchkey.Unavailable, asyncio.run, lazy.aio.validate(token))


async def awaited_refusal():
    raised = None
    try:
        await here.aio.create(7)
    except latchkey.Unavailable as error:
        raised = error
    assert raised and raised.status == -3


@point(8, "a late answer is Unavailable, and answers nobody else")
def late():
    tokens = [here.create(user) for user in range(800, 820)]
    with open_short() as short:
        with redis_stopped():
            for token in tokens[:2]:
                raises(latchkey.Unavailable, short.validate, token)

            async def awaited():
                found = await asyncio.gather(*(short.aio.validate(token) for token in tokens), return_exceptions=True)
                assert all(isinstance(each, latchkey.Unavailable) for each in found), found
            asyncio.run(awaited())
        for user, token in enumerate(tokens, 800):
            assert wait_until("the entry is there again", lambda: short.validate(token)).user_id == user

        async def awaited_again():
            for user, token in enumerate(tokens, 800):
                assert (await short.aio.validate_fresh(token)).user_id == user
        asyncio.run(awaited_again())


@point(9, "a revocation that Redis did not confirm is Pending, denied here, and gets through")
def pending():
    token, second = here.create(9), here.create(9)
    with open_short() as short:
        assert short.validate(token) and short.validate(second) and there.validate(token)

        async def awaited():
            try:
                await short.aio.revoke(second)
            except latchkey.Pending as error:
                assert short.validate(second) is None
                return error
        with redis_stopped():
            raised = raises(latchkey.Pending, short.revoke, token)
            assert raised.status == -5 and isinstance(raised, latchkey.Unavailable)
            assert short.validate(token) is None
            assert isinstance(asyncio.run(awaited()), latchkey.Pending)
        wait_until("the first ends there", lambda: there.validate(token) is None)
        wait_until("the second ends there", lambda: there.validate(second) is None)


async def closed_in_a_child():
    """What the child does first is to close; it has the descriptors of the loop that runs here."""
    await here.aio.create(10)
    pid = os.fork()
    if pid == 0:
        try:
            here.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert len(await here.aio.create(10)) == 43


@point(10, "a child opens its own handle")
def fork():
    token = here.create(10)
    assert here.validate(token)
    reconnects = here.stats()["reconnects"]
    pids = []
    for how in ("validate", "create", "aio", "aio.create", "nothing"):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if how == "validate":
                    assert here.validate(token).user_id == 10
                elif how == "create":
                    assert here.validate(here.create(11)).user_id == 11
                elif how == "aio":
                    assert asyncio.run(here.aio.validate(token)).user_id == 10
                elif how == "aio.create":
                    assert len(asyncio.run(here.aio.create(11))) == 43
                if how != "nothing":
                    assert here.try_validate(token) is not None and here.stats()["connected"] == 1
                    here.close()
                    raises(latchkey.Closed, here.validate, token)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [0] * len(pids), codes
    asyncio.run(asyncio.wait_for(closed_in_a_child(), 60))
    assert here.validate(token).user_id == 10 and here.revoke(token) is True
    assert here.stats()["reconnects"] == reconnects
    with open_short() as lk:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with redis_stopped():
                    raises(latchkey.Unavailable, lk.validate, token)
                    raises(latchkey.Unavailable, lk.create, 10)
                    raises(latchkey.Unavailable, lk.stats)
                    raises(latchkey.Unavailable, lk.revoke_selector, 10, token[:20])
                wait_until("it can be opened", lambda: lk.validate(token) is None)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@point(11, "close with answers outstanding")
def close():
    token = here.create(11)

    async def awaited():
        lk = open_short()
        with redis_stopped():
            waiting = [asyncio.ensure_future(lk.aio.validate(token)) for _ in range(20)]
            waiting.append(asyncio.ensure_future(lk.aio.create(1)))
            await asyncio.sleep(0)
            lk.close()
            found = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, latchkey.Closed) for each in found), found
        lk.close()
        try:
            await lk.aio.validate(token)
            raise AssertionError("a closed handle answered")
        except latchkey.Closed:
            pass
    asyncio.run(awaited())

    # From another thread, while this one's loop runs, and while a third waits in a blocking call.
    async def closed_elsewhere():
        lk = open_short()
        blocked = []

        def ask():
            try:
                blocked.append(lk.validate(token))
            except latchkey.Unavailable as error:
                blocked.append(error)
        with redis_stopped():
            future = asyncio.ensure_future(lk.aio.load(token))
            await asyncio.sleep(0)
            asking = threading.Thread(target=ask)
            asking.start()
            closing = threading.Thread(target=lk.close)
            closing.start()
            found = (await asyncio.gather(future, return_exceptions=True))[0]
            await asyncio.get_running_loop().run_in_executor(None, closing.join)
        asking.join()
        assert isinstance(found, latchkey.Unavailable), found
        assert isinstance(blocked[0], latchkey.Unavailable), blocked
        assert lk.closed
    asyncio.run(closed_elsewhere())
    lk = latchkey.open(URL)
    lk.close()
    lk.close()
    for call in (lk.validate, lk.create, lk.revoke, lk.load, lk.try_validate):
        raised = raises(latchkey.Closed, call, 1 if call == lk.create else token)
        assert "closed" in str(raised)
    raises(latchkey.Closed, lk.stats)


@point(12, "rotation")
def rotation():
    old = here.create(12, "member")
    new = here.rotate(old)
    assert len(new) == 43 and here.validate(new).user_id == 12 and here.validate(old) is None
    newer = here.rotate(new, grace_ms=60000)
    assert here.validate(new).user_id == 12 and here.validate(newer).user_id == 12
    assert here.rotate(new, grace_ms=60000) is False
    assert here.rotate(old) is None and here.rotate("x" * 43) is None and here.rotate(None) is None
    raises(ValueError, here.rotate, newer, -1)

    async def awaited():
        newest = await here.aio.rotate(newer, 60000)
        assert (await here.aio.validate(newest)).user_id == 12 and await here.aio.rotate(newer, 60000) is False
        return newest
    assert here.revoke(asyncio.run(awaited())) is True
    assert here.validate(newer) is None and here.validate(new) is None


@point(14, "fields")
def fields():
    every = bytes(range(256))
    token = here.create(14, fields={"every": every, "gone": b"1", "empty": b""})
    assert here.set_fields(token, {"large": b"\xff" * 65536, "gone": None, "like": bytearray(b"bytes")}) is True
    record = there.load(token)
    assert {name: record[name] for name in record} == dict(record) == \
        {"every": every, "empty": b"", "large": b"\xff" * 65536, "like": b"bytes"}
    assert record.entry == here.validate(token) and len(record) == 4 and "every" in record and "gone" not in record
    some = there.fields(token, "every", "gone")
    assert some["every"] == every and some.get("gone") is None and some.get("gone", b"-") == b"-"
    raises(KeyError, some.__getitem__, "gone")
    assert there.fields("x" * 43, "every") is None and there.set_fields("x" * 43, {"every": b""}) is False
    raises(TypeError, here.set_fields, token, {"every": "text"})
    raises(ValueError, here.set_fields, token, {"a name\0": b""})
    raises(ValueError, here.set_fields, token, {"too large": b"x" * 65537})
    assert here.put_section(token, "photo", every * 4096) and there.section(token, "photo") == every * 4096
    assert there.section(token, "none") is None and here.put_section(token, "photo", None)

    async def awaited():
        assert await here.aio.set_fields(token, {"more": b"2"}) is True
        assert (await here.aio.fields(token, "more"))["more"] == b"2" and (await here.aio.load(token))["every"] == every
        assert await here.aio.load("x" * 43) is None
    asyncio.run(awaited())


@point(15, "compare-and-set: no change is lost")
def compare_and_set():
    token = here.create(15, fields={"count": b"0"})
    mine, theirs = here.fields(token, "count", "new"), there.fields(token, "count", "new")
    assert here.change_fields(token, mine, {"count": b"1"}) is True
    assert there.change_fields(token, theirs, {"count": b"9", "new": b"9"}) is False
    again = there.fields(token, "count", "new")
    assert again["count"] == b"1" and "new" not in again
    assert there.change_fields(token, again, {"count": b"2", "new": b"2"}) is True
    assert here.change_fields("x" * 43, mine, {"count": b"1"}) is None

    def add(lk):
        for _ in range(20):
            while True:
                record = lk.fields(token, "count")
                if lk.change_fields(token, record, {"count": str(int(record["count"]) + 1).encode()}):
                    break
    adding = [threading.Thread(target=add, args=(lk,)) for lk in (here, there, here)]
    for each in adding:
        each.start()

    async def awaited():
        for _ in range(20):
            while True:
                record = await here.aio.fields(token, "count")
                if await here.aio.change_fields(token, record, {"count": str(int(record["count"]) + 1).encode()}):
                    break
    asyncio.run(awaited())
    for each in adding:
        each.join()
    assert here.fields(token, "count")["count"] == b"82"


@point(16, "a user's sessions")
def users_sessions():
    assert here.revoke_user(2 ** 64 - 1) >= 0  # those of an earlier run
    tokens = [here.create(2 ** 64 - 1, device=device) for device in range(4)]
    found = there.sessions(2 ** 64 - 1, current=tokens[2])
    assert {each.selector for each in found} == {token[:20] for token in tokens}
    assert [each.device for each in found if each.current] == [2]
    assert there.revoke_selector(2 ** 64 - 1, tokens[3][:20]) is True and there.revoke_selector(1, tokens[2][:20]) is False
    assert there.revoke_selector(2 ** 64 - 1, "short") is False
    assert there.revoke_user(2 ** 64 - 1, keep=tokens[2]) == 2
    assert there.validate(tokens[2]) and there.validate(tokens[0]) is None
    assert asyncio.run(here.aio.revoke_user(2 ** 64 - 1)) == 1 and here.sessions(2 ** 64 - 1) == []
    generation = here.user_generation(16)
    assert here.create(16, generation=generation) and here.revoke_user(16) >= 1
    raised = raises(latchkey.Refused, here.create, 16, generation=generation)
    assert raised.status == 5


@point(17, "touch and access")
def access():
    here.revoke_user(17)
    token = here.create(17, "member")
    assert there.validate(token).role == "member" and here.touch(token) is True and here.touch("x" * 43) is False
    assert here.set_access(token, role="editor", permissions_hash=b"p" * 32, flags=3, authenticated=True) is True
    entry = here.validate(token)
    assert (entry.role, entry.permissions_hash, entry.flags) == ("editor", b"p" * 32, 3)
    wait_until("it shows there", lambda: there.validate(token).role == "editor")
    assert here.set_user_access(17, role="admin") == 1 and here.validate(token).role == "admin"

    async def awaited():
        assert await here.aio.touch(token) is True
        assert await here.aio.set_access(token, role="guest") is True and here.validate(token).role == "guest"
    asyncio.run(awaited())


@point(18, "a limit is an error of its own")
def limit():
    with latchkey.open(URL, max_sessions=1, limit="deny") as lk:
        lk.revoke_user(18)
        lk.create(18)
        raised = raises(latchkey.LimitReached, lk.create, 18)
        assert raised.status == 4 and not isinstance(raised, latchkey.Unavailable)


lines = []


@point(20, "the log arrives in logging, in the thread that calls")
def log():
    class Keep(logging.Handler):
        def emit(self, record):
            lines.append((record.levelno, record.getMessage(), threading.current_thread()))
    logger, keep = logging.getLogger("latchkey"), Keep()
    logger.addHandler(keep)
    redis("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
    try:
        with latchkey.open(URL) as lk:
            found = [line for line in lines if "maxmemory-policy" in line[1]]
            assert found and found[0][0] >= logging.WARNING and found[0][2] is threading.current_thread(), lines

            # While nothing is called: the loop's descriptor says that a line waits.
            async def awaited():
                token = here.create(20)
                await lk.aio.validate(token)
                del lines[:]
                redis("CLIENT", "KILL", "TYPE", "pubsub")
                end = time.monotonic() + 30
                while not lines and time.monotonic() < end:
                    await asyncio.sleep(0.01)
                assert lines, "the link was lost, and no line came"
            asyncio.run(awaited())
    finally:
        logger.removeHandler(keep)
        redis("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    # A log function of one's own, one that fails, and none.
    said = []
    redis("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
    try:
        latchkey.open(URL, log=lambda level, text: said.append((level, text))).close()
        latchkey.open(URL, log=None).close()
    finally:
        redis("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    assert any(level <= 4 and "maxmemory-policy" in text for level, text in said), said


@point(19, "no secret is in any text")
def secret():
    token = here.create(19, fields={"name": b"a secret value"})
    password = "hunter2-is-the-password"
    redis("ACL", "SETUSER", "someone", "on", ">other", "+@all", "~*", "&*")
    texts = [repr(here), str(here), repr(here.aio), repr(here.validate(token)), repr(here.load(token)), str(here.load(token))]
    for call, args in ((latchkey.open, (f"unix://someone:{password}@{SOCKET}",)), (latchkey.open, (f"redis://:{password}@host:x/",)),
                       (here.create, (1, "x" * 17)), (here.set_fields, (token, {"": b""})), (here.rotate, (token, -1)),
                       (here.validate, (42,))):
        raised = raises(Exception, call, *args)
        texts += [repr(raised), str(raised), repr(vars(raised))]
    with redis_stopped(), latchkey.open(SHORT + "&lazy=1", log=None) as short:
        raised = raises(latchkey.Unavailable, short.validate, token)
        texts += [repr(raised), str(raised), short.stats()["last_error"]]
    texts += [line[1] for line in lines]
    for text in texts:
        assert token[20:] not in text and password not in text and "a secret value" not in text, text


@point(21, "what is wrong with the configuration or an argument is said")
def configuration():
    raised = raises(latchkey.ConfigError, latchkey.open, URL + "&bogus=1")
    assert "bogus" in str(raised) and isinstance(raised, ValueError)
    assert "bogus" in str(raises(latchkey.ConfigError, latchkey.check_config, URL + "&bogus=1"))
    assert latchkey.check_config(URL) is None
    with latchkey.open("unix://" + SOCKET, deadline_ms=9000, name="test") as lk:
        assert not lk.closed
    writes = here.stats()["l2_writes"]
    raises(ValueError, here.create, 2 ** 64)
    raises(ValueError, here.create, -1)
    raises(ValueError, here.create, 1, "seventeen bytes!!")
    raises(ValueError, here.create, 1, "a\0b")
    for nobody in (None, 1.0, [1, 2], (), {}, range(2), object()):
        assert "user is int, str or bytes" in str(raises(TypeError, here.create, nobody))
        raises(TypeError, here.revoke_user, nobody)
    for value in ([1], "text", 5, None):
        raises((TypeError, ValueError), here.create, 1, fields={"name": value})
    raises(ValueError, here.create, 1, flags=65536)
    raises(ValueError, here.create, 1, device=-1)
    raises(ValueError, here.create, 1, idle_ms=-1)
    raises(ValueError, here.create, 1, permissions_hash=b"short")
    for nobody in ("", b""):
        raises(ValueError, here.create, nobody)
        raises(ValueError, here.revoke_user, nobody)
        raises(ValueError, here.sessions, nobody)
    raises(ValueError, here.revoke_user, 21, "none")
    raises(ValueError, here.sessions, 21, "none")
    for config in (URL + "&\0bogus=1", URL + "\0"):
        raises(ValueError, latchkey.open, config)
        raises(ValueError, latchkey.check_config, config)
    raises(TypeError, here.create, 1.5)
    raises(TypeError, here.create, 1, fields={"name": "text"})
    raises(TypeError, here.create, 1, unknown=1)
    raises(TypeError, here.create)
    assert here.stats()["l2_writes"] == writes
    noted = here.load(here.create(1, fields={"na": b"x"}))
    assert noted["na"] == b"x" and "na\0" not in noted and noted.get("na\0me") is None
    raises(KeyError, noted.__getitem__, "na\0")


@point(22, "a thousand misses on one loop, and no thread for any of them")
def thousand():
    tokens = [here.create(user) for user in range(1000)]

    async def awaited():
        with latchkey.open(URL, in_flight=2000) as lk:
            await lk.aio.validate(here.create(1))
            before = threads()
            waiting = [asyncio.ensure_future(lk.aio.validate(token)) for token in tokens]
            await asyncio.sleep(0)
            assert threads() == before and not any(each.done() for each in waiting[:100])
            found = await asyncio.gather(*waiting)
            assert [entry.user_id for entry in found] == list(range(1000)) and threads() == before
            assert lk.stats()["l2_reads"] == 1001
            # Whoever stops waiting takes nothing from anybody else.
            lost = [asyncio.ensure_future(lk.aio.validate_fresh(token)) for token in tokens[:100]]
            await asyncio.sleep(0)
            for each in lost[::2]:
                each.cancel()
            found = await asyncio.gather(*lost, return_exceptions=True)
            assert [entry.user_id for entry in found[1::2]] == list(range(1, 100, 2))
            assert all(isinstance(each, asyncio.CancelledError) for each in found[::2])
    asyncio.run(awaited())


@point(26, "given up")
def given_up():
    async def awaited():
        with latchkey.open(URL, max_sessions=1, limit="deny") as lk:
            await lk.aio.revoke_user(26)
            await give_up(lk.aio.create(26))
            token = await login(lk)
            await give_up(lk.aio.rotate(token))  # the new token of an exchange without a grace is the only one
            await login(lk)
        with latchkey.open(URL) as lk:  # tasks are cancelled at every moment: each session that is left was given to somebody
            await lk.aio.revoke_user(2600)
            given = 0
            for _ in range(10):
                calls = [asyncio.wait_for(lk.aio.create(2600), each / 5000) for each in range(60)]
                given += sum(isinstance(each, str) for each in await asyncio.gather(*calls, return_exceptions=True))
            for _ in range(1500):
                if len(lk.sessions(2600)) == given:
                    return
                await asyncio.sleep(0.02)
            raise AssertionError(f"{given} sessions were given out, and there are {len(lk.sessions(2600))}")

    async def give_up(call):
        with redis_stopped():
            try:
                await asyncio.wait_for(call, 0.2)
                raise AssertionError("it was answered")
            except asyncio.TimeoutError:
                pass

    async def login(lk):
        for _ in range(1500):
            try:
                return await lk.aio.create(26)
            except (latchkey.LimitReached, latchkey.Unavailable):
                await asyncio.sleep(0.02)
        raise AssertionError("the user cannot log in")
    asyncio.run(awaited())


def memory_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


@point(22, "loops that begin and end in many threads at once")
def loops():
    token, wrong = here.create(22), []

    def ask():
        for _ in range(60):
            try:
                assert asyncio.run(here.aio.validate_fresh(token)).user_id == 22
            except Exception as error:  # pylint: disable=broad-except # whatever it is
                wrong.append(error)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    asking = [threading.Thread(target=ask) for _ in range(16)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert not wrong, wrong[:3]

    def ask_until_closed(lk, together, made):
        try:
            together.wait()
            made.append(lk.aio)
            while True:
                asyncio.run(lk.aio.validate_fresh(token))
        except latchkey.Closed:
            pass
        except Exception as error:  # pylint: disable=broad-except # whatever it is
            wrong.append(error)
    for _ in range(10):
        lk = latchkey.open(URL)
        together, made = threading.Barrier(7), []
        asking = [threading.Thread(target=ask_until_closed, args=(lk, together, made), daemon=True) for _ in range(6)]
        for each in asking:
            each.start()
        together.wait()
        time.sleep(secrets.randbelow(20) / 1000)
        lk.close()
        for each in asking:
            each.join(60)
            assert not each.is_alive(), "a call waits for ever"
        assert len(made) == 6 and all(each is lk.aio for each in made)
    sys.setswitchinterval(before)
    assert not wrong, wrong[:3]


@point(23, "nothing grows: handles, entries, records, answers that nobody reads")
def memory():
    token = here.create(23, fields={"field": b"x" * 60000})

    def round_of(handles, entries):
        async def awaited(lk):
            lost = [asyncio.ensure_future(lk.aio.load(token)) for _ in range(20)]
            await asyncio.sleep(0)
            for each in lost:
                each.cancel()
            await lk.aio.validate(token)
        for number in range(handles):
            lk = latchkey.open(URL, l1_capacity=100)
            asyncio.run(awaited(lk))
            if number % 2:
                lk.close()
            del lk
        for _ in range(entries):
            here.validate(token)
        for _ in range(entries // 100):
            here.load(token)["field"]
            here.fields(token, "field")
        gc.collect()
    round_of(5, 100)
    round_of(20, 4000)
    before = descriptors(), threads(), memory_kib()
    for _ in range(4):
        round_of(20, 4000)
    after = descriptors(), threads(), memory_kib()
    assert after[:2] == before[:2], (before, after)
    # What AddressSanitizer keeps of freed memory is no growth of ours; it says itself what is wrong.
    assert after[2] - before[2] < (65536 if "libasan" in os.environ.get("LD_PRELOAD", "") else 4096), (before, after)


@point(13, "renewal")
def renewal():
    time.sleep(max(0, 10.1 - (time.monotonic() - aging_began)))  # time itself is what is asked for
    wait_until("the token wants to be renewed", lambda: aging.validate(aging_token).renew)
    new = aging.rotate(aging_token, grace_ms=60000)
    assert aging.validate(new).renew is False and aging.validate(aging_token).renew is False


if __name__ == "__main__":
    run()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A session's life from Python, every step checked, blocking and with asyncio.

    sh src/bindings/python/build.sh build/python
    PYTHONPATH=build/python python3 examples/python/demo.py redis://127.0.0.1:6379

Exits with 1 at the first answer that is not the expected one.
"""
import asyncio
import logging
import os
import sys
import timeit

import latchkey


def check(what, value):
    if not value:
        sys.exit(f"WRONG: {what}")
    print(f"  ok  {what}")


def life(here, there):
    keys = {"pq.mlkem768": os.urandom(1184), "pq.mldsa44": os.urandom(1312), "cart": b"any bytes, \0 among them"}
    token = here.create(7, role="editor", permissions_hash=b"p" * 32, fields=keys, device=3)
    entry = here.validate(token)
    check("validate says whose it is", entry and (entry.user_id, entry.role, entry.device) == (7, "editor", 3))
    check("the key material is bound to it", entry.pq_key_hash == latchkey.key_hash(keys))
    check("another handle, as in another process, says the same", there.validate(token) == entry)
    check("a token with one wrong character is None", here.validate(token[:30] + "?" + token[31:]) is None)

    record = there.fields(token, "cart")
    check("a change is made where nobody was first", there.change_fields(token, record, {"cart": b"more"}) is True)
    check("and is not made on what was read before it", here.change_fields(token, record, {"cart": b"less"}) is False)

    each = min(timeit.repeat(lambda: here.validate(token), number=10000, repeat=5)) / 10000 * 1e9
    check("the next ones come from memory", here.stats()["l1_hits"] >= 50000)
    print(f"      one takes {each:.0f} ns here, with the lambda around it")

    new = here.rotate(token, grace_ms=60000)
    check("a new token, and the old one goes on for a while", here.validate(new) == here.validate(token))
    check("revoke ends it", here.revoke(new) and here.validate(new) is None and here.validate(token) is None)


async def loop(here, there):
    tokens = [here.create(user) for user in range(100)]
    entries = await asyncio.gather(*(there.aio.validate(token) for token in tokens))
    check("a hundred misses at once, without a thread", [entry.user_id for entry in entries] == list(range(100)))
    await there.aio.revoke(tokens[0])
    check("what ends on the loop has ended", there.validate(tokens[0]) is None)


def main(config):
    logging.basicConfig(level=logging.ERROR)
    with latchkey.open(config) as here, latchkey.open(config) as there:
        life(here, there)
        asyncio.run(loop(here, there))
    try:
        latchkey.open("redis://127.0.0.1:1")
        check("without Redis nothing is answered", False)
    except latchkey.Unavailable as error:
        check(f"without Redis nothing is answered: {error}", True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    main(sys.argv[1])

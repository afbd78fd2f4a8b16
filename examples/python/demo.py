#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A session's life from Python, checked at every step.

    LATCHKEY_LIBRARY=build/src/liblatchkey.so python3 examples/python/demo.py redis://127.0.0.1:6379

Exits with 1 at the first answer that is not the expected one.
"""
import os
import sys
import time

import latchkey
from latchkey import Latchkey


def check(what, value):
    if not value:
        sys.exit(f"WRONG: {what}")
    print(f"  ok  {what}")


def nearest_us(call, rounds):
    """The median of several rounds, in microseconds for one call."""
    means = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(rounds):
            call()
        means.append((time.perf_counter() - began) / rounds * 1e6)
    return sorted(means)[2]


def main(config):
    keys = {"pq.mlkem768": os.urandom(1184), "pq.mldsa44": os.urandom(1312), "note": b"any bytes, \0 among them"}
    with Latchkey(config) as here, Latchkey(config) as there:
        token = here.create(7, role="editor", permissions_hash=b"p" * 32, fields=keys, device=3)
        check("create gives a token of 43 characters", token and len(token) == 43)

        entry = here.validate(token)
        check("validate says whose it is", entry and entry.user_id == 7 and entry.role == "editor" and entry.device == 3)
        check("the permissions came back, and a hash of the keys",
              entry.permissions_hash == b"p" * 32 and any(entry.pq_key_hash))
        check("another handle, as in another process, says the same",
              bytes(there.validate(token) or b"") == bytes(entry))
        check("touch finds it", here.touch(token))

        for name, bad in (("empty", ""), ("short", token[:-1]), ("long", token + "A"), ("not base64url", "é" * 43)):
            check(f"a token that is {name} is refused", there.validate(bad) is None)
        # A character of the secret half, so that the name still is that of the session.
        forged = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
        check("a token with one wrong character is refused", here.validate(forged) is None and there.validate(forged) is None)

        cost = nearest_us(lambda: here.validate(token), 4000)
        check("validating it again is answered from memory", here.stats()["l1_hits"] >= 20000)
        print(f"      one such validate takes {cost:.1f} us, nearly all of it Python's")

        check("revoke ends it", here.revoke(token))
        check("here at once", here.validate(token) is None)
        deadline = time.monotonic() + 1
        while there.validate(token) and time.monotonic() < deadline:
            pass
        check("and there", there.validate(token) is None)
        check("a second revoke finds nothing to end", not here.revoke(token))

        try:
            here.create(7, role="a role of more than sixteen bytes")
            check("a role that is too long is refused", False)
        except ValueError:
            check("a role that is too long is refused", True)
        check("the metrics are there", "latchkey_l1_hits_total" in here.metrics())

    try:
        # A port that nothing listens on: no answer, which is neither yes nor no.
        Latchkey("redis://127.0.0.1:1").close()
        check("without Redis nothing is answered", False)
    except latchkey.NoAnswer as error:
        check(f"without Redis nothing is answered: {error}", True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    main(sys.argv[1])

# SPDX-License-Identifier: MIT
"""The handle of an application of the tests, whose deadline is short: on a slow machine it may take more than one try to open it."""
import os
import signal
import time

import latchkey


def opened():
    for _ in range(60):
        try:
            return latchkey.open(os.environ["LATCHKEY_URL"])
        except latchkey.Unavailable:
            time.sleep(0.05)
    return latchkey.open(os.environ["LATCHKEY_URL"])


class Stopping:
    """A handle whose Redis stands still from its first revocation on: that is pending."""

    def __init__(self, lk):
        self._lk = lk

    def __getattr__(self, name):
        return getattr(self._lk, name)

    def revoke(self, token):
        os.kill(int(os.environ["LATCHKEY_REDIS_PID"]), signal.SIGSTOP)
        return self._lk.revoke(token)

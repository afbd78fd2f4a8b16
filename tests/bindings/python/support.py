# SPDX-License-Identifier: MIT
"""What the tests of the Python binding share: the private Redis, handles on it, and the points of the list."""
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
import traceback

import latchkey

logging.getLogger("latchkey").addHandler(logging.NullHandler())  # the private Redis is not set up as a careful one is
logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a callback took long, under -X dev on a slow machine, is no news
SOCKET = os.environ["LATCHKEY_REDIS_SOCKET"]
REDIS_PID = int(os.environ["LATCHKEY_REDIS_PID"])
WORK = os.environ["LATCHKEY_WORK"]
URL = f"unix://{SOCKET}?deadline_ms=10000"
SHORT = f"unix://{SOCKET}?deadline_ms=1000"  # where Redis is stopped on purpose


def redis(*words):
    return subprocess.run(["redis-cli", "-s", SOCKET, *words], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def redis_stopped():
    os.kill(REDIS_PID, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(REDIS_PID, signal.SIGCONT)


def wait_until(what, condition, seconds=30):
    """Until a condition holds. It fails when that takes longer than anything here may take on a slow machine."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except latchkey.Unavailable:
            found = None  # Redis was away a moment ago
        if found:
            return found
        assert time.monotonic() < end, f"it never came: {what}"
        time.sleep(0.01)


def open_short():
    """A handle on a Redis that will be stopped. On a slow machine it may take more than one try."""
    return wait_until("it opens", lambda: latchkey.open(SHORT))


def raises(error, call, *args, **kwargs):
    try:
        found = call(*args, **kwargs)
    except error as raised:
        return raised
    raise AssertionError(f"{getattr(call, '__name__', call)} gave {found!r}, not {error.__name__}")


def threads():
    return len(os.listdir("/proc/self/task"))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


_points = []


def point(number, text):
    """A point of tests/bindings/README.md."""
    def register(function):
        _points.append((number, text, function))
        return function
    return register


def run():
    failed = 0
    for number, text, function in _points:
        try:
            function()
            print(f"ok {number} {text}", flush=True)
        except BaseException:
            failed += 1
            print(f"FAILED {number} {text}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if failed else 0)

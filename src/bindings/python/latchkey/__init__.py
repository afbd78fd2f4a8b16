# SPDX-License-Identifier: MIT
"""latchkey: is this session valid, and whose is it? Answered from the process's own memory, coherent with Redis.

    lk = latchkey.open("redis://127.0.0.1:6379")
    token = lk.create(42, role="member")
    entry = lk.validate(token)      # an Entry; None: there is no such session
    lk.revoke(token)

A "no" is None or False. No answer is `Unavailable`, which is neither: answer 503, and leave the cookie alone.
"""
import logging
import threading
from urllib.parse import quote

from . import _latchkey
from ._latchkey import (AGAIN, LIBRARY_VERSION, Closed, ConfigError, Corrupt, Entry, Error, LimitReached, Pending, Record,
                        Refused, Session, Unavailable, check_config, key_hash, user_id)
from .aio import Aio

__all__ = ["AGAIN", "Aio", "Closed", "ConfigError", "Corrupt", "Entry", "Error", "LIBRARY_VERSION", "Latchkey", "LimitReached",
           "Pending", "Record", "Refused", "Session", "Unavailable", "check_config", "key_hash", "open", "user_id"]

_making = threading.Lock()
_logger = logging.getLogger("latchkey")
# The library's levels are those of syslog.
_levels = {3: logging.ERROR, 4: logging.WARNING, 5: logging.INFO, 6: logging.INFO}


def _say(level, text):
    _logger.log(_levels.get(level, logging.INFO), "%s", text)


class Latchkey(_latchkey.Handle):
    """A handle. One for each process is enough, and it is shared by all threads. A forked child opens its own at its first call."""

    __slots__ = ("_aio", "__weakref__")

    @property
    def aio(self):
        """The same verbs for asyncio: `await lk.aio.validate(token)`."""
        try:
            return self._aio
        except AttributeError:
            with _making:  # the loops of several threads may come here at once
                if not hasattr(self, "_aio"):
                    self._aio = Aio(self)
            return self._aio

    def close(self):
        """Closes the handle. Calls under way are waited for; what is awaited ends with Closed. A second close does nothing."""
        if hasattr(self, "_aio"):
            self._aio._close()
        super().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def open(config, *, log=_say, **options):
    """Opens a handle: `open("redis://127.0.0.1:6379", staleness_ms=500)`. The options are those of latchkey_open, in the URL or
    here. What the library says goes to logging.getLogger("latchkey"), or to `log(level, text)`."""
    for name, value in options.items():
        value = int(value) if isinstance(value, bool) else value
        config += f"{'&' if '?' in config else '?'}{name}={quote(str(value), safe='')}"
    return Latchkey(config, log)

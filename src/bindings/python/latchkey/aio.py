# SPDX-License-Identifier: MIT
"""The verbs of a handle for asyncio. A hit is answered at once. Everything else goes through a queue of the library: the loop
watches its descriptor, and no thread waits for anything."""
import asyncio
import contextlib
import os
import threading
import time

from ._latchkey import (AGAIN, CHANGE_FIELDS, CREATE, GET_FIELDS, LOAD, REVOKE, REVOKE_USER, ROTATE, SET_ACCESS, SET_FIELDS, TOUCH,
                        VALIDATE, Closed, Error, Queue)

_NONE = {}


class _Loop:
    """One event loop's queue, and who waits for an answer from it."""

    def __init__(self, lk, loop):
        self.loop, self.pid, self.thread = loop, os.getpid(), threading.get_ident()
        self.queue = Queue(lk)
        self.waiting, self.tag = {}, 0  # by tag: a future, and whether its answer holds the one token of a session
        self.fds = self.queue.fd, lk._log_fd
        loop.add_reader(self.fds[0], self.reap)
        loop.add_reader(self.fds[1], lk.read_log)

    def reap(self):
        for tag, answer, *failed in self.queue.reap():
            future, makes = self.waiting.pop(tag, (None, False))
            if future is None:
                continue  # it was cancelled
            if future.done():  # so was this; its task may not have noticed yet
                if makes and isinstance(answer, str):
                    self.disown(answer)
            elif failed:
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def disown(self, token):
        """Ends a session whose token reaches nobody: it would count as one of the user's."""
        self.tag += 1
        with contextlib.suppress(Error):  # if it cannot be asked for now, the session idles out
            self.queue.submit(self.tag, REVOKE, (token,), _NONE)

    def end(self):
        """Called in the thread of the loop, or when the loop is closed. In a forked child the loop is left alone: its descriptors are
        also those of the parent's loop, which would hear no more."""
        ours = self.pid == os.getpid() and not self.loop.is_closed()
        for fd in self.fds if ours else ():
            self.loop.remove_reader(fd)
        self.queue.close()
        for future, _ in self.waiting.values():
            if ours and not future.done():
                future.set_exception(Closed("the handle was closed while this was awaited"))
        self.waiting.clear()

    def end_from_anywhere(self):
        """A loop of another thread is asked to do it, for the descriptors must be out of it before they are closed, and no other
        thread may take them out: the loop may begin, end or be closed at any moment."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        own = self.loop is here or (self.thread == threading.get_ident() and not self.loop.is_running())
        if own or self.pid != os.getpid():
            return self.end()
        done, until = threading.Event(), time.monotonic() + 1
        try:
            self.loop.call_soon_threadsafe(lambda: (self.end(), done.set()))
        except RuntimeError:  # it is closed
            return self.end()
        while not done.wait(0.02) and time.monotonic() < until:
            if self.loop.is_closed():  # before it came to this
                return self.end()


class Aio:
    """`lk.aio`. Each verb is the one of the handle, awaited."""

    def __init__(self, lk):
        self._lk, self._try = lk, lk.try_validate
        self._loops = {}
        self._closed = False

    def _at(self):
        loop = asyncio.get_running_loop()
        at = self._loops.get(loop)
        if at is None or at.queue.closed or at.pid != os.getpid():
            for other in list(self._loops):  # a copy: other threads have loops too, and also look here
                gone = self._loops.pop(other, None) if other.is_closed() else None
                if gone is not None:
                    gone.end()
            try:
                at = self._loops[loop] = _Loop(self._lk, loop)
            except OSError:
                if self._closed:  # meanwhile, and its descriptors with it
                    raise Closed("the handle is closed") from None
                raise
            if self._closed:  # _close may have looked before this loop was there
                at.end()
                raise Closed("the handle is closed")
        return at

    def _close(self):
        self._closed = True
        for at in list(self._loops.values()):
            at.end_from_anywhere()
        self._loops.clear()

    async def _ask(self, kind, args, kwargs=_NONE, makes=False):
        """makes: the answer holds the one token of its session."""
        at = self._at()
        at.tag += 1
        answer = at.queue.submit(at.tag, kind, args, kwargs)
        if answer is not AGAIN:
            return answer
        tag, future = at.tag, at.loop.create_future()
        at.waiting[tag] = future, makes
        try:
            return await future
        except asyncio.CancelledError:
            if makes and not future.cancel() and not future.cancelled() and not future.exception():
                if isinstance(future.result(), str):
                    at.disown(future.result())
            raise
        finally:
            if not (makes and future.cancelled()):  # else reap ends the session
                at.waiting.pop(tag, None)

    async def validate(self, token):
        found = self._try(token)
        return found if found is not AGAIN else await self._ask(VALIDATE, (token,))

    async def validate_fresh(self, token, max_age_ms=0):
        return await self._ask(VALIDATE, (token, max_age_ms))

    async def create(self, user, role="", **draft):
        return await self._ask(CREATE, (user, role), draft, draft.get("token") is None)

    async def revoke(self, token):
        return await self._ask(REVOKE, (token,))

    async def rotate(self, token, grace_ms=0):
        return await self._ask(ROTATE, (token, grace_ms), makes=grace_ms == 0)

    async def touch(self, token):
        return await self._ask(TOUCH, (token,))

    async def fields(self, token, *names):
        return await self._ask(GET_FIELDS, (token, *names))

    async def change_fields(self, token, record, changes):
        return await self._ask(CHANGE_FIELDS, (token, record, changes))

    async def set_fields(self, token, changes):
        return await self._ask(SET_FIELDS, (token, changes))

    async def load(self, token):
        return await self._ask(LOAD, (token,))

    async def set_access(self, token, **access):
        return await self._ask(SET_ACCESS, (token,), access)

    async def revoke_user(self, user, keep=None):
        return await self._ask(REVOKE_USER, (user, keep))

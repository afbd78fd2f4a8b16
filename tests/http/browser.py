# SPDX-License-Identifier: MIT
"""A browser, as far as sessions see it: cookies as RFC 6265bis has them, and HTTP over one socket, byte by byte as it likes."""
import email.utils
import http.client
import itertools
import socket
import struct

PATIENCE_S = 60  # nothing takes so long, however slow the machine is


class Cookie:
    """One line Set-Cookie."""

    def __init__(self, line):
        pair, *attributes = line.split(";")
        self.name, _, self.value = (part.strip() for part in pair.partition("="))
        self.attributes = {}
        for each in attributes:
            key, _, value = each.partition("=")
            self.attributes[key.strip().lower()] = value.strip()

    def ends_at(self, now):
        """When it ends; None: with the browser. Max-Age counts before Expires."""
        try:
            return now + int(self.attributes["max-age"])
        except (KeyError, ValueError):
            date = email.utils.parsedate_tz(self.attributes.get("expires", ""))
            return email.utils.mktime_tz(date) if date else None


class Jar:
    """The cookies of one browser that visits one host."""

    def __init__(self):
        self.kept = {}  # (name, domain, path): (value, number, end); no domain: of this host alone
        self.numbers = itertools.count()

    def store(self, line, path, now):
        cookie = Cookie(line)
        where = cookie.attributes.get("path", "")
        if not where.startswith("/"):
            where = path[:path.rfind("/")] or "/"
        key, end = (cookie.name, cookie.attributes.get("domain", ""), where), cookie.ends_at(now)
        before = self.kept.pop(key, None)
        if end is None or end > now:  # one that is replaced keeps its place
            self.kept[key] = (cookie.value, before[1] if before else next(self.numbers), end)

    def sent(self, path, now):
        """[(name, value)] for a request: of longer paths first, then of older ones."""
        found = []
        for (name, _, where), (value, number, end) in self.kept.items():
            fits = path == where or path.startswith(where if where.endswith("/") else where + "/")
            if fits and (end is None or end > now):
                found.append((-len(where), number, name, value))
        return [each[2:] for each in sorted(found)]

    def value(self, name):
        """Of the cookie that an application sets."""
        return self.kept.get((name, "", "/"), (None,))[0]


class Answer:
    """What came of a request. `complete` is False where the body was cut off; `status` is None where not even the head came."""

    def __init__(self, response=None):
        self.status, self.headers, self.body, self.complete = None, None, b"", False
        if response is None:
            return
        self.status, self.headers = response.status, response.headers
        if response.status == 101:
            self.complete = True
            return
        try:
            self.body = response.read()
            self.complete = True
        except (http.client.HTTPException, ConnectionError):
            pass

    def all(self, name):
        return self.headers.get_all(name) or []

    def cookies(self, name):
        return [cookie for cookie in map(Cookie, self.all("Set-Cookie")) if cookie.name == name]

    def shared_caches_may_keep_it(self):
        """By RFC 9111, of an answer to a GET whose cookie no cache looks at."""
        said = {part.strip().partition("=")[0].lower() for line in self.all("Cache-Control") for part in line.split(",")}
        return not said & {"no-store", "private"}


class _Kept:
    """What a response reads from; it outlives the response, since another answer may follow on the connection."""

    def __init__(self, file):
        self.file = file

    def makefile(self, _):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self.file, name)


class Wire:
    """A connection to a server."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def send(self, method, path, headers, body=b"", length=None):
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
        if body or length:
            lines += ["Content-Type: text/plain", f"Content-Length: {len(body) if length is None else length}"]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def receive(self, method):
        """TimeoutError where nothing comes: the server hangs."""
        response = http.client.HTTPResponse(_Kept(self.file), method=method)
        try:
            response.begin()
        except (http.client.HTTPException, ConnectionError):
            return Answer()
        return Answer(response)

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        """It goes away without a word: what was not read is thrown away."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

# SPDX-License-Identifier: MIT
"""What the applications in Python that tests/http/browsers.py visits share: what they do in /page."""


class Fault(Exception):
    """Nobody expects it."""


class Handled(Exception):
    """The application has an error handler for it."""


STATUSES = {"200": 200, "204": 204, "304": 304, "302": 302, "404": 404, "503": 503}


def plan(do, value, user, cookie="sid"):
    """(status, headers, pieces) of what the words of X-Do ask for."""
    words = (do or "").split(",")
    if "raise" in words:
        raise Fault
    if "handled" in words:
        raise Handled
    headers = [("X-App", "1"), ("X-User", str(user)), ("Content-Type", "text/plain")]
    if "302" in words:
        headers.append(("Location", "/page"))
    if "public" in words:
        headers.append(("Cache-Control", "public, max-age=60"))
    if "cookie" in words:
        headers.append(("Set-Cookie", "lang=en; Path=/"))
    if "own" in words:
        headers += [("Set-Cookie", f"{cookie}={value}; Path=/; HttpOnly; SameSite=Lax"), ("Cache-Control", "no-store")]
    if "drop" in words:
        headers.append(("Set-Cookie", f"{cookie}=; Path=/; Max-Age=0"))
    status = next((STATUSES[word] for word in words if word in STATUSES), 200)
    pieces = [str(user).encode()] * (3 if "stream" in words or "cut" in words else 1)
    return status, headers, [] if status in (204, 304) else pieces

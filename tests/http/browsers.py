#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random browsers, proxies and faults in front of a middleware, on a private Redis. Judges look at every answer.

    browsers.py [--seed N] [--steps N] [--runs N | --seconds N] [--verbose] KIND...

A world is made of its seed: which steps are taken, in which order, with what. How threads and processes interleave is not, so a
world that failed may have to be repeated some times. kinds.py has the applications, machines.py what a world consists of.
"""
import argparse
import collections
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

from browser import PATIENCE_S, Answer, Jar, Wire
from kinds import KINDS
from machines import Application, Clock, Redis, wait_for

STALENESS_S, DEADLINE_S, RENEW_S, GRACE_S = 0.5, 0.5, 10, 300
OPTIONS = (f"staleness_ms={STALENESS_S * 1000:.0f}&deadline_ms={DEADLINE_S * 1000:.0f}&renew_ms={RENEW_S * 1000}"
           "&idle_ms=86400000&lifetime_ms=864000000&l1_capacity=1000")
# What an application does in /page, in the words of X-Do, and what is answered then. More words go with each: `stream` (in pieces),
# `slow`, `cookie` (sets another), `public` (lets caches keep it), `own` (sets the session's cookie to X-Value), `drop` (deletes it),
# `wrapped` (something of the framework that buffers answers), `cut` (ends the connection in the middle of the body).
STATUSES = {"200": 200, "204": 204, "304": 304, "302": 302, "404": 404, "503": 503, "handled": 418, "raise": 500}
WORDS = ["stream", "slow", "cookie", "public", "own", "drop", "wrapped", "wrapped", "cut"]
EXTRA = [("Range", "bytes=0-3"), ("If-None-Match", '"a"'), ("Accept-Encoding", "gzip"), ("X-Forwarded-For", "10.0.0.1"),
         ("Cache-Control", "max-age=0"), ("Origin", "http://elsewhere.example"), ("Access-Control-Request-Method", "POST")]


STEPS_LEAST = 40  # of a world that begins in time, before it ends for want of time


class Broken(AssertionError):
    """A sentence of the documents that does not hold."""


def judge(condition, sentence, what=""):
    if not condition:
        raise Broken(f"{sentence}\n  {what}")


class Session:
    """What is known of a session, on the monotonic clock but for the ages of tokens."""

    def __init__(self, user):
        self.user = user
        self.tokens = []         # all that it had, the newest last
        self.born = None         # when the newest was made, at the latest
        self.exchanged = {}      # by token: when it was, at the earliest
        self.lost_at = None      # since then it may have a token that is lost, with an answer or between application and Redis
        self.unread = False      # an answer to its newest token was not read, and the application may still be at it
        self.end_began = None    # somebody tried to end it
        self.ended = None        # that was confirmed
        self.cut_off = False     # by an end of all, which leaves its data until they expire
        self.enders = {}         # by the life of a process: since when it denies it
        self.forgotten = False   # Redis has lost its data since

    def add(self, token, now):
        self.tokens.append(token)
        self.born, self.unread = now, False

    def due(self, now):
        """It may be exchanged by now. (Two seconds early, and one of ours.)"""
        return now - self.born > RENEW_S - 3

    def admits(self, token, visit):
        """True: it must; False: it must not; None: it may."""
        if visit.began > self.enders.get(visit.life, visit.began) or self.ended is not None and visit.began > self.ended + STALENESS_S:
            return False
        if self.end_began is not None or self.forgotten:
            return None
        since = min(filter(None, (self.exchanged.get(token), self.lost_at)), default=visit.ended_wall)
        return True if visit.ended_wall < since + GRACE_S else None


class Visit:
    """A request, when it began, what it sent, and what was answered."""

    def __init__(self, world, browser, app, method, path, do=(), value=None, extra=()):
        self.browser, self.app, self.method, self.path, self.do, self.value = browser, app, method, path, do, value
        self.headers = [("X-Do", ",".join(do))] * bool(do) + [("X-Value", value)] * bool(value) + list(extra)
        self.route = path.partition("?")[0]
        pairs = browser.jar.sent(self.route, world.clock.now())
        self.sent = [world.kind.token(value.strip('"')) for name, value in pairs if name == world.kind.cookie]
        if pairs:
            self.headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in pairs)))
        self.began, self.began_wall, self.life = time.monotonic(), world.clock.now(), (app.number, app.lives)
        self.upgrade = any(name == "Upgrade" for name, _ in extra)
        self.answer = self.ended_wall = self.troubled = None

    def finish(self, world, answer):
        self.answer, self.ended_wall = answer, world.clock.now()
        if world.kind.adapt and answer.status:
            world.kind.adapt(answer)
        # What was asked of Redis may have been done there without an answer.
        self.troubled = world.trouble or time.monotonic() > self.began + DEADLINE_S
        return self

    def __str__(self):
        answer = self.answer
        said = "no answer" if answer is None or answer.status is None else \
            f"{answer.status} {answer.headers.items()} {answer.body[:80]!r}{'' if answer.complete else ' cut'}"
        return f"{self.method} {self.path} {self.headers} at {self.app.number}: {said}"


class Browser:
    def __init__(self, number):
        self.number, self.jar = number, Jar()


class World:
    """The steps, and what is known. The judges are in `look` and what it calls, and in `audit`."""

    def __init__(self, kind, seed, directory, verbose=False):
        self.kind, self.random, self.verbose = kind, random.Random(seed), verbose
        self.lines, self.counts = collections.deque(maxlen=25), collections.Counter()
        self.clock = Clock(directory)
        self.redis = Redis(directory, self.clock)
        self.apps = [Application(number, kind, directory, f"unix://{self.redis.socket}?{OPTIONS}", self.clock) for number in (0, 1)]
        self.sessions, self.cookie_of = {}, {}   # by token
        self.browsers = [Browser(number) for number in range(4)]
        self.excused = collections.Counter()     # by user: sessions whose token may have been lost
        self.users, self.done = 0, 0
        self.trouble = False                     # with Redis

    def note(self, text):
        self.lines.append(text)
        if self.verbose:
            print(f"  {text}", flush=True)

    # ------------------------------------------------------------------------------------------------- asking --
    def visit(self, browser, method="GET", path=None, app=None, **more):
        return Visit(self, browser, app or self.random.choice(self.apps), method, path or self.kind.page, **more)

    def send(self, visit, body=b"", wire=None):
        """Sends it, and waits for the answer."""
        mine = wire
        try:
            mine = wire or Wire(visit.app.port)
            mine.send(visit.method, visit.path, visit.headers, body)
            answer = mine.receive(visit.method)
        except TimeoutError:
            raise Broken(f"G: every request is answered; this one was not within {PATIENCE_S} s\n  {visit}") from None
        except ConnectionError:
            answer = Answer()
        finally:
            if mine and not wire:
                mine.close()
        return visit.finish(self, answer)

    def ask(self, browser, method="GET", path=None):
        return self.look(self.send(self.visit(browser, method, path)))

    # ------------------------------------------------------------------------------------------------- judges --
    def look(self, visit):
        """Every answer comes here, those of one browser in the order in which it has received them."""
        answer = visit.answer
        self.note(str(visit))
        self.counts[f"{visit.path.partition('?')[0]} {answer.status}"] += 1
        if answer.status is None:
            return self.lost(visit)
        tokens = answer.cookies(self.kind.cookie)
        given = self.look_at_the_cookies(visit, tokens)
        for line in answer.all("Set-Cookie"):
            visit.browser.jar.store(line, visit.route, self.clock.now())
        if visit.route == self.kind.page:
            self.look_at_a_page(visit)
        fresh = given.pop() if visit.route == "/login" and given and (answer.headers.get("X-App") or self.kind.hasty) else None
        for token in given:
            self.look_at_a_renewal(visit, token)
        if not given and (visit.troubled or (self.kind.loses | {"own", "drop"}) & set(visit.do)):
            self.lost(visit)
        if visit.route == "/login":
            self.look_at_a_login(visit, fresh)
        elif visit.route == "/logout":
            self.look_at_a_logout(visit)
        return visit

    def look_at_the_cookies(self, visit, tokens):
        answer = visit.answer
        ours = answer.headers.get("X-App") is None
        if ours and answer.status in (400, 401, 503) and not (answer.status == 401 and self.kind.is_django):
            judge(not tokens or self.kind.hasty and visit.route == "/login", "An answer that is no yes leaves the cookie alone.", visit)
        given = [cookie for cookie in tokens if cookie.value.strip('"') and cookie.value != visit.value]
        judge(len(given) <= (1 if visit.route == self.kind.page else 2), "An answer carries one token.", visit)
        for cookie in given:
            said = {f"{key}={value}" if value else key for key, value in cookie.attributes.items()}
            judge({each.lower() for each in said} >= {each.lower() for each in self.kind.attributes},
                  "The cookie has the attributes that were configured, and is HttpOnly.", visit)
            judge(not answer.shared_caches_may_keep_it(), "An answer with a token is no-store: no cache may give it to others.", visit)
            judge(self.kind.token(cookie.value) not in self.sessions, "A token is handed out once.", visit)
            judge(not visit.upgrade or self.kind.sockets_renew, "The handshake of a WebSocket exchanges no token.", visit)
            self.cookie_of[self.kind.token(cookie.value)] = cookie.value
        if tokens and not ours and {"own", "drop"} & set(visit.do):
            judge(tokens[-1].value == (visit.value if "own" in visit.do else ""),
                  "If the application itself sends a cookie of that name, that one comes last.", visit)
        return [self.kind.token(cookie.value) for cookie in given]

    def may_be(self, visit):
        """The sessions that may be the request's, and whether there may be none."""
        found, late = [], set()
        for token in visit.sent:
            session = self.sessions.get(token)
            admits = session.admits(token, visit) if session else False
            if session in late and admits:
                admits = None  # an older token of it, that was tried before, is past its grace: that ended it
            if admits is not False:
                found.append((token, session))
            if admits:
                return found, False
            late.add(session)
        return found, True

    def look_at_a_page(self, visit):
        answer, (found, none) = visit.answer, self.may_be(visit)
        own = answer.headers.get("X-App") is not None
        user = answer.headers.get("X-User")
        if visit.upgrade and not own and answer.status in (400, 426):  # there is no WebSocket behind this one
            return
        if len(visit.sent) > 8:
            judge(answer.status in (400, 401), "More than eight cookies of the name are none.", visit)
            return
        if own:
            judge(found, "A: only OK admits; after a logout or a revocation no cookie that the browser had is admitted.", visit)
            judge(user in {str(session.user) for _, session in found}, "E: a session is never another user's.", visit)
            wanted = next((STATUSES[word] for word in visit.do if word in STATUSES), 200)
            judge(visit.upgrade or answer.status == wanted, "The application's answer is passed on.", visit)
        elif answer.status in (400, 401) or answer.status == 403 and visit.upgrade:  # ASGI has no 401 for a WebSocket
            judge(none, "A browser that has a token and whose session nobody ended is answered, never with 401.",
                  f"{visit}\n  {[vars(session) for _, session in found]}")
        elif answer.status != 503:
            judge(answer.status == 500 and {"raise", "cut"} & set(visit.do), "No answer that the application did not ask for.", visit)
            judge(found, "A: only OK admits.", visit)
        for token, session in found:
            since = min(filter(None, (session.exchanged.get(token), session.lost_at)), default=visit.ended_wall)
            if visit.ended_wall > since + GRACE_S:
                session.end_began = session.end_began or visit.began  # used after its grace

    def look_at_a_renewal(self, visit, given):
        self.counts["renewed"] += 1
        user, held = visit.answer.headers.get("X-User"), self.may_be(visit)[0]
        if user is None and len({session for _, session in held}) > 1:  # the answer does not say whose it is, and several may be
            if self.trouble:
                for _, session in held:
                    session.forgotten = True
            else:
                user = str(self.redis.sessions().get(given[:20]))
        held = [(token, session) for token, session in held if user in (None, str(session.user))]
        judge(held, "A token that is renewed is one of a session.", visit)
        token, session = held[-1]  # the first that is alive, if none before it is
        session.exchanged[token], session.lost_at = visit.began_wall, None
        session.add(given, self.clock.now())
        self.sessions[given] = session

    def look_at_a_login(self, visit, given):
        user = int(visit.path.partition("user=")[2])
        # Django goes on with a session of the same user.
        kept = given is None and visit.answer.status == 200 and user in {session.user for _, session in self.may_be(visit)[0]}
        if visit.answer.headers.get("X-App") is None:
            judge(visit.answer.status == 503, "A login is answered with a token or with 503.", visit)
            self.excused[user] += 1
        else:
            judge(given or kept and self.kind.is_django, "The cookie of a login is sent with every answer to its request.", visit)
        if given:
            session = self.sessions[given] = Session(user)
            session.add(given, self.clock.now())
            session.forgotten = visit.answer.status == 503
        if self.kind.login_ends and not kept:
            self.ending(visit, self.sent(visit), visit.answer.status == 200 and not visit.troubled)

    def look_at_a_logout(self, visit):
        status = visit.answer.status
        confirmed = status in (200, 204)
        judge(confirmed or status in (202, 400, 401, 503), "A logout is confirmed, or pending, or there was none to end.", visit)
        judge(not confirmed or not visit.browser.jar.value(self.kind.cookie), "A logout takes the cookie back.", visit)
        if status not in (400, 401):
            self.ending(visit, self.sent(visit), confirmed)

    def sent(self, visit):
        return {self.sessions[token] for token in visit.sent if token in self.sessions}

    def ending(self, visit, sessions, confirmed=False, here=True):
        for session in sessions:
            session.end_began = session.end_began or visit.began
            if confirmed:
                session.ended = session.ended or time.monotonic()
            if here and (confirmed or visit.answer.status == 202):  # pending: this process denies it already
                session.enders.setdefault(visit.life, time.monotonic())

    def lost(self, visit):
        """The answer did not come, or Redis' to the application: what it would have said is not known."""
        if visit.route == "/login" and visit.answer.status is None:
            self.excused[int(visit.path.partition("user=")[2])] += 1
        if visit.route == "/logout" or visit.route == "/login" and self.kind.login_ends:
            self.ending(visit, self.sent(visit))
        for session in self.sent(visit):
            session.unread = True
            self.may_be_exchanged(session, visit.began_wall)
        return visit

    def may_be_exchanged(self, session, since):
        if self.kind.renews and session.due(self.clock.now()):
            session.lost_at = session.lost_at or since
            self.excused[session.user] += 1

    def audit(self):
        """Every session in Redis is one whose newest token a browser was given, or whose answer was lost on the way."""
        newest = {session.tokens[-1][:20]: session for session in self.sessions.values()}
        unknown = collections.Counter()
        for selector, user in self.redis.sessions().items():
            session = newest.get(selector)
            if session is None:
                unknown[user] += 1
            else:
                judge(session.ended is None or session.cut_off, "D: nothing brings a session back that was ended.", vars(session))
        for user, count in unknown.items():
            judge(count <= self.excused[user], "No token was made that was not delivered.",
                  f"user {user} has {count} sessions whose tokens nobody got, of {self.excused[user]} answers that were lost")

    # -------------------------------------------------------------------------------------------------- steps --
    def plan(self):
        """What the application is to do."""
        random_ = self.random
        if not self.kind.does:
            return []
        do = [random_.choice(list(STATUSES))] if random_.random() < 0.6 else []
        do += random_.sample(WORDS, random_.choice((0, 0, 1, 1, 2, 3)))
        return [word for word in do if word not in ("own", "drop") or not {"raise", "handled"} & set(do)]

    def held(self, browser):
        """The session whose token it was given last."""
        return self.sessions.get(self.kind.token(browser.jar.value(self.kind.cookie) or ""))

    def somebody(self):
        return self.random.choice(self.browsers)

    def step_page(self, browser=None, **more):
        browser, do, value = browser or self.somebody(), self.plan(), None
        if not browser.jar.value(self.kind.cookie) and self.random.random() < 0.8:
            self.log_in_as_somebody_new(browser)
        if "own" in do:  # a session that the application makes itself: another login of this user
            do.remove("own")
            session = self.held(browser)
            if session and "drop" not in do:
                other = Browser(-1)
                self.login(other, session.user)
                value = other.jar.value(self.kind.cookie)
                do += ["own"] if value else []
        method = self.random.choice(("GET", "GET", "GET", "HEAD", "POST", "OPTIONS") if self.kind.does else ("GET",))
        extra = self.random.sample(EXTRA, self.random.choice((0, 0, 1, 2)))
        visit = self.visit(browser, method, do=do, value=value, extra=extra, **more)
        return self.look(self.send(visit, b"x" * self.random.choice((1, 70000)) if method == "POST" else b""))

    def login(self, browser, user):
        return self.ask(browser, "POST", f"/login?user={user}")

    def step_login(self):
        browser = self.somebody()
        session = self.held(browser)
        if session and self.random.random() < 0.3:
            return self.login(browser, session.user)
        return self.log_in_as_somebody_new(browser)

    def log_in_as_somebody_new(self, browser):
        self.users += 1
        return self.login(browser, self.users)

    def step_logout(self):
        browser = self.somebody()
        for _ in range(self.random.choice((1, 1, 2))):
            self.ask(browser, "POST", "/logout")

    def step_old(self):
        """A token of before, by a browser that has no other: dead ones, and those in their grace."""
        if not self.sessions:
            return
        browser = Browser(-2)
        browser.jar.store(f"{self.kind.cookie}={self.cookie_of[self.random.choice(list(self.sessions))]}; Path=/", "/", 0)
        for _ in range(2):
            self.ask(browser)

    def step_more_cookies(self):
        """Something else under the cookie's name, for another path or quoted, or more than a browser should have."""
        browser, name = self.somebody(), self.kind.cookie
        dead = [self.cookie_of[token] for token, session in self.sessions.items() if session.ended] or ["A" * 43]
        value = self.random.choice((self.random.choice(dead), '"' + self.random.choice(dead) + '"', "junk", "", "%00", "a b"))
        path = self.random.choice((self.kind.page, self.kind.page, "/logout", "/nowhere") if self.kind.several else ("/nowhere",))
        browser.jar.store(f"{name}={value}; Path={path}; Max-Age={self.random.choice((1, 15, 100000))}", "/", self.clock.now())
        browser.jar.store("theme=dark; Path=/", "/", self.clock.now())
        if self.kind.several and self.random.random() < 0.5:  # another session, in a cookie of the whole domain
            other = Browser(-5)
            if self.log_in_as_somebody_new(other).answer.status == 200:
                browser.jar.store(f"{name}={other.jar.value(name)}; Domain=localhost; Path=/", "/", self.clock.now())
        self.step_page(browser)

    def step_at_once(self):
        """Some requests of one browser at once."""
        browser = self.somebody()
        visits = [self.visit(browser, do=self.random.choice((["slow"], ["stream"], []))) for _ in range(self.random.choice((2, 2, 3)))]
        if self.random.random() < 0.2:
            visits.append(self.visit(browser, "POST", "/logout"))
        self.together(visits)

    def together(self, visits, meanwhile=None):
        failures = []

        def one(visit):
            try:
                self.send(visit)
            except Exception as error:  # pylint: disable=broad-except # it is raised below
                failures.append(error)
        threads = [threading.Thread(target=one, args=(visit,)) for visit in visits]
        for thread in threads:
            thread.start()
        if meanwhile:
            meanwhile()
        for thread in threads:
            thread.join()
        for failure in failures:
            raise failure
        # A request that ran beside a logout may be answered either way: the logout is looked at first.
        for visit in sorted(visits, key=lambda each: each.path == self.kind.page):
            self.look(visit)

    def step_pipelined(self):
        browser, app = self.somebody(), self.random.choice(self.apps)
        visits = [self.visit(browser, app=app) for _ in range(2)]
        wire = Wire(app.port)
        for visit in visits:
            wire.send(visit.method, visit.path, visit.headers)
        for visit in visits:
            self.look(visit.finish(self, wire.receive(visit.method)))
        wire.close()

    def step_kept_alive(self):
        browser, app = self.somebody(), self.random.choice(self.apps)
        wire = Wire(app.port)
        for _ in range(3):
            if self.look(self.send(self.visit(browser, app=app), wire=wire)).answer.status is None:
                break
        wire.close()

    def step_hung_up(self):
        """It does not read the answer; or it does not even send all of its request."""
        visit = self.visit(self.somebody(), "POST" if self.kind.does else "GET", do=self.random.choice((["slow"], ["stream"], [])))
        wire = Wire(visit.app.port)
        wire.send(visit.method, visit.path, visit.headers, b"x", self.random.choice((1, 1, 1000)))
        wire.reset()
        self.look(visit.finish(self, Answer()))

    def step_socket(self):
        visit = self.visit(self.somebody(), extra=[
            ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "A" * 22 + "==")])
        self.look(self.send(visit))

    def step_end(self):
        """An administrator ends all sessions of a user, or of everybody."""
        if not self.kind.ends:
            return
        if not self.sessions:
            return
        session = self.random.choice(list(self.sessions.values()))
        if self.kind.ends_for_all and self.random.random() < 0.2:
            session = None
        user = f"?user={session.user}" if session else ""
        app = self.random.choice(self.apps)
        visit = Visit(self, Browser(-3), app, "POST", f"/end{user}")
        self.send(visit)
        self.note(str(visit))
        judge(visit.answer.status in (200, 503, None), "An end is confirmed, or not.", visit)
        ended = {each for each in self.sessions.values() if not session or each.user == session.user}
        for each in ended:
            each.cut_off = each.cut_off or not session
        self.ending(visit, ended, visit.answer.status == 200, self.kind.ends_here)

    def step_time(self):
        seconds = self.random.choice((3, 9, 12, 12, 12, 30, GRACE_S + 20))
        self.note(f"{seconds} s pass")
        before = self.clock.now()
        self.clock.advance(seconds)
        for session in {each for each in self.sessions.values() if each.unread}:
            self.may_be_exchanged(session, before)
        time.sleep(STALENESS_S / 2)  # in most cases they notice
        for _ in range(4):
            self.step_page()

    def step_redis_stands_still(self):
        self.note("Redis stands still")
        self.trouble = True
        self.redis.send(signal.SIGSTOP)
        for _ in range(self.random.choice((1, 3, 6))):
            self.random.choice((self.step_page, self.step_page, self.step_login, self.step_logout, self.step_at_once, self.step_end))()
        self.redis.send(signal.SIGCONT)
        self.recovered()

    def step_redis_is_killed(self):
        self.note("Redis is killed")
        self.trouble = True
        visits = [self.visit(self.somebody(), do=["slow"]) for _ in range(2)]
        self.together(visits, self.redis.end)
        for _ in range(self.random.choice((0, 2))):
            self.random.choice((self.step_page, self.step_login, self.step_logout))()
        if self.random.random() < 0.3:
            self.note("Redis has lost its data")
            self.redis.lose_all()
            for session in self.sessions.values():
                session.forgotten = True
        self.redis.start()
        self.recovered()

    def recovered(self):
        self.note("Redis is there")
        self.trouble = False
        for app in self.apps:
            wait_for("a login succeeds again", lambda app=app: self.look(self.send(self.visit(
                Browser(-4), "POST", "/login?user=999999", app=app))).answer.status == 200)

    def step_application_ends(self):
        app = self.random.choice(self.apps)
        number = self.random.choice((signal.SIGTERM, signal.SIGKILL))
        self.note(f"application {app.number} gets {number.name}")
        self.together([self.visit(self.somebody(), app=app, do=["slow"]) for _ in range(2)], lambda: app.end(number))
        app.start()

    STEPS = {step_page: 30, step_login: 8, step_logout: 3, step_old: 4, step_more_cookies: 4, step_at_once: 8, step_pipelined: 3,
             step_kept_alive: 4, step_hung_up: 4, step_socket: 4, step_end: 1, step_time: 12, step_redis_stands_still: 1,
             step_redis_is_killed: 0.5, step_application_ends: 0.5, audit: 4}

    def run(self, steps, until):
        self.redis.start()
        for app in self.apps:
            app.start()
        for self.done in range(steps):
            if self.done >= STEPS_LEAST and time.monotonic() > until:
                break
            self.random.choices(list(self.STEPS), list(self.STEPS.values()))[0](self)
            for app in self.apps:
                judge(app.alive(), "The process is alive.", app.said()[-2000:])
        self.audit()
        for app in self.apps:
            text = app.said()
            judge(not re.search(r"Sanitizer|\d: runtime error|DATA RACE", text), "No detector reports anything.", text)
            for token in self.sessions:
                judge(token[20:] not in text, "F: no token is in a log.", text)

    def close(self):
        for machine in (*self.apps, self.redis):
            if machine.process:
                machine.end()


def live(kind, seed, steps, until, verbose):
    """One world: what was answered how often. Raises what it died of."""
    directory = tempfile.mkdtemp(prefix="latchkey-browsers-")
    world = World(KINDS[kind], seed, directory, verbose)
    try:
        world.run(steps, until)
        return world.counts
    except BaseException:
        print(f"{kind}: the world of --seed {seed} --steps {steps} ended in step {world.done}. The last of it:", *world.lines, sep="\n  ")
        for app in world.apps:
            print(f"application {app.number} said: {app.said()[-3000:]}" if os.path.exists(app.log) else "")
        raise
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--seed", type=int, help="of the first world; otherwise any")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="for so long, in place of --runs")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    for kind in options.kinds:
        seed = random.randrange(10**9) if options.seed is None else options.seed
        counts, runs = collections.Counter(), 0
        until = time.monotonic() + options.seconds if options.seconds else float("inf")
        while time.monotonic() < until if options.seconds else runs < options.runs:
            try:
                counts += live(kind, seed + runs, options.steps, until, options.verbose)
            except Exception as error:  # pylint: disable=broad-except # what it is, is printed
                if not isinstance(error, Broken):
                    traceback.print_exc()
                sys.stdout.flush()
                sys.exit(f"{kind}: --seed {seed + runs}: {error}")
            runs += 1
        if sum(counts.values()) > 1000 and not counts["renewed"] and KINDS[kind].renews or not counts["/login 200"]:
            sys.exit(f"{kind}: nobody was ever admitted: {counts}")
        print(f"{kind}: {runs} worlds from --seed {seed} on: {dict(sorted(counts.items()))}", flush=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""The measuring half of quickstart.sh: drives three running HTTP servers and prints what it saw.

Requests go one after the other over kept-alive connections. Every answer is checked; the first wrong one ends the run
with status 1.
"""
import argparse
import http.client
import json
import random
import socket
import sys
import time
import urllib.parse

LOGOUTS = 20
SAMPLE = 2000  # sessions that are asked for; all of them are asked for well within l1_ttl_ms


def wrong(text):
    sys.exit(f"\nquickstart: WRONG: {text}")


def say(text=""):
    print(f"    {text}".rstrip(), flush=True)


def progress(what, done, total):
    if sys.stdout.isatty() and (done == total or done % 50 == 0):
        print(f"\r    {what} {done:,} of {total:,} ", end="\r" if done < total else "\r\033[K", flush=True)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def us(value):
    return f"{value:,.2f} us" if value < 10 else f"{value:,.0f} us"


class Redis:
    """Enough of the protocol to ask INFO, SCAN and MEMORY."""

    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port), 5).makefile("rwb")

    def ask(self, *words):
        words = [str(word).encode() for word in words]
        self.file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode()
        sys.exit(f"quickstart: Redis said {line!r}")

    def commands(self):
        """Calls of each command since the start of the server, our own INFO left out."""
        lines = (line.partition(":") for line in self.ask("INFO", "commandstats").split("\r\n") if line.startswith("cmdstat_"))
        calls = {name[len("cmdstat_"):]: int(rest.split("calls=")[1].split(",")[0]) for name, _, rest in lines}
        calls.pop("info", None)
        return calls

    def memory(self):
        return int(self.ask("INFO", "memory").split("used_memory:")[1].split("\r\n")[0])


class Answer:
    def __init__(self, response, took_us):
        self.status = response.status
        self.text = response.read().decode()
        self.took_us = took_us
        self.hit = response.headers["X-Latchkey"] == "hit"
        self.validate_us = float(response.headers["X-Latchkey-Us"] or "nan")
        self.cookie = (response.headers["Set-Cookie"] or "").partition(";")[0]

    def user(self):
        return json.loads(self.text).get("user")


class Instance:
    def __init__(self, name, url):
        self.name = name
        self.connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=5)

    def request(self, method, path, cookie=None):
        began = time.perf_counter()
        self.connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
        response = self.connection.getresponse()
        return Answer(response, (time.perf_counter() - began) * 1e6)

    def login(self, user):
        answer = self.request("POST", f"/login?user={user}")
        if answer.status != 200 or answer.user() != user or not answer.cookie.startswith("sid="):
            wrong(f"the login of user {user} on {self.name} was answered {answer.status}: {answer.text}")
        return answer

    def whoami(self, user, cookie):
        answer = self.request("GET", "/whoami", cookie)
        if answer.status != 200 or answer.user() != user:
            wrong(f"{self.name} was asked whose the session of user {user} is and answered {answer.status}: {answer.text}")
        return answer

    def accepts(self, cookie):
        answer = self.request("GET", "/whoami", cookie)
        if answer.status not in (200, 401):
            wrong(f"{self.name} answered {answer.status} for a session that was logged out: {answer.text}")
        return answer.status == 200

    def metrics(self):
        lines = (line.split() for line in self.request("GET", "/metrics").text.splitlines() if not line.startswith("#"))
        return {words[0]: float(words[1]) for words in lines if len(words) == 2}


def logins(a, sessions):
    """Users have numbers from 1000 on; the session of users[i] is that of cookie cookies[i]."""
    answers = []
    began = time.perf_counter()
    for i in range(sessions):
        answers.append(a.login(1000 + i))
        progress("login", i + 1, sessions)
    took = time.perf_counter() - began
    times = [answer.took_us for answer in answers]
    say(f"{sessions:,} logins on A in {took:.1f} s, one after the other: p50 {us(quantile(times, 0.5))}, "
        f"p99 {us(quantile(times, 0.99))} by HTTP")
    say("each with 4,948 bytes of key material: ML-KEM-768, ML-DSA-44 and SLH-DSA public keys, and a signature")
    return [(1000 + i, answer.cookie) for i, answer in enumerate(answers)]


def latency(b, c, pairs):
    hits, misses, without, bare = [], [], [], []
    for done, (user, cookie) in enumerate(pairs):
        for _ in range(3):
            answer = b.whoami(user, cookie)
            (hits if answer.hit else misses).append(answer)
        bare.append(b.request("GET", "/whoami"))
        without.append(c.whoami(user, cookie))
        progress("session", done + 1, len(pairs))
    if len(misses) < len(pairs) or len(hits) < 1.8 * len(pairs):
        wrong(f"B answered {len(hits):,} requests from memory and {len(misses):,} from Redis; it had 3 for each of "
              f"{len(pairs):,} sessions, the first of which it cannot have known")
    if any(answer.hit for answer in without):
        wrong("C has no L1, and answered from it")
    if any(answer.status != 401 for answer in bare):
        wrong("B answered a request without a cookie with something else than 401")

    say("                            latchkey_validate       whole HTTP request")
    say("                              p50       p99           p50       p99    requests")
    for name, answers in (("B, miss: from Redis", misses), ("B, hit: from L1", hits), ("C: no L1, always Redis", without),
                          ("B, no cookie: HTTP alone", bare)):
        inside = [answer.validate_us for answer in answers]
        whole = [answer.took_us for answer in answers]
        columns = [us(quantile(inside, 0.5)), us(quantile(inside, 0.99))] if answers is not bare else ["-", "-"]
        say(f"{name:<24} {columns[0]:>8}  {columns[1]:>8}      {us(quantile(whole, 0.5)):>8}  {us(quantile(whole, 0.99)):>8}"
            f"    {len(answers):>8,}")
    say()
    say("latchkey_validate is timed inside the server, around the call, two readings of the clock included; the whole")
    say("request is timed here. Redis is on this machine: over a network a miss takes longer, and a hit does not.")


def commands(redis, b, c, pairs):
    """Exact counts by INFO commandstats. What the instances send of themselves is measured first, while there are no requests."""
    for user, cookie in pairs:
        b.whoami(user, cookie)  # now in B's L1, for the longest that an entry stays there
    before = redis.commands()
    time.sleep(2)
    idle = {kind: calls - before.get(kind, 0) for kind, calls in redis.commands().items() if calls != before.get(kind, 0)}
    idle_rate = sum(idle.values()) / 2

    count = 4000
    rng = random.Random(1)
    order = [rng.choice(pairs) for _ in range(count)]
    rows = []
    for name, instance in (("C, without L1", c), ("B, with L1", b)):
        before, began = redis.commands(), time.perf_counter()
        for done, (user, cookie) in enumerate(order):
            instance.whoami(user, cookie)
            progress("request", done + 1, count)
        took, after = time.perf_counter() - began, redis.commands()
        rows.append((name, {kind: after[kind] - before.get(kind, 0) for kind in after}, took))

    # A column for each command that requests cause and idle instances do not send; HGET is the read of a session.
    kinds = ["hget"] + sorted({kind for _, calls, _ in rows for kind in calls if calls[kind] and kind not in idle} - {"hget"})
    say(f"{count:,} requests for sessions drawn at random from {len(pairs):,}; Redis commands per thousand requests:")
    say()
    say(" " * 16 + "".join(f"{kind.upper():>10}" for kind in kinds) + "     others   (idle instances)")
    for name, calls, took in rows:
        others = sum(calls.values()) - sum(calls.get(kind, 0) for kind in kinds)
        say(f"{name:<16}" + "".join(f"{calls.get(kind, 0) * 1000 / count:>10,.1f}" for kind in kinds)
            + f"{others * 1000 / count:>11,.1f}   {f'({idle_rate * took * 1000 / count:,.1f})':>16}")
    say()
    say(f"B had seen each session once before; that first sight is the miss of step 5. The three instances send {idle_rate:,.1f}")
    say("commands a second of themselves while there are no requests; the last column is that rate times the row's time.")
    (_, without, _), (_, kept, _) = rows
    if without.get("hget", 0) < count:
        wrong(f"C has no L1, and read {without.get('hget', 0):,} records for {count:,} requests")
    if kept.get("hget", 0) > count / 20:
        wrong(f"B read {kept.get('hget', 0):,} records for {count:,} requests for sessions that it knew")


def logout(a, b, c, pairs):
    waited, polls, ended = [], [], []
    for user, cookie in pairs:
        b.whoami(user, cookie)  # now surely in B's L1
        answer = a.request("POST", "/logout", cookie)
        answered = time.perf_counter()
        if answer.status != 200:
            wrong(f"A answered a logout with {answer.status}: {answer.text}")
        accepted = 0
        while b.accepts(cookie):
            accepted += 1
            if time.perf_counter() - answered > 1:
                wrong("B still accepts a session 1 s after its logout on A")
        waited.append((time.perf_counter() - answered) * 1e6)
        polls.append(accepted)
        ended.append((user, cookie))
        if a.accepts(cookie):
            wrong("A accepts a session whose logout it has answered")
    say(f"{len(pairs)} logouts on A, each of a session that B had in its memory. From A's answer until B had refused:")
    say(f"p50 {us(quantile(waited, 0.5))}, max {us(max(waited))}, with the request to B that was refused; for "
        f"{sum(1 for n in polls if n == 0)} of {len(polls)} that was the first")
    time.sleep(1)
    for instance in (a, b, c):
        if any(instance.accepts(cookie) for _, cookie in ended):
            wrong(f"{instance.name} accepts a session 1 s after its logout")
    say("One second later A, B and C refuse every one of them.")


def memory(redis, b, before, after, sessions):
    keys, cursor = [], "0"
    while True:
        cursor, found = redis.ask("SCAN", cursor, "MATCH", "lk:{*}:s:*", "COUNT", 1000)
        keys += found
        if cursor == "0" or len(keys) >= 500:
            break
    if not keys:
        wrong("Redis holds no key that looks like a session")
    l2 = sum(redis.ask("MEMORY", "USAGE", key, "SAMPLES", 0) or 0 for key in keys) / len(keys)
    seen = b.metrics()
    l1 = seen["latchkey_l1_bytes"] / seen["latchkey_l1_capacity"]
    say(f"L2  {l2:>8,.0f} bytes a session: its key in Redis (MEMORY USAGE, {len(keys):,} keys)")
    say(f"    {(after - before) / sessions:>8,.0f} with the entries of the indexes (used_memory before and after the logins)")
    say(f"L1  {l1:>8,.0f} bytes a session: {seen['latchkey_l1_bytes'] / 1e6:,.1f} MB for {seen['latchkey_l1_capacity']:,.0f}, "
        f"taken at open; {seen['latchkey_l1_entries']:,.0f} are in use")
    say(f"    {l2 / l1:,.0f} times smaller: the key material stays in Redis, and L1 holds a hash of it")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis-port", type=int, required=True)
    for name in "abc":
        parser.add_argument("--" + name, required=True, metavar="URL")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--step", type=int, default=1, help="the number of the first step")
    args = parser.parse_args()
    redis = Redis(args.redis_port)
    a, b, c = Instance("A", args.a), Instance("B", args.b), Instance("C", args.c)
    number = iter(range(args.step, args.step + 10))

    def step(text):
        bold, normal = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        print(f"\n{bold}{next(number):>2}  {text}{normal}", flush=True)

    step("Logins")
    before = redis.memory()
    pairs = logins(a, args.sessions)
    after = redis.memory()
    step("What a request waits for")
    latency(b, c, pairs[:SAMPLE])
    step("What Redis is spared")
    commands(redis, b, c, pairs[:SAMPLE])
    step("A logout on one instance is gone from the other")
    logout(a, b, c, pairs[:LOGOUTS])
    step("Memory")
    memory(redis, b, before, after, args.sessions)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"\nquickstart: no answer: {error!r}")

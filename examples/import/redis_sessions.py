#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sessions that another store keeps in Redis, as lines of JSON for `latchkey import`. Python's standard library alone.

  redis_sessions.py connect-redis [--user PATH] [--role PATH] [--keep NAME] [--prefix sess:] WHERE
  redis_sessions.py spring        [--user PATH] [--role PATH] [--prefix spring:session:sessions:] WHERE

WHERE is HOST:PORT or the path of a unix socket; the password, if there is one, stands in REDIS_PASSWORD. PATH leads to a
member of what the application keeps in its session: userId, or passport.user; with Spring the first part is the attribute's
name, which a JSON serializer must have written: userId, or SPRING_SECURITY_CONTEXT.authentication.principal.id.
--keep NAME keeps all of what connect-redis held, without the cookie, as one field.

The keys are read by SCAN, so the store may go on; what it makes meanwhile comes with the next run. A session without the
user is left out, and counted on standard error: nobody is logged in there.
"""
import argparse
import datetime
import json
import os
import socket
import sys
import time


class Redis:
    def __init__(self, where):
        if '/' in where:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(where)
        else:
            host, _, port = where.rpartition(':')
            self.socket = socket.create_connection((host, int(port)))
        self.file = self.socket.makefile('rb', 1 << 16)
        if 'REDIS_PASSWORD' in os.environ:
            self.ask(('AUTH', os.environ['REDIS_PASSWORD']))

    def ask(self, *commands):
        """All of them in one round trip."""
        out = []
        for words in commands:
            out.append(b'*%d\r\n' % len(words))
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                out.append(b'$%d\r\n%s\r\n' % (len(word), word))
        self.socket.sendall(b''.join(out))
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise SystemExit('redis_sessions.py: the connection was closed')
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            raise SystemExit('redis_sessions.py: ' + rest.decode(errors='replace'))
        if kind in b'+:':
            return rest if kind == b'+' else int(rest)
        if int(rest) < 0:
            return None
        if kind == b'$':
            return self.file.read(int(rest) + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]

    def scan(self, prefix):
        """Names, some hundreds at a time. One may come twice."""
        cursor, pattern = b'0', prefix.translate(str.maketrans({c: '\\' + c for c in '*?[]\\'})) + '*'
        while True:
            cursor, keys = self.ask(('SCAN', cursor, 'MATCH', pattern, 'COUNT', 500))[0]
            if keys:
                yield keys
            if cursor == b'0':
                return


def member(value, path):
    for name in path.split('.') if path else []:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def milliseconds(text):
    return int(datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp() * 1000)


def connect_redis(redis, keys, options):
    """express-session: {"cookie": {"originalMaxAge": ..., "expires": "2026-11-23T10:00:00.000Z", ...}, "userId": 17}"""
    replies = redis.ask(*[('GET', key) for key in keys], *[('PTTL', key) for key in keys])
    for key, text, ttl_ms in zip(keys, replies, replies[len(keys):]):
        if text is None:
            continue
        session = json.loads(text)
        cookie = session.pop('cookie', None) or {}
        expires_ms = milliseconds(cookie['expires']) if cookie.get('expires') else None
        if expires_ms is None and ttl_ms >= 0:
            expires_ms = int(time.time() * 1000) + ttl_ms
        yield key, {'user_id': member(session, options.user), 'role': member(session, options.role),
                    'expires_at_ms': expires_ms, 'idle_ms': cookie.get('originalMaxAge'),
                    'fields': {options.keep: json.dumps(session)} if options.keep else None}


def spring(redis, keys, options):
    """A hash: creationTime, lastAccessedTime, maxInactiveInterval, sessionAttr:NAME ..."""
    for key, flat in zip(keys, redis.ask(*[('HGETALL', key) for key in keys])):
        session = dict(zip(flat[::2], flat[1::2]))
        if b'creationTime' not in session:
            continue

        def attribute(path):
            name, _, rest = (path or '').partition('.')
            text = session.get(b'sessionAttr:' + name.encode())
            return member(json.loads(text), rest) if text else None

        idle_ms = int(session[b'maxInactiveInterval']) * 1000
        idles_out_ms = int(session[b'lastAccessedTime']) + idle_ms
        over = idles_out_ms < time.time() * 1000
        yield key, {'user_id': attribute(options.user), 'role': attribute(options.role),
                    'created_at_ms': int(session[b'creationTime']), 'idle_ms': idle_ms,
                    # It has no end but that of idleness: the handle's lifetime_ms counts, from now.
                    'expires_at_ms': idles_out_ms if over else None}


STORES = {'connect-redis': (connect_redis, 'sess:'), 'spring': (spring, 'spring:session:sessions:')}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store', choices=STORES)
    parser.add_argument('where', metavar='WHERE')
    parser.add_argument('--user', default='userId', metavar='PATH')
    parser.add_argument('--role', metavar='PATH')
    parser.add_argument('--keep', metavar='NAME')
    parser.add_argument('--prefix')
    options = parser.parse_args()
    read, prefix = STORES[options.store]
    prefix = options.prefix or prefix
    redis, nobodys = Redis(options.where), 0
    for keys in redis.scan(prefix):
        # Spring keeps other keys under names of the same beginning: "spring:session:sessions:expires:..."
        keys = [key for key in keys if b':' not in key[len(prefix.encode()):]]
        for key, session in read(redis, keys, options):
            if session['user_id'] is None:
                nobodys += 1
                continue
            session['token'] = key[len(prefix.encode()):].decode()
            print(json.dumps({name: value for name, value in session.items() if value is not None}))
    if nobodys:
        print(f'redis_sessions.py: {nobodys} sessions have no {options.user}', file=sys.stderr)


if __name__ == '__main__':
    try:
        main()
    except BrokenPipeError:
        sys.exit('redis_sessions.py: whoever read this has stopped')

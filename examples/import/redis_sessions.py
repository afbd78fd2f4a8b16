#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sessions that another store keeps in Redis, as lines of JSON for `latchkey import`. Python's standard library alone.

  redis_sessions.py connect-redis [OPTIONS] WHERE    express-session: keys sess:<id>, JSON
  redis_sessions.py spring        [OPTIONS] WHERE    Spring Session: hashes spring:session:sessions:<id>, JSON or Java's own
  redis_sessions.py php           [OPTIONS] WHERE    PHP with phpredis: keys PHPREDIS_SESSION:<id>
  redis_sessions.py laravel       [OPTIONS] WHERE    Laravel: keys laravel_database_laravel_cache...<id>
  redis_sessions.py rails         [OPTIONS] WHERE    redis-actionpack, redis-session-store: keys session:<id>, Marshal or JSON
  redis_sessions.py django        [OPTIONS] WHERE    cache and cached_db: keys :1:django.contrib.sessions.cache...<id>
  redis_sessions.py flask         [OPTIONS] WHERE    Flask-Session: keys session:<id>, pickle, MessagePack or JSON

WHERE is HOST:PORT or the path of a unix socket; of a cluster each primary in turn. The password, if there is one, stands in REDIS_PASSWORD, and a user's name in
REDIS_USER. PATH leads to a member of what the application keeps in its session: userId, or passport.user. With Spring its
first part is the attribute's name: userId, or SPRING_SECURITY_CONTEXT.authentication.principal.id.

A user that is a number is written as "user_id", any other text as "user". Where users are texts some of which look like
numbers, say --names: then all are written as "user".

The keys are read by SCAN, so the store may go on; what it makes meanwhile comes with the next run. What cannot be read is
skipped and counted by its reason on standard error. Nothing is executed or loaded that a session holds, whatever its format.

Exit: 0; 1: something was skipped; 2: the command line; 3: the export is not whole, and its last line is missing.
"""
import argparse
import collections
import json
import math
import os
import socket
import ssl
import sys

import stores
from values import Skip

NAME = 'redis_sessions.py'
NAME_MOST = 1024
PATIENCE_S = 60  # for a reply


class Lost(Exception):
    """The export cannot go on."""


class Redis:
    def __init__(self, where, database=0, tls=False):
        if '/' in where:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE_S)
            self.socket.connect(where)
        else:
            host, _, port = where.rpartition(':')
            if not host or not port.isdigit():
                raise Lost('WHERE is HOST:PORT or the path of a unix socket')
            host = host.strip('[]')
            self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
            if tls:
                self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=host)
        self.file = self.socket.makefile('rb', 1 << 16)
        if 'REDIS_PASSWORD' in os.environ:
            self.must('AUTH', *([os.environ['REDIS_USER']] if 'REDIS_USER' in os.environ else []), os.environ['REDIS_PASSWORD'])
        if database:
            self.must('SELECT', database)

    def ask(self, *commands):
        """All of them in one round trip. Where a key is of another type, its reply is a Skip."""
        out = []
        for words in commands:
            out.append(b'*%d\r\n' % len(words))
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                out.append(b'$%d\r\n%s\r\n' % (len(word), word))
        self.socket.sendall(b''.join(out))
        return [self.reply() for _ in commands]

    def must(self, *words):
        return self.ask(words)[0]

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise Lost('the connection was closed')
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            if rest.startswith(b'WRONGTYPE'):
                return Skip('a key of another type')
            raise Lost(ascii(rest.decode(errors='replace'))[1:-1])  # no escape sequence reaches the terminal
        if kind in b'+:':
            return rest if kind == b'+' else int(rest)
        if int(rest) < 0:
            return None
        if kind == b'*':
            return [self.reply() for _ in range(int(rest))]
        text = self.file.read(int(rest) + 2)
        if len(text) != int(rest) + 2:
            raise Lost('the connection was closed')
        return text[:-2]

    def scan(self, prefix):
        """Names, some hundreds at a time. One may come twice."""
        cursor, pattern = b'0', prefix.translate(str.maketrans({c: '\\' + c for c in '*?[]\\'})) + '*'
        while True:
            cursor, keys = self.must('SCAN', cursor, 'MATCH', pattern, 'COUNT', 500)
            if keys:
                yield keys
            if cursor == b'0':
                return


def user_of(value, names):
    """Which member of the line says whose session it is, and what it says."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_MOST:
        raise Skip('the user is neither a number nor a text')
    number = value.isascii() and value.isdigit() and value == str(int(value[:20])) and int(value) < 1 << 64
    return ('user_id', value) if number and not names else ('user', value)


def for_json(value):
    """JSON has no infinity. What is nested, bytes or endless cannot be used here: import leaves it out, and counts it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    good = isinstance(value, (int, float, type(None))) or isinstance(value, str) and len(value) <= NAME_MOST
    return value if good else []


class Export:
    def __init__(self, store, options):
        self.store, self.options = store, options
        self.written = self.nobodys = self.roleless = self.gone = self.others = self.unkept = 0
        self.skipped = collections.Counter()
        self.list = open(options.skipped, 'w', encoding='utf-8', opener=lambda path, flags: os.open(path, flags, 0o600)) \
            if options.skipped else None

    def line(self, token, session):
        options = self.options
        if session.user is None:
            self.nobodys += 1
            return None
        try:
            token = token.decode()
        except UnicodeDecodeError:
            token = {'base64': stores.base64_text(token)}
        name, user = user_of(session.user, options.names)
        line = {'token': token, name: user, 'role': for_json(session.role), 'created_at_ms': for_json(session.created_at_ms),
                'expires_at_ms': for_json(session.expires_at_ms), 'idle_ms': for_json(session.idle_ms)}
        self.roleless += bool(options.role) and session.role is None
        if options.idle:
            line['idle_ms'] = options.idle * 1000
        if options.lifetime:
            line['expires_at_ms'] = stores.now_ms() + options.lifetime * 1000
        if options.keep:
            kept = stores.kept(session.value)
            line['fields'] = {options.keep: kept} if kept else None
            self.unkept += not kept
        return {name: value for name, value in line.items() if value is not None}

    def key(self, name, answers):
        """One of what SCAN found."""
        token = self.store.token(name[len(self.options.prefix.encode()):])
        if token is None:
            self.others += 1
            return
        try:
            for answer in answers:
                if isinstance(answer, Skip):
                    raise answer
            session = self.store.read(answers, self.options)
            if session is None:
                self.gone += 1
                return
            line = self.line(token, session)
        except Skip as skip:
            self.skip(name, str(skip))
        except Exception as error:  # pylint: disable=broad-except # whatever it is: one odd value ends no export
            self.skip(name, f'cannot be read: {type(error).__name__}')
        else:
            if line:
                print(json.dumps(line))
                self.written += 1

    def skip(self, name, reason):
        self.skipped[reason] += 1
        if self.list:
            print(f'{reason}\t{name!r}', file=self.list)

    def longest_ms(self, redis):
        """The longest that any session has left, up to a second."""
        longest = 0
        for keys in redis.scan(self.options.prefix):
            keys = [key for key in keys if self.store.token(key[len(self.options.prefix.encode()):]) is not None]
            longest = max([longest, *redis.ask(*[('PTTL', key) for key in keys])])
        return math.ceil(longest / 1000) * 1000

    def run(self, redis):
        print(json.dumps({'begin': f'{NAME} {self.options.store}'}), flush=True)
        if (self.store.idles or self.options.rolling) and not self.options.idle:
            self.options.longest_ms = self.longest_ms(redis)
        for keys in redis.scan(self.options.prefix):
            commands = [command for key in keys for command in self.store.commands(key)]
            answers, each = redis.ask(*commands), len(commands) // len(keys)
            for i, key in enumerate(keys):
                self.key(key, answers[i * each:(i + 1) * each])
        if self.nobodys and not self.written:
            self.skipped[f'not one session has {self.options.user}: is --user right?'] = self.nobodys
            self.nobodys = 0
        print(json.dumps({'end': {'sessions': self.written, 'skipped': sum(self.skipped.values())}}), flush=True)

    def tell(self):
        def say(text):
            print(f'{NAME}: {text}', file=sys.stderr)
        say(f'{self.written} sessions written')
        if self.options.longest_ms:
            say(f'their idle time is {self.options.longest_ms // 1000} s, the longest that one has left; --idle sets another')
        if self.options.ageless:
            say('some cookies have no maxAge: if the old store extended these sessions at each use, as it usually does, they'
                ' now end all the same when their keys would have; --rolling lets them go on')
        if self.nobodys:
            say(f'{self.nobodys} have no {self.options.user}: they are not logged in')
        if self.roleless:
            say(f'{self.roleless} of them have no {self.options.role}: written without a role')
        if self.unkept:
            say(f'{self.unkept} of them hold more than a field can, or nothing that is JSON: written without {self.options.keep}')
        if self.gone:
            say(f'{self.gone} had ended, or ended while they were read')
        if self.others:
            say(f'{self.others} other keys begin with {self.options.prefix!r}: they hold no session')
        for reason, count in self.skipped.most_common():
            say(f'{count} skipped: {reason}')
        try:
            if self.list:
                self.list.close()
        except OSError as error:
            say(f'--skipped: {error}: the list is not whole')
        if self.skipped and not self.list:
            say('--skipped FILE lists what was skipped; the names are tokens, so keep it safe')


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store', choices=stores.STORES)
    parser.add_argument('where', metavar='WHERE')
    parser.add_argument('--user', metavar='PATH', help="where the user stands; each store has its usual one")
    parser.add_argument('--names', action='store_true', help='users are texts, even where they look like numbers')
    parser.add_argument('--role', metavar='PATH')
    parser.add_argument('--keep', metavar='NAME', help='keeps all that the session held as one field, as JSON')
    parser.add_argument('--prefix', help='what the keys begin with; each store has its usual one')
    parser.add_argument('--db', type=int, default=0, metavar='N', help='the database (0)')
    parser.add_argument('--tls', action='store_true', help='trusted are the certificates of the system, or of SSL_CERT_FILE')
    parser.add_argument('--rolling', action='store_true', help='connect-redis and django: each use extended the session')
    parser.add_argument('--idle', type=int, metavar='SECONDS', help='the idle time of all sessions, whatever the store says')
    parser.add_argument('--lifetime', type=int, metavar='SECONDS', help='all sessions end then, counted from now')
    parser.add_argument('--skipped', metavar='FILE', help='lists there what was skipped')
    options = parser.parse_args()
    store = stores.STORES[options.store]
    options.prefix = store.prefix if options.prefix is None else options.prefix
    options.user = options.user or store.user
    options.longest_ms = 0
    options.ageless = False  # connect-redis: a cookie has no maxAge
    return options, store


def main():
    options, store = arguments()
    if sys.stderr is None:  # closed: print would write to standard output instead, among the sessions
        sys.stderr = open(os.devnull, 'w', encoding='ascii')  # pylint: disable=consider-using-with
    if sys.stdout is None:
        return 'standard output is closed: the export is not whole'
    try:
        export = Export(store, options)
    except OSError as error:
        return f'--skipped: {error}'
    try:
        export.run(Redis(options.where, options.db, options.tls))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        export.tell()
        return 'what reads this has stopped: the export is not whole'
    except (Lost, OSError) as error:
        export.tell()
        return f'{error}: the export is not whole'
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        export.tell()
        return f'WHERE does not answer as Redis does ({type(error).__name__}): the export is not whole'
    export.tell()
    return 1 if export.skipped else 0


if __name__ == '__main__':
    outcome = main()
    if isinstance(outcome, str):
        print(f'{NAME}: {outcome}', file=sys.stderr)
        outcome = 3
    sys.exit(outcome)

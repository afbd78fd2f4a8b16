# SPDX-License-Identifier: MIT
"""Whole stores move in, as examples/import/README.md shows it: a table of PostgreSQL, keys of connect-redis, hashes of Spring
Session. All old tokens are then good, are exchanged, and end with their user. What other software makes is in test_stores.py.

LATCHKEY_MOVE: how many sessions (3000). What each move took is printed."""
import base64
import glob
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import kit
from kit import DONE, wait_for

COUNT = int(os.environ.get('LATCHKEY_MOVE', '3000'))
USERS = max(COUNT // 4, 1)
TAKEN = 'foreign_until_ms=4102444800000&lifetime_ms=86400000'
IMPORT = os.path.join(kit.ROOT, 'examples', 'import')
NOW_MS = int(time.time() * 1000)
LATER_MS = NOW_MS + 7 * 86400_000
NOT_FOUND, RENEW = 1, 0x40000000


def user_of(number):
    return 1 + number % USERS


def role_of(number):
    return 'admin' if number % 10 == 0 else 'member'


class Postgres:
    """A cluster of its own, on a unix socket alone, as an unprivileged user: it refuses to run as root. Use with `with`."""

    def __init__(self):
        self.bin = sorted(glob.glob('/usr/lib/postgresql/*/bin'))[-1]
        self.dir = tempfile.mkdtemp(prefix='latchkey-pg-', dir='/tmp') # others may not go into $TMPDIR
        self.user = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam('nobody')
            os.chown(self.dir, nobody.pw_uid, nobody.pw_gid)
            self.user = {'user': nobody.pw_uid, 'group': nobody.pw_gid, 'extra_groups': []}
        data = os.path.join(self.dir, 'data')
        subprocess.run([f'{self.bin}/initdb', '-D', data, '-A', 'trust', '-U', 'shop', '-E', 'UTF8', '--locale=C', '--no-sync'],
                       check=True, stdout=subprocess.DEVNULL, cwd=self.dir, **self.user)
        with open(os.path.join(self.dir, 'log'), 'wb') as log:
            self.process = subprocess.Popen(
                [f'{self.bin}/postgres', '-D', data, '-k', self.dir, '-c', 'listen_addresses=', '-c', 'fsync=off'],
                stdout=log, stderr=log, cwd=self.dir, **self.user)
        wait_for('PostgreSQL listens', lambda: self.process.poll() is not None or self.psql('-c', 'select 1').returncode == 0)
        if self.process.poll() is not None:
            with open(os.path.join(self.dir, 'log'), encoding='utf-8', errors='replace') as log:
                raise AssertionError('PostgreSQL does not start:\n' + log.read())

    def argv(self, *words):
        return ['psql', '-X', '-qAt', '-v', 'ON_ERROR_STOP=1', '-h', self.dir, '-U', 'shop', '-d', 'postgres', *words]

    def psql(self, *words):
        return subprocess.run(self.argv(*words), capture_output=True, text=True, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Moving(kit.Case):
    def setUp(self):
        self.redis = kit.Redis('--appendonly', 'no', '--maxmemory', '0')
        self.addCleanup(self.redis.__exit__)
        self.old = kit.Redis('--appendonly', 'no', '--maxmemory', '0')
        self.addCleanup(self.old.__exit__)
        self.config = self.redis.url(options=TAKEN)

    def move(self, what, source, *words):
        began = time.monotonic()
        with subprocess.Popen(source, stdout=subprocess.PIPE) as reading:
            done = subprocess.run([kit.COMMAND, 'import', '--json', *words, '-'], stdin=reading.stdout, capture_output=True,
                                  env=kit.environment(self.config), check=False)
        self.assertEqual(0, reading.returncode)
        self.assertEqual(DONE, done.returncode, done.stdout + done.stderr)
        seconds = time.monotonic() - began
        said = json.loads(done.stdout)
        print(f"{what}: {said['moved']} moved in, {said['here_already']} were here, in {seconds:.1f} s, "
              f"{said['lines'] / seconds:.0f} a second", file=sys.stderr)
        return said

    def check_all(self, token_of, created_ms_of=None):
        """Each old token is good, and whose it was; some are exchanged; a user's end by one call."""
        with kit.App(self.config) as app:
            for number in range(COUNT):
                status, words = app.order('entry', token_of(number))
                self.assertEqual(0, status, number)
                user, role, created, _, _, flags = words.split()
                self.assertEqual((str(user_of(number)), role_of(number), RENEW), (user, role, int(flags)), number)
                if created_ms_of:
                    self.assertEqual(created_ms_of(number), int(created))
            for number in range(0, min(COUNT, 2000), 7):
                new = app.rotate(token_of(number))
                self.assertEqual((NOT_FOUND, 0), (app.validate(token_of(number)), app.validate(new)))
            user = user_of(3)
            of_user = [number for number in range(COUNT) if user_of(number) == user]
            self.assertEqual((0, str(len(of_user))), app.order('end', user))
            for number in of_user:
                self.assertEqual(NOT_FOUND, app.validate(token_of(number)))

    def test_a_table_of_postgresql(self):
        def created_ms(number):
            return NOW_MS - 1000 * (number % 3600)

        with Postgres() as postgres:
            made = postgres.psql('-c', f'''
                create table sessions (id text primary key, user_id bigint, role text, created_at timestamptz,
                                       expires_at timestamptz, data jsonb);
                insert into sessions select 'pg-' || md5('salt' || n) , 1 + n % {USERS},
                    case when n % 10 = 0 then 'admin' else 'member' end, to_timestamp(({NOW_MS} - 1000 * (n % 3600)) / 1000.0),
                    to_timestamp({LATER_MS} / 1000.0), jsonb_build_object('cart', n, 'note', E'a "quoted" \\\\ line\\nand more')
                    from generate_series(0, {COUNT - 1}) n;
                insert into sessions select 'over-' || md5(n::text), 1, 'member', now() - interval '2 days',
                    now() - interval '1 day' from generate_series(1, 100) n''')
            self.assertEqual(0, made.returncode, made.stderr)
            tokens = postgres.psql('-v', 'FETCH_COUNT=10000', '-c', f"select 'pg-' || md5('salt' || n) from "
                                   f'generate_series(0, {COUNT - 1}) n').stdout.split()
            query = postgres.argv('-v', 'FETCH_COUNT=10000', '-f', os.path.join(IMPORT, 'sessions.sql'))
            said = self.move('PostgreSQL', query)
            self.assertEqual((COUNT, 0, 0), (said['moved'], said['expired'], said['refused']))
            if COUNT <= 100000:  # by what comes in between two runs no session is doubled
                self.assertEqual(COUNT, self.move('PostgreSQL, again', query)['here_already'])
        with kit.App(self.config) as app:
            data = json.loads(bytes.fromhex(app.order('field', tokens[5], 'data')[1]))
            self.assertEqual({'cart': 5, 'note': 'a "quoted" \\ line\nand more'}, data)
        self.check_all(tokens.__getitem__, created_ms)

    def sql(self, postgres, columns, rows, *options, zone='America/New_York', code=0):
        """A table of one's own, exported by the file as it is. The lines by their tokens, and what is said."""
        postgres.psql('-c', f"alter role shop set timezone = '{zone}'")
        made = postgres.psql('-c', 'drop table if exists sessions', '-c', f'create table sessions ({columns})', '-c', f'insert into sessions values {rows}')
        self.assertEqual(0, made.returncode, made.stderr)
        done = postgres.psql('-v', 'FETCH_COUNT=2', *options, '-f', os.path.join(IMPORT, 'sessions.sql'))
        self.assertEqual(code, done.returncode, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line['token'] if isinstance(line['token'], str) else bytes.fromhex(base64.b64decode(line['token']['base64']).hex()): line
                for line in lines if 'token' in line}, lines, done.stderr

    def test_tables_with_odd_columns(self):
        hour = 3600_000

        def near(wanted_ms, found_ms):
            self.assertAlmostEqual(wanted_ms, found_ms, delta=600_000)

        with Postgres() as postgres:
            # Local time without a zone: the database's own, and that is said; or another one, by option.
            local = 'id text, user_id bigint, role text, created_at timestamp, expires_at timestamp, data text'
            row = "('local-time-of-a-session', 7, null, localtimestamp - interval '1 hour', localtimestamp + interval '1 hour', null)"
            found, lines, said = self.sql(postgres, local, row)
            near(NOW_MS + hour, found['local-time-of-a-session']['expires_at_ms'])
            near(NOW_MS - hour, found['local-time-of-a-session']['created_at_ms'])
            self.assertIn('no time zone', said)
            self.assertIn('America/New_York', said)
            self.assertEqual(['begin', 'end'], [next(iter(lines[0])), next(iter(lines[-1]))])
            row = row.replace('localtimestamp', "(now() at time zone 'UTC')")
            found, _, said = self.sql(postgres, local, row, '-v', 'zone=UTC')
            near(NOW_MS + hour, found['local-time-of-a-session']['expires_at_ms'])
            self.assertIn('read as UTC', said)
            # Ends that are none, users that are nobody, names of every kind.
            found, lines, said = self.sql(
                postgres, 'id text, user_id text, role text, created_at timestamptz, expires_at timestamptz, data bytea',
                """('never-ends-session-0001', '1', null, now(), 'infinity', null), ('no-end-is-known-000001', '2', null, null, null, ''),
                   ('created-before-all-time', '3', null, '-infinity', now() + interval '1 hour', '\\x00ff5c'), ('nobody-is-logged-in-01', null, null, now(), 'infinity', null),
                   (null, '4', null, now(), 'infinity', null), ('named-by-a-text-000001', 'ada@example.org', null, now(), 'infinity', null),
                   ('zeros-before-it-000001', '0017', null, now(), 'infinity', null), ('beyond-64-bits-0000001', '18446744073709551616', null, now(), 'infinity', null),
                   ('all-of-64-bits-00000001', '18446744073709551615', null, now(), 'infinity', null), ('large-data-of-a-session', '6', null, now(), 'infinity', decode(repeat('ab', 65537), 'hex')),
                   ('the-largest-data-there', '8', null, now(), 'infinity', decode(repeat('ab', 65536), 'hex')), ('is-over-since-long-0001', '9', null, now(), now() - interval '1 day', null)
                """)
            self.assertNotIn('no time zone', said)
            self.assertIn('1 sessions have no user', said)
            self.assertIn('1 sessions have no id', said)
            self.assertIn('1 sessions have more than 64 KiB', said)
            self.assertEqual(9, len(found))
            self.assertEqual(('18446744073709551616', '18446744073709551615'),
                             (found['beyond-64-bits-0000001']['user'], found['all-of-64-bits-00000001']['user_id']))
            near(NOW_MS + 3649 * 24 * hour, found['never-ends-session-0001']['expires_at_ms'])
            self.assertIsNone(found['no-end-is-known-000001']['expires_at_ms'])
            self.assertIsNone(found['created-before-all-time']['created_at_ms'])
            self.assertEqual({'base64': 'AP9c'}, found['created-before-all-time']['fields']['data'])
            self.assertIsNone(found['large-data-of-a-session']['fields']['data'])
            self.assertEqual(65536, len(base64.b64decode(found['the-largest-data-there']['fields']['data']['base64'])))
            self.assertEqual(('ada@example.org', None), (found['named-by-a-text-000001']['user'], found['named-by-a-text-000001']['user_id']))
            self.assertEqual('0017', found['zeros-before-it-000001']['user'])
            self.assertEqual({'end': {'sessions': len(lines) - 2, 'skipped': 1}}, lines[-1])
            path = os.path.join(self.redis.dir, 'lines')
            with open(path, 'w', encoding='utf-8') as file:
                file.writelines(json.dumps(line) + '\n' for line in lines)
            outcome = kit.run('import', '--json', '--end', path, config=self.config)
            said = outcome.value
            self.assertEqual((9, 0, 1, 0), tuple(said[name] for name in ('moved', 'refused', 'skipped_by_exporter', 'changed')), outcome.text)
            # Tokens in bytes, and a uuid.
            found, _, _ = self.sql(postgres, 'id bytea, user_id uuid, role text, created_at date, expires_at timestamptz, data json',
                                   "('\\xff00112233445566778899aabbccddeeff', '00000000-0000-0000-0000-000000000005', 'r', current_date, 'infinity', '{\"a\": \"\\u0000\"}')")
            (token, line), = found.items()
            self.assertEqual(bytes.fromhex('ff00112233445566778899aabbccddeeff'), token)
            self.assertEqual(('00000000-0000-0000-0000-000000000005', '{"a": "\\u0000"}'), (line['user'], line['fields']['data']))
            with open(path, 'w', encoding='utf-8') as file:
                file.write(json.dumps({'token': line['token'], 'user_id': 5}) + '\n')
            self.assertEqual(1, kit.run('import', '--json', path, config=self.config).value['moved'])
            # What fails part-way has no end, and another exit status.
            found, lines, said = self.sql(postgres, 'id text, user_id text, role text, created_at text, expires_at timestamptz, data text',
                                          "('a-session-of-somebody-1', '1', null, 'x', 'infinity', null)", code=3)
            self.assertNotIn('"end"', json.dumps(lines))

    def fill(self, commands):
        """Commands into the old store, as many as there are, without waiting for each."""
        with subprocess.Popen(['redis-cli', '-s', self.old.socket, '--pipe'], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL) as pipe:
            for words in commands:
                words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
                pipe.stdin.write(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
            pipe.stdin.close()
            self.assertEqual(0, pipe.wait())

    def dump(self, *words):
        return [sys.executable, '-B', os.path.join(IMPORT, 'redis_sessions.py'), *words, self.old.socket]

    def test_keys_of_connect_redis(self):
        def sid(number):
            return uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex[:32]

        def keys():
            expires = time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(LATER_MS / 1000))
            for number in range(COUNT):
                session = {'cookie': {'originalMaxAge': 604800000, 'expires': expires, 'httpOnly': True, 'path': '/'},
                           'passport': {'user': user_of(number), 'role': role_of(number)}, 'cart': ['\u00e4', number]}
                yield 'SET', f'sess:{sid(number)}', json.dumps(session), 'PX', LATER_MS - NOW_MS
            yield 'SET', 'sess:somebody-who-is-not-logged-in', '{"cookie":{}}'
            yield 'SET', 'session-of-something-else', 'x'

        self.fill(keys())
        said = self.move('connect-redis', self.dump('connect-redis', '--user', 'passport.user', '--role', 'passport.role',
                                                    '--keep', 'express'))
        self.assertEqual((COUNT, 0), (said['moved'], said['refused']))
        with kit.App(self.config) as app:
            kept = json.loads(bytes.fromhex(app.order('field', sid(9), 'express')[1]))
            self.assertEqual(['\u00e4', 9], kept['cart'])
            self.assertEqual((604800000, True), (kept['cookie']['originalMaxAge'], kept['cookie']['httpOnly']))  # express-session wants it
        self.check_all(sid)

    def test_hashes_of_spring_session(self):
        def name(number):
            return str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number)))

        def created_ms(number):
            return NOW_MS - 1000 * (number % 3600)

        def keys():
            for number in range(COUNT):
                context = {'@class': 'org.springframework.security.core.context.SecurityContextImpl', 'authentication': {
                    'principal': {'id': user_of(number), 'username': f'user-{number}', 'role': role_of(number)}}}
                yield ('HSET', f'spring:session:sessions:{name(number)}', 'creationTime', created_ms(number),
                       'lastAccessedTime', NOW_MS, 'maxInactiveInterval', 86400,
                       'sessionAttr:SPRING_SECURITY_CONTEXT', json.dumps(context))
                if number < 100:
                    yield 'SET', f'spring:session:sessions:expires:{name(number)}', ''
            yield ('HSET', f'spring:session:sessions:{name(-1)}', 'creationTime', 1, 'lastAccessedTime', 2,
                   'maxInactiveInterval', 1800, 'sessionAttr:SPRING_SECURITY_CONTEXT', json.dumps(context))

        self.fill(keys())
        principal = 'SPRING_SECURITY_CONTEXT.authentication.principal'
        said = self.move('Spring Session', self.dump('spring', '--user', f'{principal}.id', '--role', f'{principal}.role'))
        self.assertEqual((COUNT, 1, 0), (said['moved'], said['expired'], said['refused']))
        self.check_all(name, created_ms)


if __name__ == '__main__':
    kit.main()

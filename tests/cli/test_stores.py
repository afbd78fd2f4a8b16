# SPDX-License-Identifier: MIT
"""Sessions of other software move in. What made them is that software itself: PHP, Laravel, Rails, Django and Flask-Session write them
into Redis (old_stores/), the commands of examples/import/README.md export and import them, and each token is then good for its user.
What is odd is skipped, counted by its reason and told by the exit status; nothing ends an export part-way, and nothing that a
session names is ever run."""
import base64
import hashlib
import json
import os
import pickle
import random
import re
import shlex
import socket
import subprocess
import sys
import time
import uuid

import kit
from kit import DONE, NO

HERE = os.path.dirname(os.path.abspath(__file__))
IMPORT = os.path.join(kit.ROOT, 'examples', 'import')
EXPORTER = os.path.join(IMPORT, 'redis_sessions.py')
DEBIAN_PYTHON = '/usr/bin/python3'  # the packages of Debian are this one's
TAKEN = 'foreign_until_ms=4102444800000&lifetime_ms=86400000'
COUNT, NOBODY = 5, 3  # number 3 is not logged in
NOW_MS = int(time.time() * 1000)
HOUR_MS = 3600_000
NOT_FOUND = 1
LOST, SKIPPED = 3, 1

sys.path.insert(0, IMPORT)
import java_values  # noqa: E402
import msgpack_values  # noqa: E402
import php_values  # noqa: E402
import pickle_values  # noqa: E402
import ruby_values  # noqa: E402
from values import Skip, plain  # noqa: E402


def readme_command(store):
    """The exporter's command as it is printed."""
    with open(os.path.join(IMPORT, 'README.md'), encoding='utf-8') as file:
        block = re.search(r'^```sh\n(.*?)^```', file.read(), re.M | re.S)[1].replace('\\\n', ' ')
    (line,) = [line for line in block.splitlines() if f'redis_sessions.py {store} ' in line]
    return line


class StoreCase(kit.Case):
    def setUp(self):
        self.redis = kit.Redis('--appendonly', 'no', '--maxmemory', '0')
        self.addCleanup(self.redis.__exit__)
        self.old = kit.Redis('--appendonly', 'no', '--maxmemory', '0')
        self.addCleanup(self.old.__exit__)
        self.config = self.redis.url(options=TAKEN)

    def made(self, *words):
        """What the old software says: ids, a line each."""
        done = subprocess.run([words[0], os.path.join(HERE, 'old_stores', words[1]), self.old.socket, *map(str, words[2:])],
                              capture_output=True, text=True, timeout=kit.PATIENCE_S, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.split()

    def put(self, *commands):
        """Commands into the old store; words may be any bytes."""
        out = []
        for words in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            out.append(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
        done = subprocess.run(['redis-cli', '-s', self.old.socket, '--pipe'], input=b''.join(out), capture_output=True, check=False)
        self.assertIn(b'errors: 0', done.stdout, done.stdout)

    def export(self, store, *words, code=0):
        done = subprocess.run([sys.executable, '-B', EXPORTER, store, *words, self.old.socket], capture_output=True,
                              timeout=kit.PATIENCE_S, check=False)
        said = done.stderr.decode()
        self.assertNotIn('Traceback', said)
        self.assertEqual(code, done.returncode, said)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual('begin', next(iter(lines[0])))
        if code != LOST:
            self.assertEqual('end', next(iter(lines[-1])))
        return {line['token'] if isinstance(line['token'], str) else base64.b64decode(line['token']['base64']): line
                for line in lines if 'token' in line}, said

    def move(self, command, code=DONE):
        """A pipeline of the README, with the real places in it. What import says."""
        words = shlex.split(command.replace('old-redis:6379', self.old.socket))
        at = words.index('|')
        words[0] = os.path.join(kit.ROOT, words[0])
        with subprocess.Popen([sys.executable, '-B', *words[:at]], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
            done = subprocess.run([kit.COMMAND, *words[at + 2:], '--json'], stdin=reading.stdout, capture_output=True,
                                  env=kit.environment(self.config), check=False)
            said = reading.stderr.read().decode()
        self.assertNotIn('Traceback', said)
        self.assertEqual(code, done.returncode, done.stdout.decode() + done.stderr.decode() + said)
        return json.loads(done.stdout), said

    def check_there(self, tokens, role=True):
        with kit.App(self.config) as app:
            for number, token in enumerate(tokens):
                status, words = app.order('entry', token)
                if number == NOBODY:
                    self.assertEqual(NOT_FOUND, status)
                    continue
                self.assertEqual(0, status, number)
                self.assertEqual(str(1 + number), words.split()[0])
                if role:
                    self.assertEqual('member' if number % 2 else 'admin', words.split()[1])

    def check_moves(self, store, tokens, skipped=0, extra=''):
        """By the README's own command, and then once more with all that the session held."""
        command = readme_command(store).replace('redis_sessions.py ' + store, f'redis_sessions.py {store} {extra}')
        said, told = self.move(command, NO if skipped else DONE)
        self.assertEqual((COUNT - 1, 0, skipped), (said['moved'], said['refused'], said['skipped_by_exporter']), said)
        self.assertIn(f'{COUNT - 1} sessions written', told)
        self.assertIn(': 1 have no ', told)
        self.check_there(tokens, role=False)
        self.redis.cli('FLUSHALL')
        said, _ = self.move(re.sub(' --keep [a-z.]+', '', command).replace(store + ' ', store + ' --role role --keep all ', 1), NO if skipped else DONE)
        self.assertEqual((COUNT - 1, 0), (said['moved'], said['changed']), said)
        self.check_there(tokens)
        with kit.App(self.config) as app:
            return json.loads(bytes.fromhex(app.order('field', tokens[0], 'all')[1]))


class RealStores(StoreCase):
    def test_php(self):
        tokens = {handler: self.made('php', 'php.php', handler, COUNT) for handler in ('php', 'php_serialize', 'php_binary')}
        self.put(('SET', f"PHPREDIS_SESSION:{tokens['php'][0]}_LOCK", 'localhost|5'))
        kinds = [self.old.cli('GET', f'PHPREDIS_SESSION:{tokens[handler][0]}')[:3] for handler in tokens]
        self.assertEqual(['use', 'a:6', '\x07us'], kinds)
        found, said = self.export('php', '--role', 'role')
        self.assertIn(': 3 have no user_id', said)
        self.assertIn("1 other keys begin with 'PHPREDIS_SESSION:'", said)
        self.assertEqual({token for some in tokens.values() for i, token in enumerate(some) if i != NOBODY}, set(found))
        self.assertAlmostEqual(86400_000, found[tokens['php'][0]]['idle_ms'], delta=600_000)
        self.old.cli('PEXPIRE', f"PHPREDIS_SESSION:{tokens['php'][0]}", '60000')  # not used for nearly a day
        found, said = self.export('php')
        self.assertEqual({found[tokens['php'][1]]['idle_ms']}, {line['idle_ms'] for line in found.values()})
        self.assertIn('their idle time is 86', said)
        self.old.cli('PERSIST', f"PHPREDIS_SESSION:{tokens['php'][0]}")
        self.assertEqual(315360000000, self.export('php')[0][tokens['php'][0]]['idle_ms'])
        for handler in ('php_serialize', 'php_binary'):
            self.old.cli('DEL', *(f'PHPREDIS_SESSION:{token}' for token in tokens[handler]))
        self.put(('SET', 'PHPREDIS_SESSION:' + 'i' * 26, b'\0\0\0\2\x14\1'), ('SET', 'PHPREDIS_SESSION:' + 'z' * 26, b'\x28\xb5\x2f\xfd compressed'))
        _, said = self.export('php', code=SKIPPED)
        self.assertIn('1 skipped: written by igbinary', said)
        self.assertIn('1 skipped: not a session of PHP', said)
        self.old.cli('DEL', *('PHPREDIS_SESSION:' + c * 26 for c in 'iz'))
        kept = self.check_moves('php', tokens['php'])
        self.assertEqual('J\u00f6rg|;"{}', kept['name'])
        self.assertEqual({'@class': 'Cart', 'items': {'eggs': 2}, 'total': 3.5, 'owner': None}, kept['cart'])
        self.assertEqual(kept['cart'], kept['same'])
        self.assertEqual([1, -2, 1.5, True, None, 'a\0b'], list(kept['list'].values()))

    def test_laravel(self):
        tokens = self.made('php', 'laravel.php', 'php', COUNT)
        kept = self.check_moves('laravel', tokens)
        self.assertEqual({'eggs': 2}, kept['cart'])
        self.made('php', 'laravel.php', 'encrypted', 2)
        attributes = json.dumps({'login_web_' + hashlib.sha1(rb'Illuminate\Auth\SessionGuard').hexdigest(): 77}).encode()
        self.put(('SET', b'laravel_database_laravel_cache_-' + b'a' * 40, b's:%d:"%s";' % (len(attributes), attributes)),  # its other keys
                 ('SET', b'laravel_database_laravel_cache' + b'b' * 40, b's:%d:"%s";' % (len(attributes), attributes)))
        found, said = self.export('laravel', code=SKIPPED)
        self.assertIn('2 skipped: encrypted', said)
        self.assertIn('1 other keys', said)
        self.assertEqual(['77', '77'], [found[name * 40]['user_id'] for name in 'ab'])

    def test_rails(self):
        ids = self.made('ruby', 'rails.rb', COUNT)
        tokens = ['2::' + hashlib.sha256(one.encode()).hexdigest() for one in ids]  # as Rack looks them up
        kept = self.check_moves('rails', tokens)
        self.assertEqual({'flashes': {'notice': 'J\u00f6rg'}}, kept['flash'])
        self.assertEqual([1.5, 2**70, -129, 65536, None, True, 'symbol'], kept['many'][:7])
        self.assertEqual([{'@class': 'Cart', 'items': ['eggs'], 'total': 3}, {'base64': '/w=='}, 'again', 'symbol'], kept['many'][8:])
        found, _ = self.export('rails', '--user', 'warden.user.user.key.0.0')
        self.assertEqual([str(1 + i) for i in range(COUNT)], [found[token]['user_id'] for token in tokens])
        self.put(('SET', 'session:2::' + 'c' * 64, '{"user_id":9,"session_id":"x"}'))  # redis-session-store with :json
        self.assertEqual('9', self.export('rails')[0]['2::' + 'c' * 64]['user_id'])

    def test_django(self):
        for engine, serializer in (('cache', 'json'), ('cache', 'msgpack'), ('cache', 'zlib'), ('signed', ''), ('cache', 'pickle')):
            with self.subTest(engine=engine, serializer=serializer):
                self.old.cli('FLUSHALL')
                self.redis.cli('FLUSHALL')
                tokens = self.made(DEBIAN_PYTHON, 'django_sessions.py', engine, serializer, COUNT)
                self.old.cli('SET', ':1:something-else-in-the-cache', 'x')
                self.old.cli('SET', ':1:django.contrib.sessions.cache.x', 'x')
                kept = self.check_moves('django', tokens)
                self.assertEqual('J\u00f6rg ' * 50, kept['cart']['note'])
        self.assertEqual([[1, 2], [3, 4], {'base64': '/w=='}, 2**70, None], kept['seen'][1:])
        found, _ = self.export('django')
        self.assertAlmostEqual(int(time.time() * 1000) + 86400_000, found[tokens[0]]['expires_at_ms'], delta=600_000)
        name = self.old.cli('--scan', '--pattern', f'*{tokens[0]}')
        self.old.cli('RENAME', name, f':1:django.contrib.sessions.cached_db{tokens[0]}')
        old_form = base64.b64encode(b'f' * 40 + b':{"_auth_user_id": "5"}')  # before Django 3.1
        self.put(('SET', ':1:django.contrib.sessions.cache' + 'a' * 32, old_form))
        again, _ = self.export('django')
        self.assertEqual({*found, 'a' * 32}, set(again))

    def test_django_in_its_database_by_itself(self):
        """The program that README.md shows."""
        with open(os.path.join(IMPORT, 'README.md'), encoding='utf-8') as file:
            program = re.search(r'^```python\n(.*?)^```', file.read(), re.M | re.S)[1]
        done = subprocess.run([DEBIAN_PYTHON, os.path.join(HERE, 'old_stores', 'django_sessions.py'), self.old.socket, 'database', '-',
                               str(COUNT)], input=program, capture_output=True, text=True, timeout=kit.PATIENCE_S, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        path = os.path.join(self.old.dir, 'lines')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(done.stdout)
        said = kit.run('import', '--json', '--end', path, config=self.config)
        self.check(said, DONE)
        for line in map(json.loads, done.stdout.splitlines()[:-1]):  # as long as in Django, whatever idle_ms is here
            self.assertTrue(80000_000 < line['idle_ms'] <= 86400_000, line)
        self.assertEqual((COUNT - 1, COUNT - 1), (said.value['lines'], said.value['moved']))

    def test_flask(self):
        tokens = self.made(DEBIAN_PYTHON, 'flask_sessions.py', COUNT)
        kept = self.check_moves('flask', tokens)
        self.assertEqual({'eggs': 2, 'prices': [1.5, None, [1, 2], ['x'], {'base64': '/w=='}]}, kept['cart'])
        self.assertEqual(str(uuid.UUID(int=0)), kept['id'])
        packed = subprocess.run([DEBIAN_PYTHON, '-c', 'import msgpack, sys; sys.stdout.buffer.write(msgpack.packb({"_user_id": 2**64 - 1, '
                                 '"list": [-1, -33, -129, -2**40, 200, 70000, 1.5, None, True, False, b"x" * 300, "y" * 40, {"a": 1}, '
                                 'list(range(20)), msgpack.ExtType(5, b"1234")], "_permanent": True}))'], capture_output=True, check=True).stdout
        self.put(('SET', 'session:' + 'm' * 43, packed), ('SET', 'session:' + 'e' * 43, b'\x80'),
                 ('SET', 'session:' + 'j' * 43, '{"_user_id":"8"}'))
        found, said = self.export('flask', '--keep', 'all')
        self.assertEqual(('18446744073709551615', '8'), (found['m' * 43]['user_id'], found['j' * 43]['user_id']))
        self.assertIn(': 2 have no _user_id', said)
        values = json.loads(found['m' * 43]['fields']['all'])['list']
        self.assertEqual([-1, -33, -129, -2**40, 200, 70000, 1.5, None, True, False], values[:10])
        self.assertEqual([{'base64': base64.b64encode(b'x' * 300).decode()}, 'y' * 40, {'a': 1}, list(range(20))], values[10:14])


def java_bytes(name):
    with open(os.path.join(HERE, 'old_stores', 'java_values.txt'), encoding='ascii') as file:
        return dict((line.split()[0], base64.b64decode(line.split()[1])) for line in file)[name]


class Spring(StoreCase):
    ID = 'SPRING_SECURITY_CONTEXT.authentication.principal.id'

    def spring(self, **fields):
        """A hash; returns its id."""
        name = str(uuid.uuid4())
        base = {'creationTime': NOW_MS - HOUR_MS, 'lastAccessedTime': NOW_MS, 'maxInactiveInterval': 1800, 'sessionAttr:userId': 7}
        base.update((key.replace('__', ':'), value) for key, value in fields.items())
        self.put(['HSET', f'spring:session:sessions:{name}', *(word for key, value in base.items() if value is not None for word in (key, value))])
        return name

    def test_what_lies_beside_its_hashes(self):
        name = self.spring()
        self.put(('ZADD', 'spring:session:sessions:expirations', 5, name), ('SET', f'spring:session:sessions:expires:{name}', ''),
                 ('SADD', 'spring:session:expirations:170000', name), ('SET', 'spring:session:sessions:not-a-hash', 'x'))
        found, said = self.export('spring', '--user', 'userId', code=SKIPPED)
        self.assertEqual([name], list(found))
        self.assertIn('2 other keys', said)
        self.assertIn('1 skipped: a key of another type', said)

    def test_times_of_every_kind(self):
        forever, longest, over = self.spring(maxInactiveInterval=-1), self.spring(maxInactiveInterval=2147483647), self.spring(lastAccessedTime=5)
        typed = self.spring(creationTime=f'["java.lang.Long",{NOW_MS - 5000}]', maxInactiveInterval='["java.lang.Integer",7200]')
        no_interval = self.spring(maxInactiveInterval=None, lastAccessedTime=None)
        self.spring(maxInactiveInterval=0, lastAccessedTime=NOW_MS + HOUR_MS) # ended, by a machine whose clock is ahead
        half, words, early = self.spring(creationTime=None), self.spring(creationTime='"soon"'), self.spring(creationTime=-5)
        found, said = self.export('spring', code=SKIPPED)
        self.assertEqual({forever, longest, over, typed, no_interval, early}, set(found))
        self.assertIn('1 had ended, or ended while they were read', said)
        self.assertIn('1 skipped: half written', said)
        self.assertIn('1 skipped: creationTime is no number', said)
        self.assertEqual((NOW_MS - 5000, 7_200_000), (found[typed]['created_at_ms'], found[typed]['idle_ms']))
        outcome, _ = self.move(readme_command('spring').replace(self.ID, 'userId'), NO)
        self.assertEqual((5, 1, 0, 2), tuple(outcome[name] for name in ('moved', 'expired', 'refused', 'skipped_by_exporter')), outcome)
        with kit.App(self.config) as app:
            self.assertEqual([0] * 5, [app.validate(token) for token in (forever, longest, typed, no_interval, early)])
            self.assertEqual([NOT_FOUND] * 3, [app.validate(token) for token in (half, words, over)])

    def test_users_of_every_type(self):
        number, name, whole = (self.spring(sessionAttr__userId=json.dumps(['java.lang.Long', 2**53 + 1])),
                               self.spring(sessionAttr__userId=json.dumps(['java.util.UUID', str(uuid.UUID(int=7))])),
                               self.spring(sessionAttr__userId=json.dumps({'id': ['java.math.BigInteger', 7]})))
        several = self.spring(sessionAttr__userId='[1,2]')
        found, _ = self.export('spring', '--user', 'userId', code=SKIPPED)
        self.assertEqual((str(2**53 + 1), str(uuid.UUID(int=7))), (found[number]['user_id'], found[name]['user']))
        self.assertEqual({number, name}, set(found))
        found, _ = self.export('spring', '--user', 'userId.id')
        self.assertEqual('7', found[whole]['user_id'])
        self.assertNotIn(several, found)

    def test_written_by_java(self):
        name = self.spring(creationTime=java_bytes('1790000000123'), lastAccessedTime=NOW_MS, maxInactiveInterval=java_bytes('1800'),
                           sessionAttr__userId=java_bytes('text'), sessionAttr__map=java_bytes('map'),
                           sessionAttr__SPRING_SECURITY_CONTEXT=java_bytes('context'))
        found, _ = self.export('spring', '--user', self.ID, '--role', self.ID.replace('.id', '.role'), '--keep', 'all')
        line = found[name]
        self.assertEqual(('4711', 'admin', 1790000000123, 1800_000), tuple(line[k] for k in ('user_id', 'role', 'created_at_ms', 'idle_ms')))
        kept = json.loads(line['fields']['all'])
        account = kept['SPRING_SECURITY_CONTEXT']['authentication']['principal']
        self.assertEqual('J\u00f6rg \U0001f600\0', account['username'])
        self.assertEqual(('HIGH', '01234567-89ab-cdef-fedc-ba9876543210', [1, -2], None),
                         tuple(account[k] for k in ('rank', 'uuid', 'numbers', 'self')))
        self.assertEqual({'id': 5, 'list': [1, 2], 'set': ['x'], 'date': 1000, 'map': {'k': 'v'}, 'array': ['a', 'b'], 'linked': [9],
                          'hash': {'h': 1}, 'deque': [3]}, {k: v for k, v in kept['map'].items() if k not in ('external', 'class')})
        self.assertEqual('17', self.export('spring', '--user', 'userId')[0][name]['user_id'])
        self.assertEqual('5', self.export('spring', '--user', 'map.id')[0][name]['user_id'])
        self.spring(sessionAttr__userId=b'\x01\x00Kryo')
        self.assertIn("1 skipped: written neither as JSON nor by Java's serialization", self.export('spring', '--user', 'userId', code=SKIPPED)[1])
        torn = self.spring(sessionAttr__SPRING_SECURITY_CONTEXT=java_bytes('context')[:-40])
        found, said = self.export('spring', '--user', self.ID, code=SKIPPED)
        self.assertNotIn(torn, found)
        self.assertIn("1 skipped: not written by Java's serialization", said)


class ConnectRedis(StoreCase):
    def sess(self, name, value, px=HOUR_MS):
        value = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.put(('SET', b'sess:' + name, value, *(['PX', px] if px else [])))

    def test_the_command_of_the_readme_and_times(self):
        def cookie(delta_ms, **more):
            when = time.gmtime((NOW_MS + delta_ms) / 1000)
            return {'cookie': {'originalMaxAge': 2 * HOUR_MS, 'expires': time.strftime('%Y-%m-%dT%H:%M:%S.000Z', when), **more},
                    'passport': {'user': 7}}

        names = [b'cookie-expired-but-in-use-0001', b'key-ends-before-the-cookie-0001', b'the-key-has-no-end-at-all-00001', b'no-cookie-at-all-0000000000001']
        self.sess(names[0], cookie(-5 * HOUR_MS))
        self.sess(names[1], cookie(100 * HOUR_MS))
        self.sess(names[2], cookie(-5 * HOUR_MS, originalMaxAge=None, expires='nonsense'), px=0)
        self.sess(names[3], {'passport': {'user': 7}})
        said, _ = self.move(readme_command('connect-redis'))
        self.assertEqual((4, 0, 0), (said['moved'], said['expired'], said['refused']))
        with kit.App(self.config) as app:
            ends = [int(app.order('entry', name.decode())[1].split()[3]) for name in names]
        for i, hours in enumerate((1, 1, 24, 1)):  # the third: lifetime_ms
            self.assertAlmostEqual(NOW_MS + hours * HOUR_MS, ends[i], delta=600_000)

    def test_odd_values_are_skipped_and_counted(self):
        good = {'cookie': {'originalMaxAge': 3600000.0}, 'userId': 17, 'more': {'text': 'a\0b', 'half': '\ud83d'}}
        fine = {
            b'with:colons:in:its:name': good, b'a-float-for-its-user-': {'userId': 17.0}, b'a-text-for-its-user--': {'userId': '17'},
            b'cookie-is-a-text-----': {'cookie': 'x', 'userId': 17}, b'\xff\xfe-bytes-in-its-name': good,
            b'a-role-of-its-own----': {'userId': 17, 'role': ['x', 'y']}, b'a-book-for-its-role--': {'userId': 17, 'role': 'x' * 9_000_000}, b'bytes-that-are-no-text': b'{"userId":17,"x":"\xff\xfe"}',
            b'a-max-age-of-nonsense': {'userId': 17, 'cookie': {'originalMaxAge': 'soon'}}, b'infinity-------------': b'{"userId":17,"role":Infinity,"x":NaN}',
        }
        nobody = {b'nobody-is-logged-in--': {'cookie': {}}, b'null-----------------': {'userId': None}}
        odd = {
            b'not-json-at-all------': (b'\x00\x01\x02', 'not JSON'), b'cut-off--------------': (b'{"userId":1', 'not JSON'),
            b'empty----------------': (b'', 'not JSON'), b'a-list---------------': ([1], 'not an object'), b'a-text---------------': ('x', 'not an object'),
            b'true-for-its-user----': ({'userId': True}, 'neither a number nor a text'), b'an-object-for-its-user': ({'userId': {'id': 1}}, 'neither a number nor a text'),
            b'half-for-its-user----': ({'userId': 1.5}, 'neither a number nor a text'), b'nothing-for-its-user-': ({'userId': ''}, 'neither a number nor a text'),
            b'deep-----------------': (b'[' * 100000, 'RecursionError'),
            b'a-book-for-its-user--': ({'userId': 'x' * 1025}, 'neither a number nor a text'),
        }
        for name, value in {**fine, **nobody}.items():
            self.sess(name, value)
        for name, (value, _) in odd.items():
            self.sess(name, value)
        for number in range(2000):
            self.sess(b'good-%027d' % number, good) if number < 20 else None
        self.put(('SADD', 'sess:a-set---------------', 'x'), *(('SET', b'sess:many-%027d' % i, json.dumps(good), 'PX', HOUR_MS) for i in range(2000)))
        path = os.path.join(self.old.dir, 'skipped')
        found, said = self.export('connect-redis', '--role', 'role', '--keep', 'all', '--skipped', path, code=SKIPPED)
        self.assertEqual(2020 + len(fine), len(found))
        for name in fine:
            self.assertIn(name if name.startswith(b'\xff') else name.decode(), found)
        for reason in {reason for _, reason in odd.values()}:
            self.assertIn(reason, said)
        self.assertIn('1 skipped: a key of another type', said)
        self.assertIn('2 have no userId', said)
        with open(path, encoding='utf-8') as file:
            listed = file.read()
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)
        self.assertEqual(len(odd) + 1, len(listed.splitlines()))
        self.assertIn('sess:cut-off--------------', listed)
        self.assertNotIn('cut-off', said)
        outcome, _ = self.move(readme_command('connect-redis').replace('passport.user', 'userId --role role'), NO)
        self.assertEqual((2020 + len(fine), 0, len(odd) + 1),
                         (outcome['moved'], outcome['refused'], outcome['skipped_by_exporter']), outcome)

    def test_users_that_are_numbers_and_texts(self):
        users = [0, 17, '17', '017', 2**64 - 1, str(2**64 - 1), 2**64, -1, '-1', 'ada@example.org', '507f1f77bcf86cd799439011',
                 str(uuid.UUID(int=5)), '\u0665', '1e3', ' 17', '18446744073709551616', '99999999999999999999999']
        for number, user in enumerate(users):
            self.sess(b'token-of-user-%04d' % number, {'userId': user})
        found, _ = self.export('connect-redis')
        said = [found['token-of-user-%04d' % number] for number in range(len(users))]
        numbers = {0, 1, 2, 4, 5}
        for number, line in enumerate(said):
            self.assertEqual(str(users[number]), line.get('user_id' if number in numbers else 'user'), line)
            self.assertNotIn('user' if number in numbers else 'user_id', line)
        outcome, _ = self.move(readme_command('connect-redis').replace('passport.user', 'userId'))
        self.assertEqual((len(users), 0), (outcome['moved'], outcome['refused']))
        with kit.App(self.config) as app:
            for number, line in enumerate(said):
                wanted = line.get('user_id') or str(int.from_bytes(hashlib.blake2b(line['user'].encode(), digest_size=8).digest(), 'little'))
                self.assertEqual(wanted, app.order('entry', 'token-of-user-%04d' % number)[1].split()[0])
        found, _ = self.export('connect-redis', '--names')
        self.assertEqual(sorted(map(str, users)), sorted(line['user'] for line in found.values()))

    def test_a_path_that_leads_nowhere_is_said(self):
        for number in range(3):
            self.sess(b'token-of-user-%04d' % number, {'userId': 1 + number, **({'role': 'admin'} if number else {})})
        found, said = self.export('connect-redis', '--user', 'userid', code=SKIPPED)
        self.assertEqual({}, found)
        self.assertIn('3 skipped: not one session has userid', said)
        outcome, _ = self.move(readme_command('connect-redis'), NO)
        self.assertEqual((0, 3), (outcome['moved'], outcome['skipped_by_exporter']))
        _, said = self.export('connect-redis', '--role', 'role')
        self.assertIn('1 of them have no role', said)

    def test_times_by_option(self):
        self.sess(b'a-session-of-somebody', {'userId': 1, 'cookie': {'originalMaxAge': 5}})
        found, _ = self.export('connect-redis', '--idle', '60', '--lifetime', '7200')
        (line,) = found.values()
        self.assertEqual(60_000, line['idle_ms'])
        self.sess(b'a-session-without-age', {'userId': 1}, 5000)
        _, said = self.export('connect-redis')
        self.assertIn('some cookies have no maxAge', said)
        found, said = self.export('connect-redis', '--rolling')
        self.assertNotIn('maxAge', said)
        self.assertEqual(5, found['a-session-of-somebody']['idle_ms'])
        self.assertAlmostEqual(HOUR_MS, found['a-session-without-age']['idle_ms'], delta=600_000)  # what is left of it
        self.assertEqual([False] * 2, ['expires_at_ms' in line for line in found.values()])
        self.assertAlmostEqual(int(time.time() * 1000) + 7200_000, line['expires_at_ms'], delta=600_000)

    def test_what_is_kept_is_left_out_where_it_is_too_large(self):
        self.sess(b'a-session-of-somebody', {'userId': 1, 'big': 'x' * 9_000_000})
        found, said = self.export('connect-redis', '--keep', 'all')
        self.assertNotIn('fields', found['a-session-of-somebody'])
        self.assertIn('1 of them hold more than a field can', said)

    def test_an_export_that_breaks_off_has_no_end(self):
        self.put(*(('SET', b'sess:many-%027d' % i, b'{"userId":1,"x":"%s"}' % (b'x' * 2000), 'PX', HOUR_MS) for i in range(5000)))
        with subprocess.Popen([sys.executable, '-B', EXPORTER, 'connect-redis', self.old.socket], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as reading:
            first = reading.stdout.readline()
            self.old.kill()
            out, err = reading.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(LOST, reading.returncode, err)
        self.assertNotIn(b'"end"', out)
        self.assertIn(b'not whole', err)
        path = os.path.join(self.redis.dir, 'lines')
        with open(path, 'wb') as file:
            file.write(first + out)
        self.check(kit.run('import', path, config=self.config), NO, 'end of the export is missing')
        _, said = self.export_without_server()
        self.assertIn('not whole', said)

    def test_what_is_no_redis(self):
        """Whatever it answers: the export is not whole, which is status 3 and no traceback; and no escape reaches a terminal."""
        for answer, said in ((b'*1\r\n' * 5000, 'RecursionError'), (b'+OK\r\n', 'as Redis does'), (b'_\r\n', 'as Redis does'),
                             (b'*1\r\n$1\r\n0\r\n', 'as Redis does'), (b'-LOADING \x1b[31m\r\n', r'LOADING \x1b[31m'), (b'', 'closed')):
            with socket.create_server(('127.0.0.1', 0)) as server:
                reading = subprocess.Popen([sys.executable, '-B', EXPORTER, 'django', f'127.0.0.1:{server.getsockname()[1]}'],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                client, _ = server.accept()
                with client:
                    client.recv(1000)
                    client.sendall(answer)
                _, err = reading.communicate(timeout=kit.PATIENCE_S)
            self.assertEqual(LOST, reading.returncode, err)
            self.assertIn(said, err)
            self.assertNotIn('Traceback', err)
            self.assertIn('not whole', err)
        done = subprocess.run([sys.executable, '-B', EXPORTER, 'django', '--skipped', '/nowhere/x', self.old.socket],
                              capture_output=True, text=True, timeout=kit.PATIENCE_S)
        self.assertEqual((LOST, True), (done.returncode, '--skipped: ' in done.stderr), done.stderr)

    def test_streams_that_are_closed(self):
        self.sess(b'a-session-of-somebody', {'userId': 1})
        self.sess(b'a-session-of-another', {'userId': []})
        for closed, code, lines in (('>&-', LOST, 0), ('2>&-', NO, 3), ('>&- 2>&-', LOST, 0)):
            done = subprocess.run(['sh', '-c', f'exec "$@" {closed}', 'sh', sys.executable, '-B', EXPORTER, 'connect-redis', self.old.socket],
                                  capture_output=True, timeout=kit.PATIENCE_S, check=False)
            self.assertEqual((code, lines), (done.returncode, len([json.loads(line) for line in done.stdout.splitlines()])), done)
        _, said = self.export('connect-redis', '--skipped', '/dev/full', code=NO)
        self.assertIn('the list is not whole', said)

    def test_a_password_a_database_and_tls(self):
        folder, port = self.redis.dir, kit.free_port()
        key, certificate = os.path.join(folder, 'key'), os.path.join(folder, 'certificate')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=old',
                        '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate], check=True, capture_output=True)
        with kit.Redis('--tls-port', str(port), '--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate,
                       '--tls-auth-clients', 'no', admin='a secret') as old:
            old.cli('ACL', 'SETUSER', 'reader', 'on', '>another', '~*', '+@all')
            old.cli('-n', '3', 'SET', 'sess:a-session-of-somebody', '{"userId":1}')

            def export(where, *words, code, **env):
                done = subprocess.run([sys.executable, '-B', EXPORTER, 'connect-redis', *words, where], capture_output=True, text=True,
                                      env={**os.environ, **env}, timeout=kit.PATIENCE_S, check=False)
                self.assertNotIn('Traceback', done.stderr)
                self.assertEqual(code, done.returncode, done.stderr)
                return done.stdout.count('"token"')

            tls = f'127.0.0.1:{port}'
            self.assertEqual(1, export(old.socket, '--db', '3', code=0, REDIS_PASSWORD='a secret'))
            self.assertEqual(1, export(f'127.0.0.1:{old.port}', '--db', '3', code=0, REDIS_USER='reader', REDIS_PASSWORD='another'))
            self.assertEqual(0, export(old.socket, code=0, REDIS_PASSWORD='a secret'))
            export(old.socket, code=LOST)
            export(old.socket, code=LOST, REDIS_PASSWORD='wrong')
            export('nonsense', code=LOST)
            self.assertEqual(1, export(tls, '--tls', '--db', '3', code=0, REDIS_PASSWORD='a secret', SSL_CERT_FILE=certificate))
            export(tls, '--tls', code=LOST, REDIS_PASSWORD='a secret')  # nobody vouches for it

    def export_without_server(self):
        done = subprocess.run([sys.executable, '-B', EXPORTER, 'connect-redis', self.old.socket], capture_output=True, text=True, check=False)
        self.assertEqual(LOST, done.returncode)
        self.assertNotIn('Traceback', done.stderr)
        piped = subprocess.run([kit.COMMAND, 'import', '--end', '-'], input=done.stdout, capture_output=True, text=True,
                               env=kit.environment(self.config), check=False)
        self.assertEqual(NO, piped.returncode)
        return done.stdout, done.stderr


class Formats(StoreCase):
    """Values of all formats, good ones changed in some bytes: read, or skipped, and nothing else; and never run."""

    def test_nothing_that_a_session_names_is_run(self):
        path = os.path.join(self.old.dir, 'was-run')

        class Bomb:
            def __reduce__(self):
                return os.system, (f'touch {path}',)

        for number, value in enumerate(({'_user_id': '1', 'x': Bomb()}, Bomb(), {'_user_id': Bomb()})):
            for protocol in range(6):
                data = pickle.dumps(value, protocol)
                self.put(('SET', f'session:{number}-{protocol}' + 'b' * 40, data))
        found, said = self.export('flask', code=SKIPPED)
        self.assertFalse(os.path.exists(path))
        self.assertEqual({f'0-{protocol}' + 'b' * 40 for protocol in range(2, 6)}, set(found))
        with self.assertRaises(Skip):
            pickle_values.read(b'\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R')  # no end
        shared = b'\x80\x04]\x94' + b''.join(b'(' + b'h' + bytes([i]) + b'h' + bytes([i]) + b'l\x94' for i in range(60)) + b'.'
        with self.assertRaises(Skip):  # 2^60 values, if they were written out
            plain(pickle_values.read(shared))

    def test_pickles_are_what_python_makes_of_them(self):
        import collections
        import datetime
        value = {'_user_id': '17', 'n': [0, -1, 255, 256, 65536, -2**31, 2**100, 1.5, True, False, None], 't': (1, (2,), ()), 'b': b'\xff\0',
                 's': 'J\u00f6rg' * 100, 'd': {'a': {'b': []}}, 'empty': [{}, [], (), set(), '']}
        value['again'] = value['n']
        for protocol in range(2, 6):
            self.assertEqual(json.loads(json.dumps(plain(json_like(value)))), plain(pickle_values.read(pickle.dumps(value, protocol))))
        made = pickle_values.read(pickle.dumps({'od': collections.OrderedDict(a=1), 'when': datetime.datetime(2026, 1, 1), 'id': uuid.UUID(int=7)}))
        self.assertEqual(('collections.OrderedDict', 1), (made['od']['@class'], made['od']['a']))
        self.assertEqual(str(uuid.UUID(int=7)), made['id'])

    def test_mutated_values(self):
        choose = random.Random(int(os.environ.get('LATCHKEY_SEED', '11')))
        self.made('php', 'php.php', 'php', 2)
        self.made('php', 'php.php', 'php_serialize', 2)
        self.made('ruby', 'rails.rb', 2)
        values = {'php': php_values.read_session, 'ruby': ruby_values.read, 'pickle': pickle_values.read, 'java': java_values.read,
                  'msgpack': msgpack_values.read, 'json': json.loads}
        seeds = [('java', java_bytes('context')), ('java', java_bytes('map')),
                 ('pickle', pickle.dumps({'_user_id': '1', 'x': [1, {'y': (2, b'z')}], 'u': uuid.UUID(int=1)}, 4)),
                 ('msgpack', b'\x83\xa8_user_id\xa11\xa1x\x93\x01\xcb?\xf8\0\0\0\0\0\0\xc0\xa1y\x81\xa1z\xc4\x02ab')]
        for key in self.old.cli('KEYS', '*').splitlines():
            data = subprocess.run(['redis-cli', '-s', self.old.socket, 'GET', key], capture_output=True, check=True).stdout[:-1]
            seeds.append(('ruby' if key.startswith('session') else 'php', data))
        read = skipped = 0
        for kind, data in seeds:
            plain(values[kind](data))
            for _ in range(400):
                changed = bytearray(data)
                for _ in range(choose.randrange(1, 4)):
                    at, how = choose.randrange(len(changed)), choose.randrange(3)
                    if how == 0:
                        changed[at] = choose.randrange(256)
                    elif how == 1 and len(changed) > 10:
                        del changed[at:at + choose.randrange(1, 9)]
                    else:
                        changed[at:at] = changed[choose.randrange(len(changed)):][:choose.randrange(1, 9)]
                    if at >= len(changed):
                        break
                try:
                    plain(values[kind](bytes(changed)))
                    read += 1
                except (Skip, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError):
                    skipped += 1
        self.assertGreater(min(read, skipped), 100)


def json_like(value):
    """Tuples and sets as lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: json_like(one) for name, one in value.items()}
    return [json_like(one) for one in value] if isinstance(value, (list, tuple, set)) else value


if __name__ == '__main__':
    kit.main()

# SPDX-License-Identifier: MIT
"""latchkey import: what moves in is what the line says; what is wrong is counted and named by its line, and never shown; run
again, interrupted, killed, fed garbage, each session is there exactly once."""
import base64
import hashlib
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time

import kit
from kit import AWAY, CONFIG, DONE, FAILED, NO, USAGE, run, wait_for

TAKEN = 'foreign_until_ms=4102444800000'
SECRET = 'secret-secret-secret-'
NOW_MS = int(time.time() * 1000)
LATER_MS = NOW_MS + 3600_000
NOT_FOUND, RENEW = 1, 0x40000000


def token(number):
    return f'{SECRET}{number:08x}'


def session(number, **more):
    return {'token': token(number), 'user_id': number, 'expires_at_ms': LATER_MS, **more}


class ImportCase(kit.Case):
    def setUp(self):
        # Where nothing is killed nothing has to be in a file: a thousand sessions a second more. And what is written outlives the
        # server that is killed, on the disk or not.
        self.redis = kit.Redis(*(['--appendfsync', 'no'] if 'redis_away' in self.id() else ['--appendonly', 'no']))
        self.addCleanup(self.redis.__exit__)
        self.config = self.redis.url(options=TAKEN)
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def write(self, lines, name='dump'):
        """Objects, or lines as they stand."""
        with open(self.path(name), 'wb') as file:
            for line in lines:
                file.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b'\n')
        return self.path(name)

    def imported(self, path, *words, code=DONE, config=None):
        outcome = run('import', '--json', *words, path, config=config or self.config)
        self.assertNotIn(SECRET, outcome.text)
        self.assertEqual(code, outcome.code, outcome.text)
        return outcome.value

    def app(self):
        app = kit.App(self.config)
        self.addCleanup(app.__exit__)
        return app

    def check_there_once(self, count, app=None):
        """All of these sessions, each once, and nothing else."""
        app = app or self.app()
        for number in range(count):
            status, words = app.order('entry', token(number))
            self.assertEqual((0, str(number)), (status, words.split()[0]), number)
        self.assertEqual(count, self.keys(':s:'))
        self.assertEqual(count, self.keys(':i:'))

    def keys(self, kind):
        return sum(kind in key for key in self.redis.cli('KEYS', 'lk:*').splitlines())


class WhatMovesIn(ImportCase):
    def test_it_is_what_the_line_says(self):
        raw = bytes(range(256))
        whole = session(1, role='sixteen-of-these', permissions_hash='5a' * 32, device=7, flags=9,
                        created_at_ms=NOW_MS - 5000, idle_ms=600000,
                        fields={'pq.k': {'base64': base64.b64encode(raw).decode()}, 'theme': 'd\u00e4rk',
                                'wrapped': {'base64': base64.encodebytes(raw).decode()},
                                'url': {'base64': base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}, 'none': None})
        least = {'token': token(2), 'user_id': '18446744073709551615', 'role': None, 'expires_at_ms': None}
        binary = {'token': {'base64': base64.b64encode(b'a-token-in-bytes').decode()}, 'user_id': 0}
        said = self.imported(self.write([whole, b'\n', least, b'  \t\r\n', binary]))
        self.assertEqual((3, 3, 0, 0), (said['lines'], said['moved'], said['refused'], said['expired']))
        app = self.app()
        self.assertEqual((0, f'1 sixteen-of-these {NOW_MS - 5000} {LATER_MS} 7 {9 | RENEW}'), app.order('entry', token(1)))
        for name, value in (('pq.k', raw), ('wrapped', raw), ('url', raw), ('theme', 'd\u00e4rk'.encode()), ('none', b'')):
            self.assertEqual((0, value.hex()), app.order('field', token(1), name))
        self.assertEqual('18446744073709551615', app.order('entry', token(2))[1].split()[0])
        self.assertEqual('0', app.order('entry', 'a-token-in-bytes')[1].split()[0])

    def test_what_is_wrong_is_counted_and_named(self):
        wrong = [
            ('not JSON', [b'{"token": "' + SECRET.encode() + b'"\n', b'x' * 100 + b'\n', b'{"a":1}{"b":2}\n', b'{"a":1,}\n', b'[1,]\n',
                          b'{"user_id":1e}\n', b'{"user_id":01}\n', b'{"a":"\\ud83"}\n', b'{"a":"\\x"}\n', b'{"a":tru}\n', b'{a:1}\n',
                          b'{"a" 1}\n', b'{"a":[}]\n', b'{"a":"' + b'\x01"}\n', b'-\n', b'\0\n', b'"\n', b'[' * 100000 + b'\n']),
            ('not an object', [b'[]\n', b'[{"token":"' + SECRET.encode() + b'"}]\n', b'5\n', b'null\n', b'"{}"\n']),
            ('not known', [session(1, expires=1), {'user': None, 'end': 5, 'token': token(1)}, session(1, begin='x')]),
            ('a member twice', [b'{"user_id":1,"user_id":1}\n', json.dumps(session(1)).encode()[:-1] + b',"token":"x"}\n']),
            ('token', [{'user_id': 1}, session(1, token='short'), session(1, token='x' * 257), session(1, token=5),
                       session(1, token=None), session(1, token={'base64': 'c2hvcnQ='}), session(1, token={'hex': 'a' * 40}),
                       session(1, token={'base64': 'A' * 41}), session(1, token={'base64': '*' * 40}), session(1, token={}),
                       session(1, token={'base64': 'A' * 40, 'more': 'A' * 40}), session(1, token=['x' * 30]), session(1, token='half \ud83d of a pair-------')]),
            ('user_id', [{'token': token(1)}, session(1, user_id=-1), session(1, user_id=1.5), session(1, user_id='x'), session(1, user_id=''),
                         session(1, user_id='18446744073709551616'), session(1, user_id=18446744073709551616), session(1, user_id=1e300),
                         session(1, user_id=True), session(1, user_id='017'), session(1, user_id='1.0'), session(1, user_id=[1]),
                         session(1, user='ada'), session(1, user_id=None), session(1, user_id=None, user=''), session(1, user_id=None, user=17),
                         session(1, user_id=None, user='x' * 1025), session(1, user_id=None, user='half \ud83d'), session(1, user_id='ada')]),
            ('expires_at_ms', [session(1, expires_at_ms=-5), session(1, expires_at_ms='x'), session(1, expires_at_ms='Infinity'),
                               session(1, expires_at_ms=True), session(1, expires_at_ms={}), session(1, expires_at_ms='')]),
            ('8 MiB', [b'"' + b'x' * (9 << 20) + b'"\n']),
        ]
        lines = [line for _, some in wrong for line in some]
        said = self.imported(self.write(lines + [session(5)]), '--threads', '3', code=NO)
        self.assertEqual((len(lines) + 1, 1, len(lines)), (said['lines'], said['moved'], said['refused']), said)
        at = 1
        for part, some in wrong:
            reason = [r for r in said['reasons'] if part in r['reason']]
            reason = reason if len(reason) == 1 else [r for r in reason if r['reason'].startswith(part)]
            self.assertEqual(1, len(reason), (part, said))
            self.assertEqual(len(some), reason[0]['count'], (part, said))
            self.assertEqual(list(range(at, at + min(len(some), 5))), reason[0]['first_lines'], part)
            at += len(some)
        self.assertEqual(1, self.keys(':s:'))
        plain = run('import', self.write(lines), config=self.config)
        self.check(plain, NO, 'refused', '(line')
        self.assertNotIn(SECRET, plain.text)
        self.check_printable(plain)

    def test_what_does_not_fit_logs_nobody_out(self):
        """(what the line says, part of what is counted, field or (column of `entry`, value) that is left afterwards)"""
        year_ms = 31536000000
        big = {'ok': 'kept'}
        cases = [
            ({'fields': {'big': 'x' * 65537, **big}}, '64 KiB', b'kept'),
            ({'fields': {'x': 'a name too short', **big}}, "field's name", b'kept'),
            ({'fields': {'': 'none', 'a b': 'odd', 'caf\u00e9': 'odd', 'x' * 65: 'long', 'a\0b': 'odd', **big}}, "field's name", b'kept'),
            ({'fields': {'number': 5, 'list': ['x'], 'bad': {'base64': 'A'}, 'two': {'base64': 'QUJD', 'hex': ''}, **big}}, 'neither', b'kept'),
            ({'fields': {**big, **{f'n{i}': 'x' for i in range(300)}}}, '256 fields', b'kept'),
            ({'fields': {**{f'pq.{i}': 'x' for i in range(65)}, **big}}, '64 named pq', b'kept'),
            ({'fields': ['ok']}, 'not an object', b''),
            ({'role': 'seventeen letters'}, 'role', (1, '-')),
            ({'role': 5}, 'role', (1, '-')),
            ({'role': 'admin\0x'}, 'role', (1, '-')),
            ({'role': 'half \ud83d'}, 'role', (1, '-')),
            ({'permissions_hash': '5a'}, 'permissions_hash', (1, '-')),
            ({'permissions_hash': 'x' * 64}, 'permissions_hash', (1, '-')),
            ({'device': -1}, 'device', (4, '0')),
            ({'device': 2**32}, 'device', (4, '0')),
            ({'flags': 65536}, 'flags', (5, str(RENEW))),
            ({'created_at_ms': LATER_MS + 1}, 'created_at_ms', (3, str(LATER_MS))),
            ({'created_at_ms': 'yesterday'}, 'created_at_ms', (3, str(LATER_MS))),
            ({'idle_ms': 10**15}, 'idle_ms', (3, str(LATER_MS))),
            ({'idle_ms': -1}, 'idle_ms', (3, str(LATER_MS))),
            ({'idle_ms': 2**70}, 'idle_ms', (3, str(LATER_MS))),
            ({'expires_at_ms': NOW_MS + 11 * year_ms}, 'expires_at_ms', None),
            ({'expires_at_ms': 10**40}, 'expires_at_ms', None),
            ({'expires_at_ms': 1e300}, 'expires_at_ms', None),
            ({'fields': {'ok': 'half \ud83d of one', 'other': '\udcffx'}}, 'surrogate', 'half \ufffd of one'.encode()),
            # These fit, however they are written.
            ({'fields': {'ok': 'a\0b'}}, None, b'a\0b'),
            ({'fields': {'ok': '\U0001f600'}}, None, '\U0001f600'.encode()),
            ({'idle_ms': 86400000.0}, None, (3, str(LATER_MS))),
            ({'idle_ms': 0.25}, None, (3, str(LATER_MS))),
            ({'idle_ms': '86400000'}, None, (3, str(LATER_MS))),
            ({'expires_at_ms': LATER_MS + 0.75}, None, (3, str(LATER_MS))),
            ({'expires_at_ms': str(LATER_MS)}, None, (3, str(LATER_MS))),
            ({'device': 7.0}, None, (4, '7')),
            ({'user_id': 17.0}, None, (0, '17')),
            ({'user_id': 18446744073709551615}, None, (0, '18446744073709551615')),
            ({'user_id': '18446744073709551615'}, None, (0, '18446744073709551615')),
        ]
        lines = [session(number, **more) for number, (more, _, _) in enumerate(cases)]
        raw = json.dumps(session(len(cases), fields={'ok': 'R'})).encode().replace(b'"R"', b'"\xff\xfe\xf0\x9f"')
        twice = json.dumps(session(len(cases) + 1, fields={'ok': 'first'})).encode().replace(b'"first"', b'"first","ok":"second"')
        slow = json.dumps(session(len(cases) + 2)).encode().replace(str(LATER_MS).encode(), b'%d.%de+%d' % (
            LATER_MS // 10**12, LATER_MS % 10**12, 12))
        said = self.imported(self.write(lines + [raw + b'\n', twice + b'\n', slow + b'\n']))
        self.assertEqual((len(cases) + 3, 0), (said['moved'], said['refused']), said)
        changed = [number for number, (_, part, _) in enumerate(cases) if part]
        self.assertEqual(len(changed) + 1, said['changed'])
        app = self.app()
        for number, (more, part, left) in enumerate(cases):
            status, words = app.order('entry', token(number))
            self.assertEqual(0, status, more)
            if isinstance(left, bytes):
                self.assertEqual((0, left.hex()), app.order('field', token(number), 'ok'), more)
            elif left:
                self.assertEqual(left[1], words.split()[left[0]], more)
            if part and 'expires_at_ms' in more:
                self.assertAlmostEqual(NOW_MS + 10 * year_ms, int(words.split()[3]), delta=600000)
        for extra, value in ((0, b'\xff\xfe\xf0\x9f'), (1, b'first')):
            self.assertEqual((0, value.hex()), app.order('field', token(len(cases) + extra), 'ok'))
        self.assertEqual(str(LATER_MS), app.order('entry', token(len(cases) + 2))[1].split()[3])
        named = {number for change in said['changes'] for number in change['first_lines']}
        for number in changed:  # of each kind the first five are named
            of_kind = [c for c in said['changes'] if cases[number][1] in c['reason']]
            self.assertTrue(any(number + 1 in c['first_lines'] or c['count'] > 5 for c in of_kind), (cases[number], said['changes']))
        self.assertLessEqual(named, {number + 1 for number in changed} | {len(cases) + 2})

    def test_users_that_have_names(self):
        """BLAKE2b-64 of the name, the same in any language."""
        names = ['ada@example.org', '507f1f77bcf86cd799439011', '00000000-0000-0000-0000-000000000001', '17', '017', 'J\u00f6rg', ' ', 'x' * 1024]
        ids = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), 'little') for name in names]
        self.assertEqual(1, sum(i == 0 for i in ids) + len(set(ids)) // len(ids))
        lines = [{**session(number, user=name), 'user_id': None} for number, name in enumerate(names)]
        lines.append({'token': token(99), 'user': {'base64': base64.b64encode(b'ada@example.org').decode()}})
        self.assertEqual(len(lines), self.imported(self.write(lines))['moved'])
        app = self.app()
        for number, user in enumerate(ids):
            self.assertEqual(str(user), app.order('entry', token(number))[1].split()[0])
        # Nobody has found two names of one number, so another name's hash is put into Redis by hand.
        key = self.redis.cli('--scan', '--pattern', f'lk:*:n:{ids[0]}')
        self.redis.cli('SET', key, 'another name, hashed to 32 bytes', 'KEEPTTL')
        said = self.imported(self.write([lines[0], {'token': token(98), 'user': names[0]}, lines[1]]), code=NO)
        self.assertEqual((2, 1), (said['here_already'], said['refused']), said)
        self.assertIn('another name has the same number', said['reasons'][0]['reason'])
        self.assertEqual(NOT_FOUND, app.validate(token(98)))
        self.assertEqual((0, '2'), app.order('end', ids[0]))

    def test_the_numbers_of_json_are_read_back_without_loss(self):
        users = [0, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
        app = self.app()
        for user in users:
            app.create(user)
        said = [run('list', '--json', str(user), config=self.config).values[0]['user'] for user in users]
        self.assertEqual([0, 2**53 - 1] + [str(user) for user in users[2:]], said)  # as JavaScript reads them
        self.assertEqual(said, [json.loads(json.dumps(user), parse_int=lambda text: int(float(text))) for user in said])
        self.imported(self.write([session(number, user_id=user) for number, user in enumerate(said)]))
        for number, user in enumerate(users):
            self.assertEqual(str(user), app.order('entry', token(number))[1].split()[0])
            shown = run('list', '--json', str(user), config=self.config).values
            self.assertEqual(2, len(shown))
            show = run('show', '--json', shown[0]['selector'], config=self.config).value
            self.assertEqual(user, int(show['user']))
            self.assertIsInstance(show['user'], str if user >= 2**53 else int)

    def test_after_everybody_was_ended_it_says_so(self):
        created = NOW_MS - 60000
        self.imported(self.write([session(1, created_at_ms=created)]))
        self.check(run('revoke', '--everyone', '--yes', config=self.config), DONE)
        said = self.imported(self.write([session(i, created_at_ms=created) for i in range(4)] + [session(5)]))
        self.assertEqual((1, 1, 3), (said['moved'], said['here_already'], said['ended_for_everyone']), said)
        self.assertEqual([NOT_FOUND] * 4, [self.app().validate(token(i)) for i in range(4)])
        plain = run('import', self.write([session(6, created_at_ms=created)]), config=self.config)
        self.check(plain, DONE, 'here already  0', 'ended         1')

    def test_expired_ones_and_those_that_are_here(self):
        old = [session(i, expires_at_ms=NOW_MS - 1000 * i) for i in range(1, 8)]
        self.assertEqual(7, self.imported(self.write(old))['expired'])
        self.assertEqual(0, self.keys(':'.join(['', 's', ''])))
        good = [session(i) for i in range(50)]
        self.assertEqual(50, self.imported(self.write(good))['moved'])
        said = self.imported(self.write(good + [session(50), session(50)]), '--threads', '1')
        self.assertEqual((1, 51), (said['moved'], said['here_already']))
        app = self.app()
        self.assertEqual((0, '1'), app.order('end', 7))
        self.assertEqual(51, self.imported(self.write(good + [session(50)]))['here_already'])
        self.assertEqual(NOT_FOUND, app.validate(token(7)))  # a session that was ended is not brought back

    def test_what_lies_in_the_way(self):
        self.imported(self.write([session(1)]))
        name = [key for key in self.redis.cli('KEYS', '*').splitlines() if ':i:' in key][0]
        self.redis.cli('SET', name, 'garbage')
        said = self.imported(self.write([session(1)]), code=NO)
        self.assertIn('damaged', said['reasons'][0]['reason'])
        own = self.app().create(5)
        said = self.imported(self.write([session(1, token=own)]), code=NO)
        self.assertIn("one of latchkey's own", said['reasons'][0]['reason'])


class FilesAndConfigurations(ImportCase):
    def test_standard_input_and_files_of_every_shape(self):
        for count, last_end in ((0, b''), (1, b''), (1, b'\n'), (3000, b''), (3000, b'\n')):
            self.redis.cli('FLUSHALL')
            body = b'\n'.join(json.dumps(session(i)).encode() for i in range(count)) + last_end
            with open(self.write([body]), 'rb') as file:
                outcome = run('import', '--json', '-', config=self.config, stdin=file)
            self.check(outcome, DONE)
            self.assertEqual((count, count), (outcome.value['lines'], outcome.value['moved']))
            self.check_there_once(count)

    def test_what_cannot_be_used_is_said(self):
        dump = self.write([session(1)])
        self.check(run('import', dump, config=self.redis.url()), CONFIG, 'foreign_until_ms')
        self.check(run('import', dump, config=self.redis.url(options='foreign_until_ms=5')), CONFIG, 'foreign_until_ms')
        self.check(run('import', self.path('missing'), config=self.config), FAILED, 'No such file')
        self.check(run('import', self.dir.name, config=self.config), FAILED, 'directory')
        self.check(run('import', config=self.config), USAGE)
        self.check(run('import', '--threads', '0', dump, config=self.config), USAGE, '--threads')
        self.check(run('import', '--state', '/nowhere/state', dump, config=self.config), FAILED, '--state')
        self.check(run('import', '--state', self.write([b'nonsense'], 'state'), dump, config=self.config), FAILED, 'not a state')
        os.mkfifo(self.path('fifo'))
        for path in (self.path('fifo'), '/dev/null', self.dir.name):
            self.check(run('import', '--state', path, dump, config=self.config), FAILED, '--state: it is not a regular file')
        self.check(run('import', '/dev/zero', config=self.config), FAILED, '256 MiB')
        self.assertEqual(0, self.keys(':s:'))

    def test_files_of_other_systems(self):
        """A byte order mark at the beginning of each, and lines that end with CR LF."""
        lines = b''.join(b'\xef\xbb\xbf' + json.dumps(session(i)).encode() + b'\r\n\xef\xbb\xbf\r\n' for i in range(3))
        said = self.imported(self.write([lines]))
        self.assertEqual((3, 3), (said['lines'], said['moved']))

    def test_a_state_behind_a_symbolic_link(self):
        """The link stays, and what it leads to is the state; a link where the new one is written leads nobody astray."""
        os.mkdir(self.path('kept'))
        os.symlink('kept/state', self.path('state'))
        dump = self.write([session(i) for i in range(10)])
        self.check(run('import', '--state', self.path('state'), dump, config=self.config), FAILED, '--state')  # it leads nowhere
        self.imported(dump, '--state', self.path('kept/state'))
        with open(self.path('precious'), 'w', encoding='ascii') as file:
            file.write('of somebody else')
        os.symlink('../precious', self.path('kept/state.next'))
        self.imported(dump, '--state', self.path('state'))
        self.assertEqual('kept/state', os.readlink(self.path('state')))
        self.assertFalse(os.path.islink(self.path('kept/state')))
        with open(self.path('precious'), encoding='ascii') as file:
            self.assertEqual('of somebody else', file.read())

    def test_a_state_of_another_file_is_refused(self):
        self.imported(self.write([session(i) for i in range(500)]), '--state', self.path('state'))
        other = self.write([session(i) for i in range(1000, 1900)], 'other')
        self.check(run('import', '--state', self.path('state'), other, config=self.config), FAILED, 'another file')
        later = [session(i) for i in range(500)]  # of the same length: one has ended, and one has begun
        later[400] = session(700)
        self.check(run('import', '--state', self.path('state'), self.write(later, 'later'), config=self.config), FAILED, 'another file')
        short = self.write([session(0)], 'short')
        self.check(run('import', '--state', self.path('state'), short, config=self.config), FAILED, 'state')

    def test_it_goes_on_where_it_was_and_takes_what_was_added(self):
        lines = [session(i) for i in range(700)]
        said = self.imported(self.write(lines), '--state', self.path('state'))
        self.assertEqual((700, 1), (said['moved'], said['from_line']))
        said = self.imported(self.write(lines), '--state', self.path('state'))
        self.assertEqual((0, 701), (said['lines'], said['from_line']))
        lines += [session(700), b'nonsense\n']
        said = self.imported(self.write(lines), '--state', self.path('state'), code=NO)
        self.assertEqual((2, 1, 701), (said['lines'], said['moved'], said['from_line']))
        self.assertEqual([702], said['reasons'][0]['first_lines'])
        with open(self.path('dump'), 'rb') as file:  # not to be sought in
            piped = subprocess.Popen(['cat'], stdin=file, stdout=subprocess.PIPE)
        again = run('import', '--json', '--state', self.path('state'), '-', config=self.config, stdin=piped.stdout)
        piped.stdout.close()
        piped.wait()
        self.check(again, DONE)
        self.assertEqual(0, again.value['lines'])
        with open(self.path('state'), encoding='ascii') as file:
            self.assertNotIn(SECRET, file.read())
        self.check_there_once(701)

    def test_progress_is_said(self):
        slow = self.write([session(i) for i in range(2000)])
        outcome = run('import', '--progress', '--threads', '1', slow, config=self.config)
        self.check(outcome, DONE, '2000 lines', 'a second', '100.0%')
        self.assertNotIn(SECRET, outcome.text)


class CutStreams(ImportCase):
    """{"begin": ...} promises {"end": ...}: without it something is missing, and the exit status and the text say so."""
    BEGIN, END = {'begin': 'an exporter'}, {'end': {'sessions': 1, 'skipped': 0}}

    def test_an_end_that_is_missing_is_said(self):
        whole = [self.BEGIN, session(1), self.END]
        none = {'end': {'sessions': 0, 'skipped': 0}}
        for lines in (whole, whole + whole, [b'\n', *whole, b'\n'], [self.BEGIN, none], [session(1)], [], whole + [session(2)]):
            said = self.imported(self.write(lines))
            self.assertEqual((True, 0), (said['complete'], said['refused']), lines)
            self.assertEqual(sum(isinstance(line, dict) and 'token' in line for line in lines), said['lines'])
        for lines in (whole[:1], whole[:2], whole + whole[:2], whole[:2] + whole, [self.BEGIN, session(1), b'{"end": {"sessio']):
            outcome = run('import', '--json', self.write(lines), config=self.config)
            self.check(outcome, NO, 'end of the export is missing')
            self.assertFalse(outcome.value['complete'])
        for lines in ([], [session(1)], whole[:2], whole + [self.BEGIN]):
            self.check(run('import', '--end', self.write(lines), config=self.config), NO, 'end of the export is missing')
        self.imported(self.write(whole), '--end')
        self.imported(self.write([session(1), self.END]), '--end')

    def test_at_any_place_in_a_long_one(self):
        lines = [self.BEGIN, *(session(i, fields={'note': 'x' * 300}) for i in range(1000)), self.END]
        with open(self.write(lines), 'rb') as file:
            text = file.read()
        for part in (0.1, 0.5, 0.9, 1):
            with open(self.path('cut'), 'wb') as file:
                file.write(text[:int(len(text) * part) - 5])
            self.check(run('import', self.path('cut'), config=self.config), NO, 'end of the export is missing')
        self.imported(self.path('dump'))
        self.check_there_once(1000)

    def test_sessions_that_were_lost_in_the_middle_are_said(self):
        whole = [self.BEGIN, *(session(i) for i in range(2000)), {'end': {'sessions': 2000, 'skipped': 0}}]
        for lines, came in ((whole[:700] + whole[900:], '2000 sessions were exported, and 1800 came'),
                            (whole[1:1999] + whole[2000:], '2000 sessions were exported, and 1999 came'),
                            (whole + whole[:1] + whole[2:], '4000 sessions were exported, and 3999 came'),
                            ([self.BEGIN, session(1), {'end': {'sessions': 10 ** 30}}] * 2, '2 came')):
            outcome = run('import', '--json', self.write(lines), config=self.config)
            self.check(outcome, NO, came)
            self.assertFalse(outcome.value['complete'])
        # A line that is refused has come; one that came twice is no harm.
        outcome = run('import', self.write([self.BEGIN, b'{}\n', session(1), {'end': {'sessions': 2}}]), config=self.config)
        self.check(outcome, NO, 'refused       1')
        self.assertNotIn('came', outcome.text)
        self.imported(self.write(whole[:5] + whole[4:]))
        # What an earlier run counted is in the state.
        state = ('--state', self.path('state'))
        for lines in (whole[:500], whole[:1000]):
            self.check(run('import', *state, self.write(lines), config=self.config), NO, 'end of the export is missing')
        self.imported(self.write(whole), *state)
        self.imported(self.path('dump'), *state)

    def test_what_the_exporter_skipped_is_passed_on(self):
        said = self.imported(self.write([self.BEGIN, session(1), {'end': {'sessions': 1, 'skipped': 3}}]), code=NO)
        self.assertEqual((True, 1, 3), (said['complete'], said['moved'], said['skipped_by_exporter']))

    def test_with_a_state_it_goes_on_in_the_middle_of_a_line(self):
        whole = [self.BEGIN, *(session(i) for i in range(20)), self.END]
        with open(self.write(whole), 'rb') as file:
            text = file.read()
        state = ('--state', self.path('state'))
        for size in (len(text) - 60, len(text) - 5):
            with open(self.path('growing'), 'wb') as file:
                file.write(text[:size])
            self.check(run('import', *state, self.path('growing'), config=self.config), NO, 'end of the export is missing')
        with open(self.path('growing'), 'wb') as file:
            file.write(text)
        self.imported(self.path('growing'), *state)
        self.imported(self.path('growing'), *state)  # nothing is left, and the end was seen
        self.check_there_once(20)


class Interruptions(ImportCase):
    COUNT = 4000

    def start(self, *words, config=None, source=None):
        return subprocess.Popen([kit.COMMAND, 'import', '--json', '--state', self.path('state'), *words,
                                 source or self.path('dump')], env=kit.environment(config or self.config),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_killed_at_any_moment_and_started_again(self):
        lines = [session(i, fields={'note': 'x' * 200}) for i in range(self.COUNT)]
        self.write(lines)
        with open(self.path('dump'), 'rb') as file:
            lines = file.read().splitlines(keepends=True)
        choose = random.Random(5)
        for part in range(1, 6):  # it waits for more, so it is not done before it is killed
            process, before = self.start(source='-'), self.keys(':s:')
            cut = self.COUNT * part // 6
            try:
                process.stdin.write(b''.join(lines[:cut]))
                process.stdin.flush()
                moved = choose.randint(before, max(before, cut - 400))  # it reads ahead in blocks
                wait_for('some moved in', lambda: process.poll() is not None or self.keys(':s:') >= moved)
                process.send_signal(signal.SIGKILL)
            finally:
                _, err = process.communicate()
            self.assertEqual(-signal.SIGKILL, process.returncode, err)
        process = self.start()
        out, err = process.communicate()
        self.assertEqual(DONE, process.returncode, err)
        said = json.loads(out)
        self.assertTrue(said['complete'])
        self.check_there_once(self.COUNT)
        # The state alone is enough: nothing before it was left out.
        self.assertEqual(self.COUNT, self.imported(self.path('dump'))['here_already'])

    def test_asked_to_stop_it_says_how_far_it_came(self):
        self.write([session(i) for i in range(self.COUNT)])
        process = self.start('--threads', '1', source='-')
        with open(self.path('dump'), 'rb') as file:
            process.stdin.writelines(file.readlines()[:2000])  # and it waits for more
        wait_for('some moved in', lambda: self.keys(':s:') > 1000)
        process.terminate()
        out, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(NO, process.returncode, err)
        said = json.loads(out)
        self.assertFalse(said['complete'])
        self.assertIn(b'interrupted', err)
        self.assertEqual(said['moved'], self.keys(':s:'))
        again = self.imported(self.path('dump'), '--state', self.path('state'))
        self.assertGreater(again['from_line'], 1)
        self.assertEqual(self.COUNT, again['moved'] + said['moved'])
        self.check_there_once(self.COUNT)

    def test_asked_to_stop_while_nothing_comes(self):
        """What writes to the pipe has stopped, and lives on."""
        process = self.start(source='-')
        for i in range(200): # the beginning of the file is read at once
            process.stdin.write(json.dumps(session(i)).encode() + b'\n')
        process.stdin.flush()
        wait_for('it reads', lambda: os.path.exists(self.path('state')))
        process.terminate()
        self.assertEqual(NO, process.wait(timeout=kit.PATIENCE_S))
        _, err = process.communicate()
        self.assertIn(b'interrupted', err)

    def test_redis_away_is_waited_for_and_then_given_up(self):
        self.write([session(i) for i in range(self.COUNT)])
        impatient = self.config.replace('deadline_ms=20000', 'deadline_ms=200')
        process = self.start('--threads', '4', config=impatient)
        wait_for('some moved in', lambda: self.keys(':s:') > 100)
        self.redis.kill()
        time.sleep(0.5)
        self.redis.boot()
        out, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(NO, process.returncode, err)
        self.assertIn(b'it may have lost some', err) # it has not
        said = json.loads(out)
        self.assertFalse(said['complete'])
        self.assertEqual(self.COUNT, said['moved'] + said['here_already'])
        self.check_there_once(self.COUNT)
        self.assertEqual(self.COUNT, self.imported(self.path('dump'), '--state', self.path('state'))['here_already'])
        self.write([session(i) for i in range(self.COUNT, 2 * self.COUNT)])
        os.unlink(self.path('state'))
        process = self.start('--patience', '0') # a deadline that a slow machine keeps
        wait_for('some moved in', lambda: self.keys(':s:') > self.COUNT + 100)
        self.redis.kill()
        out, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(AWAY, process.returncode, err)
        self.assertIn(b'--patience', err)
        self.redis.boot()
        wait_for('it has loaded', lambda: '\nloading:0' in self.redis.cli('INFO', 'persistence', check=False))
        again = self.imported(self.path('dump'), '--state', self.path('state'))
        self.assertTrue(again['complete'])
        self.check_there_once(2 * self.COUNT)

    def test_redis_is_full(self):
        """It answers, and takes nothing."""
        self.imported(self.write([session(0)]))
        self.write([session(i) for i in range(20)])
        self.redis.cli('CONFIG', 'SET', 'maxmemory', '1')
        process = self.start('--patience', '0')
        _, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(AWAY, process.returncode, err)
        self.assertIn(b'OOM', err)

    def test_redis_comes_back_without_what_moved_in(self):
        """That is no success, and the state does not say that those are there."""
        self.write([session(i) for i in range(self.COUNT)])
        process = self.start('--threads', '2')
        wait_for('some moved in', lambda: self.keys(':s:') > 500)
        self.redis.kill()
        self.redis.boot() # with nothing
        _, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(NO, process.returncode, err)
        self.assertIn(b'it may have lost some', err)
        self.assertLess(self.keys(':s:'), self.COUNT)
        self.assertGreater(self.imported(self.path('dump'), '--state', self.path('state'))['moved'], 0)
        self.check_there_once(self.COUNT)

    def test_a_state_of_another_redis_begins_anew(self):
        """What moved in at one server, under one prefix, is not there at another; nor where it came back with nothing."""
        state = ('--state', self.path('state'))
        dump = self.write([session(i) for i in range(300)])
        self.imported(dump, *state)
        for config in (self.config + '&prefix=other', self.config + '&db=1', None):
            if config is None:
                self.redis.kill()
                self.redis.boot() # with nothing
            said = self.imported(dump, *state, config=config)
            self.assertEqual((1, 300), (said['from_line'], said['moved']), config)
            self.assertEqual(301, self.imported(dump, *state, config=config)['from_line'])
        self.check_there_once(300)

    def test_two_at_once_make_no_two(self):
        self.write([session(i) for i in range(2000)])
        both = [subprocess.Popen([kit.COMMAND, 'import', '--json', self.path('dump')], env=kit.environment(self.config),
                                 stdout=subprocess.PIPE) for _ in range(2)]
        said = [json.loads(process.communicate(timeout=kit.PATIENCE_S)[0]) for process in both]
        self.assertEqual([2000, 2000], [one['moved'] + one['here_already'] for one in said])
        self.check_there_once(2000)


class Garbage(ImportCase):
    """Thousands of lines that were good: changed in a few bytes, cut, doubled. Nothing falls over, each is counted, and what
    is said is as many as there are."""

    def test_mutated_lines(self):
        choose = random.Random(int(os.environ.get('LATCHKEY_SEED', '7')))
        good = json.dumps(session(1, role='member', fields={'pq.k': {'base64': 'QUJD'}, 'a.b': 'text'}, device=3)).encode()
        lines = []
        for _ in range(20000):
            line = bytearray(good)
            for _ in range(choose.randrange(1, 5)):
                at, how = choose.randrange(len(line)), choose.randrange(4)
                if how == 0:
                    line[at] = choose.choice(b'{}[]",:\\0e-+.u\xc3\xff\0 ' + bytes([choose.randrange(256)]))
                elif how == 1:
                    del line[at:at + choose.randrange(1, 20)]
                elif how == 2:
                    line[at:at] = line[choose.randrange(len(line)):][:choose.randrange(1, 20)]
                else:
                    line[at:at] = choose.choice([b'null', b'{}', b'[]', b'1e400', b'"\\ud800"', b'9' * 30, b'"token"'])
                if not line:
                    break
            lines.append(bytes(line).replace(b'\n', b' ') + b'\n')
        outcome = run('import', '--json', self.write(lines), config=self.config)
        self.assertIn(outcome.code, (DONE, NO), outcome.text)
        said = outcome.value
        blank = sum(not line.strip(b' \t\r\n') for line in lines)
        self.assertEqual(len(lines) - blank, said['lines'])
        self.assertEqual(said['lines'], said['moved'] + said['here_already'] + said['expired'] + said['refused'])
        self.assertEqual(said['refused'], sum(reason['count'] for reason in said['reasons']))
        self.assertGreater(said['refused'], 5000)
        self.assertGreater(said['moved'] + said['here_already'], 100)
        self.assertEqual(said['moved'], self.keys(':i:'))


if __name__ == '__main__':
    kit.main()

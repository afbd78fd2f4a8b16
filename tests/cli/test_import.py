# SPDX-License-Identifier: MIT
"""latchkey import: what moves in is what the line says; what is wrong is counted and named by its line, and never shown; run
again, interrupted, killed, fed garbage, each session is there exactly once."""
import base64
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
        # Where nothing is killed nothing has to be on a disk: a thousand sessions a second more.
        self.redis = kit.Redis(*([] if 'redis_away' in self.id() else ['--appendonly', 'no']))
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
            ('not JSON', [b'\n', b'{"token": "' + SECRET.encode() + b'"\n', b'x' * 100 + b'\n', b'{"a":1}{"b":2}\n',
                          b'{"token":"\xff\xfe","user_id":1}\n', b'{"user_id":1,"user_id":1}\n', b'{"user_id":1e999}\n',
                          b'\0\n', b'{"token":"' + SECRET.encode() + b'\\u0000","user_id":1}\n',
                          b'[' * 100000 + b'\n'][1:]),
            ('not an object', [b'[]\n', b'[{"token":"' + SECRET.encode() + b'"}]\n']),
            ('member', [session(1, expires=1)]),
            ('token', [{'user_id': 1}, session(1, token='short'), session(1, token='x' * 257), session(1, token=5),
                       session(1, token=None), session(1, token={'base64': 'c2hvcnQ='}), session(1, token={'hex': 'a' * 40}),
                       session(1, token={'base64': 'A' * 41}), session(1, token={'base64': '*' * 40})]),
            ('user_id', [{'token': token(1)}, session(1, user_id=-1), session(1, user_id=1.0), session(1, user_id='x'),
                         session(1, user_id=''), session(1, user_id='18446744073709551616'), session(1, user_id=True)]),
            ('device or flags', [session(1, device=-1), session(1, device=2**32), session(1, flags=65536),
                              session(1, created_at_ms='1'), session(1, idle_ms=1.5), session(1, expires_at_ms=-5)]),
            ('role', [session(1, role='seventeen letters'), session(1, role=5)]),
            ('permissions_hash', [session(1, permissions_hash='5a'), session(1, permissions_hash='x' * 64)]),
            ('at most 256 texts', [session(1, fields=[]), session(1, fields={'ok': 5}), session(1, fields={'ok': {'base64': 'A'}}),
                        session(1, fields={f'n{i}': 'x' for i in range(257)})]),
            ('ranges', [session(1, fields={'x': 'its name is too short'}), session(1, fields={'big': 'x' * 65537}),
                        session(1, created_at_ms=LATER_MS + 1), session(1, idle_ms=10**15)]),
            ('8 MiB', [b'"' + b'x' * (9 << 20) + b'"\n']),
        ]
        lines = [line for _, some in wrong for line in some]
        said = self.imported(self.write(lines + [session(5)]), '--threads', '3', code=NO)
        self.assertEqual((len(lines) + 1, 1, len(lines)), (said['lines'], said['moved'], said['refused']))
        at = 1
        for part, some in wrong:
            reason = [r for r in said['reasons'] if part in r['reason']]
            self.assertEqual(1, len(reason), (part, said))
            self.assertEqual(len(some), reason[0]['count'], (part, said))
            self.assertEqual(list(range(at, at + min(len(some), 5))), reason[0]['first_lines'], part)
            at += len(some)
        self.assertEqual(1, self.keys(':s:'))
        plain = run('import', self.write(lines), config=self.config)
        self.check(plain, NO, 'refused', '(line')
        self.assertNotIn(SECRET, plain.text)
        self.check_printable(plain)

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
        self.assertEqual(NOT_FOUND, app.validate(token(7)))  # whoever has logged out is not brought back

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
        self.check(run('import', '--state', self.write([b'nonsense'], 'state'), dump, config=self.config), FAILED, 'no state')
        self.assertEqual(0, self.keys(':s:'))

    def test_a_state_of_another_file_is_refused(self):
        self.imported(self.write([session(i) for i in range(500)]), '--state', self.path('state'))
        other = self.write([session(i) for i in range(1000, 1900)], 'other')
        self.check(run('import', '--state', self.path('state'), other, config=self.config), FAILED, 'another file')
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

    def test_redis_away_is_waited_for_and_then_given_up(self):
        self.write([session(i) for i in range(self.COUNT)])
        impatient = self.config.replace('deadline_ms=20000', 'deadline_ms=200')
        process = self.start('--threads', '4', config=impatient)
        wait_for('some moved in', lambda: self.keys(':s:') > 100)
        self.redis.kill()
        time.sleep(0.5)
        self.redis.boot()
        out, err = process.communicate(timeout=kit.PATIENCE_S)
        self.assertEqual(DONE, process.returncode, err)
        said = json.loads(out)
        self.assertEqual(self.COUNT, said['moved'] + said['here_already'])
        self.check_there_once(self.COUNT)
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

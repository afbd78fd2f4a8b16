#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""list, show, revoke, prewarm: what they say, to people and to machines, and what they end."""
import hashlib
import os
import subprocess
import time

import kit
from kit import DONE, NO, USAGE, AWAY, CONFIG, FAILED, run, run_on_terminal

HOSTILE = b'\x1b]0;x\x07\x1b[2J\x9b1m\\'  # a terminal's title, an emptied screen, an 8-bit CSI
NOT_FOUND = 1


class Sessions(kit.Case):
    @classmethod
    def setUpClass(cls):
        cls.redis = kit.Redis()
        cls.config = cls.redis.url()
        cls.app = kit.App(cls.config)

    @classmethod
    def tearDownClass(cls):
        cls.app.__exit__()
        cls.redis.__exit__()

    def setUp(self):
        self.redis.cli('FLUSHALL')
        self.app.__exit__()  # what it holds is of yesterday
        type(self).app = kit.App(self.config)
        self.tokens = []

    def tearDown(self):
        for outcome in self.said:
            for token in self.tokens:  # the verifier alone is the secret
                self.assertNotIn(token[20:], outcome.text)

    said = ()

    def create(self, *arguments, **named):
        self.tokens.append(self.app.create(*arguments, **named))
        return self.tokens[-1]

    def run_(self, *words, **named):
        outcome = run(*words, config=self.config, **named)
        self.said = (*self.said, outcome)
        return outcome

    def answered(self, answer, *words):
        outcome = run_on_terminal(*words, config=self.config, answer=answer)
        self.said = (*self.said, outcome)
        return outcome

    # ------------------------------------------------------------------------------------------------- list --

    def test_list(self):
        for i in range(3):
            self.create(7, device=i, idle_ms=1000000 * (1 + i), lifetime_ms=10000000)
        self.create(8)
        rows = self.check(self.run_('list', '7', '--json'), DONE).values
        self.assertEqual({token[:20] for token in self.tokens[:3]}, {row['selector'] for row in rows})
        self.assertEqual({0, 1, 2}, {row['device'] for row in rows})
        now_ms = time.time() * 1000
        for row in rows:
            self.assertEqual(7, row['user'])
            self.assertAlmostEqual(1000000 * (1 + row['device']), row['idle_expires_at_ms'] - row['created_at_ms'],
                                   delta=1)  # the idle expiry is what is left, in whole milliseconds
            self.assertEqual(10000000, row['expires_at_ms'] - row['created_at_ms'])
            self.assertLess(abs(now_ms - row['created_at_ms']), kit.PATIENCE_S * 1000)
        lines = self.check(self.run_('list', '7'), DONE).out.splitlines()
        self.assertEqual(4, len(lines))
        for heading in ('SELECTOR', 'LAST USED', 'CREATED', 'DEVICE'):
            at = lines[0].index(heading)
            self.assertTrue(all(line[at:].strip() for line in lines), 'columns are not aligned')
        self.assertRegex(lines[1], r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ \((now|\d+ (s|min) ago)\)')

    def test_list_of_nobody(self):
        self.assertEqual('User 9 has no sessions.\n', self.check(self.run_('list', '9'), NO).out)
        self.assertEqual('', self.check(self.run_('list', '9', '--json'), NO).out)
        for wrong in ('x', '-1', '', '18446744073709551616', '7 ', '+7'):
            self.check(self.run_('list', '--', wrong), USAGE, 'USER is a number')
        self.check(self.run_('list', '18446744073709551615'), NO)

    def test_a_thousand_and_one(self):
        for _ in range(1001):
            self.create(7)
        self.assertEqual(1000, len(self.check(self.run_('list', '7', '--json'), DONE, '1000 of 1001').values))
        self.assertEqual(1001, len(self.check(self.run_('list', '7'), DONE).out.splitlines()))
        reader = subprocess.run(f'"{kit.COMMAND}" list 7 | head -n 1', shell=True, capture_output=True, text=True,
                                env=kit.environment(self.config), check=False, timeout=kit.PATIENCE_S)
        self.assertEqual(0, reader.returncode)
        self.assertTrue(reader.stdout.startswith('SELECTOR'))
        self.assertEqual(1001, self.check(self.run_('revoke', '--user', '7', '--yes', '--json'), DONE).value['revoked'])
        self.check(self.run_('list', '7'), NO)

    def work(self, *words):
        """The most commands that Redis ran in one script, or for one command of a client, while this was done."""
        with open(os.path.join(self.redis.dir, 'monitor'), 'w+', encoding='latin-1') as seen:
            with subprocess.Popen(['redis-cli', '-s', self.redis.socket, 'MONITOR'], stdout=seen) as monitor:
                def has(text):
                    self.redis.cli('ECHO', text)
                    with open(seen.name, encoding='latin-1') as now:
                        return text in now.read()
                kit.wait_for('MONITOR begins', lambda: has('the-beginning'))
                outcome = self.run_(*words)
                kit.wait_for('MONITOR ends', lambda: has('the-end'))
                monitor.kill()
            most = run = seen.seek(0)
            for line in seen:
                run = run + 1 if ' lua] "' in line else 1
                most = max(most, run)
        return most, outcome

    def test_a_user_with_many_sessions_stops_no_other(self):
        token = self.create(7)
        base = self.redis.cli('KEYS', f'lk:{{*}}:s:{token[:20]}').split('s:')[0]
        self.redis.cli('EVAL', '''local from, u, a = KEYS[1], KEYS[2], KEYS[3] local f = redis.call('HGETALL', from)
            for i = 1, 20000 do local name = ARGV[1] .. string.format('%017d', i)
              redis.call('HSET', ARGV[2] .. name, unpack(f)) redis.call('PEXPIRE', ARGV[2] .. name, 1000000 + i)
              redis.call('ZADD', u, ARGV[3] + i, name) redis.call('ZADD', a, 1, name) end''',
                       '3', f'{base}s:{token[:20]}', f'{base}u:7', f'{base}a', token[:3], f'{base}s:',
                       str(int(time.time() * 1000) + 1000000))
        for words, answer in ((('list', '7'), DONE), (('list', '7', '--json'), DONE), (('show', token[:20]), DONE),
                              (('sample', '--count', '2000'), DONE), (('doctor',), None),
                              (('revoke', '--user', '7', '--yes'), DONE)):
            most, outcome = self.work(*words)
            if answer is not None:
                self.check(outcome, answer)
            self.assertTrue(1 < most < 6000, f'{words}: {most} commands in one run')
        self.check(self.run_('list', '7'), NO)

    def test_reader_that_goes_away_is_no_success(self):
        for _ in range(900):
            self.create(7)
        process = subprocess.Popen([kit.COMMAND, 'list', '7', '--json'], env=kit.environment(self.config),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False)
        process.stdout.close()  # and SIGPIPE is ignored, as a careless parent leaves it
        error = process.stderr.read().decode()
        process.stderr.close()
        self.assertEqual(FAILED, process.wait(kit.PATIENCE_S), error)
        self.assertIn('could not be written', error)

    # ------------------------------------------------------------------------------------------------- show --

    def test_show(self):
        token = self.create(7, b'admin', 5, 1000000, 10000000, {'note': b'hello', 'raw': b'\xff\x00', 'pq.k': b'material'})
        shown = self.check(self.run_('show', token[:20], '--json'), DONE).value
        self.assertEqual((7, 'admin', 5, token[:20], token[:20], False),
                         tuple(shown[name] for name in ('user', 'role', 'device', 'selector', 'asked_for', 'exchanged')))
        self.assertEqual('00' * 32, shown['permissions_hash'])
        self.assertNotEqual('00' * 32, shown['pq_key_hash'])
        fields = {field['name']: field for field in shown['fields']}
        self.assertEqual({'note': {'name': 'note', 'size': 5, 'key_material': False},
                          'raw': {'name': 'raw', 'size': 2, 'key_material': False},
                          'pq.k': {'name': 'pq.k', 'size': 8, 'key_material': True}}, fields)
        said = self.check(self.run_('show', token[:20]), DONE, 'admin', 'note', 'pq.k', 'key material', 'ends ')
        self.assertNotIn('hello', said.text)
        self.assertNotIn('material\n\n', said.text)

    def test_values_and_keys_only_when_asked_for(self):
        fields = {'note': b'hello "world"', 'raw': b'\xff\x00', 'pq.k': b'secret-material'}
        selector = self.create(7, fields=fields)[:20]
        def values(*options):
            shown = self.check(self.run_('show', selector, '--json', *options), DONE).value
            return {f['name']: f.get('value', f.get('value_hex')) for f in shown['fields']}
        self.assertEqual({'note': None, 'raw': None, 'pq.k': None}, values())
        self.assertEqual({'note': 'hello "world"', 'raw': 'ff00', 'pq.k': None}, values('--values'))
        self.assertEqual({'note': None, 'raw': None, 'pq.k': 'secret-material'}, values('--keys'))
        self.assertNotIn('secret-material', self.run_('show', selector, '--values').text)
        self.assertIn('hello "world"', self.run_('show', selector, '--values').text)
        self.assertIn('\\xff\\x00', self.run_('show', selector, '--values').text)
        self.assertIn('secret-material', self.run_('show', selector, '--keys').text)

    def test_hostile_bytes_do_not_get_through(self):
        selector = self.create(7, HOSTILE[:16].rstrip(b'\0'), fields={'note': HOSTILE * 100})[:20]
        for words in (('show', selector, '--values'), ('show', selector, '--values', '--json'), ('list', '7')):
            self.check_printable(self.check(self.run_(*words), DONE))
        self.assertIn('\\x1b', self.run_('show', selector).out)
        self.assertTrue(self.run_('show', selector, '--json').value['role'].startswith('\x1b]0;x\x07'))
        self.check_printable(self.check(self.run_('show', '\x1b[31m12345678901234x'), USAGE))

    def test_a_session_that_was_exchanged(self):
        first = self.create(7)
        second = self.app.rotate(first, 600000)
        self.tokens.append(second)
        for asked in (first, second):
            shown = self.check(self.run_('show', asked[:20], '--json'), DONE).value
            self.assertEqual((second[:20], asked[:20], asked is first),
                             (shown['selector'], shown['asked_for'], shown['exchanged']))
        self.check(self.run_('show', first[:20]), DONE, first[:20], second[:20], 'a name that it had before')
        self.check(self.run_('revoke', first[:20], '--yes'), DONE, 'Ended.')
        self.check(self.run_('show', second[:20]), NO)

    def test_what_is_not_there(self):
        selector = self.create(7)[:20]
        other = selector[:10] + ('A' if selector[10] != 'A' else 'B') + selector[11:]
        for command in ('show', 'revoke'):
            self.check(self.run_(command, other, '--yes'), NO, 'NOT_FOUND')
            self.assertEqual(NO, self.check(self.run_(command, other, '--json'), NO).value['exit'])
            self.check(self.run_(command, '-' * 20), USAGE)
            self.check(self.run_(command, '--', '-' * 20), USAGE, 'MALFORMED')
            self.check(self.run_(command, 'short'), USAGE, 'first 20 characters')
            self.check(self.run_(command), USAGE)
        self.redis.cli('HSET', self.redis.cli('--scan', '--pattern', f'*{selector}'), 'v', 'damaged')
        self.check(self.run_('show', selector), FAILED, 'CORRUPT')

    def test_users_that_have_names(self):
        """By the function that any language has: BLAKE2b-64 of the name."""
        def number(name):
            return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), 'little') or 1
        for name in ('ada@example.org', '3f0c5e1a-6a8e-4d7c-9b53-0f2f0c1d2e3f', 'J\u00f6rg', 'x' * 1024, '7'):
            words = name if name != '7' else 'name=7'
            token = self.create(number(name))
            for where in ((words,), ('--user', words), (str(number(name)),)):
                self.check(self.run_('list', *where), DONE, token[:20])
            self.check(self.run_('revoke', token[:20], '--user', 'name=somebody else', '--yes'), NO)
            self.check(self.run_('revoke', '--user', words, '--yes'), DONE, '1 session')
            self.check(self.run_('list', words), NO, 'no sessions')
        self.create(7)
        self.check(self.run_('list', 'name=7'), NO)
        token = self.create(8)
        for wrong in (token, token[:20], 'redis://h', '99999999999999999999', 'name=', '', 'x' * 1025, '07'):
            for words in (('list', wrong), ('list', '--user', wrong), ('revoke', '--user', wrong, '--yes')):
                self.check(self.run_(*words), USAGE)
        self.check(self.run_('list', '7', '--user', '7'), USAGE, 'usage: latchkey list')
        self.check(self.run_('list'), USAGE, 'usage: latchkey list')

    def test_a_damaged_session_is_seen_and_ended(self):
        wrecks = {'another value': ('HSET', 'v', 'damaged'), 'no record': ('HDEL', 'v'), 'half a hash': ('HDEL', 'x')}
        good = self.create(7)
        for name, (command, *words) in wrecks.items():
            with self.subTest(name):
                token = self.create(7)
                selector, key = token[:20], self.redis.cli('--scan', '--pattern', f'*{token[:20]}')
                self.redis.cli(command, key, *words)
                self.wreck_is_seen_and_ended(good[:20], selector, record=name != 'half a hash')
        token = self.create(7)
        key = self.redis.cli('--scan', '--pattern', f'*{token[:20]}')
        self.redis.cli('DEL', key)
        self.redis.cli('SET', key, 'of another type')
        self.wreck_is_seen_and_ended(good[:20], token[:20], record=True)

    def wreck_is_seen_and_ended(self, good, selector, record):
        if record:
            said = self.check(self.run_('list', '7'), DONE, selector, good, 'damaged', 'latchkey revoke SELECTOR --user 7')
            self.check_printable(said)
            rows = {row['selector']: row['damaged'] for row in self.run_('list', '7', '--json').values}
            self.assertEqual({good: False, selector: True}, rows)
            for words in (('show', selector), ('revoke', selector, '--yes')):
                self.check(self.run_(*words), FAILED, 'latchkey revoke SELECTOR --user USER')
        self.check(self.run_('revoke', selector, '--user', '8', '--yes'), NO, 'NOT_FOUND')  # not this user's
        self.check(self.run_('revoke', selector, '--user', '7', '--yes'), DONE, 'Ended')
        self.assertEqual([good], [row['selector'] for row in self.run_('list', '7', '--json').values])
        self.assertEqual('', self.redis.cli('--scan', '--pattern', f'*:s:{selector}'))

    def test_a_whole_token_is_refused_and_not_repeated(self):
        token = self.create(7)
        for command in ('show', 'revoke'):
            said = self.check(self.run_(command, token, '--yes'), USAGE, 'whole token')
            self.assertNotIn(token[20:], said.text)
        self.check(self.run_('list', '7'), DONE)

    # ----------------------------------------------------------------------------------------------- revoke --

    def test_revoke_one(self):
        kept, ended = self.create(7), self.create(7)
        said = self.check(self.run_('revoke', ended[:20]), USAGE, '--yes')
        self.assertIn(f'End the session {ended[:20]} of user 7', said.text)
        self.assertEqual(0, self.app.validate(ended))
        self.check(self.answered('n', 'revoke', ended[:20]), NO, '[y/N]', 'nothing was done')
        self.check(self.answered('', 'revoke', ended[:20]), NO, 'nothing was done')
        self.check(self.answered('yesterday', 'revoke', ended[:20]), NO, 'nothing was done')
        self.assertEqual(0, self.app.validate(ended))
        self.check(self.answered('y', 'revoke', ended[:20]), DONE, 'Ended.')
        kit.wait_for('the application hears of it', lambda: self.app.validate(ended) == NOT_FOUND)
        self.assertEqual(0, self.app.validate(kept))
        self.assertEqual({'revoked': 1}, self.check(self.run_('revoke', kept[:20], '--yes', '--json'), DONE).value)

    def test_revoke_one_of_this_user_alone(self):
        token = self.create(7)
        self.check(self.run_('revoke', token[:20], '--user', '8', '--yes'), NO, 'NOT_FOUND')
        self.assertEqual(0, self.app.validate(token))
        self.check(self.run_('revoke', token[:20], '--user', '7', '--yes'), DONE)
        kit.wait_for('the application hears of it', lambda: self.app.validate(token) == NOT_FOUND)

    def test_revoke_user(self):
        tokens, other = [self.create(7) for _ in range(12)], self.create(8)
        self.check(self.run_('revoke', '--user', '7'), USAGE, 'End all 12 sessions of user 7?', '--yes')
        self.check(self.answered('n', 'revoke', '--user', '7'), NO, 'End all 12 sessions of user 7? [y/N]')
        self.assertEqual({0}, {self.app.validate(token) for token in tokens})
        self.check(self.answered('yes', 'revoke', '--user', '7'), DONE, 'Ended: 12 sessions of user 7.')
        kit.wait_for('the application hears of it', lambda: {self.app.validate(t) for t in tokens} == {NOT_FOUND})
        self.assertEqual(0, self.app.validate(other))

    def test_an_answer_that_is_lost(self):
        """What the first try has ended, the second one does not find."""
        tokens = [self.create(7) for _ in range(4)]
        for selector in (None, tokens[1][:20]):  # the scripts are known to Redis from then on
            self.run_('revoke', *([selector] if selector else []), '--user', '7' if selector else '9', '--yes')
        with kit.Proxy(self.redis.socket, lose=tokens[0][:20].encode()) as wire:
            config = f'redis://127.0.0.1:{wire.port}?{kit.OPTIONS}'
            self.check(run('revoke', tokens[0][:20], '--user', '7', '--yes', config=config), DONE, 'It is over')
            wire.lose = b'$1\r\n7\r\n$0\r\n\r\n'
            self.check(run('revoke', '--user', '7', '--yes', config=config), DONE, 'Ended: 2 sessions of user 7.')
            self.assertIsNone(wire.lose)
        kit.wait_for('the application hears of it', lambda: {self.app.validate(token) for token in tokens} == {NOT_FOUND})

    def test_the_audit_trail_has_what_the_command_ends(self):
        tokens = [self.create(7) for _ in range(2)]
        config = f'{self.config}&events=1'
        ended = self.check(run('revoke', tokens[0][:20], '--yes', '--json', config=config), DONE)
        self.assertEqual(f'info: event: revoked selector={tokens[0][:20]} user=7 by=selector\n', ended.err)
        ended = self.check(run('revoke', '--user', '7', '--yes', config=config), DONE, 'Ended: 1 session of user 7.')
        self.assertIn(f'info: event: revoked selector={tokens[1][:20]} user=7 by=user', ended.err)
        self.assertIn('info: event: revoked selector=* user=* by=everyone',
                      self.check(run('revoke', '--everyone', '--yes', config=config), DONE).err)
        self.assertEqual('', self.check(self.run_('revoke', '--everyone', '--yes'), DONE).err) # events=0

    def test_revoke_user_where_the_count_is_unavailable(self):
        """As it is for a user with very many sessions, whose list takes longer than deadline_ms."""
        tokens = [self.create(7) for _ in range(3)]
        counted, busy = b'*3\r\n:3\r\n$20\r\n--------------------\r\n$0\r\n\r\n', b'-BUSY Redis is busy running a script\r\n'
        seen = []

        def change(answer):
            seen.extend([True] * answer.count(counted))
            return answer.replace(counted, busy)
        with kit.Proxy(self.redis.socket, change=change) as wire:
            config = f'redis://127.0.0.1:{wire.port}?{kit.OPTIONS}'
            self.check(run('revoke', '--user', '7', config=config), USAGE, 'End all sessions of user 7?')
            self.check(run('revoke', '--user', '7', '--yes', config=config), DONE, 'Ended: 3 sessions of user 7.')
        self.assertTrue(seen)
        kit.wait_for('the application hears of it', lambda: {self.app.validate(token) for token in tokens} == {NOT_FOUND})

    def test_revoke_user_without_sessions_refuses_logins_all_the_same(self):
        self.assertEqual({'revoked': 0}, self.check(self.run_('revoke', '--user', '7', '--json'), DONE).value)
        self.assertEqual('1', self.redis.cli('GET', self.redis.cli('--scan', '--pattern', '*:g:7')))

    def test_revoke_a_user_with_one_session(self):
        self.create(7)
        self.check(self.answered('y', 'revoke', '--user', '7'), DONE, 'End the one session of user 7? [y/N]',
                   'Ended: 1 session of user 7.')

    def test_revoke_everyone(self):
        tokens = [self.create(user % 5) for user in range(12)]
        self.check(self.run_('revoke', '--everyone'), USAGE, 'End ALL 12 sessions of ALL users', '--yes')
        self.check(self.answered('n', 'revoke', '--everyone'), NO, 'nothing was done')
        self.assertEqual({0}, {self.app.validate(token) for token in tokens})
        self.check(self.answered('y', 'revoke', '--everyone'), DONE, 'Ended: all sessions of all users.')
        kit.wait_for('the application hears of it', lambda: {self.app.validate(t) for t in tokens} == {NOT_FOUND})
        new = self.create(1)
        self.assertEqual({'everyone': True}, self.check(self.run_('revoke', '--everyone', '--yes', '--json'), DONE).value)
        kit.wait_for('the application hears of it', lambda: self.app.validate(new) == NOT_FOUND)
        self.check(self.run_('show', new[:20]), NO, 'NOT_FOUND')

    def test_revoke_everyone_of_4096_partitions_with_the_default_deadline(self):
        config = self.redis.url(options='prefix=many&partitions=4096')
        kit.wait_for('it is made', lambda: run('list', '7', config=config).code in (DONE, NO))
        config = config.replace('deadline_ms=20000&', '')
        self.assertNotIn('deadline_ms', config)
        kit.wait_for('all are ended', lambda: run('revoke', '--everyone', '--yes', config=config).code == DONE)

    def test_revoke_whom(self):
        self.check(self.run_('revoke'), USAGE, 'usage: latchkey revoke')
        self.check(self.run_('revoke', '--yes'), USAGE)
        self.check(self.run_('revoke', '--user', 'x', '--yes'), USAGE, 'USER is a number')
        self.check(self.run_('revoke', '--everyone', '--user', '7', '--yes'), USAGE)
        self.check(self.run_('revoke', '--everyone', 'E' * 20, '--yes'), USAGE)

    # ---------------------------------------------------------------------------------------------- prewarm --

    def test_prewarm(self):
        for i in range(300):
            self.create(i)
        said = self.check(self.run_('prewarm', '100', '--json'), DONE).value
        self.assertEqual((100, 100), (said['asked_for'], said['loaded']))
        self.assertGreater(said['seconds'], 0)
        self.assertEqual(300, self.check(self.run_('prewarm', '5000', '--json'), DONE).value['loaded'])
        self.check(self.run_('prewarm', '5000'), DONE, 'loads 300 sessions', 'There are no more', 'an L1 of its own')
        small = run('prewarm', '5000', config=self.redis.url(options='l1_capacity=64'))
        self.check(small, DONE, 'l1_capacity: 64')
        for wrong in ('0', 'x', '-1', '100000001'):
            self.check(self.run_('prewarm', '--', wrong), USAGE)

    # -------------------------------------------------------------------------------- sealed, and without a key --

    def test_sealed_sessions_are_shown_with_the_key_alone(self):
        path = os.path.join(self.redis.dir, 'seal')
        self.check(run('keygen', 'seal', '--file', path), DONE)
        config = self.redis.url(options=f'seal_key_file={path}')
        with kit.App(config) as app:
            token = app.create(7, b'sealed-role', fields={'note': b'sealed-note'})
        shown = self.check(run('show', token[:20], '--values', '--json', config=config), DONE).value
        self.assertEqual(('sealed-role', 'sealed-note'), (shown['role'], shown['fields'][0]['value']))
        said = self.check(self.run_('show', token[:20]), FAILED, 'CORRUPT')
        self.assertNotIn('sealed-role', said.text)


COMMANDS = (('list', '7'), ('show', 'EAAAAAAAAAAAAAAAAAAA'), ('revoke', 'EAAAAAAAAAAAAAAAAAAA', '--yes'),
            ('revoke', '--user', '7', '--yes'), ('revoke', '--everyone', '--yes'), ('prewarm', '10'))


class Away(kit.Case):
    """What every command says when there is no Redis to be had, or not this one."""

    def each(self, code, config, *contained):
        for words in COMMANDS:
            for more in ((), ('--json',)):
                said = self.check(run(*words, *more, config=config), code, *contained)
                self.check_printable(said)
                self.assertNotIn('hunter2', said.text)
                self.assertTrue(said.err.startswith('latchkey: '), said.err)
                if more:
                    self.assertEqual(code, said.value['exit'])
                    self.assertIn(said.value['error'], said.err)

    def test_no_configuration(self):
        self.each(USAGE, None, 'LATCHKEY_CONFIG', 'redis://', 'password_file')
        self.each(USAGE, '', 'LATCHKEY_CONFIG')

    def test_wrong_configuration(self):
        self.each(CONFIG, 'redis://127.0.0.1?no_such_option=1', "unknown option 'no_such_option'")
        self.each(CONFIG, 'http://:hunter2@127.0.0.1', 'must start with redis://')

    def test_redis_is_away(self):
        self.each(AWAY, f'redis://:hunter2@127.0.0.1:{kit.refusing_port()}')
        self.each(AWAY, 'unix:///no/such.socket')

    def test_redis_stands_still(self):
        with kit.Redis() as redis:
            with redis.frozen():
                self.each(AWAY, f'unix://{redis.socket}?deadline_ms=200')

    def test_wrong_password(self):
        with kit.Redis(admin='correct') as redis:
            self.each(CONFIG, redis.url('default:hunter2@'), 'password')
            self.each(CONFIG, redis.url(), 'password')
            with open(f'{redis.dir}/password', 'w', encoding='ascii') as file:
                file.write('correct\n')
            self.check(run('list', '7', config=redis.url(options=f'password_file={redis.dir}/password')), NO)

    def test_not_redis(self):
        with kit.Talker(b'HTTP/1.1 400 Bad Request\r\n\r\n\x1b[31mhunter2\r\n') as other:
            self.each(CONFIG, f'redis://127.0.0.1:{other.port}?deadline_ms=1000', 'protocol')

    def test_no_memory_of_the_configuration_in_the_process_list(self):
        with kit.Redis(admin='hunter2') as redis:
            with redis.frozen():
                process = subprocess.Popen([kit.COMMAND, 'list', '7', '--config', redis.url('default:hunter2@')],
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                def arguments():
                    with open(f'/proc/{process.pid}/cmdline', 'rb') as file:
                        return file.read()
                kit.wait_for('it has taken its arguments', lambda: b'****' in arguments())
                self.assertNotIn(b'hunter2', arguments())
            self.assertNotIn(b'hunter2', process.communicate(timeout=kit.PATIENCE_S)[0])
            self.assertEqual(NO, process.returncode)


if __name__ == '__main__':
    kit.main()

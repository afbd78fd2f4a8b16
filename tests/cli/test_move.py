#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""latchkey move: all sessions from one server to another, and to a cluster, while they are made, used and ended. What was
live is live, with its expiry; what was ended is ended; and no step that fails leaves anything changed."""
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import kit
from kit import DONE, NO, USAGE, AWAY, CONFIG, run

STALENESS_MS = 400
OPTIONS = f'deadline_ms=20000&staleness_ms={STALENESS_MS}'
OK, NOT_FOUND = 0, 1


def url_of(redis):
    return f'unix://{redis.socket}?{OPTIONS}'


def url_of_cluster(cluster):
    return f'redis+cluster://127.0.0.1:{cluster.nodes[0].port}?{OPTIONS}'


DEBUG = '--enable-debug-command', 'yes'


def everything(*servers):
    """Each key, with a digest of its value and its expiry; without what living instances move by themselves, and without those
    that hold the number of partitions."""
    held = {}
    for redis in servers:
        keys = [key for key in redis.cli('KEYS', 'lk:*').split('\n') if key and not key.endswith((':m', ':w'))]
        for some in (keys[i:i + 1000] for i in range(0, len(keys), 1000)):
            values = redis.cli('DEBUG', 'DIGEST-VALUE', *some).split('\n')
            ends = redis.cli_many([f'PEXPIRETIME {key}' for key in some])
            for key, value, end in zip(some, values, ends, strict=True):
                assert key not in held, key
                held[key] = value, end
    return held


def marks(*servers):
    """Of each partition, what its key holds beside the number of partitions, and that number."""
    held = {}
    for redis in servers:
        for key in redis.cli('KEYS', 'lk:{*}:m').split():
            words = redis.cli('HGETALL', key).split('\n')
            fields = dict(zip(words[::2], words[1::2], strict=True))
            held[key] = fields.pop('partitions', None), fields
    return held


class Move(kit.Case):
    def move(self, source, target, code=DONE, *contained):
        return self.check(run('move', '--yes', '--json', '--from', source, '--to', target), code, *contained)

    def make(self, app, count, user=7):
        return [app.create(user + i % 5, b'clerk', fields={'pq.k': b'material' * 20}) for i in range(count)]

    def test_to_another_server_under_load(self):
        """Sessions are made, used and ended all the while, and each ends up as its last answer said."""
        with kit.Redis(good=False) as one, kit.Redis(good=False) as two:
            live, ended, unsure, stop = [], [], [], threading.Event()
            with kit.App(url_of(one)) as first:
                before = self.make(first, 1000)
            # What it asks of the source after its end is answered by nothing, which is not waited for long.
            with kit.App(url_of(one).replace('deadline_ms=20000', 'deadline_ms=500') + '&lazy=1') as old:

                def use():
                    kept = list(before[:300])
                    live.extend(before[300:])
                    while not stop.is_set():
                        status, token = old.order('create', 9, 0, 0, 0, '-')
                        if status == OK:
                            live.append(token)
                        if kept:
                            (ended if old.order('revoke', kept[-1])[0] == OK else unsure).append(kept.pop())
                        old.validate(live[len(kept) % len(live)])

                def move():
                    said.append(run('move', '--yes', '--json', '--from', url_of(one), '--to', url_of(two)))

                said = []
                user, mover = threading.Thread(target=use), threading.Thread(target=move)
                kit.wait_for('it is served', lambda: old.validate(before[0]) == OK)
                user.start()
                try:
                    kit.wait_for('they are used', lambda: len(ended) > 5)
                    mover.start()
                    kit.wait_for('it has begun', lambda: two.cli('HGET', 'lk:{0}:m', 'partitions'))
                    with kit.App(url_of(two) + '&lazy=1') as new:
                        mover.join()
                        stop.set()
                        user.join()
                        self.check(said[0], DONE)
                        kit.wait_for('the new instance is served', lambda: new.validate(before[600]) == OK)
                        self.assertGreaterEqual(said[0].value['keys'], 1000)
                        self.assertGreater(said[0].value['changed'], 0)
                        self.assertLess(old.validate(before[600]), 0)
                        self.assertGreater(len(ended), 0)
                        self.assertEqual(set(), {token for token in live if new.validate(token) != OK})
                        self.assertEqual(set(), {token for token in ended if new.validate(token) != NOT_FOUND})
                        # Its numbers go on.
                        self.assertEqual(OK, new.order('revoke', live[0])[0])
                        self.assertEqual(NOT_FOUND, new.validate(live[0]))
                finally:
                    stop.set()

    def test_all_as_it_was(self):
        """Key by key, on the nodes of a cluster, with numbers, logs, indexes and expiries."""
        with kit.Redis(*DEBUG, good=False) as one, kit.Cluster(*DEBUG) as cluster:
            with kit.App(url_of(one)) as app:
                tokens = self.make(app, 300)
                for token in tokens[:60]:
                    app.rotate(token, 600000)
                for token in tokens[60:90]:
                    self.assertEqual(OK, app.order('revoke', token)[0])
                self.assertEqual(OK, app.order('end', 11)[0])
            held, before = everything(one), marks(one)
            said = self.move(url_of(one), url_of_cluster(cluster)).value
            self.assertEqual((3, 64), (said['nodes'], said['partitions']))
            moved = everything(*cluster.nodes)
            self.assertEqual(sorted(held), sorted(moved))
            self.assertEqual({}, {key: (held[key], moved[key]) for key in held if held[key] != moved[key]})
            # Before any instance has connected, every partition says how many there are. Nothing else is different.
            after = marks(*cluster.nodes)
            self.assertEqual({f'lk:{{{p}}}:m': ('64', before.get(f'lk:{{{p}}}:m', (None, {}))[1]) for p in range(64)}, after)
            self.assertTrue(all('lk:{' in node.cli('KEYS', 'lk:*') for node in cluster.nodes))
            # The source is ended, and says why.
            self.check(run('list', '7', config=url_of(one)), CONFIG, 'have moved to another server')
            self.move(url_of(one), url_of_cluster(cluster), AWAY, 'the target has sessions of its own')

    def test_what_fails_leaves_the_source_as_it_was(self):
        with kit.Redis(good=False) as one, kit.Redis(good=False) as two, kit.App(url_of(one)) as app:
            token = self.make(app, 50)[0]
            two.cli('SET', 'lk:{3}:x', '1')
            self.move(url_of(one), url_of(two), AWAY, 'the target has keys', 'goes on as before')
            two.cli('DEL', 'lk:{3}:x')
            two.cli('CONFIG', 'SET', 'maxmemory', '1')  # it takes nothing
            self.move(url_of(one), url_of(two), AWAY, 'goes on as before')
            two.cli('CONFIG', 'SET', 'maxmemory', '100mb')
            # Late: what partitions hold is not the same, since another program writes at the target.
            two.cli('HSET', 'lk:{0}:m', 'partitions', 'moving')
            # Its socket is always full, so the server writes between any two commands of the move.
            everywhere = ' '.join(['MSET'] + [f'lk:{{{i}}}:e 77' for i in range(64)]) + '\r\n'
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(two.socket)
                other.sendall(b'CLIENT REPLY OFF\r\n')
                stopped = threading.Event()

                def write():
                    while not stopped.is_set():
                        other.sendall(everywhere.encode())
                writer = threading.Thread(target=write)
                writer.start()
                try:
                    kit.wait_for('it writes', lambda: two.cli('GET', 'lk:{5}:e') == '77')
                    self.move(url_of(one), url_of(two), AWAY, 'not the same at both ends', 'goes on as before')
                finally:
                    stopped.set()
                    writer.join()
            self.assertEqual('64', one.cli('HGET', 'lk:{0}:m', 'partitions'))
            self.assertEqual(OK, app.validate(token))
            self.assertEqual(OK, app.order('revoke', token)[0])
            # Nobody is served where a move is not over; and the next one clears what is left, and comes to its end.
            self.check(run('list', '7', config=url_of(two).replace('deadline_ms=20000', 'deadline_ms=2000')), AWAY,
                       'are being moved to this server')
            self.move(url_of(one), url_of(two))
            self.assertEqual('64', two.cli('HGET', 'lk:{0}:m', 'partitions'))

    def test_servers_that_are_full(self):
        """A source that takes nothing any more is left: that is why it is moved. A target that evicts is no success, also if it keeps
        the indexes and the numbers, whose keys live longer than sessions."""
        with kit.Redis(good=False) as one, kit.Redis(good=False) as two:
            with kit.App(url_of(one)) as app:
                tokens = self.make(app, 1000)
            one.cli('CONFIG', 'SET', 'maxmemory', '1')
            used = int(re.search(r'used_memory:(\d+)', two.cli('INFO', 'memory'))[1])
            two.cli('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl', 'maxmemory', str(used + 700000))
            self.move(url_of(one), url_of(two), AWAY, 'evicts keys', 'goes on as before')
            two.cli('CONFIG', 'SET', 'maxmemory', '0')
            self.move(url_of(one), url_of(two))
            with kit.App(url_of(two)) as app:
                self.assertEqual([OK] * 1000, [app.validate(token) for token in tokens])

    def test_servers_that_forget_at_the_last_moment(self):
        """After the source is marked, and before the target is open: a target that comes back empty is not opened, and neither is one
        beside a source that comes back without its mark."""
        for victim in ('target', 'source'):
            with kit.Redis('--save', '', good=False) as one, kit.Redis('--save', '', good=False) as two:
                with kit.App(url_of(one)) as app:
                    tokens = self.make(app, 50)
                one.cli('SAVE')
                one.argv += ['--dbfilename', 'kept.rdb']  # not what it saves on its way down
                subprocess.run(['cp', f'{one.dir}/dump.rdb', f'{one.dir}/kept.rdb'], check=True)
                long = [url_of(redis).replace(f'staleness_ms={STALENESS_MS}', 'staleness_ms=4000') for redis in (one, two)]
                words = [kit.COMMAND, 'move', '--yes', '--from', long[0], '--to', long[1]]
                with subprocess.Popen(words, env=kit.environment(None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) as mover:
                    kit.wait_for('it is marked', lambda: 'moved' in one.cli('HGET', 'lk:{0}:m', 'partitions', check=False))
                    forgets = two if victim == 'target' else one
                    forgets.kill()
                    forgets.boot()
                    _, said = mover.communicate(timeout=kit.PATIENCE_S)
                self.assertEqual(AWAY, mover.returncode, said)
                self.assertNotEqual('64', two.cli('HGET', 'lk:{0}:m', 'partitions'), said)
                if victim == 'source':
                    self.assertRegex(said, 'goes on as before|may refuse instances')  # it may be away at that very moment
                    with kit.App(url_of(one)) as app:
                        self.assertEqual([OK] * 50, [app.validate(token) for token in tokens])
                self.move(url_of(one), url_of(two))
                with kit.App(url_of(two)) as app:
                    self.assertEqual([OK] * 50, [app.validate(token) for token in tokens])

    def test_two_at_once(self):
        """The one that began last removes what the other has copied. One at most comes to its end, and no more than one end serves."""
        with kit.Redis(good=False) as one, kit.Redis(good=False) as two:
            with kit.App(url_of(one)) as app:
                tokens = self.make(app, 3000)
            ends = kit.at_once(None, *([['move', '--yes', '--json', '--from', url_of(one), '--to', url_of(two)]] * 3))
            self.assertLessEqual(sum(said.code == DONE for said in ends), 1, [said.text for said in ends])
            marks = [redis.cli('HGET', 'lk:{0}:m', 'partitions') for redis in (one, two)]
            self.assertIn(marks, (['64', 'moving'], ['moved 64', '64'], ['moved 64', 'moving']), [said.text for said in ends])
            if marks[1] != '64':
                self.move(url_of(one), url_of(two))
            self.assertEqual('', two.cli('HGET', 'lk:{0}:m', 'mover'))
            with kit.App(url_of(two)) as app:
                self.assertEqual([OK] * 3000, [app.validate(token) for token in tokens])

    def test_one_that_was_killed_goes_on(self):
        """After the source was marked: the next run comes to the same end."""
        with kit.Redis(good=False) as one, kit.Redis(good=False) as two:
            with kit.App(url_of(one)) as app:
                tokens = self.make(app, 50)
            one.cli('HSET', 'lk:{0}:m', 'partitions', 'moved 64')
            two.cli('HSET', 'lk:{0}:m', 'partitions', 'moving')
            two.cli('SET', 'lk:{9}:gone', 'an earlier run copied it, and then it ended at the source')
            self.move(url_of(one), url_of(two))
            self.assertEqual('0', two.cli('EXISTS', 'lk:{9}:gone'))
            with kit.App(url_of(two)) as app:
                self.assertEqual([OK] * 50, [app.validate(token) for token in tokens])

    def test_asked_to_stop_at_the_switch(self):
        """It has begun to end the source: it comes to its end all the same, and says so."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with kit.Redis(good=False) as one, kit.Redis(good=False) as two:
                with kit.App(url_of(one)) as app:
                    tokens = self.make(app, 5)
                source = url_of(one).replace(f'staleness_ms={STALENESS_MS}', 'staleness_ms=4000')
                with subprocess.Popen([kit.COMMAND, 'move', '--yes', '--from', source, '--to', url_of(two)], env=kit.environment(None),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as mover:
                    kit.wait_for('the source is marked', lambda: one.cli('HGET', 'lk:{0}:m', 'partitions', check=False) == 'moved 64')
                    mover.send_signal(number)
                    out, said = mover.communicate()
                self.assertEqual(DONE, mover.returncode, said)
                self.assertIn(' keys of 64 partitions are on 1 node', out)
                with kit.App(url_of(two)) as app:
                    self.assertEqual([OK] * 5, [app.validate(token) for token in tokens])

    def much(self, redis, app, count):
        """Sessions with fields and sections, and so many copies of their keys. The tokens of the sessions."""
        tokens = self.make(app, 100)
        for i, token in enumerate(tokens[:40]):
            key = next(key for key in redis.cli('KEYS', f'lk:*:s:{token[:20]}').split('\n'))
            redis.cli('SETRANGE', f'{key}:photo', str(300000 if i < 8 else 20000), 'end') # as a section is kept
            redis.cli('PEXPIRE', f'{key}:photo', '3600000')
        copied = redis.cli('EVAL', 'local n = 0 while true do for _, k in ipairs(redis.call("KEYS", "lk:{*}:s:" .. string.rep("?", 20))) '
                           f'do redis.call("COPY", k, k .. "_" .. n, "REPLACE") n = n + 1 if n >= {count} then return n end end end', '0')
        self.assertEqual(str(count), copied)
        return tokens

    def test_much_killed_and_lost(self):
        """Tens of thousands of keys, some of them large. The command is killed on its way, then the target is; each time the
        source goes on, and the last run brings all."""
        with kit.Redis(*DEBUG, good=False) as one, kit.Redis(*DEBUG, good=False) as two, kit.App(url_of(one)) as app:
            tokens = self.much(one, app, 30000)
            words = [kit.COMMAND, 'move', '--yes', '--from', url_of(one), '--to', url_of(two)]
            for victim in ('target', 'command'):
                with subprocess.Popen(words, env=kit.environment(None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) as mover:
                    kit.wait_for('it copies', lambda: int(two.cli('DBSIZE')) > 500)
                    (mover if victim == 'command' else two).kill()
                    _, said = mover.communicate()
                if victim == 'target':
                    self.assertEqual(AWAY, mover.returncode, said)
                    self.assertIn('goes on as before', said)
                    two.boot() # empty
                else:
                    self.assertLess(mover.returncode, 0, said)
                    self.assertLess(int(two.cli('DBSIZE')), 30000) # which the next run clears
                self.assertEqual(OK, app.validate(tokens[50]))
                self.assertEqual(OK, app.order('revoke', tokens[-1])[0])
                tokens.pop()
            held = everything(one)
            shown = kit.run_on_terminal('move', '--yes', '--from', url_of(one), '--to', url_of(two), progress=True)
            self.check(shown, DONE, ' keys of 64 partitions are on 1 node')
            self.assertRegex(shown.out, r'\d+ of about \d+ keys copied')
            self.assertEqual(held, everything(two))
            with kit.App(url_of(two)) as new:
                self.assertEqual([OK] * len(tokens), [new.validate(token) for token in tokens])

    NAMES = 60000

    def fill(self, redis, key, score='5'):
        redis.cli('EVAL', f'for i = 1, {self.NAMES} do redis.call("ZADD", KEYS[1], {score}, string.format("%020d", i)) end', '1', key)

    def test_large_indexes_that_change_all_the_time(self):
        """Far more names than a page has, in one of them with the same score; one of them has names added, moved and removed without
        a rest. No name is lost, no server must take it in one piece, and each change does not copy all of it once more."""
        busy, wide = 'lk:{3}:a', 'lk:{5}:u:9'
        write = f'''if string.find(redis.call("HGET", "lk:{{0}}:m", "partitions"), "moved") then return end
            for i = 1, 20 do redis.call("ZADD", KEYS[1], math.random(1, 90000), string.format("%020d", math.random(1, {self.NAMES}))) end
            redis.call("ZADD", KEYS[1], math.random(1, 90000), "new" .. redis.call("INCR", "lk:{{3}}:w"))
            redis.call("ZREM", KEYS[1], string.format("%020d", math.random(1, {self.NAMES})))'''
        with kit.Redis(*DEBUG, good=False) as one, kit.Redis(*DEBUG, '--proto-max-bulk-len', '1mb', good=False) as two:
            with kit.App(url_of(one)) as app:
                self.make(app, 20)
            copied = one.cli('EVAL', 'local k = redis.call("KEYS", "lk:{*}:s:*")[1] for i = 1, 10000 do redis.call("COPY", k, k .. i) end return 1', '0')
            self.assertEqual('1', copied)
            self.fill(one, busy, 'i')
            self.fill(one, wide)
            one.cli('PEXPIRE', wide, '3600000')
            with subprocess.Popen(['redis-cli', '-s', one.socket, '-r', '-1', 'EVAL', write, '1', busy], stdout=subprocess.DEVNULL) as writer:
                try:
                    kit.wait_for('it writes', lambda: int(one.cli('GET', 'lk:{3}:w') or 0) > 20)
                    self.move(url_of(one), url_of(two))
                finally:
                    writer.kill()
            # Each index is read twice at most, and compared: not once for each of the changes.
            pages = (self.NAMES + int(two.cli('ZCARD', busy))) // 2000
            self.assertLess(int(re.search(r'cmdstat_zrange:calls=(\d+)', one.cli('INFO', 'commandstats'))[1]), 10 * pages)
            self.assertEqual(everything(one), everything(two))
            self.assertGreater(int(two.cli('ZCARD', busy)), self.NAMES * 9 // 10)

    def test_over_tls_and_from_sentinels(self):
        """rediss:// at both ends; and the primary that sentinels name."""
        with tempfile.TemporaryDirectory() as directory:
            key, certificate = f'{directory}/key.pem', f'{directory}/cert.pem'
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                            '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
                           check=True, capture_output=True)
            ports = [kit.free_port(), kit.free_port()]
            tls = [['--tls-port', str(port), '--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate,
                    '--tls-auth-clients', 'no', '--requirepass', 'a secret'] for port in ports]
            with kit.Redis(*DEBUG, *tls[0][:-2], good=False, admin='a secret') as one, \
                 kit.Redis(*DEBUG, *tls[1][:-2], good=False, admin='a secret') as two, \
                 kit.Redis(*DEBUG, good=False) as three, kit.Redis(good=False) as sentinel:
                urls = [f'rediss://:a%20secret@127.0.0.1:{port}?ca_file={certificate}&{OPTIONS}' for port in ports]
                with kit.App(urls[0]) as app:
                    tokens = self.make(app, 200)
                held = everything(one)
                said = self.move(urls[0], urls[1])
                self.assertNotIn('a secret', said.text)
                self.assertEqual(held, everything(two))
                # On from there, by what a sentinel names, to a server without TLS.
                sentinel.kill()
                with open(f'{sentinel.dir}/conf', 'w', encoding='ascii') as file:
                    file.write(f'sentinel monitor mymaster 127.0.0.1 {two.port} 1\nsentinel auth-pass mymaster "a secret"\n')
                sentinel.argv = ['redis-server', f'{sentinel.dir}/conf', '--sentinel', *sentinel.argv[1:]]
                sentinel.boot()
                named = f'redis+sentinel://:a%20secret@127.0.0.1:{sentinel.port}/mymaster?{OPTIONS}'
                with kit.App(named) as app:
                    self.assertEqual(OK, app.validate(tokens[0]))
                self.move(named, url_of(three))
                self.assertEqual(held.keys(), everything(three).keys())
                with kit.App(url_of(three)) as app:
                    self.assertEqual([OK] * 200, [app.validate(token) for token in tokens])
                    self.assertEqual(OK, app.order('revoke', tokens[0])[0])

    def test_what_it_refuses(self):
        with kit.Redis(good=False) as one, kit.Redis(good=False) as two:
            self.check(run('move', '--yes', '--from', url_of(one)), USAGE, '--from URL and --to URL')
            self.check(run('move', '--from', url_of(one), '--to', url_of(two)), USAGE, 'Give --yes')
            self.move(url_of(one), url_of(two), AWAY, 'no sessions under the prefix')
            self.move(url_of(one), url_of(two) + '&prefix=other', USAGE, 'the same prefix')
            self.move(f'redis+cluster://127.0.0.1:{one.port}?{OPTIONS}', url_of(two), CONFIG, 'not part of a Redis Cluster')
            with kit.App(url_of(one)) as app:
                self.make(app, 1)
            self.move(url_of(one), url_of(one) + '&db=1', AWAY, '--from and --to are the same server')
            # With that URL no instance could be started at the target.
            self.move(url_of(one), url_of(two) + '&partitions=128', AWAY, 'must say partitions=64')
            self.assertEqual('', two.cli('KEYS', '*'))
            self.assertEqual('64', one.cli('HGET', 'lk:{0}:m', 'partitions'))

    def test_a_target_that_would_not_take_the_sessions(self):
        """With less than the source's URL accepts, sessions would be MALFORMED or CORRUPT at the target. More does no harm."""
        with tempfile.TemporaryDirectory() as directory, kit.Redis(good=False) as one, kit.Redis(good=False) as two:

            def file(name, *lines):
                with open(f'{directory}/{name}', 'w', encoding='ascii') as made:
                    made.write('\n'.join(lines) + '\n')
                os.chmod(made.name, 0o600)
                return made.name
            check = [file('check_a', 'a' * 32), file('check_b', 'b' * 32), file('check_ba', 'b' * 32, 'a' * 32)]
            seal = [file('seal_a', 'a' * 64), file('seal_b', 'b' * 64), file('seal_ba', 'b' * 64, 'a' * 64),
                    file('seal_ap', 'a' * 64, 'plain')]
            soon = int(time.time() * 1000) + 3600000
            CHECK, SEAL, PLAIN, UNTIL = 'check_key_file of --to', 'seal_key_file of --to must have all keys', 'the line plain', 'foreign_until_ms of --to'
            for source, target, said in (
                    (f'&check_key_file={check[0]}', '', CHECK), ('', f'&check_key_file={check[0]}', CHECK),
                    (f'&check_key_file={check[0]}', f'&check_key_file={check[1]}', CHECK),
                    (f'&check_key_file={check[2]}', f'&check_key_file={check[0]}', CHECK),
                    (f'&seal_key_file={seal[0]}', '', SEAL), (f'&seal_key_file={seal[2]}', f'&seal_key_file={seal[0]}', SEAL),
                    (f'&seal_key_file={seal[0]}', f'&seal_key_file={seal[1]}', SEAL),
                    ('', f'&seal_key_file={seal[0]}', PLAIN), (f'&seal_key_file={seal[3]}', f'&seal_key_file={seal[0]}', PLAIN),
                    (f'&foreign_until_ms={soon}', '', UNTIL), (f'&foreign_until_ms={soon}', f'&foreign_until_ms={soon - 1}', UNTIL)):
                self.assertRegex(self.move(url_of(one) + source, url_of(two) + target, USAGE).text, said)
                self.assertEqual('', two.cli('KEYS', '*'))
            # An old foreign_until_ms, and what the target accepts in addition.
            old, new = (f'&check_key_file={check[0]}&seal_key_file={seal[3]}&foreign_until_ms=1',
                        f'&check_key_file={check[2]}&seal_key_file={file("seal_bap", "b" * 64, "a" * 64, "plain")}')
            with kit.App(url_of(one) + old) as app:
                tokens = self.make(app, 5)
            self.move(url_of(one) + old, url_of(two) + new)
            with kit.App(url_of(two) + new) as app:
                self.assertEqual([OK] * 5, [app.validate(token) for token in tokens])

    def test_with_the_rights_of_the_manual_alone_and_foreign_keys_beside(self):
        with open(f'{kit.ROOT}/src/cli/latchkey.1', encoding='ascii') as page:
            rights = re.search(r'must also be allowed to run\n\.Ql ([^\n]+)\nand to subscribe to the channel\n\.Ql (\S+) \.\n'
                               r'The user of\n\.Fl -to\nmust also be allowed to run\n\.Ql ([^\n]+) \.', page.read())
        with kit.Redis(good=False) as one, kit.Cluster() as cluster:
            for server, words in (one, rights[1]), *((node, rights[3]) for node in cluster.nodes):
                server.cli('ACL', 'SETUSER', 'mover', 'on', '>secret', *kit.ACL['app'], *('+' + word for word in words.split()))
            one.cli('ACL', 'SETUSER', 'mover', '&' + rights[2])
            with kit.App(url_of(one)) as app:
                self.make(app, 5)
            # Another program's keys: {05} is another slot than {5}.
            for odd in 'lk:{05}:x', 'lk:{ 5}:x', 'lk:{+5}:x', 'lk:{5}:', 'lk:{64}:s:x', 'lk:{x}:y', 'lk:{5}x:z':
                one.cli('SET', odd, 'foreign')
            self.fill(one, 'lk:{5}:u:9')
            self.move(url_of(one).replace('//', '//mover:secret@'), url_of_cluster(cluster).replace('//', '//mover:secret@'))


if __name__ == '__main__':
    kit.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""status, top, sample: what is shown of a population and of instances that the test knows."""
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import tempfile
import termios
import threading

import kit
from kit import AWAY, CONFIG, DONE, FAILED, NO, USAGE, App, Redis, run, wait_for

FOREIGN = 'foreign_until_ms=4102444800000'


def soon(redis, credentials='', **more):
    """Beats come five times a second."""
    return redis.url(credentials, **more).replace('staleness_ms=4000', 'staleness_ms=800')


def listening(words, config, stdout):
    return subprocess.Popen([kit.COMMAND, *words], env=kit.environment(config), stdin=subprocess.DEVNULL,
                            stdout=stdout, stderr=subprocess.PIPE)


class Screen:
    """`latchkey top` on a terminal."""

    def __init__(self, config, *words, keys=True):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.shown = b''
        self.process = subprocess.Popen([kit.COMMAND, 'top', *words], env=kit.environment(config),
                                        stdin=self.slave if keys else subprocess.DEVNULL, stdout=self.slave, stderr=self.slave, start_new_session=True,
                                        preexec_fn=lambda: os.close(os.open(os.ttyname(1), os.O_RDWR)))  # and its own, for control-C

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            self.shown += os.read(self.master, 65536)
        return self.shown.decode()

    def wait_for(self, *texts):
        wait_for(f'the screen shows {texts}', lambda: all(text in self.read() for text in texts))

    def end(self):
        """Its exit code, once it is over; the terminal is as it was."""
        code = self.process.wait(kit.PATIENCE_S)
        self.read()
        after = termios.tcgetattr(self.slave)
        os.close(self.master)
        os.close(self.slave)
        return code, after == self.before


class Insight(kit.Case):
    def sessions(self, app, count=60):
        return [app.create(1000 + i // 2, device=i % 3, fields={'note': b'x' * 100}) for i in range(count)]

    # --------------------------------------------------------------------------------------------------- status

    def test_status_of_what_is_well(self):
        with Redis() as redis, App(redis.url()) as app, App(redis.url(tcp=True)):
            tokens = self.sessions(app)
            self.assertEqual(0, app.validate(tokens[0]))
            said = self.until(lambda said: '2 heard' in said.out, 'status', config=redis.url())
            self.check_printable(self.check(said, DONE, 'All is well', 'about 60'))
            said = self.until(lambda said: len(said.value['instances']) == 2, 'status', '--json', config=redis.url(tcp=True))
            value = self.check(said, DONE).value
            self.assertTrue(value['healthy'])
            self.assertEqual([60, 60, 64, 0], [value[k] for k in ('sessions', 'peak', 'partitions', 'errors')])
            for instance in value['instances']:
                self.assertTrue(0 <= instance['lease_age_ms'] <= 4000, instance)
            self.assertGreater(value['round_trip_ms'], 0)

    def test_status_says_who_is_named(self):
        with kit.Redis() as redis, kit.Redis(good=False) as sentinel:
            sentinel.kill()
            with open(f'{sentinel.dir}/conf', 'w', encoding='ascii') as file:
                file.write(f'sentinel monitor mymaster 127.0.0.1 {redis.port} 1\n')
            sentinel.argv = ['redis-server', f'{sentinel.dir}/conf', '--sentinel', *sentinel.argv[1:]]
            sentinel.boot()
            config = f'redis+sentinel://127.0.0.1:{sentinel.port}/mymaster?{kit.OPTIONS}'
            self.check(run('status', config=config), DONE, f'127.0.0.1:{redis.port}, named by 1 of 1 sentinels')
            value = self.check(run('status', '--json', config=config), DONE).value
            self.assertEqual([f'127.0.0.1:{redis.port}', 1, 1],
                             [value[name] for name in ('primary', 'sentinels', 'sentinels_agreeing')])

    def test_status_and_top_write_nothing(self):
        with Redis() as redis:
            self.check(run('status', config=soon(redis)), DONE, 'no instance has been here', '0 heard')
            self.check(run('top', '--once', config=soon(redis)), NO, 'no instance is heard')
            self.assertEqual('0', redis.cli('DBSIZE'))

    def test_status_of_a_server_that_breaks_a_guarantee(self):
        with Redis('--maxmemory-policy', 'allkeys-lru', '--maxmemory', '100mb', good=False) as redis:
            self.check(run('status', config=redis.url()), NO, 'latchkey doctor', 'Not all is well')
            self.assertFalse(run('status', '--json', config=redis.url()).value['healthy'])

    def test_status_where_writes_are_refused(self):
        """All that is read goes on, but no user can log in."""
        with Redis() as redis, App(redis.url()) as app:
            app.create(7)
            for setting, value, why in ('min-replicas-to-write', '1', '-NOREPLICAS'), ('maxmemory', '1', '-OOM'):
                redis.cli('CONFIG', 'SET', setting, value)
                self.check(run('status', config=redis.url()), NO, 'Writes       REFUSED by 1 node, ', why, 'Not all is well.')
                said = self.check(run('status', '--json', config=redis.url()), NO).value
                self.assertIn(why, said['writes_refused'])
                self.assertEqual([False, 0], [said['healthy'], said['errors']])
                redis.cli('CONFIG', 'SET', setting, '0')
            self.assertIsNone(self.check(run('status', '--json', config=redis.url()), DONE).value['writes_refused'])

    def test_a_warning_is_not_well(self):
        with Redis('--appendonly', 'no') as redis, App(redis.url()):
            said = self.check(run('status', config=redis.url()), DONE, '1 warning', 'run latchkey doctor')
            self.assertNotIn('All is well', said.out)
        with Redis() as redis:
            self.assertNotIn('All is well', self.check(run('status', config=soon(redis)), DONE, 'no instance').out)

    def test_a_server_that_lies(self):
        """Its texts are not obeyed by the terminal, and a clock that was set back makes no number that nobody believes."""
        def padded(text, size):
            return text + b'\r\nx:' + b'.' * (size - len(text) - 4)

        def lie(answer):
            answer = re.sub(rb'uptime_in_seconds:\d+\r\nuptime_in_days:\d+',
                            lambda old: padded(b'uptime_in_seconds:-63', len(old.group())), answer)
            for name in (rb'redis_version:\d+\.\d+', b'used_memory_human:', b'maxmemory_human:'):
                answer = re.sub(rb'(' + name + rb')([^\r]+)', lambda old: old.group(1) + b'\x1b' * len(old.group(2)), answer)
            return answer.replace(b'connected_slaves:0', b'connected_slaves:\x1b') # it is no number
        with Redis() as redis, kit.Proxy(redis.socket, change=lie) as wire:
            url = f'redis://127.0.0.1:{wire.port}?deadline_ms=20000&staleness_ms=800'
            redis.cli('HSET', 'lk:{0}:m', 'partitions', '64', 'peak', '-5')
            redis.cli('SET', 'lk:{0}:q', '-7')
            said = run('status', config=url)
            self.check_printable(self.check(said, DONE, 'replicas: 0', 'up for an unknown time'))
            self.assertRegex(said.out, r'Redis +\d+\.\d+(\\x1b)+, up')
            self.assertNotRegex(said.out, r'\d{7}')
            self.assertIn('Revocations  0 since', said.out)
            for words in (('doctor',), ('doctor', '--json'), ('status', '--json')):
                self.check_printable(run(*words, config=url))

    def test_no_redis_and_wrong_words(self):
        with Redis() as redis:
            url = redis.url()
            for command in ('status', 'top', 'sample'):
                self.check(run(command, config=url + '&nonsense=1'), CONFIG, 'nonsense')
                self.check(run(command), USAGE, 'LATCHKEY_CONFIG')
                self.check(run(command, '--nonsense', config=url), USAGE)
            self.check(run('sample', '--all', '--count', '5', config=url), USAGE)
            self.check(run('sample', '--count', '0', config=url), USAGE)
            redis.kill()
            for command in ('status', 'top', 'sample'):
                self.check(run(command, config=url.replace('deadline_ms=20000', 'deadline_ms=1000')), AWAY)

    # --------------------------------------------------------------------------------------------------- sample

    def test_sample(self):
        with Redis() as redis, App(redis.url()) as app:
            self.sessions(app)
            value = self.check(run('sample', '--json', config=redis.url()), DONE).value
            self.assertTrue(value['exact'])
            self.assertEqual([60, 30, 60, 0], [value[k] for k in ('sessions', 'users', 'peak', 'unindexed')])
            self.assertEqual([20] * 3, [row['sessions'] for row in value['device']])
            self.assertEqual({0, 1, 2}, {row['device'] for row in value['device']})
            self.assertEqual(60, sum(row['sessions'] for row in value['idle']))
            self.assertGreater(value['session_p50_bytes'], 284)
            said = self.check(run('sample', '--all', config=redis.url()), DONE, '60 live sessions', 'of 30 users',
                              'under 1 min')
            self.check_printable(said)
            self.assertRegex(said.out, r'(?m)^  1 +20 +33\.3%  #{10}$')
            some = self.check(run('sample', '--json', '--count', '20', config=redis.url()), DONE).value
            self.assertFalse(some['exact'])
            self.assertEqual(60, some['sessions'])  # none of those drawn was over
            self.check(run('sample', '--count', '20', config=redis.url()), DONE, 'give or take')

    # ------------------------------------------------------------------------------------------------------ top

    def test_top_counts_what_instances_do(self):
        with Redis() as redis, App(soon(redis)) as one, App(soon(redis)) as other:
            tokens = self.sessions(one, 20)
            for _ in range(10):
                for token in tokens:
                    self.assertEqual([0, 0], [one.validate(token), other.validate(token)])
            said = self.until(lambda said: [400] == [total['hits'] + total['misses'] for total in [said.value.get('total')] if total],
                              'top', '--once', '--json', config=soon(redis))
            value = self.check(said, DONE).value
            self.assertEqual(2, len(value['instances']))
            total = value['total']
            self.assertEqual(20, total['misses'])  # of the one that did not make them
            self.assertEqual(40, total['l1_entries'])
            self.assertEqual(200000, total['l1_capacity'])
            self.assertGreaterEqual(total['lease_age_ms'], 0)
            self.assertTrue(0 < total['l2_read_p50_us'] <= total['l2_read_p99_us'])
            said = self.until(lambda said: said.code == DONE, 'top', '--once', config=soon(redis))
            self.check(said, DONE, 'INSTANCE', 'all ')

    def test_who_an_instance_is(self):
        """By host, process and name, in top and status."""
        host = re.sub('[^A-Za-z0-9._:-]', '-', socket.gethostname())[:32]
        with Redis() as redis, App(soon(redis) + '&name=check-out:7') as app:
            for command in (['top', '--once'], ['status']):
                one = self.until(lambda said: said.value['instances'], *command, '--json', config=soon(redis)).value['instances'][0]
                self.assertEqual((host, app.process.pid, 'check-out:7'), (one['host'], one['pid'], one['name']))
                self.until(lambda said: 'check-out:7' in said.out, *command, config=soon(redis))

    def test_top_shows_rates(self):
        with Redis() as redis, App(soon(redis)) as app:
            token = self.sessions(app, 1)[0]
            over = threading.Event()

            def work():
                while not over.is_set():
                    app.validate(token)
            worker = threading.Thread(target=work)
            worker.start()
            try:
                with listening(['top', '--json'], soon(redis), subprocess.PIPE) as top:
                    lines = iter(top.stdout.readline, b'')
                    busy = next(line for line in lines if re.search(rb'"total":.*"validates_per_s":[1-9]', line))
                    self.assertRegex(busy, rb'"total":.*"hit_rate":1[,}]')
                    top.terminate()  # it ends as by q
                    self.assertEqual(0, top.wait(kit.PATIENCE_S))
            finally:
                over.set()
                worker.join()

    def test_top_on_a_terminal(self):
        with Redis() as redis, App(soon(redis)) as one, App(soon(redis)):
            self.sessions(one, 3)
            said = self.until(lambda said: len(said.value['instances']) == 2, 'top', '--once', '--json', config=soon(redis))
            names = {i['instance'] for i in said.value['instances']}
            for how in ('q', '\x03', '\x1c', 'SIGTERM'):
                screen = Screen(soon(redis))
                screen.wait_for('\033[?1049h\033[?25l\033[?7l', '2 instances', *names)  # lines that are too long are cut: wrapped, they push the nodes off
                self.assertNotEqual(screen.before, termios.tcgetattr(screen.slave))  # keys come at once, unseen
                if how == 'SIGTERM':
                    screen.process.send_signal(signal.SIGTERM)
                else:
                    os.write(screen.master, how.encode())
                self.assertEqual((0, True), screen.end(), how)
                self.assertTrue(screen.shown.endswith(b'\033[?7h\033[?25h\033[?1049l'), screen.shown[-100:])

    def test_top_on_a_terminal_without_keys(self):
        with Redis() as redis:
            screen = Screen(soon(redis), keys=False)
            for _ in range(2):  # it goes on
                screen.shown = b''
                screen.wait_for('no instance is heard yet')
            screen.process.terminate()
            self.assertEqual((0, True), screen.end())

    def test_top_of_nohup(self):
        with Redis() as redis, subprocess.Popen(['nohup', kit.COMMAND, 'top', '--json'], env=kit.environment(soon(redis)), text=True,
                                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as top:
            self.assertTrue(top.stdout.readline())
            top.send_signal(signal.SIGHUP)
            for _ in range(3):
                self.assertTrue(top.stdout.readline(), 'it has ended')
            top.terminate()

    def test_streams_that_are_closed(self):
        """No connection takes their numbers: else Redis is sent what is printed, and its answers are read as lines."""
        with Redis() as redis:
            for words, code in (('top --once --json >&-', FAILED), ('top --once --json <&- >&- 2>&-', FAILED), ('status >&-', FAILED),
                                ('import - <&-', FAILED), ('import - <&- 2>&-', FAILED)):
                done = subprocess.run(['sh', '-c', f'exec "$0" {words}', kit.COMMAND], env=kit.environment(soon(redis, options=FOREIGN)),
                                      stdin=subprocess.DEVNULL, capture_output=True, timeout=kit.PATIENCE_S, check=False)
                self.assertEqual(code, done.returncode, (words, done))

    def test_top_when_redis_dies(self):
        with Redis() as redis:
            screen = Screen(soon(redis))
            screen.wait_for('no instance is heard yet')
            redis.kill()
            self.assertEqual((AWAY, True), screen.end())
            self.assertIn('\033[?1049l', screen.shown.decode())
            self.assertIn('latchkey: ', screen.shown.decode().split('\033[?1049l')[1])

    def test_top_without_a_terminal(self):
        with Redis() as redis, App(soon(redis)):
            with listening(['top'], soon(redis), subprocess.PIPE) as top:
                shown, tables = b'', 0
                while tables < 2: # it goes on without a terminal
                    shown += (line := top.stdout.readline())
                    self.assertTrue(line, 'it has ended')
                    tables += b'INSTANCE' in line
                top.terminate()
                self.assertEqual(0, top.wait(kit.PATIENCE_S))
            self.check_printable(kit.Outcome(0, shown.decode(), ''))
            self.check(run('top', '--seconds', '1', config=soon(redis)), DONE) # it ends by itself

    def test_top_and_foreign_messages(self):
        """What anybody publishes is not obeyed by the terminal, and an older library is not shown as what it is not."""
        with Redis() as redis:
            with listening(['top', '--json'], soon(redis), subprocess.PIPE) as top:
                wait_for('it listens', lambda: redis.cli('PUBSUB', 'NUMPAT') == '1')
                redis.cli('PUBLISH', 'lk:beat:00000000000000aa', '0123456789abcdef')  # of an older version
                redis.cli('PUBLISH', 'lk:beat:00000000000000bb', '0123456789abcdef v=\033[2J hit=1')
                redis.cli('PUBLISH', 'lk:beat:\033[2J', '0123456789abcdef v=1.0 hit=1')
                redis.cli('PUBLISH', 'lk:beat:00000000000000cc0', '0123456789abcdef v=1.0 hit=1')
                redis.cli('PUBLISH', 'lk:beat:00000000000000dd', '0123456789abcdef v=9.9 hit=5 sunshine=1')
                last = next(line for line in iter(top.stdout.readline, b'') if b'00dd' in line).decode()
                top.terminate()
                top.communicate()
            rows = {row['instance'][-2:]: row for row in json.loads(last)['instances']}
            self.assertEqual({'aa', 'bb', 'dd'}, set(rows))
            self.assertEqual([False, False, True], [rows[k]['tells'] for k in ('aa', 'bb', 'dd')])
            self.assertEqual([5, '9.9'], [rows['dd']['hits'], rows['dd']['version']])
            screen = Screen(soon(redis))
            screen.wait_for('no instance is heard yet')
            redis.cli('PUBLISH', 'lk:beat:00000000000000bb', '0123456789abcdef v=\033]0;x\007 hit=1')
            screen.wait_for('00000000000000bb', 'no numbers')
            os.write(screen.master, b'q')
            self.assertEqual((0, True), screen.end())
            self.assertNotIn('\033]0', screen.shown.decode())

    def test_more_than_a_thousand_instances(self):
        with Redis() as redis, listening(['top', '--json'], soon(redis), subprocess.PIPE) as top:
            wait_for('it listens', lambda: redis.cli('PUBSUB', 'NUMPAT') == '1')
            shown = 0
            while shown < 1200:
                redis.cli_many([f'PUBLISH lk:beat:{i:016x} {i:016x}' for i in range(1200)])
                line = top.stdout.readline()
                self.assertTrue(line, 'it has ended')
                before, shown = shown, len(json.loads(line)['instances'])
                self.assertFalse(before == shown == 1000)  # no more than before, from one second to the next
            top.terminate()
            top.communicate()

    def test_rights(self):
        """The application's user has to be told what it lacks, and the operator's lacks nothing."""
        with Redis() as redis:
            for user, rules in kit.ACL.items():
                redis.cli('ACL', 'SETUSER', user, 'on', '>secret', *rules)
            url, operator = soon(redis, 'app:secret@'), soon(redis, 'operator:secret@')
            with App(url) as app:
                token = app.create(7)
                for command in ('status', 'top'):
                    words = [command, *(['--once'] if command == 'top' else [])]
                    refused = self.check(run(*words, config=url), CONFIG, '+psubscribe')
                    self.assertNotIn('secret', refused.text)
                    self.until(lambda said: said.code == DONE, *words, config=operator)
                self.check(run('sample', config=url), DONE, '1 live sessions', 'no right to SCAN')
                self.assertNotIn('no right', self.check(run('sample', config=operator), DONE).text)
                self.check(run('list', '7', config=operator), DONE, token[:20])
                self.check(run('show', token[:20], config=operator), DONE)
                self.check(run('prewarm', '10', config=operator), DONE)
                doctor = run('doctor', '--json', '--admin', operator, config=url).value
                self.assertGreater(doctor['keys_looked_at'], 0)
                self.check(run('revoke', token[:20], '--yes', config=operator), DONE)

    def test_a_right_that_is_missing_is_no_zero(self):
        with Redis() as redis, App(redis.url()) as app:
            app.create(7)
            for right in ('hget', 'zcard', 'get'):
                redis.cli('ACL', 'SETUSER', 'operator', 'reset', 'on', '>secret', *kit.ACL['operator'], f'-{right}')
                self.check(run('status', config=soon(redis, 'operator:secret@')), CONFIG, f'+{right}')
            redis.cli('ACL', 'SETUSER', 'operator', 'reset', 'on', '>secret', *kit.ACL['operator'], '-pttl')
            found = run('doctor', '--json', '--admin', soon(redis, 'operator:secret@'), config=redis.url()).value['findings']
            (unseen,) = [finding for finding in found if finding['name'] == 'unseen']
            self.assertIn('PTTL', unseen['text'])

    def test_the_acl_as_it_is_copied(self):
        """The lines of src/redis/README.md into redis-cli, each in one piece; and acl.txt as users.acl."""
        with open(f'{kit.ROOT}/src/redis/README.md', encoding='utf-8') as readme:
            lines = re.findall(r'^ACL SETUSER .*$', readme.read(), re.M)
        with open(f'{kit.ROOT}/src/redis/acl.txt', encoding='ascii') as file:
            text = file.read()
        self.assertEqual(text.splitlines(), [line.replace('ACL SETUSER', 'user', 1) for line in lines])
        self.assertTrue(set(kit.ACL['app']) < set(kit.ACL['operator']))
        with Redis() as redis:
            typed = subprocess.run(['redis-cli', '-s', redis.socket], input='\n'.join(lines), capture_output=True, text=True,
                                   check=True)
            self.assertEqual(['OK', 'OK'], typed.stdout.split())
        with tempfile.TemporaryDirectory() as directory:
            with open(f'{directory}/users.acl', 'w', encoding='ascii') as file:
                file.write(text)
            with Redis('--aclfile', f'{directory}/users.acl') as redis:
                with App(soon(redis, 'app:PASSWORD@')) as app:
                    app.create(7)
                    said = self.until(lambda said: '1 heard' in said.out, 'status', config=soon(redis, 'operator:PASSWORD@'))
                    self.check(said, DONE)


if __name__ == '__main__':
    kit.main()

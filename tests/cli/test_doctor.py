#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""latchkey doctor: nothing on a server that is right, and each wrong thing by its name. What it can find is read in src/redis/README.md
("What the server must be set to") and in the manual page, so that nothing new there is left without a test."""
import contextlib
import glob
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile

import kit
from kit import DONE, NO, USAGE, AWAY, CONFIG, run

PASSWORD, ADMIN = 'hunter2-of-the-application', 'hunter2-of-the-administrator'
with open(f'{kit.ROOT}/src/redis/README.md', encoding='utf-8') as file:
    README = file.read()
ACL = kit.ACL['app']
RIGHTS = [word[1:] for word in ACL if word.startswith('+')]


def names_in_readme():
    section = README.split('\n## What the server must be set to\n')[1].split('\n## ')[0]
    return {name for row in re.findall(r'^\| (`[^|]*) \|', section, re.M) for name in re.findall(r'`([a-z_-]+)`', row)}


def names_in_manual():
    with open(f'{kit.ROOT}/src/cli/latchkey.1', encoding='ascii') as page:
        return set(re.findall(r'^\.It Sy ([a-z-]+)$', page.read(), re.M))


class Server(kit.Redis):
    """As src/redis/README.md wants it, and what is given; with an administrator and the application's user."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, admin=ADMIN, **named)
        self.allow(*ACL)

    def allow(self, *rules):
        assert self.cli('ACL', 'SETUSER', 'app', 'reset', 'on', f'>{PASSWORD}', *rules) == 'OK'

    def config(self, options='', tcp=False):
        return self.url(f'app:{PASSWORD}@', options, tcp)

    def doctor(self, *words, options='', config=None, admin=True, code=None):
        more = ('--admin', self.url(f':{ADMIN}@')) if admin else ()
        said = run('doctor', '--json', *more, *words, config=config or self.config(options))
        people = run('doctor', *more, *words, config=config or self.config(options))
        for outcome in (said, people):
            assert PASSWORD not in outcome.text and ADMIN not in outcome.text, outcome.text
            assert outcome.code == (code if code is not None else NO if said.value['findings'] else DONE), outcome.text
        found = {finding['name']: finding for finding in said.value['findings']}
        for name, finding in found.items():
            assert f': {name}' in people.out and finding['fix'] and len(finding['text']) > 30, people.out
        if not found:
            assert 'Nothing to change.' in people.out
        return found


# ----------------------------------------------------------------------- wrong servers, by what is to be found --
WRONG = {}


def wrong(name, level):
    def remember(test):
        WRONG.setdefault(name, []).append((level, contextlib.contextmanager(test)))
        return test
    return remember


def with_arguments(name, level, *arguments, **named):
    @wrong(name, level)
    def start():
        with Server(*arguments) as server:
            yield server, named


with_arguments('maxmemory-policy', 'error', '--maxmemory-policy', 'allkeys-lru')
with_arguments('maxmemory-policy', 'notice', '--maxmemory-policy', 'allkeys-lru', '--maxmemory', '0')
with_arguments('appendonly', 'warning', '--appendonly', 'no')
with_arguments('appendfsync', 'warning', '--appendfsync', 'no')
with_arguments('appendfsync', 'notice', '--appendfsync', 'everysec')
with_arguments('replicas', 'error', options='durability=1&lazy=1')
with_arguments('timeout', 'warning', '--timeout', '1')
with_arguments('no-appendfsync-on-rewrite', 'warning', '--no-appendfsync-on-rewrite', 'yes')
with_arguments('lazyfree-lazy-expire', 'notice', '--lazyfree-lazy-expire', 'no')
with_arguments('client-output-buffer-limit', 'notice', '--client-output-buffer-limit', 'pubsub 1000 500 60')


@wrong('aof_last_write_status', 'error')
def disk_is_full():
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000))
    with Server('--appendfsync', 'everysec', preexec=limit) as server, kit.App(server.config()) as app:
        app.create(7)
        for i in range(4):
            server.cli('SET', f'filler{i}', 'x' * 100000, check=False)
        kit.wait_for('Redis cannot write', lambda: 'aof_last_write_status:err' in server.cli('INFO', 'persistence'))
        yield server, {}


@wrong('rdb_last_bgsave_status', 'warning')
def snapshot_fails():
    with Server() as server:
        os.mkdir(f'{server.dir}/dump.rdb')
        server.cli('BGSAVE')
        kit.wait_for('the snapshot has failed', lambda: 'rdb_last_bgsave_status:err' in server.cli('INFO', 'persistence'))
        yield server, {}


@contextlib.contextmanager
def replicated():
    with Server('--repl-diskless-sync-delay', '0') as server, \
            kit.Redis('--replicaof', '127.0.0.1', str(server.port), '--masterauth', ADMIN) as replica:
        assert replica.cli('ACL', 'SETUSER', 'app', 'reset', 'on', f'>{PASSWORD}', *ACL) == 'OK' # not replicated
        kit.wait_for('the replica is there', lambda: 'state=online' in server.cli('INFO', 'replication'))
        yield server


@wrong('durability', 'warning')
def nobody_waits_for_the_replica():
    with replicated() as server:
        yield server, {}


@wrong('min-replicas-to-write', 'warning')
def an_isolated_primary_would_go_on():
    with replicated() as server:
        server.allow(*ACL, '+wait')
        yield server, {'options': 'durability=1'}


@wrong('durability-fence', 'warning')
def two_primaries_could_both_be_durable():
    with Server('--repl-diskless-sync-delay', '0', '--min-replicas-to-write', '1') as server, contextlib.ExitStack() as more:
        for _ in range(3):
            more.enter_context(kit.Redis('--replicaof', '127.0.0.1', str(server.port), '--masterauth', ADMIN))
        kit.wait_for('the replicas are there', lambda: server.cli('INFO', 'replication').count('state=online') == 3)
        server.allow(*ACL, '+wait')
        yield server, {'options': 'durability=1'}


class Sentinel:
    """Watches this server. Use with `with`."""

    def __init__(self, server):
        self.dir, self.port = tempfile.mkdtemp(prefix='latchkey-cli-'), kit.free_port()
        with open(f'{self.dir}/conf', 'w', encoding='ascii') as file:
            file.write(f'port {self.port}\nbind 127.0.0.1\ndir {self.dir}\nlogfile {self.dir}/log\n'
                       f'sentinel monitor mymaster 127.0.0.1 {server.port} 2\nsentinel auth-pass mymaster {ADMIN}\n')

    def cli(self, *words):
        return subprocess.run(['redis-cli', '-p', str(self.port), *words], capture_output=True, text=True, check=False).stdout

    def __enter__(self):
        self.process = subprocess.Popen(['redis-server', f'{self.dir}/conf', '--sentinel'], start_new_session=True)
        kit.wait_for('the sentinel answers', lambda: 'PONG' in self.cli('PING'))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def named_by(*ports):
    where = ','.join(f'127.0.0.1:{port}' for port in ports)
    return {'config': f'redis+sentinel://app:{PASSWORD}@{where}/mymaster?{kit.OPTIONS}'}


@wrong('sentinels', 'warning')
def a_sentinel_is_down():
    with Server() as server, Sentinel(server) as one, Sentinel(server) as two:
        yield server, named_by(one.port, kit.refusing_port(), two.port)


@wrong('sentinel-apart', 'warning')
def a_sentinel_does_not_know_the_name():
    with Server() as server, Sentinel(server) as one, Sentinel(server) as two, Sentinel(server) as three:
        three.cli('SENTINEL', 'REMOVE', 'mymaster')
        yield server, named_by(one.port, two.port, three.port)


@wrong('sentinel-count', 'warning')
def one_sentinel_is_not_enough():
    with Server() as server, Sentinel(server) as one:
        yield server, named_by(one.port)


@wrong('failover', 'error')
def nobody_could_take_over():
    with Server() as server, Sentinel(server) as one:
        yield server, named_by(one.port)


@wrong('failover', 'notice')
def a_failover_would_cost_logins():
    with replicated() as server, Sentinel(server) as one:
        yield server, named_by(one.port)


@wrong('info', 'notice')
def info_is_cut():
    with Server() as server, kit.Proxy(server.socket, change=lambda answer: answer.replace(b'maxmemory_', b'minmemory_')) as wire:
        yield server, {'config': f'redis://app:{PASSWORD}@127.0.0.1:{wire.port}?{kit.OPTIONS}', 'admin': False}


@wrong('tls', 'warning')
def not_on_loopback():
    with Server() as server:
        yield server, {'config': f'redis://app:{PASSWORD}@0.0.0.0:{server.port}?{kit.OPTIONS}'}


@wrong('password', 'warning')
def no_password():
    with kit.Redis() as server:
        server.doctor = Server.doctor.__get__(server)
        yield server, {'config': server.url(), 'admin': False}


@contextlib.contextmanager
def slow(options):
    with Server() as server, kit.Proxy(server.socket, delay_s=0.03) as wire:
        yield server, {'config': f'redis://app:{PASSWORD}@127.0.0.1:{wire.port}?{options}'}


@wrong('deadline', 'warning')
def deadline_is_short():
    with slow('deadline_ms=100') as what:
        yield what


@wrong('open', 'error')
def deadline_is_much_too_short():
    with slow('deadline_ms=20') as what:
        yield what


@wrong('beat', 'warning')
def bound_is_short():
    with slow('deadline_ms=20000&staleness_ms=400') as what:
        yield what


@wrong('clock', 'notice')
def clocks_disagree():
    def ahead(answer):  # of TIME
        return re.sub(rb'(?<=\*2\r\n\$10\r\n)\d{10}(?=\r\n)', lambda time: b'%d' % (int(time.group()) + 3600), answer)
    with Server() as server, kit.Proxy(server.socket, change=ahead) as wire:
        yield server, {'config': f'redis://app:{PASSWORD}@127.0.0.1:{wire.port}?{kit.OPTIONS}', 'admin': False}


@wrong('memory', 'warning')
def nearly_full():
    with Server() as server, kit.App(server.config()) as app:
        app.create(7)
        server.cli('SETRANGE', 'filler', '1000000', 'x')
        used = int(re.search(r'used_memory:(\d+)', server.cli('INFO', 'memory')).group(1))
        server.cli('CONFIG', 'SET', 'maxmemory', str(int(used * 1.05)))
        yield server, {}


def with_setting(name, value):
    with Server() as server, kit.App(server.config()) as app:
        app.create(7)
        server.cli('CONFIG', 'SET', name, value)
        yield server, {}


@wrong('writes', 'error')
def too_few_replicas():
    yield from with_setting('min-replicas-to-write', '1')


@wrong('writes', 'error')
def quite_full():
    yield from with_setting('maxmemory', '1')


@wrong('acl-missing', 'error')
def a_right_is_missing():
    with Server() as server:
        server.allow(*(word for word in ACL if word != '+zrandmember'))
        yield server, {}


@wrong('acl-keys', 'error')
def another_prefix_is_allowed():
    with Server() as server:
        server.allow(*(word.replace('lk:', 'other:') for word in ACL))
        yield server, {}


@wrong('acl-excess', 'warning')
def all_is_allowed():
    with Server() as server:
        server.allow('+@all', '~*', '&*')
        yield server, {}


@wrong('expiry', 'error')
def a_session_is_eternal():
    with Server() as server, kit.App(server.config()) as app:
        token = app.create(7)
        server.cli('PERSIST', server.cli('--scan', '--pattern', f'*{token[:20]}'))
        yield server, {}


@wrong('foreign-keys', 'warning')
def somebody_else_has_the_prefix():
    with Server() as server:
        server.cli('SET', 'lk:cache:7', 'x')
        yield server, {}


@wrong('foreign-keys', 'warning')
def somebody_else_is_inside():
    with Server() as server:
        server.cli('SET', 'lk:{5}:cache', 'x')
        yield server, {}


@wrong('shared-prefix', 'warning')
def another_database_has_the_prefix():
    with Server() as server, kit.App(server.config()) as app:
        app.create(7)
        yield server, {'config': f'redis://app:{PASSWORD}@127.0.0.1:{server.port}/1?{kit.OPTIONS}'}


@wrong('partitions', 'error')
def other_partitions():
    with Server() as server, kit.App(server.config()) as app:
        app.create(7)
        yield server, {'options': 'partitions=8'}


@wrong('partitions', 'error')
def partitions_were_more():
    with Server() as server, kit.App(server.config()) as app:
        for user in range(50):
            app.create(user)
        server.cli('HSET', 'lk:{0}:m', 'partitions', '4')
        yield server, {'options': 'partitions=4'}


@wrong('files', 'warning')
def password_lies_open():
    with Server() as server:
        path = f'{server.dir}/pass word'
        with open(path, 'w', encoding='ascii') as secret:
            secret.write(PASSWORD)
        os.chmod(path, 0o644)
        yield server, {'config': f'unix://app@{server.socket}?{kit.OPTIONS}&password_file={path.replace(" ", "%20")}'}


@wrong('unseen', 'notice')
def nobody_may_look():
    with Server() as server:
        yield server, {'admin': False}


class Doctor(kit.Case):
    def test_nothing_on_a_right_server(self):
        with Server() as server:
            self.assertEqual({}, server.doctor())
            self.assertEqual('', server.cli('--scan'))  # as it was: it may have been the wrong database
            with kit.App(server.config()) as app:  # and with all kinds of keys
                tokens = [app.create(user, fields={'note': b'x', 'pq.k': b'y'}) for user in range(50)]
                app.rotate(tokens[0], 1000)
                app.rotate(tokens[1])
                run('revoke', '--user', '2', '--yes', config=server.config())
                run('revoke', tokens[3][:20], '--yes', config=server.config())
                run('revoke', '--everyone', '--yes', config=server.config())
                self.assertEqual({}, server.doctor())
                server.allow(*(word.replace('lk:', 'another:') for word in ACL))
                self.assertEqual({}, server.doctor(options='prefix=another'))

    def test_every_kind_of_key_is_known(self):
        """What the scripts make is ours: a new kind there without a word to doctor would be foreign to it."""
        kinds = set()
        for script in glob.glob(f'{kit.ROOT}/src/redis/lua/*.lua'):
            with open(script, encoding='utf-8') as file:
                kinds |= set(re.findall(r"base \.\. '([a-z]+:?)'", file.read()))
        self.assertTrue({'s:', 'u:', 'a', 'q', 'r', 'e', 'm', 'i:'} <= kinds, kinds)
        with Server() as server:
            for kind in kinds - {'rev'}:  # a channel
                key = f'lk:{{0}}:{kind}' + ('7' if kind.endswith(':') else '')
                server.cli('SET', key, 'x', *(() if kind in ('q', 'r', 'e', 'm') else ('EX', '1000')))
            server.cli('DEL', 'lk:{0}:m', 'lk:{0}:e', 'lk:{0}:q', 'lk:{0}:r')  # of the wrong type, a handle would mind
            self.assertNotIn('foreign-keys', server.doctor())
            server.cli('SET', 'lk:{0}:zz:7', 'x')
            self.assertIn('foreign-keys', server.doctor())

    def test_a_right_server_with_a_replica(self):
        with replicated() as server:
            server.allow(*ACL, '+wait')
            server.cli('CONFIG', 'SET', 'min-replicas-to-write', '1')
            self.assertEqual({}, server.doctor(options='durability=1'))
            server.allow(*ACL)
            self.assertIn('wait', server.doctor(options='durability=1')['acl-missing']['text'])

    def test_all_that_can_be_found_is_tested(self):
        """What src/redis/README.md and the manual page list, and what is tested here, are the same."""
        self.assertGreater(len(names_in_readme()), 8)
        self.assertGreater(len(names_in_manual()), 8)
        of_clusters = {name for name in names_in_manual() if name.startswith('cluster-')} # test_cluster.py
        self.assertEqual((names_in_readme() | names_in_manual()) - of_clusters, set(WRONG))

    def test_each_wrong_setting_is_found(self):
        for name, ways in WRONG.items():
            for level, start in ways:
                with self.subTest(name=name, level=level), start() as (server, named):
                    found = server.doctor(**named)
                    self.assertEqual(level, found.get(name, {}).get('level'), found)

    def test_what_it_says_to_do_mends_it(self):
        """Every CONFIG SET and ACL SETUSER, as it stands."""
        for arguments in (('--maxmemory-policy', 'allkeys-lru'), ('--appendonly', 'no'), ('--appendfsync', 'no'),
                          ('--no-appendfsync-on-rewrite', 'yes'), ('--timeout', '1'), ('--client-output-buffer-limit', 'pubsub 1000 500 60'), ('--lazyfree-lazy-expire', 'no')):
            with self.subTest(arguments), Server(*arguments) as server:
                for finding in server.doctor().values():
                    self.assertTrue(finding['fix'].startswith('CONFIG SET '), finding)
                    words = re.findall(r'"[^"]*"|\S+', finding['fix'])
                    self.assertEqual('OK', server.cli(*(word.strip('"') for word in words)))
                self.assertEqual({}, server.doctor())
        for rules in (ACL[:-3], ['~*', '&*', '+@all'], [*ACL, '~*'], [word.replace('lk:', 'x:') for word in ACL]):
            with self.subTest(rules), Server() as server:
                server.allow(*rules)
                (fix,) = {finding['fix'] for finding in server.doctor().values() if finding['name'] != 'open'}
                self.assertEqual('OK', server.cli(*fix.split()))
                self.assertEqual({}, server.doctor())

    def test_each_right_that_is_missing_is_named(self):
        with Server() as server:
            with kit.App(server.config()) as app:  # else the number of partitions is not recorded, and two are not tried
                app.create(7)
            self.assertGreater(len(RIGHTS), 30)
            for right in RIGHTS:
                server.allow(*(word for word in ACL if word != f'+{right}'))
                said = run('doctor', '--json', '--admin', server.url(f':{ADMIN}@'), config=server.config())
                if right == 'info':  # without that no connection is used
                    self.check(said, CONFIG, 'NOPERM')
                    continue
                found = {finding['name']: finding for finding in said.value['findings']}
                self.assertIn('acl-missing', found, f'+{right} is missing, and nothing is said')
                self.assertIn(f'may not run: {right}.', found['acl-missing']['text'])
                self.assertNotIn('acl-excess', found)

    def test_each_harmful_right_is_named(self):
        with Server() as server:
            for right, shown in (('flushall', 'FLUSHALL'), ('flushdb', 'FLUSHDB'), ('config', 'CONFIG'), ('acl', 'ACL'),
                                 ('swapdb', 'SWAPDB'), ('script', 'SCRIPT FLUSH')):
                server.allow(*ACL, f'+{right}')
                self.assertIn(f'does not need: {shown}.', server.doctor()['acl-excess']['text'])
            server.allow(*ACL, '~*')
            self.assertIn('does not need: foreign keys.', server.doctor()['acl-excess']['text'])

    def test_it_changes_nothing(self):
        def state(server):
            keys = sorted(server.cli('--scan').splitlines())
            changes = re.search(r'rdb_changes_since_last_save:(\d+)', server.cli('INFO', 'persistence')).group(1)
            return changes, [(key, server.cli('DUMP', key)) for key in keys], server.cli('ACL', 'GETUSER', 'app')
        with Server() as server:
            with kit.App(server.config()) as app:  # while it is open it writes with its beats
                app.create(7)
            for rules in (ACL, ['~*', '&*', '+@all']):
                server.allow(*rules)
                before = state(server)
                server.doctor()
                server.doctor(admin=False)
                self.assertEqual(before, state(server))
            self.assertEqual('', server.cli('--scan', '--pattern', '*doc*'))

    def test_an_administrator_of_another_database(self):
        """The application's database is looked at, and nothing is written into it, whatever stands in the other one."""
        with Server() as server:
            with kit.App(server.config()) as app:  # database 0 alone has the number of partitions
                app.create(7)
            config = f'redis://app:{PASSWORD}@127.0.0.1:{server.port}/3?{kit.OPTIONS}'
            server.cli('-n', '3', 'SET', 'lk:cache', 'x')
            server.allow(*(word for word in ACL if word != '+hsetnx'))  # so that no handle opens in the other
            said = run('doctor', '--json', '--admin', server.url(f':{ADMIN}@', tcp=True), config=config)
            found = {finding['name']: finding for finding in said.value['findings']}
            self.assertIn('lk:cache', found['foreign-keys']['text'])
            self.assertEqual(1, said.value['keys_looked_at'])
            self.assertEqual('lk:cache', server.cli('-n', '3', '--scan'))

    def test_two_deployments_of_one_prefix(self):
        with Server() as server, kit.App(server.config()) as app:
            app.create(7)
            other = f'redis://app:{PASSWORD}@127.0.0.1:{server.port}/2?{kit.OPTIONS}'
            with kit.App(f'redis://:{ADMIN}@127.0.0.1:{server.port}/2?{kit.OPTIONS}&prefix=another') as another:
                another.create(7)
            self.assertEqual({}, server.doctor())
            with kit.App(other) as same:
                same.create(7)
            self.assertIn('database 2.', server.doctor()['shared-prefix']['text'])
            self.assertIn('database 0.', server.doctor(config=other)['shared-prefix']['text'])

    def test_a_clock_that_is_none(self):
        def wild(answer):
            return re.sub(rb'(?<=\*2\r\n\$10\r\n)\d{10}(?=\r\n)', b'-999999999', answer)
        with Server() as server, kit.Proxy(server.socket, change=wild) as wire:
            said = run('doctor', config=f'redis://app:{PASSWORD}@127.0.0.1:{wire.port}?{kit.OPTIONS}')
            self.assertIn('its clock is not known', said.out)
            self.assertNotIn('nan', said.out.split('keys looked at')[0])

    def test_level(self):
        with Server('--appendfsync', 'everysec') as server:
            self.assertIn('appendfsync', server.doctor())
            for level in ('warning', 'error'):
                self.assertIn('appendfsync', server.doctor('--level', level, code=DONE))
            self.check(run('doctor', '--level', 'grave', config=server.config()), USAGE)

    def test_the_number_of_keys_is_bounded(self):
        with Server() as server:
            server.cli('EVAL', 'for i = 1, 30000 do redis.call("SET", "lk:x" .. i, "") end', '0')
            said = run('doctor', '--json', '--keys', '5000', '--admin', server.url(f':{ADMIN}@'), config=server.config())
            self.assertTrue(5000 <= said.value['keys_looked_at'] < 8000, said.out)

    def test_hostile_names_do_not_get_through(self):
        with Server() as server:
            server.cli('SET', 'lk:\x1b]0;title\x07', 'x')
            for more in ((), ('--json',)):
                self.check_printable(self.check(run('doctor', '--admin', server.url(f':{ADMIN}@'), *more,
                                                    config=server.config()), NO, 'foreign-keys', '\\x1b' if not more else ''))

    def test_who_cannot_be_examined(self):
        with Server() as server, kit.Redis() as another:
            self.check(run('doctor'), USAGE, 'LATCHKEY_CONFIG')
            self.check(run('doctor', 'now', config=server.config()), USAGE)
            self.check(run('doctor', config=f'redis://127.0.0.1:{kit.refusing_port()}'), AWAY)
            self.check(run('doctor', config=server.url('app:wrong@')), CONFIG, 'password')
            self.check(run('doctor', config='redis://host?x=1'), CONFIG)
            self.check(run('doctor', '--admin', another.url(), config=server.config()), CONFIG, 'another server')
            self.check(run('doctor', '--admin', server.url(':wrong@'), config=server.config()), CONFIG, '--admin: ')


if __name__ == '__main__':
    kit.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One node of several is not well: it hangs, loads, has another password, or is none of the cluster. What each command says of
it, and what can still be done at the others; and what is seen of a primary, its replicas and a failover behind sentinels."""
import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time

import kit
from kit import AWAY, CONFIG, DONE, NO, run

ADMIN = 'hunter2-of-the-administrator'


class Sentinel:
    """Watches this server, with two others. Use with `with`."""

    def __init__(self, server, host='127.0.0.1'):
        self.dir, self.port, self.host = tempfile.mkdtemp(prefix='latchkey-cli-'), kit.free_port(), host
        with open(f'{self.dir}/conf', 'w', encoding='ascii') as file:
            file.write(f'port {self.port}\nbind {host}\ndir {self.dir}\nlogfile {self.dir}/log\n'
                       f'sentinel monitor mymaster {host} {server.port} 2\n'
                       'sentinel down-after-milliseconds mymaster 2000\nsentinel failover-timeout mymaster 6000\n')

    def cli(self, *words):
        return subprocess.run(['redis-cli', '-h', self.host, '-p', str(self.port), *words], capture_output=True, text=True, check=False).stdout

    def __enter__(self):
        self.process = subprocess.Popen(['redis-server', f'{self.dir}/conf', '--sentinel'], start_new_session=True)
        kit.wait_for('the sentinel answers', lambda: 'PONG' in self.cli('PING'))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nodes(kit.Case):
    def broken(self, cluster, node, why, *, unleased=False):
        """What is shown of a node that does not serve, by all that looks; and what can still be done at the others."""
        url = self.short(cluster)
        at = f'127.0.0.1:{node.port}'
        outcomes = []

        def look():
            outcomes[:] = kit.at_once(url, ['top', '--once', '--seconds', '1'], ['status', '--json'], ['top', '--once', '--json'])
            without = [sum(row['instances_without_lease'] or 0 for row in said.value['nodes']) for said in outcomes[1:]]
            return not unleased or without == [1, 1]
        kit.wait_for('the instance is heard', look)
        people, said, top = outcomes
        row = next(line for line in people.out.splitlines() if line.startswith('127.0.0.1:'))
        self.assertRegex(row, f'^{re.escape(at)} .*DOES NOT SERVE: .*({why})') # it comes first
        self.check_printable(people)
        said, top = self.check(said, NO).value, top.value
        self.assertFalse(said['healthy'])
        for value in (said, top):
            rows = {row['node']: row for row in value['nodes']}
            self.assertEqual({at}, {name for name, row in rows.items() if not row['answers']})
            self.assertRegex(rows[at]['why'], why)
            if unleased:
                self.assertEqual([0, 0, 1], sorted(row['instances_without_lease'] for row in rows.values()))
                self.assertEqual(1, rows[at]['instances_without_lease'])
        found = {finding['name']: finding for finding in run('doctor', '--json', config=url).value['findings']}
        self.assertIn(at, found['cluster-node']['text'])
        self.assertRegex(found['cluster-node']['text'], why)
        return url

    @staticmethod
    def short(cluster, **more):
        return cluster.url(f':{ADMIN}@', **more).replace(kit.OPTIONS, 'deadline_ms=2000&staleness_ms=1200')

    @staticmethod
    def whose(cluster, tokens):
        """A user for each node, by the partition in the token."""
        keys = [node.cli('KEYS', 'lk:*:s:*') for node in cluster.nodes]
        return {i: user for user, token in enumerate(tokens) for i, held in enumerate(keys) if token[:20] in held}

    @staticmethod
    def token_at(node):
        """A token of another store whose name is there: as in foreign_token.h."""
        for number in range(1000):
            token = f'another-store-{number:08x}'
            hashed = hashlib.blake2b(token.encode(), digest_size=64, person=b'latchkey foreign').digest()
            partition = int.from_bytes(hashed[40:48], 'little') % 64
            if node.cli('EXISTS', f'lk:{{{partition}}}:x') == '0':
                return token
        raise AssertionError('none of 1000')

    def test_a_node_that_is_not_well(self):
        with kit.Cluster(admin=ADMIN) as cluster, kit.Redis(good=False, admin=ADMIN) as alone:
            for node in cluster.nodes:
                node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
            url = self.short(cluster)
            with kit.App(url) as app:
                tokens = [app.create(user, b'clerk') for user in range(30)]
                user = self.whose(cluster, tokens)
                well = self.until(lambda said: all(row['instances'] == 1 and row['lease_age_ms'] >= 0 and (row['commands_per_s'] or 0) > 0
                                                   for row in said.value['nodes']), 'top', '--once', '--json', config=url).value
                self.assertEqual(30, sum(row['sessions'] for row in well['nodes']))
                self.assertEqual(3, len(well['nodes']))
                self.assertEqual({row['node'] for row in well['nodes']},
                                 {lease['node'] for lease in well['instances'][0]['leases']})
                # It hangs: its lease lapses, and the others' do not.
                victim = cluster.nodes[1]
                with victim.frozen():
                    kit.wait_for('its lease has lapsed', lambda: app.validate(tokens[user[1]]) < 0)
                    self.broken(cluster, victim, 'did not answer', unleased=True)
                    listed, in_capitals, shown, *others = kit.at_once(
                        url, ['list', str(user[2])], ['--config', url.replace('redis+cluster', 'Valkey+Cluster'), 'list', str(user[2])],
                        ['show', tokens[user[0]][:20]], ['list', str(user[1])], ['show', tokens[user[1]][:20]],
                        ['revoke', '--yes', '--user', str(user[1])])
                    for said in (listed, in_capitals):
                        self.check(said, DONE, tokens[user[2]][:20], 'part of the cluster')
                        self.assertEqual(1, said.text.count(f'127.0.0.1:{victim.port}'), said.text)
                    self.check(shown, DONE, 'clerk')
                    for other in others:
                        self.check(other, AWAY, 'did not answer')
                    self.check(run('revoke', '--yes', '--user', str(user[2]), config=url), DONE, 'Ended: 1')
                    self.check(run('revoke', '--yes', '--everyone', config=url), AWAY, 'not all are ended')
                kit.wait_for('it serves again', lambda: app.validate(tokens[user[1]]) >= 0)
                # Its password is another one: instances that are connected go on.
                victim.cli('CONFIG', 'SET', 'requirepass', 'another')
                victim.admin = 'another'
                self.broken(cluster, victim, 'user or password')
                self.check(run('show', tokens[user[1]][:20], config=url), AWAY, 'user or password')
                self.assertNotIn(ADMIN, run('status', config=url).text)
                victim.cli('CONFIG', 'SET', 'requirepass', ADMIN)
                victim.admin = ADMIN
                # A server alone is listed by mistake: the others know.
                mixed = url.replace('@', f'@127.0.0.1:{alone.port},')
                self.check(run('status', '--json', config=mixed), DONE)
                self.check(run('list', '99', config=mixed), NO)
                only = f'redis+cluster://:{ADMIN}@127.0.0.1:{alone.port}?deadline_ms=1000'
                wrong = url.replace(ADMIN, 'wrong')
                for words in (['status'], ['top', '--once'], ['doctor'], ['list', '7'], ['revoke', '--yes', '--user', '7']):
                    self.check(run(*words, config=only), CONFIG, 'not part of a Redis Cluster')
                    self.check(run(*words, config=wrong), CONFIG, 'user or password')

    def test_a_node_that_loads(self):
        with kit.Cluster(admin=ADMIN) as cluster:
            for node in cluster.nodes:
                node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
            with kit.App(cluster.url(f':{ADMIN}@')) as app:
                tokens = [app.create(user, b'clerk') for user in range(600)]
            user = self.whose(cluster, tokens[:30])
            victim = cluster.nodes[1]
            victim.cli('SAVE')
            victim.kill()
            victim.argv += ['--key-load-delay', '200000', '--loading-process-events-interval-bytes', '1024']
            victim.launch()
            kit.wait_for('it loads', lambda: 'LOADING' in victim.cli('PING', check=False))
            url = self.broken(cluster, victim, 'LOADING|CLUSTERDOWN|did not answer')
            self.check(run('show', tokens[user[0]][:20], config=url), DONE, 'clerk')
            self.check(run('show', tokens[user[1]][:20], config=url), AWAY)

    def test_the_node_of_the_beats_is_away(self):
        """That of partition 0: status and top say so, and show the others. Sessions of those are shown, and move in, with the
        times of their own node."""
        with kit.Cluster(admin=ADMIN) as cluster:
            for node in cluster.nodes:
                node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
            url = self.short(cluster)
            with kit.App(url) as app, tempfile.NamedTemporaryFile('w') as file:
                tokens = [app.create(user) for user in range(30)]
                first = next(i for i, node in enumerate(cluster.nodes) if 'lk:{0}:m' in node.cli('KEYS', 'lk:{0}:m'))
                user, at = self.whose(cluster, tokens), (first + 1) % 3
                here, away, first = str(user[at]), str(user[first]), cluster.nodes[first]
                file.write(json.dumps({'token': self.token_at(cluster.nodes[at]), 'user_id': user[at],
                                       'expires_at_ms': int(time.time() * 1000) + 86400000}))
                file.flush()
                with first.frozen():
                    status, top, value, listed, others, shown, imported = kit.at_once(
                        url, ['status'], ['top', '--once', '--seconds', '1'], ['top', '--once', '--seconds', '1', '--json'],
                        ['list', away], ['list', here], ['show', tokens[user[at]][:20]],
                        ['--config', f'{url}&foreign_until_ms=4102444800000', 'import', '--json', file.name])
                    for said in (status, top):
                        self.check(said, NO, 'not heard', f'127.0.0.1:{first.port}', 'DOES NOT SERVE')
                    self.assertIn(str(first.port), value.value['unheard'])
                    self.check(listed, AWAY, f'127.0.0.1:{first.port}')
                    for said in (others, shown):
                        self.assertRegex(self.check(said, DONE).out, r'\d (s|min) ago\)(.|\n)*in [12]\d min')
                    self.assertEqual(1, self.check(imported, DONE).value['moved'])

    def test_no_node_serves(self):
        with kit.Cluster(admin=ADMIN) as cluster, cluster.nodes[0].frozen(), cluster.nodes[1].frozen():
            url = self.short(cluster)
            kit.wait_for('the last one is in a minority', lambda: 'cluster_state:fail' in cluster.nodes[2].cli('CLUSTER', 'INFO'))
            status, top, listed = kit.at_once(url, ['status'], ['top', '--once', '--seconds', '1'], ['list', '7'])
            self.check(status, AWAY, 'CLUSTERDOWN', 'no node serves')
            self.check(top, NO, 'CLUSTERDOWN', 'not heard')
            self.check(listed, AWAY, 'CLUSTERDOWN', f'127.0.0.1:{cluster.nodes[0].port}')

    # ---------------------------------------------------------------------------------------------------- failover

    def check_failover(self, url, code, *names):
        """failover-check, for programs and for people; and that doctor has the gravest of it as its line."""
        said, people, doctor = kit.at_once(url, ['failover-check', '--json'], ['failover-check'], ['doctor', '--json'])
        self.check(said, code)
        self.check(people, code, *names)
        self.check_printable(people)
        found = {finding['name']: finding for finding in said.value['findings'] if finding['name'].startswith('failover')}
        self.assertEqual(set(names), set(found), said.out)
        levels = ['error', 'warning', 'notice']
        line = [finding['level'] for finding in doctor.value['findings'] if finding['name'] == 'failover']
        self.assertEqual(sorted((finding['level'] for finding in found.values()), key=levels.index)[:1], line)
        return said.value

    def test_sentinels_a_primary_and_its_replicas(self):
        options = ['--repl-diskless-sync-delay', '0', '--appendonly', 'yes']
        with contextlib.ExitStack() as stack:
            primary = stack.enter_context(kit.Redis(*options, good=False))
            replicas = [stack.enter_context(kit.Redis(*options, '--replicaof', '127.0.0.1', str(primary.port), good=False))
                        for _ in range(2)]
            kit.wait_for('both replicate', lambda: primary.cli('INFO', 'replication').count('state=online') == 2)
            sentinels = [stack.enter_context(Sentinel(primary)) for _ in range(3)]
            for sentinel in sentinels:
                kit.wait_for('the sentinels know all', lambda: 'OK 3 usable' in sentinel.cli('SENTINEL', 'CKQUORUM', 'mymaster') and
                             sentinel.cli('SENTINEL', 'REPLICAS', 'mymaster').count('runid') == 2)
            url = f'redis+sentinel://{",".join(f"127.0.0.1:{s.port}" for s in sentinels)}/mymaster?deadline_ms=2000&staleness_ms=1200'
            app = stack.enter_context(kit.App(url))
            app.create(7)
            at = [f'127.0.0.1:{redis.port}' for redis in (primary, *replicas)]
            for words in ['status', '--json'], ['top', '--once', '--json']:
                said = self.until(lambda said: said.code == DONE and said.value['nodes'][0]['lease_age_ms'] >= 0, *words, config=url)
                (node,) = said.value['nodes']
                self.assertEqual(at[0], node['node'])
                self.assertEqual(set(at[1:]), {replica['node'] for replica in node['replica_list']})
                self.assertEqual((1, 64, 2), tuple(node[name] for name in ('sessions', 'partitions', 'replicas')))
            people = self.until(lambda said: said.code == DONE, 'status', config=url)
            self.check(people, DONE, *at, 'named by 3 of 3 sentinels')
            # What a failover would cost, by durability.
            self.assertTrue(self.check_failover(url, DONE, 'failover-loss')['possible'])
            self.check(run('failover-check', '--level', 'notice', config=url), NO)
            self.check_failover(f'{url}&durability=1', DONE, 'failover-loss')
            self.check_failover(f'{url}&durability=2', NO, 'failover-durability')
            primary.cli('CONFIG', 'SET', 'min-replicas-to-write', '2')
            self.check_failover(url, NO, 'failover-loss', 'failover-min-replicas')
            primary.cli('CONFIG', 'SET', 'min-replicas-to-write', '0')
            primary.cli('CONFIG', 'SET', 'appendonly', 'no')
            self.check_failover(url, DONE, 'failover-loss', 'failover-restart')
            primary.cli('CONFIG', 'SET', 'appendonly', 'yes')
            # What is not replicated: users, and who may be promoted.
            replicas[0].cli('ACL', 'SETUSER', 'default', 'resetpass', '>another')
            value = self.check_failover(url, NO, 'failover-loss', 'failover-replica')
            self.assertTrue(value['possible'])
            self.assertIn(f'1 of 2 replicas could not be used if they took over, the first of them {at[1]}: ', str(value))
            replicas[1].cli('ACL', 'SETUSER', 'default', 'resetpass', '>another')
            self.assertFalse(self.check_failover(url, NO, 'failover-loss', 'failover-replica')['possible'])
            for replica in replicas:
                replica.admin = 'another'
                replica.cli('ACL', 'SETUSER', 'default', 'nopass')
                replica.cli('CONFIG', 'SET', 'replica-priority', '0')
            self.assertFalse(self.check_failover(url, NO, 'failover-loss', 'failover-priority')['possible'])
            for replica in replicas:
                replica.cli('CONFIG', 'SET', 'replica-priority', '100')
            # What a sentinel says that could not carry it out; one that may not be asked is no finding of its own.
            sentinels[0].cli('SENTINEL', 'SET', 'mymaster', 'quorum', '5')
            self.check_quorum(url, 'warning', True, f'127.0.0.1:{sentinels[0].port} answers NOQUORUM 3 usable', 'never found to be down')
            sentinels[1].cli('ACL', 'SETUSER', 'default', '-sentinel|ckquorum')
            self.assertIn('unseen', self.check_quorum(url, 'warning', True, f'127.0.0.1:{sentinels[0].port} answers NOQUORUM'))
            sentinels[1].cli('ACL', 'SETUSER', 'default', '+@all')
            for sentinel in sentinels[1:]:
                sentinel.cli('SENTINEL', 'SET', 'mymaster', 'quorum', '5')
            self.check_quorum(url, 'error', False, ', '.join(f'127.0.0.1:{sentinel.port}' for sentinel in sentinels) + ' answers NOQUORUM')
            for sentinel in sentinels:
                sentinel.cli('SENTINEL', 'SET', 'mymaster', 'quorum', '2')
            self.assertEqual({'failover-loss'}, self.check_quorum(url))
            self.check_exam(url, primary, sentinels)
            # top follows one.
            with subprocess.Popen([kit.COMMAND, 'top', '--json'], env=kit.environment(url), stdout=subprocess.PIPE, text=True) as top:
                shown = (json.loads(line) for line in top.stdout)
                next(value for value in shown if value['instances'])
                primary.kill()
                away = next(value for value in shown if not value['nodes'][0]['answers'])
                self.assertIn('refused', away['nodes'][0]['why'])
                late = subprocess.Popen([kit.COMMAND, 'top', '--json'], env=kit.environment(url), stdout=subprocess.PIPE, text=True)
                value = next(value for value in shown if value['nodes'][0]['node'] in at[1:] and value['nodes'][0]['answers'] and
                             not value['unheard'] and value['nodes'][0]['lease_age_ms'] >= 0)
                self.assertEqual(1, len(value['instances']))
                top.terminate()
                self.assertEqual(0, top.wait(kit.PATIENCE_S))
            with late: # begun while no primary served
                self.assertTrue(any(value['nodes'][0]['answers'] for value in map(json.loads, late.stdout)))
                late.terminate()
            # The others are gone, and not listed.
            for sentinel in sentinels[1:]:
                sentinel.process.kill()
            kit.wait_for('it sees them no more', lambda: 'NOQUORUM 1 usable' in sentinels[0].cli('SENTINEL', 'CKQUORUM', 'mymaster'))
            self.check_quorum(f'redis+sentinel://127.0.0.1:{sentinels[0].port}/mymaster?deadline_ms=2000', 'error', False,
                              'NOQUORUM 1 usable', 'too few to be elected')

    def check_exam(self, url, primary, sentinels):
        """What else sentinels are asked; and one that names the primary, and then says nothing."""
        def found(name, url=url):
            said = run('failover-check', '--json', config=url).value
            return next(finding['text'] for finding in said['findings'] if finding['name'] == name)

        def through(balancer, number):
            return url.replace(str(sentinels[number].port), str(balancer.port))
        sentinels[0].cli('SENTINEL', 'SET', 'mymaster', 'down-after-milliseconds', '60000')
        self.assertIn(f'60000 at 127.0.0.1:{sentinels[0].port}:', found('sentinel-down-after'))
        sentinels[0].cli('SENTINEL', 'SET', 'mymaster', 'down-after-milliseconds', '2000')
        primary.cli('CONFIG', 'SET', 'requirepass', 'a-password')
        primary.admin = 'a-password'
        sentinels[0].cli('SENTINEL', 'SET', 'mymaster', 'auth-pass', 'another') # it connects anew
        kit.wait_for('it takes the primary for down', lambda: 's_down' in sentinels[0].cli('SENTINEL', 'MASTER', 'mymaster'))
        with_password = url.replace('//', '//:a-password@')
        self.assertIn(f'127.0.0.1:{sentinels[0].port}: takes the primary for down', found('sentinel-down', with_password))
        primary.cli('CONFIG', 'SET', 'requirepass', '')
        primary.admin = None
        sentinels[0].cli('SENTINEL', 'SET', 'mymaster', 'auth-pass', '')
        kit.wait_for('it does not any more', lambda: 's_down' not in sentinels[0].cli('SENTINEL', 'MASTER', 'mymaster'))
        two = re.sub(r',127.0.0.1:\d+', '', url, count=1)
        self.assertIn('3 sentinels know of each other, and the URL lists 2', found('sentinel-unlisted', two))
        with kit.Turns(sentinels[1:]) as several, kit.Turns(sentinels[:1]) as twin:
            self.assertIn(f'127.0.0.1:{several.port} leads to several', found('sentinel-several', through(several, 2)))
            self.assertIn(f'127.0.0.1:{twin.port} are one sentinel', found('sentinel-twice', through(twin, 2)))
        with kit.Turns(sentinels[2:], silent_on=b'CKQUORUM') as silent:
            self.assertIn(f'127.0.0.1:{silent.port} did not answer SENTINEL CKQUORUM', found('sentinel-quorum', through(silent, 2)))

    def check_quorum(self, url, level=None, possible=True, *contained):
        """What failover-check finds; and that the finding about the quorum is of that level, and says this."""
        said = run('failover-check', '--json', config=url).value
        found = {finding['name']: finding for finding in said['findings']}
        self.assertEqual((level, possible), (found.get('sentinel-quorum', {}).get('level'), said['possible']), said)
        for text in contained:
            self.assertIn(text, found['sentinel-quorum']['text'])
        return set(found)

    def test_sentinels_over_ipv6(self):
        with kit.Redis('--bind', '::1') as primary, Sentinel(primary, '::1') as one, Sentinel(primary, '::1') as two:
            url = f'redis+sentinel://[::1]:{one.port},[::1]:{two.port}/mymaster?{kit.OPTIONS}'
            with kit.App(url) as app:
                self.assertEqual(0, app.validate(app.create(1)))
                self.until(lambda said: said.code == DONE and f'[::1]:{primary.port}, named by 2 of 2 sentinels' in said.out, 'status', config=url)

    def test_a_replica_with_another_clock(self):
        def later(answer):
            return re.sub(rb'^\*2\r\n\$10\r\n(\d{10})', lambda time: b'*2\r\n$10\r\n%d' % (int(time[1]) + 3600), answer)
        with kit.Redis('--repl-diskless-sync-delay', '0') as primary, kit.Redis() as replica, \
                kit.Proxy(replica.socket, change=later) as wire, Sentinel(primary) as one:
            replica.cli('CONFIG', 'SET', 'replica-announce-port', str(wire.port))
            replica.cli('REPLICAOF', '127.0.0.1', str(primary.port))
            kit.wait_for('it replicates', lambda: 'state=online' in primary.cli('INFO', 'replication'))
            url = f'redis+sentinel://127.0.0.1:{one.port}/mymaster?deadline_ms=20000'

            clocks = []

            def found(): # a busy machine may not have asked all in time
                findings = run('failover-check', '--json', config=url).value['findings']
                clocks[:] = [finding for finding in findings if finding['name'] == 'failover-clock']
                return clocks
            kit.wait_for('the clock is found', found)
            (clock,) = clocks
            self.assertEqual('warning', clock['level'])
            self.assertRegex(clock['text'], f'the clock of 127.0.0.1:{wire.port} is 3[56][0-9][0-9][.][0-9] s ahead of the primary')

    def test_failover_of_a_cluster(self):
        with kit.Cluster('--appendonly', 'yes', replicas=1) as cluster:
            url = cluster.url()
            kit.wait_for('all replicate', lambda: all('state=online' in node.cli('INFO', 'replication') for node in cluster.nodes[:3]))
            value = self.check_failover(url, NO, 'failover-loss')
            self.assertIn('cluster-full-coverage', {finding['name'] for finding in value['findings']})
            for node in cluster.nodes:
                node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
            value = self.check_failover(url, DONE, 'failover-loss')
            self.assertEqual([1, 1, 1], [len(node['replica_list']) for node in value['nodes']])
            self.check_failover(f'{url}&durability=1', NO, 'failover-durability')
            cluster.nodes[0].cli('CONFIG', 'SET', 'cluster-allow-reads-when-down', 'yes')
            for node in cluster.nodes[:3]:
                node.cli('CONFIG', 'SET', 'cluster-node-timeout', '15000')
            self.check_failover(url, DONE, 'failover-loss', 'failover-duration', 'failover-reads-when-down')
            cluster.nodes[4].kill() # the replica of the second
            kit.wait_for('it is gone', lambda: 'connected_slaves:0' in cluster.nodes[1].cli('INFO', 'replication'))
            value = self.check_failover(url, NO, 'failover-loss', 'failover-duration', 'failover-reads-when-down', 'failover-replicas')
            self.assertFalse(value['possible'])

    def test_no_failover(self):
        with kit.Redis() as redis:
            value = self.check(run('failover-check', '--json', config=redis.url(tcp=True)), NO).value
            self.assertEqual(['failover-none'], [finding['name'] for finding in value['findings']])
            self.check(run('failover-check', '--level', 'x', config=redis.url()), kit.USAGE, '--level')
            self.check(run('failover-check'), kit.USAGE, 'LATCHKEY_CONFIG')
            redis.kill()
            self.check(run('failover-check', config=redis.url().replace('deadline_ms=20000', 'deadline_ms=1000')), AWAY)
        with kit.Cluster(primaries=1) as cluster:
            self.check_failover(cluster.url(), NO, 'failover-replicas', 'failover-election')


if __name__ == '__main__':
    kit.main()

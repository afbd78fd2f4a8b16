#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command on a Redis Cluster: doctor, status, top, and what lists, shows and ends sessions on several nodes."""
import re
import subprocess

import kit
from kit import AWAY, DONE, NO, run

ADMIN = 'hunter2-of-the-administrator'


class OnACluster(kit.Case):
    found = set() # the names of all that was found

    def findings(self, cluster, *words, url=None):
        said = run('doctor', '--json', *words, config=url or cluster.url(f':{ADMIN}@'))
        people = run('doctor', *words, config=url or cluster.url(f':{ADMIN}@'))
        for outcome in (said, people):
            self.assertNotIn(ADMIN, outcome.text)
        self.found.update(finding['name'] for finding in said.value['findings'])
        for finding in said.value['findings']:
            self.assertIn(f': {finding["name"]}', people.out)
            self.assertTrue(finding['fix'])
        return said.value, people.out, {finding['name']: finding for finding in said.value['findings']}

    def test_doctor_says_what_is_wrong_with_the_nodes(self):
        with kit.Cluster(admin=ADMIN, node_timeout_ms=5000) as cluster:
            value, people, found = self.findings(cluster)
            self.assertEqual(3, len(value['nodes']))
            self.assertEqual(64, sum(node['partitions'] for node in value['nodes']))
            self.assertEqual([21, 21, 22], sorted(node['partitions'] for node in value['nodes']))
            self.assertEqual([5000] * 3, [node['node_timeout_ms'] for node in value['nodes']])
            for node in cluster.nodes:
                self.assertIn(f'127.0.0.1:{node.port}, primary', people)
            # 5 s / 2 less the half second by which elections are late, beyond staleness_ms, which is 4 s here.
            self.assertIn('6000 ms', found['cluster-node-timeout']['text'])
            self.assertIn('full-coverage', found['cluster-full-coverage']['text'])
            for node in cluster.nodes:
                node.cli('CONFIG', 'SET', 'cluster-node-timeout', '1000')
                node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
            _, _, found = self.findings(cluster)
            self.assertNotIn('cluster-node-timeout', found)
            self.assertNotIn('cluster-full-coverage', found)
            self.assertNotIn('cluster-slots', found)
            self.assertNotIn('cluster-replica-validity', found)
            for factor, says in (('0', 'however long'), ('1000', 'for 1011 s')):
                cluster.nodes[1].cli('CONFIG', 'SET', 'cluster-replica-validity-factor', factor)
                self.assertIn(says, self.findings(cluster)[2]['cluster-replica-validity']['text'])
            cluster.nodes[1].cli('CONFIG', 'SET', 'cluster-replica-validity-factor', '10')
            # A handle does not open on what is broken: it need not wait for long.
            short = cluster.url(f':{ADMIN}@').replace('deadline_ms=20000', 'deadline_ms=1000')
            # A slot that no node has, partitions on one node alone, and a node that is gone.
            for node in cluster.nodes:
                node.cli('CLUSTER', 'DELSLOTS', '100')
            _, _, found = self.findings(cluster, url=short)
            self.assertIn('1 of 16384', found['cluster-slots']['text'])
            cluster.nodes[2].kill()
            _, _, found = self.findings(cluster, url=short)
            self.assertIn(f'127.0.0.1:{cluster.nodes[2].port}', found['cluster-node']['text'])
            said = self.check(run('status', '--json', config=short), NO).value
            self.assertEqual(1, said['slots_without_node'])
            self.assertEqual([False, True, True], sorted(node['answers'] for node in said['nodes']))

    def test_doctor_says_what_is_uneven(self):
        with kit.Cluster(primaries=2, admin=ADMIN, shares=[(0, 15000), (15001, 16383)]) as cluster:
            _, _, found = self.findings(cluster)
            self.assertIn('one node has', found['cluster-spread']['text'])

    def test_doctor_looks_at_the_number_of_partitions_everywhere(self):
        with kit.Cluster(admin=ADMIN) as cluster:
            def cli(*words):
                return next(said for node in cluster.nodes if 'MOVED' not in (said := node.cli(*words)))

            def found():
                said = run('doctor', '--json', config=cluster.url(f':{ADMIN}@')).value
                return [finding for finding in said['findings'] if finding['name'] == 'partitions']

            # Before the first handle there is none, and doctor leaves none.
            self.assertEqual([], found())
            self.assertEqual([''] * 3, [node.cli('KEYS', '*') for node in cluster.nodes])
            with kit.App(cluster.url(f':{ADMIN}@')) as app:
                app.create(7)
                kit.wait_for('each has the number', lambda: all(cli('HGET', f'lk:{{{p}}}:m', 'partitions') == '64' for p in range(64)))
            self.assertEqual([], found())
            for p in (5, 17):
                cli('HDEL', f'lk:{{{p}}}:m', 'partitions')
            cli('HSET', 'lk:{9}:m', 'partitions', '32')
            wrong, missing = found()
            self.assertEqual(('error', 'warning'), (wrong['level'], missing['level']))
            self.assertIn('1 of 64 partitions say another number than the 64 that the others say: lk:{9}:m, the first of them 32', wrong['text'])
            self.assertIn('HSET lk:{9}:m partitions 64', wrong['fix'])
            self.assertIn('2 of 64 partitions do not say that there are 64: lk:{5}:m, lk:{17}:m.', missing['text'])
            self.assertIn('HSETNX lk:{5}:m partitions 64', missing['fix'])
            # The others are right also against partition 0.
            cli('HSET', 'lk:{9}:m', 'partitions', '64')
            cli('HSET', 'lk:{0}:m', 'partitions', '32')
            self.assertIn('HSET lk:{0}:m partitions 64', found()[0]['fix'])

    def test_sessions_on_several_nodes(self):
        with kit.Cluster() as cluster:
            with kit.App(cluster.url()) as app:
                tokens = [app.create(user, b'clerk') for user in range(40)]
                self.assertEqual([0] * 40, [app.validate(token) for token in tokens])
                for node in cluster.nodes:
                    self.assertIn(':s:', node.cli('KEYS', 'lk:*'))
                said = self.until(lambda said: len(said.value['instances']) == 1, 'status', '--json', config=cluster.url())
                said = self.check(said, DONE).value
                self.assertEqual(40, said['sessions'])
                self.assertEqual(64, sum(node['partitions'] for node in said['nodes']))
                people = self.check(run('status', config=cluster.url()), DONE, '3 primaries', 'every slot has a node')
                self.check_printable(people)
                top = self.until(lambda said: said.code == DONE, 'top', '--once', '--json', config=cluster.url()).value
                self.assertEqual([said['instances'][0]['instance']], [one['instance'] for one in top['instances']])
                self.assertTrue(top['instances'][0]['tells'])
                for user in (0, 7, 39):
                    self.check(run('list', str(user), config=cluster.url()), DONE, tokens[user][:20])
                    self.check(run('show', tokens[user][:20], config=cluster.url()), DONE, 'clerk')
                self.check(run('sample', '--all', config=cluster.url()), DONE, '40')
                self.check(run('prewarm', '40', config=cluster.url()), DONE, 'loads 40 sessions')
                self.check(run('revoke', '--yes', '--user', '7', config=cluster.url()), DONE)
                self.check(run('revoke', '--yes', tokens[8][:20], config=cluster.url()), DONE)
                kit.wait_for('the instance refuses', lambda: app.validate(tokens[7]) == 1 and app.validate(tokens[8]) == 1)
                self.check(run('revoke', '--yes', '--everyone', config=cluster.url()), DONE)
                kit.wait_for('the instance refuses all', lambda: all(app.validate(token) == 1 for token in tokens))
            lines = ''.join(f'{{"token": "moved-in-{i:040d}", "user_id": {i}}}\n' for i in range(30))
            done = subprocess.run([kit.COMMAND, 'import', '--json', '-'], input=lines.encode(), capture_output=True, timeout=kit.PATIENCE_S,
                                  env=kit.environment(cluster.url(options='foreign_until_ms=4102444800000')), check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_a_cluster_that_is_away(self):
        with kit.Cluster(primaries=1) as cluster:
            cluster.nodes[0].kill()
            for command in (('status',), ('top', '--once'), ('doctor',), ('list', '7')):
                self.check(run(*command, config=cluster.url(options='deadline_ms=1000').replace('deadline_ms=20000&', '')), AWAY)


class Zzz(kit.Case):
    def test_all_that_doctor_can_find_was_found(self):
        with open(f'{kit.ROOT}/src/cli/latchkey.1', encoding='ascii') as page:
            listed = set(re.findall(r'^\.It Sy (cluster-[a-z-]+)$', page.read(), re.M))
            self.assertEqual(listed - {'cluster-clocks'}, # no test sets the clock of one node
                             {name for name in OnACluster.found if name.startswith('cluster-')})


if __name__ == '__main__':
    kit.main()

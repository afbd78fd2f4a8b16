#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""latchkey move: all sessions from one server to another, and to a cluster, while they are made, used and ended. What was
live is live, with its expiry; what was ended is ended; and no step that fails leaves anything changed."""
import re
import subprocess
import threading

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
    """Each key, with a digest of its value and its expiry."""
    held = {}
    for redis in servers:
        keys = [key for key in redis.cli('KEYS', 'lk:*').split('\n') if key and key != 'lk:{0}:m']
        values = redis.cli('DEBUG', 'DIGEST-VALUE', *keys).split('\n')
        for key, value in zip(keys, values, strict=True):
            assert key not in held, key
            held[key] = value, redis.cli('PEXPIRETIME', key)
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
            with kit.App(url_of(one).replace('deadline_ms=20000', 'deadline_ms=500')) as old:

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
                user.start()
                mover.start()
                try:
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
            held, mark = everything(one), one.cli('HGETALL', 'lk:{0}:m')
            said = self.move(url_of(one), url_of_cluster(cluster)).value
            self.assertEqual((3, 64), (said['nodes'], said['partitions']))
            moved = everything(*cluster.nodes)
            self.assertEqual(sorted(held), sorted(moved))
            self.assertEqual({}, {key: (held[key], moved[key]) for key in held if held[key] != moved[key]})
            self.assertIn(mark, [node.cli('HGETALL', 'lk:{0}:m', check=False) for node in cluster.nodes])
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
            with subprocess.Popen(['redis-cli', '-s', two.socket, '-r', '-1', 'SET', 'lk:{5}:e', '77'], stdout=subprocess.DEVNULL) as other:
                try:  # without a rest between two of them
                    self.move(url_of(one), url_of(two), AWAY, 'not the same at both ends', 'goes on as before')
                finally:
                    other.kill()
            self.assertEqual('64', one.cli('HGET', 'lk:{0}:m', 'partitions'))
            self.assertEqual(OK, app.validate(token))
            self.assertEqual(OK, app.order('revoke', token)[0])
            # Nobody is served where a move is not over; and the next one clears what is left, and comes to its end.
            self.check(run('list', '7', config=url_of(two).replace('deadline_ms=20000', 'deadline_ms=500')), AWAY,
                       'are being moved to this server')
            self.move(url_of(one), url_of(two))
            self.assertEqual('64', two.cli('HGET', 'lk:{0}:m', 'partitions'))

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
            self.assertEqual('64', one.cli('HGET', 'lk:{0}:m', 'partitions'))

    def test_with_the_rights_of_the_manual_alone_and_foreign_keys_beside(self):
        with open(f'{kit.ROOT}/src/cli/latchkey.1', encoding='ascii') as page:
            rights = re.search(r'a user that may also run\n\.Ql ([^\n]+)\nand hear the channel\n\.Ql (\S+) ;\n'
                               r'at the target, one that may also run\n\.Ql ([^\n]+) \.', page.read())
        with kit.Redis(good=False) as one, kit.Cluster() as cluster:
            for server, words in (one, rights[1]), *((node, rights[3]) for node in cluster.nodes):
                server.cli('ACL', 'SETUSER', 'mover', 'on', '>secret', *kit.ACL['app'], *('+' + word for word in words.split()))
            one.cli('ACL', 'SETUSER', 'mover', '&' + rights[2])
            with kit.App(url_of(one)) as app:
                self.make(app, 5)
            # Another program's keys: {05} is another slot than {5}.
            for odd in 'lk:{05}:x', 'lk:{ 5}:x', 'lk:{+5}:x', 'lk:{5}:', 'lk:{64}:s:x', 'lk:{x}:y', 'lk:{5}x:z':
                one.cli('SET', odd, 'foreign')
            self.move(url_of(one).replace('//', '//mover:secret@'), url_of_cluster(cluster).replace('//', '//mover:secret@'))


if __name__ == '__main__':
    kit.main()

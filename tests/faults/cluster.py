# SPDX-License-Identifier: MIT
"""A Redis Cluster of six: three primaries, a replica of each; and what is done to it.

With `wires` each instance has a proxy of its own before each node. The nodes leave their host out of what they answer, so
an instance goes on with the host that it asked: A 127.0.0.3, B 127.0.0.2. Where a row has an island, the first node is on it.
"""
import time

from lab import PARTITIONS, Failed, RedisError, wait_for

SLOTS, PRIMARIES = 16384, 3
HOSTS = {'A': '127.0.0.3', 'B': '127.0.0.2'}
PATIENT_MS = 60000  # on a busy machine a node is silent for longer than a second, and none may be replaced for it


class Cluster:
    def __init__(self, lab, wires=False):
        self.lab, self.away = lab, set()
        self.wires = {letter: [] for letter in HOSTS} if wires else None
        self.nodes = [lab.server] + [self.start(f'node{i}') for i in range(1, 2 * PRIMARIES)]
        self.ids = {node: node.command('CLUSTER', 'MYID') for node in self.nodes}
        self.node_timeout(PATIENT_MS)
        for node in self.nodes:
            node.command('CONFIG', 'SET', 'cluster-announce-ip', node.host)
            if wires:
                node.command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint')
        self.form()

    def start(self, name):
        return self.lab.redis(name, *self.lab.row.server, net=self.lab.net_of('A'))

    def form(self):
        for i, node in enumerate(self.nodes[:PRIMARIES]):
            node.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
            node.command('CLUSTER', 'ADDSLOTSRANGE', SLOTS * i // PRIMARIES, SLOTS * (i + 1) // PRIMARIES - 1)
        for i, node in enumerate(self.nodes):
            for other in self.nodes[i + 1:]:
                node.command('CLUSTER', 'MEET', other.host, other.port)
        wait_for('each node knows each', lambda: all(self.knows_all(node) for node in self.nodes))
        for i, node in enumerate(self.nodes[PRIMARIES:]):
            node.command('CLUSTER', 'REPLICATE', self.ids[self.nodes[i]])
        wait_for('the replicas follow', lambda: all(self.follows(node) for node in self.nodes[PRIMARIES:]))
        wait_for('the nodes agree', self.agrees)
        for replica in self.nodes[PRIMARIES:]:
            wait_for('all know the replicas', lambda replica=replica: all(self.knows_replica(node, replica) for node in self.nodes))

    def knows_all(self, node):
        text = node.command('CLUSTER', 'NODES')
        return 'handshake' not in text and 'noaddr' not in text and all(one in text for one in self.ids.values())

    def knows_replica(self, node, replica):
        return 'slave' in node.command('CLUSTER', 'NODES').partition(f'{self.ids[replica]} ')[2].splitlines()[0]

    @staticmethod
    def follows(node):
        return node.info('replication', 'master_link_status') == 'up'

    # ------------------------------------------------------------------------------------------ who is who --
    def running(self):
        return [node for node in self.nodes if node not in self.away]

    def map_of(self, node):
        """[(first slot, last slot, owner)], as this node sees it."""
        by_port = {one.port: one for one in self.nodes}
        return sorted(((first, last, by_port[owner[1]]) for first, last, owner, *_ in node.command('CLUSTER', 'SLOTS')),
                      key=lambda part: part[0])

    @staticmethod
    def epochs(node):
        """Of each node that has slots, as this node sees it. Who does not know the epoch of an owner may still take an older word
        on who owns a slot."""
        lines = map(str.split, node.command('CLUSTER', 'NODES').splitlines())
        return {words[0]: words[6] for words in lines if len(words) > 8 and 'fail' not in words[2]}

    def agrees(self):
        maps = [(self.map_of(node), self.epochs(node)) for node in self.running()]
        return all(one == maps[0] for one in maps) and all(
            'cluster_state:ok' in node.command('CLUSTER', 'INFO') for node in self.running())

    def owner(self, slot):
        return next(owner for first, last, owner in self.map_of(self.running()[0]) if first <= slot <= last)

    def slot(self, partition):
        return self.running()[0].command('CLUSTER', 'KEYSLOT', '{%d}' % partition)

    def is_primary(self, node):
        return node.info('replication', 'role') == 'master'

    def replica_of(self, primary):
        return self.nodes[self.nodes.index(primary) + PRIMARIES]

    def slots_of(self, node):
        return [slot for first, last, owner in self.map_of(node) if owner is node for slot in range(first, last + 1)]

    def numbers(self, node):
        """How many revocations this node has counted, in the partitions that it owns."""
        count = 0
        for partition in range(PARTITIONS):
            try:
                count += int(node.command('GET', f'lk:{{{partition}}}:q') or 0)
            except RedisError:  # it is another's, or not to be had now
                pass
        return count

    def refusals(self, *names):
        """How often the nodes answered so."""
        return sum(node.errors(*names) for node in self.running())

    def place(self, letter):
        if self.wires:
            self.wires[letter] = [self.lab.host_wire(node, HOSTS[letter]) for node in self.nodes]
        hosts = {node: HOSTS[letter] if self.wires else node.host for node in self.nodes[:PRIMARIES]}
        return 'redis+cluster://' + ','.join(f'{host}:{node.port}' for node, host in hosts.items())

    # ------------------------------------------------------------------------------------------ what is done --
    def join(self, name, replica_of=None):
        """One more node, which all know: a primary without slots, or a replica that has everything."""
        node = self.start(name)
        node.command('CONFIG', 'SET', 'cluster-node-timeout', PATIENT_MS)
        node.command('CONFIG', 'SET', 'cluster-announce-ip', node.host)
        self.ids[node] = node.command('CLUSTER', 'MYID')
        node.command('CLUSTER', 'MEET', self.nodes[0].host, self.nodes[0].port)
        self.nodes.append(node)
        wait_for('each node knows the new one', lambda: all(self.knows_all(one) for one in self.nodes))
        if replica_of:
            node.command('CLUSTER', 'REPLICATE', self.ids[replica_of])
            wait_for('the new replica follows', lambda: self.follows(node))
            wait_for('all know the new replica', lambda: all(self.knows_replica(one, node) for one in self.nodes))
        return node

    def node_timeout(self, ms):
        for node in self.running():
            node.command('CONFIG', 'SET', 'cluster-node-timeout', ms)

    def begin(self, slot, source, target):
        target.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', self.ids[source])
        source.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', self.ids[target])

    @staticmethod
    def carry(source, target, keys):
        for key in keys:
            source.command('MIGRATE', target.host, target.port, key, 0, 60000)

    @staticmethod
    def keys_in(node, slot):
        return node.command('CLUSTER', 'GETKEYSINSLOT', slot, 100000)

    def finish(self, slot, source, target):
        while keys := self.keys_in(source, slot):
            self.carry(source, target, keys)
        for node in [target, source] + [one for one in self.running() if one not in (target, source)]:
            try:
                node.command('CLUSTER', 'SETSLOT', slot, 'NODE', self.ids[target])
            except RedisError:  # a replica, or the source that has become one with its last slot
                pass

    def give_up(self, slot, source, target):
        """Before a key has left. Later there is only going on: what is MIGRATING takes no key back."""
        source.command('CLUSTER', 'SETSLOT', slot, 'STABLE')
        target.command('CLUSTER', 'SETSLOT', slot, 'STABLE')

    def move(self, source, target, slots):
        """These slots, with what is in them. Those without a key are named to others in one go."""
        full = [slot for slot in slots if source.command('CLUSTER', 'COUNTKEYSINSLOT', slot)]
        empty = [slot for slot in slots if slot not in full]
        target.pipeline(['CLUSTER', 'SETSLOT', slot, 'IMPORTING', self.ids[source]] for slot in empty)
        for node in [target, source] + [one for one in self.running() if self.is_primary(one) and one not in (target, source)]:
            node.pipeline(['CLUSTER', 'SETSLOT', slot, 'NODE', self.ids[target]] for slot in empty)
        for slot in full:
            self.begin(slot, source, target)
            self.finish(slot, source, target)
        return len(slots), len(full)

    def await_promotion(self, replica):
        wait_for('the replica is the primary', lambda: self.is_primary(replica) and self.agrees())

    def failover(self, replica, *how):
        """The replica is the primary then; others may not know yet. An election that too few took part in is asked for again."""
        for _ in range(6):
            replica.command('CLUSTER', 'FAILOVER', *how)
            until = time.monotonic() + 10
            while time.monotonic() < until:
                if self.is_primary(replica):
                    return
                time.sleep(0.01)
        raise Failed('the replica does not become the primary')


class Fence:
    """Watches two sides of a cluster that is cut in two: until when does the old primary answer, and since when does another one? The
    first is seen late, the second is taken too early: `overlap_ms` is how long both did, at most; below 0 there was a gap."""

    def __init__(self, cluster, old):
        self.old, self.others = old, [node for node in cluster.nodes if node is not old]
        self.key = next(key for key in (f'lk:{{{p}}}:q' for p in range(PARTITIONS))
                        if cluster.owner(old.command('CLUSTER', 'KEYSLOT', key)) is old)
        self.old_until = self.new_from = None
        self.asked = time.monotonic()

    def serves(self, node):
        try:
            node.command('GET', self.key)
            return True
        except RedisError:
            return False

    def look(self):
        if self.old_until is None and not self.serves(self.old):
            self.old_until = time.monotonic()
        before, self.asked = self.asked, time.monotonic()
        if self.new_from is None and any(map(self.serves, self.others)):
            self.new_from = before
        return self.old_until is not None and self.new_from is not None

    def overlap_ms(self):
        return round(1000 * (self.old_until - self.new_from))

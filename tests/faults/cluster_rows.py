# SPDX-License-Identifier: MIT
"""Rows on a real Redis Cluster of three primaries and three replicas."""
import time

from cluster import FIRST_CALLS_FROM, PATIENT_MS, PRIMARIES, Cluster
from lab import wait_for
from rows import row

SECOND = 10**9
CLUSTER = []  # their names


def nodes(full_coverage='no'):
    # Protected mode refuses a replica that calls from 127.0.0.9; all listen on loopback alone.
    return ('--cluster-enabled', 'yes', '--cluster-require-full-coverage', full_coverage, '--protected-mode', 'no')


def with_cluster(lab):
    lab.cluster = Cluster(lab)


def with_wires(lab):
    lab.cluster = Cluster(lab, wires=True)


def with_bus(lab):
    lab.cluster = Cluster(lab, wires=True, bus=True)


def cluster_row(name, about, setup=with_cluster, full_coverage='no', **more):
    CLUSTER.append(name)
    return row(name, 'cluster: ' + about, server=nodes(full_coverage), setup=setup, **more)


def ended_at(lab, node):
    """Waits until sessions are ended at this node, however slow the machine is. Returns: how many were, until it is asked."""
    before = lab.cluster.numbers(node)
    wait_for('sessions are ended there', lambda: lab.cluster.numbers(node) > before)
    return lambda: lab.cluster.numbers(node) - before


def says_down(node):
    return 'cluster_state:fail' in node.command('CLUSTER', 'INFO')


# ------------------------------------------------------------------------------------------------ slots move --
def in_steps(lab, first, end):
    """Three partitions, one of each primary, begin to move, stand still for longer than the bound, and go on to their `end`; again
    and again. `first`: do the numbers go first, or the sessions; half of the keys go before all stands still. None: no key
    has left by then."""
    cluster, times = lab.cluster, [0]
    before = cluster.refusals('ASK', 'TRYAGAIN')

    def start(partition):
        slot = cluster.slot(partition)
        source = cluster.owner(slot)
        target = cluster.nodes[(cluster.nodes.index(source) + 1) % PRIMARIES]
        cluster.begin(slot, source, target)
        if first is not None:
            keys = sorted(cluster.keys_in(source, slot), key=lambda key: key.endswith(':q') != first)
            cluster.carry(source, target, keys[:(len(keys) + 1) // 2])
        return slot, source, target

    def move():
        moving = [start(partition) for partition in (0, 1, 3)]
        time.sleep(1.5 * lab.staleness_ms / 1000)
        for one in moving:
            end(*one)
        times[0] += len(moving)
    lab.last(every_s=0.1, action=move)
    wait_for('the nodes agree', cluster.agrees)
    met = cluster.refusals('ASK', 'TRYAGAIN') - before
    return lambda _lab: (times[0] > 0 and met > 0, f'{times[0]} moves, {met} answers ASK or TRYAGAIN')


@cluster_row('cluster-numbers', 'slots move, the numbers of the revocations first')
def cluster_numbers(lab):
    return in_steps(lab, True, lab.cluster.finish)


@cluster_row('cluster-sessions', 'slots move, the sessions first')
def cluster_sessions(lab):
    return in_steps(lab, False, lab.cluster.finish)


@cluster_row('cluster-given-up', 'slots begin to move, and it is given up before a key has left')
def cluster_given_up(lab):
    return in_steps(lab, None, lab.cluster.give_up)


@cluster_row('cluster-emptied', 'all slots of a primary move; emptied, it becomes a replica and still answers')
def cluster_emptied(lab):
    source, target = lab.cluster.nodes[1], lab.cluster.nodes[2]
    slots, full = lab.cluster.move_all(source, target)
    wait_for('the nodes agree', lab.cluster.agrees)
    wait_for('the emptied node is a replica', lambda: not lab.cluster.is_primary(source))
    lab.over()
    evidence = ended_at(lab, target)
    lab.last()
    return lambda _lab: (True, f'{slots:,} slots, {full} with keys; then {evidence()} revocations at the other')


# ------------------------------------------------------------------------------------- primaries change --
def replaced(lab, new):
    """The replica is the primary now; that lasts for a while."""
    lab.cluster.node_timeout(PATIENT_MS)
    ended = ended_at(lab, new)
    lab.last()
    return lambda _lab: (True, f'{ended()} revocations at the new one')


def ordered(lab, *how, since=None):
    new = lab.cluster.replica_of(lab.cluster.nodes[1])
    lab.over()
    lab.cluster.failover(new, *how, since=since)
    return replaced(lab, new)


@cluster_row('cluster-failover', 'CLUSTER FAILOVER')
def cluster_failover(lab):
    return ordered(lab)


@cluster_row('cluster-force', 'CLUSTER FAILOVER FORCE', long=True)
def cluster_force(lab):
    return ordered(lab, 'FORCE', since=time.monotonic_ns() - SECOND)


@cluster_row('cluster-kill', 'a primary dies, its replica is elected; it starts again with nothing')
def cluster_kill(lab):
    cluster, since, old = lab.cluster, time.monotonic_ns() - SECOND, lab.cluster.nodes[1]
    cluster.node_timeout(1000)
    cluster.away.add(old)
    old.kill()
    lab.over()
    cluster.await_promotion(cluster.replica_of(old), since)
    evidence = replaced(lab, cluster.replica_of(old))
    old.boot()
    cluster.away.discard(old)
    wait_for('it follows the new one', lambda: cluster.follows(old))
    wait_for('the nodes agree', cluster.agrees)
    return evidence


@cluster_row('cluster-stopped', 'a primary gets SIGSTOP, its replica is elected; SIGCONT')
def cluster_stopped(lab):
    cluster, since, old = lab.cluster, time.monotonic_ns() - SECOND, lab.cluster.nodes[1]
    cluster.node_timeout(1000)
    cluster.away.add(old)
    old.process.freeze()
    lab.over()
    cluster.await_promotion(cluster.replica_of(old), since)
    old.process.thaw()
    cluster.away.discard(old)
    evidence = replaced(lab, cluster.replica_of(old))
    wait_for('it follows the new one', lambda: cluster.follows(old))
    return evidence


# ------------------------------------------------------------------------------------------------ cut off --
@cluster_row('cluster-cut', 'B is cut off from one primary, and not from the others', setup=with_wires)
def cluster_cut(lab):
    wire, primary = lab.cluster.wires['B'][1], lab.cluster.nodes[1]
    wire.rule('all both any - freeze')
    ended = ended_at(lab, primary)
    lab.last()
    made = ended()
    trouble = lab.b.stat()['trouble']
    wire.clear()
    wire.close()
    return lambda _lab: (bool(trouble), f'{made} revocations there meanwhile; B: {trouble[:60]}')


@cluster_row('cluster-minority', 'a primary is cut off from all nodes, B beside it; A goes on with its replica', setup=with_bus,
             long=True)
def cluster_minority(lab):
    """Both sides go on: the instance that is cut off has the primary in the minority alone, the other has all but that one."""
    cluster, since, old = lab.cluster, time.monotonic_ns() - SECOND, lab.cluster.nodes[0]
    cluster.node_timeout(1000)
    cut = [cluster.wires['A'][0], *cluster.wires['B'][1:]]
    for wire in cut:
        wire.rule('all both any - freeze')
    cluster.bus[0].bar()
    for wire in cluster.bus[1:]:
        wire.bar(FIRST_CALLS_FROM)
    new = cluster.replica_of(old)
    cluster.away.add(old)
    cluster.await_promotion(new, since)
    wait_for('the one cut off says that it is down', lambda: says_down(old))
    ended = ended_at(lab, new)
    lab.last()
    after = ended()
    for wire in cluster.bus:
        wire.unbar()
    for wire in cut:
        wire.clear()
        wire.close()
    cluster.away.discard(old)
    lab.over()
    wait_for('it follows the new one', lambda: not cluster.is_primary(old) and cluster.follows(old))
    cluster.node_timeout(PATIENT_MS)
    return lambda _lab: (True, f'it knew that it is in a minority; {after} revocations at the new one')


@cluster_row('cluster-uncovered', 'full coverage is required and lost: a primary and its replica get SIGSTOP, later SIGCONT',
             full_coverage='yes')
def cluster_uncovered(lab):
    cluster = lab.cluster
    pair = [cluster.nodes[1], cluster.replica_of(cluster.nodes[1])]
    cluster.node_timeout(1000)
    for node in pair:
        cluster.away.add(node)
        node.process.freeze()
    wait_for('the others say that they are down',
             lambda: all(map(says_down, cluster.running())))
    before = cluster.refusals('CLUSTERDOWN')
    lab.last()
    refused = cluster.refusals('CLUSTERDOWN') - before
    for node in pair:
        node.process.thaw()
        cluster.away.discard(node)
    lab.over()
    wait_for('the nodes agree', cluster.agrees)
    cluster.node_timeout(PATIENT_MS)
    return lambda _lab: (refused > 0, f'{refused} answers CLUSTERDOWN')

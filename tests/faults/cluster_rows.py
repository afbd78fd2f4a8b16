# SPDX-License-Identifier: MIT
"""Rows on a real Redis Cluster of three primaries and three replicas."""
import contextlib
import time

from cluster import PATIENT_MS, PRIMARIES, Cluster, Fence
from lab import PARTITIONS, wait_for
from rows import growth, row, since_now

SECOND = 10**9
CLUSTER = []  # their names


def nodes(full_coverage='no'):
    return '--cluster-enabled', 'yes', '--cluster-require-full-coverage', full_coverage


def with_cluster(lab):
    lab.cluster = Cluster(lab)


def with_wires(lab):
    lab.cluster = Cluster(lab, wires=True)


def with_two_replicas(lab):
    """Of the primary that is killed or cut off."""
    lab.cluster = Cluster(lab)
    lab.cluster.join('second', replica_of=lab.cluster.nodes[0 if lab.island else 1])


def cluster_row(name, about, setup=with_cluster, full_coverage='no', **more):
    CLUSTER.append(name)
    return row(name, 'cluster: ' + about, server=nodes(full_coverage), setup=setup, **more)


def ended_at(lab, node, where='at the new one'):
    """The fault lasts until sessions were ended at this node."""
    return lab.last_until(since_now(lambda: lab.cluster.numbers(node)), f'revocations {where}')


def says_down(node):
    return 'cluster_state:fail' in node.command('CLUSTER', 'INFO')


# ------------------------------------------------------------------------------------------------ slots move --
def answers_met(lab, *names):
    return since_now(lambda: lab.cluster.refusals(*names))


def set_out(lab, partition, first=None):
    """Its slot begins to move to the next primary. `first`: do the numbers go first, or the sessions; half of the keys go at once. None:
    no key goes yet."""
    cluster = lab.cluster
    slot = cluster.slot(partition)
    source = cluster.owner(slot)
    target = cluster.nodes[(cluster.nodes.index(source) + 1) % PRIMARIES]
    cluster.begin(slot, source, target)
    if first is not None:
        keys = sorted(cluster.keys_in(source, slot), key=lambda key: key.endswith(':q') != first)
        cluster.carry(source, target, keys[:(len(keys) + 1) // 2])
    return slot, source, target


def in_steps(lab, first, end, partitions=(0, 1, 3)):
    """Partitions, of each primary at least one, begin to move, stand still for longer than the bound, and go on to their `end`; again
    and again."""
    times, met = [0], answers_met(lab, 'ASK', 'TRYAGAIN')

    def move():
        moving = [set_out(lab, partition, first) for partition in partitions]
        time.sleep(1.5 * lab.staleness_ms / 1000)
        for one in moving:
            end(*one)
        wait_for('the nodes agree', lab.cluster.agrees)
        times[0] += len(moving)
    evidence = lab.last_until(met, 'answers ASK or TRYAGAIN', every_s=0.1, action=move)
    return f'{times[0]} moves, {evidence}'


@cluster_row('cluster-numbers', 'slots move, the numbers of the revocations first')
def cluster_numbers(lab):
    return in_steps(lab, True, lab.cluster.finish)


@cluster_row('cluster-sessions', 'slots move, the sessions first')
def cluster_sessions(lab):
    return in_steps(lab, False, lab.cluster.finish)


@cluster_row('cluster-given-up', 'slots begin to move, and it is given up before a key has left')
def cluster_given_up(lab):
    return in_steps(lab, None, lab.cluster.give_up)


@cluster_row('cluster-all', 'all partitions move at once', long=True)
def cluster_all(lab):
    return in_steps(lab, True, lab.cluster.finish, range(PARTITIONS))


@cluster_row('cluster-emptied', 'all slots of a primary move; emptied, it becomes a replica and still answers')
def cluster_emptied(lab):
    source, target = lab.cluster.nodes[1], lab.cluster.nodes[2]
    slots, full = lab.cluster.move(source, target, lab.cluster.slots_of(source))
    wait_for('the nodes agree', lab.cluster.agrees)
    wait_for('the emptied node is a replica', lambda: not lab.cluster.is_primary(source))
    lab.over()
    return f"{slots:,} slots, {full} with keys; then {ended_at(lab, target, 'at the other')}"


@cluster_row('cluster-added', 'a primary is added, and a quarter of the slots of each other one moves to it')
def cluster_added(lab):
    cluster, slots, full = lab.cluster, 0, 0
    new = cluster.join('added')
    for source in cluster.nodes[:PRIMARIES]:
        mine = cluster.slots_of(source)
        partitions = [slot for slot in map(cluster.slot, range(PARTITIONS)) if slot in mine]
        some = set(mine[:len(mine) // 4]) - set(partitions) | {partitions[0]}
        moved = cluster.move(source, new, sorted(some))
        slots, full = slots + moved[0], full + moved[1]
    wait_for('the nodes agree', cluster.agrees)
    lab.over()
    return f'{slots:,} slots, {full} with keys; then {ended_at(lab, new)}'


# ------------------------------------------------------------------------------------- primaries change --
def losing(lab, since):
    return contextlib.nullcontext() if since is None else lab.losing(since)


def ordered(lab, *how, since=None):
    new = lab.cluster.replica_of(lab.cluster.nodes[1])
    lab.over()
    with losing(lab, since):
        lab.cluster.failover(new, *how)
        lab.cluster.await_promotion(new)
    return ended_at(lab, new)


@cluster_row('cluster-failover', 'CLUSTER FAILOVER')
def cluster_failover(lab):
    return ordered(lab)


@cluster_row('cluster-force', 'CLUSTER FAILOVER FORCE')
def cluster_force(lab):
    return ordered(lab, 'FORCE', since=time.monotonic_ns() - SECOND)


@cluster_row('cluster-takeover', 'CLUSTER FAILOVER TAKEOVER: no node is asked', long=True)
def cluster_takeover(lab):
    return ordered(lab, 'TAKEOVER', since=time.monotonic_ns() - SECOND)


def killed(lab, since):
    """The second primary dies and starts again with nothing when another has been elected."""
    cluster, old = lab.cluster, lab.cluster.nodes[1]
    slot = cluster.slots_of(old)[0]
    cluster.node_timeout(1000)
    cluster.away.add(old)
    lab.over()
    with losing(lab, since):
        old.kill()
        wait_for('a replica is the primary', lambda: cluster.agrees() and cluster.owner(slot) is not old)
    new = cluster.owner(slot)
    cluster.node_timeout(PATIENT_MS)
    evidence = ended_at(lab, new)
    old.boot()
    cluster.away.discard(old)
    wait_for('it follows the new one', lambda: cluster.follows(old))
    wait_for('the nodes agree', cluster.agrees)
    return evidence


@cluster_row('cluster-kill', 'a primary dies, its replica is elected; it starts again with nothing')
def cluster_kill(lab):
    return killed(lab, time.monotonic_ns() - SECOND)


@cluster_row('cluster-stopped', 'a primary gets SIGSTOP, its replica is elected; SIGCONT')
def cluster_stopped(lab):
    cluster, since, old = lab.cluster, time.monotonic_ns() - SECOND, lab.cluster.nodes[1]
    new = cluster.replica_of(old)
    cluster.node_timeout(1000)
    cluster.away.add(old)
    lab.over()
    with losing(lab, since):
        old.process.freeze()
        cluster.await_promotion(new)
        old.process.thaw()
        cluster.away.discard(old)
    cluster.node_timeout(PATIENT_MS)
    evidence = ended_at(lab, new)
    wait_for('it follows the new one', lambda: cluster.follows(old))
    return evidence


@cluster_row('cluster-durable', 'durability=1, two replicas: a primary dies, one is elected; nothing is lost', setup=with_two_replicas,
             options='&durability=1', long=True)
def cluster_durable(lab):
    return killed(lab, None)


# ------------------------------------------------------------------------------- a primary changes while a slot moves --
def changes(lab, first, changed):
    """A slot stands still in the middle of its move, `changed` says which of the two primaries is replaced, and the move is begun again
    with the new one. Redis 7 tells replicas nothing of a move, so the new one knows of none; and where the slot goes to, it has no owner
    until one is named."""
    cluster, met = lab.cluster, answers_met(lab, 'ASK', 'TRYAGAIN')
    slot, source, target = set_out(lab, 1, first)
    lab.last(1.5 * lab.staleness_ms / 1000, seen=met)
    old = changed(source, target)
    new = cluster.replica_of(old)
    cluster.failover(new)
    wait_for('the old one follows', lambda: cluster.follows(old))
    lab.last(1.5 * lab.staleness_ms / 1000)
    source, target = (new if one is old else one for one in (source, target))
    target.command('CLUSTER', 'SETSLOT', slot, 'NODE', cluster.ids[source])
    cluster.begin(slot, source, target)
    cluster.finish(slot, source, target)
    wait_for('the nodes agree', cluster.agrees)
    lab.over()
    return f"{met()} answers ASK or TRYAGAIN; then {ended_at(lab, target, 'where it went')}"


@cluster_row('cluster-moving-source', 'CLUSTER FAILOVER where a slot comes from, before a key has left; then it moves', long=True)
def cluster_moving_source(lab):
    return changes(lab, None, lambda source, _target: source)


@cluster_row('cluster-moving-target', 'CLUSTER FAILOVER where a slot goes to, when half of its keys are there; then the rest', long=True)
def cluster_moving_target(lab):
    return changes(lab, True, lambda _source, target: target)


# ------------------------------------------------------------------------------------------------ cut off --
@cluster_row('cluster-cut', 'B is cut off from one primary, and not from the others', setup=with_wires)
def cluster_cut(lab):
    wire, primary = lab.cluster.wires['B'][1], lab.cluster.nodes[1]
    lapses = growth(lab.b, 'lapses')
    wire.rule('all both any - freeze')
    lab.last(seen=lapses)
    evidence = ended_at(lab, primary, 'there meanwhile')
    evidence += f"; B: {lab.b.stat()['trouble'][:60]}"
    wire.clear()
    wire.close()
    return evidence


def minority(lab, node_timeout_ms):
    """Both sides go on: the instance that is cut off has the primary in the minority alone, the other has all but that one. Redis' own
    fence stops that primary. Until then it confirms revocations that it alone has; and while both serve, the bound of C is longer by so
    much. Neither if a replica has to hold what is written."""
    cluster, since, old = lab.cluster, time.monotonic_ns() - SECOND, lab.cluster.nodes[0]
    slot = cluster.slots_of(old)[0]
    cluster.node_timeout(node_timeout_ms)
    fence = Fence(cluster, old)
    with lab.losing(since):
        cut = lab.cut_off()
        cluster.away.add(old)
        wait_for('the old one has stopped, and a new one serves', fence.look)
    lab.node_timeout_ms, lab.overlap_ms = node_timeout_ms, fence.overlap_ms()
    if 'durability' not in lab.row.options:
        lab.fence_ms = max(0, lab.overlap_ms)
        lab.apart_since(cut)
    wait_for('the nodes agree', lambda: cluster.agrees() and cluster.owner(slot) is not old)
    evidence = ended_at(lab, cluster.owner(slot))
    lab.island.heal()
    cluster.away.discard(old)
    lab.over()
    wait_for('it follows the new one', lambda: not cluster.is_primary(old) and cluster.follows(old))
    cluster.node_timeout(PATIENT_MS)
    lab.stopped_ms = round(fence.old_until * 1000 - cut / 10**6)
    return (f'the old one stopped {lab.stopped_ms:,} ms after the cut, {abs(lab.overlap_ms):,} ms '
            f'{"after" if lab.overlap_ms > 0 else "before"} the new one began; {evidence}')


def minority_row(name, about, node_timeout_ms, **more):
    more = {'long': True, 'island': True, **more}
    return cluster_row(name, about, **more)(lambda lab: minority(lab, node_timeout_ms))


minority_row('cluster-minority', 'a primary is cut off with B beside it: packets vanish; A goes on with its replica', 1000)
minority_row('cluster-minority-4', 'the same with cluster-node-timeout 4,000', 4000)
minority_row('cluster-minority-15', 'the same with cluster-node-timeout 15,000, the default', 15000)
minority_row('cluster-minority-1r', 'the same with 1,000, durability=1 and two replicas', 1000, options='&durability=1',
             setup=with_two_replicas)


@cluster_row('cluster-uncovered', 'full coverage is required and lost: a primary and its replica get SIGSTOP, later SIGCONT',
             full_coverage='yes')
def cluster_uncovered(lab):
    cluster = lab.cluster
    pair = [cluster.nodes[1], cluster.replica_of(cluster.nodes[1])]
    cluster.node_timeout(1000)
    for node in pair:
        cluster.away.add(node)
        node.process.freeze()
    wait_for('the others say that they are down', lambda: all(map(says_down, cluster.running())))
    evidence = lab.last_until(answers_met(lab, 'CLUSTERDOWN'), 'answers CLUSTERDOWN')
    for node in pair:
        node.process.thaw()
        cluster.away.discard(node)
    lab.over()
    wait_for('the nodes agree', cluster.agrees)
    cluster.node_timeout(PATIENT_MS)
    return evidence

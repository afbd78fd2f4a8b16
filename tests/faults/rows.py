# SPDX-License-Identifier: MIT
"""The rows: which fault hits what. Each function causes the fault, lets it last until what it does was seen, ends it, and returns
that in words. What was not seen ends the row (Failed). Evidence is read while the fault lasts, or in one piece with it, and
never depends on how fast the machine is: a row waits for it."""
import collections
import contextlib
import glob
import os
import random
import time

from lab import PARTITIONS, TICK_MS, Failed, RedisError, Sentinel, wait_for

Row = collections.namedtuple('Row', 'name about fault server options setup environment threads long island',
                             defaults=((), '', None, None, 3, False, False))
ROWS = {}


def row(name, about, **more):
    """`server`: arguments of redis-server; `options`: of both instances; `setup`: what else there is, made before them;
    `environment`: of B, made by a function; `threads`: of each that validate;
    `long`: runs when it is named, or with --long; `island`: the primary and B are on one, which needs root."""
    def register(fault):
        ROWS[name] = Row(name, about, fault, **more)
        return fault
    return register


def keys(kind):
    return [f'lk:{{{p}}}:{kind}' for p in range(PARTITIONS)]


def since_now(read):
    """A count that begins at 0 now."""
    before = read()
    return lambda: read() - before


def growth(one, name):
    """A statistic of an instance, or a count of a proxy, from now on."""
    read = getattr(one, 'counts', None) or one.stat
    return since_now(lambda: read()[name])


def under_rule(lab, rule, count, what, **how):
    counted = growth(lab.b.proxy, count)
    lab.b.proxy.rule(rule)
    evidence = lab.last_until(counted, what, **how)
    lab.b.proxy.clear()
    return evidence


@row('none', 'no fault')
def none(lab):
    return lab.last_until(growth(lab.b, 'purges'), 'revocations heard meanwhile')


# ----------------------------------------------------------------------------------------- B's wire to Redis --
@row('held', "B's subscription held up, then delivered")
def held(lab):
    return under_rule(lab, 'subscription down any - hold', 'held', 'messages held')


@row('cut', "B's subscription cut, again and again")
def cut(lab):
    return under_rule(lab, 'subscription down message - cut', 'cut', 'times cut')


@row('held-replies', "all that comes to B held up, then delivered, late")
def held_replies(lab):
    return under_rule(lab, 'all down any - hold', 'held', 'messages held')


@row('half-open', "B's subscription half open: nothing is read, nothing closed")
def half_open(lab):
    lapses = growth(lab.b, 'lapses')
    lab.b.proxy.rule('subscription both any - freeze')
    evidence = lab.last_until(lapses, 'times the lease lapsed')
    lab.b.proxy.clear()
    return evidence


@row('black-hole', "everything between B and Redis vanishes")
def black_hole(lab):
    return under_rule(lab, 'all both any - drop', 'dropped', 'messages vanished')


@row('drip', "what comes to B comes byte by byte")
def drip(lab):
    return under_rule(lab, 'all down any - drip 3', 'dripped', 'messages dripped')


@row('overtaken', "answers come to B 60 ms late, messages of revocations do not: they overtake (D)", threads=16)
def overtaken(lab):
    return under_rule(lab, 'commands down any - delay 60', 'delayed', 'answers late')


@row('drop-one', "every half second one revocation's message is lost")
def drop_one(lab):
    dropped = growth(lab.b.proxy, 'dropped')

    def drop():
        lab.b.proxy.clear()
        lab.b.proxy.rule('subscription down message :rev drop 0 3 1')
    evidence = lab.last_until(dropped, 'messages lost', every_s=0.5, action=drop)
    lab.b.proxy.clear()
    return evidence


@row('drop-many', "all messages of revocations are lost")
def drop_many(lab):
    return under_rule(lab, 'subscription down message :rev drop', 'dropped', 'messages lost')


@row('twice', "every published message comes twice")
def twice(lab):
    return under_rule(lab, 'subscription down message - twice', 'doubled', 'messages came twice')


def everyone(lab, rule, count, what):
    """A ends all sessions, again and again, and B does not hear of it as it should."""
    return under_rule(lab, rule, count, what, every_s=lab.seconds / 4, action=lab.a.end_everyone)


@row('everyone-lost', 'A ends all sessions, again and again; all messages of it are lost to B')
def everyone_lost(lab):
    return everyone(lab, 'subscription down message :rev drop', 'dropped', 'messages lost')


@row('everyone-held', "A ends all sessions, again and again; B's subscription is held up, then delivered")
def everyone_held(lab):
    return everyone(lab, 'subscription down any - hold', 'held', 'messages held')


@row('everyone-stopped', 'A ends all sessions, again and again, while B has SIGSTOP', threads=16)
def everyone_stopped(lab):
    lab.b.freeze()
    lab.last(every_s=lab.seconds / 4, action=lab.a.end_everyone)
    lab.b.thaw()
    return 'seen stopped'


SEVERAL = ('subscription down any - hold', 'all down any - hold', 'commands up any - hold', 'all both any - freeze',
           'subscription both any - freeze', 'all down any - delay 40', 'commands down any - delay 90',
           'subscription down message - delay 200', 'all down any - drip 2', 'subscription down message - cut 0 2',
           'commands down any - cut 0 5', 'subscription down message :rev drop 0 1 3', 'subscription down message - twice')


@row('random', 'one fault after the other on the wires of A and B, chosen at random')
def random_faults(lab):
    seed = lab.seed or time.time_ns() % 10**9
    choose = random.Random(seed)
    times = [0]

    def next_fault():
        wire = choose.choice((lab.a.proxy, lab.b.proxy))
        wire.clear()
        if choose.random() < 0.2:
            wire.close()
        wire.rule(choose.choice(SEVERAL))
        time.sleep(choose.uniform(0.02, 0.6))
        times[0] += 1
    evidence = lab.last_until(lambda: times[0], f'faults, --seed {seed}', 2, seconds=2 * lab.seconds, every_s=0, action=next_fault)
    for one in lab.a, lab.b:
        one.proxy.clear()
    return evidence


# ------------------------------------------------------------------------------------------------ stopped --
def stopped(lab, process):
    process.freeze()
    lab.last()
    process.thaw()
    return 'seen stopped'


@row('proxy-stopped', "B's proxy gets SIGSTOP, later SIGCONT")
def proxy_stopped(lab):
    return stopped(lab, lab.b.proxy)


@row('instance-stopped', 'B gets SIGSTOP, later SIGCONT', threads=16)
def instance_stopped(lab):
    return stopped(lab, lab.b)


@row('instance-stutters', 'B gets SIGSTOP for one and a half bounds, again and again; messages come 30 ms after SIGCONT',
     threads=16)
def instance_stutters(lab):
    times = [0]

    def stop():
        lab.b.proxy.rule('subscription down any - hold')
        lab.b.freeze()
        time.sleep(1.5 * lab.staleness_ms / 1000)
        lab.b.thaw()
        time.sleep(0.03)
        lab.b.proxy.clear()
        times[0] += 1
    return lab.last_until(lambda: times[0], 'times', 2, every_s=0.02, action=stop)


@row('server-stopped', 'Redis gets SIGSTOP, later SIGCONT')
def server_stopped(lab):
    return stopped(lab, lab.server.process)


# ------------------------------------------------------------------------------------ what Redis does to us --
def subscribers(lab):
    lines = lab.server.command('CLIENT', 'LIST', 'TYPE', 'pubsub').splitlines()
    return [line.split()[0].partition('=')[2] for line in lines]


@row('kill-in-bgsave', "CLIENT KILL of the subscribers while a BGSAVE's child holds their sockets open")
def kill_in_bgsave(lab):
    lab.server.command('CONFIG', 'SET', 'rdb-key-save-delay', 10**8)  # it does not end by itself
    wait_for('both are subscribed', lambda: len(subscribers(lab)) == 2)
    lab.server.command('BGSAVE')
    wait_for('a BGSAVE runs', lambda: lab.server.info('persistence', 'rdb_bgsave_in_progress') == '1')
    reconnects = growth(lab.b, 'reconnects')
    for one in subscribers(lab):
        lab.server.command('CLIENT', 'KILL', 'ID', one)
    evidence = lab.last_until(reconnects, 'reconnects of B')
    lab.server.end_children()
    return evidence


@row('kill-normal', 'CLIENT KILL TYPE normal, ten times a second')
def kill_normal(lab):
    killed = [0]

    def kill():
        killed[0] += lab.server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    return lab.last_until(lambda: killed[0], 'connections killed', 3, every_s=0.1, action=kill)


FLOOD = "for i = 1, 300 do redis.call('PUBLISH', ARGV[1], ARGV[2]) end return 0"


@row('overrun', "the subscribers' output buffers overrun: dropped, with what was queued")
def overrun(lab):
    lab.server.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 65536 65536 1')

    def flood():
        for channel in lab.server.command('PUBSUB', 'CHANNELS', 'lk:beat:*'):
            lab.server.command('EVAL', FLOOD, 0, channel, 'x' * 1024)
    return lab.last_until(growth(lab.b, 'reconnects'), 'reconnects of B', every_s=0.3, action=flood)


@row('maxmemory', 'maxmemory reached, noeviction: nothing can be made, everything can be ended')
def maxmemory(lab):
    lab.server.command('CONFIG', 'SET', 'maxmemory', 1)
    evidence = lab.last_until(lambda: lab.server.errors('OOM'), 'commands refused')
    lab.server.command('CONFIG', 'SET', 'maxmemory', 0)
    return evidence


@row('writes-paused', 'CLIENT PAUSE ... WRITE: nothing is written, nothing published; reads go on')
def writes_paused(lab):
    most = [0]

    def look():
        most[0] = max(most[0], int(lab.server.info('clients', 'blocked_clients')))
    lab.server.command('CLIENT', 'PAUSE', 600000, 'WRITE')
    evidence = lab.last_until(lambda: most[0], 'clients waiting', every_s=0.1, action=look)
    lab.server.command('CLIENT', 'UNPAUSE')
    return evidence


@row('writes-refused', 'min-replicas-to-write: revocations are pending, reads go on')
def writes_refused(lab):
    lab.server.command('CONFIG', 'SET', 'min-replicas-to-write', 1)
    evidence = lab.last_until(lambda: lab.b.stat()['pending'], 'revocations pending')
    lab.server.command('CONFIG', 'SET', 'min-replicas-to-write', 0)
    return evidence


# ------------------------------------------------------------------------------------------- Redis forgets --
def restart(lab, lost_since):
    with contextlib.nullcontext() if lost_since is None else lab.losing(lost_since):
        lab.server.kill()
    lab.last()
    lab.server.boot()
    return f"{lab.server.command('DBSIZE')} keys after it"


def saved(lab):
    """A snapshot, and sessions that are ended after it."""
    ended = since_now(lambda: numbers(lab.server))
    lab.server.command('SAVE')
    lab.last(1, seen=lambda: ended() > 0)


@row('restart-aof', 'kill -9, restart; appendonly yes, appendfsync always',
     server=('--appendonly', 'yes', '--appendfsync', 'always'))
def restart_aof(lab):
    return restart(lab, None)


@row('restart-rdb', 'kill -9, restart from an RDB: what was ended since is back, what was made since is lost', threads=16)
def restart_rdb(lab):
    since = time.monotonic_ns()
    saved(lab)
    return restart(lab, since)


@row('restart-empty', 'kill -9, restart with nothing: all that was made is lost')
def restart_empty(lab):
    return restart(lab, 0)


@row('replaced', 'the data set is replaced in place by an older one: the same run id, and all connections stay', threads=16,
     server=('--enable-debug-command', 'yes'))
def replaced(lab):
    since = time.monotonic_ns()
    run_id = lab.server.info('server', 'run_id')
    saved(lab)
    # The numbers are read in one piece with the reload: soon after it the instances set them ahead of all that were lost.
    read = ('MGET', *keys('q'))
    with lab.losing(since):  # what is made until the server really stands still is lost, too
        before, _, after = lab.server.pipeline([read, ('DEBUG', 'RELOAD', 'NOSAVE'), read])
    forgotten = total(before) - total(after)
    lab.last()
    if lab.server.info('server', 'run_id') != run_id or forgotten <= 0:
        raise Failed(f'it knows all but {forgotten} revocations')
    return f'{forgotten} revocations that it does not know any more'


@row('flushall', 'FLUSHALL: Redis forgets all without a restart')
def flushall(lab):
    with lab.losing(0):
        before, _ = lab.server.pipeline([('DBSIZE',), ('FLUSHALL',)])
    lab.last()
    return f'{before} keys before it'


@row('log-deleted', "revocations' messages are lost, and the log is deleted 20 times a second")
def log_deleted(lab):
    return under_rule(lab, 'subscription down message :rev drop', 'dropped', 'messages lost', every_s=0.05,
                      action=lambda: lab.server.command('DEL', *keys('r')))


@row('counter-deleted', 'the numbers of the revocations are deleted twice a second')
def counter_deleted(lab):
    deleted = [0]

    def delete():
        deleted[0] += lab.server.command('DEL', *keys('q'))
    return lab.last_until(lambda: deleted[0], 'counters deleted', every_s=0.5, action=delete)


# -------------------------------------------------------------------------------------------------- failover --
def with_replicas(lab):
    """Primary --wire--> replica --> second replica: who is promoted has one of its own."""
    lab.replica_wire = lab.wire('the replica\'s wire', lab.server, raw=True)
    lab.replica = lab.redis('replica', '--replicaof', '127.0.0.1 %d' % lab.replica_wire.port)
    wait_for('the replica follows', lambda: lab.replica.info('replication', 'master_link_status') == 'up')
    lab.second = lab.redis('second', '--replicaof', '127.0.0.1 %d' % lab.replica.port)
    wait_for('its replica follows', lambda: lab.second.info('replication', 'master_link_status') == 'up')
    lab.server.command('SET', 'ready', 1)
    wait_for('what is written reaches both', lambda: lab.second.command('GET', 'ready') == '1')
    wait_for('the replica acknowledges', lambda: lab.server.command('WAIT', 1, 1000) == 1)


def total(answer):
    return sum(int(number or 0) for number in answer)


def numbers(redis):
    return total(redis.command('MGET', *keys('q')))


def promote(lab):
    """The replica's link is cut, it misses revocations, and is promoted by hand. Returns how many those are."""
    def missed():
        return numbers(lab.server) - numbers(lab.replica)
    lab.replica_wire.rule('all both any - freeze')
    evidence = lab.last_until(missed, 'it did not have', seconds=lab.seconds / 2)
    lab.replica.command('REPLICAOF', 'NO', 'ONE')
    return evidence


@row('replica-stopped', 'durability=1, and the replica gets SIGSTOP, later SIGCONT', options='&durability=1',
     setup=with_replicas)
def replica_stopped(lab):
    return stopped(lab, lab.replica.process)


@row('promoted', 'a replica promoted by hand while its link was cut; all instances move to it',
     options='&durability=1', setup=with_replicas)
def promoted(lab):
    missed = promote(lab)
    for one in lab.a, lab.b:
        one.proxy.lead_to(lab.replica)
    return missed


def promote_for_a(lab, then):
    """A moves to the new primary and ends sessions there; what becomes of B is `then`'s."""
    missed = promote(lab)
    lab.a.proxy.lead_to(lab.replica)
    apart = since_now(lambda: numbers(lab.replica))
    then()
    evidence = lab.last_until(apart, 'that the old one never had')
    lab.b.proxy.lead_to(lab.replica)
    return f'{missed}, {evidence}'


@row('promoted-apart', 'the same; B stays with the old primary for a while',
     options='&durability=1', setup=with_replicas)
def promoted_apart(lab):
    return promote_for_a(lab, lambda: None)


@row('promoted-drift', "the same; B's connections stay with the old primary, new ones lead to the new one",
     options='&durability=1', setup=with_replicas)
def promoted_drift(lab):
    return promote_for_a(lab, lambda: lab.b.proxy.lead_new_to(lab.replica))


@row('promoted-address', 'the same behind one address: all old connections stay with the old primary, which lives on',
     options='&durability=1', setup=with_replicas)
def promoted_address(lab):
    missed = promote(lab)
    for one in lab.a, lab.b:
        one.proxy.lead_new_to(lab.replica)
    evidence = lab.last_until(since_now(lambda: numbers(lab.replica)), 'that the old one never had')
    return f'{missed}, {evidence}'


# ------------------------------------------------------------------------------------------------ sentinels --
def with_sentinels(lab):
    """A primary, two replicas, three sentinels. Replicas and sentinels are users of their own, so that a server can be cut off from
    them and not from the instances."""
    def all_of(redis):
        redis.command('ACL', 'SETUSER', 'watcher', 'on', '>watcher', '~*', '&*', '+@all')
        redis.command('CONFIG', 'SET', 'masteruser', 'watcher')
        redis.command('CONFIG', 'SET', 'masterauth', 'watcher')
    lab.servers = [lab.server, lab.redis('first', net=lab.net_of('A')), lab.redis('second', net=lab.net_of('A'))]
    for redis in lab.servers:
        all_of(redis)
    for replica in lab.servers[1:]:
        replica.command('REPLICAOF', lab.server.host, lab.server.port)
    wait_for('both replicas follow', lambda: lab.server.command('WAIT', 2, 100) == 2)
    for redis in lab.servers:  # who is no watcher any more is nobody
        redis.command('CONFIG', 'SET', 'requirepass', 'lab')
        redis.password = 'lab'
    for name, letter in ('one', 'A'), ('two', 'A'), ('three', 'B'):
        sentinel = Sentinel(lab.path(name), lab.server, lab.net_of(letter))
        lab.things.append(sentinel)
        lab.sentinels.append(sentinel)
    wait_for('the sentinels know each other and the replicas', lambda: all(one.knows_all() for one in lab.sentinels))


def believed_down_after(lab, ms):
    """Quick while a row needs it: on a busy machine a server is silent for longer than that, and none may be replaced for it."""
    for sentinel in lab.sentinels:
        sentinel.command('SENTINEL', 'SET', 'mymaster', 'down-after-milliseconds', ms)


def named(lab):
    """The server that more than half of them name."""
    ports = sorted(one.names() for one in lab.sentinels)
    return next(redis for redis in lab.servers if redis.port == ports[1])


def order(lab):
    """A failover. Is it taken on?"""
    try:
        return lab.sentinels[0].command('SENTINEL', 'FAILOVER', 'mymaster') == 'OK'
    except RedisError:  # one is under way, or no replica is good
        return False


def another(lab, old, ordered=False):
    """Waits until another is named. `ordered`: it has to be, and on a busy machine sentinels give that up now and then."""
    again_at = [time.monotonic()]

    def look():
        if ordered and time.monotonic() >= again_at[0]:
            order(lab)
            again_at[0] = time.monotonic() + 10
        return named(lab) is not old
    wait_for('the sentinels name another primary', look)
    believed_down_after(lab, 60000)
    return named(lab)


def forget_killed(lab):
    """Sentinels end the connections of the servers that they change."""
    for redis in lab.servers:
        redis.hang_up()


def replaced_by(lab, old, since=None, told=None, ordered=False):
    """Once another is named, the fault lasts a while longer; evidence: what is revoked there. What the old one was told since `since` may
    be lost, until no lease is left of the time when it was named."""
    with contextlib.nullcontext() if since is None else lab.losing(since):
        new = another(lab, old, ordered)
        forget_killed(lab)
        ended = since_now(lambda: numbers(new))
        if told:
            told(new)
        lab.last(lab.staleness_ms / 1000)
    return lab.last_until(ended, 'revocations at the new one')


def still_primary(redis):
    """There are two primaries: looked at as soon as another is named, for Sentinel changes the old one some seconds later."""
    def look(_new):
        if redis.info('replication', 'role') != 'master':
            raise Failed('the old primary is none any more')
    return look


@row('sentinel-kill', 'sentinels: the primary dies, a replica is promoted', setup=with_sentinels)
def sentinel_kill(lab):
    since = time.monotonic_ns() - 10**9
    believed_down_after(lab, 500)
    lab.server.kill()
    return replaced_by(lab, lab.server, since)


@row('sentinel-stopped', 'sentinels: the primary gets SIGSTOP, a replica is promoted; SIGCONT: there are two primaries',
     setup=with_sentinels)
def sentinel_stopped(lab):
    since = time.monotonic_ns() - 10**9
    believed_down_after(lab, 500)
    lab.server.process.freeze()

    def thaw(new):
        lab.server.process.thaw()
        still_primary(lab.server)(new)
    return replaced_by(lab, lab.server, since, told=thaw)


@row('sentinel-planned', 'sentinels: SENTINEL FAILOVER: the old primary stays one for 11 s', setup=with_sentinels)
def sentinel_planned(lab):
    return replaced_by(lab, lab.server, time.monotonic_ns(), told=still_primary(lab.server), ordered=True)


def offset(redis):
    return int(redis.info('replication', 'master_repl_offset'))


@row('sentinel-paused', 'sentinels: CLIENT PAUSE WRITE, then SENTINEL FAILOVER: nothing is lost', setup=with_sentinels)
def sentinel_paused(lab):
    lab.server.command('CLIENT', 'PAUSE', 60000, 'WRITE')
    wait_for('the replicas have everything', lambda: len({offset(redis) for redis in lab.servers}) == 1)
    return replaced_by(lab, lab.server, ordered=True)


@row('sentinel-apart', 'sentinels: the primary is cut off from replicas and sentinels, B from two of three; A moves', setup=with_sentinels)
def sentinel_apart(lab):
    since = time.monotonic_ns() - 10**9
    for wire in lab.sentinel_wires:
        wire.rule('all both any - freeze')
    believed_down_after(lab, 500)
    lab.server.command('ACL', 'SETUSER', 'watcher', 'off')
    lab.server.command('CLIENT', 'KILL', 'USER', 'watcher')
    missed = since_now(lambda: numbers(lab.server))
    evidence = replaced_by(lab, lab.server, since)
    evidence += f", {missed()} at the old one; B: {lab.b.stat()['trouble'][:60]}"
    for wire in lab.sentinel_wires:
        wire.clear()
        wire.close()
    return evidence


def on_an_island(lab, since):
    """What B revokes on it is confirmed while its lease lasts, without a replica; and told to the new primary after the cut."""
    believed_down_after(lab, 500)
    cut = lab.cut_off()
    if since is not None:
        lab.apart_since(cut, time.monotonic_ns() + (lab.staleness_ms + TICK_MS) * 10**6)
    evidence = replaced_by(lab, lab.server, since)
    names = lab.sentinels[2].names() == lab.server.port
    if not names or lab.server.info('replication', 'role') != 'master':
        raise Failed('the old primary, or the sentinel beside it, knows that it was replaced')
    evidence += f"; B: {lab.b.stat()['trouble'][:60]}"
    lab.island.heal()
    return evidence


@row('sentinel-island', 'sentinels: the primary, one of three sentinels and B are cut off: packets vanish; A moves', setup=with_sentinels,
     long=True, island=True)
def sentinel_island(lab):
    return on_an_island(lab, time.monotonic_ns() - 10**9)


@row('sentinel-island-2', 'the same with durability=2, which is all replicas: nothing is lost', setup=with_sentinels,
     options='&durability=2', long=True, island=True)
def sentinel_island_2(lab):
    return on_an_island(lab, None)


@row('sentinel-stale', 'sentinels: one of three names another server, from beginning to end', setup=with_sentinels)
def sentinel_stale(lab):
    stale = lab.sentinels[2]
    stale.command('SENTINEL', 'REMOVE', 'mymaster')
    stale.command('SENTINEL', 'MONITOR', 'mymaster', '127.0.0.1', lab.servers[1].port, 2)
    wrong = [0]

    def look():
        wrong[0] += stale.names() != lab.server.port
    return lab.last_until(lambda: wrong[0], 'times it named another', 11, every_s=0.1, action=look)


@row('sentinels-dead', 'durability=1, and all sentinels die: all goes on', options='&durability=1', setup=with_sentinels)
def sentinels_dead(lab):
    for one in lab.sentinels:
        one.kill()
    evidence = lab.last_until(since_now(lambda: numbers(lab.server)), 'revocations meanwhile')
    for one in lab.sentinels:
        one.boot()
    return evidence


@row('sentinel-twice', 'sentinels: two failovers, one after the other', setup=with_sentinels)
def sentinel_twice(lab):
    since = time.monotonic_ns() - 10**9
    believed_down_after(lab, 500)
    lab.server.kill()
    with lab.losing(since):
        second = another(lab, lab.server)
        forget_killed(lab)
        lab.last(lab.staleness_ms / 1000)
    third = next(redis for redis in lab.servers if redis not in (lab.server, second))
    wait_for('the last replica follows', lambda: third.info('replication', 'master_port') == str(second.port) and
             third.info('replication', 'master_link_status') == 'up')
    wait_for('a second failover is taken on', lambda: order(lab))
    return replaced_by(lab, second, since)


@row('sentinel-restart', 'sentinels: kill -9 of the primary; it is back with nothing before a sentinel notices, and the replicas copy that',
     setup=with_sentinels)
def sentinel_restart(lab):
    lab.server.arguments += ('--masteruser', 'watcher', '--masterauth', 'watcher', '--requirepass', 'lab', '--user', 'watcher', 'on',
                             '>watcher', '~*', '&*', '+@all')
    def history(one):
        return one.info('replication', 'master_replid')
    before = history(lab.server)
    with lab.losing(0):
        lab.server.kill()
    lab.server.boot()
    ended = since_now(lambda: numbers(lab.server))
    lab.last(seen=lambda: len({history(one) for one in lab.servers}) == 1 and history(lab.server) != before and ended() > 0)
    if {one.names() for one in lab.sentinels} != {lab.server.port}:
        raise Failed('a sentinel noticed it')
    return f"{lab.server.command('DBSIZE')} keys after it, at the replicas too"


@row('sentinel-behind', 'sentinels: both replicas stand still for two seconds and the primary dies: one takes over, and lacks them',
     setup=with_sentinels)
def sentinel_behind(lab):
    since = time.monotonic_ns() - 10**9
    missed = since_now(lambda: numbers(lab.server))
    for replica in lab.servers[1:]:
        replica.process.freeze()
    lab.last(2, seen=lambda: missed() > 0)
    missed = missed()
    lab.server.kill()
    for replica in lab.servers[1:]:
        replica.process.thaw()
    believed_down_after(lab, 500)
    return f'{replaced_by(lab, lab.server, since)}, {missed} that it did not have'


@row('sentinel-orders', 'sentinels: RESET, another quorum, REMOVE and MONITOR again, at one sentinel after the other', setup=with_sentinels,
     long=True)
def sentinel_orders(lab):
    orders = [0]

    def give():
        for one in lab.sentinels:
            one.command('SENTINEL', 'RESET', '*')
            one.command('SENTINEL', 'SET', 'mymaster', 'quorum', 3)
            one.command('SENTINEL', 'REMOVE', 'mymaster')
            one.command('SENTINEL', 'MONITOR', 'mymaster', lab.server.host, lab.server.port, 2)
            orders[0] += 4
            for name in 'auth-user', 'auth-pass':
                one.command('SENTINEL', 'SET', 'mymaster', name, 'watcher')
            one.command('SENTINEL', 'SET', 'mymaster', 'down-after-milliseconds', 60000)
            wait_for('it knows the primary', lambda: one.names() == lab.server.port)
    return lab.last_until(lambda: orders[0], 'orders', 12, every_s=0.3, action=give)


# -------------------------------------------------------------------------------------------------- clocks --
def false_clock(lab):
    """B's wall clock is what a file says; its monotonic clock is left alone, and so is waiting on it (the "fix" that is
    switched off here shifts that)."""
    libraries = glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1')
    if len(libraries) != 1:
        raise Failed('libfaketimeMT.so.1 is missing: install the package faketime')
    set_clock(lab, '+0')
    return {'LD_PRELOAD': libraries[0], 'FAKETIME_TIMESTAMP_FILE': lab.path('clock'), 'FAKETIME_NO_CACHE': '1',
            'FAKETIME_DONT_FAKE_MONOTONIC': '1', 'FAKETIME_FORCE_MONOTONIC_FIX': '0'}


def set_clock(lab, shift):
    with open(lab.path('clock.new'), 'w', encoding='ascii') as file:
        file.write(shift + '\n')
    os.rename(lab.path('clock.new'), lab.path('clock'))


def clock_moved(lab, shift):
    set_clock(lab, shift)
    lab.last()
    before_ms = time.monotonic_ns() // 10**6
    told = lab.b.stat()
    after_ms = time.monotonic_ns() // 10**6
    off_s = round(told['wall_ms'] / 1000 - time.time())
    set_clock(lab, '+0')
    if abs(off_s) < 3000 or not before_ms <= told['monotonic_ms'] <= after_ms:
        raise Failed(f"B's clocks are {told['wall_ms']} and {told['monotonic_ms']} ms")
    return f'{off_s:+d} s'


@row('clock-ahead', "B's wall clock jumps an hour ahead, and back", environment=false_clock)
def clock_ahead(lab):
    return clock_moved(lab, '+3600')


@row('clock-behind', "B's wall clock jumps an hour back, and ahead again", environment=false_clock)
def clock_behind(lab):
    return clock_moved(lab, '-3600')

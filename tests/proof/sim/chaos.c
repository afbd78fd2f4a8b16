/* SPDX-License-Identifier: MIT
 *
 * See chaos.h.
 */
#include "chaos.h"

#include "clients.h"
#include "shards.h"
#include "sentinels.h"
#include "server.h"
#include "truth.h"
#include "wire.h"

#include "redis/script.h"

#include <string.h>

uint64_t chaos_episodes[32];

typedef void blow(void *context, uint64_t number);

static struct {
    climate climate;
    int kind; /* of the episode under way */
    int64_t ends_us;
    bool failed_over; /* in this episode */
    bool change_next; /* the next change that is OK is lost */
    blow *behind_end; /* what comes right behind the next end that is OK, until then; NULL: nothing */
    int64_t behind_until_us;
    bool behind_all;       /* behind the next end of all */
    int64_t late_until_us; /* one machine is late, or its process is new: a second one would be a second fault */
} in;

static int64_t scale(int64_t parts) { return in.climate.staleness_us * parts / 100; }
static int any_primary(void) { return shards_there() ? server_acting_of((int)draw(SHARDS)) : server_acting(); }
static int any_machine(void) { return (int)draw((uint64_t)w.machine_count); }

/* ------------------------------------------------------------------------------------------- single blows -- */

static wire *any_wire(void)
{
    wire *found = NULL;
    unsigned seen = 0;
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        wire *c = wire_of(i);
        if (c && c->client_has && !draw(++seen)) found = c;
    }
    return found;
}

/* Short ones of every order of magnitude, and long ones, around the bound. */
static int64_t draw_time(int64_t most_us)
{
    return chance(500000) ? draw_scale(MS, most_us) : draw_between(MS, most_us);
}

static void nothing(void) {}

static void slow(void)
{
    wire *c = any_wire();
    if (c) trace("wire %d of m%d slows down", c->index, c->client->index);
    if (c) wire_slow(c, draw_scale(MS, scale(100)));
}

static void cut(void)
{
    wire *c = any_wire();
    if (c) trace("wire %d of m%d is cut", c->index, c->client->index);
    if (c) wire_cut(c);
}

/* In a cluster: between a machine and one of the primaries, so that the leases of the others alone go on. */
static void wall(void)
{
    int i = any_machine(), server = any_primary();
    int64_t us = draw_between(scale(100), scale(500));
    trace("m%d does not reach r%d for %.3f s", i, server, (double)us / 1e6);
    wire_wall(&w.machines[i], wire_bit(server), us);
}

/* All connections of a machine at a time, as its cable would; or one. */
static void hole(void)
{
    bool all = chance(500000), loses = chance(500000);
    unsigned directions = 1 + (unsigned)draw(3);
    int64_t us = draw_time(scale(300));
    wire *one = any_wire();
    if (!one) return;
    trace("a hole of %.3f s in %s of m%d, direction %u, %s", (double)us / 1e6, all ? "all wires" : "a wire",
          one->client->index, directions, loses ? "losing" : "holding back");
    if (all) one->client->cut_until = w.now_us + us;
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        wire *c = wire_of(i);
        if (c && (c == one || (all && c->client == one->client))) wire_hole(c, directions, us, loses);
    }
}

static void go_dark(void *context, uint64_t us)
{
    machine *m = context;
    if (!m->slow_us) return; /* healed meanwhile */
    trace("m%d's cable is out for %.3f s", m->index, (double)us / 1e6);
    m->slow_us = 0;
    m->cut_until = w.now_us + (int64_t)us;
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (wire_of(i) && wire_of(i)->client == m) wire_hole(wire_of(i), 3, (int64_t)us, true);
}

/* A machine's network gets worse: first each connection is slow in its own way, then nothing gets through. */
static void die_slowly(void)
{
    machine *m = &w.machines[any_machine()];
    m->slow_us = draw_between(scale(5), scale(70));
    trace("m%d's cable is dying", m->index);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (wire_of(i) && wire_of(i)->client == m) wire_slow(wire_of(i), draw_between(0, m->slow_us));
    int64_t dark_us = draw_between(scale(50), scale(300));
    at(w.now_us + draw_between(scale(30), scale(200)), go_dark, m, (uint64_t)dark_us);
}

static void pause_machine(void)
{
    machine *m = &w.machines[any_machine()];
    machine_pause(m, draw_time(scale(300)));
}

static void let_lie(void) { clients_let_lie(any_machine(), draw_between(scale(110), scale(300))); }
static void pause_server(void) { server_pause(any_primary(), draw_time(scale(200))); }
static void kill_clients(void)
{
    int which = any_primary();
    trace("r%d kills its clients", which);
    server_kill_clients(which, chance(500000));
}
static void forget_scripts(void) { server_forget_scripts(any_primary()); }
static void restart_process(void) { clients_restart(any_machine()); }

static void restart_server(void)
{
    bool silent = chance(300000);
    server_restart(any_primary(), draw_scale(10 * MS, 10 * SECOND), 0, silent);
}

static void restart_and_lose(void)
{
    bool silent = chance(300000);
    int64_t lose_us = draw_scale(MS, 2 * SECOND);
    server_restart(any_primary(), draw_scale(10 * MS, 10 * SECOND), lose_us, silent);
}

static void restore_now(void *context, uint64_t lose_us)
{
    (void)context;
    if (w.faults) server_restore(any_primary(), (int64_t)lose_us);
}

static void ask_about_what_was_lost(void *context, uint64_t number)
{
    (void)context, (void)number;
    if (!w.faults) return;
    truth_favour_lost();
    clients_busy(scale(30));
}

/* What others see and mend at once, this machine sees when the numbers have come up again; or its process is a new one, which
 * knows of nothing. */
static void be_late(machine *m, int64_t us)
{
    bool pauses = chance(500000);
    trace("m%d is late, by %.3f s", m->index, (double)us / 1e6);
    if (pauses) machine_pause(m, us);
    else m->cut_until = w.now_us + us;
    for (int i = 0; !pauses && i < CONNECTIONS_MAX; i++)
        if (wire_of(i) && wire_of(i)->client == m) wire_hole(wire_of(i), 3, us, true);
}

static void restore_beside(void)
{
    int i = any_machine();
    int64_t us = draw_between(scale(50), scale(500)), lose_us = draw_scale(MS, scale(100)), after_us = 0;
    if (chance(500000)) lose_us = draw_between(scale(110), scale(250)); /* for longer than a lease lasts */
    bool new = chance(300000), late = chance(700000), alone = in.late_until_us < w.now_us;
    if (alone && new) clients_restart(i), after_us = draw_between(scale(20), scale(80));
    else if (alone && late) be_late(&w.machines[i], us);
    if (alone) in.late_until_us = w.now_us + us + after_us + scale(100);
    at(w.now_us + after_us, restore_now, NULL, (uint64_t)(lose_us + after_us));
    for (int k = 0; k < 8; k++)
        at(w.now_us + after_us + (k ? scale(200 + 40 * k) : MS), ask_about_what_was_lost, NULL, 0);
}

static void restore(void)
{
    if (in.climate.dense) restore_beside();
    else server_restore(any_primary(), draw_scale(MS, 100 * SECOND));
}

/* Who waits for the answer learns of a data set that is gone. By then the link may have met the one in its place. */
static void restore_behind(void)
{
    int64_t lose_us = draw_scale(1, 10 * SECOND), hold_us = draw_scale(MS, SECOND);
    server_restore_behind_a_script(lose_us, hold_us, chance(500000));
}

/* A change that was OK is not in the data that come back: whoever made it or heard of it tells the server so. */
static void restore_behind_a_change(void) { in.change_next = true; }

bool chaos_changed(void)
{
    bool strikes = in.change_next && w.faults;
    if (!strikes) return false;
    int64_t after_us = draw_scale(MS, 2 * SECOND), more_us = draw_scale(50 * MS, 2 * SECOND);
    in.change_next = false;
    at(w.now_us + after_us, restore_now, NULL, (uint64_t)(after_us + more_us));
    return true;
}

static blow move_cutoff;

static void await_end(blow *behind, int64_t us)
{
    in.behind_end = behind;
    in.behind_until_us = w.now_us + us;
}

bool chaos_awaits_end(void) { return in.behind_end && w.now_us < in.behind_until_us && w.faults; }

void chaos_ended(const machine *m, const char *key)
{
    if (!chaos_awaits_end() || m->deaf_until > w.now_us) return; /* it would know of it */
    int partition = shards_there() ? shards_partition(key) : 0;
    at(w.now_us + draw_scale(10, MS), in.behind_end, NULL, (uint64_t)partition);
    in.behind_end = NULL;
}

void chaos_all_ended(void)
{
    if (!in.behind_all || !w.faults) return;
    in.behind_all = false;
    int64_t us = chance(500000) ? draw_scale(10, MS) : draw_between(scale(20), scale(60));
    uint64_t partition = draw(CLUSTER_PARTITIONS);
    at(w.now_us + us, move_cutoff, NULL, partition);
}

static bool is_script(const char *sha, enum lk_script_id id) { return !memcmp(sha, lk_scripts[id].sha, 40); }

/* What is held back is not lost: the system repeats it until it gets through. The call may be made again meanwhile. */
void chaos_sends(wire *c, const char *bytes, size_t size)
{
    static const char evalsha[] = "$7\r\nEVALSHA\r\n$40\r\n";
    const char *at = in.climate.late && w.faults ? memmem(bytes, size, evalsha, sizeof evalsha - 1) : NULL;
    const char *sha = at ? at + sizeof evalsha - 1 : NULL;
    if (!sha || bytes + size - sha < 40) return;
    bool import = is_script(sha, LK_SCRIPT_IMPORT);
    bool token = is_script(sha, LK_SCRIPT_CREATE) || is_script(sha, LK_SCRIPT_ROTATE); /* one that nobody gets */
    unsigned direction = import || chance(500000) ? TO_SERVER : TO_CLIENT;
    if (c->hole_until_us[direction] > w.now_us || !chance(import ? 300000 : token ? 50000 : 3000)) return;
    int64_t us = draw_scale(20 * MS, 20 * SECOND);
    trace("a script%s is held back for %.3f s", direction == TO_SERVER ? "" : "'s answer", (double)us / 1e6);
    wire_hole(c, 1u << direction, us, false);
}

static void ask_about_one_that_is_over(void *context, uint64_t forward_us)
{
    (void)context;
    if (w.faults) truth_favour_over(w.now_us - scale(220) - 12 * SECOND, (int64_t)forward_us);
    if (w.faults && in.climate.dense) clients_busy(scale(50));
}

static void step_clock(void)
{
    int64_t us = draw_scale(MS, 60 * SECOND);
    bool forward = chance(500000);
    if (in.climate.dense && chance(500000)) us = draw_scale(scale(220) + 12 * SECOND, scale(3000) + 60 * SECOND);
    server_step_clock(any_primary(), forward ? us : -us);
    for (int i = 0; forward && i < (in.climate.dense ? 6 : 1); i++)
        at(w.now_us + scale(220 + 20 * i) + 12 * SECOND, ask_about_one_that_is_over, NULL, (uint64_t)us);
}

static void lag(void)
{
    for (int i = 0; i < server_count(); i++) server_lag(i, draw_scale(100, scale(200)));
    if (server_count() < 2 || !chance(300000)) return;
    int replica = (int)draw((uint64_t)server_count());
    server_cut_replica(replica, draw_scale(MS, scale(300)));
}

/* ---------------------------------------------------------------------------------------------- failover -- */

static void route(void *context, uint64_t server)
{
    machine *m = context;
    m->route = (int)server;
    m->route_us = w.now_us;
    trace("m%d is led to r%d", m->index, (int)server);
}

static void lead_all(int server, int64_t within_us)
{
    if (shards_there()) return; /* the nodes tell each other */
    if (sentinels_there()) {
        sentinels_learn(within_us < 3 * SECOND ? within_us : 3 * SECOND);
        return;
    }
    for (int i = 0; i < w.machine_count; i++)
        at(w.now_us + draw_scale(100, within_us), route, &w.machines[i], (uint64_t)server);
}

static void demote(void *context, uint64_t server)
{
    (void)context;
    server_demote((int)server);
    if (chance(500000)) server_kill_clients((int)server, false);
}

/* The old primary is cut off from all others, with a sentinel and a machine beside it. How long it is; 0: another sentinel is wrong. */
static int64_t island(int old)
{
    int64_t us = draw_between(scale(250), scale(450));
    int sentinel = sentinels_cut_off(us), of = any_machine();
    if (sentinel < 0) return 0;
    uint64_t there = wire_bit(old) | wire_bit(sentinel);
    bool both = chance(500000); /* else the others reach what is there, and hear both sides */
    trace("m%d, r%d and a sentinel are an island for %.3f s", of, old, (double)us / 1e6);
    for (int i = 0; i < w.machine_count; i++)
        if (i == of || both) wire_wall(&w.machines[i], i == of ? ~there : there, us);
    return us;
}

/* The old primary is dead, is demoted in place at once, or lives on beside the new one for a while. */
static void fail_over_of(int shard)
{
    int old = server_acting_of(shard);
    if (in.failed_over || server_count() < 2) return;
    uint64_t how = draw(3);
    bool silent = chance(500000);
    if (how == 0) server_restart(old, draw_scale(SECOND, 20 * SECOND), 0, silent);
    if (!server_fail_over(shard)) return;
    in.failed_over = true;
    lead_all(server_acting(), how == 2 ? scale(400) : SECOND);
    /* A cluster fences itself; more or less. */
    int64_t alive_us = how != 2         ? 1
                       : shards_there() ? draw_scale(10 * MS, 3 * SECOND)
                                        : draw_scale(100 * MS, scale(500));
    int64_t island_us = how == 2 && sentinels_there() && chance(in.climate.dense ? 800000 : 500000) ? island(old) : 0;
    if (island_us > alive_us) alive_us = island_us;
    at(w.now_us + alive_us, demote, NULL, (uint64_t)old);
}

static void fail_over(void) { fail_over_of(shards_there() ? (int)draw(SHARDS) : 0); }

static void move_and_rest(int partition, const char *first)
{
    shards_move_at_once(partition, first, draw_between(scale(120), scale(400)));
}

/* That partition may be on its way to another server before the promoted one has been told of what it lacks. */
static void fail_over_behind(void *context, uint64_t partition)
{
    (void)context;
    if (!w.faults) return;
    fail_over_of(shards_there() ? shard_of_partition((int)partition) : 0);
    if (shards_there() && chance(300000)) move_and_rest((int)partition, NULL);
}

/* Behind one address: new connections come to the new primary, and old ones stay with the old one, which lives on and
 * believes that it is one. Nothing is in the way, so every machine is served again soon. */
static void split(void)
{
    int old = server_acting();
    if (in.failed_over || server_count() < 2 || !server_fail_over(0)) return;
    in.failed_over = !sentinels_there(); /* two in a row, there */
    if (sentinels_there() && chance(300000)) sentinels_trouble(scale(200));
    lead_all(server_acting(), SECOND);
    if (sentinels_there() && chance(in.climate.dense ? 700000 : 300000) && island(old)) return;
    if (!w.pause_ppm) truth_expects_service(w.now_us + 16 * SECOND + 2 * in.climate.staleness_us, in.ends_us);
}

/* A machine is led to a replica, which lags: it answers, but it is not the server to ask. */
static void mislead(void)
{
    int replica = (int)draw((uint64_t)server_count());
    machine *m = &w.machines[any_machine()];
    if (replica == server_acting() || server_primary(replica)) return;
    server_lag(replica, draw_between(scale(50), scale(400)));
    if (sentinels_there()) return;
    route(m, (uint64_t)replica);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (wire_of(i) && wire_of(i)->client == m && chance(700000)) wire_cut(wire_of(i));
    at(w.now_us + draw_between(scale(50), scale(400)), route, m, (uint64_t)server_acting());
}

static void move_some(void *context, uint64_t number)
{
    (void)context, (void)number;
    const char *first = in.climate.dense && chance(500000) ? "q" : NULL;
    bool all = chance(200000);
    int64_t pause_us = draw_scale(100, SECOND);
    if (in.climate.dense && chance(500000))
        pause_us = draw_between(scale(20), scale(150)); /* it lasts for longer than a lease */
    int64_t rest_most_us = in.climate.dense ? 0 : scale(500);
    if (all && w.faults) shards_empty(pause_us, rest_most_us, first);
    else if (w.faults) shards_move(pause_us, rest_most_us, first);
}

/* What is said to a machine is lost for so long: too short for a beat to notice, mostly. */
static void deafen(machine *m, int64_t us)
{
    trace("m%d is deaf for %.3f s", m->index, (double)us / 1e6);
    m->deaf_until = w.now_us + us;
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (wire_of(i) && wire_of(i)->client == m && server_subscribes(wire_of(i))) wire_hole(wire_of(i), 2, us, true);
}

/* A machine that has not heard of that end asks for the number now, and does not find it there. */
static void move_behind(void *context, uint64_t partition)
{
    (void)context;
    if (w.faults && clients_deaf()) move_and_rest((int)partition, "q");
}

/* A process that begins meanwhile finds the number, and not the cut-off. */
static void move_cutoff(void *context, uint64_t partition)
{
    (void)context;
    if (!w.faults) return;
    move_and_rest((int)partition, "e");
    restart_process();
}

static void move_slots(void)
{
    if (!shards_there()) return;
    if (!in.climate.dense) {
        move_some(NULL, 0);
        return;
    }
    if (chance(150000)) {
        in.behind_all = true;
        clients_end_all();
        return;
    }
    int64_t deaf_us = draw_between(10 * MS, scale(30));
    deafen(&w.machines[any_machine()], deaf_us);
    if (chance(500000)) await_end(move_behind, deaf_us);
    else at(w.now_us + draw_between(0, deaf_us), move_some, NULL, 0);
}

static void trouble_sentinels(void)
{
    if (sentinels_there()) sentinels_trouble(draw_between(SECOND, scale(400)));
}

/* ---------------------------------------------------------------------------------------------- episodes -- */

static const struct {
    const char *name;
    void (*strike)(void);
    unsigned times; /* at most, in an episode */
    bool storms;    /* also in company */
} kinds[] = {{"nothing", nothing, 1, true},
             {"slow connections", slow, 12, true},
             {"cut connections", cut, 12, true},
             {"holes", hole, 8, true},
             {"dying cables", die_slowly, 3, true},
             {"paused machines", pause_machine, 8, true},
             {"unread answers", let_lie, 4, true},
             {"paused servers", pause_server, 4, true},
             {"killed clients", kill_clients, 4, true},
             {"forgotten scripts", forget_scripts, 4, true},
             {"restarted processes", restart_process, 2, true},
             {"restarted servers", restart_server, 2, true},
             {"lag of replicas", lag, 6, true},
             {"replicas for primaries", mislead, 3, true},
             {"failovers", fail_over, 1, false},
             {"split addresses", split, 1, false}, /* with sentinels: a planned failover */
             {"set clocks", step_clock, 2, false},
             {"restored data", restore, 2, false},
             {"data restored behind a script", restore_behind, 4, false},
             {"data restored behind a change", restore_behind_a_change, 4, false},
             {"lossy restarts", restart_and_lose, 1, false},
             {"sentinels that are wrong", trouble_sentinels, 3, false},
             {"slots that move", move_slots, 8, true},
             {"nodes out of reach", wall, 3, true}};
/* The last three are of sentinels and of clusters. */
enum { KINDS = sizeof kinds / sizeof *kinds, OF_CLUSTERS = 2, OTHERS = 3 };

const char *chaos_name(int kind) { return kind < KINDS ? kinds[kind].name : NULL; }

static bool allowed(int kind)
{
    if (in.climate.calm) return kind == 0;
    if (kinds[kind].strike == step_clock) return in.climate.clocks;
    if (kinds[kind].strike == restart_and_lose) return in.climate.lossy;
    if (kinds[kind].strike == restore || kinds[kind].strike == restore_behind ||
        kinds[kind].strike == restore_behind_a_change)
        return in.climate.restores;
    if (kinds[kind].strike == split) return (in.climate.splits || sentinels_there()) && server_count() > 1;
    if (kinds[kind].strike == trouble_sentinels) return sentinels_there();
    if (kinds[kind].strike == move_slots || kinds[kind].strike == wall) return shards_there();
    if (kinds[kind].strike == mislead && shards_there()) return false;
    if (kinds[kind].strike == fail_over || kinds[kind].strike == lag || kinds[kind].strike == mislead)
        return server_count() > 1;
    return true;
}

/* Where there are sentinels, half of all trouble is theirs; so it is with clusters. In a dense world it is more than half, and so it is
 * there with data that are replaced, and with clocks. */
static bool theirs(int kind)
{
    void (*strike)(void) = kinds[kind].strike;
    if (in.climate.dense && strike == step_clock) return in.climate.clocks;
    if (in.climate.dense && strike == restore) return in.climate.restores;
    return strike == fail_over || strike == split || strike == trouble_sentinels || strike == move_slots ||
           strike == wall;
}

static int any_kind(void)
{
    bool more = in.climate.dense && (in.climate.restores || in.climate.clocks);
    bool of_them =
        (sentinels_there() || shards_there() || more) && !in.climate.calm && chance(in.climate.dense ? 750000 : 500000);
    for (;;) {
        /* So that worlds without stay as they are. */
        int kind = (int)draw(shards_there() ? KINDS : sentinels_there() ? KINDS - OF_CLUSTERS : KINDS - OTHERS);
        if (allowed(kind) && (!of_them || theirs(kind))) return kind;
    }
}

static void strike(void *context, uint64_t again);

/* What is promoted then lacks the last writes. */
static bool starve_replicas(int kind)
{
    int64_t us = draw_between(10 * MS, scale(20));
    if (kinds[kind].strike != fail_over && kinds[kind].strike != split) return false;
    for (int i = 0; i < server_count(); i++) server_cut_replica(i, 2 * us);
    if (kinds[kind].strike == fail_over) await_end(fail_over_behind, us);
    at(w.now_us + us, strike, NULL, true);
    return true;
}

static void strike(void *context, uint64_t again)
{
    (void)context;
    if (!w.faults) return;
    int kind = in.kind;
    if (in.climate.dense && !again && chance(500000) && starve_replicas(kind)) return;
    if (in.climate.storm && kinds[kind].storms) do
            kind = any_kind();
        while (!kinds[kind].storms);
    kinds[kind].strike();
}

static void heal(void)
{
    int64_t after = w.now_us + SECOND;
    if (in.climate.dense) truth_favour_denied();
    servers_heal();
    if (sentinels_there()) sentinels_heal();
    for (int i = 0; i < w.machine_count; i++)
        w.machines[i].cut_until = w.machines[i].slow_us = w.machines[i].walled_until = 0;
    for (int i = 0; i < server_count(); i++) server_lag(i, draw_scale(100, 20 * MS));
    lead_all(server_acting(), after - w.now_us);
}

static void begin_episode(void *context, uint64_t number);

static void end_episode(void *context, uint64_t number)
{
    (void)context, (void)number;
    if (!w.faults) return;
    heal();
    trace("episode ends");
    at(w.now_us + draw_scale(SECOND, in.climate.quiet_most_us), begin_episode, NULL, 0);
}

static void begin_episode(void *context, uint64_t number)
{
    (void)context, (void)number;
    if (!w.faults) return;
    in.kind = any_kind();
    in.failed_over = in.change_next = false;
    in.behind_end = NULL;
    in.behind_all = false;
    chaos_episodes[in.kind]++;
    int64_t length = draw_between(scale(100), scale(600)) + 5 * SECOND;
    if (kinds[in.kind].strike == split) length += scale(400) + 20 * SECOND;
    in.ends_us = w.now_us + length;
    trace("episode: %s", kinds[in.kind].name);
    clients_busy(length + scale(200));
    uint64_t times = 1 + draw(kinds[in.kind].times);
    for (uint64_t i = 0; i < times; i++) at(w.now_us + draw_between(0, length * 3 / 4), strike, NULL, 0);
    at(in.ends_us, end_episode, NULL, 0);
}

void chaos_begin(const climate *c)
{
    in.climate = *c;
    in.late_until_us = 0;
    in.behind_end = NULL;
    in.behind_all = false;
    w.faults = true;
    at(w.now_us + draw_scale(10 * MS, 20 * SECOND), begin_episode, NULL, 0);
}

void chaos_end(void)
{
    w.faults = false;
    w.pause_ppm = 0;
    heal();
}

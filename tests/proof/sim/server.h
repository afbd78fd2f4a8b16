/* SPDX-License-Identifier: MIT
 *
 * The servers: Redis as the library sees it. Each has a keyspace (store.h), connections, subscriptions, a role, a run id
 * and a replication id, a clock, a disk that is behind by what was not synced, and replicas that are behind by their lag.
 */
#ifndef LATCHKEY_SIM_SERVER_H
#define LATCHKEY_SIM_SERVER_H

#include "store.h"
#include "wire.h"

enum { SERVERS_MAX = 4 };

void servers_begin(int count, int64_t lag_us, bool keep_disk, bool cluster);
void servers_end(void);

/* ------------------------------------------------------------------------------------------- for the wire -- */
bool server_accepts(int server); /* is it listening? */
void server_accepted(wire *c);
void server_fed(wire *c, const char *bytes, size_t size);
void server_lost(wire *c); /* the client closed it */

/* --------------------------------------------------------------------------------------------- the faults -- */
int server_count(void);
int server_acting(void); /* the primary whose data count; in a cluster, of the first shard */
int server_acting_of(int shard);
bool server_is_acting(int server);
bool server_answers(int server);          /* it is up, and neither paused nor loading */
int server_replica_of(int server);        /* -1: it is none, or not synchronized */
int64_t server_down_since_us(int server); /* 0: it is up */
bool server_up(int server);
bool server_primary(int server); /* believes to be one */
void server_pause(int server, int64_t us);
void server_step_clock(int server, int64_t us);
/* Down for so long. lose_us: what was written in the last so many microseconds is lost (needs keep_disk); silent: its
 * connections do not learn of it. */
void server_restart(int server, int64_t down_us, int64_t lose_us, bool silent);
/* Its data are replaced in place by what they were so long ago: it is the same server, and no connection learns of it. */
void server_restore(int server, int64_t lose_us);
/* The same behind the next script that announces something. Its answer is held back for so long; what it announced is lost with
 * the subscriptions (cuts), or is not. */
void server_restore_behind_a_script(int64_t lose_us, int64_t hold_us, bool cuts);
/* The most advanced replica becomes the acting primary. The old one, where it lives, goes on as it is until demoted. */
bool server_fail_over(int shard);
void server_demote(int server); /* becomes a replica of the acting one; its connections stay */
void server_lag(int server, int64_t us);
void server_cut_replica(int server, int64_t us); /* gets nothing for so long */
void server_forget_scripts(int server);
void server_kill_clients(int server, bool subscribers_only);
/* In a cluster: a key that begins so goes to another primary; false: there is none. Subscribers of a slot are told that it has gone. */
bool server_move_key(int from, int to, const char *prefix);
void server_unsubscribe(int server, unsigned slot);
bool server_subscribes(const wire *c); /* it is a link's connection for messages */
void servers_heal(void);               /* all up, none paused, all others replicas of the acting one */

/* ---------------------------------------------------------------------------------------------- the truth -- */
/* Keys of the second database begin with "1/". */
int64_t server_clock_ms(int server);
int server_place(const char *key);                     /* the acting primary that has the key, or would have it */
bool server_has_key(int server, const char *key);      /* perhaps it has expired */
int64_t servers_clock_spread_us(void);                 /* by how much servers' clocks ever differed or were set */
bool server_holds(int server, const char *key);        /* alive by that server's clock */
int64_t server_expiry_ms(int server, const char *key); /* by its clock; -1: none */
int64_t server_number(int server, const char *key);    /* a string's; 0: there is none */
word server_field(int server, const char *key, const char *field); /* of a hash; NULL: there is none */
const char *server_member(int server, const char *key, size_t i);  /* of a sorted set; NULL: there are no more */
void server_see_keys(int server, void (*see)(int server, const char *key)); /* all that are alive */
int64_t servers_calm_since_us(void); /* since then one primary, nothing lost, no clock set */

#endif

/* SPDX-License-Identifier: MIT
 *
 * The servers as a Redis Cluster of two shards, each with a replica: which node has the slot of which partition, as each node sees it; slots that move, key
 * by key; and what a node answers about keys that are not its.
 */
#ifndef LATCHKEY_SIM_SHARDS_H
#define LATCHKEY_SIM_SHARDS_H

#include "store.h"
#include "world.h"

enum { SHARDS = 2, CLUSTER_SERVERS = 4, CLUSTER_PARTITIONS = 4 };

void shards_begin(bool there); /* false: this world has none. Behind servers_begin */
bool shards_there(void);
int shard_of_server(int server);            /* 0 where there is no cluster */
bool shards_has(int server, int partition); /* its shard, by the truth */
int shard_of_partition(int partition);      /* which shard has it */
int shards_partition(const char *key);      /* -1: of none that is used */

unsigned shards_slot(word key); /* CRC16 of its tag */
/* Why a node does not run the command, as an error of Redis; NULL: it does. */
const char *shards_refusal(int server, const word *words, size_t count);
void shards_print_id(int server, buffer *out);    /* CLUSTER MYID */
void shards_print_slots(int server, buffer *out); /* CLUSTER SLOTS, as it sees it */
int shards_place(const char *key);                /* the acting primary that has the key, or would have it */

int64_t shards_moved_us(const char *key); /* when its partition moved last, and so perhaps came under another clock */

/* ------------------------------------------------------------------------------------------------ faults -- */
/* A partition begins to move. pause_us: the longest between two keys; rest_most_us: some rest once, for so long at most; 0:
 * none. first: "q" or "e", which goes before all others; NULL: they go in any order. */
void shards_move(int64_t pause_us, int64_t rest_most_us, const char *first);
void shards_empty(int64_t pause_us, int64_t rest_most_us, const char *first); /* all that a shard has, at once */
/* That one begins to move, its first key goes soon, and then the move rests for so long. */
void shards_move_at_once(int partition, const char *first, int64_t rest_us);
/* The session was admitted. Counted, if its slot has been moving since before then: so a lease was renewed meanwhile. */
void shards_note_ok(const char *key, int64_t since_us);
void shards_settle(void);         /* what moves is moved now */
void shards_promoted(int server); /* it has what its shard had; the others learn of that */
void shards_demoted(int server);  /* it has learnt that it has nothing */
void shards_heal(void);           /* all know all */
extern uint64_t shards_moves, shards_moved_keys, shards_given_up, shards_rests, shards_late_oks;

#endif

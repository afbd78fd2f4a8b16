/* SPDX-License-Identifier: MIT
 *
 * A small Redis at the other end of a link, in virtual time and without I/O. It reads the commands that the link wants
 * to write, with the library's own parser, and answers them; the test decides when bytes travel, and what goes wrong.
 *
 *   link's bytes --model_serve--> the server's replies and messages --model_deliver--> link
 *
 * Everything is written down in one log, in the order in which it happened:
 *   "0 MGET lk:{0}:q\n"    a command that the server took, and on which connection (0 commands, 1 subscription)
 *   "= lease 1000\n"       what the link told its host: empty, purge, lease, trouble, done; and what a refresh read:
 *                          "= read <selector> <type of v> <PTTL: the number that the selector ends with> leased"
 */
#ifndef LATCHKEY_TESTS_REDIS_MODEL_H
#define LATCHKEY_TESTS_REDIS_MODEL_H

#include "l1/l1.h"
#include "l2/link.h"
#include "base/record.h"
#include "unit.h"

enum { MODEL_PARTITIONS_MAX = 64, MODEL_BUFFER = 128 * 1024, MODEL_JOBS_MAX = 200, MODEL_LOG_MAX = 2048 };

typedef struct model_side {
    lk_resp *commands;
    char replies[MODEL_BUFFER]; /* not delivered yet */
    size_t used;
    bool stalled;
} model_side;

/* A partition's log: a ring of the newest, of which some may have been trimmed. */
typedef struct model_log {
    struct {
        uint64_t number;
        char selector[24];
    } entry[MODEL_LOG_MAX];
    size_t first, count;
} model_log;

/* A session, as HGET ... v answers it. */
typedef struct model_record {
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    uint8_t bytes[LK_RECORD_SIZE];
    const struct model_record *next;
} model_record;

typedef struct redis_model {
    lk_config config;
    lk_counters counters;
    lk_link link;
    bool deposed;           /* the sentinels do not name it */
    int64_t asked_since_ms; /* and since when they were to be asked */
    int64_t now_us;
    char log[MODEL_BUFFER];
    size_t logged;

    model_side side[LK_LINK_CONNECTIONS];
    const char *run_id[LK_LINK_CONNECTIONS]; /* of the server that each connection reaches */
    const char *role, *version, *replication;
    int64_t clock_ahead_us; /* of the server's clock to the link's */
    uint64_t number[MODEL_PARTITIONS_MAX];
    uint64_t witness; /* the count under w, of the first partition */
    model_log revoked[MODEL_PARTITIONS_MAX];
    const char *epoch[MODEL_PARTITIONS_MAX]; /* as it lies there; "LIST": a key of another type; NULL: none */
    char epoch_text[MODEL_PARTITIONS_MAX][24];
    char node[41]; /* in a cluster: what it calls itself */
    /* In a cluster: what is answered for keys and channels of the partition, as "MOVED 5 other:1"; NULL: its slot is
     * here. Only for those that end with `only`, if that is not NULL. */
    const char *elsewhere[MODEL_PARTITIONS_MAX], *only;
    char recorded[32];                         /* the number of partitions, as the server holds it; "": not yet */
    const model_record *records;               /* the sessions, the test's own */
    bool subscribed, scripts_known, forgetful; /* forgetful: knows every session that is asserted not to be */

    /* what goes wrong */
    const char *prolonged;        /* the reply to PEXPIRE; NULL: 1 */
    const char *command, *answer; /* this command is answered so; "" not at all, nor any that follows it */
    unsigned lose_messages;       /* so many revocations' messages do not arrive */
    bool lose_nonces, byte_by_byte;

    /* what the host heard last, and what it has to do */
    lk_beat_stats stats; /* what it says of itself with each beat */
    lk_l1 *l1;           /* purged and emptied with the link, where there is one */
    int64_t lease_sent_ms, lease_ahead_us;
    uint64_t lease_incarnation;
    unsigned leases, empties, everyones, met, signs;
    int64_t leased_ms[MODEL_PARTITIONS_MAX]; /* when the beat was sent that gave it its lease */
    unsigned emptied[MODEL_PARTITIONS_MAX], voided[MODEL_PARTITIONS_MAX], met_of[MODEL_PARTITIONS_MAX];
    char sign[200];
    char trouble[200];
    int trouble_status;
    unsigned partitions[MODEL_PARTITIONS_MAX];
    lk_job jobs[MODEL_JOBS_MAX];
    lk_refresh_item items[MODEL_JOBS_MAX]; /* of those that are refreshes */
    size_t job_first, job_count;
} redis_model;

/* `options` are those of the configuration, deadline_ms and the like; or the whole of it. The link is DOWN, to be tried
 * at once. */
redis_model *model_open(const char *options, uint64_t seed);
void model_close(redis_model *m);

int64_t model_ms(const redis_model *m);
void model_tick(redis_model *m, int64_t later_ms); /* and then so much time has passed */
void model_connect(redis_model *m);                /* both sockets are there; ticks until they are wanted */
void model_serve(redis_model *m, int which);       /* the server reads, and answers into its buffer */
void model_deliver(redis_model *m, int which);     /* what it answered arrives */
void model_run(redis_model *m);                    /* both, until neither has anything to say */
void model_up(redis_model *m);                     /* connects, and goes on until there is a lease */
redis_model *model_opened_up(const char *options); /* the same from the beginning, with an empty log */
int64_t model_beat_due(const redis_model *m);      /* in so many ms */
void model_beat(redis_model *m);                   /* the next beat, when it is due, and what follows from it */
void model_feed(redis_model *m, int which, const char *bytes); /* bytes that no server would send */

/* What the script in Redis does: counts and publishes. */
void model_revoke(redis_model *m, unsigned partition, const char *selector);
/* Ends all of a partition: sets the epoch, counts and publishes. */
void model_end_everyone(redis_model *m, unsigned partition, int64_t ms);
void model_trim(redis_model *m, unsigned partition, size_t kept); /* the log, to its newest entries */
void model_publish(redis_model *m, const char *channel, const char *text);
void model_job(redis_model *m, int kind, unsigned partition, const char *selector); /* for next_job to hand out */

void model_clear(redis_model *m); /* the log */
bool model_saw(const redis_model *m, const char *text);
/* All of these, in this order; ends with NULL. Fails the test otherwise. */
void model_expect(const redis_model *m, ...);

uint64_t model_counted(const redis_model *m, enum lk_counter which);

#endif

/* What the parts of the link (link.h) need from each other, and the tags by which they know their replies. */
#ifndef LK_L2_LINK_PARTS_H
#define LK_L2_LINK_PARTS_H

#include "base/clock.h"
#include "l2/link.h"
#include "redis/errors.h"

enum lk_link_tag {
    TAG_RECORD_PARTITIONS = 1,
    TAG_READ_PARTITIONS,
    TAG_SETTINGS,
    TAG_NUMBERS,
    TAG_CUTOFF_KEYS,
    TAG_TIME,
    TAG_WITNESS,
    TAG_REPLICATION,
    TAG_PUBLISHED,
    TAG_HELD,
    TAG_WRITABLE,
    TAG_INDEXED,        /* of a touch, or a pulse; nothing depends on it */
    TAG_JOB,            /* + the job's index */
    TAG_VALUE = 0x8000, /* + the job's index: the first of two replies */
    /* + the partition: */
    TAG_LOG = 0x10000,
    TAG_ASSERTED = 0x20000,
    TAG_NUMBER = 0x30000, /* in a cluster, in place of TAG_NUMBERS */
    TAG_CUTOFF = 0x40000,
};

#define LK_LINK_TIME_MAX_US INT64_C(100000000000000000) /* the year 5138: a clock that shows a later time is not set */

enum { LK_LINK_QUIET_BEATS = 20 };  /* without a use in between, until an instance counts as idle */
enum { LK_LINK_HURRY_MS = 20 };     /* from a beat that left a partition unserved to the next one */
enum { LK_LINK_BEAT_APART_MS = 5 }; /* the shortest time between two beats, however many callers ask for one */

/* link_state.c */
uint64_t lk_link_random(lk_link *link);
void lk_link_enter(lk_link *link, enum lk_link_state state, int64_t now_ms);
void lk_link_end_job(lk_link *link, lk_job *job, int status);
void lk_link_end_everyone(lk_link *link); /* empties L1 if a cut-off is new */
void lk_link_no_memory(lk_link *link, int64_t now_ms);
/* The link is lost, for the reason in an error reply, or else for `text`. */
void lk_link_refused(lk_link *link, const lk_reply *reply, int64_t now_ms, const char *text);
/* These are counted. */
void lk_link_missed(lk_link *link, uint64_t revocations); /* their messages were lost */
void lk_link_emptied(lk_link *link);
/* lk_link_lost without a line in the log, and without a sign. */
void lk_link_let_go(lk_link *link, int64_t now_ms, int status, const char *text);
/* In a cluster: the map of partitions may be old. */
void lk_link_sign(lk_link *link, const char *text);
/* Those of the link's partitions that are so. Good until the next call. */
lk_partitions lk_link_those(lk_link *link, bool (*are)(const lk_link *link, unsigned partition));

/* link.c: connects anew. If the address leads to the same server as before, that costs only a few milliseconds. Not
 * again before link->look_at_ms. */
void lk_link_look(lk_link *link, int64_t now_ms, const char *why);

/* An instance that asks the sentinels learns of another primary within half a beat of any other instance; the rest is
 * for meeting it. */
static inline int64_t lk_link_told_ms(const lk_config *config) { return lk_later(config->staleness_ms / 4, 250); }

/* link_handshake.c */
void lk_link_take_handshake(lk_link *link, int which, const lk_reply *reply, int64_t now_ms);
/* false: the reply belongs to another part */
bool lk_link_take_setup(lk_link *link, const lk_reply *reply, int64_t now_ms);

/* In a cluster, while it is not known how many partitions there are: records it, if no node that has partitions has it. */
void lk_link_may_record(lk_link *link, int64_t now_ms);
/* In a cluster, once it is known: each partition that has no record yet gets one. */
void lk_link_record(lk_link *link, int64_t now_ms);
/* The data set was lost, or replaced: the number is recorded again, unless it is another one now. */
void lk_link_record_again(lk_link *link, int64_t now_ms);

/* link_tell.c */
void lk_link_subscribed(lk_link *link, int64_t now_ms);
void lk_link_meet_more(lk_link *link, int64_t now_ms); /* it has got partitions, and is UP */
void lk_link_take_assertion(lk_link *link, unsigned partition, const lk_reply *reply, int64_t now_ms);
/* The server counts its revocations anew: its data set was lost, or replaced in place. From now on it counts as another
 * server. heard_all: every message of the data set before has come. Not if it is being met already. */
void lk_link_forgot(lk_link *link, int64_t now_ms, bool heard_all);
/* The partition's numbers are about to be forgotten. */
void lk_link_note_most(lk_link *link, unsigned partition);
/* The server's first beat came back, and so did all messages of the data set before. Messages that came after the list
 * was made name what is not in it. Or: the log did not have what is missing, so it may be another data set's. Or: in a
 * cluster, a slot moved when its server was to be told. True: there is something to tell; the server is told, and
 * another beat is sent. */
bool lk_link_tell_heard(lk_link *link, int64_t now_ms);
/* A beat came back, and nothing is missing: so what this instance made before the beat has been announced. True:
 * something was not, so it is not in this data set; the server is told, and another beat is sent. */
bool lk_link_tell_unheard(lk_link *link, int64_t now_ms);
/* Tells the server, which is UP, what is in link->assertion; the beat that is out is of no use then. listed_ms: what
 * was made before then is in the list; 0: the list holds cut-offs. */
void lk_link_tell(lk_link *link, size_t count, int64_t listed_ms, int64_t now_ms);
void lk_link_assert(lk_link *link, int64_t now_ms); /* sends the rest of link->assertion; then the link is UP */

/* link_beat.c */
void lk_link_send_beat(lk_link *link, int64_t now_ms, int64_t now_us);
void lk_link_complete_beat(lk_link *link, int64_t now_ms); /* confirms the lease if nothing is missing any more */
bool lk_link_await_vouch(lk_link *link, int64_t now_ms);   /* the beat came back, and only that is missing */
bool lk_link_counts(const lk_link *link,
                    unsigned partition); /* the beat that is out gives it a lease, if it does any */
/* false: the reply belongs to another part */
bool lk_link_take_beat(lk_link *link, const lk_reply *reply, int64_t now_us);
int64_t lk_link_beat_end(const lk_link *link);

void lk_link_answered(lk_link *link, int64_t now_ms); /* one answer less is awaited */
bool lk_link_send_rest(lk_link *link);                /* of the beat, behind the numbers */

/* link_numbers.c */
bool lk_link_send_numbers(lk_link *link);
void lk_link_take_numbers(lk_link *link, const lk_reply *reply, int64_t now_ms);
void lk_link_take_cutoff_keys(lk_link *link, const lk_reply *reply, int64_t now_ms);
/* What the beat read of one partition. lk_link_take_number: false: Redis lost its count. lk_link_take_cutoff:
 * `stranger`: what lies there, or may, is no text. */
bool lk_link_take_number(lk_link *link, unsigned partition, const lk_reply *item);
void lk_link_take_cutoff(lk_link *link, unsigned partition, const lk_reply *item, bool stranger);
/* All that the announcement with that number says was applied. */
void lk_link_note_applied(lk_link *link, unsigned partition, uint64_t number);
/* The count that instances move after they made sessions or put them into L1 (redis/README.md). If it is lower than it was, the
 * data set is an older one, also if no revocation was lost with the other one. */
bool lk_link_send_witness(lk_link *link);
void lk_link_take_witness(lk_link *link, const lk_reply *reply, int64_t now_ms);
/* All of it was read. True: the beat goes on. False: there is something to tell first. */
bool lk_link_took_state(lk_link *link, bool forwards, int64_t now_ms);

/* link_cluster.c */
bool lk_link_send_shards(lk_link *link); /* subscribes */
/* While UP: to the partitions that are new; and to a channel of its own, if that one's partition has gone. */
void lk_link_subscribe_more(lk_link *link, int64_t now_ms);
bool lk_link_ask_numbers(lk_link *link); /* then the rest of the beat */
bool lk_link_send_pulse(lk_link *link, const char *stats, size_t size);
/* false: it is a message */
bool lk_link_take_shard(lk_link *link, const lk_reply *push, int64_t now_ms);
void lk_link_take_beat_part(lk_link *link, const lk_reply *reply, int64_t now_ms); /* of TAG_NUMBER and TAG_CUTOFF */
bool lk_link_disagrees(const lk_link *link); /* it is not known yet how many partitions there are */

/* link_replay.c */
void lk_link_empty(lk_link *link, lk_partitions of);
void lk_link_empty_for_another(lk_link *link, lk_partitions of);
bool lk_link_complete(lk_link *link, int64_t now_ms); /* asks the log for what is missing. True: nothing is missing */
int64_t lk_link_partition_of(const lk_link *link, const lk_reply *channel);
void lk_link_take_revocation(lk_link *link, int64_t p, const char *text, int64_t now_us);
void lk_link_take_log(lk_link *link, uint32_t p, const lk_reply *reply, int64_t now_ms);

/* link_jobs.c */
void lk_link_start_jobs(lk_link *link, int64_t now_ms, int64_t now_us);
void lk_link_take_job(lk_link *link, unsigned place, const lk_reply *reply, int64_t now_ms);
bool lk_link_keep(lk_link *link, int which, lk_reply *reply);

#endif

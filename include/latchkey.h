/* SPDX-License-Identifier: MIT
 *
 * latchkey - is this session valid, and whose is it? Answered from the process's own memory.
 *
 *     validate --> L1 (this process) --hit--> entry, in tens of nanoseconds
 *                   | miss
 *                   v
 *                  L2 (Redis, the source of truth): one pipelined round trip --> fill L1
 *
 *     revoke ----> L2: delete, count, log, publish, in one script --> every instance purges its L1
 *
 * GUARANTEES
 *   A  Fail closed.      Only LATCHKEY_OK (0) admits a request. Losing Redis gives LATCHKEY_UNAVAILABLE,
 *                        never LATCHKEY_OK and never LATCHKEY_NOT_FOUND.
 *   B  Revoked here.     Once latchkey_revoke returned OK or PENDING on a handle, no validate on that handle
 *                        that starts later admits the session.
 *   C  Revoked there.    A validate that starts more than staleness_ms (+ grace_ms, + a tick of 10 ms) after a
 *                        revoke returned OK anywhere does not admit the session. L1 answers only while a lease
 *                        holds. A beat renews the lease, as of when the beat was sent, only once
 *                        (1) its nonce has come back through the subscription,
 *                        (2) the numbers of the last revocations were compared, and every gap was replayed from
 *                            Redis' log of revocations (or L1 was emptied, if the log is too short),
 *                        (3) `durability` replicas have acknowledged.
 *                        An answer of Redis counts only under the same lease. After a restart of the server, or when
 *                        it is another server (run id or replication id), every instance first repeats to it the
 *                        revocations that it made or received in the last five minutes, and the last
 *                        latchkey_revoke_everyone, however old. Only then does it serve from that server.
 *                        (Conditions, and what is not covered: include/guarantees.md.)
 *   D  No resurrection.  A read of L2 that began before a purge never fills L1 after it. Touch, set_fields
 *                        and rotate never bring a deleted session back, and never leave a key without an expiry.
 *   E  Exact identity.   A hit means that the whole token matched, its secret part compared in constant time.
 *                        A hash places an entry. It never decides which session a token means.
 *   F  No token at rest. Nothing in Redis, in logs, metrics or error texts can be used as a token.
 *   G  Bounded.          Every call returns within its deadline (`deadline_ms`; each call says how it counts).
 *                        L1's memory is taken at open and never grows. Every queue has a limit.
 *   H  Expiry.           Nothing is admitted past its idle or its absolute expiry. Redis' clock decides. This
 *                        machine only measures durations, by its monotonic clock.
 *   I  Answered by what was asked. A connection whose reply did not come in time is closed, so a late reply
 *                        never answers another request. A record names the session that it belongs to.
 *   J  Nothing leaks across fork. In a child, every call on a parent's handle answers LATCHKEY_FORKED. L1 reads
 *                        as zeros, and nothing is written to the parent's connections.
 *
 * WORDS       L1: the sessions in this process's memory. L2: Redis.
 *             A handle: what latchkey_open gives. An instance: a process with a handle.
 *             The link: the handle's background thread (in a cluster one for each primary, and one that asks for the map of
 *             slots). It receives revocations and purges them from L1.
 *             A beat: a message that the link sends to itself through Redis, every staleness_ms/4 (in an idle process every
 *             staleness_ms/2). The lease: the time for which a beat lets L1 answer.
 *             The selector: the first 20 characters of a token. It names the session and is no secret.
 *             A grace is one of two times. That of latchkey_rotate: how long an exchanged token stays valid. That of the option
 *             grace_ms: how much longer L1 answers while Redis is away.
 *             A partition: a share of the users, with all their sessions, that is in one slot of a cluster.
 * STATUS      0 admits. Above 0 the answer is "no". Below 0 there was no answer.
 * THREADS     Every function may be called from any thread at any time, except latchkey_close and latchkey_queue_close: each
 *             must be the last call on its handle, or queue (see latchkey_drain). One handle per process is enough. 64 KiB of
 *             stack are enough. Do not cancel a thread (pthread_cancel) in a call: the connection that it used would stay taken.
 * FORK        A process may fork at any time, also while its threads open handles. The fork waits, for milliseconds at
 *             most, until no thread of the process is inside state that all handles share (the log, OpenSSL, libsodium). A child
 *             opens handles of its own. One limit: no other thread of the process may be using OpenSSL for its own purposes
 *             during the fork. Otherwise OpenSSL may be locked in the child. Then latchkey_open with rediss:// answers
 *             UNAVAILABLE there and names this reason. Fork before such threads start, or exec after the fork.
 * INPUTS      No function keeps a pointer that it was given, or changes what an input points to: free it as soon as the call
 *             has returned. latchkey_set_log alone keeps its context. An input or output may be NULL only where the text says so.
 * OUTPUTS     On any status but LATCHKEY_OK the outputs are zeroed and there is nothing to free, unless the
 *             function says otherwise.
 * TEXT        Tokens are 43 characters (foreign ones, see latchkey_import, 16 to 256). They need not be NUL-terminated where
 *             a length is passed.
 */
#ifndef LATCHKEY_H
#define LATCHKEY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LATCHKEY_API __attribute__((visibility("default")))
#else
#define LATCHKEY_API
#endif

#define LATCHKEY_VERSION_MAJOR 0
#define LATCHKEY_VERSION_MINOR 1
#define LATCHKEY_VERSION_PATCH 0

/* ------------------------------------------------------------------------------------------ status -- */

#define LATCHKEY_OK 0
#define LATCHKEY_NOT_FOUND 1 /* there is no such session: revoked, idle for too long, or never made */
#define LATCHKEY_EXPIRED 2   /* the session is known and its absolute expiry has passed */
#define LATCHKEY_MALFORMED 3 /* not a token that this deployment can have made; Redis was not asked */
#define LATCHKEY_LIMIT 4     /* create: the user has max_sessions sessions, or max_per_device, and limit=deny */
#define LATCHKEY_REFUSED                                                                                               \
    5 /* create, import: the user's generation has moved since it was read, or another user's name has this id; rotate,  \
         import, create_with: done already; change_fields: a field has another version */
#define LATCHKEY_BAD_ARGUMENT                                                                                          \
    -1 /* a NULL, or a value that the function's text excludes: a bug in the caller. The log and latchkey_error_text name the argument */
#define LATCHKEY_NO_MEMORY -2
#define LATCHKEY_UNAVAILABLE -3 /* Redis did not answer in time, or answered that it cannot serve now */
#define LATCHKEY_CORRUPT -4     /* Redis holds something under this name that is not a record of this session */
#define LATCHKEY_PENDING -5     /* revoke: denied on this handle; Redis has not confirmed it, and the link retries it */
#define LATCHKEY_CONFIG -6      /* the configuration, or the server that it names, cannot be used as it is */
#define LATCHKEY_FORKED -7      /* the handle was opened by a parent process: open one in this process */
#define LATCHKEY_AGAIN -8       /* try_validate: L1 cannot tell; latchkey_validate or latchkey_submit can */

/* The same as an enum, for debuggers, bindings and switches that must be complete. Functions return int. */
enum latchkey_status {
    LATCHKEY_STATUS_OK = LATCHKEY_OK,
    LATCHKEY_STATUS_NOT_FOUND = LATCHKEY_NOT_FOUND,
    LATCHKEY_STATUS_EXPIRED = LATCHKEY_EXPIRED,
    LATCHKEY_STATUS_MALFORMED = LATCHKEY_MALFORMED,
    LATCHKEY_STATUS_LIMIT = LATCHKEY_LIMIT,
    LATCHKEY_STATUS_REFUSED = LATCHKEY_REFUSED,
    LATCHKEY_STATUS_BAD_ARGUMENT = LATCHKEY_BAD_ARGUMENT,
    LATCHKEY_STATUS_NO_MEMORY = LATCHKEY_NO_MEMORY,
    LATCHKEY_STATUS_UNAVAILABLE = LATCHKEY_UNAVAILABLE,
    LATCHKEY_STATUS_CORRUPT = LATCHKEY_CORRUPT,
    LATCHKEY_STATUS_PENDING = LATCHKEY_PENDING,
    LATCHKEY_STATUS_CONFIG = LATCHKEY_CONFIG,
    LATCHKEY_STATUS_FORKED = LATCHKEY_FORKED,
    LATCHKEY_STATUS_AGAIN = LATCHKEY_AGAIN
};

/* The name and meaning of a status in one line, for example "NOT_FOUND: there is no such session". The text is static and
 * never NULL, also for a number that is not a status. Does not block. */
LATCHKEY_API const char *latchkey_status_text(int status);

/* ------------------------------------------------------------------------------------------- types -- */

#define LATCHKEY_TOKEN_LENGTH 43    /* characters of a token, without the NUL */
#define LATCHKEY_TOKEN_SIZE 44      /* the same with the NUL: the size of the arrays that receive one */
#define LATCHKEY_SELECTOR_LENGTH 20 /* token[0..20) names the session in Redis and in logs; it is no secret */
#define LATCHKEY_ENTRY_SIZE 120     /* sizeof(latchkey_entry) */

/* The high half of latchkey_entry.flags is set by the library. The low half is yours. */
#define LATCHKEY_FLAGS_YOURS 0x0000ffffu
#define LATCHKEY_FLAG_STALE 0x80000000u /* L1 answered without a lease: Redis is away, and grace_ms allows it */
#define LATCHKEY_FLAG_RENEW 0x40000000u /* this token is older than renew_ms: exchange it, and send the new one */

/* The constants as functions, for bindings that cannot read a header. */
LATCHKEY_API const char *latchkey_version(void); /* "0.1.0" */
LATCHKEY_API size_t latchkey_token_size(void);
LATCHKEY_API size_t latchkey_entry_size(void);
LATCHKEY_API size_t latchkey_stats_size(void);
LATCHKEY_API size_t latchkey_draft_size(void);
LATCHKEY_API size_t latchkey_field_size(void);
LATCHKEY_API size_t latchkey_request_size(void);
LATCHKEY_API size_t latchkey_result_size(void);
LATCHKEY_API uint32_t latchkey_flags_yours(void);
LATCHKEY_API uint32_t latchkey_flag_stale(void);
LATCHKEY_API uint32_t latchkey_flag_renew(void);

typedef struct latchkey latchkey; /* one per process, shared by its threads */
typedef struct latchkey_record latchkey_record;

/* What a validation answers. 120 bytes, frozen; all times are Unix times in milliseconds by the clock of Redis. */
typedef struct latchkey_entry {
    uint64_t user_id;
    char role[16];                /* padded with NULs; a role of 16 bytes has no NUL */
    int64_t expires_at_ms;        /* the absolute expiry; only Redis knows the idle expiry */
    uint8_t permissions_hash[32]; /* from the draft: the application decides what it means */
    uint8_t pq_key_hash[32];      /* see latchkey_key_hash; zero if the session has no key material */
    int64_t created_at_ms;
    int64_t auth_at_ms; /* when the user last proved who they are: at create, or set by latchkey_set_access */
    uint32_t device;    /* from the draft: a class of device */
    uint32_t flags;     /* low 16 bits the application's, high 16 bits the library's */
} latchkey_entry;

/* A named value that is kept with the session in Redis, and never in L1. Fields whose names start with "pq." are key material:
 * the client's public keys and signatures, for example "pq.mlkem768", "pq.mldsa44", "pq.slhdsa", "pq.attestation". All other
 * fields are the application's.
 * A name is 2 to 64 characters of [A-Za-z0-9._:-]. A value is at most 64 KiB; its data is not NULL, also if it has 0 bytes. A
 * session has at most 256 fields, of which at most 64 are key material. */
typedef struct latchkey_field {
    const char *name;
    const void *data;
    size_t size;
} latchkey_field;

/* The data of a new session. Zero it, set `size`, fill in the rest.
 * Every struct that begins with `size` may grow at its end. A shorter one, from a program that was built with an older header,
 * is read as if zeros followed. In a longer one, the part that this library does not know must be zeros; otherwise the call is
 * BAD_ARGUMENT. */
typedef struct latchkey_draft {
    size_t size;      /* sizeof(latchkey_draft) */
    uint64_t user_id; /* any number; 0 is a user like any other */
    const char *role; /* a string of at most 16 bytes; NULL is "" */
    uint8_t permissions_hash[32];
    uint32_t device;     /* any number */
    uint32_t flags;      /* only LATCHKEY_FLAGS_YOURS */
    int64_t idle_ms;     /* 1 to 315360000000 (ten years); 0: the handle's idle_ms */
    int64_t lifetime_ms; /* the same; 0: the handle's lifetime_ms */
    uint64_t generation; /* 0: not checked; else what latchkey_user_generation gave */
    const latchkey_field *fields;
    size_t field_count;
    /* For users that have names (UUIDs, addresses, ObjectIds) and no numbers: the name, of user_name_size bytes. Else NULL and 0.
     * With a name, user_id is latchkey_user_id of it, or 0, which means the same. A login whose name differs from the one that
     * Redis knows for this id is REFUSED. */
    const void *user_name;
    size_t user_name_size;
} latchkey_draft;

/* The user id of a name. It is BLAKE2b with a digest of 8 bytes and no key, read as a little-endian number, and 1 in place of
 * 0. Every language can compute it, and it never changes. For a name of 0 bytes, or NULL, it is 0, which is the id of no name.
 * Two names may have the same id. By chance this happens, with a million users, in one of 37 million deployments. An attacker who
 * can choose names finds two such names after 2^32 tries. So give the name in draft.user_name as well. Redis then keeps
 * a hash of the name (BLAKE2b-256) beside the user's sessions, for as long as the last of those that were made with the name may
 * live. If another name with the same id logs in, that login is REFUSED, and logged as an error.
 * Does not block. */
LATCHKEY_API uint64_t latchkey_user_id(const void *name, size_t size);

/* --------------------------------------------------------------------------------------------- the log -- */

/* Levels. The numbers are those of syslog: smaller is graver. */
#define LATCHKEY_LOG_ERROR 3   /* a guarantee does not hold now, or nothing works until a person acts */
#define LATCHKEY_LOG_WARNING 4 /* one more fault would break a guarantee; or service is impaired */
#define LATCHKEY_LOG_NOTICE 5  /* something works again, or could not be checked */
#define LATCHKEY_LOG_INFO 6    /* events, if events=1 is set; and arguments that were refused */

/* The log function, which you write. `text` is one line of printable ASCII, without a line end, at most 639 characters, valid
 * during the call. It begins with the name of its subject and a colon:
 *   setting NAME: ...   a setting of the server weakens a guarantee: which one, how, and what to set instead.
 *                       src/redis/README.md lists the names. It is logged before open returns. It is logged again when
 *                       another server, or the same server after a restart, is reached and the finding has changed
 *   redis: ...          the Redis user lacks a right, or the server lacks a command; logged once, as an error, with its name
 *   link: ...           Redis cannot be used, and why; or it can be used again, and after how long
 *   lease: ...          the lease lapsed although the connection held: this process, or its machine, was stopped
 *   l1: ...             messages of revocations were lost, or Redis lost count of them; and whether L1 was emptied
 *   records: ...        a record in Redis is damaged, or is not a record of this library
 *   seal: ...           every user of the machine can read or write seal_key_file; logged by open
 *   tls: ...            a certificate has expired; or a file of TLS has changed, and whether the new one can be used
 *   password_file: ...  the file cannot be read again, and the last known password is used; or it can be read again
 *   close: ...          latchkey_close gave up revocations that Redis had not confirmed
 *   users: ...          two names have one user id; the second was refused
 *   rotation: ...       an old token was used after its grace, and its session was ended: a theft, or a lost answer
 *   argument: ...       a call was BAD_ARGUMENT, and because of which argument; each at most once in ten seconds, level INFO
 *   audit: ...          L1 answered for longer than the bound with something that Redis does not hold; only with audit_per_s
 *   event: ...          the audit trail, only with events=1; see below
 * A state is logged once, not at each attempt. Over time, a handle logs at most one line in 10 seconds (in a cluster one for
 * each primary), and as many "audit:" lines again. Events are not limited, because a trail must be complete. No line holds a
 * token or a password. A line may hold a selector (F).
 * The links' threads call the function. For "rotation:" and "event:", the thread whose call caused the line calls it; if a
 * request of a queue caused the line, a thread of the handle does. During latchkey_open, the thread that called latchkey_open
 * calls the function, and the link's thread does not. So a function that waits for that thread (for an interpreter's lock, say)
 * cannot cause a deadlock. Several threads may call it at once. While the link's thread is in it, the lease keeps ageing: return
 * quickly. In the function, do not call any latchkey_ function on a handle, and take no lock under which another thread closes a
 * handle. If you cannot keep to this, use latchkey_log_read. */
typedef void (*latchkey_log)(void *context, int level, const char *text);

/* EVENTS. With events=1 each event is one line at LATCHKEY_LOG_INFO. The instance that caused it logs it once, after Redis has
 * confirmed it (with `durability`, a creation, or a revocation by latchkey_revoke: after the replicas hold it):
 *   event: created selector=S user=N device=N
 *   event: imported selector=S user=N device=N         by latchkey_import
 *   event: rotated selector=S new=S user=N grace_ms=N  the session goes on under the new selector; the old one has ended
 *   event: changed selector=S what=HOW                 keys: key material
 *                                                      access: latchkey_set_access, latchkey_set_user_access
 *   event: revoked selector=S user=N by=HOW            token: latchkey_revoke
 *                                                      selector: latchkey_revoke_selector
 *                                                      user: latchkey_revoke_user
 *                                                      limit: a later login took its place
 *                                                      reuse: an old token was used after its grace
 *                                                      everyone: all that began before; S and N are "*"
 *   event: reuse selector=S user=N                     an old token was used after its grace; the end of its session follows
 *   event: refused user=N why=HOW                      a login was refused
 *                                                      generation: the user's generation has moved
 *                                                      limit: the user has as many sessions as are allowed
 *                                                      name: another user's name has this id
 * S is a selector, 20 characters: that of the session's newest token. N is a number, or "?" if Redis does not know it any
 * more. A line holds nothing else, so no role and no field can imitate a line.
 * The lines of all instances together are the trail. In it each selector begins once (created, imported, or as a new=) and
 * ends at most once (revoked, or as the selector= of rotated).
 * A PENDING revocation is logged once, by the link's thread, when Redis has confirmed it. It is also logged if Redis had carried
 * it out and the answer was lost, unless more than four answers were lost or Redis' log no longer holds the revocation (it holds
 * the last 1,000 of a partition).
 * Not in the trail:
 *   - other calls that Redis carried out but whose answer never came (UNAVAILABLE);
 *   - a PENDING revocation, if its answer was lost together with its server or data set, and the one that follows still has the
 *     session: instances repeat recent revocations to it (guarantee C), and that ends the session first;
 *   - sessions that idle out or reach their absolute expiry. */

/* Sets the one log function of this process, for all handles. With NULL, as at the start, nothing is logged. Set it before the
 * first open. A forked child has its parent's. Any thread may set it at any time. The previous function may still be
 * running in another thread when this returns. It no longer runs once every handle that was open at that time is closed.
 * Does not block. */
LATCHKEY_API void latchkey_set_log(latchkey_log function, void *context);

/* Takes the oldest line of this handle that was not read yet. It is for programs that cannot use a callback: bindings, event loops.
 * *level (may be NULL) is its level; text is NUL-terminated, and cut to `size` bytes (at least 1; 640 hold every line). The lines are
 * those that a log function gets, whether one is set or not. Two are missing: "argument:", because it belongs to no handle
 * (latchkey_error_text gives it), and "close:", because the handle is gone by then.
 * A handle keeps its last 128 lines. If lines were lost before they were read, one line says so: "log: N lines were dropped".
 * From the first call on, the descriptor of the handle's own queue (latchkey_fd) is readable also while a line waits: then read
 * until it is NOT_FOUND.
 * Returns  OK; NOT_FOUND: no line waits, and text is ""; BAD_ARGUMENT; FORKED.
 * Does not block. */
LATCHKEY_API int latchkey_log_read(latchkey *lk, int *level, char *text, size_t size);

/* ------------------------------------------------------------------------------------ open and close -- */

/* Opens a handle: takes L1's memory, starts the link and, unless `lazy=1`, waits until the link has subscribed and holds a
 * lease. (In a cluster, after three quarters of deadline_ms, more than half of the partitions are enough.)
 *
 * config   redis://[user:password@]host[:port][/database][?option=value&...]
 *          redis://:password@host...            (the password alone, for `requirepass`)
 *          rediss://...                         (the same, over TLS)
 *          unix://[user:password@]/path/to.sock[?db=0&option=value&...]
 *          redis+sentinel://[user:password@]host[:port],host[:port].../NAME[/database][?option=value&...]
 *                                               (the primary that Redis Sentinel calls NAME; rediss+sentinel:// is the
 *                                               same over TLS. List all sentinels: see "Sentinel" in configuration.md)
 *          redis+cluster://[user:password@]host[:port],host[:port]...[?option=value&...]
 *                                               (a Redis Cluster, of which these are some nodes; rediss+cluster:// is the
 *                                               same over TLS: see "Cluster" in configuration.md)
 *          valkey:// and valkeys:// mean redis:// and rediss://. A scheme may be written in any case.
 *          %XX stands for a byte in user, password, path and values.
 *          These must be equal in every instance of a deployment: the server and the database, prefix, partitions,
 *          check_key_file, seal_key_file and foreign_until_ms. Each instance may choose the others for itself.
 * options  l1_capacity   100000    entries that L1 holds, 0 to 100,000,000; 0 switches L1 off
 *          l1_ttl_ms     300000    the longest time that an entry stays in L1 before Redis is asked for it again
 *          staleness_ms  2000      the bound of guarantee C: 100 to 60,000
 *          deadline_ms   250       the longest time that a call waits: 1 to 60,000
 *          idle_ms       1800000   a session that is not used for this long ends (what counts as use: latchkey_touch): 100 to
 *                                  315360000000, ten years; lifetime_ms has the same range
 *          lifetime_ms   43200000  a session ends this long after its creation, used or not
 *          connections   8         connections for misses and writes, beside the two of the link: 1 to 64. When all are busy,
 *                                  further calls are pipelined behind others
 *          in_flight     1024      calls that may wait for Redis at once: 1 to 65,536. One more is UNAVAILABLE at once. In each
 *                                  queue as many validations, and as many requests of other kinds, may be outstanding; they
 *                                  are counted separately
 *          prefix        lk        the beginning of every key and channel: 1 to 32 of [A-Za-z0-9._-]
 *          partitions    64        shards of the key space: 1 to 4096. The number is recorded in Redis on first use
 *          max_sessions  0         sessions of one user; 0: no limit
 *          max_per_device 0        sessions of one user with one value of draft.device; 0: no limit. create then reads the
 *                                  compact records of the user's sessions: set max_sessions too. If a user has more than 1,000,
 *                                  only 1,000 of them count: the 500 nearest their absolute expiry and the 500 farthest from it
 *          limit         evict     at either limit: `evict` the session that is nearest its idle expiry (of that device; of more
 *                                  than 1,000 sessions of a user, among the same 1,000), or `deny` the login. A login evicts at
 *                                  most 100 for each limit
 *          check_key_file          a file with a key of 32 hexadecimal digits on each line. The first key makes tokens; tokens
 *                                  of all keys are accepted. Every instance needs the same file
 *          seal_key_file           a file with a key of 64 hexadecimal digits on each line. What Redis holds of sessions is
 *                                  sealed with the first key (XChaCha20-Poly1305), and opened with any of them. A record or
 *                                  field that does not match its seal is CORRUPT. With a line `plain`, records that are not
 *                                  sealed are accepted as well. If `plain` is the first line, nothing new is sealed. See
 *                                  "Sealing" in include/configuration.md
 *          password_file           a file with the password, instead of the URL: its first line, 1 to 4,096 bytes. It is read
 *                                  again for each new connection, since the password may change. If it cannot be read
 *                                  then, or is empty, the last known password is used, and the log says so once
 *          grace_ms      0         0 to 3,600,000: how much longer L1 may answer while Redis is away, at most until the
 *                                  entry's time in L1 is up (l1_ttl_ms). Such answers carry LATCHKEY_FLAG_STALE. The bound
 *                                  of guarantee C is then staleness_ms + grace_ms
 *          durability    0         0 to 100: replicas that must hold a write before it is OK. Until they do, revoke is PENDING,
 *                                  create hands out no token, and touch and set_fields are UNAVAILABLE. With fewer
 *                                  replicas L1 has no lease. It uses WAIT in Redis: the ACL needs +wait
 *          renew_ms      0         0 (never), or 10,000 and more: answers for a token that is older than this carry
 *                                  LATCHKEY_FLAG_RENEW. It may begin up to two seconds earlier. See "RENEWAL" below
 *          events        0         1: what happens to sessions is logged. See "EVENTS" above
 *          audit_per_s   0         0 to 1000: how many of L1's entries the link compares with Redis each second, each by an
 *                                  HGET; 0: none. An entry that differs counts as a suspicion, because its revocation may be
 *                                  under way. If L1 still holds it when the bound of C has passed, it counts as a
 *                                  disagreement: guarantee C was not kept, or Redis was changed by hand. See
 *                                  latchkey_stats, and "audit:" in the log
 *          name                    a name for this instance, 1 to 32 of [A-Za-z0-9._:-], so that an operator finds it: `latchkey top`
 *                                  and `latchkey status` show it beside host and process id, and CLIENT LIST in Redis shows it
 *                                  where the Redis user has the right +client|setname
 *          lazy          0         1: open succeeds while Redis is away; calls answer UNAVAILABLE until it is there
 *          foreign_until_ms 0      the Unix time, in milliseconds and by Redis' clock, until which tokens of another store are
 *                                  accepted if their sessions were imported (latchkey_import); 0: never. The ACL needs +set.
 *                                  Every instance needs the same value. It takes 47 bytes of memory for each of
 *                                  l1_capacity's entries, and for at least 4,096
 *          sentinel_user           only with redis+sentinel://, as the next one: our user name at the sentinels
 *          sentinel_password_file  a file with the password for the sentinels, like password_file. Without it no password is
 *                                  sent to them
 *          ca_file                 only with rediss://, as the three below: certificates in PEM. One of them must vouch for
 *                                  the server's certificate; without ca_file, one of the system's. The server's certificate
 *                                  must hold the host of the URL, a name (a final dot does not count) or an address: as a
 *                                  subjectAltName, or, only if it has no subjectAltName at all, as its common name.
 *                                  TLS 1.2 or newer
 *          server_name             the name that the server's certificate must hold instead of the host
 *          cert_file, key_file     our certificate, with its chain behind it, and its key, without a passphrase; for a server
 *                                  that demands one (tls-auth-clients). One file may be both
 *                                  If ca_file, cert_file or key_file has a block that is neither a certificate nor the key,
 *                                  the file is refused, and the error names the block. When one of the three has changed,
 *                                  all are read again before the next connection is made; open connections stay. If the new
 *                                  files cannot be used, the old contents stay in use, and the log says so. check_key_file
 *                                  and seal_key_file are read only at open
 *
 * Returns  OK; BAD_ARGUMENT; CONFIG; UNAVAILABLE (no answer within deadline_ms, or no thread or descriptor is left for this
 *          process); NO_MEMORY. It is CONFIG for:
 *          an unknown option, a value out of range, a file that cannot be read; a server that is too old, is not Redis, or is a
 *          replica; a wrong password; another number of partitions; a certificate that either side refuses; TLS on only one
 *          side; a right or a command that some call needs and that is missing (the text names it).
 *          On failure *out is NULL, and `error`, if given, says what was wrong and what to do. It never holds a password.
 *          The text is cut to error_size bytes, its NUL among them. `error` and `error_size` may be NULL and 0.
 * Logs     each setting of the server that weakens a guarantee (latchkey_set_log). Such a setting does not make open fail.
 * Blocks   for at most deadline_ms, also if the name server does not answer. Before that it takes the memory of L1, which
 *          lasts a second or so for a million entries. */
LATCHKEY_API int latchkey_open(const char *config, latchkey **out, char *error, size_t error_size);

/* Checks whether latchkey_open can use this configuration: parses it, and reads the files that it names (keys, password,
 * certificates). It does not connect and does not look up any host. It is for `nginx -t` and for checks at start-up.
 * Returns  OK; CONFIG, and `error` says what was wrong and what to do, as for latchkey_open; BAD_ARGUMENT; NO_MEMORY. `error` and
 *          `size` may be NULL and 0.
 * Does not wait for Redis or for the network. */
LATCHKEY_API int latchkey_check_config(const char *config, char *error, size_t size);

/* Says why the last call of this thread failed: which argument was wrong, what Redis answered, why a login was refused.
 * `buffer` receives up to `size` bytes, NUL-terminated; 256 hold every text. It is "" if there is nothing to add to the status
 * (latchkey_status_text). `lk` is the handle of that call; NULL for latchkey_open and latchkey_check_config. After a call that did
 * not fail the text means nothing. It never holds a secret. It does not cover requests of queues, which run in other threads: see
 * `last_error` of latchkey_stats.
 * Returns  OK; BAD_ARGUMENT. Does not block. */
LATCHKEY_API int latchkey_error_text(latchkey *lk, char *buffer, size_t size);

/* Prepares the closing of a handle that threads may still be using. From now on calls that need Redis are UNAVAILABLE (hits of
 * latchkey_validate are answered as before), and submits are UNAVAILABLE. This call waits until no call that may wait for Redis is
 * under way, and until every accepted write of its queues has been done. After OK, latchkey_close is safe as soon as no thread is
 * in a call that does not wait (a hit, latchkey_try_validate, submit, reap).
 * Returns  OK; UNAVAILABLE: a call is still under way after deadline_ms: drain again; BAD_ARGUMENT; FORKED.
 * Blocks   for little more than deadline_ms. There is no way back. */
LATCHKEY_API int latchkey_drain(latchkey *lk);

/* Stops the link, closes every connection, frees everything. No other call may be running on the handle. NULL is
 * allowed. In a forked child it closes the child's copies of the descriptors, which leaves the parent's connections
 * unharmed (J). If the child has closed all descriptors itself, as a daemon does, it closes none. There it frees nothing, because at
 * the fork another thread of the parent may have been using any of it.
 * Writes that queues have accepted are carried out first; their answers are lost. Then, while Redis answers, the link ends what is
 * still to be ended there: revocations that are PENDING, and sessions of logins whose queue was closed (latchkey_queue_close). What
 * Redis has not confirmed by then is given up, and the log function is told how many; `pending` of latchkey_stats is that number
 * before the call.
 * Blocks   until the link's thread has ended, which happens at once; with any of these outstanding, for at most deadline_ms. */
LATCHKEY_API void latchkey_close(latchkey *lk);

/* --------------------------------------------------------------------------------- the life of a session -- */

/* Makes a session and its token. The token is random, made here, and handed out only after Redis holds the session.
 * The session is then in this handle's L1: its first request here is a hit, and asks Redis nothing.
 * draft->fields are stored in Redis. Fields whose names start with "pq." are bound to the entry by pq_key_hash.
 * Returns  OK; LIMIT; REFUSED; BAD_ARGUMENT; UNAVAILABLE; CORRUPT; NO_MEMORY; FORKED. Unless it is OK, no token is
 *          given out. After UNAVAILABLE Redis may hold a session whose token nobody has. The library tries to end it; otherwise it
 *          stays until it idles out.
 * Blocks   for at most deadline_ms, plus the time to hash, seal and copy large fields: up to 5 ms for each MiB (a session can
 *          have at most 16 MiB). Guarantees F, G. */
LATCHKEY_API int latchkey_create(latchkey *lk, const latchkey_draft *draft, char token[LATCHKEY_TOKEN_SIZE]);

/* Makes a token for a session of this user that does not exist yet, for frameworks that need the id first. Redis is not asked.
 * Every function answers NOT_FOUND for this token until latchkey_create_with has made its session. Another instance to which it was
 * shown before may go on answering so until it has received the message of that: for milliseconds, and within staleness_ms if the
 * message is lost. Revoking this token before that ends nothing, and its session can still be made.
 * user_id is that of the draft; for a user who has a name, latchkey_user_id of the name.
 * Returns  OK; BAD_ARGUMENT; FORKED. On failure token is zeros.
 * Does not block. */
LATCHKEY_API int latchkey_token_new(latchkey *lk, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE]);

/* Makes a session as latchkey_create does, with a token of latchkey_token_new for the draft's user. Never pass on a token that came
 * from a client: an attacker may know it.
 * If it is UNAVAILABLE, call it again with the same token. If it is then REFUSED, validate the token: the first call may have
 * made the session.
 * Other instances get a message of it, as of a revocation (latchkey_create sends none).
 * Returns  as latchkey_create; REFUSED also where a session of this token exists, or was ended lately (the last 1,000 messages
 *          of its partition are known); MALFORMED (not a token that this deployment made); BAD_ARGUMENT also for a token that was
 *          made for another user.
 * Blocks   as latchkey_create. Guarantees D, F, G. */
LATCHKEY_API int latchkey_create_with(latchkey *lk, const latchkey_draft *draft, const char *token, size_t token_len);

/* Is this session valid, and whose is it? L1 answers. On a miss the calling thread asks Redis itself; equal
 * misses in flight share one read. Using a session keeps it alive (see latchkey_touch).
 * A token that Redis refused, or that was revoked on this handle, is refused for 5 seconds without asking Redis again. (Tokens are
 * never reused. At most 4,096 are remembered, outside L1.) When an entry is hit near the end of its time in L1, the link reads it
 * again. So a session in steady use is always a hit.
 * Returns  OK, and the entry; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   not at all on a hit; on a miss for at most deadline_ms. Guarantees A to J. */
LATCHKEY_API int latchkey_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry);

/* Validates for a sensitive request, such as a payment or a change of password. L1 answers only if the lease was confirmed at
 * most max_age_ms ago; else Redis is asked. With max_age_ms 0, Redis is always asked (but for tokens that are known to be dead). So a
 * session that was revoked anywhere more than max_age_ms (plus 10 ms) before the call started is not admitted, whatever
 * staleness_ms is.
 * As always, an answer of Redis counts only under the lease: that a server is no longer the primary is noticed within staleness_ms.
 * While Redis is away the status is UNAVAILABLE, also if grace_ms is set. This call costs a round trip to Redis where
 * latchkey_validate needs none.
 * Returns  as latchkey_validate; BAD_ARGUMENT also for a max_age_ms below 0.
 * Blocks   for at most deadline_ms. Guarantees A to I. */
LATCHKEY_API int latchkey_validate_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms,
                                         latchkey_entry *entry);

/* Validates from L1 alone. AGAIN means that only latchkey_validate or latchkey_submit can tell.
 * Returns  OK; MALFORMED; NOT_FOUND; EXPIRED; BAD_ARGUMENT; FORKED; AGAIN.
 * Never waits for Redis, so it may run on an event loop. Guarantees A to E, H. */
LATCHKEY_API int latchkey_try_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry);

/* Validates `count` tokens at once from L1 alone, for gateways that hold many requests. Their reads of memory overlap, so a
 * token costs a fraction of what it costs alone once L1 is larger than the caches. tokens[i] has token_lens[i] characters.
 * statuses[i] and entries[i] (zeros unless the status is OK) are what latchkey_try_validate would answer. A NULL token is
 * BAD_ARGUMENT. The tokens may be equal.
 * Returns  OK: every status is set; BAD_ARGUMENT: an array is NULL, and nothing is set; FORKED: every status is FORKED too.
 * Never waits for Redis. Guarantees A to E, H. */
LATCHKEY_API int latchkey_try_validate_many(latchkey *lk, const char *const *tokens, const size_t *token_lens,
                                            size_t count, latchkey_entry *entries, int *statuses);

/* Records that the session was used now. That moves its idle expiry, never past the absolute one. latchkey_validate does this by
 * itself, in the background. Call touch only for use without a validation.
 * Touches are coalesced: an instance tells Redis of a session's use at most once per twelfth of its idle_ms. In between it
 * answers from memory. So a session ends between eleven twelfths of idle_ms and idle_ms after its last use.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees D, G. */
LATCHKEY_API int latchkey_touch(latchkey *lk, const char *token, size_t token_len);

/* Ends the session. One script in Redis deletes it, and counts, logs and publishes the revocation. This handle's L1 is purged
 * of it before the script and after it. The whole token must match.
 * Returns  OK; NOT_FOUND (there was nothing to end);
 *          PENDING (Redis did not confirm. This handle denies the session from now on. The revocation is retried in the
 *          background until Redis confirms it or the handle is closed);
 *          UNAVAILABLE (Redis did not confirm, and 4,096 revocations are pending already: nothing is promised);
 *          MALFORMED; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B, C, G. */
LATCHKEY_API int latchkey_revoke(latchkey *lk, const char *token, size_t token_len);

/* RENEWAL ON A SET AGE, with the option renew_ms. The library sets no cookies. Instead, an answer (of validate, try_validate, reap
 * or load) for a token that is older than renew_ms carries LATCHKEY_FLAG_RENEW in entry.flags. Then call latchkey_rotate with a
 * grace (300,000, say) and send the new token with the response. If several requests do so at once, one succeeds. The others are
 * REFUSED, and simply go on: their old token is valid for the grace. An old token in its grace never carries the flag. A
 * token's age counts from when it was made, by Redis' clock. The session's age counts from created_at_ms. */

/* Exchanges the session's token for a new one. The session keeps everything else: fields, key material, its place in the
 * user's list, the absolute expiry. The exchange is a use of the session (see latchkey_touch).
 *
 * grace_ms 0   for a change of privilege: the same script revokes the old token, and every one before it.
 * grace_ms >0  for renewal on a set age. For this long (at most 3,600,000, and at most the session's idle_ms) every function
 *              accepts the old token as if it were the new one, for requests that are under way with it. Revoking either
 *              ends both.
 *              After the grace, using the old token ends the session. If the whole old token is given to a function that reads or
 *              changes the session (validate, submit, touch, load, get_fields, set_fields, change_fields, set_access, section_get,
 *              section_put, rotate), the answer is NOT_FOUND, and the session ends everywhere, its new token with it. The same
 *              happens if it is the keep_token of revoke_user: then no session is kept. That holds for as long as the session
 *              may live, for the last 64 old tokens. It is counted (latchkey_stats, `reuses`) and logged.
 *              An old token that was submitted in its grace and is reaped after it is UNAVAILABLE, and ends nothing.
 *
 * Choose a grace that is longer than a client may wait for an answer. A grace of five minutes (300000) instead of 30 seconds has
 * one cost: the old token lives that much longer. If the answer with the new token gets lost, the client goes on with the old
 * one during the grace. If it still uses the old token after the grace, that costs one new login. It is counted in `reuses`
 * like a theft, so a reuse alone is no proof of theft. (Why the old token is not simply kept until the new one is used:
 * include/sessions.md.)
 *
 * If several calls exchange one token at once, one succeeds. The others are REFUSED, or NOT_FOUND if that one gave no grace.
 * Returns  OK, and the new token;
 *          REFUSED (this token was exchanged already, and is in its grace);
 *          NOT_FOUND; EXPIRED; MALFORMED;
 *          UNAVAILABLE (Redis may have made the exchange all the same. The new token is then lost, and the session ends
 *          with the grace; without one, the library tries to end it. Try again while the old token is OK);
 *          CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 *          new_token may be the same memory as `token`. It is zeroed unless the status is OK.
 * Blocks   for at most deadline_ms. Guarantees B and C (for the old token: from the return on, or from the end of its grace
 *          on, unless Redis loses the exchange: "Outside the promise" in guarantees.md), D, E, F, G. While a revocation of this session
 *          is PENDING, only the token that was passed to it is denied. */
LATCHKEY_API int latchkey_rotate(latchkey *lk, const char *token, size_t token_len, int64_t grace_ms,
                                 char new_token[LATCHKEY_TOKEN_SIZE]);

/* ----------------------------------------------------------------------------- sessions of another store -- */

/* Imports a session of another store under its own token, so that its user is not logged out. With foreign_until_ms set, every
 * function that takes a token accepts the tokens of that store until then. A foreign token is 16 to 256 bytes, any bytes, that are
 * not a token of ours.
 *   Redis holds neither the token nor a hash of all of it (F). BLAKE2b-512 of the token gives two parts: a name (120 bits), under
 * which Redis keeps the session's selector, and a verifier (136 bits), of which Redis keeps the hash, as for our own tokens.
 * Both must match (E). A foreign token is only as safe as it is random: an attacker who reads Redis can test guesses.
 *   Each process asks Redis once which session a foreign token means, by a GET before the first answer, and remembers it. From
 * then on the token costs as much as one of our own tokens, plus a hash of its bytes. If its session was not imported, the token is
 * NOT_FOUND. That is not remembered, so a flood of such tokens costs a GET each (latchkey_stats, `foreign_unknown`), at most
 * in_flight at a time: set foreign_until_ms no later than the import needs. latchkey_try_validate answers AGAIN until this process
 * knows the session. While Redis is away, latchkey_revoke of a token that this process does not know yet is UNAVAILABLE, and promises
 * nothing.
 *   Answers for a foreign token carry LATCHKEY_FLAG_RENEW: call latchkey_rotate with it, and send the new token to the client. The
 * foreign one is then an old token like any other. (It still carries the flag until its grace is over. latchkey_rotate then answers
 * REFUSED, and there is nothing to do.) A foreign token that was not exchanged by foreign_until_ms is MALFORMED from then on,
 * and Redis is not asked. That does not end the session: until it ends, a client that knows the foreign token could compute the
 * token of ours that it stands for.
 *
 * latchkey_import makes the session that `foreign` means, from the draft, as latchkey_create does, except for these:
 *   created_at_ms   when it was created and authenticated; 0, or a time in the future, means now.
 *   expires_at_ms   when it ends, whatever lifetime_ms is; at most ten years from now. 0: after the draft's lifetime_ms, or the
 *                   handle's, from now. The draft may have a lifetime_ms only if expires_at_ms is 0.
 *   idle time       begins now.
 *   limits          max_sessions and max_per_device are not applied, so that no user is logged out. The next create applies them.
 * Importing a foreign token a second time changes nothing: run the import as often as you like, until foreign_until_ms. Until then
 * Redis remembers which tokens were imported, so a session that has ended is not brought back, whatever its expiry was.
 * To allow more time, set a later foreign_until_ms before the earlier one has passed, and run the import once more before it
 * passes: the imported tokens are then remembered until the later time. After foreign_until_ms has passed, nothing of this import is
 * remembered: do not set a new time for the same old store.
 * Returns  OK;
 *          REFUSED (the token was imported already, and its session is not brought back if it has ended since; or the generation
 *          has moved; or another user's name has this id; or, by Redis' clock, created_at_ms is before latchkey_revoke_everyone);
 *          EXPIRED (expires_at_ms is past);
 *          MALFORMED (not 16 to 256 bytes; one of our own tokens; foreign_until_ms is past);
 *          CONFIG (foreign_until_ms is not set);
 *          UNAVAILABLE (call it again: it goes on where it stopped. Until it is OK or REFUSED, the token is valid only in the
 *          old store, and to end the session you have to end it there);
 *          CORRUPT; BAD_ARGUMENT (also for a time below 0, and for a created_at_ms after expires_at_ms); NO_MEMORY; FORKED.
 * Blocks   as latchkey_create: four round trips. Guarantees D, E, F, G. */
LATCHKEY_API int latchkey_import(latchkey *lk, const char *foreign, size_t foreign_len, const latchkey_draft *draft,
                                 int64_t created_at_ms, int64_t expires_at_ms);

/* --------------------------------------------------------------------------------------- a user's sessions -- */

/* Reads the user's generation, for a login that takes several steps. Read it before the first step, and put it into
 * draft.generation. latchkey_revoke_user increases it, and latchkey_revoke_everyone increases it for every user. Then create
 * answers REFUSED, so a login that began with the old password does not succeed. The number is never 0, and has no other use.
 * Redis keeps it for 30 days after it last changed, which is longer than any login may take.
 * Returns  OK; UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. */
LATCHKEY_API int latchkey_user_generation(latchkey *lk, uint64_t user_id, uint64_t *generation);

/* Ends all sessions of a user. With keep_token (else NULL and 0) it ends all but that one: "log out everywhere else", after
 * a change of password, say. A keep_token that is not a live session of this user keeps nothing. The same script increases the
 * user's generation. One script deletes about 1,000 keys, at one moment: 1,000 sessions, or fewer if they have old tokens or
 * sections. If there are more, further scripts run; they do not end sessions that were made after the first script. Then the call
 * waits for the link's next beat, so that OK also covers sessions that other instances ended a moment ago. *revoked (may be NULL)
 * is how many were ended, also when the status is not OK.
 * Returns  OK: all of it is done, and guarantees B and C hold for each of them;
 *          UNAVAILABLE: some may have been ended, and nothing is promised. Unlike latchkey_revoke it cannot deny the sessions
 *          beforehand, because only Redis knows which sessions the user has. It is not retried in the background: call it
 *          again until it is OK;
 *          MALFORMED (keep_token; nothing was done); CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms, over all of them. Guarantees B, C, D, G. */
LATCHKEY_API int latchkey_revoke_user(latchkey *lk, uint64_t user_id, const char *keep_token, size_t keep_len,
                                      size_t *revoked);

/* Ends one session of a user by its selector, for example after a click in the list of latchkey_sessions. It ends the session only
 * if it is this user's, so the selector may come from the client. A damaged session is ended as well, if it is in this user's list.
 * Returns  OK; NOT_FOUND (there is no such session, or it is another user's); UNAVAILABLE (nothing is promised, and nothing
 *          is retried: call it again); MALFORMED (no session here has such a name); CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B, C, G. */
LATCHKEY_API int latchkey_revoke_selector(latchkey *lk, uint64_t user_id,
                                          const char selector[LATCHKEY_SELECTOR_LENGTH]);

/* Ends all sessions of all users, on every instance, old tokens of rotations included. It is for emergencies.
 * No session is enumerated. One script for each partition stores a cut-off time, and sessions that were made up to that time are
 * over. So it takes as long for ten million sessions as for ten, and it works when Redis is full.
 * With thousands of partitions the default deadline_ms may be too short for all of those scripts. Then it is UNAVAILABLE however
 * often it is called, and the last partitions keep their sessions: use a handle with a longer deadline_ms, or the command.
 * Every user's generation increases, so a login that began before cannot finish (latchkey_user_generation). Later logins are
 * not affected; their limits and lists start empty. The keys stay in Redis until they expire. L1 of every instance is emptied:
 * for a while every request asks Redis. The call waits for the link's next beat, so that OK holds on this handle as well.
 * A server may come back without the cut-off: restored from an old snapshot, a replica promoted too early, FLUSHALL. Then every
 * instance that knows the cut-off repeats it to the server before it serves from there, however long ago it was. That ends all
 * sessions that the server has at that moment.
 * Redis keeps a key of a few bytes for each partition, `<prefix>:{p}:e`, for good. If this key holds anything else, the
 * partition's sessions are CORRUPT, because it is not known which of them are over. Calling this function replaces it.
 * Returns  OK: every partition confirmed it, and with `durability` that many replicas did. Guarantees B and C hold for every
 *          session that was made before the call;
 *          UNAVAILABLE: some may have been ended, and nothing is promised. It is not retried in the background: call it again
 *          until it is OK. That also ends sessions that were made since the first call;
 *          CORRUPT; BAD_ARGUMENT; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B, C, D, G. */
LATCHKEY_API int latchkey_revoke_everyone(latchkey *lk);

/* One of a user's sessions. 80 bytes, frozen. Times are as in latchkey_entry. */
typedef struct latchkey_session_info {
    char selector[24]; /* 20 characters and NULs; "" where there is none */
    int64_t created_at_ms, auth_at_ms;
    int64_t active_at_ms;       /* last used, to a twelfth of its idle_ms (see latchkey_touch) */
    int64_t idle_expires_at_ms; /* when it ends if it is not used */
    int64_t expires_at_ms;      /* the absolute expiry */
    uint32_t device, flags;     /* as in the draft */
    uint32_t current;           /* 1: the session of current_token, else 0 */
    uint32_t reserved;          /* 0 */
} latchkey_session_info;
/* sizeof(latchkey_session_info), for bindings. */
LATCHKEY_API size_t latchkey_session_info_size(void);

#define LATCHKEY_SESSIONS_MAX 1000 /* at most so many are listed */
/* LATCHKEY_SESSIONS_MAX, for bindings. */
LATCHKEY_API size_t latchkey_sessions_max(void);

/* Lists the live sessions of a user, the last used first. It is for a page of "your devices". *total is how many there are. At most
 * `max` and LATCHKEY_SESSIONS_MAX of them are put into sessions[]; the rest of sessions[] is zeros. If there are more, those that
 * idle out last are listed. With max 0 they are only counted. current_token, if given (else NULL and 0), marks the session of the
 * request.
 * Up to 1,000 sessions are listed as they are at one moment. Of more, Redis is asked in parts of 1,000, so that it serves others in
 * between. Then a session that is made or ends meanwhile may be counted or not. Every other session is counted once, except if it
 * has the same absolute expiry, to the millisecond, as another one, and tokens of both are exchanged meanwhile.
 * For a user with tens of thousands the default deadline_ms may be too short for all parts: then the answer is UNAVAILABLE.
 * Returns  OK; UNAVAILABLE; MALFORMED (current_token); CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED. A single damaged session
 *          is left out, and counted as corrupt; `latchkey list` shows it.
 * Blocks   for at most deadline_ms. Guarantees A, G. The list holds no token, and no token can be made of it (F). */
LATCHKEY_API int latchkey_sessions(latchkey *lk, uint64_t user_id, const char *current_token, size_t current_len,
                                   latchkey_session_info *sessions, size_t max, size_t *total);

/* ------------------------------------------------------------------------------------------ event loops -- */

/* For servers that must not wait. First call latchkey_try_validate; if it answers AGAIN, submit, and go on.
 *
 *     fd = latchkey_fd(lk)            once, registered with the event loop for reading
 *     latchkey_submit(lk, ..., tag)   for each token that try_validate could not tell
 *     when fd is readable:            latchkey_reap, until it returns less than `max`
 *
 * There is no callback, and no thread of the library takes part in a validation. submit writes to a connection that belongs to
 * the queue. reap reads from it. The descriptor (an epoll) is readable while reap has something to do: bytes to read, answers to
 * give, or a deadline that has passed. So a loop that stops calling reap stops only its own answers. The descriptor may be readable
 * before an answer is complete: then reap returns 0.
 * latchkey_touch is not needed, because validating is a use of the session.
 *
 * These three functions are the short form, for validations. "Queues" below is the full form: also writes and reads of whole
 * records without waiting, and a queue for each event loop of the process. */

/* The descriptor of the handle's own queue (latchkey_queue_own), readable when there is something to reap. It belongs to the handle,
 * serves all its threads, and lives as long as the handle: do not read from it, and do not close it.
 * Returns  the descriptor, or a status below 0: BAD_ARGUMENT; UNAVAILABLE (no descriptor is left for it); NO_MEMORY; FORKED.
 * Does not block. */
LATCHKEY_API int latchkey_fd(latchkey *lk);

/* Asks for what latchkey_validate answers, without waiting. Equal tokens in flight share one read. Commands that are
 * submitted while others are under way are sent together.
 * Returns  OK: latchkey_reap gives exactly one answer with this tag, within deadline_ms if it is called by then (the answer may
 *          be there already). Else no answer comes: MALFORMED; UNAVAILABLE (in_flight validations of this queue are outstanding or
 *          not yet reaped; no descriptor is left; after latchkey_drain); BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Does not block. For microseconds it locks out other threads' submits and reaps of the same handle. Guarantee G. */
LATCHKEY_API int latchkey_submit(latchkey *lk, const char *token, size_t token_len, uint64_t tag);

/* An answer. `status` is one that latchkey_validate returns. The entry is zeros unless it is OK. 136 bytes, frozen. */
typedef struct latchkey_answer {
    uint64_t tag;
    int status;
    latchkey_entry entry;
} latchkey_answer;
/* sizeof(latchkey_answer), for bindings. */
LATCHKEY_API size_t latchkey_answer_size(void);

/* Submits a sensitive request: see latchkey_validate_fresh. The age counts up to this call. If L1 does not answer, Redis is asked
 * after this call. BAD_ARGUMENT also for a max_age_ms below 0. */
LATCHKEY_API int latchkey_submit_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms,
                                       uint64_t tag);

/* Takes up to `max` answers of validations, in any order, and returns how many. (Answers of other kinds, which only
 * latchkey_queue_submit asks for, wait for latchkey_queue_reap.) It returns 0 also if lk or answers is NULL, and in a forked
 * child. Requests that are outstanding when the handle is closed are never answered. Submitted tokens stay in memory, kept out of
 * core dumps, until they are answered.
 * Does not block. Guarantees A to I, as of this call: if an answer became too old before it was reaped, Redis is asked again, or the
 * status is UNAVAILABLE. */
LATCHKEY_API size_t latchkey_reap(latchkey *lk, latchkey_answer *answers, size_t max);

/* ---------------------------------------------------------------------------------------------- queues -- */

/* A queue: requests go in, results come out, and no call waits. Each event loop of a process may have a queue of its own, with its own
 * descriptor. A result comes from the queue that its request was submitted to, and from no other. Each handle has a queue of its own;
 * latchkey_fd, latchkey_submit and latchkey_reap are its short form for validations.
 *
 *     q = latchkey_queue_open(lk)            once for each event loop; latchkey_queue_fd(q) is registered for reading
 *     latchkey_queue_submit(q, &request)     a request has a kind, and a tag by which you know its result
 *     when the descriptor is readable:       latchkey_queue_reap, until it returns less than `max`
 *
 * Validations are done as above, without a thread. Requests that write to Redis, or read a whole record, are done by a few threads of
 * the handle (at most 4 and at most `connections`; in a cluster 8; made when first needed, all signals blocked). Each does what the
 * blocking function of that name does, on a copy of the request. deadline_ms counts from submit. A request that waited for longer is
 * UNAVAILABLE and was not carried out; a revocation is then PENDING. */
typedef struct latchkey_queue latchkey_queue;

enum latchkey_kind { /* what a request asks for; the numbers are frozen. Beside each, what it needs: */
                     LATCHKEY_VALIDATE = 0, /* token; and, where `fresh` is not 0, max_age_ms */
                     LATCHKEY_CREATE =
                         1, /* draft; token: one of latchkey_token_new (as latchkey_create_with), or NULL */
                     LATCHKEY_REVOKE = 2,        /* token */
                     LATCHKEY_ROTATE = 3,        /* token, grace_ms */
                     LATCHKEY_TOUCH = 4,         /* token */
                     LATCHKEY_GET_FIELDS = 5,    /* token, names, count */
                     LATCHKEY_CHANGE_FIELDS = 6, /* token, changes, count */
                     LATCHKEY_SET_FIELDS = 7,    /* token, fields, count */
                     LATCHKEY_LOAD = 8,          /* token */
                     LATCHKEY_SET_ACCESS = 9,    /* token, access */
                     LATCHKEY_REVOKE_USER = 10   /* user_id; token: the one to keep, or NULL */
};

/* A request. Zero it, set `size`, `kind`, `tag` and what the kind needs; the rest is ignored. Everything that it points to is
 * copied before submit returns. */
typedef struct latchkey_request {
    size_t size; /* sizeof(latchkey_request) */
    int kind;    /* enum latchkey_kind */
    int fresh;   /* VALIDATE: not 0: as latchkey_validate_fresh */
    uint64_t tag;
    const char *token;
    size_t token_len;
    int64_t max_age_ms; /* VALIDATE, with `fresh` */
    int64_t grace_ms;   /* ROTATE */
    const latchkey_draft *draft;
    const char *const *names;
    const latchkey_field *fields;
    const struct latchkey_change *changes;
    size_t count;
    const struct latchkey_access *access;
    uint64_t user_id;
} latchkey_request;

/* A result. Fields are only ever added at the end: pass sizeof(latchkey_result) to reap. */
typedef struct latchkey_result {
    uint64_t tag;
    int kind;
    int status;                      /* one that the blocking function of this kind returns */
    latchkey_entry entry;            /* VALIDATE, CREATE, if OK: the session's; otherwise zeros */
    char token[LATCHKEY_TOKEN_SIZE]; /* CREATE, ROTATE, if OK: the new token; otherwise "" */
    uint32_t reserved;
    uint64_t count;          /* REVOKE_USER: how many sessions were ended, also when the status is not OK; else 0 */
    latchkey_record *record; /* GET_FIELDS, LOAD, if OK: free it with latchkey_record_free; otherwise NULL */
} latchkey_result;

/* Opens one more queue. A handle has at most 64, its own among them. Each has a connection of its own, made when it is first
 * needed, and memory for in_flight validations.
 * Returns  the queue, or NULL: latchkey_error_text says why (no descriptor or no memory is left, there are 64, lk is NULL, a
 *          forked child). Does not block. */
LATCHKEY_API latchkey_queue *latchkey_queue_open(latchkey *lk);

/* The handle's own queue. It lives as long as the handle, and is not closed. NULL as for latchkey_queue_open. Does not block. */
LATCHKEY_API latchkey_queue *latchkey_queue_own(latchkey *lk);

/* The descriptor that is readable when there is something to reap. It belongs to the queue: do not read from it, and do not close
 * it.
 * Returns  the descriptor, or a status below 0: BAD_ARGUMENT; FORKED. Does not block. */
LATCHKEY_API int latchkey_queue_fd(latchkey_queue *q);

/* Submits a request, without waiting for Redis.
 * Returns  OK: latchkey_queue_reap of this queue gives exactly one result with this tag, within deadline_ms if it is called by
 *          then. After OK for a REVOKE, no validate on this handle that starts later admits the session (B). It stays denied
 *          unless the result is NOT_FOUND. (One limit: a foreign token that this process does not know yet is denied
 *          only when Redis has answered which session it means.)
 *          Else no result comes: MALFORMED; UNAVAILABLE (in_flight validations of this queue, or as many requests of other kinds,
 *          are outstanding or not yet reaped; no thread is left for this process; for a REVOKE also: 4,096 revocations wait already;
 *          after latchkey_drain); BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Does not block. Guarantees A to J. */
LATCHKEY_API int latchkey_queue_submit(latchkey_queue *q, const latchkey_request *request);

/* Takes up to `max` results, in any order, and returns how many. result_size is sizeof(latchkey_result), the distance between two
 * results. It returns 0 also if q or results is NULL, for a result_size that no version of latchkey_result has, and in a
 * forked child. Tokens and fields of requests stay in memory until they are reaped, tokens outside core dumps (but for the stack of a
 * thread that is carrying a request out); then they are wiped.
 * Does not block. Guarantees A to I; validations as of this call, see latchkey_reap. */
LATCHKEY_API size_t latchkey_queue_reap(latchkey_queue *q, latchkey_result *results, size_t result_size, size_t max);

/* Closes a queue. Outstanding requests are not answered; writes that were accepted are carried out all the same. If the result of a
 * login (LATCHKEY_CREATE without a token), or of an exchange without a grace, was not reaped, its token is lost: so the link ends its
 * session. No other call may be running on this queue. Close all queues before the handle: latchkey_close closes those that are left, and
 * ends no session of such a login or exchange. They must not be used after that. NULL is allowed. For the handle's own queue this does
 * nothing. In a forked child it closes the child's copies of the descriptors, as latchkey_close does.
 * Does not block. */
LATCHKEY_API void latchkey_queue_close(latchkey_queue *q);

/* ------------------------------------------------------------------------------------ the whole record -- */

/* Reads the whole record from Redis, key material included, and checks it: it names this session, the verifier's hash
 * matches, and pq_key_hash is that of the "pq." fields. It never reads from L1 and never fills L1.
 * Returns  as latchkey_validate. *out belongs to the caller, who frees it with latchkey_record_free.
 * Blocks   for at most deadline_ms, and as long as large fields take (see latchkey_create). Guarantees A, E, H, I. */
LATCHKEY_API int latchkey_load(latchkey *lk, const char *token, size_t token_len, latchkey_record **out);

/* Reads the whole record by the session's selector alone, for administrators. A selector proves nothing: never admit a request
 * because of it. The selector of a token that was exchanged (latchkey_rotate) leads to the session too, whether its grace is over or
 * not: info->current is then 0, and info->selector is the current selector. Otherwise info->current is 1. `info` may be NULL. This
 * call is not a use of the session.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED (no session here has such a name); UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY;
 *          FORKED.
 * Blocks   for at most deadline_ms, and as long as large fields take (see latchkey_create). Guarantees A, G, H, I. */
LATCHKEY_API int latchkey_show(latchkey *lk, const char selector[LATCHKEY_SELECTOR_LENGTH], latchkey_session_info *info,
                               latchkey_record **out);

/* The functions below read a record. They do not block, and need no handle: a record stays valid after latchkey_close. Several threads
 * may read one record at once. */

/* The entry inside the record. It lives as long as the record. NULL for NULL. */
LATCHKEY_API const latchkey_entry *latchkey_record_entry(const latchkey_record *record);

/* A field's bytes inside the record, and their number. They live as long as the record. NULL, and *size 0, where there is
 * no such field. `size` may be NULL. */
LATCHKEY_API const void *latchkey_record_field(const latchkey_record *record, const char *name, size_t *size);

/* The name of the index-th field, counted from 0, in no particular order. It lives as long as the record. NULL where there is
 * no such field. */
LATCHKEY_API const char *latchkey_record_field_name(const latchkey_record *record, size_t index);

/* Wipes and frees the record. No other call may be using it. NULL is allowed. */
LATCHKEY_API void latchkey_record_free(latchkey_record *record);

/* Sets single fields, or deletes those whose data is NULL and whose size is 0: all of them or none. A change of a "pq." field changes the
 * entry's pq_key_hash, and purges the session from every L1, as a revocation does.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE (it may have been done; also if other calls kept changing the key
 *          material for the whole deadline); CORRUPT; BAD_ARGUMENT (also for no field, for a name that is there twice, and if the
 *          session would have too many); NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms, and as long as large fields take (see latchkey_create). Guarantees B (for the old entry), C, D. */
LATCHKEY_API int latchkey_set_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_field *fields,
                                     size_t field_count);

/* Reads some fields, as latchkey_load does, without transferring the rest, in one round trip. The record then holds the entry and the
 * fields that were asked for. If one of the 1 to 256 names begins with "pq.", the whole record is read and checked, because one
 * hash covers all key material.
 * Returns  as latchkey_load; BAD_ARGUMENT also for a name that no field can have.
 * Blocks   for at most deadline_ms, and as long as large fields take (see latchkey_create). Guarantees A, E, H, I. */
LATCHKEY_API int latchkey_get_fields(latchkey *lk, const char *token, size_t token_len, const char *const *names,
                                     size_t count, latchkey_record **out);

/* The version of a field in this record; 0: the field is not there, or was not asked for. The number is opaque. It is computed from
 * the bytes that Redis holds, so every write of other bytes changes it. Equal bytes may have the same version: a value
 * that was changed and changed back may count as unchanged. */
LATCHKEY_API uint64_t latchkey_record_version(const latchkey_record *record, const char *name);

/* A change of a field, which is made only if the field is still as it was read. 32 bytes, frozen. */
typedef struct latchkey_change {
    const char *name;
    const void *data; /* NULL: the field is deleted */
    size_t size;
    uint64_t version; /* latchkey_record_version of it; 0: the field is not there yet */
} latchkey_change;
/* sizeof(latchkey_change), for bindings. */
LATCHKEY_API size_t latchkey_change_size(void);

/* Sets (or deletes) single fields, all of them or none, and only if each still has the version that is given. So if several
 * callers read, change and write a field at the same time, no change is lost. If several calls with the same version run at once,
 * one is OK (provided that they write something other than what was there). The others are REFUSED: read again, and repeat the
 * change. Key material may be among the fields. (latchkey_set_fields checks no version.)
 * Returns  OK; REFUSED: one of them has another version, and nothing was changed; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE
 *          (it may have been done: read again before you repeat it); CORRUPT; BAD_ARGUMENT (as latchkey_set_fields); NO_MEMORY;
 *          FORKED.
 * Blocks   for at most deadline_ms, and as long as large fields take (see latchkey_create). Guarantees B (for the old entry), C, D. */
LATCHKEY_API int latchkey_change_fields(latchkey *lk, const char *token, size_t token_len,
                                        const latchkey_change *changes, size_t count);

/* The rights of a session that are to change. Zero it, set `size`, fill in what is to change. */
typedef struct latchkey_access {
    size_t size;                     /* sizeof(latchkey_access) */
    const char *role;                /* a string of at most 16 bytes; NULL: unchanged */
    const uint8_t *permissions_hash; /* 32 bytes; NULL: unchanged */
    uint32_t flags, flags_mask;      /* the bits of flags_mask become those of flags; only LATCHKEY_FLAGS_YOURS */
    int authenticated; /* not 0: auth_at_ms becomes now, by Redis' clock, because the user has just proved again who
                                        they are */
} latchkey_access;
/* sizeof(latchkey_access), for bindings. */
LATCHKEY_API size_t latchkey_access_size(void);

/* Changes role, permissions, flags or auth_at_ms of a session: all that is given, or nothing. The rest stays as it is. Changes that
 * other calls make at the same time are kept, unless they change the same member of the entry. The old entry is purged from every
 * L1, as by a revocation. Old tokens in their grace show the change too. For a change of privilege exchange the token as well
 * (latchkey_rotate). It works when Redis is at its maxmemory.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED;
 *          UNAVAILABLE (it may have been done, and then shows within the bound of C: call it again. If it was done, and another
 *          server takes over that lacks the change, instances end the session there. UNAVAILABLE also if other calls kept changing
 *          the record for the whole deadline);
 *          CORRUPT; BAD_ARGUMENT (also where nothing is to change, and for a bit of flags that is not in flags_mask);
 *          NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms: two round trips. Guarantees B and C (for the old entry), D. */
LATCHKEY_API int latchkey_set_access(latchkey *lk, const char *token, size_t token_len, const latchkey_access *access);

/* Changes all sessions of a user as latchkey_set_access does, for example after a change of the user's role. Up to 1,000
 * sessions change at one moment, together with those that were made or changed while the call ran. If there are more, those change
 * that existed when it was called.
 * A concurrent login stores its draft's role: update your user table first. If a login may have read the table before that and may
 * finish later, use latchkey_revoke_user, which refuses such a login. At its end this function, like latchkey_revoke_user, waits for
 * the link's next beat.
 * *changed (may be NULL) is how many sessions it had to change, also when the status is not OK.
 * A call begins at the first session, also if the call before it was UNAVAILABLE. So for a user with thousands of sessions, take a
 * handle with a longer deadline_ms: otherwise it may be UNAVAILABLE however often it is called, and the last sessions keep their
 * rights. (latchkey_revoke_user goes on where it stopped.)
 * Returns  OK: all are changed, and guarantees B and C hold for the old entry of each;
 *          UNAVAILABLE: some may be changed, and nothing is promised: call it again until it is OK;
 *          CORRUPT: as OK, except for sessions whose records cannot be read here (a newer version may have written them:
 *          latchkey_revoke_user ends them);
 *          BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms, over all of them. Guarantees B and C (for the old entries), D, G. */
LATCHKEY_API int latchkey_set_user_access(latchkey *lk, uint64_t user_id, const latchkey_access *access,
                                          size_t *changed);

/* Sections are large attributes. They are kept beside the session, and each is transferred only when it is asked for: latchkey_load
 * does not read them. A session has at most 16, each of at most 1 MiB, named as fields are. They stay with the session when its token
 * is exchanged, and end with the session. When a session idles out, its sections stay in Redis at most until its absolute expiry,
 * but no call finds them any more. */
#define LATCHKEY_SECTION_SIZE_MAX (1024 * 1024)
LATCHKEY_API size_t latchkey_section_size_max(void);

/* Writes a section whole. With data NULL and size 0 it deletes the section, whether it is there or not. (With size 0 and data that is
 * not NULL it writes a section of 0 bytes.)
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE (it may have been done);
 *          CORRUPT (also if its name in Redis holds something that is not a section: then delete the section);
 *          BAD_ARGUMENT (also for the 17th); NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms: set that long enough for the size. Guarantee D. Deleting works when Redis is at its maxmemory. */
LATCHKEY_API int latchkey_section_put(latchkey *lk, const char *token, size_t token_len, const char *section,
                                      const void *data, size_t size);

/* Reads a section into data[capacity]. If there is one, *found is 1 and *size is its size. If the session has no section
 * of that name, the status is OK and *found is 0.
 * Returns  as latchkey_load, and also:
 *          NO_MEMORY if capacity is too small: then *found is 1, *size is the size that is needed, and data is unchanged. data may
 *          be NULL if capacity is 0. (If the process has no memory left, it is NO_MEMORY with *found 0.)
 *          CORRUPT if a section was lost in Redis; FORKED.
 * Blocks   for at most deadline_ms. Guarantees A, E, H, I. */
LATCHKEY_API int latchkey_section_get(latchkey *lk, const char *token, size_t token_len, const char *section,
                                      void *data, size_t capacity, size_t *size, int *found);

/* The hash that binds key material to an entry. It is BLAKE2b-256 over every field whose name starts with "pq.", sorted by
 * name (bytewise), each as: name length (8 bytes, little-endian), name, size (8 bytes, little-endian), data. It is zero
 * if there is no such field. Other fields are ignored.
 * Returns  OK; BAD_ARGUMENT (also for a name that is there twice, and for more than 64).
 * Does not block. Needs no handle. */
LATCHKEY_API int latchkey_key_hash(const latchkey_field *fields, size_t field_count, uint8_t hash[32]);

/* Does this key material belong to this entry? For material that did not come from latchkey_load: from a file, another cache,
 * another process. The comparison takes constant time. Returns OK, or CORRUPT, or BAD_ARGUMENT. Does not block. */
LATCHKEY_API int latchkey_check_keys(const latchkey_entry *entry, const latchkey_field *fields, size_t field_count);

/* -------------------------------------------------------------------------------------------- cold start -- */

/* Fills L1 with the `count` most recently active sessions (at most l1_capacity), most recent first. It reads Redis in pipelined
 * batches. Damaged sessions are left out. It is not a use of any session.
 * *loaded (may be NULL) is how many are now in L1 because of it, also when the status is not OK.
 * Returns  OK; UNAVAILABLE (some were not read, or no lease covers them; what was loaded stays); BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   while it runs, for at most deadline_ms for each step: a page of eight partitions' order of activity, or 128 sessions.
 *          It gives up at the third step that is not answered in time.
 *          Guarantees D, E, G, H. */
LATCHKEY_API int latchkey_prewarm(latchkey *lk, size_t count, size_t *loaded);

/* ----------------------------------------------------------------------------------------- observation -- */

/* Counters since open, and gauges of the present. Fields are only ever added at the end. */
typedef struct latchkey_stats {
    uint64_t validates;       /* calls of validate, and of try_validate that did not answer AGAIN */
    uint64_t l1_hits;         /* answered from L1 */
    uint64_t l1_misses;       /* validates of well-formed tokens that L1 did not answer; without dead_refused */
    uint64_t malformed;       /* validates refused before anything was asked */
    uint64_t l2_reads;        /* records that Redis was asked for: misses, loads, prewarming */
    uint64_t l2_writes;       /* scripts run in Redis (create, set_fields, revoke and others), and touches */
    uint64_t l2_errors;       /* round trips that brought no answer, or an error */
    uint64_t joined;          /* misses that shared the read of another */
    uint64_t fills;           /* entries put into L1 */
    uint64_t fills_refused;   /* answers not put into L1 because of a purge in between (guarantee D) */
    uint64_t evictions;       /* live entries that were replaced to make room */
    uint64_t purges;          /* revocations applied to L1, whether the session was in it or not */
    uint64_t empties;         /* times that L1 was emptied: another server, gaps beyond the log, revoke_everyone */
    uint64_t missed;          /* revocations whose message was lost, found by their number */
    uint64_t reconnects;      /* of the link, after the first connection */
    uint64_t touches;         /* asked for by validate and load */
    uint64_t touches_dropped; /* dropped because the queue was full, or not done by Redis; made again later */
    uint64_t beats;           /* leases confirmed */
    uint64_t lapses;          /* validates that found the lease lapsed and asked Redis */
    uint64_t corrupt;         /* records refused as CORRUPT */
    uint64_t pending;         /* gauge: revocations, and ends of failed logins, that wait for Redis */
    uint64_t l1_entries;      /* gauge: entries held, including expired ones that are not replaced yet */
    uint64_t l1_capacity;     /* gauge: the option of that name */
    uint64_t l1_bytes;        /* gauge: L1's memory, all of it */
    uint64_t connected;   /* gauge: 1 while the link is subscribed; in a cluster, while the links to all nodes are */
    int64_t lease_age_ms; /* gauge: time since the beat that confirmed the (oldest) lease was sent; -1: no lease */
    double hit_rate;      /* l1_hits / (l1_hits + l1_misses), 0 before the first */
    double l2_read_amplification;    /* l2_reads / validates, 0 before the first */
    uint64_t revocations_heard;      /* messages that carried a time: the histogram's count */
    double revocation_p50_ms;        /* from publish in Redis to purge here; clocks are compared at each beat, so */
    double revocation_p99_ms;        /*   it is right to about half a round trip */
    uint64_t session_size_p50_bytes; /* compact record, fields' names and values, of sessions created or loaded */
    uint64_t session_size_p99_bytes;
    double l2_read_p50_ms; /* round trip of a miss, as its caller saw it */
    double l2_read_p99_ms;
    char last_error[160];      /* the newest fault of Redis in words, or ""; never a secret */
    uint64_t replayed;         /* revocations whose message did not come, read in the log and applied to L1 */
    uint64_t stale;            /* answers with LATCHKEY_FLAG_STALE, under grace_ms */
    uint64_t audited;          /* entries of L1 that were compared with Redis, under audit_per_s; not among l2_reads */
    uint64_t audit_suspicions; /* those that differed, as they do while a revocation is under way; 64 at a time */
    uint64_t
        audit_disagreements; /* those that L1 held for longer than the bound of C after that: should be 0; see the log */
    uint64_t shed;           /* calls and submits refused because in_flight of them waited for Redis already */
    uint64_t retries;        /* reads repeated because a connection broke; at most one for ten successes */
    uint64_t dead_refused;   /* validates of tokens known to be dead, refused without asking Redis; not in l1_misses */
    uint64_t refreshes; /* entries in use that the link was asked to renew before their time was up; not in l2_reads */
    uint64_t refreshes_dropped;             /* of those: dropped, or not answered by Redis; the next hit asks again */
    uint64_t reuses;                        /* old tokens that were used after their grace, and ended their session */
    uint64_t foreign_reads;                 /* foreign tokens that Redis was asked about */
    uint64_t foreign_unknown;               /* of those: tokens that mean no session */
    uint64_t section_reads, section_writes; /* sections asked for (found or not), and written or deleted */
    uint64_t section_size_p50_bytes, section_size_p99_bytes; /* of those written or read */
} latchkey_stats;

/* Copies the first stats_size bytes of the statistics (zeros where this library has none). Pass sizeof(latchkey_stats).
 * Returns OK, BAD_ARGUMENT or FORKED. Does not block. A quantile is the upper edge of a bucket; buckets are 6% wide. */
LATCHKEY_API int latchkey_stats_read(latchkey *lk, latchkey_stats *stats, size_t stats_size);

/* Writes the statistics and the histograms as Prometheus text (exposition format 0.0.4), NUL-terminated. *needed is the size
 * that holds all of it, the NUL included. text may be NULL if text_size is 0.
 * Returns OK; NO_MEMORY where text_size is smaller than *needed (then text is ""); BAD_ARGUMENT; FORKED. Does not block. */
LATCHKEY_API int latchkey_metrics(latchkey *lk, char *text, size_t text_size, size_t *needed);

/* ------------------------------------------------------------------------------------------- analytics -- */

#define LATCHKEY_SAMPLE_MAX 1000000 /* at most so many sessions are looked at */
#define LATCHKEY_SAMPLE_DEVICES 16
/* Upper ends of spans of time. A span begins where the one before it ends; the last has no end. */
#define LATCHKEY_SPANS 8
#define LATCHKEY_SPANS_MS                                                                                              \
    {                                                                                                                  \
        60000, 300000, 900000, 1800000, 3600000, 14400000, 43200000, INT64_MAX                                         \
    }
/* The spans and the two limits, for bindings. */
LATCHKEY_API size_t latchkey_spans(void);
LATCHKEY_API int64_t latchkey_span_ms(size_t span); /* that of LATCHKEY_SPANS_MS; 0: there is no such span */
LATCHKEY_API size_t latchkey_sample_max(void);
LATCHKEY_API size_t latchkey_sample_devices(void);

typedef struct latchkey_device_count {
    uint32_t device, reserved;
    uint64_t sessions;
} latchkey_device_count;
/* sizeof(latchkey_device_count), for bindings. */
LATCHKEY_API size_t latchkey_device_count_size(void);

/* Who is logged in, estimated from a sample. Numbers of sessions and users are estimates for all of them, unless `exact`. What
 * is not known is 0. Fields are only ever added at the end. */
typedef struct latchkey_population {
    uint64_t sessions;        /* live sessions */
    uint64_t sessions_margin; /* 5 of 100 samples are wrong by more than this; 0 where exact */
    uint64_t exact;           /* 1: all were looked at */
    uint64_t users;           /* users who have them */
    uint64_t indexed;         /* selectors in the index of activity; some of their sessions are over */
    uint64_t looked_at;       /* of those; unless all were looked at, one may be counted twice */
    uint64_t living;          /* of those */
    uint64_t damaged;         /* of those: what lies there is not a record */
    uint64_t peak;            /* the most that were in the index at once, an upper bound: see below */
    int64_t peak_at_ms;       /* when that was; by the clock of Redis, Unix milliseconds */
    int64_t taken_at_ms;      /* when this sample was begun, by the same clock */
    /* of the living: */
    int64_t age_mean_ms, age_p50_ms, age_p99_ms;           /* since the login */
    int64_t used_mean_ms;                                  /* from the login to the last use */
    int64_t idle_mean_ms, idle_p50_ms, idle_p99_ms;        /* since the last use, known to a twelfth of idle_ms */
    int64_t duration_mean_ms;                              /* of sessions from login to end: see below; 0: not known */
    uint64_t age[LATCHKEY_SPANS], idle[LATCHKEY_SPANS];    /* sessions by span */
    uint64_t devices;                                      /* how many classes of device were seen, and */
    latchkey_device_count device[LATCHKEY_SAMPLE_DEVICES]; /* the commonest, the largest first */
    /* of some of the living, up to 256: */
    uint64_t sized;                  /* how many were measured; the numbers below need rights in Redis, see below */
    uint64_t fields_p50, fields_p99; /* the application's fields */
    uint64_t record_p50_bytes;       /* the compact record, which a miss moves */
    uint64_t session_p50_bytes, session_p99_bytes; /* names and values of all fields, the record among them */
    uint64_t redis_p50_bytes, redis_p99_bytes, redis_mean_bytes; /* the hash in Redis' memory, without the indexes */
    /* from a walk over some of all keys: */
    uint64_t keys;       /* all keys in the database, ours or not */
    uint64_t scanned;    /* of those; 0: no right to SCAN */
    uint64_t unindexed;  /* live sessions that the index does not know: nothing above counts them */
    uint64_t old_tokens; /* what rotations with a grace left behind */
} latchkey_population;
/* sizeof(latchkey_population), for bindings. */
LATCHKEY_API size_t latchkey_population_size(void);

/* Estimates who is logged in. It looks at `count` sessions (1 to LATCHKEY_SAMPLE_MAX; a larger number means that), and copies the
 * first population_size bytes of what it found: pass sizeof(latchkey_population). The sessions are drawn from the indexes of
 * activity; if there are no more than `count`, all are looked at. It also looks at that many keys of the database (at most 10,000).
 * It reads in small steps. After each step it pauses for as long as the step took, so it never blocks Redis for longer than some
 * hundreds of microseconds. Nothing is changed, and it is not a use of any session. It needs no key of seal_key_file. Changes
 * that are made meanwhile may or may not be seen.
 * `peak` is the sum of what each partition had at its own peak, kept since the first session. It is an upper bound of the names
 * in the index, of which a few are over. peak_at_ms is the median of the partitions' times. `duration_mean_ms` assumes that
 * logins come evenly: it is the number of living sessions, divided by the rate of the logins of the last ten minutes (or of
 * idle_ms, if that is less).
 * Some fields need rights that an instance does not need otherwise: SCAN, MEMORY USAGE, HSTRLEN and ZCOUNT, for `unindexed`,
 * `old_tokens`, redis_*_bytes, session_*_bytes and `users`. Without these rights those fields are 0.
 * Returns  OK; UNAVAILABLE; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   while it runs, for at most deadline_ms for each step of 64 sessions. It gives up at the third step that is not answered
 *          in time. */
LATCHKEY_API int latchkey_sample(latchkey *lk, size_t count, latchkey_population *population, size_t population_size);

#ifdef __cplusplus
}
#endif
#endif

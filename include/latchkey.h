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
 *                        holds that is renewed by a message which came back through the subscription itself, with
 *                        the number of the last revocation compared, what was lost read in Redis' log of them,
 *                        and `durability` replicas in step. Answers of Redis count under that lease alone, too. A
 *                        server that was restarted, or is another one (run id or replication id), is told of the
 *                        revocations of the last five minutes by every instance that made or heard them, before
 *                        that instance serves; of latchkey_revoke_everyone always.
 *                        (Conditions, and what stays outside: include/guarantees.md.)
 *   D  No resurrection.  A read of L2 that began before a purge never fills L1 after it. Touch, set_fields
 *                        and rotate never bring a deleted session back, and never leave a key without an expiry.
 *   E  Exact identity.   A hit means that the whole token matched, its secret part compared in constant time.
 *                        A hash places an entry; it never decides who somebody is.
 *   F  No token at rest. Nothing in Redis, in logs, metrics or error texts can be presented as a token.
 *   G  Bounded.          Every call returns within its deadline (`deadline_ms`; each call says how it counts).
 *                        L1's memory is taken at open and never grows. Every queue has a limit.
 *   H  Expiry.           Nothing is admitted past its idle or its absolute expiry. Redis' clock decides; only
 *                        durations, on the monotonic clock, are carried over to this machine.
 *   I  Answered by what was asked. A connection whose reply did not come in time is closed, so a late reply
 *                        never answers another request; a record names the session that it belongs to.
 *   J  Nothing leaks across fork. In a child every call on a parent's handle answers LATCHKEY_FORKED, L1 reads
 *                        as zeros, and the parent's connections are not written to.
 *
 * STATUS      0 admits; above 0 is an answer, "no"; below 0 no answer could be had.
 * THREADS     Every function may be called from any thread at any time, except latchkey_close, which must be
 *             the last call on its handle. One handle per process is enough. 64 KiB of stack are enough.
 * FORK        A process may fork at any time, also while its threads open handles: the fork waits, for milliseconds at
 *             most, until no thread of it is inside what all handles share (the log, OpenSSL, libsodium). A child opens
 *             handles of its own. One limit: OpenSSL cannot be forked while other code of the process uses it in another
 *             thread. Then rediss:// in the child may find it locked, and latchkey_open answers UNAVAILABLE and says so:
 *             fork before such threads start, or exec.
 * OUTPUTS     On any status but LATCHKEY_OK the outputs are zeroed and there is nothing to free, unless the
 *             function says otherwise.
 * TEXT        Tokens are 43 characters (foreign ones, see latchkey_import, 16 to 256); they need not be NUL-terminated where
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
#define LATCHKEY_MALFORMED 3 /* not a token that this deployment could have made; Redis was not asked */
#define LATCHKEY_LIMIT 4     /* create: the user has max_sessions sessions, or max_per_device, and limit=deny */
#define LATCHKEY_REFUSED                                                                                               \
    5 /* create: the user's generation has moved since the draft read it, or draft.user_name is another user's of this id; rotate, import: done already; change_fields:    \
         a field has another version */
#define LATCHKEY_BAD_ARGUMENT                                                                                          \
    -1 /* a NULL or a value that the function's text excludes: a bug in the caller; the log names the argument */
#define LATCHKEY_NO_MEMORY -2
#define LATCHKEY_UNAVAILABLE -3 /* Redis did not answer in time, or answered that it cannot serve now */
#define LATCHKEY_CORRUPT -4     /* what Redis holds under this name is not a record of this session */
#define LATCHKEY_PENDING -5     /* revoke: denied on this handle; Redis did not confirm, and is being retried */
#define LATCHKEY_CONFIG -6      /* the configuration, or the server that it names, cannot be used as it is */
#define LATCHKEY_FORKED -7      /* the handle was opened by a parent process: open one in this process */
#define LATCHKEY_AGAIN -8       /* try_validate: memory cannot tell; latchkey_validate or latchkey_submit can */

/* The same as an enum, for debuggers, bindings and switches that are to be complete. Functions return int. */
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

/* The status' name and meaning in one line, for example "NOT_FOUND: there is no such session". Static text, never
 * NULL, also for a number that is no status. Does not block. */
LATCHKEY_API const char *latchkey_status_text(int status);

/* ------------------------------------------------------------------------------------------- types -- */

#define LATCHKEY_TOKEN_LENGTH 43    /* characters of a token, without the NUL */
#define LATCHKEY_TOKEN_SIZE 44      /* the same with the NUL: the size of the arrays that receive one */
#define LATCHKEY_SELECTOR_LENGTH 20 /* token[0..20) names the session in Redis and in logs; it is no secret */
#define LATCHKEY_ENTRY_SIZE 120     /* sizeof(latchkey_entry) */

/* High half of latchkey_entry.flags: set by the library. The low half is yours. */
#define LATCHKEY_FLAGS_YOURS 0x0000ffffu
#define LATCHKEY_FLAG_STALE 0x80000000u /* answered from L1 without a lease: Redis is lost, and grace_ms allows it */
#define LATCHKEY_FLAG_RENEW 0x40000000u /* this token is older than renew_ms: exchange it, and send the new one */

/* The constants as functions, for bindings that cannot read a header. */
LATCHKEY_API const char *latchkey_version(void); /* "0.1.0" */
LATCHKEY_API size_t latchkey_token_size(void);
LATCHKEY_API size_t latchkey_entry_size(void);
LATCHKEY_API size_t latchkey_stats_size(void);
LATCHKEY_API size_t latchkey_draft_size(void);
LATCHKEY_API size_t latchkey_field_size(void);
LATCHKEY_API uint32_t latchkey_flags_yours(void);
LATCHKEY_API uint32_t latchkey_flag_stale(void);
LATCHKEY_API uint32_t latchkey_flag_renew(void);

typedef struct latchkey latchkey; /* one per process, shared by its threads */
typedef struct latchkey_record latchkey_record;

/* What a validation answers. 120 bytes, frozen; all times are Unix times in milliseconds by the clock of Redis. */
typedef struct latchkey_entry {
    uint64_t user_id;
    char role[16];                /* NUL-padded; 16 bytes used means no NUL */
    int64_t expires_at_ms;        /* the absolute expiry; the idle expiry lies with Redis */
    uint8_t permissions_hash[32]; /* yours */
    uint8_t pq_key_hash[32];      /* see latchkey_key_hash; zero where the session has no key material */
    int64_t created_at_ms;
    int64_t auth_at_ms; /* when the user last proved who they are: at create, or said by latchkey_set_access */
    uint32_t device;    /* yours: a class of device */
    uint32_t flags;     /* low 16 bits yours, high 16 bits the library's */
} latchkey_entry;

/* A named value kept with the session in Redis and never in L1: key material (names that start with "pq.", for
 * example "pq.mlkem768", "pq.mldsa44", "pq.slhdsa", "pq.attestation") and whatever else the application keeps.
 * A name is 2 to 64 characters of [A-Za-z0-9._:-]; a value is at most 64 KiB; a session has at most 256 fields,
 * 64 of them key material. */
typedef struct latchkey_field {
    const char *name;
    const void *data;
    size_t size;
} latchkey_field;

/* What a login knows. Zero it, set `size`, fill in the rest. It may grow at its end, as every struct that begins with `size`:
 * a shorter one, of a program that was built with an older header, counts as zeros there; of a longer one, what this library
 * does not know has to be zeros, else it is BAD_ARGUMENT. */
typedef struct latchkey_draft {
    size_t size;      /* sizeof(latchkey_draft) */
    uint64_t user_id; /* any number; 0 is a user like every other */
    const char *role; /* at most 16 bytes; NULL is "" */
    uint8_t permissions_hash[32];
    uint32_t device;     /* any number */
    uint32_t flags;      /* only LATCHKEY_FLAGS_YOURS */
    int64_t idle_ms;     /* 1 to 315360000000 (ten years); 0: the handle's idle_ms */
    int64_t lifetime_ms; /* the same; 0: the handle's lifetime_ms */
    uint64_t generation; /* 0: not checked; else the user's generation in Redis plus one must equal it: see
                             latchkey_user_generation */
    const latchkey_field *fields;
    size_t field_count;
    /* Where your users have names (UUIDs, addresses, ObjectIds) and no numbers: the name, user_name_size bytes, else NULL and 0.
     * user_id is then latchkey_user_id of it, or 0, which stands for that. Two names of one id are told apart: REFUSED. */
    const void *user_name;
    size_t user_name_size;
} latchkey_draft;

/* The user id of a name: 8 bytes of BLAKE2b (digest size 8, no key), little-endian, and 1 in place of 0. So every language
 * computes the same, and it never changes. Of 0 bytes, or NULL, it is 0: no id. Two names may have one id: by chance with two
 * in 2^64, among a million users in one of 37 million deployments, and by intent, for somebody who tries 2^32 names of
 * their own. So give the name in draft.user_name as well: Redis keeps a hash of it (BLAKE2b-256) beside the user's sessions, for
 * as long as the last of them may live, and a login under another name of the same id is REFUSED, and said to the log as an
 * error. Does not block. */
LATCHKEY_API uint64_t latchkey_user_id(const void *name, size_t size);

/* --------------------------------------------------------------------------------------------- the log -- */

/* Levels: the numbers are syslog's, so smaller is graver. */
#define LATCHKEY_LOG_ERROR 3   /* a guarantee does not hold as things are, or nothing works until somebody acts */
#define LATCHKEY_LOG_WARNING 4 /* one fault more than now, and a guarantee is lost; or service is impaired */
#define LATCHKEY_LOG_NOTICE 5  /* worth knowing: what is well again, what could not be checked */
#define LATCHKEY_LOG_INFO 6    /* events, where events=1 asks for them */

/* Yours, to write a line where you keep such lines. `text` is one line of printable ASCII without its end, at most 639
 * characters, valid during the call. It begins with the name of what it is about and a colon:
 *   setting NAME: ...   what the server is set to that weakens a guarantee, which one and how, and what to set instead;
 *                       src/redis/README.md lists the names. Said before open returns, and
 *                       again when another server, or the same after a restart, is reached and it is not as before
 *   redis: ...          the Redis user lacks a right, or the server a command: said once, as an error, with its name
 *   link: ...           Redis cannot be used, and why; it can again, and after how long
 *   lease: ...          it had lapsed although the connection held: this process, or its machine, stood still
 *   l1: ...             messages of revocations were lost, or Redis lost count of them; and whether it was emptied
 *   records: ...        what Redis holds is damaged or foreign
 *   seal: ...           seal_key_file can be read or written by every user of the machine; said by open
 *   rotation: ...       an old token was used after its grace, and its session was ended: perhaps a theft
 *   argument: ...       a call was BAD_ARGUMENT, and by which argument; each at most once in ten seconds, as an information
 *   audit: ...          L1 answers, longer than the bound, what Redis does not hold; with audit_per_s alone
 *   event: ...          the audit trail, with events=1 alone, see below
 * A state is said once, not at each attempt, and no handle says more than a line in 10 seconds for long, beside as many of
 * the audit's; but every event, since a trail must be whole. There is never a token or a password in it; a selector may be (F).
 * Called by the links' threads, by threads that are in latchkey_open, and, for "rotation:" and "event:", by those in the
 * function that brought it about; several at once. The link stands still meanwhile and its lease runs, so do not block for long. Do not call any latchkey_
 * function on a handle, and take no lock under which another thread of yours opens or closes one. */
typedef void (*latchkey_log)(void *context, int level, const char *text);

/* EVENTS. With events=1 each of these is one line, at LATCHKEY_LOG_INFO, said once, by the instance that did it, when Redis had
 * confirmed it (with `durability`, a creation or a revocation: when the replicas hold it):
 *   event: created selector=S user=N device=N
 *   event: imported selector=S user=N device=N        by latchkey_import
 *   event: rotated selector=S new=S user=N grace_ms=N  the session goes on under the new selector; the old one ended
 *   event: changed selector=S what=HOW                 keys: key material; access: latchkey_set_access and its sister
 *   event: revoked selector=S user=N by=HOW            token: latchkey_revoke; selector: latchkey_revoke_selector; user:
 *                                                      latchkey_revoke_user; limit: evicted by a login; reuse;
 *                                                      everyone: S and N are "*", for all that began before
 *   event: reuse selector=S user=N                     an old token was used after its grace; its session's end follows
 *   event: refused user=N why=HOW                      a login; generation or limit
 * S is a selector, 20 characters, the name that the session had at last; N a number, or "?" where Redis does not know it any
 * more. Nothing else stands in a line, so nobody's role or field can look like one. So in the trail of all instances together
 * each selector begins once (created, imported, or as a new=) and ends at most once (revoked, or as the selector= of rotated).
 * A revocation that is PENDING is told by the link's thread when it got through, once, also where Redis had done it and the
 * answer was lost, as long as no more than four were and Redis' log holds it: the last 1,000 revocations of a partition. What a
 * call did whose answer never came otherwise (UNAVAILABLE) is told by nobody, and sessions that idle out or reach their
 * absolute expiry are no events. */

/* Sets the one log function of this process, for all handles; NULL, as at the start, is silence. Set it before the
 * first open. A child of fork has its parent's. Any thread may set it at any time; what was set before may still be
 * running in another thread when this returns, and is not once every handle that was open is closed.
 * Does not block. */
LATCHKEY_API void latchkey_set_log(latchkey_log function, void *context);

/* ------------------------------------------------------------------------------------ open and close -- */

/* Opens a handle: takes L1's memory, starts the link (the one background thread) and, unless `lazy=1`, waits until
 * the link has subscribed and holds a lease.
 *
 * config   redis://[user:password@]host[:port][/database][?option=value&...]
 *          redis://:password@host...            (the password alone, for `requirepass`)
 *          rediss://...                         (the same, over TLS)
 *          unix://[user:password@]/path/to.sock[?db=0&option=value&...]
 *          valkey:// and valkeys:// are redis:// and rediss://; a scheme may be written in any case.
 *          %XX stands for a byte in user, password, path and values.
 *          Equal in every instance of a deployment: the server and the database, prefix, partitions, check_key_file,
 *          seal_key_file and foreign_until_ms. Each of the others is an instance's own.
 * options  l1_capacity   100000    entries that L1 holds, 0 to 100,000,000; 0 switches L1 off
 *          l1_ttl_ms     300000    the longest an entry stays in L1 before Redis is asked again; a tenth of the session's
 *                                  idle_ms bounds it, too
 *          staleness_ms  2000      guarantee C: 100 to 60,000
 *          deadline_ms   250       the longest a call waits: 1 to 60,000
 *          idle_ms       1800000   a session not used for this long ends (used: see latchkey_touch): 100 to 315360000000, ten
 *                                  years, as lifetime_ms
 *          lifetime_ms   43200000  a session ends this long after its creation, used or not
 *          connections   8         for misses and writes, beside the link's two: 1 to 64. Callers that find them all
 *                                  busy pipeline behind others
 *          in_flight     1024      calls that wait for Redis at once, and, counted apart, answers of latchkey_submit that
 *                                  are outstanding: 1 to 65,536. Beyond it the answer is UNAVAILABLE at once
 *          prefix        lk        of every key and channel: 1 to 32 of [A-Za-z0-9._-]
 *          partitions    64        1 to 4096; recorded in Redis on first use, must be equal in every instance
 *          max_sessions  0         per user; 0: no limit
 *          max_per_device 0        per user and value of draft.device; 0: no limit. create then reads the compact records of
 *                                  all the user's sessions: set max_sessions too
 *          limit         evict     at either: `evict` the session nearest its idle expiry (of that device), or `deny`
 *          check_key_file          a key, 32 hexadecimal digits, on each line; the first makes tokens, all are
 *                                  accepted. Every instance needs the same file.
 *          seal_key_file           what Redis holds of sessions is sealed (XChaCha20-Poly1305): a key, 64 hexadecimal digits, on
 *                                  each line, the first seals, all open; `plain` on a line: what is not sealed is accepted as
 *                                  well, and on the first line, nothing new is sealed. include/configuration.md, "Sealing". What does not
 *                                  match its seal is CORRUPT
 *          password_file           the password, instead of in the URL: its first line, 1 to 4,096 bytes. Read again for
 *                                  each new connection, since it may change; where that cannot be done, or the file is
 *                                  empty, the last known password is used, and the log says so once
 *          grace_ms      0         0 to 3,600,000: how much longer L1 may answer with Redis lost, until an entry's time
 *                                  in L1 is up (l1_ttl_ms); such answers carry LATCHKEY_FLAG_STALE. The bound of
 *                                  guarantee C is then staleness_ms + grace_ms
 *          durability    0         0 to 100: replicas that must hold a write before it is OK: revoke is PENDING until they do,
 *                                  create hands out no token, touch and set_fields are UNAVAILABLE; and without
 *                                  that many L1 has no lease. WAIT in Redis; the ACL needs +wait
 *          renew_ms      0         0 (never), or 10,000 and more: from when a token is so old its answers carry LATCHKEY_FLAG_RENEW;
 *                                  up to two seconds before, so that L1 hears of it in time. Below "Renewal"
 *          events        0         1: what happens to sessions is told to the log (latchkey_set_log), an audit trail
 *          audit_per_s   0         0 to 1000: how many of L1's entries the link compares with Redis each second (0: none;
 *                                  each an HGET). One that differs is a suspicion, since its revocation may be under
 *                                  way; one that L1 still holds longer than the bound of C after that is a
 *                                  disagreement, and the promise was not kept, or somebody wrote to Redis himself.
 *                                  See latchkey_stats and "audit:" in the log
 *          lazy          0         1: open succeeds while Redis is away; calls answer UNAVAILABLE until it is there
 *          foreign_until_ms 0      Unix time: until then, by Redis' clock, tokens that another store made are accepted, if their
 *                                  sessions moved in (latchkey_import); 0: none are. The ACL needs +set. Every
 *                                  instance needs the same. Takes 47 bytes for each of l1_capacity's entries, at least 4,096
 *          ca_file                 with rediss:// alone: the certificates, in PEM, of which one must vouch for the server's;
 *                                  without it the system's. The server's certificate must hold the host of the URL,
 *                                  name (a final dot does not count) or address: as a subjectAltName, and as its common
 *                                  name only where it has no subjectAltName at all. TLS 1.2 or newer
 *          server_name             the name that it must hold instead
 *          cert_file, key_file     our certificate, its chain behind it, and its key, without a passphrase; for servers
 *                                  that want one (tls-auth-clients). One file may be both. What else stands in one of the
 *                                  three files than certificates and the key is refused by its name. When one of the three
 *                                  has changed, all are read again before the next connection is made; open connections
 *                                  stay. New files that cannot be used change nothing, and the log says so.
 *                                  check_key_file and seal_key_file are read at open alone
 *
 * Returns  OK; BAD_ARGUMENT; CONFIG (unknown option, value out of range, file that cannot be read, server too old,
 *          not Redis, wrong password, a replica, another number of partitions, a certificate that is refused by either
 *          side, TLS on one side alone, a right or a command that any call needs is missing: it is named); UNAVAILABLE (no
 *          answer within deadline_ms; or no thread or descriptor is left for this process); NO_MEMORY. On failure
 *          `error`, if given, names what was wrong and what to do, never a
 *          password, and *out is NULL. `error` and `error_size` may be NULL and 0.
 * Says     to the log (latchkey_set_log) what the server is set to that weakens a guarantee; that fails nothing.
 * Blocks   for at most deadline_ms, also where the name server does not answer; before that, while the memory of L1 is taken:
 *          a second or so for a million entries. */
LATCHKEY_API int latchkey_open(const char *config, latchkey **out, char *error, size_t error_size);

/* Stops the link, closes every connection, frees everything. No other call may be running on the handle. NULL is
 * allowed. In a forked child it closes the child's copies of the descriptors, which leaves the parent's connections
 * unharmed (J), and frees nothing: another thread of the parent may have been in the middle of anything.
 * Blocks   while the link's thread ends: at once. */
LATCHKEY_API void latchkey_close(latchkey *lk);

/* --------------------------------------------------------------------------------- the life of a session -- */

/* Makes a session and its token. The token is random, made here, and handed out only after Redis holds the session.
 * The session is in this handle's L1 then: its first request here is a hit, and asks Redis nothing.
 * draft->fields are copied to Redis; those whose names start with "pq." are bound to the entry by pq_key_hash.
 * Returns  OK; LIMIT; REFUSED; BAD_ARGUMENT; UNAVAILABLE; CORRUPT; NO_MEMORY; FORKED. When it is not OK no token was
 *          given out; after UNAVAILABLE Redis may hold a session that nobody can use, until it idles out.
 * Blocks   for at most deadline_ms. Guarantees F, G. */
LATCHKEY_API int latchkey_create(latchkey *lk, const latchkey_draft *draft, char token[LATCHKEY_TOKEN_SIZE]);

/* Is this session valid, and whose is it? From L1, and on a miss from Redis, driven by the calling thread; equal
 * misses in flight share one read. Using a session keeps it alive (see latchkey_touch). A token that Redis refused, or
 * that was revoked on this handle, stays refused for 5 seconds without asking again (tokens are never reused; at most 4,096
 * are remembered, apart from L1). An entry of L1 that is hit near its end there is read again by the link, so that a
 * session in steady use is always a hit.
 * Returns  OK, and the entry; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   not at all on a hit; on a miss for at most deadline_ms. Guarantees A to J. */
LATCHKEY_API int latchkey_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry);

/* The same for what is sensitive, a payment or a change of the password: L1 answers only if the lease was confirmed at most
 * max_age_ms ago, else Redis is asked; 0 always asks Redis. So a session that was revoked anywhere more than max_age_ms (plus
 * 10 ms) before the call started is not admitted, whatever staleness_ms is. What Redis answers counts under the lease, as
 * ever: that a server is no longer the primary is noticed within staleness_ms. With Redis lost it is UNAVAILABLE, also where
 * grace_ms is set. It costs a round trip to Redis where latchkey_validate costs none: use it where that is worth it.
 * Returns  as latchkey_validate; BAD_ARGUMENT also for a max_age_ms below 0.
 * Blocks   for at most deadline_ms. Guarantees A to I. */
LATCHKEY_API int latchkey_validate_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms,
                                         latchkey_entry *entry);

/* The same from L1 alone: OK; MALFORMED; NOT_FOUND; EXPIRED; BAD_ARGUMENT; FORKED; or AGAIN, meaning that only
 * latchkey_validate or latchkey_submit can tell. Never waits for Redis: it may run on an event loop. Guarantees A to E, H. */
LATCHKEY_API int latchkey_try_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry);

/* The same for `count` tokens at once, for gateways that hold many requests: their reads of memory overlap, so a token
 * costs a fraction of what it costs alone once L1 is larger than the caches. tokens[i] has token_lens[i] characters;
 * statuses[i] and entries[i] (zeros unless the status is OK) are what latchkey_try_validate would answer; a NULL token is
 * BAD_ARGUMENT. The tokens may be equal.
 * Returns  OK: every status is set; BAD_ARGUMENT: a NULL array, nothing is set; FORKED: all statuses are.
 * Never waits for Redis. Guarantees A to E, H. */
LATCHKEY_API int latchkey_try_validate_many(latchkey *lk, const char *const *tokens, const size_t *token_lens,
                                            size_t count, latchkey_entry *entries, int *statuses);

/* Says that the session was used now, moving its idle expiry (never past the absolute one). Validate does this by
 * itself, off the caller's path; call touch for use that validate does not see. Coalesced in Redis: a session is
 * written at most once per twelfth of its idle_ms, over all instances, so that a session ends between nine tenths of
 * idle_ms and idle_ms after its last use.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees D, G. */
LATCHKEY_API int latchkey_touch(latchkey *lk, const char *token, size_t token_len);

/* Ends the session: deletes it in Redis, counts, logs and publishes the revocation in one script, and purges it from
 * this handle's L1 first and last. The whole token must match.
 * Returns  OK; NOT_FOUND (there was nothing to end); PENDING (Redis did not confirm: the session is denied on this
 *          handle at once, and the revocation is retried in the background until Redis has it or the handle is
 *          closed); UNAVAILABLE (as PENDING, but 4,096 revocations wait already and nothing was promised); MALFORMED;
 *          CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B, C, G. */
LATCHKEY_API int latchkey_revoke(latchkey *lk, const char *token, size_t token_len);

/* RENEWAL ON A SET AGE, with the option renew_ms: a library sets no cookies. So an answer (validate, try_validate, reap, load)
 * for a token that is older than that carries LATCHKEY_FLAG_RENEW in entry.flags; then call latchkey_rotate with a grace
 * (30,000, say) and send the new token with the response. Of requests that do so at once one wins; the others are REFUSED,
 * and go on as if nothing were: their old token is good for the grace. An old token in its grace never carries the flag. A
 * token's age counts from when it was made, by Redis' clock; the session's own from created_at_ms. */

/* Exchanges the session's token for a new one. The session stays what it is: fields, key material, its place among the
 * user's, the absolute expiry. Exchanging is a use of it (see latchkey_touch).
 *
 * grace_ms 0   for a change of privilege: the old token, and every one before it, is revoked by the same script.
 * grace_ms >0  for renewal on a set age: for so long (at most 3,600,000, and at most the session's idle_ms) requests that
 *              are under way with the old token go on, in every function, as if it were the new one; revoking either ends
 *              both. After that the old token is a sign of theft, for as long as the session may live: whoever shows it,
 *              whole, to validate, touch, load, set_fields or rotate is answered NOT_FOUND, and the session ends, its new
 *              token with it, everywhere. That is counted (latchkey_stats, `reuses`) and said to the log. The last 64 old
 *              tokens are remembered. So do not rotate with a grace where an answer may get lost and the client would go
 *              on with the old token for longer.
 *
 * Of calls that exchange one token at once, one wins; the others are REFUSED, or, where that was without a grace,
 * NOT_FOUND.
 * Returns  OK, and the new token; REFUSED (this token was exchanged already, and is in its grace); NOT_FOUND; EXPIRED;
 *          MALFORMED; UNAVAILABLE (Redis may have made the exchange all the same: then nobody has the new token, and the
 *          session is over once the grace is; try again while the old one is OK); CORRUPT; BAD_ARGUMENT; NO_MEMORY;
 *          FORKED. No new token is given unless it is OK. new_token may be where `token` is: zeros then, unless it is OK.
 * Blocks   for at most deadline_ms. Guarantees B and C (for the old token: from the return, or from the end of its grace
 *          on), D, E, F, G. While a revocation is PENDING, the one token alone is denied. */
LATCHKEY_API int latchkey_rotate(latchkey *lk, const char *token, size_t token_len, int64_t grace_ms,
                                 char new_token[LATCHKEY_TOKEN_SIZE]);

/* ----------------------------------------------------------------------------- sessions of another store -- */

/* Sessions of another store move in without logging anybody out: with foreign_until_ms set, their own tokens go on being
 * accepted, for so long, by every function that takes a token. A foreign token is 16 to 256 bytes, any bytes, that are no
 * token of ours. Redis holds neither it nor a hash of all of it (F): BLAKE2b-512 of it is cut in two, a name (120 bits), under
 * which Redis holds which session is meant, and a verifier (136 bits), of which Redis holds the hash, as of any token's. Both
 * must match (E). So it is as safe as it is random: who reads Redis can try out what can be guessed.
 *   Whose it is each process asks once, by a GET before the first answer, and remembers; from then on it is as fast as an
 * own token, and a hash of its bytes. One whose session never moved in is NOT_FOUND, which is not remembered, so a flood of
 * such tokens costs a GET each (latchkey_stats, `foreign_unknown`), at most in_flight at a time: set no longer time than
 * the move needs. latchkey_try_validate answers AGAIN until this process knows whose it is. latchkey_revoke of one that it
 * does not know is UNAVAILABLE while Redis is, and promises nothing then.
 *   Answers for it carry LATCHKEY_FLAG_RENEW: call latchkey_rotate with it, and hand out the new token; it is then an old
 * token like any other (and carries the flag until its grace is over: latchkey_rotate answers REFUSED, and nothing is to be
 * done). What was not exchanged by foreign_until_ms is MALFORMED from then on; nothing is asked. That ends the foreign spelling,
 * not the session: its holder, who knows all of the secret, could work out the token behind it until the session ends.
 *
 * latchkey_import makes the session that `foreign` means: from the draft, as latchkey_create does, but created (and
 * authenticated) at created_at_ms (0, or a time to come: now) and ending at expires_at_ms, whatever lifetime_ms is (0: the
 * draft's lifetime_ms, or the handle's, from now; then, and only then, the draft may have one), at most ten years from now.
 * Its idle time begins now. max_sessions and max_per_device are not looked at, so that nobody is logged out; the next create
 * does. A foreign token means one session, once: run the import as often as you like, until foreign_until_ms. Redis remembers
 * for so long which tokens moved in, so a session that has ended is not brought back, whatever its expiry was. To allow more
 * time, set a later foreign_until_ms before the earlier one has passed, and run the import once more before it passes: what
 * moved in is then remembered until the later time. After it has passed, nothing of this import is remembered: do not open
 * the time again for the same old store.
 * Returns  OK; REFUSED (it moved in already, and may have ended since: it is not brought back; or the generation moved; or
 *          draft.user_name is another user's of this id; or it was created before latchkey_revoke_everyone);
 *          EXPIRED (expires_at_ms is past); MALFORMED (not 16 to 256 bytes; one of our own tokens; foreign_until_ms is past);
 *          CONFIG (foreign_until_ms is not set); UNAVAILABLE (call it again: it goes on where it stopped. Until it is OK or
 *          REFUSED the token is good in the old store alone, and a session that is to end has to be ended there);
 *          CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms: three round trips. Guarantees D, E, F, G. */
LATCHKEY_API int latchkey_import(latchkey *lk, const char *foreign, size_t foreign_len, const latchkey_draft *draft,
                                 int64_t created_at_ms, int64_t expires_at_ms);

/* --------------------------------------------------------------------------------------- a user's sessions -- */

/* For a login that takes several steps: *generation is what draft.generation is to be, read before the first of them.
 * latchkey_revoke_user moves it, and latchkey_revoke_everyone everybody's; create then answers REFUSED: so a login that
 * began with the old password ends there. It is good for being handed on and compared, and for nothing else.
 * Redis keeps it for 30 days after it last moved, which no login may take.
 * Returns  OK; UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. */
LATCHKEY_API int latchkey_user_generation(latchkey *lk, uint64_t user_id, uint64_t *generation);

/* Ends all sessions of a user, or, with keep_token (else NULL and 0), all but that one: "log out everywhere else", after
 * a password was changed, say. A keep_token that is no live session of this user keeps nothing. The user's generation
 * moves in the same script. Up to 1,000 sessions are ended by one script, at one moment; more by several, of which each
 * leaves alone what was made since the first. Then it waits for the link's next beat, so that OK holds for what others
 * ended a moment ago as well. *revoked (may be NULL) is how many were ended, also when the status is not
 * OK.
 * Returns  OK: all of it is done, and guarantees B and C hold for each of them; UNAVAILABLE: some may have been ended, and
 *          nothing is promised: unlike latchkey_revoke it cannot deny beforehand whom it does not know yet, and it is not
 *          retried in the background. Call it again until it is OK. MALFORMED (keep_token; nothing was done); CORRUPT;
 *          BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms, over all of them. Guarantees B, C, D, G. */
LATCHKEY_API int latchkey_revoke_user(latchkey *lk, uint64_t user_id, const char *keep_token, size_t keep_len,
                                      size_t *revoked);

/* Ends one session of a user by its name: what a click in the list below does. Only if it is this user's, so the selector
 * may come from the client. One that is damaged is ended as well, if it stands in this user's list.
 * Returns  OK; NOT_FOUND (there was none, or it is somebody else's); UNAVAILABLE (nothing is promised and nothing is
 *          retried: call it again); MALFORMED; CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B, C, G. */
LATCHKEY_API int latchkey_revoke_selector(latchkey *lk, uint64_t user_id,
                                          const char selector[LATCHKEY_SELECTOR_LENGTH]);

/* The administrator's panic button: ends all sessions of all users, whoever made them, on every instance; old tokens of
 * rotations included. Nobody goes through them: each partition gets an epoch, and what was made up to then is over, in one
 * script for each partition. So it takes as long for ten million sessions as for ten, and works where Redis is full.
 * Everybody's generation moves, so that a login which began before cannot finish: see latchkey_user_generation. Whoever
 * logs in from then on is not concerned; limits and lists start empty. The keys stay in Redis until they expire, and L1 of
 * every instance is emptied: for a while every request asks Redis.
 * It waits for the link's next beat, so that OK holds on this handle as well.
 * A server that comes back without it (restored from an old snapshot, a replica promoted too early, FLUSHALL) is told by
 * every instance that knows, however long ago it was, before it serves there; then all end once more that are there.
 * Redis keeps a key of a few bytes for each partition, `<prefix>:{p}:e`, for good. Where something else lies there, the
 * partition's sessions are CORRUPT, since nobody knows whom it spares; calling this replaces it.
 * Returns  OK: every partition confirmed it, and with `durability` so many replicas; guarantees B and C hold for every
 *          session that was made before the call; UNAVAILABLE: some may have been ended, and nothing is promised: it is not
 *          retried in the background. Call it again until it is OK: it ends what was made since, too. CORRUPT;
 *          BAD_ARGUMENT; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B, C, D, G. */
LATCHKEY_API int latchkey_revoke_everyone(latchkey *lk);

/* One of a user's sessions. 80 bytes, frozen; times as in latchkey_entry. */
typedef struct latchkey_session_info {
    char selector[24]; /* 20 characters and NULs; "" where there is none */
    int64_t created_at_ms, auth_at_ms;
    int64_t active_at_ms;       /* last used, to a tenth of its idle_ms (see latchkey_touch) */
    int64_t idle_expires_at_ms; /* if nobody uses it */
    int64_t expires_at_ms;      /* the absolute expiry */
    uint32_t device, flags;     /* as in the draft */
    uint32_t current;           /* 1: the session of current_token, else 0 */
    uint32_t reserved;          /* 0 */
} latchkey_session_info;
LATCHKEY_API size_t latchkey_session_info_size(void);

#define LATCHKEY_SESSIONS_MAX 1000 /* as many are listed at most */
LATCHKEY_API size_t latchkey_sessions_max(void);

/* The live sessions of a user as they are at one moment, the last used first: for a page of "your devices".
 * current_token, if given (else NULL and 0), marks the one that asks. *total is how many there are; the first of them,
 * at most `max` and LATCHKEY_SESSIONS_MAX, stand in sessions[], whose rest is zeros. With max 0 they are counted.
 * Returns  OK; UNAVAILABLE; MALFORMED (current_token); CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED. A single damaged session
 *          is left out, and counted as corrupt; `latchkey list` shows it.
 * Blocks   for at most deadline_ms. Guarantees A, G. No token is in it, and none can be made of it (F). */
LATCHKEY_API int latchkey_sessions(latchkey *lk, uint64_t user_id, const char *current_token, size_t current_len,
                                   latchkey_session_info *sessions, size_t max, size_t *total);

/* ------------------------------------------------------------------------------------------ event loops -- */

/* For servers that must not wait: first latchkey_try_validate; where that answers AGAIN, submit, and go on.
 *
 *     fd = latchkey_fd(lk)            once, registered with the event loop for reading
 *     latchkey_submit(lk, ..., tag)   for each token that try_validate could not tell
 *     when fd is readable:            latchkey_reap, until it returns less than `max`
 *
 * No callback, and no thread of the library's on the way: submit writes to a connection that belongs to these three
 * functions, reap reads from it, and the descriptor (an epoll) is readable while bytes, answers or a deadline wait for
 * reap. So a loop that stops calling reap stops its own answers, and nobody else's. It may be readable without an answer
 * being whole: then reap returns 0.
 * create, touch, revoke, load and set_fields have no such form: they are rare beside validations, and a login hashes a
 * password, for which an evented server has a worker thread already; call them there. A session's use needs no
 * latchkey_touch: validating says it. */

/* A descriptor that is readable when there is something to reap. It is the handle's, for all its threads, and lives as
 * long: do not read from it or close it. Negative: BAD_ARGUMENT; UNAVAILABLE (no descriptor is left for it); NO_MEMORY;
 * FORKED.
 * Does not block. */
LATCHKEY_API int latchkey_fd(latchkey *lk);

/* Asks for what latchkey_validate answers, without waiting. Equal tokens in flight share one read; commands that are
 * submitted while others are under way go out together.
 * Returns  OK: latchkey_reap gives exactly one answer with this tag, within deadline_ms if it is called by then (it may
 *          be there already); else no answer comes: MALFORMED; UNAVAILABLE (in_flight answers are outstanding or not yet
 *          reaped); BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Does not block: it locks out other threads' submits and reaps of the same handle for microseconds. Guarantee G. */
LATCHKEY_API int latchkey_submit(latchkey *lk, const char *token, size_t token_len, uint64_t tag);

/* An answer: status is one that latchkey_validate returns; the entry is zeros unless that is OK. 136 bytes, frozen. */
typedef struct latchkey_answer {
    uint64_t tag;
    int status;
    latchkey_entry entry;
} latchkey_answer;
LATCHKEY_API size_t latchkey_answer_size(void);

/* The same for what is sensitive: see latchkey_validate_fresh. The age counts up to this call; what L1 does not answer is asked
 * for after it. BAD_ARGUMENT also for a max_age_ms below 0. */
LATCHKEY_API int latchkey_submit_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms,
                                       uint64_t tag);

/* Takes up to `max` answers, in any order, and returns how many; 0 also where lk or answers is NULL, and in a forked
 * child. What is outstanding when the handle is closed is never answered. Tokens submitted stay in memory, out of core
 * dumps, until they are answered.
 * Does not block. Guarantees A to I, as of this call: an answer that lay unread until it is too old is asked for anew, or
 * UNAVAILABLE. */
LATCHKEY_API size_t latchkey_reap(latchkey *lk, latchkey_answer *answers, size_t max);

/* ------------------------------------------------------------------------------------ the whole record -- */

/* Reads the whole record from Redis, key material and all, and checks it: it names this session, the verifier's hash
 * matches, and pq_key_hash is that of the "pq." fields. Never from L1, never into L1.
 * Returns  as latchkey_validate. *out is the caller's, to be freed with latchkey_record_free.
 * Blocks   for at most deadline_ms. Guarantees A, E, H, I. */
LATCHKEY_API int latchkey_load(latchkey *lk, const char *token, size_t token_len, latchkey_record **out);

/* The same by the session's name alone, for whoever looks after sessions: it is no proof of anything, so admit nobody on it.
 * Where a token was exchanged (latchkey_rotate), its selector leads to the session too, whether its grace is over or not:
 * info->current is then 0, and info->selector the session's name now; else 1. `info` may be NULL. Looking is no use of it.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED (no session here has such a name); UNAVAILABLE; CORRUPT; BAD_ARGUMENT; NO_MEMORY;
 *          FORKED.
 * Blocks   for at most deadline_ms. Guarantees A, G, H, I. */
LATCHKEY_API int latchkey_show(latchkey *lk, const char selector[LATCHKEY_SELECTOR_LENGTH], latchkey_session_info *info,
                               latchkey_record **out);

/* The entry inside the record; lives as long as the record. NULL for NULL. */
LATCHKEY_API const latchkey_entry *latchkey_record_entry(const latchkey_record *record);

/* A field's bytes inside the record and their number; live as long as the record. NULL, and *size 0, where there is
 * no such field. `size` may be NULL. */
LATCHKEY_API const void *latchkey_record_field(const latchkey_record *record, const char *name, size_t *size);

/* The name of the index-th field, from 0 and in no order, as long as the record lives; NULL where there is none. */
LATCHKEY_API const char *latchkey_record_field_name(const latchkey_record *record, size_t index);

/* Wipes and frees. NULL is allowed. */
LATCHKEY_API void latchkey_record_free(latchkey_record *record);

/* Sets (or, where data is NULL, deletes) single fields, all of them or none. Changing a "pq." field changes the
 * entry's pq_key_hash and purges the session from every L1, as a revocation does.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE (also when others kept changing the key material for the
 *          whole deadline); CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B (for the old entry), C, D. */
LATCHKEY_API int latchkey_set_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_field *fields,
                                     size_t field_count);

/* Reads some fields alone: what latchkey_load does, without moving the rest, in one round trip. latchkey_record_field answers
 * for those that were asked for, latchkey_record_entry as ever. Where a "pq." name is among the 1 to 256 names, the whole
 * record is read, since all key material is bound together, and checked.
 * Returns  as latchkey_load; BAD_ARGUMENT also for a name that no field can have.
 * Blocks   for at most deadline_ms. Guarantees A, E, H, I. */
LATCHKEY_API int latchkey_get_fields(latchkey *lk, const char *token, size_t token_len, const char *const *names,
                                     size_t count, latchkey_record **out);

/* Which version of a field this record holds; 0: none, or not asked for. Opaque: it is made of the bytes that Redis holds, so
 * whoever writes a field, by whatever way, gives it another; equal bytes may have the same, so a value that was changed and
 * changed back may pass for unchanged. */
LATCHKEY_API uint64_t latchkey_record_version(const latchkey_record *record, const char *name);

/* A field as it is to be, if it is still as it was read. 32 bytes, frozen. */
typedef struct latchkey_change {
    const char *name;
    const void *data; /* NULL: it is deleted */
    size_t size;
    uint64_t version; /* latchkey_record_version of it; 0: there is none yet */
} latchkey_change;
LATCHKEY_API size_t latchkey_change_size(void);

/* Sets (or deletes) single fields, all of them or none, and only if each still has the version that is given: so of those
 * who read, change and write one at the same time, nobody loses what another wrote. Of several calls at once with one version
 * one is OK (where what they write differs from what was there), the others are REFUSED: read again, and do it again. Key
 * material may be among them; see latchkey_set_fields, which asks for no version.
 * Returns  OK; REFUSED: one of them has another version, and nothing was changed; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE
 *          (it may have been done: read it again before you repeat it); CORRUPT; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms. Guarantees B (for the old entry), C, D. */
LATCHKEY_API int latchkey_change_fields(latchkey *lk, const char *token, size_t token_len,
                                        const latchkey_change *changes, size_t count);

/* What a session may do, changed where it lies. Zero it, set `size`, fill in what is to change. */
typedef struct latchkey_access {
    size_t size;                     /* sizeof(latchkey_access) */
    const char *role;                /* at most 16 bytes; NULL: as it is */
    const uint8_t *permissions_hash; /* 32 bytes; NULL: as it is */
    uint32_t flags, flags_mask;      /* the bits of flags_mask become those of flags; only LATCHKEY_FLAGS_YOURS */
    int authenticated; /* not 0: auth_at_ms becomes now, by Redis' clock: the user has just proved again who
                                        they are, before something that asks for it */
} latchkey_access;
LATCHKEY_API size_t latchkey_access_size(void);

/* Changes role, permissions, flags or auth_at_ms of a session, all of it or none, and nothing else: what others change at the
 * same time stays, but for the same member of the entry. The old entry is purged from every L1, as by a revocation. Tokens
 * that were exchanged and are in their grace change with it. For a change of privilege exchange the token, too
 * (latchkey_rotate). Works where Redis is at its maxmemory.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE (it may have been done, and will show within the bound then: call it
 *          again; also when others kept changing the record for the whole deadline); CORRUPT; BAD_ARGUMENT (also where
 *          nothing is to change, and for a bit of flags that is not in flags_mask); NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms: two round trips. Guarantees B and C (for the old entry), D. */
LATCHKEY_API int latchkey_set_access(latchkey *lk, const char *token, size_t token_len, const latchkey_access *access);

/* The same for all sessions of a user: after a change of their role, say. Up to 1,000 at one moment, and those with it that
 * were made or changed while it ran; of more, all that there were when it was called. A login that is under way makes its
 * session with what its draft says: so change first what logins read; where one may have read it before and may end later,
 * use latchkey_revoke_user, which refuses it. Then it waits for the link's next beat, as that does.
 * *changed (may be NULL) is how many sessions it had to change, also when the status is not OK.
 * Returns  OK: all are so, and guarantees B and C hold for the old entry of each; UNAVAILABLE: some may be, and nothing is
 *          promised: call it again until it is OK; CORRUPT: as OK, but for sessions whose records cannot be read here (a
 *          newer version may have written them: revoke_user ends them); BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms, over all of them. Guarantees B and C (for the old entries), D, G. */
LATCHKEY_API int latchkey_set_user_access(latchkey *lk, uint64_t user_id, const latchkey_access *access,
                                          size_t *changed);

/* Sections: large attributes, kept beside the session and moved only when one is asked for; latchkey_load does not read them.
 * A session has at most 16, each of at most 1 MiB, named as fields are. They are the session's: exchanged, kept alive and
 * ended with it, and never there for longer. */
#define LATCHKEY_SECTION_SIZE_MAX (1024 * 1024)
LATCHKEY_API size_t latchkey_section_size_max(void);

/* Writes a section whole, or, where data is NULL and size 0, deletes it, there or not.
 * Returns  OK; NOT_FOUND; EXPIRED; MALFORMED; UNAVAILABLE (it may have been done); CORRUPT (also where something else than a
 *          section has its name in Redis: deleting it helps); BAD_ARGUMENT (also for the 17th); NO_MEMORY; FORKED.
 * Blocks   for at most deadline_ms, so let that suit the size. Guarantee D; deleting works where Redis is at its maxmemory. */
LATCHKEY_API int latchkey_section_put(latchkey *lk, const char *token, size_t token_len, const char *section,
                                      const void *data, size_t size);

/* Reads a section into data[capacity]. *found is 1, and *size its size, where there is one; else the session is there, and
 * has none of that name: OK, *found 0.
 * Returns  as latchkey_load, and NO_MEMORY where capacity is too small: then *found is 1, *size says what it takes, and
 *          data is as it was; data may be NULL if capacity is 0. (Without memory it is NO_MEMORY with *found 0.) CORRUPT
 *          also where a section was lost in Redis. FORKED.
 * Blocks   for at most deadline_ms. Guarantees A, E, H, I. */
LATCHKEY_API int latchkey_section_get(latchkey *lk, const char *token, size_t token_len, const char *section,
                                      void *data, size_t capacity, size_t *size, int *found);

/* The hash that binds key material to an entry: BLAKE2b-256 over every field whose name starts with "pq.", sorted by
 * name (bytewise), each as: name length (8 bytes, little-endian), name, size (8 bytes, little-endian), data. Zero
 * where there is none. Other fields are passed over. Returns OK or BAD_ARGUMENT (also for a name that stands
 * twice, and for more than 64).
 * Does not block; needs no handle. */
LATCHKEY_API int latchkey_key_hash(const latchkey_field *fields, size_t field_count, uint8_t hash[32]);

/* Does this key material belong to this entry? OK, or CORRUPT, or BAD_ARGUMENT. Constant time in the comparison. For
 * material that came from elsewhere than latchkey_load: a file, another cache, another process. */
LATCHKEY_API int latchkey_check_keys(const latchkey_entry *entry, const latchkey_field *fields, size_t field_count);

/* -------------------------------------------------------------------------------------------- cold start -- */

/* Fills L1 with the `count` most recently active sessions, most recent first. Reads Redis in pipelined batches.
 * *loaded (may be NULL) is how many are in L1 now because of it, also when the status is not OK.
 * Returns  OK; UNAVAILABLE (what was loaded stays); BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   while it runs, for at most deadline_ms for each batch of 128, of which three may come too late. Guarantees D, E, G, H. */
LATCHKEY_API int latchkey_prewarm(latchkey *lk, size_t count, size_t *loaded);

/* ----------------------------------------------------------------------------------------- observation -- */

/* Counters since open, and gauges of now. Fields are only ever added at the end. */
typedef struct latchkey_stats {
    uint64_t validates;           /* calls of validate, and of try_validate that did not answer AGAIN */
    uint64_t l1_hits;             /* answered from L1 */
    uint64_t l1_misses;           /* validates of well-formed tokens that L1 did not answer; see dead_refused */
    uint64_t malformed;           /* validates refused before anything was asked */
    uint64_t l2_reads;            /* records asked for in Redis: misses, loads, prewarming */
    uint64_t l2_writes;           /* scripts run in Redis: create, touch, set_fields, revoke */
    uint64_t l2_errors;           /* round trips that brought no answer, or an error */
    uint64_t joined;              /* misses that shared another's read */
    uint64_t fills;               /* entries put into L1 */
    uint64_t fills_refused;       /* answers not put into L1 because of a purge in between (guarantee D) */
    uint64_t evictions;           /* live entries that made room */
    uint64_t purges;              /* revocations applied to L1, present there or not */
    uint64_t empties;             /* times that L1 was emptied: another server, gaps beyond the log, revoke_everyone */
    uint64_t missed;              /* revocations whose message did not come, found by number */
    uint64_t reconnects;          /* of the link, after the first connection */
    uint64_t touches;             /* asked for by validate and load */
    uint64_t touches_dropped;     /* shed because the queue was full, or not done by Redis; the next use asks again */
    uint64_t beats;               /* leases confirmed */
    uint64_t lapses;              /* validates that found the lease lapsed and asked Redis */
    uint64_t corrupt;             /* records refused as CORRUPT */
    uint64_t pending;             /* gauge: revocations waiting for Redis */
    uint64_t l1_entries;          /* gauge: entries held, expired ones not yet replaced included */
    uint64_t l1_capacity;         /* gauge: entries asked for */
    uint64_t l1_bytes;            /* gauge: L1's memory, all of it */
    uint64_t connected;           /* gauge: 1 while the link is subscribed */
    int64_t lease_age_ms;         /* gauge: since the beat that confirmed the lease was sent; -1: there is no lease */
    double hit_rate;              /* l1_hits / (l1_hits + l1_misses), 0 before the first */
    double l2_read_amplification; /* l2_reads / validates, 0 before the first */
    uint64_t revocations_heard;   /* messages that carried a time: the histogram's count */
    double revocation_p50_ms;     /* publish in Redis to purge here; clocks compared at each beat, so */
    double revocation_p99_ms;     /*   good to about half a round trip */
    uint64_t session_size_p50_bytes; /* compact record, fields' names and values, of sessions created or loaded */
    uint64_t session_size_p99_bytes;
    double l2_read_p50_ms; /* round trip of a miss, as its caller saw it */
    double l2_read_p99_ms;
    char last_error[160];      /* the newest trouble with Redis in words, "" if none; never a secret */
    uint64_t replayed;         /* revocations whose message did not come, read in the log and applied to L1 */
    uint64_t stale;            /* answers with LATCHKEY_FLAG_STALE, under grace_ms */
    uint64_t audited;          /* entries of L1 that were compared with Redis, under audit_per_s; not among l2_reads */
    uint64_t audit_suspicions; /* those that differed, as they do while a revocation is under way; 64 at a time */
    uint64_t audit_disagreements; /* those that L1 held for longer than the bound of C after that: 0, or see the log */
    uint64_t shed;                /* calls and submits refused because in_flight of them waited for Redis already */
    uint64_t retries;             /* reads repeated because a connection broke; at most one for ten successes */
    uint64_t dead_refused; /* validates of tokens known to be dead, refused without asking Redis again; no misses */
    uint64_t refreshes; /* entries in use that the link was asked to read again before their time; not among l2_reads */
    uint64_t refreshes_dropped; /* those shed, or not answered by Redis; the next hit asks again */
    uint64_t reuses;          /* old tokens that were used after the grace of their rotation, and ended their session */
    uint64_t foreign_reads;   /* foreign tokens of which Redis was asked whose they are */
    uint64_t foreign_unknown; /* those that were nobody's */
    uint64_t section_reads, section_writes; /* sections asked for (found or not), and written or deleted */
    uint64_t section_size_p50_bytes, section_size_p99_bytes; /* of those written or read */
} latchkey_stats;

/* Copies the first stats_size bytes of the statistics. Pass sizeof(latchkey_stats). Returns OK, BAD_ARGUMENT or FORKED.
 * Does not block. Quantiles are of buckets 6% wide (the bucket's upper edge). */
LATCHKEY_API int latchkey_stats_read(latchkey *lk, latchkey_stats *stats, size_t stats_size);

/* The same, and the histograms, as Prometheus text (exposition format 0.0.4), NUL-terminated. *needed is the size that
 * holds it all, NUL included. Returns OK; NO_MEMORY where text_size is smaller than that (text may then be NULL if
 * text_size is 0); BAD_ARGUMENT; FORKED. Does not block. */
LATCHKEY_API int latchkey_metrics(latchkey *lk, char *text, size_t text_size, size_t *needed);

/* ------------------------------------------------------------------------------------------- analytics -- */

#define LATCHKEY_SAMPLE_MAX 1000000 /* as many sessions are looked at, at most */
#define LATCHKEY_SAMPLE_DEVICES 16
/* Spans of time: less than this, and not in the one before; the last has no end. */
#define LATCHKEY_SPANS 8
#define LATCHKEY_SPANS_MS                                                                                              \
    {                                                                                                                  \
        60000, 300000, 900000, 1800000, 3600000, 14400000, 43200000, INT64_MAX                                         \
    }
LATCHKEY_API size_t latchkey_spans(void);
LATCHKEY_API int64_t latchkey_span_ms(size_t span); /* that of LATCHKEY_SPANS_MS; 0: there is none */
LATCHKEY_API size_t latchkey_sample_max(void);
LATCHKEY_API size_t latchkey_sample_devices(void);

typedef struct latchkey_device_count {
    uint32_t device, reserved;
    uint64_t sessions;
} latchkey_device_count;
LATCHKEY_API size_t latchkey_device_count_size(void);

/* Who is logged in, by a sample. Numbers of sessions and users are estimates for all of them, unless `exact`; what is not
 * known is 0. Fields are only ever added at the end. */
typedef struct latchkey_population {
    uint64_t sessions;        /* live sessions */
    uint64_t sessions_margin; /* wrong by more than this in 5 of 100 samples; 0 where exact */
    uint64_t exact;           /* 1: all were looked at */
    uint64_t users;           /* who have them */
    uint64_t indexed;         /* names in the index of activity, of which some are over */
    uint64_t looked_at;       /* of those; where not all were, one may have been twice */
    uint64_t living;          /* of those */
    uint64_t damaged;         /* of those: what lies there is no record */
    uint64_t peak;            /* at most so many names were in the index at once: see below */
    int64_t peak_at_ms;       /* when; by the clock of Redis, Unix milliseconds */
    int64_t taken_at_ms;      /* when this sample was begun, by the same */
    /* of the living: */
    int64_t age_mean_ms, age_p50_ms, age_p99_ms;    /* since the login */
    int64_t used_mean_ms;                           /* from the login to the last use */
    int64_t idle_mean_ms, idle_p50_ms, idle_p99_ms; /* since the last use, which Redis knows to a twelfth of idle_ms */
    int64_t duration_mean_ms;                       /* of sessions from login to end: see below; 0: not known */
    uint64_t age[LATCHKEY_SPANS], idle[LATCHKEY_SPANS];    /* sessions by span */
    uint64_t devices;                                      /* classes of device that were seen, and */
    latchkey_device_count device[LATCHKEY_SAMPLE_DEVICES]; /* the commonest, the largest first */
    /* of some of the living, up to 256: */
    uint64_t sized;                                /* so many; each of these needs its right in Redis, see below */
    uint64_t fields_p50, fields_p99;               /* the application's fields */
    uint64_t record_p50_bytes;                     /* the compact record, which a miss moves */
    uint64_t session_p50_bytes, session_p99_bytes; /* names and values of all fields, the record among them */
    uint64_t redis_p50_bytes, redis_p99_bytes, redis_mean_bytes; /* the hash in Redis' memory, without the indexes */
    /* from a walk over some of all keys: */
    uint64_t keys;       /* in the database, all of them, ours or not */
    uint64_t scanned;    /* of those; 0: no right to SCAN */
    uint64_t unindexed;  /* live sessions that the index does not know, so that nothing above counts them */
    uint64_t old_tokens; /* what rotations with a grace left behind */
} latchkey_population;
LATCHKEY_API size_t latchkey_population_size(void);

/* Looks at `count` sessions (at most LATCHKEY_SAMPLE_MAX) drawn from the indexes of activity, or at all where there are no
 * more than that, and at as many keys (at most 10,000) of the database; adds up what it saw, and copies the first
 * population_size bytes of it: pass sizeof(latchkey_population). Everything is read in small steps with a pause as long as
 * the step after each, so Redis is never held up for longer than some hundreds of microseconds; nothing is changed, and no
 * session is used by it. It needs no key of seal_key_file. What changes meanwhile is seen or not.
 * `peak` is the sum of what each partition had at its own peak, kept since the first session: an upper bound, of names in the
 * index, which holds few who are over; peak_at_ms is the median of the partitions'. `duration_mean_ms` supposes that logins
 * come evenly: the living, divided by the rate of the logins of the last ten minutes (or of idle_ms, if that is less).
 * Beside the rights of every instance, SCAN, MEMORY USAGE, HKEYS and HSTRLEN tell `unindexed`, `old_tokens`, redis_*_bytes and
 * session_*_bytes; without them those are 0.
 * Returns  OK; UNAVAILABLE; BAD_ARGUMENT; NO_MEMORY; FORKED.
 * Blocks   while it runs, for at most deadline_ms for each step of 64 sessions, of which three may come too late. */
LATCHKEY_API int latchkey_sample(latchkey *lk, size_t count, latchkey_population *population, size_t population_size);

#ifdef __cplusplus
}
#endif
#endif

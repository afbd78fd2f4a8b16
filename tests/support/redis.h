/* SPDX-License-Identifier: MIT
 *
 * A private, real redis-server: on a unix socket and on a free loopback port, in a directory of its own. It dies with
 * this process whatever happens (PR_SET_PDEATHSIG), and its directory is removed at exit, also after a failed test.
 *
 * Start servers from the main thread: the kernel's parent-death signal goes off when the *thread* that forked ends.
 */
#ifndef LATCHKEY_TESTS_REDIS_H
#define LATCHKEY_TESTS_REDIS_H

#include <hiredis/hiredis.h>
#include <stddef.h>
#include <sys/types.h>

#define REDIS_MAX_ARGUMENTS 48

typedef struct redis {
    pid_t pid; /* 0: not running */
    int port;
    char dir[96];
    char socket[112];
    const char *password;                 /* of --requirepass, for the control connection; or NULL */
    int tls;                              /* by --tls-cert-file: then the port is for TLS; the unix socket never is */
    char *arguments[REDIS_MAX_ARGUMENTS]; /* as given, for a restart */
    int ahead_s;                          /* its clock is so far ahead of the machine's */
    int alone;                            /* a cluster of its own: LATCHKEY_TEST_CLUSTER */
    char secret[32];                      /* of a Sentinel with `requirepass` */
    char file[112];                       /* of a Sentinel: its configuration, which it writes itself; else "" */
    redisContext *control;                /* made when first used and again when it broke */
    struct redis *next;
} redis;

/* Starts a server with extra arguments, redis_start("--maxmemory", "8mb") or redis_start(NULL), and waits until it
 * answers. No persistence unless asked for. If LATCHKEY_TEST_CLUSTER is set, it is a cluster of one node, and handles on
 * it are opened by redis+cluster://: so whole programs are run on a cluster. Fails the test when it cannot be started. */
#define redis_start(...) redis_start_with((const char *const[]){__VA_ARGS__, NULL})
redis *redis_start_with(const char *const *arguments);
/* The same with a wall clock that is so many seconds ahead of the machine's, or behind it. */
redis *redis_start_ahead(int ahead_s, const char *const *arguments);

/* A Sentinel that watches this primary under the name `mymaster`, and wants `quorum` of them to agree. It believes a server down
 * after a minute, so that a slow machine is no failover, or after as long as it is told. `settings` are lines of its file, before
 * `sentinel monitor`; NULL: none. */
redis *redis_start_sentinel(redis *primary, int quorum, const char *settings);
void redis_sentinel_patience(redis *sentinel, int ms);

void redis_end(redis *server); /* kills it, removes its directory, frees it. NULL is allowed */

void redis_kill(redis *server);   /* SIGKILL, and waits for the end */
void redis_boot(redis *server);   /* after redis_kill: starts it again as it was, on the same port and directory */
void redis_launch(redis *server); /* the same without waiting until it answers */
void redis_add_argument(redis *server, const char *argument); /* for its next start */
void redis_freeze(redis *server);                             /* SIGSTOP, and waits until it has stopped */
void redis_thaw(redis *server);                               /* SIGCONT */

/* Runs one command over the control connection, formatted as hiredis does. The reply is the caller's, an error reply
 * included; no reply fails the test. */
redisReply *redis_command(redis *server, const char *format, ...);

/* The same; an error reply fails the test as well. The reply is freed. */
void redis_do(redis *server, const char *format, ...);
/* The same for an integer or a text that holds one; nil gives -1. */
long long redis_integer(redis *server, const char *format, ...);
/* The same for a text: copied into `out`, NUL-terminated, shortened if need be; nil gives "". Returns its length. */
size_t redis_text(redis *server, char *out, size_t out_size, const char *format, ...);

/* One number out of INFO <section>, for example ("stats", "total_net_output_bytes"); 0 where there is none. */
long long redis_info(redis *server, const char *section, const char *name);
/* Calls of one command so far, those from scripts included, by INFO commandstats. */
long long redis_calls(redis *server, const char *command);

/* All keys that match a pattern, sorted, as a NULL-terminated array to be freed with redis_free_keys. */
char **redis_keys(redis *server, const char *pattern, size_t *count);
void redis_free_keys(char **keys);
size_t redis_count_keys(redis *server, const char *pattern);

/* Everything that the server is asked to do from now on (MONITOR), as one text, when watching ends. */
typedef struct redis_watch redis_watch;
redis_watch *redis_watch_start(redis *server);
char *redis_watch_end(redis_watch *watch, size_t *size); /* the text is the caller's, NUL-terminated */

/* All bytes of all files in the server's directory, one after another; the caller frees them. */
unsigned char *redis_files(redis *server, size_t *size);

#endif

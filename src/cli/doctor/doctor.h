/* latchkey doctor: what is examined, and what is found. One file for each subject. */
#ifndef LK_CLI_DOCTOR_DOCTOR_H
#define LK_CLI_DOCTOR_DOCTOR_H

#include "cli/cli.h"
#include "cli/nodes.h"
#include "cli/query.h"
#include "cli/survey.h"
#include "l2/sentinels.h"

enum { FINDINGS_MOST = 48, FINDING_FIX = 900 };

typedef struct finding {
    const char *name; /* static; it is in the manual page, or in the table of src/redis/README.md; never changed */
    const char *guarantees; /* the letters; "": none of them */
    int level;              /* LATCHKEY_LOG_... */
    char text[640];
    char fix[FINDING_FIX]; /* a command, or what to do */
} finding;

typedef struct doctor {
    const cli *c;
    query *app;   /* as the application connects */
    query *admin; /* the user that may see more: --admin, or the same as `app`; always in the application's database */
    const char *admin_url;
    uint64_t keys_most;
    /* learnt on the way: */
    char version[32], unseen[256];
    double round_trip_ms, clock_ahead_ms; /* NAN: not known */
    uint64_t keys_seen;
    nodes *nodes, *admins; /* of a cluster, as the application and as the administrator connect; NULL: there is none */
    struct doctor_node {
        char at[112], version[32];
        unsigned partitions, replicas;
        int64_t timeout_ms, oldest_ms, clock_ahead_ms; /* the first two -1: not known */
    } * node;
    finding found[FINDINGS_MOST];
    size_t count;
} doctor;

/* Adds a finding. `fix` may hold the names of the user, of the prefix and the like, but nothing secret. */
finding *doctor_find(doctor *d, int level, const char *name, const char *guarantees, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void doctor_fix(finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

void doctor_append(char *list, size_t size, const char *one); /* behind a comma, if it is not the first */

/* Notes that something could not be examined because a right is missing. */
void doctor_unseen(doctor *d, const char *what);

/* The subjects, in this order. Each asks what it needs, and leaves nothing behind in Redis. */
void doctor_wire(doctor *d); /* TLS, passwords, round trips, the clock */
/* Which sentinels answer, and which agree; `examine`: also whether they could carry out a failover. */
void doctor_sentinels(doctor *d, bool examine);
void doctor_examine_sentinels(doctor *d, lk_sentinels *s);
void doctor_failover(doctor *d, const survey *s);      /* what a failover now would cost */
void doctor_replicas(doctor *d, const survey_node *n); /* could its replicas be used, if they took over? */
void doctor_failover_line(doctor *d);                  /* the gravest of that, with sentinels or in a cluster */
void doctor_cluster(doctor *d);                        /* opens `nodes`, and says what is wrong with them together */
/* The number of partitions, as Redis has recorded it. Call it before a handle is opened, which records it. True: it was recorded
 * nowhere. */
bool doctor_partitions(doctor *d);
/* Deletes what a handle recorded there, and the counters that it began, where nothing else has been written since. */
void doctor_unrecord(doctor *d);
/* From now on `app` and `admin` are the i-th primary of the cluster. False: there is none, or it does not answer. Without
 * a cluster there is one, and it is not changed. */
bool doctor_at_node(doctor *d, unsigned i);
void doctor_merge(doctor *d, size_t from,
                  unsigned i); /* the findings from there on are of the i-th: each is said once */
void doctor_cluster_end(doctor *d);
void doctor_settings(doctor *d); /* INFO and CONFIG GET, judged by redis/server_check.c; memory */
void doctor_rights(doctor *d);   /* what the application's user may do, and may not */
void doctor_keys(doctor *d);     /* the keys under the prefix */
void doctor_files(doctor *d);    /* files of keys and passwords on this machine */

/* What CONFIG GET answers: a number, or 1 for yes and 0 for no; -1: it is not known. */
int64_t doctor_setting(query *p, const char *name);

/* Connects as the application does, and as the user of --admin or LATCHKEY_ADMIN_CONFIG; then `exam` looks, and returns the exit
 * status. */
int doctor_visit(const cli *c, const char *admin_url, uint64_t keys_most, int (*exam)(doctor *d));
int doctor_level(const char *name); /* LATCHKEY_LOG_...; -1: it is none */
void doctor_print_findings(const doctor *d);
void doctor_json_findings(json *j, const doctor *d); /* the member `findings` */
void doctor_say_unseen(doctor *d);                   /* what doctor_unseen noted, as a finding */

/* The rights that the application's line of src/redis/acl.txt grants, in its order; ends with NULL. CMake makes it from
 * that file. */
extern const char *const doctor_rights_needed[];

#endif

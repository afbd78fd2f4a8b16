/* The connections to the sentinels, for sentinels.c and sentinels_tool.c only. */
#ifndef LK_L2_SENTINELS_PARTS_H
#define LK_L2_SENTINELS_PARTS_H

#include "l2/sentinels.h"
#include "redis/lookup.h"

enum {
    LK_SENTINEL_QUESTIONS = 16, /* unanswered, on one connection */
    LK_SENTINEL_EXAM = 16       /* tags from here on are a tool's: this one and the number of the exam */
};
enum lk_sentinel_state { LK_SENTINEL_DOWN, LK_SENTINEL_LOOKING_UP, LK_SENTINEL_CONNECTING, LK_SENTINEL_UP };

typedef struct lk_sentinel {
    enum lk_sentinel_state state;
    lk_addresses addresses;
    unsigned address;
    lk_lookup *lookup;
    struct sockaddr_storage peer; /* what it last connected to; family AF_UNSPEC (0): nothing yet */
    char id[LK_SENTINEL_ID_SIZE]; /* which sentinel last answered under this name; "": it does not tell */
    lk_socket socket;
    lk_conn conn;
    int64_t until_ms, retry_at_ms;
    int64_t asked_ms[LK_SENTINEL_QUESTIONS]; /* a ring of those that are not answered yet */
    unsigned first, out;
    unsigned failures;
    bool tried;             /* it has answered, or failed to */
    char auth_why[128];     /* why it did not accept the password; "": it did, or there was none */
    lk_sentinel_exam *exam; /* a tool's: what it answers; NULL: there is none */
} lk_sentinel;

struct lk_sentinels {
    const lk_config *config;
    lk_naming naming;
    int64_t asked_ms, apart_ms; /* when all of them were last asked; how far apart questions are */
    int64_t patience_ms;        /* for an answer */
    uint64_t random;
    uint64_t said_other; /* a mark of the sentinel that was last logged as not listed; 0: none */
    bool news;           /* the primary is another one, and this was not reported yet */
    lk_sentinel at[LK_SENTINELS_MAX];
};

/* in sentinels_tool.c. True: the reply was kept. */
bool lk_sentinel_examined(lk_sentinel *at, lk_reply *reply);

#endif

/* See probe.h. Records are read as the scripts read them: the sealed parts (seal.h) are not needed. */
#include "analytics/probe.h"

#include <stdio.h>
#include <string.h>

void lk_sampling_ask_session(lk_sampling *s, const lk_member *m)
{
    LK_ASK(&s->q, "HMGET", lk_batch_session_key(&s->q, m), "v", "x");
    LK_ASK(&s->q, "PTTL", lk_batch_session_key(&s->q, m));
}

/* "idle_ms expires_at_ms user_id" */
static bool user_of(const lk_reply *x, uint64_t *user_id)
{
    unsigned long long idle, expires, user;
    if (x->type != LK_REPLY_STRING || sscanf(x->text, "%llu %llu %llu", &idle, &expires, &user) != 3) return false;
    *user_id = user;
    return true;
}

lk_found lk_sampling_judge(const lk_sampling *s, const lk_member *m, lk_reply *const replies[LK_SAMPLE_CALLS])
{
    lk_found f = {.damaged = false};
    const lk_reply *fields = replies[0];
    if (!lk_reply_shaped(fields, "**")) {
        f.damaged = fields->type == LK_REPLY_ERROR && strncmp(fields->text, "WRONGTYPE", 9) == 0;
        return f;
    }
    const lk_reply *v = lk_reply_at(fields, 0), *x = lk_reply_at(fields, 1);
    if (v->type == LK_REPLY_NIL && x->type == LK_REPLY_NIL) return f; /* the session is over */
    bool good = v->type == LK_REPLY_STRING && lk_record_header_read(v->text, v->size, &f.record);
    f.rotated = good && f.record.rotated;
    f.damaged = !good || (!f.rotated && !user_of(x, &f.user_id));
    const lk_sampled_partition *p = &s->partitions[m->partition];
    f.lives = !f.damaged && !f.rotated && lk_integer(replies[1]) > 0 && f.record.expires_at_ms > p->now_ms &&
              f.record.created_at_ms > p->cutoff_ms;
    return f;
}

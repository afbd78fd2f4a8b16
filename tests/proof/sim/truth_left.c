/* SPDX-License-Identifier: MIT
 *
 * What is left in Redis when all is over. Every token that an instance ever made is remembered here, and what became of it. At the end of a
 * world, long after the last fault, the keys of the acting primaries are looked through: a session whose token nobody got is gone, if the
 * library promised to end it; each session is in the indexes by which all of its user's, or all of everybody's, are ended, and they last as
 * long as it does; an index, a family or a section of a session that was ended is gone; and what has no expiry is meant to have none.
 */
#include "truth_inside.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define in truth_in

typedef struct made { /* a token */
    char selector[LATCHKEY_SELECTOR_LENGTH];
    bool used;       /* this place is */
    bool given;      /* a client has it, or had it before it was exchanged; or it moved in */
    bool no_place;   /* the link could not be told to end its session */
    bool graced;     /* it was made by an exchange with a grace: then the old one leads to its session */
    int machine;     /* that made it */
    int64_t ran_us;  /* a script made its session on the acting primary */
    int64_t gone_us; /* a script ended it there */
    int64_t
        failed_us; /* the call gave up, and does not give the token away; or it said so to the link, which is sooner */
} made;

static struct {
    made *of;
    size_t count, room; /* a power of two */
    int64_t restarted_us[MACHINES_MAX];
} all;

void left_begin(void)
{
    free(all.of);
    memset(&all, 0, sizeof all);
}

static made *place_for(const char *selector)
{
    size_t i = lk_hash(selector, LATCHKEY_SELECTOR_LENGTH, 1) & (all.room - 1);
    while (all.of[i].used && memcmp(all.of[i].selector, selector, LATCHKEY_SELECTOR_LENGTH))
        i = (i + 1) & (all.room - 1);
    return &all.of[i];
}

static void grow(void)
{
    made *old = all.of;
    size_t room = all.room;
    all.room = room ? 2 * room : 1024;
    if (!(all.of = calloc(all.room, sizeof *all.of))) abort();
    for (size_t i = 0; i < room; i++)
        if (old[i].used) *place_for(old[i].selector) = old[i];
    free(old);
}

static made *find(const char *selector)
{
    made *t = all.room ? place_for(selector) : NULL;
    return t && t->used ? t : NULL;
}

static made *get(const char *selector)
{
    if (2 * all.count >= all.room) grow();
    made *t = place_for(selector);
    if (t->used) return t;
    *t = (made){.used = true};
    memcpy(t->selector, selector, sizeof t->selector);
    all.count++;
    return t;
}

/* ------------------------------------------------------------------------------------------------ what is told -- */

void truth_token_made(const machine *m, const char *selector)
{
    get(selector)->machine = m->index;
    memcpy(task_notes()->making, selector, LATCHKEY_SELECTOR_LENGTH);
}

void truth_disowned(const char *selector)
{
    made *t = get(selector);
    if (!t->failed_us) t->failed_us = w.now_us;
}

void truth_no_place(const char *selector)
{
    totals.no_place++;
    get(selector)->no_place = true;
}

void truth_token_given(bool given)
{
    made *t = *task_notes()->making ? find(task_notes()->making) : NULL;
    *task_notes()->making = 0;
    if (t && given) t->given = true;
    else if (t && !t->failed_us) t->failed_us = w.now_us;
}

void left_ran(const char *selector, bool graced, bool moved_in)
{
    made *t = get(selector);
    t->ran_us = w.now_us;
    t->graced |= graced;
    t->given |= moved_in;
    t->gone_us = NEVER;
}

void left_gone(const char *selector)
{
    made *t = find(selector);
    if (t) t->gone_us = w.now_us;
}

void left_restarted(const machine *m) { all.restarted_us[m->index] = w.now_us; }

/* ---------------------------------------------------------------------------------------------------- judges -- */

/* The end of what was made then may have been lost. */
static bool lost_since(int64_t us) { return in.lost_us && in.lost_us >= us; }

static bool was_ended(const made *t) { return t && t->gone_us && !lost_since(t->gone_us); }

/* Nobody has the token; if the call's script came when the call had given up, the link has tried to end the session before it was made. */
static bool may_stay(const made *t)
{
    bool late = !t->failed_us || t->ran_us > t->failed_us, forgotten = all.restarted_us[t->machine] >= t->ran_us;
    return t->given || t->graced || t->no_place || late || forgotten || lost_since(t->ran_us);
}

/* That part of the key's partition: "u:7" of "lk:{3}:s:..." is "lk:{3}:u:7". */
static void beside(const char *key, const char *part, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "%.*s%s", (int)(strstr(key, "}:") + 2 - key), key, part);
}

static bool names(int server, const char *index, const char *selector)
{
    const char *one;
    for (size_t i = 0; (one = server_member(server, index, i)); i++)
        if (!memcmp(one, selector, LATCHKEY_SELECTOR_LENGTH)) return true;
    return false;
}

/* A touch prolongs them by commands of their own, each from when it arrives. The index gets a minute more, and no hole is much longer. */
static int64_t held_back_ms(void)
{
    int64_t longest_ms = 3 * in.promise.staleness_us / MS + 20000;
    return longest_ms > 60000 ? longest_ms - 60000 : 0;
}

static void judge_indexed(int server, const char *key, const char *index)
{
    const char *selector = strrchr(key, ':') + 1;
    if (!server_holds(server, index) || !names(server, index, selector))
        fail("left: %s does not name %s, which is alive", index, key);
    else if (server_expiry_ms(server, index) < server_expiry_ms(server, key) - held_back_ms())
        fail("left: %s ends %.3f s before %s, which it names", index,
             (double)(server_expiry_ms(server, key) - server_expiry_ms(server, index)) / 1e3, key);
}

/* The user's index has the cut-off in its name: one of another cut-off is nobody's. */
static void index_of(int server, const char *key, uint64_t user, char out[KEY_SIZE])
{
    char cutoff[KEY_SIZE], part[64];
    beside(key, "e", cutoff);
    int64_t ms = server_number(server, cutoff);
    snprintf(part, sizeof part, ms ? "u:%" PRIu64 ":%" PRId64 : "u:%" PRIu64, user, ms);
    beside(key, part, out);
}

static void judge_session(int server, const char *key)
{
    const char *selector = strrchr(key, ':') + 1;
    const made *t = find(selector);
    word x = server_field(server, key, "x");
    char index[KEY_SIZE];
    int64_t idle_ms, expires_ms;
    uint64_t user;
    if (truth_is_over(server, key)) return;
    if (!t || !may_stay(t))
        fail(
            "left: nobody has the token of %s, which was made %.3f s ago, and the call that made it gave up %.3f s ago",
            key, (double)(w.now_us - (t ? t->ran_us : 0)) / 1e6, (double)(w.now_us - (t ? t->failed_us : 0)) / 1e6);
    if (servers_clock_spread_us() || !x.text) return; /* an index may have ended by a clock that was ahead */
    if (sscanf(x.text, "%" SCNd64 " %" SCNd64 " %" SCNu64, &idle_ms, &expires_ms, &user) != 3) return;
    index_of(server, key, user, index);
    judge_indexed(server, key, index);
    beside(key, "a", index);
    judge_indexed(server, key, index);
}

/* An old token's record leads to a session, as long as that is not ended. */
static void judge_old_token(int server, const char *key)
{
    word f = server_field(server, key, "f");
    char family[KEY_SIZE], part[64];
    if (truth_is_over(server, key) || servers_clock_spread_us()) return; /* as above */
    snprintf(part, sizeof part, "f:%.*s", f.text ? (int)f.size : 0, f.text ? f.text : "");
    beside(key, part, family);
    if (!names(server, family, strrchr(key, ':') + 1)) fail("left: the old token %s is in no family", key);
}

static void judge_family(int server, const char *key)
{
    const char *heir = NULL, *one;
    for (size_t i = 0; (one = server_member(server, key, i)); i++) heir = one;
    if (heir && was_ended(find(heir))) fail("left: the family %s of %.20s, which was ended", key, heir);
}

static void judge_index(int server, const char *key)
{
    const char *one, *user = strstr(key, "}:u:");
    char index[KEY_SIZE] = "";
    if (user) index_of(server, key, strtoull(user + 4, NULL, 10), index);
    if (user && strcmp(key, index) != 0) return;
    for (size_t i = 0; (one = server_member(server, key, i)); i++)
        if (strlen(one) == LATCHKEY_SELECTOR_LENGTH && was_ended(find(one)))
            fail("left: %s names %.20s, which was ended", key, one);
}

static void judge_section(const char *key, const char *selector)
{
    if (was_ended(find(selector))) fail("left: the section %s of a session that was ended", key);
}

static void judge_key(int server, const char *key)
{
    const char *kind = strstr(key, "}:");
    if (!kind || server_place(key) != server) return;
    kind += 2;
    bool lasts = strchr("emqrw", *kind) && !kind[1];
    if (!lasts && server_expiry_ms(server, key) < 0) fail("left: %s has no expiry", key);
    if (kind[1] && kind[1] != ':') fail("left: %s is a key of no known kind", key);
    bool session = *kind == 's' && strlen(kind + 2) == LATCHKEY_SELECTOR_LENGTH;
    totals.looked_at += session;
    if (session && truth_is_rotated(server, key)) judge_old_token(server, key);
    else if (session) judge_session(server, key);
    else if (*kind == 's') judge_section(key, kind + 2);
    else if (*kind == 'f') judge_family(server, key);
    else if (*kind == 'a' || *kind == 'u') judge_index(server, key);
}

void left_judge(void)
{
    for (int i = 0; i < server_count(); i++)
        if (server_is_acting(i)) server_see_keys(i, judge_key);
}

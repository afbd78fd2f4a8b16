/* SPDX-License-Identifier: MIT
 *
 * The store's commands on sorted sets: in an array, by score and then by the bytes of the member.
 */
#include "keyspace.h"

#include "base/hash.h"

#include <math.h>
#include <string.h>

static int order(const item *a, double score, word name)
{
    if (a->score != score) return a->score < score ? -1 : 1;
    int by_name = memcmp(a->name, name.text, a->name_size < name.size ? a->name_size : name.size);
    return by_name ? by_name : (a->name_size > name.size) - (a->name_size < name.size);
}

/* How many stand before it. */
static size_t place_by_order(const object *o, double score, word name)
{
    size_t from = 0, to = o->count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (order(&o->item[middle], score, name) < 0) from = middle + 1;
        else to = middle;
    }
    return from;
}

static void put(object *o, double score, word name)
{
    size_t old = place_of_item(o, name);
    if (old < o->count && o->item[old].score == score) return;
    if (old < o->count) remove_items(o, old, 1);
    *insert_item(o, place_by_order(o, score, name)) =
        (item){.score = score, .name = copy_text(name.text, name.size), .name_size = name.size};
}

/* ------------------------------------------------------------------------------------------------- ZADD -- */

typedef struct add_options {
    bool nx, xx, gt, lt, ch, incr;
    size_t first; /* word of the scores and members */
} add_options;

static bool take_add_options(run *r, add_options *o)
{
    size_t i = 2;
    for (; i < r->count; i++) {
        word w = r->words[i];
        if (word_is(w, "NX")) o->nx = true;
        else if (word_is(w, "XX")) o->xx = true;
        else if (word_is(w, "GT")) o->gt = true;
        else if (word_is(w, "LT")) o->lt = true;
        else if (word_is(w, "CH")) o->ch = true;
        else if (word_is(w, "INCR")) o->incr = true;
        else break;
    }
    o->first = i;
    const char *wrong = NULL;
    if (i == r->count || (r->count - i) % 2) wrong = "ERR syntax error";
    else if (o->nx && o->xx) wrong = "ERR XX and NX options at the same time are not compatible";
    else if ((o->gt && o->nx) || (o->lt && o->nx) || (o->gt && o->lt))
        wrong = "ERR GT, LT, and/or NX options at the same time are not compatible";
    else if (o->incr && r->count - i > 2) wrong = "ERR INCR option supports a single increment-element pair";
    if (wrong) reply_error(r, wrong);
    return !wrong;
}

/* What becomes of one member; *score: what it has then. */
typedef struct added {
    int64_t new, moved;
    bool refused, no_number;
} added;

static void not_a_number(run *r) { reply_error(r, "ERR resulting score is not a number (NaN)"); }

static void add_one(run *r, object **o, const add_options *options, double *score, word name, added *count)
{
    size_t place = *o ? place_of_item(*o, name) : 0;
    const item *there = *o && place < (*o)->count ? &(*o)->item[place] : NULL;
    if (there && options->incr) *score += there->score;
    if (isnan(*score)) {
        count->no_number = true;
        return;
    }
    count->refused = (there && options->nx) || (!there && options->xx) ||
                     (there && options->gt && *score <= there->score) ||
                     (there && options->lt && *score >= there->score);
    if (count->refused || (there && there->score == *score)) return;
    if (there) count->moved++;
    else count->new ++;
    *o = get_or_make(r, *o, r->words[1], A_SORTED_SET);
    put(*o, *score, name);
}

static void run_zadd(run *r)
{
    add_options options = {0};
    object *o;
    added count = {0};
    double score = 0;
    if (!take_add_options(r, &options)) return;
    for (size_t i = options.first; i < r->count; i += 2)
        if (!take_score(r, r->words[i], &score)) return;
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    for (size_t i = options.first; i < r->count; i += 2) {
        word_score(r->words[i], &score, NULL);
        add_one(r, &o, &options, &score, r->words[i + 1], &count);
    }
    if (count.new || count.moved) wrote(r, o);
    if (count.no_number) not_a_number(r);
    else if (!options.incr) reply_integer(r, count.new + (options.ch ? count.moved : 0));
    else if (count.refused) reply_nil(r);
    else reply_score(r, score);
}

static void run_zincrby(run *r)
{
    object *o;
    added count = {0};
    double score;
    if (!take_score(r, r->words[2], &score) || !get(r, r->words[1], A_SORTED_SET, &o)) return;
    add_one(r, &o, &(add_options){.incr = true}, &score, r->words[3], &count);
    if (count.new || count.moved) wrote(r, o);
    if (count.no_number) not_a_number(r);
    else reply_score(r, score);
}

/* ----------------------------------------------------------------------------------------------- reading -- */

static void run_zcard(run *r)
{
    object *o;
    if (get(r, r->words[1], A_SORTED_SET, &o)) reply_integer(r, o ? (int64_t)o->count : 0);
}

static void run_zscore(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    size_t i = o ? place_of_item(o, r->words[2]) : 0;
    if (o && i < o->count) reply_score(r, o->item[i].score);
    else reply_nil(r);
}

static void run_zmscore(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    reply_array(r, r->count - 2);
    for (size_t n = 2; n < r->count; n++) {
        size_t i = o ? place_of_item(o, r->words[n]) : 0;
        if (o && i < o->count) reply_score(r, o->item[i].score);
        else reply_nil(r);
    }
}

static void run_zrank(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    size_t i = o ? place_of_item(o, r->words[2]) : 0;
    if (o && i < o->count) reply_integer(r, (int64_t)i);
    else reply_nil(r);
}

typedef struct scores {
    double min, max;
    bool min_apart, max_apart;
} scores;

static bool take_scores(run *r, word min, word max, scores *s)
{
    bool good = word_score(min, &s->min, &s->min_apart) && word_score(max, &s->max, &s->max_apart);
    if (!good) reply_error(r, "ERR min or max is not a float");
    return good;
}

/* The first place in the range; *count: how many are in it. */
static size_t in_scores(const object *o, const scores *s, size_t *count)
{
    size_t first = 0, end = 0;
    while (o && first < o->count && (s->min_apart ? o->item[first].score <= s->min : o->item[first].score < s->min))
        first++;
    for (end = first; o && end < o->count; end++)
        if (s->max_apart ? o->item[end].score >= s->max : o->item[end].score > s->max) break;
    *count = end - first;
    return first;
}

static void run_zcount(run *r)
{
    object *o;
    scores s;
    size_t count;
    if (!take_scores(r, r->words[2], r->words[3], &s) || !get(r, r->words[1], A_SORTED_SET, &o)) return;
    in_scores(o, &s, &count);
    reply_integer(r, (int64_t)count);
}

typedef struct range_options {
    bool by_score, backwards, with_scores;
    bool limited;
    int64_t skip, most;
} range_options;

static bool take_range_options(run *r, bool generic, range_options *o)
{
    for (size_t i = 4; i < r->count; i++) {
        word w = r->words[i];
        if (word_is(w, "WITHSCORES")) o->with_scores = true;
        else if (generic && word_is(w, "BYSCORE")) o->by_score = true;
        else if (generic && word_is(w, "REV")) o->backwards = true;
        else if (word_is(w, "LIMIT") && i + 2 < r->count) {
            if (!take_integer(r, r->words[i + 1], &o->skip) || !take_integer(r, r->words[i + 2], &o->most))
                return false;
            o->limited = true;
            i += 2;
        } else {
            no_syntax(r);
            return false;
        }
    }
    if (!o->limited || o->by_score) return true;
    reply_error(r, "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    return false;
}

static bool take_places(run *r, const object *o, const range_options *options, size_t *first, size_t *count)
{
    bool swapped = options->by_score && options->backwards; /* then the larger one comes first */
    scores s;
    int64_t from, to;
    if (options->by_score) {
        if (!take_scores(r, r->words[swapped ? 3 : 2], r->words[swapped ? 2 : 3], &s)) return false;
        *first = in_scores(o, &s, count);
        return true;
    }
    if (!take_integer(r, r->words[2], &from) || !take_integer(r, r->words[3], &to)) return false;
    *first = take_range(from, to, o ? o->count : 0, count);
    if (options->backwards && o) *first = o->count - *first - *count;
    return true;
}

static void reply_range(run *r, bool generic, range_options options)
{
    object *o;
    size_t first = 0, count = 0;
    if (!take_range_options(r, generic, &options)) return;
    if (!take_places(r, NULL, &options, &first, &count)) return; /* what is wrong with the words comes first */
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    take_places(r, o, &options, &first, &count);
    size_t skip = options.skip < 0 ? count : (size_t)options.skip < count ? (size_t)options.skip : count;
    size_t most = !options.limited || options.most < 0 ? SIZE_MAX : (size_t)options.most;
    size_t end = count - skip < most ? count : skip + most;
    reply_array(r, (end - skip) * (options.with_scores ? 2 : 1));
    for (size_t i = skip; i < end; i++) {
        const item *one = &o->item[options.backwards ? first + count - 1 - i : first + i];
        reply_bulk(r, one->name, one->name_size);
        if (options.with_scores) reply_score(r, one->score);
    }
}
static void run_zrange(run *r) { reply_range(r, true, (range_options){0}); }
static void run_zrevrange(run *r) { reply_range(r, false, (range_options){.backwards = true}); }
static void run_zrangebyscore(run *r) { reply_range(r, false, (range_options){.by_score = true}); }
static void run_zrevrangebyscore(run *r)
{
    reply_range(r, false, (range_options){.by_score = true, .backwards = true});
}

/* Without repetition, as Redis does it for a count that is not negative; which ones is drawn from the time. */
static void run_zrandmember(run *r)
{
    object *o;
    int64_t most = 1;
    if (r->count > 2 && !take_integer(r, r->words[2], &most)) return;
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    size_t all = o ? o->count : 0, count = most < 0 ? 0 : (size_t)most < all ? (size_t)most : all;
    if (r->count == 2 && !o) reply_nil(r);
    if (r->count > 2) reply_array(r, count);
    size_t first = all ? lk_hash(&r->now_us, sizeof r->now_us, all) % all : 0;
    size_t apart = count > 1 ? all / count : 1;
    for (size_t i = 0; i < count; i++) {
        const item *one = &o->item[(first + i * apart) % all];
        reply_bulk(r, one->name, one->name_size);
    }
}

/* ---------------------------------------------------------------------------------------------- removing -- */

static void run_zrem(run *r)
{
    object *o;
    int64_t gone = 0;
    if (!get(r, r->words[1], A_SORTED_SET, &o)) return;
    for (size_t i = 2; o && i < r->count; i++) {
        size_t place = place_of_item(o, r->words[i]);
        if (place == o->count) continue;
        remove_items(o, place, 1);
        gone++;
    }
    if (gone) {
        wrote(r, o);
        delete_if_empty(r, o);
    }
    reply_integer(r, gone);
}

static void remove_range(run *r, bool by_score)
{
    object *o;
    size_t first, count;
    const range_options options = {.by_score = by_score};
    if (!take_places(r, NULL, &options, &first, &count) || !get(r, r->words[1], A_SORTED_SET, &o)) return;
    take_places(r, o, &options, &first, &count);
    reply_integer(r, (int64_t)count);
    if (!count) return;
    remove_items(o, first, count);
    wrote(r, o);
    delete_if_empty(r, o);
}
static void run_zremrangebyscore(run *r) { remove_range(r, true); }
static void run_zremrangebyrank(run *r) { remove_range(r, false); }

const command sorted_commands[] = {{"ZADD", run_zadd, 4, 0, true},
                                   {"ZINCRBY", run_zincrby, 4, 4, true},
                                   {"ZCARD", run_zcard, 2, 2, false},
                                   {"ZSCORE", run_zscore, 3, 3, false},
                                   {"ZMSCORE", run_zmscore, 3, 0, false},
                                   {"ZRANK", run_zrank, 3, 3, false},
                                   {"ZCOUNT", run_zcount, 4, 4, false},
                                   {"ZRANGE", run_zrange, 4, 0, false},
                                   {"ZREVRANGE", run_zrevrange, 4, 0, false},
                                   {"ZRANGEBYSCORE", run_zrangebyscore, 4, 0, false},
                                   {"ZREVRANGEBYSCORE", run_zrevrangebyscore, 4, 0, false},
                                   {"ZRANDMEMBER", run_zrandmember, 2, 3, false},
                                   {"ZREM", run_zrem, 3, 0, true},
                                   {"ZREMRANGEBYSCORE", run_zremrangebyscore, 4, 4, true},
                                   {"ZREMRANGEBYRANK", run_zremrangebyrank, 4, 4, true},
                                   {0}};

/* SPDX-License-Identifier: MIT
 *
 * Why a session ended. Who looks at an answer alone cannot ask that: a session that a script has deleted is not alive, whatever
 * the reason. A handle that remembers something tells a server so, and the server decides by what it remembers itself; both
 * memories are short. So each deletion on the acting primary must have a reason: somebody ended the session, or, if a handle only told
 * the server again what it remembers, the data of that session were set back, or it was changed on a server that does not count.
 */
#include "truth_inside.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define in truth_in

/* What a session gives its user, and by which change; 0: it is not there. */
static uint64_t value_of(const known *s)
{
    int server = server_place(s->key);
    word v = server_field(server, s->key, "v"), c = server_field(server, s->key, "c");
    uint64_t of_v = v.text ? lk_hash(v.text, v.size, 1) | 1 : 0;
    return c.text ? lk_hash(c.text, c.size, of_v) | 1 : of_v;
}

/* The numbers of its last changes, as the session keeps them; the last is the newest. */
static word numbers_of(const known *s) { return server_field(server_place(s->key), s->key, "c"); }

static bool has_number(word numbers, const char *number)
{
    size_t size = strlen(number);
    for (size_t i = 0; numbers.text && size && i + size <= numbers.size; i++)
        if ((!i || numbers.text[i - 1] == ' ') && !memcmp(numbers.text + i, number, size) &&
            (i + size == numbers.size || numbers.text[i + size] == ' '))
            return true;
    return false;
}

static void note_number(known *s)
{
    word numbers = numbers_of(s);
    size_t from = numbers.size;
    if (!numbers.text) return;
    while (from && numbers.text[from - 1] != ' ') from--;
    snprintf(s->number, sizeof s->number, "%.*s", (int)(numbers.size - from), numbers.text + from);
}

bool reason_came_again(const known *s) { return has_number(numbers_of(s), s->lost_number); }

void reason_wrote(int server, const char *key)
{
    known *s = truth_find(strrchr(key, ':') + 1);
    if (!s) return;
    if (!server_is_acting(server)) {
        s->set_back = true; /* whoever hears of it tells the acting primary, which does not know it */
        return;
    }
    s->value = value_of(s);
    note_number(s);
}

void reason_acting_changed(void)
{
    FOR_SESSIONS(s)
    {
        uint64_t value = s->life ? value_of(s) : 0;
        if (s->life && value != s->value) s->set_back = true;
        if (value && *s->number && !has_number(numbers_of(s), s->number))
            memcpy(s->lost_number, s->number, sizeof s->number);
        s->value = value;
    }
}

void reason_end_asked(const asking *a) { FOR_SESSIONS(s) if (s->life && s->family == a->family) s->end_asked = true; }

/* Some token of its session was exchanged: then an old one, shown after its grace, ends all to any script, and one leaves. */
static bool was_exchanged(const known *s)
{
    bool exchanged = s->exchanged_us || s->created_us != s->born_us;
    FOR_SESSIONS(other) exchanged |= other->life && other->family == s->family && other->exchanged_us;
    return exchanged;
}

static bool has_reason(const known *s, const char *script)
{
    /* What had expired when it was ended is there again by a clock that was set back, though no data were lost. */
    if (!strcmp(script, "reassert")) return s->set_back || s->end_asked || s->idled || truth_swept(s->user);
    if (was_exchanged(s) || s->again) return true; /* what it was when it moved in first may still be to be ended */
    /* A call of create that had no answer in time ends what it may have made. */
    if (!strcmp(script, "revoke")) return s->end_asked || !*s->token;
    if (!strcmp(script, "revoke_user")) return truth_swept(s->user);
    return (!strcmp(script, "create") || !strcmp(script, "import")) &&
           (in.promise.max_sessions || in.promise.max_per_device);
}

void reason_judge(const known *s, const char *script, int by)
{
    if (!has_reason(s, script))
        fail("A: m%d ends %s by %s, %.3f s after it was made, and nobody asked for that, nor was anything of it lost",
             by, s->selector, *script ? script : "a plain command", (double)(w.now_us - s->created_us) / 1e6);
}

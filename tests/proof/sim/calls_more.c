/* SPDX-License-Identifier: MIT
 *
 * More calls of an application, see calls.c: changes of what a session may do, sections, moving in, and the panic button.
 */
#include "clients_inside.h"

#include "base/token.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void change(process *p, known *s, bool all)
{
    char role[16];
    asking a = truth_asks(p->on, s);
    unsigned number = truth_changes(&a, all);
    snprintf(role, sizeof role, "r%u", number);
    latchkey_access access = {.size = sizeof access, .role = role};
    int status = all ? latchkey_set_user_access(p->lk, a.user, &access, NULL)
                     : latchkey_set_access(p->lk, a.token, strlen(a.token), &access);
    truth_in_time(&a, all ? "set_user_access" : "set_access");
    truth_changed(&a, number, status);
    for (int i = 0; i < 2 && s->life == a.life && chance(600000); i++) calls_validate(p, s);
}

void calls_set_access(process *p, known *s)
{
    calls_favour_some(s);
    change(p, s, false);
}

void calls_set_user_access(process *p, known *s)
{
    calls_favour_some(s);
    change(p, s, true);
}

void calls_section(process *p, known *s)
{
    static const char text[] = "a large attribute";
    char back[sizeof text];
    size_t size;
    int found;
    const char *name = chance(500000) ? "cart" : "notes";
    bool gone = chance(200000);
    asking a = truth_asks(p->on, s);
    int status =
        latchkey_section_put(p->lk, a.token, strlen(a.token), name, gone ? NULL : text, gone ? 0 : sizeof text);
    trace("m%d writes a section of %.8s %d", p->on->index, a.token, status);
    truth_in_time(&a, "section_put");
    if (s->life != a.life) return;
    a = truth_asks(p->on, s);
    status = latchkey_section_get(p->lk, a.token, strlen(a.token), name, back, sizeof back, &size, &found);
    truth_in_time(&a, "section_get");
    if (status != LATCHKEY_CORRUPT) truth_answer(&a, status, NULL); /* CORRUPT: a loss may have taken the section */
}

static int import(process *p, known *s, const char *foreign, const latchkey_draft *draft)
{
    asking a = truth_asks(p->on, s);
    int status = latchkey_import(p->lk, foreign, strlen(foreign), draft, 0, 0);
    trace("m%d imports user %d: %d", p->on->index, (int)draft->user_id, status);
    truth_in_time(&a, "import");
    truth_imported(&a, status, draft->user_id, foreign);
    return status;
}

/* A call that gave up is made again, and then the session ends. What was sent first may arrive behind that. */
static void import_until_it_ended(process *p, known *s, const char *foreign, const latchkey_draft *draft)
{
    int status = LATCHKEY_UNAVAILABLE;
    for (int i = 0; i < 5 && status == LATCHKEY_UNAVAILABLE && !p->end && !p->restart; i++) {
        if (i) task_sleep(draw_scale(1, 4 * calls_load.busy_rest_us));
        status = import(p, s, foreign, draft);
    }
    known *made = status ? NULL : truth_of_user(draft->user_id);
    if (!made) return;
    if (chance(500000)) calls_favour_some(made);
    uint64_t life = made->life;
    if (chance(500000)) task_sleep(draw_scale(1, calls_load.busy_rest_us));
    if (made->life == life && chance(800000)) calls_revoke(p, made);
}

/* A session of another store, or one that moved in already. */
void calls_import(process *p, known *s)
{
    char foreign[TOKEN_ROOM] = "s:";
    bool again = s->token[0] == 's' && s->token[1] == ':' && chance(500000);
    latchkey_draft draft = calls_draft_of(again ? s->user : calls_new_user());
    if (again) snprintf(foreign, sizeof foreign, "%s", s->token);
    else
        for (size_t i = 2; i < 30; i++) foreign[i] = "abcdefghijklmnop"[draw(16)], foreign[i + 1] = 0;
    if (calls_load.late) import_until_it_ended(p, s, foreign, &draft);
    else import(p, s, foreign, &draft);
}

/* More sessions than one script looks at, while Redis' clock is set; the truth looks after some of them. They are listed, and then they
 * all end. */
void calls_crowd(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE];
    uint64_t user = TRUTH_CROWDS + calls_new_user();
    (void)s;
    for (int i = 0; i < 1040 && !p->end && !p->restart && !w.failure[0]; i++) {
        latchkey_draft draft = {.size = sizeof draft, .role = "crowd", .user_id = user};
        int status = latchkey_create(p->lk, &draft, token);
        truth_token_given(!status);
        if (status == LATCHKEY_LIMIT) break;
        if (status) return;
        truth_created(token, user);
        if (chance(2000)) task_sleep(draw_scale(1, 20 * SECOND));
        if (chance(500)) server_step_clock(server_acting(), draw_between(-60 * SECOND, 60 * SECOND));
    }
    totals.crowds++;
    trace("m%d made a crowd, user %d", p->on->index, (int)(user - TRUTH_CROWDS));
    if (chance(300000)) server_step_clock(server_acting(), draw_between(-60 * SECOND, 10 * SECOND));
    if (chance(500000)) task_sleep(draw_scale(1, 60 * SECOND));
    known *one = truth_of_user(user);
    if (one) calls_list(p, one);
    if ((one = truth_of_user(user))) calls_revoke_all(p, one, NULL);
    for (int i = 0; i < 3 && (one = truth_of_user(user)); i++) calls_validate(p, one);
}

/* The session's server is away, and somebody logs thousands of invented tokens out. A logout of one that L1 holds must be kept. */
void calls_flood(process *p, known *s)
{
    latchkey_entry entry;
    uint64_t life = s->life;
    lk_check_keys keys;
    lk_token token;
    if (calls_validate(p, s), s->life != life) return;
    if (latchkey_try_validate(p->lk, s->token, strlen(s->token), &entry)) return;
    unsigned partition = (unsigned)atoi(strchr(s->key, '{') + 1);
    lk_check_keys_public(&keys);
    server_restart(server_place(s->key), 30 * SECOND, 0, false);
    for (int i = 0; i < 4300 && !p->end && !p->restart && !w.failure[0]; i++) {
        lk_token_make(&keys, partition, &token);
        latchkey_revoke(p->lk, token.text, LATCHKEY_TOKEN_LENGTH);
    }
    if (p->end || p->restart || s->life != life) return;
    int status = calls_revoke(p, s);
    totals.floods++;
    trace("m%d flooded, and %.8s: %d", p->on->index, s->selector, status);
    /* Unless L1 had dropped it meanwhile: for another one, for another data set, or since it had ended. Then it is like those that
     * were invented. */
    if (status == LATCHKEY_UNAVAILABLE && task_notes()->held)
        fail("C: m%d cannot keep the logout of %s, which L1 held, since invented tokens took all the room",
             p->on->index, s->selector);
}

void calls_revoke_everyone(process *p, known *s)
{
    if (!calls_end_all && !chance(calls_load.everyone_ppm)) return;
    calls_end_all = false;
    asking a = truth_asks_everyone(p->on, s);
    int status = latchkey_revoke_everyone(p->lk);
    truth_in_time(&a, "revoke_everyone");
    truth_everyone_revoked(&a, status);
    if (s->life == a.life) calls_validate(p, s);
}

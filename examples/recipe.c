/* SPDX-License-Identifier: MIT
 *
 * The whole recipe: what a web server does with sessions, without the web server. Requests come as lines, answers go as lines:
 *
 *     login USER [OLD]   get TOKEN   promote TOKEN   demote TOKEN   logout TOKEN
 */
#define _DEFAULT_SOURCE /* usleep */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <latchkey.h>

typedef struct answer {
    int http;
    bool set_cookie;
    char cookie
        [LATCHKEY_TOKEN_SIZE]; /* for Set-Cookie: sid=...; Path=/; Secure; HttpOnly; SameSite=Lax. "" deletes it */
    uint64_t user;
} answer;

/* Above 0 the answer is no: send the user to the login. Below 0 there was no answer, which says nothing about the user: 503,
 * and the cookie stays as it is. */
static int http(int status)
{
    return status == LATCHKEY_OK ? 200 : status == LATCHKEY_LIMIT ? 403 : status > 0 ? 401 : 503;
}

/* `old` is the cookie that came with the login, or "": the session that was in this browser before ends. */
static answer login(latchkey *lk, uint64_t user, const char *old)
{
    answer a = {.user = user};
    latchkey_draft draft = {.size = sizeof draft, .user_id = user, .role = "member"};
    /* Read before the password is checked: if it is changed meanwhile (latchkey_revoke_user), create answers REFUSED. */
    int status = latchkey_user_generation(lk, user, &draft.generation);
    /* ... check the password here ... */
    if (status == LATCHKEY_OK) status = latchkey_create(lk, &draft, a.cookie);
    a.set_cookie = status == LATCHKEY_OK;
    if (a.set_cookie && *old) latchkey_revoke(lk, old, strlen(old));
    a.http = http(status);
    return a;
}

static answer get(latchkey *lk, const char *token)
{
    answer a = {0};
    latchkey_entry entry;
    int status = latchkey_validate(lk, token, strlen(token), &entry);
    a.http = http(status);
    a.user = entry.user_id;
    if (status == LATCHKEY_OK &&
        entry.flags & LATCHKEY_FLAG_RENEW) /* if that fails the old token goes on, and asks again */
        a.set_cookie = latchkey_rotate(lk, token, strlen(token), 300000, a.cookie) == LATCHKEY_OK;
    return a;
}

/* REFUSED: this token was exchanged a moment ago by another request. Its answer brings the new one: 409, try again with that. */
static answer exchanged(int status, answer a)
{
    a.http = status == LATCHKEY_REFUSED ? 409 : http(status);
    return a;
}

/* More rights: first a new token, then the rights. If the second fails, the new token has the old rights, and the user tries
 * again. The other way round, a failure would give the rights to the old token, which may have been stolen before.
 * (If the first is UNAVAILABLE, Redis may have made the exchange all the same: then the user has to log in again.) */
static answer promote(latchkey *lk, const char *token)
{
    answer a = {0};
    const latchkey_access more = {.size = sizeof more, .role = "admin", .authenticated = 1};
    int status = latchkey_rotate(lk, token, strlen(token), 0, a.cookie);
    a.set_cookie = status == LATCHKEY_OK; /* whatever follows: the old token is over */
    if (status == LATCHKEY_OK) status = latchkey_set_access(lk, a.cookie, strlen(a.cookie), &more);
    return exchanged(status, a);
}

/* Fewer rights: first the rights, then the token. If the second fails, the old token goes on with fewer rights. */
static answer demote(latchkey *lk, const char *token)
{
    answer a = {0};
    const latchkey_access less = {.size = sizeof less, .role = "member"};
    int status = latchkey_set_access(lk, token, strlen(token), &less);
    if (status == LATCHKEY_OK) status = latchkey_rotate(lk, token, strlen(token), 0, a.cookie);
    a.set_cookie = status == LATCHKEY_OK;
    return exchanged(status, a);
}

/* PENDING: denied here from now on, and Redis will be told: 202, and the cookie goes. Other failures promise nothing: 503, and
 * the cookie stays, so that the client can try again. */
static answer logout(latchkey *lk, const char *token)
{
    int status = latchkey_revoke(lk, token, strlen(token));
    answer a = {.http = status == LATCHKEY_PENDING ? 202 : status > 0 ? 200 : http(status)};
    a.set_cookie = a.http < 300;
    return a;
}

/* latchkey_close forgets what Redis has not heard yet: so wait for it, but not for ever. */
static int stop(latchkey *lk)
{
    latchkey_stats stats;
    int status = latchkey_stats_read(lk, &stats, sizeof stats);
    for (int i = 0; status == LATCHKEY_OK && stats.pending && i < 500; i++) {
        usleep(20000);
        status = latchkey_stats_read(lk, &stats, sizeof stats);
    }
    if (stats.pending) fprintf(stderr, "%" PRIu64 " logouts are lost: Redis did not hear of them\n", stats.pending);
    latchkey_close(lk);
    return stats.pending ? 1 : 0;
}

int main(int argc, char **argv)
{
    latchkey *lk;
    char error[256], line[600], word[16], first[300], second[300];
    if (latchkey_open(argc > 1 ? argv[1] : "redis://127.0.0.1:6379", &lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "latchkey-recipe: %s\n", error);
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        answer a = {.http = 404};
        uint64_t user;
        *first = *second = 0;
        if (sscanf(line, "%15s %299s %299s", word, first, second) < 2) a.http = 400;
        else if (strcmp(word, "login") == 0 && sscanf(first, "%" SCNu64, &user) == 1) a = login(lk, user, second);
        else if (strcmp(word, "get") == 0) a = get(lk, first);
        else if (strcmp(word, "promote") == 0) a = promote(lk, first);
        else if (strcmp(word, "demote") == 0) a = demote(lk, first);
        else if (strcmp(word, "logout") == 0) a = logout(lk, first);
        printf("%d user=%" PRIu64 "%s%s\n", a.http, a.user, a.set_cookie ? " sid=" : "", a.cookie);
        fflush(stdout);
    }
    return stop(lk);
}

/* SPDX-License-Identifier: MIT
 *
 * Sealing (seal_key_file): nothing of a session can be read in Redis, and nothing that was changed, moved, cut or forged there
 * is ever admitted; another key, without logging anybody out; there from unsealed sessions, and back. What life is like when
 * sealed the other programs say: system_*_sealed are they, run with keys.
 */
#include "test_handle.h"
#include "logbook.h"
#include "threads.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH, LONG = 600000, SEALED = 244, PLAIN = 184 };

#define OLD_KEY "0000000000000000000000000000000000000000000000000000000000000001"
#define NEW_KEY "0000000000000000000000000000000000000000000000000000000000000002"

typedef char token_text[LATCHKEY_TOKEN_SIZE];

/* A handle with this key file; NULL: with none. */
static latchkey *open_with(const char *keys, const char *options)
{
    static unsigned number;
    char name[32], path[160], all[400];
    if (!keys) return handle_open(server, options);
    snprintf(name, sizeof name, "seal.%u", number++);
    check_temp_path(name, path, sizeof path);
    check_write_file(path, keys, strlen(keys));
    assert_int_equal(chmod(path, 0600), 0);
    snprintf(all, sizeof all, "%s%sseal_key_file=%s", options, *options ? "&" : "", path);
    return handle_open(server, all);
}

/* Always asks Redis. */
static latchkey *open_bare(const char *keys) { return open_with(keys, "l1_capacity=0"); }

static const latchkey_field fields[] = {{"pq.mlkem768", "the-key-material", 16}, {"theme", "dark-as-the-night", 17}};

static void make(latchkey *lk, uint64_t user_id, uint32_t device, token_text token)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user_id, .role = "chief-of-staff", .device = device};
    memset(draft.permissions_hash, 'P', sizeof draft.permissions_hash);
    draft.fields = fields;
    draft.field_count = 2;
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
}

typedef struct kept {
    char key[128], bytes[70000];
    size_t size;
} kept;

static void take(const char *token, const char *field, kept *out)
{
    session_key(server, token, out->key);
    redisReply *reply = redis_command(server, "HGET %s %s", out->key, field);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    out->size = reply->len;
    memcpy(out->bytes, reply->str, out->size);
    freeReplyObject(reply);
}

static void put(const char *key, const char *field, const kept *what)
{
    redis_do(server, "HSET %s %s %b", key, field, what->bytes, what->size);
}

static size_t record_size(const char *token)
{
    static kept v;
    take(token, "v", &v);
    return v.size;
}

static int submitted(latchkey *lk, const char *token)
{
    latchkey_answer answer = {.status = 99};
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LENGTH, 1));
    struct pollfd fd = {.fd = latchkey_fd(lk), .events = POLLIN};
    while (!latchkey_reap(lk, &answer, 1)) poll(&fd, 1, 1000);
    return answer.status;
}

/* By every way that leads to a session, on a handle without L1, and on one whose L1 would be filled. */
static void nobody_admits(const char *keys, const char *token)
{
    latchkey *bare = open_bare(keys), *lk = open_with(keys, "");
    uint64_t corrupt = stats_of(bare).corrupt;
    assert_status(bare, LATCHKEY_CORRUPT, validate(bare, token));
    assert_status(bare, LATCHKEY_CORRUPT, load(bare, token));
    assert_status(bare, LATCHKEY_CORRUPT, submitted(bare, token));
    assert_int_equal(stats_of(bare).corrupt, corrupt + 3);
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 1000, NULL));
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    assert_status(lk, LATCHKEY_CORRUPT, validate(lk, token));
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    handle_close(bare);
    handle_close(lk);
}

/* ------------------------------------------------------------------------------------------ what Redis sees -- */

static bool holds(const unsigned char *bytes, size_t size, const void *part, size_t part_size)
{
    return memmem(bytes, size, part, part_size) != NULL;
}

static void test_nothing_of_a_session_can_be_read_in_redis(void **state)
{
    (void)state;
    for (int sealed = 0; sealed < 2; sealed++) {
        redis_do(server, "FLUSHALL");
        latchkey *lk = open_with(sealed ? OLD_KEY : NULL, "");
        token_text token, renewed;
        latchkey_entry entry;
        make(lk, USER, 7, token);
        assert_status(lk, LATCHKEY_OK, set_field(lk, token, "later", "said-afterwards"));
        assert_status(lk, LATCHKEY_OK, set_field(lk, token, "pq.later", "material-afterwards"));
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, LONG, renewed));
        assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, renewed, LENGTH, &entry));
        assert_int_equal(record_size(token), sealed ? SEALED : PLAIN);
        assert_int_equal(record_size(renewed), sealed ? SEALED : PLAIN);
        redis_do(server, "SAVE");
        redis_do(server, "CONFIG SET rdbcompression no");
        redis_do(server, "SAVE");
        size_t size;
        unsigned char *files = redis_files(server, &size);
        static const char *const words[] = {"chief-of-staff",    "PPPPPPPPPPPPPPPP", "the-key-material",
                                            "dark-as-the-night", "said-afterwards",  "material-afterwards"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            assert_int_equal(holds(files, size, words[i], strlen(words[i])), !sealed);
        assert_int_equal(holds(files, size, entry.pq_key_hash, sizeof entry.pq_key_hash), !sealed);
        assert_true(holds(files, size, "theme", 5)); /* names can be read, and lengths */
        free(files);
        handle_close(lk);
    }
}

/* ---------------------------------------------------------------------------------------------- tampering -- */

static void test_every_byte_and_every_length_of_a_record(void **state)
{
    (void)state;
    static kept v;
    latchkey *lk = open_bare(OLD_KEY);
    token_text token, renewed;
    make(lk, USER, 7, token);
    take(token, "v", &v);
    assert_int_equal(v.size, SEALED);
    for (size_t i = 0; i < SEALED; i++) {
        v.bytes[i] = (char)(v.bytes[i] ^ (1 << i % 8));
        put(v.key, "v", &v);
        assert_status(lk, LATCHKEY_CORRUPT, validate(lk, token));
        v.bytes[i] = (char)(v.bytes[i] ^ (1 << i % 8));
    }
    for (v.size = 0; v.size < SEALED + 40; v.size++) {
        put(v.key, "v", &v);
        assert_status(lk, v.size == SEALED ? LATCHKEY_OK : LATCHKEY_CORRUPT, validate(lk, token));
    }
    assert_int_equal(stats_of(lk).corrupt, SEALED + SEALED + 40 - 1);
    nobody_admits(OLD_KEY, token);
    v.size = SEALED;
    v.bytes[20] ^= 1;
    put(v.key, "v", &v);
    nobody_admits(OLD_KEY, token);
    /* Nothing is made of it, either. */
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_rotate(lk, token, LENGTH, 0, renewed));
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_rotate(lk, token, LENGTH, LONG, renewed));
    assert_status(lk, LATCHKEY_CORRUPT, set_field(lk, token, "pq.x", "x"));
    assert_status(lk, LATCHKEY_CORRUPT, set_field(lk, token, "ab", "x"));
    assert_int_equal(record_size(token), SEALED);
    latchkey_session_info info;
    size_t total;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, &info, 1, &total));
    assert_int_equal(total, 0);
    v.bytes[20] ^= 1;
    put(v.key, "v", &v);
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
}

static void test_every_byte_and_every_length_of_a_field(void **state)
{
    (void)state;
    static kept f;
    latchkey *lk = open_bare(OLD_KEY);
    token_text token;
    make(lk, USER, 7, token);
    for (int which = 0; which < 2; which++) {
        take(token, fields[which].name, &f);
        const size_t size = fields[which].size + 48;
        assert_int_equal(f.size, size);
        for (size_t i = 0; i < size; i++) {
            f.bytes[i] = (char)(f.bytes[i] ^ (1 << i % 8));
            put(f.key, fields[which].name, &f);
            assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
            f.bytes[i] = (char)(f.bytes[i] ^ (1 << i % 8));
        }
        for (f.size = 0; f.size < size + 20; f.size++) {
            put(f.key, fields[which].name, &f);
            assert_status(lk, f.size == size ? LATCHKEY_OK : LATCHKEY_CORRUPT, load(lk, token));
        }
        f.size = fields[which].size;
        memcpy(f.bytes, fields[which].data, f.size);
        put(f.key, fields[which].name, &f); /* as it would stand there unsealed */
        assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        redis_do(server, "HDEL %s %s", f.key, fields[which].name);
        assert_status(lk, which ? LATCHKEY_OK : LATCHKEY_CORRUPT, load(lk, token)); /* the hash misses a key */
        assert_status(lk, which ? LATCHKEY_OK : LATCHKEY_CORRUPT, set_field(lk, token, "pq.more", "x"));
        if (!which) make(lk, USER, 7, token);
    }
}

/* --------------------------------------------------------------------------------------- moved elsewhere -- */

/* 0: another session of the same user; 1: another user's. */
static void test_nothing_is_at_home_in_another_session(void **state)
{
    (void)state;
    static kept mine[3], yours[3];
    static const char *const names[] = {"v", "pq.mlkem768", "theme"};
    latchkey *lk = open_bare(OLD_KEY);
    for (uint64_t other = 0; other < 2; other++) {
        token_text a, b;
        make(lk, USER, 7, a);
        make(lk, USER + other, 7, b);
        for (int i = 0; i < 3; i++) {
            take(a, names[i], &mine[i]);
            take(b, names[i], &yours[i]);
        }
        for (int i = 0; i < 3; i++) {
            put(mine[i].key, names[i], &yours[i]);
            put(yours[i].key, names[i], &mine[i]);
            assert_status(lk, i ? LATCHKEY_OK : LATCHKEY_CORRUPT, validate(lk, a));
            assert_status(lk, LATCHKEY_CORRUPT, load(lk, a));
            assert_status(lk, LATCHKEY_CORRUPT, load(lk, b));
            put(mine[i].key, names[i], &mine[i]);
            put(yours[i].key, names[i], &yours[i]);
        }
        put(mine[2].key, "theme", &mine[1]); /* one field in another's place */
        assert_status(lk, LATCHKEY_CORRUPT, load(lk, a));
        put(mine[2].key, "theme", &mine[2]);
        put(mine[2].key, "other", &mine[2]); /* or twice */
        assert_status(lk, LATCHKEY_CORRUPT, load(lk, a));
        redis_do(server, "HDEL %s other", mine[2].key);
        assert_status(lk, LATCHKEY_OK, load(lk, a));
        /* The whole of it under the other's name. */
        redis_do(server, "RENAME %s %s", mine[0].key, yours[0].key);
        nobody_admits(OLD_KEY, b);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, a));
        redis_do(server, "RENAME %s %s", yours[0].key, mine[0].key);
        handle_close(lk); /* it knows for a while that this token is dead */
        lk = open_bare(OLD_KEY);
        assert_status(lk, LATCHKEY_OK, validate(lk, a));
        redis_do(server, "FLUSHALL");
    }
}

/* Which session follows an exchanged token stands in Redis, and no seal covers it. */
static void test_an_old_token_does_not_lead_into_another_session(void **state)
{
    (void)state;
    latchkey *lk = open_with(OLD_KEY, "partitions=1&prefix=p1&l1_capacity=0");
    token_text old, renewed, victim, victims_old;
    latchkey_record *record;
    char key[64], family[64];
    size_t size;
    make(lk, USER, 7, old);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, LONG, renewed));
    make(lk, USER + 1, 7, victims_old);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, victims_old, LENGTH, LONG, victim));
    assert_status(lk, LATCHKEY_OK, load(lk, old));
    snprintf(key, sizeof key, "p1:{0}:s:%.20s", old);
    snprintf(family, sizeof family, "p1:{0}:f:%.20s", victims_old);
    redis_do(server, "HSET %s f %b", key, victims_old, (size_t)LATCHKEY_SELECTOR_LENGTH);
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, old));
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_show(lk, old, NULL, &record));
    assert_null(record);
    assert_status_in(lk, set_field(lk, old, "pq.mlkem768", "mine"), LATCHKEY_CORRUPT, LATCHKEY_UNAVAILABLE);
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, victim, LENGTH, &record));
    assert_memory_equal(latchkey_record_field(record, "pq.mlkem768", &size), fields[0].data, fields[0].size);
    latchkey_record_free(record);
    /* Nor is one session's old token a token of another family. */
    redis_do(server, "HSET %s f %b", key, old, (size_t)LATCHKEY_SELECTOR_LENGTH);
    redis_do(server, "ZADD %s 4000000000000 %b", family, old, (size_t)LATCHKEY_SELECTOR_LENGTH);
    assert_status(lk, LATCHKEY_CORRUPT, set_field(lk, victim, "pq.mlkem768", "new"));
    assert_status(lk, LATCHKEY_OK, load(lk, victim));
    assert_status(lk, LATCHKEY_OK, load(lk, old));
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, old, LENGTH, &entry));
    assert_int_equal(entry.user_id, USER);
}

/* The times in x, and the key's expiry, no seal covers. They make a session that is not used live longer, and no longer than
 * the record says. */
static void test_H_stretched_in_redis_a_session_ends_as_its_record_says(void **state)
{
    (void)state;
    latchkey *lk = open_with(OLD_KEY, ""), *bare = open_bare(OLD_KEY);
    token_text token;
    char key[128];
    make_session_with(lk, USER, 1000, 3000, fields, 2, token);
    session_key(server, token, key);
    redis_do(server, "HSET %s x %s", key, "86400000 99999999999999 42");
    redis_do(server, "PEXPIRE %s 86400000", key);
    assert_status(bare, LATCHKEY_OK, touch(bare, token));
    assert_true(redis_integer(server, "PTTL %s", key) > 80000000);
    latchkey_entry entry;
    assert_status(bare, LATCHKEY_OK, latchkey_validate(bare, token, LENGTH, &entry));
    assert_int_equal(entry.expires_at_ms - entry.created_at_ms, 3000);
    latchkey *handles[2] = {lk, bare};
    for (int i = 0; i < 2; i++) {
        wait_for(validate(handles[i], token) == LATCHKEY_EXPIRED); /* each has its own estimate of Redis' clock */
        assert_status(handles[i], LATCHKEY_EXPIRED, load(handles[i], token));
        assert_int_not_equal(try_validate(handles[i], token), LATCHKEY_OK);
    }
    assert_status(lk, LATCHKEY_EXPIRED, submitted(bare, token));
    assert_true(redis_integer(server, "PTTL %s", key) > 80000000); /* the key is still there */
    redis_do(server, "PERSIST %s", key);
    nobody_admits(OLD_KEY, token);
}

/* ------------------------------------------------------------------------------------- who seals, and who not -- */

static void test_another_key_without_logging_anybody_out(void **state)
{
    (void)state;
    const char *steps[][2] = {
        /* one instance after the other: first every one can open, then the first seals, then the second */
        {OLD_KEY, OLD_KEY},
        {OLD_KEY "\n" NEW_KEY, OLD_KEY},
        {OLD_KEY "\n" NEW_KEY, OLD_KEY "\n" NEW_KEY},
        {NEW_KEY "\n" OLD_KEY, OLD_KEY "\n" NEW_KEY},
        {NEW_KEY "\n" OLD_KEY, NEW_KEY "\n" OLD_KEY},
    };
    enum { STEPS = sizeof steps / sizeof *steps };
    token_text tokens[STEPS][2];
    for (size_t step = 0; step < STEPS; step++) {
        for (int i = 0; i < 2; i++) {
            latchkey *lk = open_bare(steps[step][i]);
            make(lk, USER, 7, tokens[step][i]);
            for (size_t s = 0; s <= step; s++)
                for (int j = 0; j <= (s < step ? 1 : i); j++) {
                    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[s][j]));
                    assert_status(lk, LATCHKEY_OK, load(lk, tokens[s][j]));
                    assert_status(lk, LATCHKEY_OK, set_field(lk, tokens[s][j], "ab", "x"));
                }
            assert_int_equal(stats_of(lk).corrupt, 0);
            handle_close(lk);
        }
    }
    /* An instance without the old key cannot open what that key sealed, says so, and does not answer "no". */
    latchkey *lk = open_bare(NEW_KEY);
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[4][0]));
    assert_status(lk, LATCHKEY_CORRUPT, validate(lk, tokens[0][0]));
    assert_contains(stats_of(lk).last_error, "no key in seal_key_file has its id");
    /* A session that goes on takes the new key up with its next change of record: here both, old and new token. */
    latchkey *both = open_bare(NEW_KEY "\n" OLD_KEY);
    token_text renewed;
    assert_status(both, LATCHKEY_OK, latchkey_rotate(both, tokens[0][0], LENGTH, LONG, renewed));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[0][0]));
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, renewed)); /* its fields do with theirs */
    assert_contains(stats_of(lk).last_error, "a session's field is sealed, and no key");
    assert_status(both, LATCHKEY_OK, load(both, tokens[0][0]));
    const latchkey_field again[] = {{"ab", "x", 1}, fields[0], fields[1]};
    assert_status(both, LATCHKEY_OK, latchkey_set_fields(both, renewed, LENGTH, again, 3));
    assert_status(lk, LATCHKEY_OK, load(lk, renewed));
}

static void test_from_unsealed_sessions_to_sealed_ones_and_back(void **state)
{
    (void)state;
    const struct {
        const char *keys;
        size_t size; /* of a record that is made */
    } steps[] = {
        {NULL, PLAIN},
        {"plain\n" OLD_KEY, PLAIN},
        {OLD_KEY "\nplain", SEALED},
        {"plain\n" OLD_KEY, PLAIN},
    };
    enum { STEPS = sizeof steps / sizeof *steps };
    token_text tokens[STEPS];
    for (size_t step = 0; step < STEPS; step++) {
        latchkey *lk = open_bare(steps[step].keys);
        make(lk, USER, 7, tokens[step]);
        assert_int_equal(record_size(tokens[step]), steps[step].size);
        for (size_t s = 0; s <= step; s++) {
            token_text old;
            memcpy(old, tokens[s], sizeof old);
            assert_status(lk, LATCHKEY_OK, load(lk, old));
            assert_status(lk, LATCHKEY_OK, set_field(lk, old, "pq.x", "x"));
            assert_status(lk, LATCHKEY_OK, set_field(lk, old, "ab", "x"));
            assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, step % 2 ? 0 : LONG, tokens[s]));
            assert_status(lk, LATCHKEY_OK, load(lk, tokens[s]));
            assert_int_equal(record_size(tokens[s]), steps[s].size); /* it stays what it was made as */
        }
        size_t total;
        assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, NULL, 0, &total));
        assert_int_equal(total, step + 1);
        assert_int_equal(stats_of(lk).corrupt, 0);
        handle_close(lk);
    }
    nobody_admits(OLD_KEY, tokens[0]);
    nobody_admits(OLD_KEY, tokens[3]);
    nobody_admits(NULL, tokens[2]);
    latchkey *lk = open_bare(NULL);
    assert_status(lk, LATCHKEY_CORRUPT, validate(lk, tokens[2]));
    assert_contains(stats_of(lk).last_error, "there is no seal_key_file here");
}

/* An attacker who writes to Redis can write an unsealed record, with a token of its own. */
static void test_a_forged_unsealed_session_is_never_admitted(void **state)
{
    (void)state;
    latchkey *forger = open_with(NULL, ""), *lk = open_with(OLD_KEY, "");
    token_text forged, token, renewed;
    static kept v;
    logbook_open();
    make(forger, USER, 7, forged);
    make(lk, USER, 7, token);
    nobody_admits(OLD_KEY, forged);
    uint64_t corrupt = stats_of(lk).corrupt;
    assert_status(lk, LATCHKEY_CORRUPT, validate(lk, forged));
    assert_contains(stats_of(lk).last_error, "is not sealed");
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_rotate(lk, forged, LENGTH, LONG, renewed));
    assert_status(lk, LATCHKEY_CORRUPT, set_field(lk, forged, "pq.x", "x"));
    assert_status(lk, LATCHKEY_CORRUPT, set_field(lk, forged, "ab", "x"));
    assert_int_equal(stats_of(lk).corrupt, corrupt + 4);
    latchkey_session_info list[2];
    size_t total;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, token, LENGTH, list, 2, &total));
    assert_int_equal(total, 1);
    assert_memory_equal(list[0].selector, token, LATCHKEY_SELECTOR_LENGTH);
    /* In the place of a sealed one that is in use: seen by the next read. */
    take(token, "v", &v);
    kept *plain = calloc(1, sizeof *plain);
    assert_non_null(plain);
    memcpy(plain->bytes, v.bytes, PLAIN);
    plain->size = PLAIN;
    plain->bytes[2] = 1;
    put(v.key, "v", plain);
    nobody_admits(OLD_KEY, token);
    free(plain);
    wait_for(logbook_has("3 records: "));
    /* The forger's own handle knows of no keys: it reads what it wrote, and spoils nothing of what is sealed. */
    put(v.key, "v", &v);
    assert_status(forger, LATCHKEY_OK, validate(forger, forged));
    assert_status(forger, LATCHKEY_CORRUPT, validate(forger, token));
    assert_status(forger, LATCHKEY_CORRUPT, latchkey_rotate(forger, token, LENGTH, 0, renewed));
    assert_status(forger, LATCHKEY_CORRUPT, set_field(forger, token, "pq.x", "x"));
    assert_status(forger, LATCHKEY_CORRUPT, set_field(forger, token, "ab", "x"));
    assert_status(forger, LATCHKEY_CORRUPT, latchkey_section_put(forger, token, LENGTH, "ab", "x", 1));
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    logbook_close();
}

/* ------------------------------------------------------------------------------------------------- the clock -- */

/* A handle that never heard Redis' clock cannot say when a sealed session begins. It has no lease either, so nothing of it is
 * sent, and nothing with a wrong time gets into Redis. (That a script tells a time that was guessed wrong is seen in the
 * simulation, which sets clocks.) */
static void test_without_a_clock_nothing_sealed_is_written(void **state)
{
    (void)state;
    char path[160], config[400];
    check_temp_path("deaf.key", path, sizeof path);
    check_write_file(path, OLD_KEY, strlen(OLD_KEY));
    assert_int_equal(chmod(path, 0600), 0);
    redis_do(server, "ACL SETUSER deaf on >secret +@all -subscribe ~* &*"); /* the link cannot subscribe */
    snprintf(config, sizeof config, "unix://deaf:secret@%s?lazy=1&deadline_ms=700&seal_key_file=%s", server->socket,
             path);
    redis_do(server, "FLUSHALL");
    latchkey *lk = open_with(OLD_KEY, ""), *deaf = handle_open_config(config);
    token_text token, renewed;
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER};
    latchkey_session_info info;
    size_t total;
    assert_status(deaf, LATCHKEY_UNAVAILABLE, latchkey_create(deaf, &draft, token));
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, &info, 1, &total));
    assert_int_equal(total, 0);
    make(lk, USER, 7, token);
    assert_status(deaf, LATCHKEY_UNAVAILABLE, latchkey_rotate(deaf, token, LENGTH, LONG, renewed));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, LONG, renewed)); /* it was not exchanged */
    handle_close_all(NULL);
    redis_do(server, "ACL DELUSER deaf");
}

/* ----------------------------------------------------------------------------------------------- all at once -- */

enum { SESSIONS = 8, WRITERS = 4, READERS = 3, ROUNDS = 150 };

typedef struct bustle {
    latchkey *handle[2];
    token_text now[SESSIONS]; /* guarded by its lock */
    pthread_mutex_t lock[SESSIONS];
    char value[SESSIONS][16];
    atomic_int corrupt, odd, validated, exchanged;
} bustle;

static void note(bustle *b, int status, int allowed)
{
    if (status == LATCHKEY_CORRUPT) atomic_fetch_add(&b->corrupt, 1);
    else if (status != LATCHKEY_OK && status != allowed) atomic_fetch_add(&b->odd, 1);
}

/* The session's key material, its other field and its token change; a graceful exchange leaves the old one good. */
static void change(crew_member *member)
{
    bustle *b = member->shared;
    for (int round = 0; round < ROUNDS; round++) {
        size_t s = ((size_t)round + member->index * 3) % SESSIONS;
        latchkey *lk = b->handle[round % 2];
        token_text renewed;
        char value[16];
        snprintf(value, sizeof value, "%zu.%d", member->index, round);
        pthread_mutex_lock(&b->lock[s]);
        int how = (round + (int)member->index) % 4;
        int status = how == 0   ? set_field(lk, b->now[s], "pq.k", value)
                     : how == 1 ? set_field(lk, b->now[s], "theme", value)
                                : latchkey_rotate(lk, b->now[s], LENGTH, how == 2 ? LONG : 0, renewed);
        note(b, status, LATCHKEY_OK);
        if (status == LATCHKEY_OK && how == 1) memcpy(b->value[s], value, sizeof value);
        if (status == LATCHKEY_OK && how > 1) {
            memcpy(b->now[s], renewed, sizeof renewed);
            atomic_fetch_add(&b->exchanged, 1);
        }
        pthread_mutex_unlock(&b->lock[s]);
    }
}

/* Outside the lock, all at one session: none loses anything but time. */
static void compete(crew_member *member)
{
    bustle *b = member->shared;
    latchkey *lk = b->handle[member->index % 2];
    for (int round = 0; round < 40; round++) {
        char name[16];
        snprintf(name, sizeof name, "pq.%zu", member->index);
        note(b, set_field(lk, b->now[0], name, round % 2 ? "one" : "other"), LATCHKEY_OK);
    }
}

static void look(crew_member *member)
{
    bustle *b = member->shared;
    for (size_t i = member->index; !crew_stopped(member); i++) {
        token_text token;
        size_t s = i % SESSIONS;
        pthread_mutex_lock(&b->lock[s]);
        memcpy(token, b->now[s], sizeof token);
        pthread_mutex_unlock(&b->lock[s]);
        latchkey *lk = b->handle[i / SESSIONS % 2];
        int status = i % 5 ? validate(lk, token) : load(lk, token);
        note(b, status, LATCHKEY_NOT_FOUND); /* exchanged without a grace in between */
        if (status == LATCHKEY_OK) atomic_fetch_add(&b->validated, 1);
    }
}

static void test_D_all_at_once_nothing_is_corrupt_and_nothing_lost(void **state)
{
    (void)state;
    static bustle b;
    memset(&b, 0, sizeof b);
    b.handle[0] = open_with(OLD_KEY "\n" NEW_KEY, "deadline_ms=60000");
    b.handle[1] = open_with(NEW_KEY "\n" OLD_KEY, "deadline_ms=60000");
    for (size_t s = 0; s < SESSIONS; s++) {
        make(b.handle[0], USER + s % 3, 7, b.now[s]);
        pthread_mutex_init(&b.lock[s], NULL);
        snprintf(b.value[s], sizeof b.value[s], "%s", "");
    }
    crew *readers = crew_start(READERS, look, &b);
    crew_run(WRITERS, change, &b);
    crew_run(WRITERS, compete, &b);
    crew_stop(readers);
    crew_join(readers);
    assert_int_equal(atomic_load(&b.corrupt), 0);
    assert_int_equal(atomic_load(&b.odd), 0);
    assert_true(atomic_load(&b.validated) > 100);
    assert_int_equal(atomic_load(&b.exchanged), WRITERS * ROUNDS / 2);
    for (size_t s = 0; s < SESSIONS; s++) {
        latchkey_record *record;
        size_t size;
        assert_status(b.handle[1], LATCHKEY_OK, latchkey_load(b.handle[1], b.now[s], LENGTH, &record));
        const char *theme = latchkey_record_field(record, "theme", &size);
        if (b.value[s][0]) {
            assert_int_equal(size, strlen(b.value[s]));
            assert_memory_equal(theme, b.value[s], size);
        }
        for (size_t i = 0; s == 0 && i < WRITERS; i++) {
            char name[16];
            snprintf(name, sizeof name, "pq.%zu", i);
            assert_non_null(latchkey_record_field(record, name, &size));
        }
        latchkey_record_free(record);
    }
    assert_int_equal(stats_of(b.handle[0]).corrupt + stats_of(b.handle[1]).corrupt, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_of_a_session_can_be_read_in_redis),
        TEST(test_every_byte_and_every_length_of_a_record),
        TEST(test_every_byte_and_every_length_of_a_field),
        TEST(test_nothing_is_at_home_in_another_session),
        TEST(test_an_old_token_does_not_lead_into_another_session),
        TEST(test_H_stretched_in_redis_a_session_ends_as_its_record_says),
        TEST(test_another_key_without_logging_anybody_out),
        TEST(test_from_unsealed_sessions_to_sealed_ones_and_back),
        TEST(test_a_forged_unsealed_session_is_never_admitted),
        TEST(test_without_a_clock_nothing_sealed_is_written),
        TEST(test_D_all_at_once_nothing_is_corrupt_and_nothing_lost),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * Key material is gone from this process's memory once the record that it was read into is freed: from the heap, from the
 * buffers of connections and from the stacks. (Guarantee F's spirit: no longer than needed.) What is looked for is held
 * inverted, and not printed.
 */
#include "test_handle.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 3000, NEEDLE = 24, AT = 1000 };

static unsigned char inverted[SIZE];

static void __attribute__((noinline)) draw(void)
{
    FILE *random = fopen("/dev/urandom", "rb");
    assert_non_null(random);
    setvbuf(random, NULL, _IONBF, 0);
    assert_int_equal(fread(inverted, 1, sizeof inverted, random), sizeof inverted);
    fclose(random);
}

static bool __attribute__((noinline)) is_needle(const unsigned char *at)
{
    for (size_t i = 0; i < NEEDLE; i++)
        if (at[i] != (unsigned char)~inverted[AT + i]) return false;
    return true;
}

/* How often it stands in what is readable and writable; the pieces that are looked at overlap, and are wiped. */
static size_t found_in(FILE *memory, unsigned long from, unsigned long to)
{
    static unsigned char piece[1 << 16];
    size_t found = 0;
    for (unsigned long at = from; at + NEEDLE <= to; at += sizeof piece - NEEDLE + 1) {
        size_t size = to - at < sizeof piece ? to - at : sizeof piece;
        if (at < (unsigned long)piece + sizeof piece && (unsigned long)piece < at + size) continue;
        if (fseek(memory, (long)at, SEEK_SET) || fread(piece, 1, size, memory) != size) break;
        const unsigned char *at_first = piece, *end = piece + size - NEEDLE + 1;
        while ((at_first = memchr(at_first, ~inverted[AT] & 0xff, (size_t)(end - at_first))))
            found += is_needle(at_first++);
        memset(piece, 0, sizeof piece);
    }
    return found;
}

static size_t found_in_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "r"), *memory = fopen("/proc/self/mem", "r");
    char line[512];
    size_t found = 0;
    assert_true(maps && memory);
    setvbuf(memory, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3) continue;
        if (rights[0] != 'r' || rights[1] != 'w' || to - from > 512ul << 20) continue;
        found += found_in(memory, from, to);
    }
    fclose(maps);
    fclose(memory);
    return found;
}

/* By another process's eyes: the server's own. The caller's copy is wiped, as a caller would. */
static void make_with_material(latchkey *lk, char token[LATCHKEY_TOKEN_SIZE])
{
    unsigned char *material = malloc(SIZE);
    assert_non_null(material);
    draw();
    for (size_t i = 0; i < SIZE; i++) material[i] = (unsigned char)~inverted[i];
    const latchkey_field field = {"pq.mlkem768", material, SIZE};
    make_session_with(lk, 8, 0, 0, &field, 1, token);
    assert_true(found_in_memory() >= 1); /* so the search can find */
    memset(material, 0, SIZE);
    __asm__ volatile("" : : "r"(material) : "memory");
    free(material);
}

static void read_and_free(latchkey *lk, const char *token, bool some)
{
    latchkey_record *record;
    static const char *const names[] = {"pq.mlkem768"};
    for (int i = 0; i < 3; i++) {
        int status = some ? latchkey_get_fields(lk, token, LATCHKEY_TOKEN_LENGTH, names, 1, &record)
                          : latchkey_load(lk, token, LATCHKEY_TOKEN_LENGTH, &record);
        assert_status(lk, LATCHKEY_OK, status);
        assert_true(found_in_memory() >= 1);
        latchkey_record_free(record);
    }
}

static void look_behind(latchkey *(*open)(redis *, const char *), const char *options)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = open(server, options);
    make_with_material(lk, token);
    assert_int_equal(found_in_memory(), 0);
    read_and_free(lk, token, false);
    assert_int_equal(found_in_memory(), 0);
    read_and_free(lk, token, true);
    assert_int_equal(found_in_memory(), 0);
}

static void test_F_material_is_gone_when_its_record_is_freed(void **state)
{
    (void)state;
    look_behind(handle_open, "");
}

static void test_F_over_tcp(void **state)
{
    (void)state;
    look_behind(handle_open_tcp, "");
}

static void reap_one(latchkey_queue *q, latchkey_result *result)
{
    struct pollfd p = {.fd = latchkey_queue_fd(q), .events = POLLIN};
    while (!latchkey_queue_reap(q, result, sizeof *result, 1)) assert_true(poll(&p, 1, CHECK_PATIENCE_MS) >= 0);
    assert_status(NULL, LATCHKEY_OK, result->status);
}

/* Requests of a queue are copies: gone when they are done. */
static void test_F_a_request_is_gone_when_it_is_reaped(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_open(lk);
    latchkey_result result;
    unsigned char *material = malloc(SIZE);
    assert_non_null(material);
    draw();
    for (size_t i = 0; i < SIZE; i++) material[i] = (unsigned char)~inverted[i];
    const latchkey_field field = {"pq.mlkem768", material, SIZE};
    latchkey_draft draft = {.size = sizeof draft, .user_id = 8, .fields = &field, .field_count = 1};
    latchkey_request r = {.size = sizeof r, .kind = LATCHKEY_CREATE, .draft = &draft};
    redis_freeze(server); /* so that it waits */
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    memset(material, 0, SIZE);
    __asm__ volatile("" : : "r"(material) : "memory");
    free(material);
    assert_true(found_in_memory() >= 1);
    redis_thaw(server);
    reap_one(q, &result);
    assert_int_equal(found_in_memory(), 0);
    r = (latchkey_request){.size = sizeof r, .kind = LATCHKEY_LOAD, .token = result.token, .token_len = 43};
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    reap_one(q, &result);
    assert_true(found_in_memory() >= 1);
    latchkey_record_free(result.record);
    assert_int_equal(found_in_memory(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_F_material_is_gone_when_its_record_is_freed),
        TEST(test_F_over_tcp),
        TEST(test_F_a_request_is_gone_when_it_is_reaped),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

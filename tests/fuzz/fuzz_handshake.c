/* SPDX-License-Identifier: MIT
 *
 * What a server answers to a new connection: AUTH, SELECT, INFO. Input: a byte of choices; then either RESP as it comes,
 * or, in pieces between zero bytes, the two texts of INFO (they are wrapped rightly, so that the fuzzer need not count).
 *
 * Properties: only a primary of a version that will do, with a run id, is accepted; a refusal has a text; that text never
 * holds the password, even where a server repeats it.
 */
#include "fuzz.h"
#include "redis/errors.h"
#include "redis/handshake.h"

#define PASSWORD "Kx9-sesame"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return !lk_crypto_init();
}

/* Is this the value of the first line that has this name? By another way than handshake.c's. `text` ends with a NUL. */
static bool says(const char *text, const char *name, const char *value)
{
    char sought[64];
    snprintf(sought, sizeof sought, "\n%s:", name);
    const char *at = strncmp(text, sought + 1, strlen(sought + 1)) == 0 ? text - 1 : strstr(text, sought);
    if (!at) return false;
    at += strlen(sought);
    return !value || (strncmp(at, value, strlen(value)) == 0 && strchr("\r\n", at[strlen(value)]));
}

static void check_refusal(const lk_handshake *hello)
{
    HOLDS(hello->status == LATCHKEY_CONFIG || hello->status == LATCHKEY_UNAVAILABLE ||
          hello->status == LATCHKEY_CORRUPT);
    fuzz_check_text(hello->error, sizeof hello->error);
}

/* Takes replies until there is nothing more to take. */
static bool take_all(lk_handshake *hello, lk_conn *conn)
{
    lk_reply *reply;
    bool done = false;
    while (!done && lk_conn_next(conn, &reply) > 0) {
        bool error = reply->type == LK_REPLY_ERROR;
        done = lk_handshake_take(hello, reply);
        if (error) HOLDS(hello->status);
        if (error) {
            char text[160];
            HOLDS(lk_error_status(reply, text, sizeof text) < 0);
            fuzz_check_text(text, sizeof text);
        }
        lk_reply_free(reply);
    }
    if (hello->status) check_refusal(hello);
    else if (done) HOLDS(hello->incarnation);
    return done;
}

static void feed_text(lk_conn *conn, const char *text, size_t size)
{
    char head[32];
    HOLDS(lk_conn_feed(conn, head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", size)));
    HOLDS(lk_conn_feed(conn, text, size) && lk_conn_feed(conn, "\r\n", 2));
}

static void info(lk_handshake *hello, lk_conn *conn, fuzz_input *in)
{
    const uint8_t *zero = in->left ? memchr(in->at, 0, in->left) : NULL;
    size_t server_size, role_size, at = zero ? (size_t)(zero - in->at) : in->left;
    char *server = fuzz_text(in, at, &server_size), *role;
    if (zero) fuzz_byte(in);
    role = fuzz_text(in, in->left, &role_size);
    feed_text(conn, server, server_size);
    feed_text(conn, role, role_size);
    HOLDS(take_all(hello, conn));
    if (!hello->status) {
        HOLDS(says(role, "role", "master") && says(server, "redis_version", NULL) && says(server, "run_id", NULL));
        HOLDS(says(server, "redis_mode", "standalone") || says(server, "server_mode", "standalone"));
    }
    free(server);
    free(role);
}

/* The password stands where the input has the byte 1, but only in the answer to AUTH: nothing else is sent before it. */
static void wire(lk_handshake *hello, lk_conn *conn, fuzz_input *in, bool authenticated)
{
    bool first = authenticated;
    while (in->left) {
        uint8_t byte = fuzz_byte(in);
        bool fed = first && byte == 1 ? lk_conn_feed(conn, PASSWORD, strlen(PASSWORD))
                                      : lk_conn_feed(conn, (const char *)&byte, 1);
        first = first && byte != '\n';
        if (!fed) return;
    }
    take_all(hello, conn);
    if (hello->status) HOLDS(!strstr(hello->error, PASSWORD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lk_config config;
    lk_handshake hello;
    lk_conn conn;
    fuzz_input in = {data, size};
    uint8_t choices = fuzz_byte(&in);
    if (memmem(data, size, PASSWORD, strlen(PASSWORD))) return -1; /* the fuzzer's own word would be taken for ours */
    memset(&config, 0, sizeof config);
    bool texts = choices & 1;
    if (!texts && (choices & 2)) {
        config.has_password = true;
        strcpy(config.password, PASSWORD);
        if (choices & 8) strcpy(config.user, "app");
    }
    if (!texts && (choices & 4)) config.database = 3;
    HOLDS(lk_conn_open(&conn) && lk_handshake_send(&hello, &config, &conn));
    if (texts) info(&hello, &conn, &in);
    else wire(&hello, &conn, &in, config.has_password);
    lk_conn_close(&conn);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * What a node of a cluster says: an answer to CLUSTER SLOTS, or an error that may be MOVED. Input: the bytes.
 *
 * Properties: a node that is named can be connected to (a host of its letters, a port from 1 to 65535), and each is named
 * once; the primary of a slot is one of them.
 */
#include "fuzz.h"
#include "redis/resp.h"
#include "redis/slots.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

static void check_host(const lk_host *host)
{
    HOLDS(memchr(host->name, 0, sizeof host->name) && memchr(host->port, 0, sizeof host->port));
    HOLDS(host->name[0] && !strpbrk(host->name, " /@[]\r\n\033"));
    HOLDS(atoi(host->port) >= 1 && atoi(host->port) <= 65535);
}

static void check_map(const lk_slots *slots)
{
    enum { MAX = 32 };
    static lk_host node[MAX];
    unsigned count = lk_slots_nodes(slots, node, MAX);
    for (unsigned i = 0; i < count; i++) {
        check_host(&node[i]);
        for (unsigned k = 0; k < i; k++) HOLDS(!lk_host_same(&node[k], &node[i]));
    }
    for (unsigned slot = 0; slot < LK_SLOTS; slot += 127) {
        lk_host primary;
        unsigned i = 0;
        if (!lk_slots_primary(slots, slot, &primary)) continue;
        check_host(&primary);
        while (i < count && !lk_host_same(&node[i], &primary)) i++;
        HOLDS(i < count || count == MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lk_slots slots;
    const lk_host asked = {"asked", "6379"};
    fuzz_input in = {data, size};
    lk_host to;
    char *text = fuzz_text(&in, in.left, &size);
    lk_resp *resp = lk_resp_open();
    lk_reply *reply = NULL;
    HOLDS(resp && lk_resp_feed(resp, text, size));
    if (lk_moved_to(text, &asked, &to)) check_host(&to);
    if (lk_resp_next(resp, &reply) == 1) {
        if (lk_slots_read(&slots, reply, &asked)) check_map(&slots);
        if (reply->type == LK_REPLY_ERROR && lk_moved_to(reply->text, &asked, &to)) check_host(&to);
    }
    lk_reply_free(reply);
    lk_resp_close(resp);
    free(text);
    return 0;
}

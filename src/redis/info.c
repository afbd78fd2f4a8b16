/* See info.h. */
#include "redis/info.h"

#include "base/hash.h"
#include "redis/errors.h"

#include <stdio.h>
#include <string.h>

bool lk_info_value(const char *text, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) || line[length] != ':') continue;
        line += length + 1;
        length = strcspn(line, "\r\n");
        if (length >= size) return false;
        memcpy(value, line, length);
        value[length] = 0;
        return true;
    }
    return false;
}

int lk_info_replication(const lk_reply *reply, uint64_t *replication, char *text, size_t text_size)
{
    char role[32], id[64];
    if (reply->type == LK_REPLY_ERROR) return lk_error_status(reply, text, text_size);
    const char *info = reply->type == LK_REPLY_STRING ? reply->text : "";
    if (!lk_info_value(info, "role", role, sizeof role)) role[0] = 0;
    if (!lk_info_value(info, "master_replid", id, sizeof id)) id[0] = 0;
    if (role[0] && strcmp(role, "master")) {
        snprintf(text, text_size, "the server is a replica: it may serve revoked sessions; name its primary");
        return LATCHKEY_CONFIG;
    }
    if (!role[0] || !id[0]) {
        snprintf(text, text_size,
                 "the server's INFO shows no %s: it is not Redis, or something in between leaves the field out",
                 role[0] ? "master_replid" : "role");
        return LATCHKEY_CONFIG;
    }
    *replication = lk_hash(id, strlen(id), 0);
    return LATCHKEY_OK;
}

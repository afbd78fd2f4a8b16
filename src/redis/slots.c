/* See slots.h. */
#include "redis/slots.h"

#include <stdio.h>
#include <string.h>

unsigned lk_slot_of(const char *tag, size_t size)
{
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)(unsigned char)tag[i] << 8;
        for (int bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return crc % LK_SLOTS;
}

unsigned lk_slot_of_partition(unsigned partition)
{
    char tag[16];
    return lk_slot_of(tag, (size_t)snprintf(tag, sizeof tag, "%u", partition));
}

/* -------------------------------------------------------------------------------------------------- one node -- */

/* A name, or an address; an IPv6 address may have a zone. */
static bool take_host_name(const char *text, size_t size, lk_host *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_%-";
    if (!size || size >= sizeof out->name || memchr(text, 0, size) || strspn(text, letters) < size) return false;
    memcpy(out->name, text, size);
    out->name[size] = 0;
    return true;
}

static bool take_port(long long port, lk_host *out)
{
    if (port < 1 || port > 65535) return false;
    snprintf(out->port, sizeof out->port, "%d", (int)port);
    return true;
}

/* Without a host, the one that was asked is meant, at that port. */
static bool take_asked(const lk_host *asked, lk_host *out)
{
    memcpy(out->name, asked->name, sizeof out->name);
    return true;
}

/* What stands behind a node's id: pairs of a name and a text. It shows the address if the endpoint is a host name. */
static const lk_reply *address_of(const lk_reply *node)
{
    const lk_reply *pairs = lk_reply_at(node, 3);
    for (size_t i = 0; i + 1 < pairs->count; i += 2)
        if (lk_reply_is(lk_reply_at(pairs, i), "ip")) return lk_reply_at(pairs, i + 1);
    return NULL;
}

/* [host, port, id, ...]. "?": its name was asked for, and it has none. */
static bool take_node(const lk_reply *node, const lk_host *asked, lk_host *out)
{
    const lk_reply *name = lk_reply_at(node, 0), *port = lk_reply_at(node, 1);
    if (port->type != LK_REPLY_INTEGER || !take_port(port->integer, out)) return false;
    if (lk_reply_is(name, "?")) {
        const lk_reply *address = address_of(node);
        return address && address->size ? take_host_name(address->text, address->size, out) : take_asked(asked, out);
    }
    if (name->type == LK_REPLY_NIL || (name->type == LK_REPLY_STRING && !name->size)) return take_asked(asked, out);
    return name->type == LK_REPLY_STRING && take_host_name(name->text, name->size, out);
}

/* ---------------------------------------------------------------------------------------------- CLUSTER SLOTS -- */

bool lk_slots_read(lk_slots *slots, const lk_reply *reply, const lk_host *asked)
{
    memset(slots, 0, sizeof *slots);
    slots->reply = reply;
    slots->asked = asked;
    if (reply->type != LK_REPLY_ARRAY || reply->count > LK_SLOTS) return false;
    for (size_t i = 0; i < reply->count; i++) {
        const lk_reply *range = lk_reply_at(reply, i);
        const lk_reply *first = lk_reply_at(range, 0), *last = lk_reply_at(range, 1);
        if (first->type != LK_REPLY_INTEGER || last->type != LK_REPLY_INTEGER) return false;
        if (first->integer < 0 || last->integer >= LK_SLOTS || first->integer > last->integer) return false;
        for (long long slot = first->integer; slot <= last->integer; slot++) {
            if (slots->range[slot]) return false;
            slots->range[slot] = (uint16_t)(i + 1);
        }
    }
    return true;
}

bool lk_slots_primary(const lk_slots *slots, unsigned slot, lk_host *primary)
{
    unsigned range = slots->range[slot];
    return range && take_node(lk_reply_at(lk_reply_at(slots->reply, range - 1), 2), slots->asked, primary);
}

unsigned lk_slots_nodes(const lk_slots *slots, lk_host *node, unsigned max)
{
    unsigned count = 0;
    size_t longest = 0;
    for (size_t i = 0; i < slots->reply->count; i++) {
        size_t nodes = lk_reply_at(slots->reply, i)->count;
        longest = nodes > longest ? nodes : longest;
    }
    for (size_t place = 2; place < longest; place++)
        for (size_t i = 0; i < slots->reply->count && count < max; i++) {
            unsigned known = 0;
            if (!take_node(lk_reply_at(lk_reply_at(slots->reply, i), place), slots->asked, &node[count])) continue;
            while (!lk_host_same(&node[known], &node[count])) known++;
            count += known == count;
        }
    return count;
}

/* ----------------------------------------------------------------------------------------------------- members -- */

bool lk_node_id_read(lk_node_id *id, const lk_reply *reply)
{
    size_t most = sizeof id->text - 1;
    memset(id, 0, sizeof *id);
    if (reply->type != LK_REPLY_STRING || !reply->size || reply->size > most) return false;
    if (strspn(reply->text, "0123456789abcdef") < reply->size) return false;
    memcpy(id->text, reply->text, reply->size);
    return true;
}

bool lk_node_id_same(const lk_node_id *a, const lk_node_id *b) { return strcmp(a->text, b->text) == 0; }

bool lk_members_have(const lk_members *members, const lk_node_id *id)
{
    unsigned i = 0;
    while (i < members->count && !lk_node_id_same(&members->id[i], id)) i++;
    return i < members->count;
}

void lk_slots_members(const lk_slots *slots, lk_members *members)
{
    size_t longest = 0;
    memset(members, 0, sizeof *members);
    for (size_t i = 0; i < slots->reply->count; i++) {
        size_t nodes = lk_reply_at(slots->reply, i)->count;
        longest = nodes > longest ? nodes : longest;
    }
    for (size_t place = 2; place < longest; place++) {
        for (size_t i = 0; i < slots->reply->count && members->count < LK_MEMBERS_MAX; i++) {
            lk_node_id *id = &members->id[members->count];
            const lk_reply *node = lk_reply_at(lk_reply_at(slots->reply, i), place);
            if (lk_node_id_read(id, lk_reply_at(node, 2)) && !lk_members_have(members, id)) members->count++;
        }
        if (place == 2) members->primaries = members->count;
    }
}

lk_node_id lk_slots_primary_id(const lk_slots *slots, unsigned slot)
{
    lk_node_id id = {""};
    unsigned range = slots->range[slot];
    if (range) lk_node_id_read(&id, lk_reply_at(lk_reply_at(lk_reply_at(slots->reply, range - 1), 2), 2));
    return id;
}

static bool most_are_in(const lk_members *these, const lk_members *those)
{
    unsigned found = 0;
    for (unsigned i = 0; i < these->primaries; i++) found += lk_members_have(those, &these->id[i]);
    return 2 * found > these->primaries;
}

bool lk_members_agree(const lk_members *a, const lk_members *b) { return most_are_in(a, b) || most_are_in(b, a); }

/* ------------------------------------------------------------------------------------------------------- MOVED -- */

bool lk_moved_to(const char *error, const lk_host *asked, lk_host *to)
{
    const char *at = strstr(error, "MOVED ");
    if (!at || (at != error && at[-1] != ' ' && at[-1] != '-')) return false;
    at += strlen("MOVED ");
    at += strspn(at, "0123456789");
    if (*at++ != ' ') return false;
    size_t size = strcspn(at, " \r\n"), host = size;
    while (host && at[host - 1] != ':') host--; /* an IPv6 address has colons of its own */
    long long port = 0;
    for (size_t i = host; i < size && port <= 65535; i++) {
        if (at[i] < '0' || at[i] > '9') return false;
        port = 10 * port + (at[i] - '0');
    }
    if (!host-- || !take_port(port, to)) return false;
    return !host || (host == 1 && *at == '?') ? take_asked(asked, to) : take_host_name(at, host, to);
}

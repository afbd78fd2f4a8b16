/* SPDX-License-Identifier: MIT
 *
 * What the C++ contenders share: the token as a key, what is stored under it, and the vtable of a contender made of a
 * class with get, put and drop.
 */
#ifndef LATCHKEY_BENCH_L1_CXX_HPP
#define LATCHKEY_BENCH_L1_CXX_HPP

#include "peer.h"

#include <cstddef>
#include <cstring>

struct key {
    char text[LATCHKEY_TOKEN_LENGTH];
    explicit key(const char *from) { std::memcpy(text, from, sizeof text); }
    bool operator==(const key &other) const { return text_equal(text, other.text); }
};

struct key_hash {
    std::size_t operator()(const key &k) const { return text_hash(k.text); }
};

struct held {
    int64_t deadline_ms;
    latchkey_entry entry;
};

template <class Map> peer make_peer(const char *name, const char *where, bool debian)
{
    peer p = {};
    p.name = name;
    p.where = where;
    p.debian = debian;
    p.open = [](std::size_t capacity) -> void * { return new Map(capacity); };
    p.close = [](void *map) { delete static_cast<Map *>(map); };
    p.get = [](void *map, const request *asked, latchkey_entry *entry) -> bool {
        int64_t lease = lease_until(), deadline_ms = 0;
        return static_cast<Map *>(map)->get(key(asked->text), deadline_ms, *entry) && in_time(lease, deadline_ms);
    };
    p.put = [](void *map, const record *r) {
        static_cast<Map *>(map)->put(key(r->text), held{r->deadline_ms, r->entry});
    };
    p.drop = [](void *map, const record *r) { static_cast<Map *>(map)->drop(key(r->text)); };
    return p;
}

static inline peer missing_peer(const char *name, const char *where, bool debian, const char *why)
{
    peer p = {};
    p.name = name;
    p.where = where;
    p.debian = debian;
    p.missing = why;
    return p;
}

#endif

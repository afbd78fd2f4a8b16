/* SPDX-License-Identifier: MIT
 *
 * The C++ standard library: std::unordered_map under one shared mutex, and 64 of them under a mutex each.
 */
#include "cxx.hpp"

#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace
{
using map_type = std::unordered_map<key, held, key_hash>;

bool find(const map_type &map, const key &k, int64_t &deadline_ms, latchkey_entry &entry)
{
    auto at = map.find(k);
    if (at == map.end()) return false;
    entry = at->second.entry;
    deadline_ms = at->second.deadline_ms;
    return true;
}

class one_lock
{
    map_type map;
    std::shared_mutex lock;

  public:
    explicit one_lock(std::size_t capacity) { map.reserve(capacity); }
    bool get(const key &k, int64_t &deadline_ms, latchkey_entry &entry)
    {
        std::shared_lock<std::shared_mutex> held_here(lock);
        return find(map, k, deadline_ms, entry);
    }
    void put(const key &k, const held &value)
    {
        std::unique_lock<std::shared_mutex> held_here(lock);
        map.insert_or_assign(k, value);
    }
    void drop(const key &k)
    {
        std::unique_lock<std::shared_mutex> held_here(lock);
        map.erase(k);
    }
};

class many_locks
{
    struct alignas(64) shard {
        std::mutex lock;
        map_type map;
    };
    shard shards[64];
    shard &of(const key &k) { return shards[text_hash(k.text) >> 58]; }

  public:
    explicit many_locks(std::size_t capacity)
    {
        for (auto &s : shards) s.map.reserve(capacity / 64 + 1);
    }
    bool get(const key &k, int64_t &deadline_ms, latchkey_entry &entry)
    {
        shard &s = of(k);
        std::lock_guard<std::mutex> held_here(s.lock);
        return find(s.map, k, deadline_ms, entry);
    }
    void put(const key &k, const held &value)
    {
        shard &s = of(k);
        std::lock_guard<std::mutex> held_here(s.lock);
        s.map.insert_or_assign(k, value);
    }
    void drop(const key &k)
    {
        shard &s = of(k);
        std::lock_guard<std::mutex> held_here(s.lock);
        s.map.erase(k);
    }
};
} // namespace

extern "C" {
extern const peer peer_std_shared, peer_std_mutexes;
const peer peer_std_shared = make_peer<one_lock>("unordered_map + shared_mutex", "the C++ library", true);
const peer peer_std_mutexes = make_peer<many_locks>("unordered_map, 64 mutexes", "the C++ library", true);
}

/* SPDX-License-Identifier: MIT
 *
 * oneTBB: concurrent_hash_map. With the ordinary allocator, so that malloc can say what it takes.
 */
#include "cxx.hpp"

#if __has_include(<tbb/concurrent_hash_map.h>)
#include <memory>
#include <tbb/concurrent_hash_map.h>

namespace
{
struct compare {
    std::size_t hash(const key &k) const { return text_hash(k.text); }
    bool equal(const key &a, const key &b) const { return a == b; }
};

class table
{
    using map_type = tbb::concurrent_hash_map<key, held, compare, std::allocator<std::pair<const key, held>>>;
    map_type map;

  public:
    explicit table(std::size_t capacity) : map(capacity) {}
    bool get(const key &k, int64_t &deadline_ms, latchkey_entry &entry)
    {
        map_type::const_accessor at;
        if (!map.find(at, k)) return false;
        entry = at->second.entry;
        deadline_ms = at->second.deadline_ms;
        return true;
    }
    void put(const key &k, const held &value)
    {
        map_type::accessor at;
        if (!map.insert(at, {k, value})) at->second = value;
    }
    void drop(const key &k) { map.erase(k); }
};
} // namespace

extern "C" {
extern const peer peer_tbb;
const peer peer_tbb = make_peer<table>("TBB concurrent_hash_map", "Debian libtbb-dev", true);
}
#else
extern "C" {
extern const peer peer_tbb;
const peer peer_tbb =
    missing_peer("TBB concurrent_hash_map", "Debian libtbb-dev", true, "no tbb/concurrent_hash_map.h");
}
#endif

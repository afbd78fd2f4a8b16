/* SPDX-License-Identifier: MIT
 *
 * Boost, from 1.83 on: concurrent_flat_map.
 */
#include "cxx.hpp"

#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
#include <boost/unordered/concurrent_flat_map.hpp>

namespace
{
class table
{
    boost::concurrent_flat_map<key, held, key_hash> map;

  public:
    explicit table(std::size_t capacity) : map(capacity) {}
    bool get(const key &k, int64_t &deadline_ms, latchkey_entry &entry)
    {
        return map.cvisit(k, [&](const auto &at) {
            entry = at.second.entry;
            deadline_ms = at.second.deadline_ms;
        }) > 0;
    }
    void put(const key &k, const held &value) { map.insert_or_assign(k, value); }
    void drop(const key &k) { map.erase(k); }
};
} // namespace

extern "C" {
extern const peer peer_boost;
const peer peer_boost = make_peer<table>("Boost concurrent_flat_map", "Boost 1.83 or newer", false);
}
#else
extern "C" {
extern const peer peer_boost;
const peer peer_boost = missing_peer("Boost concurrent_flat_map", "Boost 1.83 or newer", false,
                                     "no boost/unordered/concurrent_flat_map.hpp");
}
#endif

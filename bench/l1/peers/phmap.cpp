/* SPDX-License-Identifier: MIT
 *
 * parallel-hashmap: 64 flat maps under a shared mutex each.
 */
#include "cxx.hpp"

#if __has_include(<parallel_hashmap/phmap.h>)
#include <parallel_hashmap/phmap.h>
#include <shared_mutex>

namespace
{
class table
{
    using map_type = phmap::parallel_flat_hash_map<key, held, key_hash, std::equal_to<key>,
                                                   std::allocator<std::pair<const key, held>>, 6, std::shared_mutex>;
    map_type map;

  public:
    explicit table(std::size_t capacity) : map(capacity) {}
    bool get(const key &k, int64_t &deadline_ms, latchkey_entry &entry)
    {
        return map.if_contains(k, [&](const auto &at) {
            entry = at.second.entry;
            deadline_ms = at.second.deadline_ms;
        });
    }
    void put(const key &k, const held &value) { map.insert_or_assign(k, value); }
    void drop(const key &k) { map.erase(k); }
};
} // namespace

extern "C" {
extern const peer peer_phmap;
const peer peer_phmap = make_peer<table>("parallel-hashmap, 64 shared_mutex", "its repository", false);
}
#else
extern "C" {
extern const peer peer_phmap;
const peer peer_phmap =
    missing_peer("parallel-hashmap, 64 shared_mutex", "its repository", false, "no parallel_hashmap/phmap.h");
}
#endif

/* SPDX-License-Identifier: MIT
 *
 * libcuckoo: cuckoohash_map.
 */
#include "cxx.hpp"

#if __has_include(<libcuckoo/cuckoohash_map.hh>)
#include <libcuckoo/cuckoohash_map.hh>

namespace
{
class table
{
    libcuckoo::cuckoohash_map<key, held, key_hash> map;

  public:
    explicit table(std::size_t capacity) : map(capacity) {}
    bool get(const key &k, int64_t &deadline_ms, latchkey_entry &entry)
    {
        return map.find_fn(k, [&](const held &value) {
            entry = value.entry;
            deadline_ms = value.deadline_ms;
        });
    }
    void put(const key &k, const held &value) { map.insert_or_assign(k, value); }
    void drop(const key &k) { map.erase(k); }
};
} // namespace

extern "C" {
extern const peer peer_cuckoo;
const peer peer_cuckoo = make_peer<table>("libcuckoo cuckoohash_map", "Debian libcuckoo-dev", false);
}
#else
extern "C" {
extern const peer peer_cuckoo;
const peer peer_cuckoo =
    missing_peer("libcuckoo cuckoohash_map", "Debian libcuckoo-dev", false, "no libcuckoo/cuckoohash_map.hh");
}
#endif

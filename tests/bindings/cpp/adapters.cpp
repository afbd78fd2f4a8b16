/* SPDX-License-Identifier: MIT
 *
 * The adapters: a thousand misses on one loop of each library, and none of them has a thread.
 */
#include <asio.hpp>
#include <latchkey.hpp>
#include <latchkey/adapters/asio.hpp>
#include <latchkey/adapters/libevent.h>
#include <latchkey/adapters/libuv.h>
#include <filesystem>
#include "check.h"

static std::vector<latchkey::token> tokens;

static int threads()
{
    int count = 0;
    for (const auto &each : std::filesystem::directory_iterator("/proc/self/task")) count += each.is_directory();
    return count;
}

/* Asks for all of them at once; `run` runs the loop until `answered` is all, and ends it when `stop` was called. */
template <class Watch> static void thousand(const char *name, Watch watch)
{
    latchkey::handle lk(url("deadline_ms=10000&in_flight=2000"));
    latchkey::queue queue(lk);
    CHECK(queue.is_open());
    std::size_t answered = 0;
    int before = 0;
    watch(queue, [&](auto stop) {
        for (std::size_t user = 0; user < tokens.size(); user++)
            queue.validate(tokens[user], [&, user, stop](latchkey::result<latchkey::entry> found) {
                CHECK(found && found->user_id() == user);
                if (++answered == tokens.size()) stop();
            });
        CHECK(answered == 0 && queue.waiting() == tokens.size());
        before = threads();
    });
    CHECK(answered == tokens.size() && queue.waiting() == 0 && threads() <= before);
    std::printf("%s: %zu misses\n", name, answered);
}

int main()
{
    latchkey::handle lk(url("deadline_ms=10000"));
    for (std::uint64_t user = 0; user < 1000; user++) tokens.push_back(lk.create(user));

    thousand("libevent", [](latchkey::queue &queue, auto begin) {
        event_base *base = event_base_new();
        latchkey_libevent watch;
        CHECK(latchkey_libevent_watch(&watch, base, queue.fd(), latchkey::queue::on_ready, &queue) == 0);
        begin([base] { event_base_loopbreak(base); });
        event_base_dispatch(base);
        latchkey_libevent_unwatch(&watch);
        event_base_free(base);
    });
    thousand("libuv", [](latchkey::queue &queue, auto begin) {
        uv_loop_t loop;
        latchkey_libuv watch;
        CHECK(uv_loop_init(&loop) == 0 &&
              latchkey_libuv_watch(&watch, &loop, queue.fd(), latchkey::queue::on_ready, &queue) == 0);
        begin([&watch] { latchkey_libuv_unwatch(&watch, nullptr); });
        CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && uv_loop_close(&loop) == 0);
    });
    thousand("asio", [](latchkey::queue &queue, auto begin) {
        asio::io_context loop;
        auto watch = std::make_unique<latchkey_asio>(loop.get_executor(), queue);
        begin([&watch] { watch.reset(); });
        loop.run();
        CHECK(!watch);
    });

    { /* what a callback throws comes out of the loop, which then goes on */
        latchkey::handle cold(url("deadline_ms=10000"));
        latchkey::queue queue(cold);
        asio::io_context loop;
        auto watch = std::make_unique<latchkey_asio>(loop.get_executor(), queue);
        bool thrown = false, answered = false;
        queue.validate(tokens[1], [](latchkey::result<latchkey::entry>) { throw std::runtime_error("of a callback"); });
        try {
            loop.run();
        } catch (const std::runtime_error &) {
            thrown = true;
        }
        asio::steady_timer limit(loop, std::chrono::seconds(60));
        limit.async_wait([&](const asio::error_code &) { watch.reset(); });
        queue.validate(tokens[2], [&](latchkey::result<latchkey::entry> found) {
            answered = found && found->user_id() == 2;
            limit.cancel();
        });
        loop.run();
        CHECK(thrown && answered);
    }
    return 0;
}

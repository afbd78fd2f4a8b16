/* SPDX-License-Identifier: MIT
 *
 * The list of tests/bindings/README.md. --quick leaves out the point that waits for time to pass.
 */
#include <latchkey.hpp>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <type_traits>
#include "check.h"

using std::string;
using std::string_view;
using namespace std::chrono_literals;
using entry = latchkey::entry;

static_assert(!std::is_copy_constructible_v<latchkey::handle> &&
              std::is_nothrow_move_constructible_v<latchkey::handle>);
static_assert(!std::is_copy_constructible_v<latchkey::queue> && sizeof(entry) == LATCHKEY_ENTRY_SIZE);

/* A token has no text form. */
template <class T, class = void> struct is_printable : std::false_type {
};
template <class T>
struct is_printable<T, std::void_t<decltype(std::declval<std::ostream &>() << std::declval<const T &>())>>
    : std::true_type {
};

template <class Error, class F> static Error raises(F call)
{
    try {
        call();
    } catch (const Error &error) {
        return error;
    }
    CHECK(!"it raises what it should");
    std::abort();
}

template <class F> static void answer_of(latchkey::queue &queue, F condition)
{
    while (!condition()) {
        pollfd watched = {queue.fd(), POLLIN, 0};
        CHECK(poll(&watched, 1, 30000) == 1);
        queue.ready();
    }
}

static int count(const char *what)
{
    int found = 0;
    for (const auto &each : std::filesystem::directory_iterator(string("/proc/self/") + what))
        found += !each.path().empty();
    return found;
}

static void life(latchkey::handle &here, latchkey::handle &there)
{
    latchkey::draft draft((1ull << 63) + 9, "sixteen bytes ok");
    for (int i = 0; i < 32; i++) draft.raw.permissions_hash[i] = static_cast<std::uint8_t>(i);
    draft.raw.device = 0xffffffffu;
    draft.raw.flags = 0xa5a5;
    latchkey::token token = here.create(draft);
    CHECK(token.view().size() == 43);
    const auto found = here.validate(token);
    CHECK(found && found->user_id() == (1ull << 63) + 9 && found->role() == "sixteen bytes ok" &&
          found->device() == 0xffffffffu);
    CHECK(found->flags() == 0xa5a5 && !std::memcmp(found->permissions_hash(), draft.raw.permissions_hash, 32));
    CHECK(found->created_at() == found->auth_at() && found->expires_at() > found->created_at() + 1h && !found->renew());
    CHECK(here.validate(here.create(latchkey::draft("alice@example.org")))->user_id() ==
          latchkey_user_id("alice@example.org", 17));
    passed(1, "create");

    const latchkey_stats before = here.stats();
    for (int i = 0; i < 1000; i++) CHECK(*here.validate(token) == *found);
    CHECK(here.stats().l1_hits == before.l1_hits + 1000 && here.stats().l2_reads == before.l2_reads);
    passed(2, "hit");

    CHECK(there.try_validate(token, std::nothrow).status() == LATCHKEY_AGAIN);
    CHECK(*there.validate(token) == *found && *there.try_validate(token, std::nothrow) == *found);
    latchkey::queue queue(there);
    latchkey::token second = here.create(3);
    int answers = 0;
    auto is_third = [&](latchkey::result<entry> given) { CHECK(given && given->user_id() == 3), answers++; };
    queue.validate(second, is_third);
    CHECK(answers == 0);
    answer_of(queue, [&] { return answers == 1; });
    queue.validate(second, is_third); /* memory answers, at once */
    CHECK(answers == 2);
    passed(3, "miss");

    string wrong(token.view());
    wrong[30] = wrong[30] == 'A' ? 'B' : 'A';
    const string bad[] = {"",
                          string(token.view().substr(1)),
                          string(token.view()) + "A",
                          wrong,
                          string(43, '\0'),
                          string(43, '\xff'),
                          string(100000, 'x')};
    for (const string &each : bad) {
        CHECK(!here.validate(each) && !there.validate(each) && !there.load(each) && !here.revoke(each));
        queue.validate(each, [&](latchkey::result<entry> given) { CHECK(given.no()), answers++; });
    }
    CHECK(!here.validate({}));
    answer_of(queue, [&] { return answers == 2 + 7; });
    passed(4, "no");

    CHECK(there.validate(second) && here.revoke(token) && !here.validate(token) && !here.revoke(token));
    queue.revoke(second, [&](latchkey::result<latchkey::nothing> done) { CHECK(done), answers++; });
    CHECK(!there.validate(second));
    answer_of(queue, [&] { return answers == 10; });
    passed(5, "revoke here");
    wait_until([&] { return !there.validate(token) && !here.validate(second); });
    passed(6, "revoke there");
}

static void trouble(latchkey::handle &here, latchkey::handle &there)
{
    redis("CONFIG SET maxmemory 1");
    CHECK(raises<latchkey::unavailable>([&] { here.create(7); }).status() == LATCHKEY_UNAVAILABLE);
    redis("CONFIG SET maxmemory 0");
    wait_until([&] { return static_cast<bool>(here.create({7}, std::nothrow)); });
    latchkey::token token = here.create(7), second = here.create(8);
    raises<latchkey::unavailable>([] { latchkey::handle none("unix:///nothing/here.sock?deadline_ms=100"); });
    latchkey::handle lazy("unix:///nothing/here.sock?deadline_ms=100&lazy=1");
    raises<latchkey::unavailable>([&] { lazy.validate(token); });
    passed(7, "refused");

    latchkey::handle brief(url("deadline_ms=1000"));
    latchkey::queue queue(brief);
    int answers = 0;
    {
        const stopped_redis now;
        raises<latchkey::unavailable>([&] { brief.validate(token); });
        for (int i = 0; i < 20; i++)
            queue.validate(token, [&](latchkey::result<entry> given) { CHECK(given.unanswered()), answers++; });
        answer_of(queue, [&] { return answers == 20; });
    }
    wait_until([&] { return static_cast<bool>(brief.validate(token, std::nothrow)); });
    CHECK(brief.validate(token)->user_id() == 7 && brief.validate(second)->user_id() == 8);
    passed(8, "late");

    CHECK(there.validate(token));
    {
        const stopped_redis now;
        CHECK(raises<latchkey::pending>([&] { brief.revoke(token); }).status() == LATCHKEY_PENDING);
        CHECK(!brief.validate(token));
    }
    wait_until([&] { return there.validate(token, std::nothrow).no(); });
    passed(9, "pending");

    for (const bool asks : {true, false}) {
        const pid_t pid = fork();
        if (pid == 0) {
            bool good = !asks || here.validate(second)->user_id() == 8;
            latchkey::queue own(here);
            int had = 0;
            own.create({10}, [&](latchkey::result<latchkey::token> made) { had = made ? 1 : -1; });
            while (good && !had) usleep(1000), own.ready();
            std::_Exit(good && had == 1 ? 0 : 1);
        }
        int status = 1;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    CHECK(here.validate(second)->user_id() == 8 && here.create(10).view().size() == 43);
    passed(10, "fork");

    {
        const stopped_redis now;
        int ended = 0;
        for (int i = 0; i < 20; i++)
            queue.load(second, [&](latchkey::result<latchkey::record> given) {
                ended += given.status() == latchkey::closed_status;
            });
        CHECK(queue.waiting() == 20);
        brief.close();
        CHECK(ended == 20 && queue.waiting() == 0 && !queue.is_open());
        queue.validate(second,
                       [&](latchkey::result<entry> given) { ended += given.status() == latchkey::closed_status; });
        CHECK(ended == 21);
    }
    brief.close();
    CHECK(string(raises<latchkey::closed>([&] { brief.validate(second); }).what()).find("closed") != string::npos);
    raises<latchkey::closed>([&] { brief.create(1); });
    passed(11, "close");
}

/* Whatever callbacks do, each is called once. And what was moved from is empty. */
static void callbacks(latchkey::handle &here)
{
    const latchkey::token token = here.create(24);
    {
        latchkey::queue queue(here);
        int called = 0, thrown = 0;
        for (int i = 0; i < 20; i++)
            queue.load(token, [&called, i](const latchkey::result<latchkey::record> &given) {
                CHECK(given), called++;
                if (i % 3) throw std::runtime_error("of a callback");
            });
        while (called < 20) {
            pollfd watched = {queue.fd(), POLLIN, 0};
            CHECK(poll(&watched, 1, 30000) == 1);
            try {
                queue.ready();
            } catch (const std::runtime_error &) {
                thrown++;
            }
        }
        CHECK(called == 20 && thrown > 0 && queue.waiting() == 0);
    }
    for (const bool whole :
         {false, true}) { /* a callback closes the queue, or the handle; and what it throws then is dropped */
        latchkey::handle own(url("deadline_ms=10000"));
        latchkey::queue queue(own), beside(own);
        int called = 0, closed = 0;
        auto give = [&](const latchkey::result<latchkey::record> &given) {
            called++, closed += given.status() == latchkey::closed_status;
            if (whole) own.close();
            else queue.close();
            throw std::runtime_error("of a callback");
        };
        {
            const stopped_redis now;
            for (int i = 0; i < 20; i++) queue.load(token, give);
            if (whole) beside.load(token, give);
        }
        while (queue.is_open()) {
            pollfd watched = {queue.fd(), POLLIN, 0};
            CHECK(poll(&watched, 1, 30000) == 1);
            try {
                queue.ready();
            } catch (const std::runtime_error &) {
            }
        }
        CHECK(called == 20 + whole && closed >= 19 && queue.waiting() == 0 && queue.ready() == 0);
        CHECK(whole ? !own.is_open() && !beside.is_open() : own.validate(token).has_value());
    }

    for (const bool whole :
         {false, true}) { /* the first login that is answered closes the queue: the others leave no session */
        latchkey::handle own(url("deadline_ms=10000"));
        latchkey::queue queue(own);
        int made = 0;
        {
            const stopped_redis now;
            for (int i = 0; i < 20; i++)
                queue.create(2400, [&](const latchkey::result<latchkey::token> &given) {
                    made += static_cast<bool>(given);
                    if (whole) own.close();
                    else queue.close();
                });
        }
        usleep(200000); /* so that the answers come at once */
        while (queue.is_open()) {
            pollfd watched = {queue.fd(), POLLIN, 0};
            CHECK(poll(&watched, 1, 30000) == 1);
            queue.ready();
        }
        own.close();
        CHECK(made == 1 && here.revoke_user(2400) == 1);
    }

    auto record = here.load(token);
    const latchkey::record taken = std::move(*record);
    CHECK(taken.entry().user_id() == 24 && record->entry().user_id() == 0 && record->names().empty() &&
          !record->field("every") && record->version("every") == 0);
    raises<latchkey::error>([&] { here.change_fields(token, *record, {}); });
    latchkey::handle moved(url("deadline_ms=10000")), now = std::move(moved);
    CHECK(!moved.is_open() && now.is_open() && moved.native() == nullptr);
    raises<latchkey::closed>([&] { moved.load(token); });
    latchkey::queue none(moved);
    int called = 0;
    none.create(1, [&](const latchkey::result<latchkey::token> &given) {
        called++;
        CHECK(given.status() == latchkey::closed_status);
    });
    CHECK(called == 1 && !none.is_open() && none.ready() == 0);
    moved = std::move(now);
    CHECK(moved.validate(token) && !now.is_open());
}

static void verbs(latchkey::handle &here, latchkey::handle &there)
{
    latchkey::token old = here.create(12, "member");
    const latchkey::rotation first = here.rotate(old);
    CHECK(first && here.validate(first.next)->user_id() == 12 && !here.validate(old));
    const latchkey::rotation next = here.rotate(first.next, 60s);
    CHECK(next && here.validate(first.next) && here.validate(next.next));
    CHECK(here.rotate(first.next, 60s).outcome == latchkey::rotation::outcome::already);
    CHECK(here.rotate(old).outcome == latchkey::rotation::outcome::no_session);
    passed(12, "rotation");

    string every(256, 0), large(65536, '\xff');
    for (int i = 0; i < 256; i++) every[static_cast<std::size_t>(i)] = static_cast<char>(i);
    latchkey::draft draft(14);
    draft.fields = {{"every", every}, {"gone", "1"}, {"empty", ""}};
    latchkey::token token = here.create(draft);
    CHECK(here.set_fields(token, {{"large", large}, {"gone", std::nullopt}}));
    const auto record = there.load(token);
    CHECK(record && record->names().size() == 3 && record->field("every") == every && record->field("large") == large);
    CHECK(record->field("empty") == "" && !record->field("gone") && record->entry() == *here.validate(token));
    CHECK(!there.fields(old, {"every"}) && there.fields(token, {"every"})->field("every") == every);
    passed(14, "fields");

    here.set_fields(token, {{"count", "0"}});
    auto add = [&](latchkey::handle &lk) {
        for (int i = 0; i < 25; i++)
            for (bool done = false; !done;) {
                const auto read = lk.fields(token, {"count"});
                done = *lk.change_fields(token, *read,
                                         {{"count", std::to_string(std::stoi(string(*read->field("count"))) + 1)}});
            }
    };
    std::thread one([&] { add(here); }), two([&] { add(there); });
    one.join(), two.join();
    CHECK(here.fields(token, {"count"})->field("count") == "50");
    const auto stale = here.fields(token, {"count"});
    CHECK(there.change_fields(token, *stale, {{"count", "51"}}) == true &&
          here.change_fields(token, *stale, {{"count", "0"}}) == false);
    CHECK(!here.change_fields(old, *stale, {{"count", "0"}}).has_value());
    passed(15, "compare-and-set");

    std::vector<latchkey::token> tokens;
    for (int i = 0; i < 4; i++) tokens.push_back(here.create(1600));
    const auto listed = there.sessions(1600, tokens[2]);
    int current = 0;
    for (const auto &each : listed)
        if (each.current) current++, CHECK(tokens[2].view().substr(0, 20) == each.selector);
    CHECK(listed.size() == 4 && current == 1 && there.revoke_user(1600, tokens[2]) == 3);
    CHECK(there.validate(tokens[2]) && !there.validate(tokens[0]) && there.revoke_user(1600) == 1 &&
          here.sessions(1600).empty());
    passed(16, "a user's sessions");

    CHECK(there.validate(token) && here.touch(token) && !here.touch(old));
    latchkey_access access = {};
    access.role = "editor";
    CHECK(here.set_access(token, access) && here.validate(token)->role() == "editor");
    wait_until([&] { return there.validate(token)->role() == "editor"; });
    passed(17, "touch and access");

    latchkey::handle strict(url("deadline_ms=10000&max_sessions=1&limit=deny"));
    const auto user = static_cast<std::uint64_t>(getpid()) + 1000000; /* a user of this run alone */
    strict.create(user);
    CHECK(raises<latchkey::limit_reached>([&] { strict.create(user); }).status() == LATCHKEY_LIMIT);
    passed(18, "limit");
}

static void texts(latchkey::handle &here)
{
    static_assert(!is_printable<latchkey::token>::value && !is_printable<latchkey::handle>::value);
    latchkey::token token = here.create(19);
    const string config = "unix://someone:hunter2@" + environment("LATCHKEY_REDIS_SOCKET");
    const string said = raises<latchkey::error>([&] { latchkey::handle none(config); }).what();
    const string role = raises<latchkey::bad_argument>([&] { here.create(1, "seventeen bytes!!"); }).what();
    const string grace = raises<latchkey::bad_argument>([&] { here.rotate(token, -1ms); }).what();
    for (const string &each : {said, role, grace})
        CHECK(each.find("hunter2") == string::npos && each.find(token.view().substr(20)) == string::npos &&
              !each.empty());

    redis("CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru");
    latchkey::handle noted(url("deadline_ms=10000"));
    redis("CONFIG SET maxmemory 0 maxmemory-policy noeviction");
    int lines = 0;
    const auto caller = std::this_thread::get_id();
    noted.read_log([&](int level, const char *text) {
        CHECK(caller == std::this_thread::get_id() && level >= 3 && level <= 6 && !std::strstr(text, "hunter2"));
        lines += std::strstr(text, "maxmemory-policy") != nullptr;
    });
    CHECK(lines == 1);
    passed(19, "secrets");
    passed(20, "log");

    const auto unknown = raises<latchkey::config_error>([] { latchkey::handle none(url("bogus=1")); });
    CHECK(string(unknown.what()).find("bogus") != string::npos && role.find("role") != string::npos);
    for (const char *cut : {"", "&bogus=1"})
        raises<latchkey::bad_argument>([&] { latchkey::handle none(url("deadline_ms=10000") + '\0' + cut); });
    const latchkey_stats before = here.stats();
    for (const latchkey::draft &nobody :
         {latchkey::draft(""), latchkey::draft(string_view()), latchkey::draft(static_cast<const char *>(nullptr))})
        raises<latchkey::bad_argument>([&] { here.create(nobody); });
    raises<latchkey::bad_argument>([&] { here.revoke_user(21, "none"); });
    raises<latchkey::bad_argument>([&] { here.sessions(21, "none"); });
    raises<latchkey::bad_argument>([&] { here.fields(token, {nullptr}); });
    raises<latchkey::bad_argument>([&] { here.set_fields(token, {{nullptr, "x"}}); });
    CHECK(here.stats().l2_writes == before.l2_writes);
    passed(21, "configuration"); /* a user id that does not fit is no std::uint64_t */
}

static void many(latchkey::handle &here)
{
    std::vector<latchkey::token> tokens;
    for (std::uint64_t user = 0; user < 1000; user++) tokens.push_back(here.create(user));
    latchkey::handle lk(url("deadline_ms=10000&in_flight=2000"));
    latchkey::queue queue(lk);
    const int before = count("task");
    std::size_t answers = 0;
    for (std::uint64_t user = 0; user < 1000; user++)
        queue.validate(tokens[user], [&, user](latchkey::result<entry> given) {
            CHECK(given && given->user_id() == user), answers++;
        });
    CHECK(answers == 0 && queue.waiting() == 1000 && count("task") == before);
    answer_of(queue, [&] { return answers == 1000; });
    CHECK(count("task") == before && lk.stats().l2_reads == 1000);
    passed(22, "a thousand misses");

    auto round = [&](int handles) {
        for (int i = 0; i < handles; i++) {
            latchkey::handle each(url("deadline_ms=10000&l1_capacity=100"));
            latchkey::queue unread(each);
            for (int n = 0; n < 20; n++) unread.load(tokens[0], [](latchkey::result<latchkey::record>) {});
            latchkey::handle moved = std::move(each);
            moved.validate(tokens[1]);
            if (i % 2) moved.close();
        }
        for (int i = 0; i < 5000; i++) here.validate(tokens[2]), here.validate("no");
        for (int i = 0; i < 50; i++) here.load(tokens[3]);
    };
    round(10);
    const int descriptors = count("fd"), threads = count("task");
    for (int i = 0; i < 4; i++) round(25);
    CHECK(count("fd") == descriptors && count("task") == threads);
    passed(23, "memory: what is lost, AddressSanitizer says at the end");
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && string_view(argv[1]) == "--quick";
    latchkey::handle aging(url("deadline_ms=10000&renew_ms=10000"));
    latchkey::token old = aging.create(13);
    const auto began = std::chrono::steady_clock::now();
    latchkey::handle here(url("deadline_ms=10000&staleness_ms=500")), there(url("deadline_ms=10000&staleness_ms=500"));
    life(here, there);
    trouble(here, there);
    callbacks(here);
    verbs(here, there);
    texts(here);
    many(here);
    if (quick) return 0;
    std::this_thread::sleep_until(began + 10100ms); /* time itself is what is asked for */
    wait_until([&] { return aging.validate(old)->renew(); });
    const latchkey::rotation made = aging.rotate(old, 60s);
    CHECK(made && !aging.validate(made.next)->renew() && !aging.validate(old)->renew());
    passed(13, "renewal");
    return 0;
}

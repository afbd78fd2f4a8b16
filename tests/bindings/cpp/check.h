/* SPDX-License-Identifier: MIT
 *
 * What the tests of the C++ header share: checks that do not depend on NDEBUG, the private Redis, waiting for conditions.
 */
#ifndef CHECK_H
#define CHECK_H

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#define CHECK(condition) ((condition) ? void() : check_failed(__FILE__, __LINE__, #condition))
[[noreturn]] inline void check_failed(const char *file, int line, const char *condition)
{
    std::printf("FAILED %s:%d: %s\n", file, line, condition);
    std::fflush(stdout);
    std::_Exit(1);
}

inline std::string environment(const char *name)
{
    const char *value = std::getenv(name);
    CHECK(value);
    return value;
}
inline std::string url(const char *options) { return "unix://" + environment("LATCHKEY_REDIS_SOCKET") + "?" + options; }
inline void redis(const std::string &words)
{
    CHECK(std::system(("redis-cli -s " + environment("LATCHKEY_REDIS_SOCKET") + " " + words + " >/dev/null").c_str()) ==
          0);
}
struct stopped_redis {
    stopped_redis() { kill(std::atoi(environment("LATCHKEY_REDIS_PID").c_str()), SIGSTOP); }
    ~stopped_redis() { kill(std::atoi(environment("LATCHKEY_REDIS_PID").c_str()), SIGCONT); }
};
template <class F> void wait_until(F condition)
{
    for (int tries = 0; !condition(); tries++) {
        CHECK(tries < 6000);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}
inline void passed(int number, const char *what)
{
    std::printf("ok %d %s\n", number, what);
    std::fflush(stdout);
}

#endif

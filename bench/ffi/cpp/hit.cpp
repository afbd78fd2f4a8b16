/* SPDX-License-Identifier: MIT
 *
 * What a hit costs through latchkey.hpp: handle.validate, with the std::optional that it gives.
 */
#include <latchkey.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

int main()
{
    latchkey::handle lk("unix://" + std::string(std::getenv("LATCHKEY_REDIS_SOCKET")) + "?deadline_ms=10000");
    const latchkey::token token = lk.create(42, "member");
    const long calls = std::atol(std::getenv("LATCHKEY_CALLS"));
    double rounds[5];
    for (double &round : rounds) {
        const auto began = std::chrono::steady_clock::now();
        for (long i = 0; i < calls; i++)
            if (lk.validate(token)->user_id() != 42) return 1;
        round = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count() /
                static_cast<double>(calls);
    }
    std::sort(rounds, rounds + 5);
    std::printf("row\thandle.validate\t%.1f\t-\t-\tg++ %s\n", rounds[2], __VERSION__);
    return 0;
}

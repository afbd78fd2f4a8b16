// SPDX-License-Identifier: MIT
//
// The same from C++17. Argument: the configuration.
#include <latchkey.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    latchkey *opened = nullptr;
    std::array<char, 256> error{};
    if (latchkey_open(argv[1], &opened, error.data(), error.size()) != LATCHKEY_OK) {
        std::fprintf(stderr, "open: %s\n", error.data());
        return 1;
    }
    const std::unique_ptr<latchkey, decltype(&latchkey_close)> lk(opened, latchkey_close);
    latchkey_draft draft{};
    draft.size = sizeof draft;
    draft.user_id = 42;
    draft.role = "member";
    std::array<char, LATCHKEY_TOKEN_SIZE> text{};
    if (latchkey_create(lk.get(), &draft, text.data()) != LATCHKEY_OK) return 1;
    const std::string token(text.data(), LATCHKEY_TOKEN_LENGTH);
    latchkey_entry entry{};
    if (latchkey_validate(lk.get(), token.data(), token.size(), &entry) != LATCHKEY_OK || entry.user_id != 42) return 1;
    if (latchkey_revoke(lk.get(), token.data(), token.size()) != LATCHKEY_OK) return 1;
    if (latchkey_validate(lk.get(), token.data(), token.size(), &entry) != LATCHKEY_NOT_FOUND) return 1;
    std::printf("%s OK\n", latchkey_version());
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * Compiled with -fno-exceptions: the forms with std::nothrow are all there is, and only what admits converts to true.
 */
#include <latchkey.hpp>
#include "check.h"

int main()
{
    auto opened = latchkey::handle::open(url("deadline_ms=10000&bogus=1"), std::nothrow);
    CHECK(!opened && opened.status() == LATCHKEY_CONFIG && opened.why().find("bogus") != std::string::npos);
    opened = latchkey::handle::open(url("deadline_ms=10000"), std::nothrow);
    CHECK(opened);
    latchkey::handle lk = std::move(*opened);
    CHECK(lk.is_open() && !opened->is_open());
    CHECK(opened->validate("x", std::nothrow).status() == latchkey::closed_status);

    auto token = lk.create({1, "member"}, std::nothrow);
    CHECK(token && token->view().size() == LATCHKEY_TOKEN_LENGTH);
    auto entry = lk.validate(*token, std::nothrow);
    CHECK(entry && entry->user_id() == 1 && entry->role() == "member" && !entry.no() && !entry.unanswered());
    CHECK(*lk.try_validate(*token, std::nothrow) == *entry);
    auto longer = lk.create({1, "a role of seventeen"}, std::nothrow);
    CHECK(longer.unanswered() && longer.status() == LATCHKEY_BAD_ARGUMENT && !longer.why().empty());
    CHECK(lk.revoke(*token, std::nothrow));
    auto ended = lk.validate(*token, std::nothrow);
    CHECK(!ended && ended.no() && !ended.unanswered());
    auto away = latchkey::handle::open("unix:///nothing/here.sock?deadline_ms=100", std::nothrow);
    CHECK(!away && away.unanswered() && !away.no());
    lk.close();
    lk.close();
    CHECK(!lk.is_open() && lk.native() == nullptr);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * An application may exit without closing its handles, while threads of its own or the link's use OpenSSL. So OpenSSL must not
 * clean up at exit because of us. Its first use in a process decides about that: this program runs itself once for each
 * use. (A use that the application makes before ours is not ours to decide.)
 */
#include "base/field_version.h"
#include "latchkey.h"
#include "unit.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLEANED_UP = 77, NOT_DONE = 78 };

static void cleaned_up(void) { _exit(CLEANED_UP); }

/* In the process of its own. */
static int use_openssl(const char *how)
{
    char error[256] = "";
    if (!strcmp(how, "theirs") && !OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL)) return NOT_DONE;
    if (!strcmp(how, "tls") && latchkey_check_config("rediss://localhost", error, sizeof error)) return NOT_DONE;
    if (!strcmp(how, "version") && !lk_field_version("value", 5)) return NOT_DONE;
    return OPENSSL_atexit(cleaned_up) ? 0 : NOT_DONE; /* called if OpenSSL cleans up */
}

static int exit_status_after(const char *how)
{
    int status = -1;
    pid_t child = fork();
    if (!child) {
        execl("/proc/self/exe", "unit_exit", how, (char *)NULL);
        _exit(NOT_DONE);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_openssl_cleans_up_where_the_application_began(void **state)
{
    (void)state;
    assert_int_equal(exit_status_after("theirs"), CLEANED_UP);
}

static void test_openssl_does_not_clean_up_after_tls(void **state)
{
    (void)state;
    assert_int_equal(exit_status_after("tls"), 0);
}

static void test_openssl_does_not_clean_up_after_a_version(void **state)
{
    (void)state;
    assert_int_equal(exit_status_after("version"), 0);
}

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openssl_cleans_up_where_the_application_began),
        cmocka_unit_test(test_openssl_does_not_clean_up_after_tls),
        cmocka_unit_test(test_openssl_does_not_clean_up_after_a_version),
    };
    return count > 1 ? use_openssl(words[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}

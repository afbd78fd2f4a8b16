/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void last_error(latchkey *lk, char *out, size_t out_size)
{
    latchkey_stats stats;
    out[0] = 0;
    if (lk && latchkey_stats_read(lk, &stats, sizeof stats) == LATCHKEY_OK)
        snprintf(out, out_size, "\n  last_error: %s", stats.last_error);
}

void check_status(latchkey *lk, int want, int got, const char *call, const char *file, int line)
{
    char trouble[256];
    if (want == got) return;
    last_error(lk, trouble, sizeof trouble);
    print_error("%s\n  wanted: %d %s\n  got:    %d %s%s\n", call, want, latchkey_status_text(want), got,
                latchkey_status_text(got), trouble);
    _fail(file, line);
}

void check_status_in(latchkey *lk, int got, const int *allowed, size_t count, const char *call, const char *file,
                     int line)
{
    char trouble[256];
    for (size_t i = 0; i < count; i++)
        if (got == allowed[i]) return;
    last_error(lk, trouble, sizeof trouble);
    print_error("%s\n  got: %d %s%s\n  which is none of:", call, got, latchkey_status_text(got), trouble);
    for (size_t i = 0; i < count; i++) print_error(" %d", allowed[i]);
    print_error("\n");
    _fail(file, line);
}

void check_contains(const char *text, const char *part, int wanted, const char *file, int line)
{
    if ((strstr(text, part) != NULL) == wanted) return;
    print_error("this text:\n  %s\n%s:\n  %s\n", text, wanted ? "lacks" : "contains", part);
    _fail(file, line);
}

int64_t check_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void check_pause(void)
{
    const struct timespec step = {.tv_nsec = 3000000};
    nanosleep(&step, NULL);
}

void check_outlive(int64_t ms)
{
    int64_t until_ms = check_now_ms() + ms + 500;
    wait_for(check_now_ms() > until_ms);
}

const char *check_temp_root(void)
{
    /* A unix socket's path holds at most 107 characters, and a directory and a file name come after this one. */
    const char *root = getenv("TMPDIR");
    return root && root[0] == '/' && strlen(root) <= 60 ? root : "/tmp";
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

void check_remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static char temp_dir[128];
static pid_t temp_owner;

static void remove_temp_dir(void)
{
    if (getpid() == temp_owner) check_remove_tree(temp_dir);
}

void check_temp_path(const char *name, char *out, size_t out_size)
{
    if (!temp_dir[0]) {
        snprintf(temp_dir, sizeof temp_dir, "%s/lk-test-XXXXXX", check_temp_root());
        if (!mkdtemp(temp_dir)) fail_msg("mkdtemp %s: %s", temp_dir, strerror(errno));
        temp_owner = getpid();
        atexit(remove_temp_dir);
    }
    snprintf(out, out_size, "%s/%s", temp_dir, name);
}

void check_write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "w");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) fail_msg("%s: %s", path, strerror(errno));
}

int check_find(const void *haystack, size_t haystack_size, const void *needle, size_t needle_size)
{
    return memmem(haystack, haystack_size, needle, needle_size) != NULL;
}

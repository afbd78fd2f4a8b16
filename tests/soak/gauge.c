/* SPDX-License-Identifier: MIT
 *
 * Memory, descriptors and threads over time. See soak.h.
 *
 * Resident memory is compared by medians, with some slack: pages of L1 and of malloc's that were never used before come
 * into use late. Descriptors and threads are compared by their most: with every connection in use under load, the most
 * of a third is what the handles have at all times, and one more per reconnect would show.
 */
#include "soak.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

enum { DESCRIPTORS_SLACK = 2, THREADS_SLACK = 0 };

static int entries_of(const char *path)
{
    DIR *directory = opendir(path);
    int count = 0;
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

gauge gauge_read(double at_s)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    /* Less the directory's own descriptor. */
    return (gauge){at_s, (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024, entries_of("/proc/self/fd") - 1,
                   entries_of("/proc/self/task")};
}

static int ascending(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return first < second ? -1 : first > second;
}

static gauge summary(const gauge *gauges, size_t count)
{
    gauge sum = gauges[count - 1];
    double *resident = malloc(count * sizeof *resident);
    assert_non_null(resident);
    for (size_t i = 0; i < count; i++) {
        resident[i] = gauges[i].resident_kb;
        if (gauges[i].descriptors > sum.descriptors) sum.descriptors = gauges[i].descriptors;
        if (gauges[i].threads > sum.threads) sum.threads = gauges[i].threads;
    }
    qsort(resident, count, sizeof *resident, ascending);
    sum.resident_kb = resident[count / 2];
    free(resident);
    return sum;
}

static bool grew(const char *what, double before, double after, double slack)
{
    bool more = after > before + slack;
    printf("%-22s %10.0f then %10.0f  (slack %.0f)%s\n", what, before, after, slack, more ? "  GREW" : "");
    return more;
}

bool gauges_judge(const gauge *gauges, size_t count, double slack_kb)
{
    size_t third = count / 3;
    if (third < 3) {
        printf("too short to judge: %zu looks at the process\n", count);
        return false;
    }
    gauge before = summary(gauges + third, third), after = summary(gauges + count - third, third);
    bool memory = grew("resident memory, kB", before.resident_kb, after.resident_kb, slack_kb);
    bool descriptors = grew("descriptors", before.descriptors, after.descriptors, DESCRIPTORS_SLACK);
    bool threads = grew("threads", before.threads, after.threads, THREADS_SLACK);
    return !memory && !descriptors && !threads;
}

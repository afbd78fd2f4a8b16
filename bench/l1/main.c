/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-l1: options, and which part runs when. See l1bench.h.
 */
#include "l1bench.h"

#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

extern const peer peer_ideal, peer_ideal_hashed, peer_ideal_minding, peer_latchkey_leaseless, peer_tbb, peer_urcu_qsbr,
    peer_urcu_memb, peer_ck_ht, peer_ck_hs, peer_glib, peer_std_shared, peer_std_mutexes, peer_lmdb, peer_boost,
    peer_phmap, peer_cuckoo;

const peer *const peers[] = {
    &peer_ideal, &peer_ideal_hashed, &peer_ideal_minding, &peer_latchkey, &peer_latchkey_leaseless,
    &peer_tbb,   &peer_urcu_qsbr,    &peer_urcu_memb,     &peer_ck_ht,    &peer_ck_hs,
    &peer_glib,  &peer_std_shared,   &peer_std_mutexes,   &peer_lmdb,     &peer_boost,
    &peer_phmap, &peer_cuckoo};
const int peer_count = sizeof peers / sizeof *peers;

const char *const mode_names[MODES] = {"latency",     "throughput",   "two readers",  "batch",
                                       "alone again", "beside churn", "beside writer"};
const char *const distribution_names[DISTRIBUTIONS] = {"uniform", "Zipf 0.99"};

int peer_find(const char *name)
{
    for (int i = 0; i < peer_count; i++)
        if (!strcmp(peers[i]->name, name)) return i;
    return -1;
}

bench_server *l1bench_server(void)
{
    static bench_server *server;
    if (!server) server = bench_server_start(false);
    return server;
}

static void usage(FILE *file)
{
    fputs("usage: latchkey-bench-l1 [options]\n\n"
          "Measures latchkey's L1 beside an ideal, beside what users would pick instead, and beside the bare machine.\n"
          "About two minutes on an idle machine, and 3.5 GB of memory.\n\n"
          "  --json FILE          write all results there\n"
          "  --markdown FILE      write the tables there, instead of to standard output\n"
          "  --repeats N          how often each measurement is made, 1 to 25 (5); the median counts\n"
          "  --cell-ms N          how long one takes (25)\n"
          "  --sizes A,B,C        entries held (1000,100000,1000000)\n"
          "  --contenders LIST    only those whose names contain a word of the comma-separated list;\n"
          "                       `list` names them all. `ideal` and `latchkey` always take part\n"
          "  --short              seconds, and small sizes: does everything work? Its figures mean little\n"
          "  --help               this\n\n"
          "Exit status 1: a lookup missed, or answered other bytes than were stored. Goals that were not reached\n"
          "are printed as FAIL and leave the status alone: figures of a shared machine move.\n",
          file);
}

static void list_contenders(void)
{
    for (int i = 0; i < peer_count; i++)
        printf("%-34s %-26s %s\n", peers[i]->name, peers[i]->where, peers[i]->missing ? peers[i]->missing : "");
}

static void choose(options *o, char *words)
{
    for (int i = 0; i < peer_count; i++) o->chosen[i] = peers[i]->ours;
    for (char *word = strtok(words, ","); word; word = strtok(NULL, ","))
        for (int i = 0; i < peer_count; i++) o->chosen[i] |= strstr(peers[i]->name, word) != NULL;
}

static void read_sizes(options *o, char *text)
{
    int count = 0;
    for (char *word = strtok(text, ","); word && count < SIZES; word = strtok(NULL, ","))
        o->sizes[count++] = (size_t)bench_number("--sizes", word, 100, 1e8);
    if (count != SIZES) bench_die("--sizes wants %d numbers", SIZES);
}

static void make_brief(options *o)
{
    static const size_t sizes[SIZES] = {1000, 5000, 20000};
    memcpy(o->sizes, sizes, sizeof sizes);
    o->brief = true;
    o->repeats = 3;
    o->cell_s = 0.002;
}

static options read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"json", 1, NULL, 'j'},    {"markdown", 1, NULL, 'm'}, {"repeats", 1, NULL, 'r'},
        {"cell-ms", 1, NULL, 'c'}, {"sizes", 1, NULL, 's'},    {"contenders", 1, NULL, 'p'},
        {"short", 0, NULL, 'b'},   {"help", 0, NULL, 'h'},     {0}};
    options o = {.sizes = {1000, 100000, 1000000}, .repeats = 5, .cell_s = 0.025};
    memset(o.chosen, 1, sizeof o.chosen);
    for (int which; (which = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (which) {
        case 'j': o.json = optarg; break;
        case 'm': o.markdown = optarg; break;
        case 'r': o.repeats = (int)bench_number("--repeats", optarg, 1, REPEATS_MAX); break;
        case 'c': o.cell_s = bench_number("--cell-ms", optarg, 0.1, 10000) / 1000; break;
        case 's': read_sizes(&o, optarg); break;
        case 'b': make_brief(&o); break;
        case 'p':
            if (!strcmp(optarg, "list")) list_contenders(), exit(0);
            choose(&o, optarg);
            break;
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    if (optind < argc) bench_die("unknown argument %s; see --help", argv[optind]);
    return o;
}

/* Huge pages for the contenders that live in malloc's memory too: glibc asks for them if it is told so at the start. */
static void start_with_huge_pages(char **argv)
{
    if (getenv("GLIBC_TUNABLES")) return;
    setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
    execv("/proc/self/exe", argv); /* where that fails they go without */
}

static FILE *open_output(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) bench_die("%s cannot be written", path);
    return file;
}

int main(int argc, char **argv)
{
    static results r;
    start_with_huge_pages(argv);
    options o = read_options(argc, argv);
    uint64_t began = bench_now_ns();
    grid_run(&o, &r);
    evict_run(&o, &r);
    flood_run(&o, &r);
    memory_run(&o, &r);
    bench_server_stop(l1bench_server());
    r.took_s = (double)(bench_now_ns() - began) / 1e9;

    FILE *markdown = o.markdown ? open_output(o.markdown) : stdout;
    report_markdown(markdown, &o, &r);
    if (o.markdown) fclose(markdown);
    if (o.json) {
        FILE *file = open_output(o.json);
        report_json(file, &o, &r);
        fclose(file);
    }
    if (r.unsound[0]) fprintf(stderr, "UNSOUND: %s\n", r.unsound);
    return r.unsound[0] ? 1 : 0;
}

/* latchkey import, in parts:
 *
 *   line.c      a line of JSON --> a session, or what is wrong with it
 *   reader.c    a file --> chunks of whole lines, and how far it was read: the state that a restart goes on from
 *   outcome.c   what became of the lines: counts, reasons, the first lines of each
 *   import.c    the command: threads, progress, the end
 *
 * An exporter may put {"begin": ...} before its sessions and {"end": ...} behind them. If an export began and did not
 * end, or ended with more sessions than came, a part was lost on its way, and the import says so. Several exports may
 * follow each other.
 *
 * No line is ever shown, and no part of one: the lines hold the tokens of a whole store. */
#ifndef LK_CLI_IMPORT_IMPORT_H
#define LK_CLI_IMPORT_IMPORT_H

#include "cli/cli.h"
#include "cli/import/line.h"

#include "base/hash.h"

#include <signal.h>

/* ----------------------------------------------------------------------------------------------- the file -- */

/* The beginnings and ends of exports in some lines, and how many sessions there are. */
typedef struct import_marks {
    enum import_kind first, last; /* IMPORT_SESSION: there was none */
    bool cut;                     /* an export began before the one before it had ended */
    uint64_t sessions, promised;  /* lines of sessions; and how many there should be, by the ends that say so */
} import_marks;

void import_marks_add(import_marks *marks, enum import_kind kind, uint64_t promised);
void import_marks_join(import_marks *marks, const import_marks *later);

typedef struct import_chunk {
    struct import_chunk *next;
    char *text; /* whole lines; the last one may lack its line end */
    size_t size;
    uint64_t first_line; /* counts from 1 */
    uint64_t end, lines; /* the offset behind it in the file, and how many lines there are up to there */
    uint64_t hash;       /* of all bytes up to there */
    bool too_long;       /* one line that is not read; there is no text */
    bool done;
    bool torn; /* its last line has no end and is not JSON: the state stops before it, since the rest may come later */
    import_marks marks;
} import_chunk;

typedef struct import_state { /* the point up to which all lines are done */
    uint64_t offset, line;
    uint64_t hash;  /* of all bytes up to there */
    uint64_t where; /* a hash that names the servers and the prefix that all of it moved to; 0: not known */
    import_marks marks;
} import_state;

typedef struct import_reader {
    int fd;
    const volatile sig_atomic_t *interrupted; /* a signal's: nothing more is read */
    uint64_t size;                            /* of the file; 0: not known */
    import_state at;
    lk_hash_stream hash; /* of all bytes up to at.offset */
    char *carried;
    size_t carried_size;
    bool ended;
} import_reader;

/* NULL: it is open. Else what is wrong, for people. "-" is standard input. With resume->offset that many bytes are
 * read and passed over; they must be the same as then. */
const char *import_reader_open(import_reader *reader, const char *path, const import_state *resume,
                               const volatile sig_atomic_t *interrupted);
void import_reader_close(import_reader *reader);
/* The next chunk. NULL: the end of the file, or, if *fault is set, it cannot be read. The caller frees it with
 * import_chunk_free. */
import_chunk *import_reader_next(import_reader *reader, const char **fault);
void import_chunk_free(import_chunk *chunk);

/* Written under another name, then renamed. False: errno says why. */
bool import_state_save(const char *path, const import_state *state);
/* NULL: *state is what was saved, or zeros if there is no such file. Else what is wrong with it. */
const char *import_state_load(const char *path, import_state *state);

/* --------------------------------------------------------------------------------------------- the tally -- */

enum { IMPORT_LINES_SHOWN = 5 };

typedef struct import_counted {
    uint64_t count, line[IMPORT_LINES_SHOWN]; /* the numbers of the first of them, in order; 0: none */
} import_counted;

typedef struct import_tally { /* guarded by the importer's lock */
    uint64_t lines, moved, here, over, expired, refused, changed, skipped;
    import_counted of[IMPORT_REASONS], changes[IMPORT_CHANGES];
} import_tally;

void import_tally_refuse(import_tally *tally, enum import_reason reason, uint64_t line);
void import_tally_change(import_tally *tally, const bool changed[IMPORT_CHANGES], uint64_t line);
void import_tally_add(import_tally *all, const import_tally *some);
void import_tally_print(const cli *c, const import_tally *tally, uint64_t first_line, double seconds, bool complete);

#endif

/* latchkey import, in parts:
 *
 *   line.c      a line of JSON --> a session, or what is wrong with it
 *   reader.c    a file --> chunks of whole lines, and how far it was read: the state that a restart goes on from
 *   outcome.c   what became of the lines: counts, reasons, the first lines of each
 *   import.c    the command: threads, progress, the end
 *
 * An exporter may put {"begin": ...} before its sessions and {"end": ...} behind them. What began and did not end was cut
 * somewhere on its way, and the import says so; several exports in a row are as good as one.
 *
 * No line and no piece of one is ever shown: the tokens of a whole store are in them. */
#ifndef LK_CLI_IMPORT_IMPORT_H
#define LK_CLI_IMPORT_IMPORT_H

#include "cli/cli.h"
#include "cli/import/line.h"

/* ----------------------------------------------------------------------------------------------- the file -- */

/* What some lines hold of the beginnings and ends of exports. */
typedef struct import_marks {
    enum import_kind first, last; /* IMPORT_SESSION: none */
    bool cut;                     /* one began where the one before had not ended */
} import_marks;

void import_marks_add(import_marks *marks, enum import_kind kind);
void import_marks_join(import_marks *marks, const import_marks *later);

typedef struct import_chunk {
    struct import_chunk *next;
    char *text; /* whole lines; the last may lack its end */
    size_t size;
    uint64_t first_line; /* from 1 */
    uint64_t end, lines; /* offset behind it in the file, and lines up to there */
    bool too_long;       /* instead of text: one line that is not looked at */
    bool done;
    bool torn; /* its last line has no end, and is no JSON: the state stops before it, since the rest may come later */
    import_marks marks;
} import_chunk;

typedef struct import_state { /* how far everything before is dealt with */
    uint64_t offset, line;
    uint8_t beginning[32]; /* of the file: BLAKE2b-256 of its first bytes, */
    uint64_t hashed;       /* so many of them */
    import_marks marks;
} import_state;

typedef struct import_reader {
    int fd;
    uint64_t size; /* of a file; 0: not known */
    import_state at;
    char *carried;
    size_t carried_size;
    bool ended;
} import_reader;

/* NULL: good; else what stands in the way, for people. "-" is standard input. With resume->offset that much is passed over,
 * and must be the same file's. */
const char *import_reader_open(import_reader *reader, const char *path, const import_state *resume);
void import_reader_close(import_reader *reader);
/* The next chunk; NULL: the end, or, where *fault says so, no more can be read. To be freed with import_chunk_free. */
import_chunk *import_reader_next(import_reader *reader, const char **fault);
void import_chunk_free(import_chunk *chunk);

/* Written anew, renamed into place. False: errno. */
bool import_state_save(const char *path, const import_state *state);
/* NULL: *state is as it was saved, or zeros where there is no such file; else what is wrong with it. */
const char *import_state_load(const char *path, import_state *state);

/* --------------------------------------------------------------------------------------------- the tally -- */

enum { IMPORT_LINES_SHOWN = 5 };

typedef struct import_counted {
    uint64_t count, line[IMPORT_LINES_SHOWN]; /* the first of them, in order; 0: none */
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

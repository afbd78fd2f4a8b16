/* latchkey import, in parts:
 *
 *   import_line.c    a line of JSON --> a session, or what is wrong with it
 *   import_read.c    a file --> chunks of whole lines, and how far it was read: the state that a restart goes on from
 *   import_tally.c   what became of the lines: counts, reasons, the first lines of each
 *   import.c         the command: threads, progress, the end
 *
 * No line and no piece of one is ever shown: the tokens of a whole store are in them. */
#ifndef LK_CLI_IMPORT_IMPORT_H
#define LK_CLI_IMPORT_IMPORT_H

#include "cli/cli.h"
#include "cli/import/line.h"

/* ----------------------------------------------------------------------------------------------- the file -- */

typedef struct import_chunk {
    struct import_chunk *next;
    char *text; /* whole lines; the last may lack its end */
    size_t size;
    uint64_t first_line; /* from 1 */
    uint64_t end, lines; /* offset behind it in the file, and lines up to there */
    bool too_long;       /* instead of text: one line that is not looked at */
    bool done;
} import_chunk;

typedef struct import_state { /* how far everything before is dealt with */
    uint64_t offset, line;
    uint8_t beginning[32]; /* of the file: BLAKE2b-256 of its first bytes, */
    uint64_t hashed;       /* so many of them */
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

typedef struct import_tally { /* guarded by the importer's lock */
    uint64_t lines, moved, here, expired, refused;
    struct {
        uint64_t count, line[IMPORT_LINES_SHOWN]; /* the first of them, in order; 0: none */
    } of[IMPORT_REASONS];
} import_tally;

void import_tally_refuse(import_tally *tally, enum import_reason reason, uint64_t line);
void import_tally_print(const cli *c, const import_tally *tally, uint64_t first_line, double seconds, bool complete);

#endif

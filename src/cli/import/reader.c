/* The file, in chunks of whole lines, and the state. See import.h.
 *
 * The state is the point up to which all lines are done. Some lines behind it may be done too: a run from there meets
 * some sessions that have moved in already, which does no harm. The state has a hash of all that was done: used with another
 * file, such as a later export, it would skip sessions without a word. It names the servers for the same reason. */
#include "cli/import/import.h"

#include "base/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 32 * 1024, LOOK_MS = 100, LINE_ABSURD = 256 * 1024 * 1024 };

/* Reads until the end, or until `size` bytes are there. -1: errno says why. It looks again and again whether the import is to end: a pipe may be silent for ever. */
static ssize_t read_on(import_reader *r, char *bytes, size_t size)
{
    size_t used = 0;
    while (used < size) {
        struct pollfd p = {.fd = r->fd, .events = POLLIN};
        errno = EINTR;
        if (*r->interrupted) return -1;
        if (poll(&p, 1, LOOK_MS) <= 0) continue;
        ssize_t got = read(r->fd, bytes + used, size - used);
        if (got < 0 && errno != EINTR && errno != EAGAIN) return -1;
        if (got == 0) break;
        if (got > 0) used += (size_t)got;
    }
    return (ssize_t)used;
}

static bool carry(import_reader *r, const char *text, size_t size)
{
    free(r->carried);
    r->carried_size = size;
    r->carried = malloc(size + 1);
    if (r->carried && size) memcpy(r->carried, text, size);
    return r->carried != NULL;
}

/* Reads what is done already, and looks whether it is the same as then. */
static const char *pass_over(import_reader *r, const import_state *resume)
{
    char text[65536];
    for (uint64_t left = resume->offset; left;) {
        ssize_t got = read_on(r, text, left < sizeof text ? (size_t)left : sizeof text);
        if (got < 0) return strerror(errno);
        if (!got) return "the file is shorter than the state says";
        lk_hash_stream_add(&r->hash, text, (size_t)got);
        left -= (uint64_t)got;
    }
    lk_wipe(text, sizeof text);
    return lk_hash_stream_value(&r->hash) == resume->hash ? NULL : "the state is of another file";
}

const char *import_reader_open(import_reader *r, const char *path, const import_state *resume,
                               const volatile sig_atomic_t *interrupted)
{
    struct stat about;
    *r = (import_reader){.interrupted = interrupted,
                         .fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO)};
    if (r->fd < 0) return strerror(errno);
    if (fstat(r->fd, &about) == 0 && S_ISREG(about.st_mode)) r->size = (uint64_t)about.st_size;
    if (r->size && resume->offset > r->size) return "the file is shorter than the state says";
    lk_hash_stream_begin(&r->hash);
    r->at = *resume;
    return resume->offset ? pass_over(r, resume) : NULL;
}

void import_reader_close(import_reader *r)
{
    if (r->fd >= 0) close(r->fd);
    if (r->carried) lk_wipe(r->carried, r->carried_size);
    free(r->carried);
}

/* Reads until there is a whole line, the end, or too much; it begins with what was carried over. */
static char *fill_chunk(import_reader *r, size_t *size, const char **fault)
{
    size_t room = (r->carried_size > CHUNK ? r->carried_size : 0) + CHUNK, used = r->carried_size, looked = 0;
    char *text = malloc(room + 1);
    if (text && used) memcpy(text, r->carried, used);
    while (text) {
        if (used < room) {
            ssize_t got = r->ended ? 0 : read_on(r, text + used, room - used);
            if (got < 0) *fault = strerror(errno);
            if (got < 0) break;
            r->ended = (size_t)got < room - used;
            used += (size_t)got;
        }
        if (r->ended || memchr(text + looked, '\n', used - looked) || used > IMPORT_LINE_MOST) {
            *size = used;
            return text;
        }
        looked = used;
        room *= 2;
        char *more = realloc(text, room + 1);
        if (!more) break;
        text = more;
    }
    if (!*fault) *fault = "no memory";
    free(text);
    return NULL;
}

/* A line that is too long: drops the rest of it. A device may have no end. */
static bool drop_line(import_reader *r, import_chunk *c, const char **fault)
{
    char *end = NULL;
    for (uint64_t begin = c->end; !end && !r->ended;) {
        c->end += c->size;
        lk_hash_stream_add(&r->hash, c->text, c->size);
        if (c->end - begin > LINE_ABSURD) *fault = "a line has more than 256 MiB: these are not lines of sessions";
        if (*fault) return false;
        ssize_t got = read_on(r, c->text, CHUNK);
        if (got < 0) *fault = strerror(errno);
        if (got < 0) return false;
        r->ended = got < CHUNK;
        c->size = (size_t)got;
        end = memchr(c->text, '\n', c->size);
    }
    size_t used = end ? (size_t)(end - c->text) + 1 : c->size;
    lk_hash_stream_add(&r->hash, c->text, used);
    c->too_long = true;
    c->lines++;
    c->end += used;
    if (!carry(r, c->text + used, c->size - used)) *fault = "no memory";
    c->size = 0;
    return !*fault;
}

static bool cut(import_reader *r, import_chunk *c, const char **fault)
{
    char *last = memrchr(c->text, '\n', c->size);
    if (!last && c->size > IMPORT_LINE_MOST) return drop_line(r, c, fault);
    size_t used = last ? (size_t)(last - c->text) + 1 : c->size; /* no line end: it is the last line */
    if (!carry(r, c->text + used, c->size - used)) *fault = "no memory";
    lk_hash_stream_add(&r->hash, c->text, used);
    c->size = used;
    c->end += used;
    for (size_t i = 0; i < used; i++) c->lines += c->text[i] == '\n';
    if (used && c->text[used - 1] != '\n') c->lines++;
    return !*fault;
}

import_chunk *import_reader_next(import_reader *r, const char **fault)
{
    import_chunk *c = calloc(1, sizeof *c);
    *fault = c ? NULL : "no memory";
    if (c) c->text = fill_chunk(r, &c->size, fault);
    if (!c || !c->text || !c->size) {
        import_chunk_free(c);
        return NULL;
    }
    c->first_line = r->at.line + 1;
    c->end = r->at.offset;
    c->lines = r->at.line;
    if (!cut(r, c, fault)) {
        import_chunk_free(c);
        return NULL;
    }
    c->hash = lk_hash_stream_value(&r->hash);
    r->at.offset = c->end;
    r->at.line = c->lines;
    return c;
}

void import_chunk_free(import_chunk *c)
{
    if (c && c->text) lk_wipe(c->text, c->size);
    if (c) free(c->text);
    free(c);
}

/* ------------------------------------------------------------------------------------------------ the marks -- */

void import_marks_join(import_marks *marks, const import_marks *later)
{
    marks->sessions += later->sessions;
    marks->promised = later->promised > UINT64_MAX - marks->promised ? UINT64_MAX : marks->promised + later->promised;
    if (later->first == IMPORT_SESSION) return;
    marks->cut |= later->cut || (marks->last == IMPORT_BEGIN && later->first == IMPORT_BEGIN);
    if (marks->first == IMPORT_SESSION) marks->first = later->first;
    marks->last = later->last;
}

void import_marks_add(import_marks *marks, enum import_kind kind, uint64_t promised)
{
    import_marks_join(marks, &(import_marks){kind, kind, false, 0, promised});
}

/* ------------------------------------------------------------------------------------------------ the state -- */

bool import_state_save(const char *path, const import_state *s)
{
    char real[PATH_MAX], next[PATH_MAX + 8];
    if (!cli_file_of(path, real)) return false;
    snprintf(next, sizeof next, "%s.next", real);
    /* left by a run that was ended in the middle; the new file must not be what it links to */
    if (unlink(next) < 0 && errno != ENOENT) return false;
    int fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) return false;
    fprintf(file,
            "latchkey import 2\noffset %" PRIu64 "\nline %" PRIu64 "\nhash %016" PRIx64 "\nwhere %016" PRIx64
            "\nmarks %d %d %d %" PRIu64 " %" PRIu64 "\n",
            s->offset, s->line, s->hash, s->where, (int)s->marks.first, (int)s->marks.last, (int)s->marks.cut,
            s->marks.sessions, s->marks.promised);
    bool good = !fflush(file) && !fsync(fileno(file));
    good = !fclose(file) && good;
    return good && rename(next, real) == 0;
}

const char *import_state_load(const char *path, import_state *s)
{
    int first = 0, last = 0, was_cut = 0;
    uint64_t sessions = 0, promised = 0;
    char end = 0;
    struct stat about;
    memset(s, 0, sizeof *s);
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) return "it is not a regular file";
    FILE *file = fopen(path, "re");
    if (!file) return errno == ENOENT ? NULL : strerror(errno);
    int got = fscanf(file,
                     "latchkey import 2\noffset %" SCNu64 "\nline %" SCNu64 "\nhash %" SCNx64 "\nwhere %" SCNx64
                     "\nmarks %d %d %d %" SCNu64 " %" SCNu64 "%c",
                     &s->offset, &s->line, &s->hash, &s->where, &first, &last, &was_cut, &sessions, &promised, &end);
    fclose(file);
    s->marks = (import_marks){(enum import_kind)first, (enum import_kind)last, was_cut != 0, sessions, promised};
    bool good = got == 10 && end == '\n' && (unsigned)first <= IMPORT_END && (unsigned)last <= IMPORT_END;
    return good ? NULL
                : "it is not a state of this version of latchkey import: delete it, and all is imported from the first "
                  "line on";
}

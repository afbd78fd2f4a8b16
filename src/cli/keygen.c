/* latchkey keygen: keys for the files that the configuration names, and their rotation.
 *
 * Every instance must accept a key before any instance makes tokens with it. So a new key first goes behind the others
 * (--add), and to the front once every instance has been restarted with it (--promote). A file is written whole under
 * another name and then renamed, so no instance ever reads half of it. */
#include "cli/cli.h"

#include "base/crypto.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARE "Give the same file to every instance."
enum { KEY_MOST = 32, KEYS_MOST = 16, FILE_MOST = 4096 };

static const struct kind {
    const char *name, *option;
    size_t bytes;
} kinds[] = {{"check", "check_key_file", LK_CHECK_KEY_SIZE}, {"seal", "seal_key_file", LK_AEAD_KEY_SIZE}};

static const char *new_file, *add_file, *promote_file;

typedef struct keys { /* the lines of a file, comments included */
    const char *line[FILE_MOST];
    size_t lines, first, last, count; /* which lines the first and the last key are, and how many keys there are */
    struct stat about;                /* when it was read */
    char text[FILE_MOST];
} keys;

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

static void draw_key(const struct kind *kind, char text[2 * KEY_MOST + 1])
{
    uint8_t key[KEY_MOST];
    lk_random(key, kind->bytes);
    lk_hex_encode(key, kind->bytes, text);
    lk_wipe(key, sizeof key);
}

/* ---------------------------------------------------------------------------------------------------- files -- */

static int read_keys(const cli *c, const struct kind *kind, const char *path, keys *k)
{
    char shown[CLI_PATH_SIZE];
    memset(k, 0, sizeof *k);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer is not waited for */
    ssize_t size = file < 0 ? -1 : read(file, k->text, sizeof k->text - 1);
    int failed = errno;
    bool regular = file >= 0 && fstat(file, &k->about) == 0 && S_ISREG(k->about.st_mode);
    if (file >= 0) close(file);
    if (size < 0) return cli_fail(c, CLI_FAILED, "cannot read %s: %s", cli_path(shown, path), strerror(failed));
    if (!regular) /* it would be replaced by one */
        return cli_fail(c, CLI_FAILED, "%s is not a regular file", cli_path(shown, path));
    if (size == sizeof k->text - 1)
        return cli_fail(c, CLI_FAILED, "%s is too large for a file of keys", cli_path(shown, path));
    if (strlen(k->text) != (size_t)size) /* what is behind it would be lost */
        return cli_fail(c, CLI_FAILED, "%s holds a NUL byte: a text file is expected", cli_path(shown, path));
    char *rest = lk_file_text(k->text), *line;
    while ((line = strsep(&rest, "\n"))) {
        uint8_t key[KEY_MOST];
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r') line[length - 1] = 0;
        if (!*line && !rest) break; /* behind the last newline */
        if (*line && *line != '#') {
            /* it counts as a key that seals nothing */
            bool plain = kind->bytes == LK_AEAD_KEY_SIZE && strcmp(line, "plain") == 0;
            if (!plain && !lk_hex_decode(line, strlen(line), key, kind->bytes))
                return cli_fail(c, CLI_FAILED, "line %zu of %s is not %zu hexadecimal digits", k->lines + 1,
                                cli_path(shown, path), 2 * kind->bytes);
            if (!k->count++) k->first = k->lines;
            if (!plain) k->last = k->lines;
        }
        k->line[k->lines++] = line;
    }
    return CLI_DONE;
}

static bool write_all(int file, const char *text)
{
    size_t left = strlen(text);
    while (left) {
        ssize_t wrote = write(file, text, left);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        text += wrote;
        left -= (size_t)wrote;
    }
    return true;
}

static bool write_line(int file, const char *line) { return write_all(file, line) && write_all(file, "\n"); }

/* There must be no file at `path`. False: errno says why, and no file is left. */
static bool write_keys(const char *path, const keys *k, const struct stat *like)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return false;
    bool good = !like || (fchmod(file, like->st_mode & 0777) == 0 &&
                          (fchown(file, like->st_uid, like->st_gid) == 0 || like->st_uid == geteuid()));
    for (size_t i = 0; good && i < k->lines; i++) good = write_line(file, k->line[i]);
    good = good && fsync(file) == 0;
    int failed = errno;
    close(file);
    if (!good) unlink(path);
    errno = failed;
    return good;
}

/* While the file beside it is there, no other keygen replaces it. */
static bool is_as_read(const char *file, const keys *k)
{
    struct stat now;
    return stat(file, &now) == 0 && now.st_ino == k->about.st_ino && now.st_size == k->about.st_size &&
           now.st_mtim.tv_sec == k->about.st_mtim.tv_sec && now.st_mtim.tv_nsec == k->about.st_mtim.tv_nsec;
}

static int replace(const cli *c, const char *path, const keys *k)
{
    char file[PATH_MAX], beside[PATH_MAX + 8], shown[CLI_PATH_SIZE];
    if (!cli_file_of(path, file))
        return cli_fail(c, CLI_FAILED, "cannot read %s: %s", cli_path(shown, path), strerror(errno));
    snprintf(beside, sizeof beside, "%s.new", file);
    if (!write_keys(beside, k, &k->about))
        return cli_fail(c, CLI_FAILED, "cannot write %s: %s%s", cli_path(shown, beside), strerror(errno),
                        errno == EEXIST ? " (left by an earlier attempt: look at it, and delete it)" : "");
    bool is_same = is_as_read(file, k);
    if (is_same && rename(beside, file) == 0) return CLI_DONE;
    int failed = errno;
    unlink(beside);
    if (!is_same)
        return cli_fail(c, CLI_FAILED, "%s was changed at the same moment: run this again", cli_path(shown, file));
    return cli_fail(c, CLI_FAILED, "cannot replace %s: %s", cli_path(shown, file), strerror(failed));
}

/* ------------------------------------------------------------------------------------------------- commands -- */

static int tell_key(const cli *c, const struct kind *kind, const char *path, size_t count, const char *what,
                    const char *next)
{
    if (c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_text(&j, "kind", kind->name);
        json_text(&j, "file", path);
        json_uint(&j, "keys", count);
        json_close(&j, '}');
    } else cli_say(stdout, "%s: %s; %zu %s in it.\n%s\n", path, what, count, count == 1 ? "key" : "keys", next);
    return CLI_DONE;
}

static int print_one(const cli *c, const struct kind *kind, const char *key)
{
    if (c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_text(&j, "kind", kind->name);
        json_text(&j, "key", key);
        json_close(&j, '}');
    } else cli_say(stdout, "%s\n", key);
    return CLI_DONE;
}

static int create(const cli *c, const struct kind *kind, keys *k, const char *key)
{
    char shown[CLI_PATH_SIZE];
    memset(k, 0, sizeof *k);
    k->line[k->lines++] = key;
    if (!write_keys(new_file, k, NULL))
        return cli_fail(c, CLI_FAILED, "cannot make %s: %s%s", cli_path(shown, new_file), strerror(errno),
                        errno == EEXIST ? " (--add puts one more key into it)" : "");
    return tell_key(c, kind, new_file, 1, "made, for its owner alone", SHARE);
}

static int add_key(const cli *c, const struct kind *kind, keys *k, const char *key)
{
    int exit = read_keys(c, kind, add_file, k);
    if (exit) return exit;
    if (k->count >= KEYS_MOST)
        return cli_fail(c, CLI_NO, "there are %d keys in it already, which is the most", KEYS_MOST);
    k->line[k->lines++] = key;
    exit = replace(c, add_file, k);
    if (exit) return exit;
    if (!k->count) return tell_key(c, kind, add_file, 1, "its first key, which is used", SHARE);
    return tell_key(c, kind, add_file, k->count + 1, "one more key, which is accepted and not used yet",
                    "Restart every instance with it; then --promote, and restart again.");
}

static int promote(const cli *c, const struct kind *kind, keys *k)
{
    int exit = read_keys(c, kind, promote_file, k);
    if (exit) return exit;
    if (k->count < 2) return cli_fail(c, CLI_NO, "there is no second key in it: --add one first");
    const char *newest = k->line[k->last];
    for (size_t i = k->last; i > k->first; i--) k->line[i] = k->line[i - 1];
    k->line[k->first] = newest;
    exit = replace(c, promote_file, k);
    return exit ? exit
                : tell_key(c, kind, promote_file, k->count, "the newest key is the first",
                           "Restart every instance with it. Keep the old keys in it for as long as sessions live.");
}

static int run_keygen(const cli *c)
{
    const struct kind *kind = find_kind(c->arguments[0]);
    char key[2 * KEY_MOST + 1];
    if (!kind) return cli_fail(c, CLI_USAGE, "keygen makes keys of two kinds: check and seal");
    if (!!new_file + !!add_file + !!promote_file > 1)
        return cli_fail(c, CLI_USAGE, "only one of --file, --add and --promote");
    if (!lk_crypto_init()) return cli_fail(c, CLI_FAILED, "libsodium finds no source of randomness");
    keys *k = calloc(1, sizeof *k);
    if (!k) return cli_fail(c, CLI_FAILED, "no memory");
    draw_key(kind, key);
    int exit = promote_file ? promote(c, kind, k)
               : add_file   ? add_key(c, kind, k, key)
               : new_file   ? create(c, kind, k, key)
                            : print_one(c, kind, key);
    lk_wipe(key, sizeof key);
    lk_wipe(k, sizeof *k);
    free(k);
    return exit;
}

static const cli_option options[] = {
    {.name = "file",
     .value = "FILE",
     .text = &new_file,
     .help = "a new file with this key, mode 0600; not over an old one"},
    {.name = "add", .value = "FILE", .text = &add_file, .help = "one more key into the file, behind the others"},
    {.name = "promote", .value = "FILE", .text = &promote_file, .help = "the last key of the file becomes the first"},
    {0},
};

const cli_command cli_keygen = {
    .name = "keygen",
    .arguments = "keygen check|seal [--file FILE | --add FILE | --promote FILE]",
    .summary = "makes a random key, or puts one into a file of keys",
    .help =
        "Makes a key for the option check_key_file or seal_key_file, and prints it, or puts it into a file.\n"
        "\n"
        "The first key of such a file is used for new tokens or sessions, and all are accepted. To change to a new\n"
        "key without refusing any token: --add, restart every instance; --promote, restart every instance; and remove\n"
        "the old key once the sessions that were made with it are over (lifetime_ms). No Redis is needed.\n"
        "Exit 1: --add found 16 keys already, or --promote found no second key.",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run_keygen,
};

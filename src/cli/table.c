/* Aligned columns. See cli.h. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

struct table {
    size_t columns, count, size; /* cells, those of the headings included */
    char **cell;
    bool failed;
};

table *table_open(const char *const *headings)
{
    table *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    while (headings[t->columns]) t->columns++;
    for (size_t i = 0; i < t->columns; i++) table_cell(t, headings[i]);
    return t;
}

void table_cell(table *t, const char *text)
{
    if (!t || t->failed) return;
    if (t->count == t->size) {
        size_t size = t->size ? 2 * t->size : 64;
        char **more = realloc(t->cell, size * sizeof *more);
        t->failed = !more;
        if (!more) return;
        t->cell = more;
        t->size = size;
    }
    char *copy = strdup(text);
    t->failed = !copy;
    if (copy) t->cell[t->count++] = copy;
}

static const char *shown(const table *t, size_t i) { return t->cell[i] + (i < t->columns && t->cell[i][0] == '>'); }

static int width(const table *t, size_t column)
{
    size_t most = 0;
    for (size_t i = column; i < t->count; i += t->columns)
        if (strlen(shown(t, i)) > most) most = strlen(shown(t, i));
    return (int)most;
}

static void print_row(const table *t, size_t row, const int *widths)
{
    for (size_t k = 0; k < t->columns; k++) {
        const char *text = shown(t, row * t->columns + k);
        bool right = t->cell[k][0] == '>', last = k + 1 == t->columns;
        if (right) cli_say(stdout, "%*s", widths[k], text);
        else if (last) cli_say(stdout, "%s", text);
        else cli_say(stdout, "%-*s", widths[k], text);
        cli_say(stdout, last ? "\n" : "  ");
    }
}

bool table_print(table *t)
{
    if (!t) return false;
    int *widths = calloc(t->columns, sizeof *widths);
    bool good = widths && !t->failed;
    for (size_t k = 0; good && k < t->columns; k++) widths[k] = width(t, k);
    for (size_t row = 0; good && row < t->count / t->columns; row++) print_row(t, row, widths);
    for (size_t i = 0; i < t->count; i++) free(t->cell[i]);
    free(widths);
    free(t->cell);
    free(t);
    return good;
}

/* SPDX-License-Identifier: MIT
 *
 * The texts of latchkey_metrics, read side by side: lines "name{labels} value" behind lines "# HELP" and "# TYPE". They come from one
 * build of the library, so the lines are the same. And how a text is written.
 */

#include "ngx_http_latchkey_status.h"


static void ngx_http_latchkey_name(ngx_http_latchkey_lines_t *lines,
    u_char *line, u_char *value);


void
ngx_http_latchkey_rewind(ngx_http_latchkey_lines_t *lines)
{
    ngx_uint_t  i;

    for (i = 0; i < lines->nslots; i++) {
        lines->next[i] = lines->slots[i].len ? lines->slots[i].text : NULL;
    }
}


/* The next line of all texts. 0: there is none. A text without it counts as 0. */

ngx_uint_t
ngx_http_latchkey_next(ngx_http_latchkey_lines_t *lines)
{
    u_char      *p, *line, *value;
    ngx_uint_t   i, found;

    found = 0;

    for (i = 0; i < lines->nslots; i++) {

        lines->values[i] = 0;

        p = lines->next[i];

        if (p == NULL) {
            continue;
        }

        if (!found) {
            lines->head.data = p;
        }

        while (*p == '#') {

            if (!found && ngx_strncmp(p, "# TYPE ", 7) == 0) {
                value = (u_char *) ngx_strchr(p + 7, ' ');
                lines->type = ngx_strncmp(value, " gauge", 6) == 0
                                  ? NGX_HTTP_LATCHKEY_GAUGE
                                  : NGX_HTTP_LATCHKEY_COUNTER;
            }

            p = (u_char *) ngx_strchr(p, '\n') + 1;
        }

        if (*p == '\0') {
            lines->next[i] = NULL;
            continue;
        }

        line = p;
        p = (u_char *) ngx_strchr(p, '\n');

        for (value = p; value[-1] != ' '; value--) { /* void */ }

        lines->values[i] = strtod((char *) value, NULL);
        lines->next[i] = p + 1;

        if (found) {
            continue;
        }

        found = 1;

        lines->head.len = line - lines->head.data;

        ngx_http_latchkey_name(lines, line, value);
    }

    return found;
}


/* Reads "name{labels} ", which ends before the value. */

static void
ngx_http_latchkey_name(ngx_http_latchkey_lines_t *lines, u_char *line,
    u_char *value)
{
    u_char  *brace;

    lines->name.data = line;
    lines->name.len = value - 1 - line;

    ngx_str_null(&lines->labels);

    brace = ngx_strlchr(line, value, '{');

    if (brace) {
        lines->name.len = brace - line;
        lines->labels.data = brace + 1;
        lines->labels.len = value - 2 - lines->labels.data;
    }
}


/* What the line says of all workers together. 0: nothing. */

ngx_uint_t
ngx_http_latchkey_total(ngx_http_latchkey_lines_t *lines, double *total)
{
    double       value;
    ngx_uint_t   i, how, n;

    enum { SUM, MOST, LEAST, WORST, NONE };

    /* of gauges; the others are the most that a worker says */

    static const struct {
        ngx_str_t   name;
        ngx_uint_t  how;
    } rules[] = {
        { ngx_string("latchkey_l1_entries"), SUM },
        { ngx_string("latchkey_l1_capacity"), SUM },
        { ngx_string("latchkey_l1_bytes"), SUM },
        { ngx_string("latchkey_pending_revocations"), SUM },
        { ngx_string("latchkey_nginx_waiting"), SUM },
        { ngx_string("latchkey_connected"), LEAST },
        { ngx_string("latchkey_lease_age_seconds"), WORST },
        { ngx_string("latchkey_l1_hit_ratio"), NONE },
        { ngx_string("latchkey_l2_read_amplification"), NONE }
    };

    how = SUM;
    n = lines->nslots;

    if (lines->type == NGX_HTTP_LATCHKEY_GAUGE) {

        how = MOST;
        n = lines->live;

        for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
            if (rules[i].name.len == lines->name.len
                && ngx_strncmp(rules[i].name.data, lines->name.data,
                               lines->name.len)
                   == 0)
            {
                how = rules[i].how;
            }
        }
    }

    if (how == NONE || n == 0) {
        return 0;
    }

    *total = lines->values[0];

    for (i = 1; i < n; i++) {
        value = lines->values[i];

        if (how == SUM) {
            *total += value;

        } else if (how == WORST && (value < 0 || *total < 0)) {
            *total = -1; /* one has none */

        } else if (how == LEAST ? value < *total : value > *total) {
            *total = value;
        }
    }

    return 1;
}


/* What does not fit ends the text: out->last is then out->end. */

void
ngx_http_latchkey_print(ngx_http_latchkey_text_t *out, const char *format, ...)
{
    int      n;
    va_list  args;

    va_start(args, format);
    n = vsnprintf((char *) out->last, out->end - out->last, format, args);
    va_end(args);

    if (n < 0 || n >= out->end - out->last) {
        out->last = out->end;
        return;
    }

    out->last += n;
}

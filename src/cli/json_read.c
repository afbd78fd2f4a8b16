/* See json_read.h. */
#include "cli/json_read.h"

#include <string.h>

static void space(json_in *in)
{
    while (in->at < in->end && *in->at && strchr(" \t\r\n", *in->at)) in->at++;
}

/* ---------------------------------------------------------------------------------------------- the check -- */

static bool digits(json_in *in)
{
    const char *from = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
    return in->at > from;
}

static bool take_byte(json_in *in, const char *any)
{
    bool there = in->at < in->end && *in->at && strchr(any, *in->at);
    in->at += there;
    return there;
}

static bool check_number(json_in *in)
{
    take_byte(in, "-");
    if (!take_byte(in, "0") && !digits(in)) return false;
    if (take_byte(in, ".") && !digits(in)) return false;
    if (!take_byte(in, "eE")) return true;
    take_byte(in, "+-");
    return digits(in);
}

static int hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char *digit = memchr("0123456789abcdefABCDEF", at[i], 22);
        if (!digit) return -1;
        int nibble = (int)(digit - "0123456789abcdefABCDEF");
        value = value << 4 | (nibble < 16 ? nibble : nibble - 6);
    }
    return value;
}

static bool check_string(json_in *in)
{
    if (!take_byte(in, "\"")) return false;
    for (; in->at < in->end && *in->at != '"'; in->at++) {
        if ((unsigned char)*in->at < ' ') return false;
        if (*in->at != '\\') continue;
        if (++in->at == in->end || !*in->at || !strchr("\"\\/bfnrtu", *in->at)) return false;
        if (*in->at == 'u' && hex4(in->at + 1, in->end) < 0) return false;
    }
    return take_byte(in, "\"");
}

static bool check_word(json_in *in, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size)) return false;
    in->at += size;
    return true;
}

static bool check_scalar(json_in *in)
{
    switch (*in->at) {
    case '"': return check_string(in);
    case 't': return check_word(in, "true");
    case 'f': return check_word(in, "false");
    case 'n': return check_word(in, "null");
    default: return check_number(in);
    }
}

static bool check_member_name(json_in *in)
{
    space(in);
    if (!check_string(in)) return false;
    space(in);
    return take_byte(in, ":");
}

/* Checks up to the end of the value. `open` holds the brackets around it. */
static bool check_value(json_in *in)
{
    char open[JSON_DEPTH_MAX];
    int depth = 0;
    do {
        space(in);
        if (in->at == in->end) return false;
        bool empty = false;
        if (*in->at == '{' || *in->at == '[') {
            if (depth == JSON_DEPTH_MAX) return false;
            open[depth++] = *in->at++ == '{' ? '}' : ']';
            space(in);
            empty = in->at < in->end && *in->at == open[depth - 1];
            if (!empty && open[depth - 1] == '}' && !check_member_name(in)) return false;
            if (!empty) continue;
        } else if (!check_scalar(in)) return false;
        for (; depth; depth--) { /* the brackets that close behind the value */
            space(in);
            if (take_byte(in, ",")) {
                if (open[depth - 1] == '}' && !check_member_name(in)) return false;
                break;
            }
            if (in->at == in->end || *in->at++ != open[depth - 1]) return false;
        }
    } while (depth);
    return true;
}

bool json_check(const char *text, size_t size)
{
    json_in in = {text, text + size};
    if (!check_value(&in)) return false;
    space(&in);
    return in.at == in.end;
}

/* ----------------------------------------------------------------------------------------------- the walk -- */

char json_kind(json_in *in)
{
    space(in);
    return *in->at == '-' || (*in->at >= '0' && *in->at <= '9') ? '0' : *in->at;
}

bool json_enter(json_in *in)
{
    char kind = json_kind(in);
    if (kind != '{' && kind != '[') return false;
    in->at++;
    return true;
}

bool json_more(json_in *in)
{
    space(in);
    take_byte(in, ",");
    space(in);
    return !take_byte(in, "]}");
}

void json_colon(json_in *in)
{
    space(in);
    take_byte(in, ":");
}

void json_skip(json_in *in) { check_value(in); }

/* RFC 3629. */
static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) *out++ = (char)c;
    else if (c < 0x800) *out++ = (char)(0xc0 | c >> 6);
    else if (c < 0x10000) *out++ = (char)(0xe0 | c >> 12);
    else *out++ = (char)(0xf0 | c >> 18);
    if (c >= 0x10000) *out++ = (char)(0x80 | (c >> 12 & 0x3f));
    if (c >= 0x800) *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    if (c >= 0x80) *out++ = (char)(0x80 | (c & 0x3f));
    return out;
}

/* Behind "\u": four digits, and those of the other half of a surrogate pair. */
static uint32_t take_escape(json_in *in, bool *odd)
{
    uint32_t c = (uint32_t)hex4(in->at, in->end);
    in->at += 4;
    if (c < 0xd800 || c > 0xdfff) return c;
    int low = in->end - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u' ? hex4(in->at + 2, in->end) : -1;
    if (c < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) {
        in->at += 6;
        return 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    }
    *odd = true;
    return 0xfffd;
}

size_t json_string(json_in *in, char *out, bool *odd)
{
    static const char escapes[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    char *at = out;
    space(in);
    in->at++;
    while (*in->at != '"') {
        if (*in->at != '\\') {
            *at++ = *in->at++;
            continue;
        }
        char escape = in->at[1];
        in->at += 2;
        if (escape == 'u') at = put_utf8(at, take_escape(in, odd));
        else *at++ = means[strchr(escapes, escape) - escapes];
    }
    in->at++;
    *at = 0;
    return (size_t)(at - out);
}

/* ------------------------------------------------------------------------------------------------ numbers -- */

/* A larger exponent than this changes nothing more. */
static int take_exponent(json_in *in)
{
    int exponent = 0;
    if (!take_byte(in, "eE")) return 0;
    bool negative = in->at < in->end && *in->at == '-';
    take_byte(in, "+-");
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++)
        if (exponent < 100000000) exponent = exponent * 10 + (*in->at - '0');
    return negative ? -exponent : exponent;
}

static void add_digit(json_number_value *n, int digit)
{
    n->larger |= n->size > (UINT64_MAX - (uint64_t)digit) / 10;
    n->size = n->larger ? UINT64_MAX : n->size * 10 + (uint64_t)digit;
}

json_number_value json_number(json_in *in)
{
    json_number_value n = {0};
    space(in);
    n.negative = take_byte(in, "-");
    const char *from = in->at;
    digits(in);
    long whole = in->at - from; /* digits before the point */
    if (take_byte(in, ".")) digits(in);
    const char *to = in->at;
    whole += take_exponent(in);
    for (const char *at = from; at < to; at++) {
        if (*at == '.') continue;
        if (whole-- > 0) add_digit(&n, *at - '0');
        else n.fraction |= *at != '0';
    }
    for (; whole > 0 && n.size && !n.larger; whole--) add_digit(&n, 0);
    return n;
}

bool json_number_of(const char *text, size_t size, json_number_value *number)
{
    json_in in = {text, text + size};
    if (!check_number(&in) || in.at != in.end) return false;
    in.at = text;
    *number = json_number(&in);
    return true;
}

/* Reads JSON in place: no tree, no memory of its own. json.c writes JSON.
 *
 * json_check reads the whole text once. After that the other functions cannot fail, and they walk over it:
 *
 *   json_in in = {text, text + size};
 *   json_enter(&in);                          past the '{'
 *   while (json_more(&in)) {                  a member, or the '}'
 *       size = json_string(&in, name, &odd);
 *       json_colon(&in);
 *       ... json_string, json_number or json_skip takes the value
 *   }
 *
 * It accepts what other stores write and a strict reader refuses: integers of any size, \u0000, half a surrogate pair,
 * bytes that are not UTF-8. It does not depend on the process' locale. */
#ifndef LK_CLI_JSON_READ_H
#define LK_CLI_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 256 };

typedef struct json_in {
    const char *at, *end;
} json_in;

bool json_check(const char *text, size_t size); /* is it one JSON value, with nothing behind it? */

char json_kind(json_in *in); /* of the next value: its first character, or '0' for any number */
/* moves past the bracket of an object or array; false, and it does not move: the value is neither */
bool json_enter(json_in *in);
bool json_more(json_in *in); /* false: that was the last value, and the closing bracket is passed */
void json_colon(json_in *in);
void json_skip(json_in *in);

/* Decodes a string to `out`. That needs as many bytes as the text has, and one more for a NUL. Returns the string's
 * size. Half a surrogate pair becomes U+FFFD, and sets *odd. */
size_t json_string(json_in *in, char *out, bool *odd);

/* A number, rounded towards zero. */
typedef struct json_number_value {
    uint64_t size; /* without its sign; UINT64_MAX if it is larger */
    bool negative, fraction, larger;
} json_number_value;
json_number_value json_number(json_in *in);
/* The same for a text, such as a string's. False: it is not a number. */
bool json_number_of(const char *text, size_t size, json_number_value *number);

#endif

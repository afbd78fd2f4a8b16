/* SPDX-License-Identifier: MIT
 *
 * Where does a RESP2 message end? Of its own, and nothing of the library's: what judges the library must not share its
 * mistakes.
 */
#ifndef LATCHKEY_FAULTS_MESSAGE_H
#define LATCHKEY_FAULTS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

enum { MESSAGE_NOT_RESP = -1, MESSAGE_NOT_WHOLE = 0 };

/* The length of the first message in bytes[0..size), or one of the above. An inline command is a message, too. */
long message_length(const char *bytes, size_t size);

bool message_is_push(const char *bytes, size_t size);                    /* a message that was published */
bool message_is_subscribe(const char *bytes, size_t size);               /* a request to subscribe */
bool message_contains(const char *bytes, size_t size, const char *text); /* within its first 512 bytes */

#endif

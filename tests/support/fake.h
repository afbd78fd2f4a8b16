/* SPDX-License-Identifier: MIT
 *
 * A server that is not what it should be. One thread, loopback TCP; every connection is treated alike.
 */
#ifndef LATCHKEY_TESTS_FAKE_H
#define LATCHKEY_TESTS_FAKE_H

#include <stddef.h>

typedef struct fake_script {
    const char *greeting;   /* sent as soon as a client connects, or NULL */
    const char *answer;     /* sent for each command, or NULL: nothing is ever answered */
    size_t answer_size;     /* 0: strlen(answer) */
    const char *info;       /* if given: INFO is answered with this text, PING with +PONG, the rest by `answer` */
    int close_at_once;      /* closes every connection as it comes */
    int close_after_answer; /* closes after the first answer */
    int knows_ping_alone;   /* PING is answered; upon anything else the connection is closed, without a word */
    int drip;               /* sends the answer byte by byte, one each few milliseconds, for ever round and round */
    int flood;              /* after the answer sends 'x' for as long as they are taken */
} fake_script;

typedef struct fake fake;

fake *fake_start(const fake_script *script); /* the script must live as long as the server */
int fake_port(const fake *f);
void fake_answer(fake *f,
                 const char *answer); /* another answer from now on, instead of the script's; it must live as long */
long fake_commands(const fake *f);    /* pieces of input seen so far */
void fake_end(fake *f);

#endif

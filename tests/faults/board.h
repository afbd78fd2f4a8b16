/* SPDX-License-Identifier: MIT
 *
 * Which sessions there are: a file that the instances of one run share as memory, so that each can validate what another
 * made or ended. It judges nothing: the histories do.
 */
#ifndef LATCHKEY_FAULTS_BOARD_H
#define LATCHKEY_FAULTS_BOARD_H

#include "latchkey.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { BOARD_SESSIONS = 16384 };

typedef struct board_session {
    char token[LATCHKEY_TOKEN_SIZE];
    _Atomic int there; /* the token is written; release, with the reader's acquire */
} board_session;

typedef struct board {
    _Atomic unsigned made, ended;         /* numbers given out; entries of `end` */
    _Atomic unsigned end[BOARD_SESSIONS]; /* sessions that were ended, oldest first; number + 1, 0: not yet there */
    board_session session[BOARD_SESSIONS];
} board;

board *board_open(const char *path); /* NULL: it could not be mapped */

/* Puts a token up; its number, or -1 where the board is full. */
int board_add(board *b, const char *token);
void board_end(board *b, unsigned number);

/* A session to be validated, by a random number: one of those that ended lately, or one of those made lately, or one of
 * the very newest, or one of the first. -1: there is none yet. */
int board_choose(board *b, unsigned random);

#endif

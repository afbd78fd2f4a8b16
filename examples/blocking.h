/* SPDX-License-Identifier: MIT
 *
 * Threads for what must not run on an event loop because it waits: a task goes in, is run by one of them, and comes
 * back to the loop through a descriptor that is then readable. The same shape as latchkey_submit, _fd and _reap.
 */
#ifndef EXAMPLES_BLOCKING_H
#define EXAMPLES_BLOCKING_H

#include <stdbool.h>

typedef struct task {
    struct task *next;
    void (*run)(struct task *task); /* on one of the threads */
} task;

typedef struct blocking blocking;

blocking *blocking_start(unsigned threads); /* NULL: no memory, thread or descriptor is left */
int blocking_fd(const blocking *b);         /* readable while tasks have been run and not taken */
void blocking_put(blocking *b, task *t);    /* the task is theirs until blocking_take gives it back */
task *blocking_take(blocking *b);           /* all that have been run, as a list; NULL: none */
void blocking_stop(blocking *b);            /* every task must have been taken. NULL is allowed */

#endif

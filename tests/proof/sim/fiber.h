/* SPDX-License-Identifier: MIT
 *
 * Fibers: what the library takes for threads. One thread of the system runs them all, one at a time, and a fiber runs
 * until it gives way; so which of them runs when is decided by the simulation alone, and is the same in every replay.
 */
#ifndef LATCHKEY_SIM_FIBER_H
#define LATCHKEY_SIM_FIBER_H

#include <stddef.h>

typedef struct fiber_context fiber_context;

fiber_context *fiber_context_open(void (*body)(void *), void *argument);
void fiber_context_close(fiber_context *context); /* of a body that will not be entered again */

/* It stands for another thread from now on, whose thread-local variables are new; but `size` bytes at `kept`, at most 64 of one of
 * them, stay as they are. */
void fiber_renew(fiber_context *context, const void *kept, size_t size);

void fiber_enter(fiber_context *context); /* from outside of any fiber: returns when it leaves */
void fiber_leave(fiber_context *context); /* from inside: returns when it is entered again */

#endif

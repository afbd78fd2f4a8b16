/* Fork, in a process with threads. Only the thread that forked exists in the child. If another thread held a lock, the
 * child's copy of that lock stays taken for ever. So whatever all handles of the process share (our own locks,
 * OpenSSL's, libsodium's) is used between lk_fork_enter and lk_fork_leave. A fork waits until no thread is in between,
 * and a thread that wants to enter meanwhile waits for the fork.
 *
 *   some thread            enter ---- leave                        enter (waits) ------ leave
 *   the forking thread                       prepare -- fork -- over
 *
 * What belongs to one handle does not need this: no child uses its parent's handles (guarantee J).
 *
 * In between, nothing may block for long, no function of the application may run, and lk_fork_enter is not called
 * again. */
#ifndef LK_BASE_FORK_H
#define LK_BASE_FORK_H

#include <stdbool.h>

void lk_fork_enter(void);
void lk_fork_leave(void);

/* The same for a step that may take long: looking up a host, during which glibc holds locks of its own. A fork waits
 * for it for half a second at most. */
void lk_fork_enter_slow(void);
void lk_fork_leave_slow(void);

/* True: this process, or one of its parents, was forked while the library was loaded. Then the fork may have left a
 * lock taken in another library that the application uses too. */
bool lk_fork_is_child(void);

#endif

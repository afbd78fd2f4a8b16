/* Fork, in a process with threads. The child has the one thread that forked. Of a lock that another thread held it has a
 * copy that nobody gives back. So whatever all handles of the process share (locks of ours, OpenSSL's, libsodium's) is used
 * between lk_fork_enter and lk_fork_leave: a fork waits until no thread is in between, and what comes meanwhile waits for it.
 *
 *   some thread     enter ---- leave                        enter (waits) ------ leave
 *   the thread that forks             prepare -- fork -- over
 *
 * What a handle has of its own needs none of it: no child uses its parent's handles (guarantee J).
 *
 * In between nothing may block for long, nothing of the application's may run, and it is not entered a second time. */
#ifndef LK_BASE_FORK_H
#define LK_BASE_FORK_H

#include <stdbool.h>

void lk_fork_enter(void);
void lk_fork_leave(void);

/* The same for what may take long: the look-up of a host, in which glibc takes locks of its own now and then. A fork waits for it
 * for half a second at most. */
void lk_fork_enter_slow(void);
void lk_fork_leave_slow(void);

/* This process, or one of its parents, was forked when the library was in it already. Then another library, one that the
 * application shares with us, may have been left locked. */
bool lk_fork_is_child(void);

#endif

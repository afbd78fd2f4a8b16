/* See lock.h. */
#include "base/lock.h"

#ifdef LK_CHECK_LOCKS
_Thread_local const lk_lock *lk_locks_held[LK_RANK_END];
#endif

#ifndef LK_SESSION_ASYNC_H
#define LK_SESSION_ASYNC_H

#include "session/handle.h"

void lk_async_close(lk_async *desk);   /* NULL is allowed; the link has ended */
void lk_async_abandon(lk_async *desk); /* in a forked child: closes its copies of the descriptors, and no more */

#endif

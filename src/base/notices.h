/* What the log should hear and was found out where no log function may run: under locks that callers hold. It is kept here
 * until the link's thread says it. */
#ifndef LK_BASE_NOTICES_H
#define LK_BASE_NOTICES_H

typedef struct lk_notices lk_notices;

lk_notices *lk_notices_open(void); /* NULL: no memory */
void lk_notices_close(lk_notices *notices);

/* Keeps a line of the log; where many wait already it is dropped. No secret may stand in it. NULL is allowed. */
void lk_notices_add(lk_notices *notices, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Says what waits. Under no lock; cheap where nothing does. NULL is allowed. */
void lk_notices_say(lk_notices *notices);

#endif

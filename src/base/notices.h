/* Lines for the log that come from places where no log function may run, because the caller holds locks. They are kept
 * here until the link's thread logs them. */
#ifndef LK_BASE_NOTICES_H
#define LK_BASE_NOTICES_H

typedef struct lk_notices lk_notices;

lk_notices *lk_notices_open(void); /* NULL: no memory */
void lk_notices_close(lk_notices *notices);

/* Keeps a line for the log; if many are waiting already, it is dropped. It must hold no secret. NULL is allowed. */
void lk_notices_add(lk_notices *notices, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Logs the lines that wait. Call it under no lock. It is cheap if there are none. NULL is allowed. */
void lk_notices_say(lk_notices *notices);

#endif

/* latchkey top: what its files share.
 *
 *   watch.c   a thread of its own asks the nodes, once a second     screen.c  the terminal
 *   rows.c    what is shown of the instances                        top.c     the beats, and the loop */
#ifndef LK_CLI_TOP_TOP_H
#define LK_CLI_TOP_TOP_H

#include "cli/fleet.h"
#include "cli/survey.h"

/* screen.c */
void screen_enter(void); /* a separate screen; keys come one by one */
void screen_leave(void); /* does nothing if it was not entered */
bool screen_is_on(void);
size_t screen_rows(void);
/* Waits until there is something to read at fd (-1: only for the time), or a key was pressed, or ms have passed. True: the key
 * says that it is over. */
bool screen_wait(int fd, int ms);

/* watch.c: the newest round. A node that hangs delays it, and not what is shown of the instances. */
typedef struct watch watch;
watch *watch_open(const char *url, int *status, char *error, size_t error_size); /* NULL: *status and `error` say why */
void watch_close(watch *w);
/* Waits for the first round, if there was none yet. The pointer is good until the next call. */
const survey *watch_newest(watch *w);

/* rows.c */
bool rows_print(const fleet *h, const survey *s, int64_t now_ms, size_t most); /* false: no memory */
void rows_json(json *j, const fleet *h, const survey *s, int64_t now_ms);      /* the members `instances` and `total` */

#endif

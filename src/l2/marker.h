/* A descriptor that shows a forked child whether it still has its parent's. A daemon closes all that it has: from then on their
 * numbers may be those of files of its own. */
#ifndef LK_L2_MARKER_H
#define LK_L2_MARKER_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct lk_marker {
    int fd; /* -1: none was left; then the child is believed to have the others */
    dev_t device;
    ino_t file;
} lk_marker;

void lk_marker_open(lk_marker *marker);
bool lk_marker_stands(const lk_marker *marker);
void lk_marker_close(lk_marker *marker);

#endif

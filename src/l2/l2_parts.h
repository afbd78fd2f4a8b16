/* What the parts of L2 share, for l2.c and l2_scripts.c only. */
#ifndef LK_L2_L2_PARTS_H
#define LK_L2_L2_PARTS_H

#include "l2/l2.h"

enum { LK_L2_TEXT = 256 };

/* No answer: UNAVAILABLE or NO_MEMORY. It is counted, remembered as the node's newest trouble, and the call's reason. */
int lk_l2_unavailable(const lk_l2 *l2, lk_node *node, int status, const char *text);

/* As lk_pool_ask. The reason of a failure is remembered, and the link learns which server answered. */
int lk_l2_ask(lk_l2 *l2, lk_node *node, const lk_ask *ask, lk_reply **replies, uint64_t *incarnation);

/* As lk_l2_moved; `text` says which partition, which node and what. */
bool lk_l2_elsewhere(lk_l2 *l2, lk_node *node, unsigned partition, lk_reply *const *replies, size_t firm, size_t count,
                     char text[LK_L2_TEXT]);

#endif

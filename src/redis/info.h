/* The text that INFO answers: lines of "name:value". */
#ifndef LK_REDIS_INFO_H
#define LK_REDIS_INFO_H

#include "redis/resp.h"

/* The value of the first line with that name. False: there is no such line, or it does not fit. */
bool lk_info_value(const char *text, const char *name, char *value, size_t size);

/* INFO replication's answer: is this server a primary, and which history of writes does it continue? OK, with the hash
 * of its replication id; else the status, and `text` says why. */
int lk_info_replication(const lk_reply *reply, uint64_t *replication, char *text, size_t text_size);

#endif

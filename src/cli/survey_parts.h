/* Of survey.c and survey_node.c alone. */
#ifndef LK_CLI_SURVEY_PARTS_H
#define LK_CLI_SURVEY_PARTS_H

#include "cli/survey.h"

/* The number of partitions, which the node of partition 0 knows, into s->partitions. */
void survey_read_count(survey *s);
/* One round of one node, which has a connection, into s->node[i]. */
void survey_ask_node(survey *s, unsigned i, bool sessions);

#endif

/*
 * node.h
 *		Identity of this data directory, in a file of its own inside it.
 */
#ifndef OSA_NODE_H
#define OSA_NODE_H

#include "postgres.h"

#define OSA_NODE_ID_LEN 36

/* Reads it, or makes it at first use; raises if it can't. */
extern void osa_node_id(char *node);	/* OSA_NODE_ID_LEN + 1 bytes */

#endif							/* OSA_NODE_H */

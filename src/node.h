/*
 * node.h
 *		Identity of this data directory, in a file of its own inside it.
 */
#ifndef OSA_NODE_H
#define OSA_NODE_H

#include "postgres.h"

#define OSA_NODE_ID_LEN 36

#define OSA_NODE_MARK_LEN 100

/* Reads it, or makes it at first use; raises if it can't. */
extern void osa_node_id(char *node);	/* OSA_NODE_ID_LEN + 1 bytes */

/* What a copy of the directory does not share with it: the machine and the
 * inode of the identity's file.  Moving the directory keeps both. */
extern void osa_node_mark(char *mark);	/* OSA_NODE_MARK_LEN + 1 bytes */

#endif							/* OSA_NODE_H */

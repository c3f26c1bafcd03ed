/*
 * tree.h
 *		Walks a folder beneath files_root: folders and regular files only, no
 *		links followed, in order of names.
 */
#ifndef OSA_TREE_H
#define OSA_TREE_H

#include "types.h"

typedef struct TreeWalk TreeWalk;

typedef enum TreeState
{
	TREE_MORE,					/* call osa_tree_next again */
	TREE_FOLDER,				/* path */
	TREE_FILE,					/* path and size; read all of it next */
	TREE_END,
	TREE_FAILED					/* *failure was filled */
} TreeState;

/* Ends with context too.  All paths are relative to folder. */
extern TreeWalk *osa_tree_begin(MemoryContext context, const char *root, const char *folder,
								Failure *failure);
extern TreeState osa_tree_next(TreeWalk *walk, const char **path, int64 *size);
/* The next bytes of the file; 0 after the last, having found it unchanged; -1: failed. */
extern ssize_t osa_tree_read(TreeWalk *walk, char *data, size_t len);
extern void osa_tree_end(TreeWalk *walk);

#endif							/* OSA_TREE_H */

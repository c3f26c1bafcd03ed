/*
 * leftovers.h
 *		Containers that no step needs, and copies of the database that must
 *		not touch the original's.
 */
#ifndef OSA_LEFTOVERS_H
#define OSA_LEFTOVERS_H

#include "engines.h"

/*
 * Disposes of the listed containers of this installation (or of gone ones of
 * this node) that no step needs.  ours[i]: a flight has it.  False: the tables
 * could not be read now.
 */
extern bool osa_remove_leftovers(Engine *engine, const bool *ours,
								 const Install *install, const char *node);

/* In a transaction: is this database a copy of the one that the installation
 * was made in?  Then it is paused, with a WARNING. */
extern void osa_check_copy(Install *install, const char *node);

#endif							/* OSA_LEFTOVERS_H */

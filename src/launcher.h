/*
 * launcher.h
 *		The process that keeps exactly one worker in each database that has
 *		the extension.
 */
#ifndef OSA_LAUNCHER_H
#define OSA_LAUNCHER_H

#include "postgres.h"

/* What a worker is started with, in bgw_extra. */
typedef struct WorkerStart
{
	int			slot;
	uint32		generation;
	Oid			database;
} WorkerStart;

extern void osa_launcher_register(void);	/* in _PG_init while preloading */

extern PGDLLEXPORT void osa_launcher_main(Datum arg);

#endif							/* OSA_LAUNCHER_H */

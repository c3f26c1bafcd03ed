/*
 * launcher.h
 *		The process that keeps exactly one worker in each database that has
 *		the extension.
 */
#ifndef OSA_LAUNCHER_H
#define OSA_LAUNCHER_H

#include "postgres.h"

#include "postmaster/bgworker.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

/* What a worker is started with, in bgw_extra. */
typedef struct WorkerStart
{
	int			slot;
	uint32		generation;
	Oid			database;
} WorkerStart;

extern void osa_launcher_register(void);	/* in _PG_init while preloading */

extern PGDLLEXPORT void osa_launcher_main(Datum arg);

/* ---- between launcher.c and launcher_start.c ---- */

/* Delay before a worker that failed is started again. */
#define DELAY_MIN_MS		1000
#define DELAY_MAX_MS		60000

/* A safety net: where there was no extension, look again. */
#define ABSENT_RECHECK_MS	(5 * 60 * 1000)
/* As above, where a prepared transaction may bring it. */
#define UNSURE_RECHECK_MS	10000
#define UNSURE_MIN_MS		500

/* A worker that a launcher before us registered must have attached by then. */
#define ATTACH_TIMEOUT_MS	10000

typedef struct Database
{
	Oid			oid;			/* hash key */
	NameData	name;
	bool		seen;			/* in this scan of pg_database */
	bool		allowed;		/* connections are */
	bool		absent;			/* it does not have the extension */
	bool		unsure;			/* ... but a prepared transaction may have */
	bool		waits_for_slot;
	uint64		noted;			/* notes written up to the last about it */
	TimestampTz due_at;			/* start a worker, unless one is there */
	TimestampTz started_at;
	int			delay_ms;		/* before the next start; 0: ended well */
	BackgroundWorkerHandle *handle; /* of the one that is starting */
} Database;

extern HTAB *osa_databases;		/* of Database, by oid */

/* Starts workers where they are due. */
extern void osa_workers_start_due(TimestampTz now);
extern void osa_workers_try_again(TimestampTz now);
extern long osa_workers_time_to_sleep(void);	/* milliseconds */

#endif							/* OSA_LAUNCHER_H */

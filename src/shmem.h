/*
 * shmem.h
 *		Shared memory: one slot a database, and two pools (flights, runners)
 *		from which the views of this moment read.  The launcher gives slots
 *		out, the database's worker fills its own, backends leave wake-ups.
 *
 * Guards: lifecycle fields by OsaShared->lock (an LWLock); a slot's feed by
 * its spinlock; counters are atomics written by the worker alone; pool entries
 * are written by their worker alone under the pool's LWLock exclusively and
 * read under it shared.
 */
#ifndef OSA_SHMEM_H
#define OSA_SHMEM_H

#include "postgres.h"

#include "port/atomics.h"
#include "types.h"

#define OSA_FEED_SIZE		1024
#define OSA_POOL_FLIGHTS	2048
#define OSA_POOL_RUNNERS	128

/* False: the library is not in shared_preload_libraries. */
extern bool osa_shmem_available(void);

/* ---- wake-ups of a database's worker ---- */

typedef struct OsaWake
{
	int64		delivery_id;	/* 0: look around */
	int32		priority;
} OsaWake;

/*
 * The worker takes what backends left since the last call; at most max
 * entries.  *overflow: the ring was full, so a scan is needed.
 * *prepared: prepared transactions of this server are counted, so anything may
 * have been committed: scan.
 */
extern int	osa_slot_take_wakes(OsaWake *wakes, int max, bool *overflow, bool *prepared);

/* ---- counters of the worker, shown by osa_worker ---- */

typedef enum OsaCounter
{
	COUNTER_TURNS,				/* of the loop */
	COUNTER_SLOW_TURNS,			/* of over 100 ms */
	COUNTER_WORST_TURN_US,		/* the longest, in microseconds */
	COUNTER_CLAIMS,
	COUNTER_STEPS,				/* committed */
	COUNTER_CONTAINERS,			/* started */
	COUNTER_ADOPTED,
	COUNTER_ERRORS,				/* internal ERRORs caught */
	COUNTER_LEFTOVERS,			/* containers removed that no step needed */
	N_COUNTERS
} OsaCounter;

extern void osa_count(OsaCounter counter, uint64 n);	/* this worker's; adds */
extern void osa_count_max(OsaCounter counter, uint64 value);

/* ---- what is in flight, shown by osa_in_flight ---- */

typedef struct OsaFlightShown
{
	bool		used;
	Oid			database;
	int64		run_id;
	int32		hook_index;
	int32		attempt;
	char		hook[OSA_NAME_MAX + 1];
	char		runner[OSA_NAME_MAX + 1];
	char		phase[16];		/* image, create, put, start, running, ... */
	char		container[OSA_CONTAINER_NAME_LEN + 1];	/* "" */
	bool		adopted;
	TimestampTz since;			/* when it was claimed */
	TimestampTz started_at;		/* container's, 0: not yet */
	int64		progress_bytes; /* read of progress.jsonl */
} OsaFlightShown;

/* Returns an entry's number, or -1 when the pool is full (harmless). */
extern int	osa_show_flight(int entry, const OsaFlightShown *shown);	/* entry -1: a new one */
extern void osa_hide_flight(int entry);

/* ---- the state of runners, shown by osa_status ---- */

typedef struct OsaRunnerShown
{
	bool		used;
	Oid			database;
	char		name[OSA_NAME_MAX + 1];
	char		kind[16];
	char		endpoint[108];
	char		state[16];		/* unknown, up, down, disabled */
	char		version[64];
	char		last_error[256];
	char		unenforced[256];	/* limits that the engine does not enforce */
	TimestampTz since;			/* of the state */
	int32		in_flight;
} OsaRunnerShown;

extern int	osa_show_runner(int entry, const OsaRunnerShown *shown);
extern void osa_hide_runner(int entry);

/* For the status functions: copies of this database's entries, palloc'ed. */
extern int	osa_shown_flights(OsaFlightShown **flights);
extern int	osa_shown_runners(OsaRunnerShown **runners);

/* What osa_status and osa_worker say of this database's worker. */
typedef struct OsaWorkerShown
{
	bool		known;			/* there is a slot for this database */
	int			pid;			/* 0: none runs */
	TimestampTz started_at;
	TimestampTz last_turn_at;
	bool		no_free_worker; /* max_worker_processes is exhausted: retried */
	uint64		counters[N_COUNTERS];
} OsaWorkerShown;

extern void osa_worker_shown(OsaWorkerShown *shown);

#endif							/* OSA_SHMEM_H */

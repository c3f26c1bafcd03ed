/*
 * launcher.c
 *		One process a server, started when recovery has finished.  Keeps
 *		exactly one worker in each database that has the extension.
 *
 *		It sees shared catalogs only, so it can't know which databases these
 *		are: it starts a worker in each, and one that finds no extension says
 *		so and ends.  Only that answer is remembered; it is void when a note
 *		about extensions of that database was written after the worker began to
 *		look.  Any other end is followed by another start, with a growing delay
 *		unless the worker was asked to leave.
 *
 *		Must never connect to a database, and never wait for a worker.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "guc.h"
#include "launcher.h"
#include "slot.h"

#define LAUNCHER_RESTART_S	1

/* One that lived as long as this starts with the shortest delay again. */
#define LIVED_WELL_MS		60000

/* An end, copied out of its slot. */
typedef struct WorkerEnd
{
	Oid			database;
	SlotVerdict verdict;
	uint64		notes;
	bool		unsure;
	TimestampTz started_at;
} WorkerEnd;

HTAB	   *osa_databases;

static MemoryContext turn_context;

static void read_notes(TimestampTz now);
static void scan_databases(void);
static void collect_ends(TimestampTz now);
static void drop_unused(TimestampTz now);

void
osa_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = LAUNCHER_RESTART_S;
	strlcpy(worker.bgw_library_name, "osa_validation", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "osa_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "osa_validation launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "osa_validation launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

static void
leave(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	if (osa_shared->launcher == &MyProc->procLatch)
		osa_shared->launcher = NULL;
	LWLockRelease(osa_shared->lock);
}

void
osa_launcher_main(Datum arg)
{
	HASHCTL		ctl;

	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("osa_validation launcher");

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Database);
	ctl.hcxt = TopMemoryContext;
	osa_databases = hash_create("osa_validation databases", 64, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	turn_context = AllocSetContextCreate(TopMemoryContext, "osa_validation launcher turn",
										 ALLOCSET_DEFAULT_SIZES);

	before_shmem_exit(leave, 0);
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	osa_shared->launcher = &MyProc->procLatch;
	osa_shared->notes_read = osa_shared->notes_written;
	LWLockRelease(osa_shared->lock);

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		MemoryContextSwitchTo(turn_context);
		read_notes(now);
		scan_databases();
		collect_ends(now);
		drop_unused(now);
		osa_workers_start_due(now);
		MemoryContextReset(turn_context);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 osa_workers_time_to_sleep(), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

/* ---- what is known of a database ---- */

/* Looks again at once: something happened there. */
static void
doubt(Database *database, TimestampTz now)
{
	database->absent = database->unsure = false;
	database->delay_ms = 0;
	database->due_at = now;
}

static void
read_notes(TimestampTz now)
{
	OsaNote		notes[OSA_NOTES];
	uint64		first;
	uint64		written;
	bool		lost;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	first = osa_shared->notes_read;
	written = osa_shared->notes_written;
	lost = written - first > OSA_NOTES;
	if (!lost)
	{
		for (uint64 i = first; i < written; i++)
			notes[i - first] = osa_shared->notes[i % OSA_NOTES];
	}
	osa_shared->notes_read = written;
	LWLockRelease(osa_shared->lock);

	if (lost)
	{
		HASH_SEQ_STATUS seq;
		Database   *database;

		hash_seq_init(&seq, osa_databases);
		while ((database = hash_seq_search(&seq)) != NULL)
		{
			database->noted = written;
			doubt(database, now);
		}
		return;
	}
	for (uint64 i = first; i < written; i++)
	{
		OsaNote    *note = &notes[i - first];
		Database   *database = hash_search(osa_databases, &note->database, HASH_FIND, NULL);

		if (database == NULL)
			continue;			/* new: not known to lack the extension */
		if (note->kind == NOTE_EXTENSION)
		{
			database->noted = i + 1;
			doubt(database, now);
		}
		else if (database->unsure)
			database->due_at = Max(now, TimestampTzPlusMilliseconds(database->started_at, UNSURE_MIN_MS));
	}
}

/*
 * Brings the table of databases up to date.  A database that appears is looked
 * into at once, whether it was created or the launcher has just started.
 */
static void
scan_databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	HASH_SEQ_STATUS seq;
	Database   *database;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	hash_seq_init(&seq, osa_databases);
	while ((database = hash_seq_search(&seq)) != NULL)
		database->seen = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		bool		found;

		database = hash_search(osa_databases, &form->oid, HASH_ENTER, &found);
		if (!found)
		{
			memset(database, 0, sizeof(*database));
			database->oid = form->oid;
		}
		database->seen = true;
		database->name = form->datname;
		/* a limit of -2 marks a database that DROP DATABASE left half gone */
		database->allowed = form->datallowconn && form->datconnlimit != -2;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* ---- ends of workers ---- */

static void
judge_end(const WorkerEnd *end, TimestampTz now)
{
	Database   *database = hash_search(osa_databases, &end->database, HASH_FIND, NULL);

	osa_workers_try_again(now);
	if (database == NULL)
		return;
	if (database->handle != NULL)
	{
		pfree(database->handle);
		database->handle = NULL;
	}

	switch (end->verdict)
	{
		case VERDICT_ABSENT:
			database->delay_ms = 0;
			if (end->notes < database->noted)
				doubt(database, now);	/* it was overtaken */
			else
			{
				database->absent = true;
				database->unsure = end->unsure;
				database->due_at = TimestampTzPlusMilliseconds(now, end->unsure ?
															   UNSURE_RECHECK_MS : ABSENT_RECHECK_MS);
			}
			break;
		case VERDICT_AGAIN:
			doubt(database, now);
			break;
		case VERDICT_UNKNOWN:
			if (database->delay_ms == 0 ||
				now >= TimestampTzPlusMilliseconds(end->started_at, LIVED_WELL_MS))
				database->delay_ms = DELAY_MIN_MS;
			else
				database->delay_ms = Min(database->delay_ms * 2, DELAY_MAX_MS);
			/* unless something happened there right now */
			if (database->due_at != now)
				database->due_at = TimestampTzPlusMilliseconds(now, database->delay_ms);
			break;
	}
}

/*
 * Did a worker that never attached end?  Without its handle, left by a launcher
 * before us, only time tells.
 */
static bool
never_attached(Oid oid, TimestampTz started_at, TimestampTz now)
{
	Database   *database = hash_search(osa_databases, &oid, HASH_FIND, NULL);
	pid_t		pid;

	if (database != NULL && database->handle != NULL)
		return GetBackgroundWorkerPid(database->handle, &pid) == BGWH_STOPPED;
	return now >= TimestampTzPlusMilliseconds(started_at, ATTACH_TIMEOUT_MS);
}

static void
collect_ends(TimestampTz now)
{
	WorkerEnd  *ends = palloc(sizeof(WorkerEnd) * osa_shared->n_slots);
	int			n_ends = 0;

	for (int i = 0; i < osa_shared->n_slots; i++)
	{
		OsaSlot    *slot = &osa_shared->slots[i];
		bool		starting;
		bool		ended;
		bool		lost = false;
		uint32		generation;
		Oid			oid;
		TimestampTz started_at;

		LWLockAcquire(osa_shared->lock, LW_SHARED);
		starting = slot->state == SLOT_STARTING;
		ended = slot->state == SLOT_ENDED;
		generation = slot->generation;
		oid = slot->database;
		started_at = slot->started_at;
		LWLockRelease(osa_shared->lock);

		if (starting)
			lost = never_attached(oid, started_at, now);
		if (!ended && !lost)
			continue;

		LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
		/* it may have attached, or even ended, since we looked */
		if (slot->generation == generation &&
			(slot->state == SLOT_ENDED || (lost && slot->state == SLOT_STARTING)))
		{
			WorkerEnd  *end = &ends[n_ends++];

			end->database = oid;
			end->verdict = slot->state == SLOT_ENDED ? slot->verdict : VERDICT_UNKNOWN;
			end->notes = slot->verdict_notes;
			end->unsure = slot->verdict_unsure;
			end->started_at = slot->started_at;
			slot->state = SLOT_IDLE;
			slot->generation++;
		}
		LWLockRelease(osa_shared->lock);
	}
	for (int i = 0; i < n_ends; i++)
		judge_end(&ends[i], now);
	pfree(ends);
	ConditionVariableBroadcast(&osa_shared->left);
}

/*
 * Frees slots of databases that need none, and forgets databases that are gone
 * once their slot is free.
 */
static void
drop_unused(TimestampTz now)
{
	HASH_SEQ_STATUS seq;
	Database   *database;
	bool		unsure = false;
	bool		freed = false;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < osa_shared->n_slots; i++)
	{
		OsaSlot    *slot = &osa_shared->slots[i];

		if (slot->state != SLOT_IDLE || pg_atomic_read_u32(&slot->blocks) > 0)
			continue;
		database = hash_search(osa_databases, &slot->database, HASH_FIND, NULL);
		if (database == NULL || !database->seen || database->absent || !database->allowed)
		{
			osa_slot_free(slot);
			freed = true;
		}
	}
	LWLockRelease(osa_shared->lock);

	hash_seq_init(&seq, osa_databases);
	while ((database = hash_seq_search(&seq)) != NULL)
	{
		if (database->seen)
		{
			unsure |= database->unsure;
			if (freed && database->waits_for_slot)
			{
				database->waits_for_slot = false;
				database->due_at = now;
			}
		}
		else
		{
			if (database->handle != NULL)
				pfree(database->handle);
			(void) hash_search(osa_databases, &database->oid, HASH_REMOVE, NULL);
		}
	}
	pg_atomic_write_u32(&osa_shared->wants_commits, unsure ? 1 : 0);
}

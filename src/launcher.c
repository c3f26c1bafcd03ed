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

/* Workers that have been started and have not found the extension yet. */
#define MAX_PROBES			4

/* Delay before a worker that failed is started again. */
#define DELAY_MIN_MS		1000
#define DELAY_MAX_MS		60000
#define LIVED_WELL_MS		60000

/* Nobody tells when a worker slot of the server's becomes free. */
#define NO_FREE_MAX_MS		8000

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

/* An end, copied out of its slot. */
typedef struct WorkerEnd
{
	Oid			database;
	SlotVerdict verdict;
	uint64		notes;
	bool		unsure;
	TimestampTz started_at;
} WorkerEnd;

static HTAB *databases;
static MemoryContext turn_context;
static TimestampTz no_free_until = 0;
static int	no_free_delay_ms = 0;

static void read_notes(TimestampTz now);
static void scan_databases(void);
static void collect_ends(TimestampTz now);
static void drop_unused(TimestampTz now);
static int	count_probes(void);
static void start_due(TimestampTz now);
static void complain_of_slots(int n_probes);
static long time_to_sleep(void);

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
	databases = hash_create("osa_validation databases", 64, &ctl,
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
		start_due(now);
		complain_of_slots(count_probes());
		MemoryContextReset(turn_context);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 time_to_sleep(), PG_WAIT_EXTENSION);
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

		hash_seq_init(&seq, databases);
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
		Database   *database = hash_search(databases, &note->database, HASH_FIND, NULL);

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

	hash_seq_init(&seq, databases);
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

		database = hash_search(databases, &form->oid, HASH_ENTER, &found);
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
	Database   *database = hash_search(databases, &end->database, HASH_FIND, NULL);

	/* what it leaves may be what others wait for */
	no_free_until = now;
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
	Database   *database = hash_search(databases, &oid, HASH_FIND, NULL);
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
		database = hash_search(databases, &slot->database, HASH_FIND, NULL);
		if (database == NULL || !database->seen || database->absent || !database->allowed)
		{
			osa_slot_free(slot);
			freed = true;
		}
	}
	LWLockRelease(osa_shared->lock);

	hash_seq_init(&seq, databases);
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
			(void) hash_search(databases, &database->oid, HASH_REMOVE, NULL);
		}
	}
	pg_atomic_write_u32(&osa_shared->wants_commits, unsure ? 1 : 0);
}

/* ---- starts ---- */

static int
count_probes(void)
{
	int			n = 0;

	LWLockAcquire(osa_shared->lock, LW_SHARED);
	for (int i = 0; i < osa_shared->n_slots; i++)
	{
		SlotState	state = osa_shared->slots[i].state;

		n += state == SLOT_STARTING || state == SLOT_PROBING;
	}
	LWLockRelease(osa_shared->lock);
	return n;
}

/*
 * Hands the registration to the postmaster.  False: no worker slot is free.
 */
static bool
register_worker(Database *database, int number, uint32 generation)
{
	BackgroundWorker worker;
	WorkerStart start;
	MemoryContext context;
	bool		done;

	StaticAssertStmt(sizeof(WorkerStart) <= BGW_EXTRALEN, "WorkerStart must fit bgw_extra");

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "osa_validation", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "osa_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "osa_validation worker for database %u", database->oid);
	strlcpy(worker.bgw_type, "osa_validation worker", BGW_MAXLEN);
	memset(&start, 0, sizeof(start));
	start.slot = number;
	start.generation = generation;
	start.database = database->oid;
	memcpy(worker.bgw_extra, &start, sizeof(start));

	if (database->handle != NULL)
	{
		pfree(database->handle);
		database->handle = NULL;
	}
	context = MemoryContextSwitchTo(TopMemoryContext);
	done = RegisterDynamicBackgroundWorker(&worker, &database->handle);
	MemoryContextSwitchTo(context);
	return done;
}

/*
 * Says once that slots are missing: not while databases without the extension
 * are being looked into, which give theirs back.
 */
static void
complain_of_slots(int n_probes)
{
	static bool complained = false;
	HASH_SEQ_STATUS seq;
	Database   *database;
	int			n_waiting = 0;

	hash_seq_init(&seq, databases);
	while ((database = hash_seq_search(&seq)) != NULL)
		n_waiting += database->waits_for_slot && !database->absent;
	if (n_waiting == 0)
		complained = false;
	if (n_waiting == 0 || n_probes > 0 || complained)
		return;
	complained = true;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg_plural("osa_validation workers run in %d database, no further one is looked into",
						   "osa_validation workers run in %d databases, no further one is looked into",
						   osa_guc_max_databases, osa_guc_max_databases),
			 errdetail_plural("%d more database may need one.", "%d more databases may need one.",
							  n_waiting, n_waiting),
			 errhint("Raise osa_validation.max_databases and restart the server.")));
}

/*
 * max_worker_processes is exhausted: logged when it begins, shown by osa_status
 * of every database that waits, tried again with back-off.
 */
static void
no_free_worker(Database *database, OsaSlot *slot, TimestampTz now)
{
	HASH_SEQ_STATUS seq;
	Database   *other;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot->state = SLOT_IDLE;
	hash_seq_init(&seq, databases);
	while ((other = hash_seq_search(&seq)) != NULL)
	{
		if (!other->seen || !other->allowed || other->absent || other->due_at > now)
			continue;
		slot = osa_slot_take(other->oid);
		if (slot != NULL && slot->state == SLOT_IDLE)
			slot->no_free_worker = true;
	}
	LWLockRelease(osa_shared->lock);
	ConditionVariableBroadcast(&osa_shared->left);

	/* another look where there was nothing can wait */
	if (database->absent)
	{
		database->due_at = TimestampTzPlusMilliseconds(now, database->unsure ?
													   UNSURE_RECHECK_MS : ABSENT_RECHECK_MS);
		return;
	}
	if (no_free_delay_ms == 0)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no osa_validation worker for database \"%s\": all worker processes are in use, trying again",
						NameStr(database->name)),
				 errhint("Raise max_worker_processes (%d) and restart the server.",
						 max_worker_processes)));
	no_free_delay_ms = no_free_delay_ms == 0 ? DELAY_MIN_MS :
		Min(no_free_delay_ms * 2, NO_FREE_MAX_MS);
	no_free_until = TimestampTzPlusMilliseconds(now, no_free_delay_ms);
}

/* False: there is no use in trying further databases now. */
static bool
start_worker(Database *database, TimestampTz now)
{
	OsaSlot    *slot;
	bool		startable = false;
	uint32		generation = 0;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot = osa_slot_take(database->oid);
	if (slot != NULL && slot->state == SLOT_IDLE && pg_atomic_read_u32(&slot->blocks) == 0)
	{
		startable = true;
		generation = ++slot->generation;
		slot->state = SLOT_STARTING;
		slot->verdict = VERDICT_UNKNOWN;
		slot->verdict_notes = 0;
		slot->started_at = now;
	}
	LWLockRelease(osa_shared->lock);

	if (slot == NULL)
	{
		/* its turn comes when one becomes free */
		database->waits_for_slot = true;
		database->due_at = TimestampTzPlusMilliseconds(now, DELAY_MAX_MS);
	}
	if (!startable)
		return true;

	if (!register_worker(database, slot - osa_shared->slots, generation))
	{
		no_free_worker(database, slot, now);
		return false;
	}
	database->started_at = now;
	database->waits_for_slot = false;
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot->no_free_worker = false;
	LWLockRelease(osa_shared->lock);
	return true;
}

/* Is a start of a worker there wanted, now or later? */
static bool
wants_worker(const Database *database)
{
	OsaSlot    *slot;
	bool		result;

	if (!database->seen || !database->allowed)
		return false;
	LWLockAcquire(osa_shared->lock, LW_SHARED);
	slot = osa_slot_find(database->oid);
	result = slot == NULL ||
		(slot->state == SLOT_IDLE && pg_atomic_read_u32(&slot->blocks) == 0);
	LWLockRelease(osa_shared->lock);
	return result;
}

/* Databases where something happened go first, then those never looked into. */
static void
start_due(TimestampTz now)
{
	int			n_probes = count_probes();

	for (int absent = 0; absent <= 1; absent++)
	{
		HASH_SEQ_STATUS seq;
		Database   *database;

		hash_seq_init(&seq, databases);
		while ((database = hash_seq_search(&seq)) != NULL)
		{
			if (database->absent != (absent == 1) || database->due_at > now ||
				!wants_worker(database))
				continue;
			if (n_probes >= MAX_PROBES || (now < no_free_until && !database->absent) ||
				!start_worker(database, now))
			{
				hash_seq_term(&seq);
				return;
			}
			n_probes = count_probes();
		}
	}

	if (no_free_delay_ms != 0 && now >= no_free_until)
	{
		ereport(LOG, (errmsg("every osa_validation worker has a worker process again")));
		no_free_delay_ms = 0;
	}
}

static long
time_to_sleep(void)
{
	HASH_SEQ_STATUS seq;
	Database   *database;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake_at = TimestampTzPlusMilliseconds(now, ABSENT_RECHECK_MS);
	bool		full;
	int			n_probes = count_probes();

	/* an end tells us; the clock is for one that never attached */
	if (n_probes > 0)
		wake_at = TimestampTzPlusMilliseconds(now, ATTACH_TIMEOUT_MS);
	full = n_probes >= MAX_PROBES;

	hash_seq_init(&seq, databases);
	while ((database = hash_seq_search(&seq)) != NULL)
	{
		if (!full && wants_worker(database))
			wake_at = Min(wake_at, Max(database->due_at, no_free_until));
	}
	return Max(TimestampDifferenceMilliseconds(now, wake_at), 0);
}

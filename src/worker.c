/*
 * worker.c
 *		A database's worker: process entry, signals, connecting, seeing that
 *		the extension is there, the loop with its one wait, and leaving.
 *
 *		It waits in one place only, never inside a transaction, so that it
 *		answers within a turn: to wake-ups, to commands that need the database,
 *		to the server.  Everything it does is in flight.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "flight.h"
#include "guc.h"
#include "http.h"
#include "launcher.h"
#include "slot.h"
#include "store/spi.h"
#include "worker.h"

/* Backends tell of an extension that goes; this is the safety net. */
#define CHECK_EXTENSION_MS	1000

/* An old prepared transaction must have been seen by whoever marked it. */
#define PREPARED_SETTLE_MS	1000

#define SLOW_TURN_US		100000

static MemoryContext loop_context;
static TimestampTz next_check_at;
static bool flights_open = false;

static void look_for_extension(void);
static void run_loop(void);

void
osa_worker_main(Datum arg)
{
	WorkerStart start;

	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	if (!osa_slot_attach(start.slot, start.generation))
		proc_exit(0);

	BackgroundWorkerInitializeConnectionByOid(start.database, InvalidOid, 0);
	pgstat_report_appname("osa_validation worker");

	loop_context = AllocSetContextCreate(TopMemoryContext, "osa_validation worker loop",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(loop_context);
	look_for_extension();
	run_loop();
}

/* ---- leaving ---- */

/*
 * Ends the process in an orderly way.  Containers run on: whoever comes next
 * adopts them, or removes them when no step needs them.
 */
static void
leave(const char *why)
{
	osa_tx_abort();
	MemoryContextSwitchTo(loop_context);
	osa_slot_verdict(VERDICT_AGAIN, 0, false);
	if (flights_open)
		osa_flights_close();
	ereport(osa_guc_worker_log_level,
			(errmsg("osa_validation worker leaves database %u: %s", MyDatabaseId, why)));
	proc_exit(0);
}

/* osa_tx_begin found the extension gone, or another one in its place. */
static void
leave_as_dropped(void)
{
	osa_tx_abort();
	MemoryContextSwitchTo(loop_context);
	if (flights_open)
		osa_flights_clear_away();
	leave("the extension was dropped");
}

/* ---- beginning ---- */

/*
 * Sees whether this database has the extension: if not, that is what this
 * process was started to find out.
 */
static void
look_for_extension(void)
{
	OsaProbe	probe;
	uint64		notes = osa_notes_written();
	uint64		marks = pg_atomic_read_u64(&osa_shared->prepared_marks);

	memset(&probe, 0, sizeof(probe));
	if (osa_prepared_counted())
		probe.prepared_before = (TimestampTz) pg_atomic_read_u64(&osa_shared->prepared_marked_at);

	if (!osa_tx_probe(&probe))
	{
		if (probe.prepared_before != 0 && !probe.prepared_any)
			osa_prepared_clear(marks);
		osa_slot_verdict(VERDICT_ABSENT, notes, probe.prepared_here);
		proc_exit(0);
	}
	if (!probe.locked)
	{
		ereport(LOG,
				(errmsg("another osa_validation worker is connected to database %u", MyDatabaseId)));
		proc_exit(1);
	}

	osa_tx_settings();
	osa_tx_expect(probe.extension.oid);
	osa_tx_on_gone(leave_as_dropped);
	osa_slot_running();
	ereport(osa_guc_worker_log_level,
			(errmsg("osa_validation worker started in database %u", MyDatabaseId)));

	osa_http_open();
	flights_open = true;
	osa_flights_open(probe.extension.oid);
}

/* ---- the loop ---- */

static void
check_prepared(TimestampTz now)
{
	uint64		marks = pg_atomic_read_u64(&osa_shared->prepared_marks);
	TimestampTz marked_at = (TimestampTz) pg_atomic_read_u64(&osa_shared->prepared_marked_at);
	bool		any;
	bool		here;

	if (now < TimestampTzPlusMilliseconds(marked_at, PREPARED_SETTLE_MS))
		return;
	osa_tx_look_prepared(marked_at, &any, &here);
	if (!any)
		osa_prepared_clear(marks);
}

/*
 * Once a second, and when a backend said that extensions changed: to begin a
 * transaction is to see whether the extension is still ours.
 */
static void
check_extension(TimestampTz now)
{
	if (pg_atomic_read_u32(&osa_my_slot->recheck) == 0 && now < next_check_at)
		return;
	pg_atomic_write_u32(&osa_my_slot->recheck, 0);
	next_check_at = TimestampTzPlusMilliseconds(now, CHECK_EXTENSION_MS);

	osa_tx_begin("looking for the extension");
	if (osa_prepared_counted())
		check_prepared(now);
	(void) osa_tx_commit(OSA_TX_ASYNC);
}

static void
turn(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (pg_atomic_read_u32(&osa_my_slot->blocks) > 0)
		leave("a command needs the database for itself");
	check_extension(now);
	osa_http_turn();
	osa_flights_turn();
	pg_atomic_write_u64(&osa_my_slot->last_turn_at, (uint64) now);
}

static long
time_to_wait(void)
{
	TimestampTz at = Min(Min(osa_flights_deadline(), osa_http_deadline()), next_check_at);

	return Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), at), CHECK_EXTENSION_MS);
}

/*
 * A cancel that comes outside of a transaction was for one that is over: it
 * must not end the process.
 */
static void
serve_interrupts(void)
{
	HOLD_CANCEL_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	RESUME_CANCEL_INTERRUPTS();
	QueryCancelPending = false;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		osa_flights_look_around();
	}
}

static void
run_loop(void)
{
	MemoryContext turn_context = AllocSetContextCreate(loop_context, "osa_validation worker turn",
													   ALLOCSET_DEFAULT_SIZES);
	WaitEventSet *set = OsaCreateWaitEventSet(3);

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, osa_http_fd(), NULL, NULL);

	for (;;)
	{
		WaitEvent	events[2];
		instr_time	began;
		instr_time	took;

		INSTR_TIME_SET_CURRENT(began);
		serve_interrupts();
		MemoryContextSwitchTo(turn_context);
		turn();
		Assert(!IsTransactionState());
		Assert(CurrentMemoryContext == turn_context);
		MemoryContextSwitchTo(loop_context);
		MemoryContextReset(turn_context);

		INSTR_TIME_SET_CURRENT(took);
		INSTR_TIME_SUBTRACT(took, began);
		osa_count(COUNTER_TURNS, 1);
		if (INSTR_TIME_GET_MICROSEC(took) > SLOW_TURN_US)
			osa_count(COUNTER_SLOW_TURNS, 1);
		osa_count_max(COUNTER_WORST_TURN_US, INSTR_TIME_GET_MICROSEC(took));

		(void) WaitEventSetWait(set, time_to_wait(), events, lengthof(events), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

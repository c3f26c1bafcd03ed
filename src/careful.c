/*
 * careful.c
 *		Strikes; see careful.h.  A file in the data directory tells whether
 *		the worker before came to an orderly end: made at the start, removed at
 *		an orderly exit, so that it is there after a crash.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#include "careful.h"

static char mark_path[MAXPGPATH];
static int	n_to_come;			/* flights that must go carefully */
static Flight *current;			/* the one whose turn it is */

static void remove_mark(int code, Datum arg);
static void strike_unit(void *arg);
static void unstrike_unit(void *arg);

void
osa_careful_open(int n_recovered)
{
	int			fd;

	snprintf(mark_path, sizeof(mark_path), "osa_validation.%u.running", MyDatabaseId);
	current = NULL;
	n_to_come = access(mark_path, F_OK) == 0 ? n_recovered : 0;
	fd = OpenTransientFile(mark_path, O_WRONLY | O_CREAT | PG_BINARY);
	if (fd < 0 || pg_fsync(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", mark_path)));
	CloseTransientFile(fd);
	fsync_fname(".", true);
	before_shmem_exit(remove_mark, (Datum) 0);
}

static void
remove_mark(int code, Datum arg)
{
	(void) code;
	(void) arg;
	unlink(mark_path);
}

bool
osa_careful_wanted(void)
{
	return n_to_come > 0;
}

bool
osa_careful_enter(Flight *f)
{
	if (current == f)
		return true;
	if (current != NULL || !osa_flight_guard(f, strike_unit))
	{
		if (current != NULL)
		{
			f->wake_at = DT_NOEND;
			f->wants_place = true;
		}
		return false;
	}
	f->wants_place = false;
	current = f;
	if (f->step->strikes > OSA_STRIKES_MAX)
	{
		osa_flight_fail(f, FAILURE_INTERNAL, "the worker ended uncleanly %d times while it handled this step",
						OSA_STRIKES_MAX);
		return false;
	}
	return true;
}

void
osa_careful_leave(Flight *f)
{
	GuardError	error;

	if (current != f)
		return;
	current = NULL;
	n_to_come = Max(n_to_come - 1, 0);
	f->careful = false;
	/* a strike that could not be taken back is only one of five */
	if (f->phase != PHASE_DONE && f->step->strikes > 0 &&
		osa_guard(unstrike_unit, f, &error) == GUARD_OK)
		f->step->strikes--;
	osa_flights_again();
}

static void
strike_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("striking a step");
	f->step->strikes = osa_store_strike(f->run->id, f->step->hook_index, 1);
	osa_tx_commit(OSA_TX_SYNC);
}

static void
unstrike_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("taking a strike back");
	(void) osa_store_strike(f->run->id, f->step->hook_index, -1);
	osa_tx_commit(OSA_TX_ASYNC);
}

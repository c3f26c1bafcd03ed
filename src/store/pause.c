/*
 * pause.c
 *		Pausing this installation, resuming it, and taking over a copy.
 *
 * Runs in backends.  Nothing here acts on a container: the worker reads
 * osa_install and does what it says.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"

#include "store/bind.h"
#include "store/catalog.h"
#include "store/spi.h"

static void fork_install(void);
static void adopt_install(void);

void
osa_store_pause(const char *reason, bool stop_running)
{
	/* of a detected copy the reason stays: it says what to do */
	static OsaPlan plan = OSA_PLAN("pause",
		"UPDATE @osa@.osa_install SET paused = true, stop_running = $2, changed_at = now(),"
		"   reason = CASE WHEN mismatch IS NULL THEN $1 ELSE reason END",
		TEXTOID, BOOLOID);
	Datum		values[2];
	char		nulls[] = OSA_NO_NULLS;

	osa_bind_text(values, nulls, 0, reason);
	values[1] = BoolGetDatum(stop_running);
	osa_plan_run(&plan, values, nulls, false, 0);
}

/*
 * osa_store_resume clears a pause.  A copy, or open rows of another
 * installation (a restored dump), resume only by being taken over.
 */
void
osa_store_resume(bool take_over)
{
	static OsaPlan look_plan = OSA_PLAN("read the pause",
		"SELECT coalesce(i.mismatch, CASE WHEN"
		"          EXISTS (SELECT FROM @osa@.osa_validation_run r"
		"                   WHERE r.finished_at IS NULL AND r.install_id <> i.install_id) OR"
		"          EXISTS (SELECT FROM @osa@.osa_delivery d WHERE d.install_id <> i.install_id)"
		"        THEN 'rows' ELSE '' END), coalesce(i.reason, '')"
		"  FROM @osa@.osa_install i FOR UPDATE OF i");
	static OsaPlan resume_plan = OSA_PLAN("resume",
		"UPDATE @osa@.osa_install"
		"   SET paused = false, stop_running = false, mismatch = NULL, reason = NULL, changed_at = now()");
	const char *copy;

	if (osa_plan_run(&look_plan, NULL, NULL, false, 0) == 0)
		elog(ERROR, "table \"osa_install\" is empty");
	copy = osa_col_text(0, 1, CurrentMemoryContext);
	if (take_over && *copy == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is nothing to take over"),
				 errdetail("This installation is the one that its rows belong to."),
				 errhint("Use osa_resume() alone.")));
	if (!take_over && *copy != '\0' && strcmp(copy, "rows") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot resume: this database is a copy"),
				 errdetail_internal("%s", osa_col_text(0, 2, CurrentMemoryContext)),
				 errhint("Use osa_resume(take_over => true) if this copy is to run its open validations.")));
	if (take_over && strcmp(copy, "succession") == 0)
		adopt_install();
	else if (take_over)
		fork_install();
	osa_plan_run(&resume_plan, NULL, NULL, false, 0);
}

/*
 * A new identity where the original may live on: its containers are not ours,
 * so every open step gets a launch of its own.  A restored dump has a new
 * identity already.
 */
static void
fork_install(void)
{
	static OsaPlan mint_plan = OSA_PLAN("mint an installation",
		"UPDATE @osa@.osa_install i SET database_oid = $1, node_id = NULL, node_mark = NULL, timeline = NULL,"
		"   install_id = CASE WHEN database_oid = $1 AND"
		"     EXISTS (SELECT FROM @osa@.osa_delivery d WHERE d.install_id <> i.install_id)"
		"     THEN install_id ELSE gen_random_uuid() END",
		OIDOID);
	static OsaPlan steps_plan = OSA_PLAN("give open steps new launches",
		"UPDATE @osa@.osa_run_hook h SET launch_id = gen_random_uuid()"
		"  FROM @osa@.osa_validation_run r, @osa@.osa_install i"
		" WHERE r.finished_at IS NULL AND r.install_id <> i.install_id"
		"   AND h.run_id = r.id AND h.hook_index >= r.current_hook_index");
	static OsaPlan runs_plan = OSA_PLAN("take over open runs",
		"UPDATE @osa@.osa_validation_run r SET install_id = i.install_id FROM @osa@.osa_install i"
		" WHERE r.finished_at IS NULL AND r.install_id <> i.install_id");
	static OsaPlan deliveries_plan = OSA_PLAN("take over deliveries",
		"UPDATE @osa@.osa_delivery d"
		"   SET install_id = i.install_id, status = 'pending', claims = 0, token = NULL, claimed_by = NULL, claimed_at = NULL"
		"  FROM @osa@.osa_install i WHERE d.install_id <> i.install_id");
	Datum		values[1];

	values[0] = ObjectIdGetDatum(MyDatabaseId);
	osa_plan_run(&mint_plan, values, NULL, false, 0);
	osa_plan_run(&steps_plan, NULL, NULL, false, 0);
	osa_plan_run(&deliveries_plan, NULL, NULL, false, 0);
	osa_plan_run(&runs_plan, NULL, NULL, false, 0);
}

/* The same installation on another server or timeline: it keeps its identity. */
static void
adopt_install(void)
{
	static OsaPlan plan = OSA_PLAN("succeed an installation",
		"UPDATE @osa@.osa_install SET epoch = epoch + 1, database_oid = $1,"
		"       node_id = NULL, node_mark = NULL, timeline = NULL",
		OIDOID);
	Datum		values[1];

	values[0] = ObjectIdGetDatum(MyDatabaseId);
	osa_plan_run(&plan, values, NULL, false, 0);
}

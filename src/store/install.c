/*
 * install.c
 *		This installation and its runners, as the worker reads them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "store/store.h"

void
osa_store_install(Install *install)
{
	static OsaPlan plan = OSA_PLAN("read the installation",
		"SELECT install_id, database_oid::pg_catalog.int8, coalesce(node_id, ''), paused,"
		"       stop_running AND paused, mismatch IS NOT NULL, coalesce(node_mark, ''), coalesce(timeline, 0)"
		"  FROM @osa@.osa_install");

	if (osa_plan_run(&plan, NULL, NULL, false, 0) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"osa_install\" does not have exactly one row"),
				 errhint("Its row is made by CREATE EXTENSION and must not be deleted.")));
	memset(install, 0, sizeof(*install));
	install->id = osa_col_uuid(0, 1);
	install->database = osa_col_isnull(0, 2) ? InvalidOid : (Oid) osa_col_int64(0, 2);
	strlcpy(install->node, TextDatumGetCString(osa_col_datum(0, 3)), sizeof(install->node));
	install->paused = osa_col_bool(0, 4);
	install->stop_running = osa_col_bool(0, 5);
	install->mismatch = osa_col_bool(0, 6);
	strlcpy(install->node_mark, TextDatumGetCString(osa_col_datum(0, 7)), sizeof(install->node_mark));
	install->timeline = osa_col_int32(0, 8);
}

void
osa_store_set_place(const char *node, const char *mark, int timeline)
{
	static OsaPlan plan = OSA_PLAN("set the place",
		"UPDATE @osa@.osa_install SET node_id = $1, node_mark = $2, timeline = $3,"
		"       changed_at = pg_catalog.now() WHERE node_id IS NULL",
		TEXTOID, TEXTOID, INT4OID);
	Datum		values[3];

	values[0] = CStringGetTextDatum(node);
	values[1] = CStringGetTextDatum(mark);
	values[2] = Int32GetDatum(timeline);
	osa_plan_run(&plan, values, NULL, false, 0);
}

void
osa_store_mark_copy(const char *reason, const char *mismatch)
{
	static OsaPlan plan = OSA_PLAN("mark a copy",
		"UPDATE @osa@.osa_install SET paused = true, mismatch = $2, reason = $1,"
		"       changed_at = pg_catalog.now()",
		TEXTOID, TEXTOID);
	Datum		values[2];

	values[0] = CStringGetTextDatum(reason);
	values[1] = CStringGetTextDatum(mismatch);
	osa_plan_run(&plan, values, NULL, false, 0);
}

int
osa_store_runners(RunnerRow **rows, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("read the runners",
		"SELECT name, kind, coalesce(endpoint, ''), coalesce(max_in_flight, 0), coalesce(max_memory, 0),"
		"       coalesce(max_cpu, 0)::pg_catalog.float8, accept_unenforced, enabled"
		"  FROM @osa@.osa_runner ORDER BY name");
	int			n = (int) osa_plan_run(&plan, NULL, NULL, false, 0);

	*rows = MemoryContextAllocZero(context, sizeof(RunnerRow) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		RunnerRow  *r = *rows + i;

		strlcpy(r->name, TextDatumGetCString(osa_col_datum(i, 1)), sizeof(r->name));
		strlcpy(r->kind, TextDatumGetCString(osa_col_datum(i, 2)), sizeof(r->kind));
		strlcpy(r->endpoint, TextDatumGetCString(osa_col_datum(i, 3)), sizeof(r->endpoint));
		r->max_in_flight = osa_col_int32(i, 4);
		r->max_memory = osa_col_int64(i, 5);
		r->max_cpu = DatumGetFloat8(osa_col_datum(i, 6));
		r->accept_unenforced = osa_col_bool(i, 7);
		r->enabled = osa_col_bool(i, 8);
	}
	return n;
}

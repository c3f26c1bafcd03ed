/*
 * catalog.c
 *		Hooks, their releases and which of them is live, pipelines and runners.
 *
 * Runs in backends, and in the worker where a submitted deposition becomes a
 * run.  Writers of one hook take turns by locking its row, so that the number
 * of a release and the history of the live pointer have no gaps or forks.
 */
#include "postgres.h"

#include <unistd.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "contract/limits.h"
#include "errors.h"
#include "guc.h"
#include "store/bind.h"
#include "store/catalog.h"
#include "store/spi.h"

typedef struct Ceiling
{
	bool		limited;		/* false: a runner without containers */
	int64		memory;
	double		cpu;
} Ceiling;

static void lock_hook(const char *hook);
static int64 current_live(const char *hook, int64 *release_id, int64 *previous_id);
static void insert_live(const char *hook, int64 release_id, int64 previous_id, const char *set_by);
static int64 default_memory_ceiling(void);
static double default_cpu_ceiling(void);
static void runner_ceiling(const char *runner, Ceiling *ceiling);
static Datum hook_names(const PipelineHook *hooks, int n_hooks);
static void read_hooks(Pipeline *pipeline, int name_col);

/* ---- hooks ---- */

void
osa_store_put_hook(const char *name, Jsonb *columns, const char *cardinality, const char *title)
{
	static OsaPlan plan = OSA_PLAN("put a hook",
		"INSERT INTO @osa@.osa_hook (name, columns, cardinality, title) VALUES ($1, $2, $3, $4)"
		" ON CONFLICT (name) DO UPDATE"
		"   SET columns = excluded.columns, cardinality = excluded.cardinality, title = excluded.title",
		TEXTOID, JSONBOID, TEXTOID, TEXTOID);
	Datum		values[4];
	char		nulls[] = OSA_NO_NULLS;

	values[0] = CStringGetTextDatum(name);
	values[1] = JsonbPGetDatum(columns);
	values[2] = CStringGetTextDatum(cardinality);
	osa_bind_text(values, nulls, 3, title);
	osa_plan_run(&plan, values, nulls, false, 0);
}

static void
lock_hook(const char *hook)
{
	static OsaPlan plan = OSA_PLAN("lock a hook",
		"SELECT 1 FROM @osa@.osa_hook WHERE name = $1 FOR NO KEY UPDATE",
		TEXTOID);
	Datum		values[1];

	values[0] = CStringGetTextDatum(hook);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("hook \"%s\" does not exist", hook),
				 errhint("Register it with osa_register_hook().")));
}

/* ---- releases ---- */

int64
osa_store_add_release(const NewRelease *release)
{
	static OsaPlan number_plan = OSA_PLAN("number a release",
		"SELECT (1 + coalesce(max(version::int8), 0))::text FROM @osa@.osa_hook_release"
		" WHERE hook = $1 AND version ~ '^[0-9]{1,9}$'",
		TEXTOID);
	static OsaPlan insert_plan = OSA_PLAN("add a release",
		"INSERT INTO @osa@.osa_hook_release (hook, version, image, config, limits, source_ref, built_by)"
		" VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7)"
		" ON CONFLICT (hook, version) DO NOTHING RETURNING id",
		TEXTOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, TEXTOID);
	Datum		values[7];
	char		nulls[] = OSA_NO_NULLS;
	const char *version = release->version;

	lock_hook(release->hook);
	values[0] = CStringGetTextDatum(release->hook);
	if (version == NULL)
	{
		osa_plan_run(&number_plan, values, NULL, false, 0);
		version = osa_col_text(0, 1, CurrentMemoryContext);
	}
	values[1] = CStringGetTextDatum(version);
	values[2] = CStringGetTextDatum(release->image);
	values[3] = JsonbPGetDatum(release->config);
	values[4] = CStringGetTextDatum(release->limits);
	osa_bind_text(values, nulls, 5, release->source_ref);
	osa_bind_text(values, nulls, 6, release->built_by);
	if (osa_plan_run(&insert_plan, values, nulls, false, 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("hook \"%s\" already has a release \"%s\"", release->hook, version),
				 errdetail("Releases never change."),
				 errhint("Give another version, or none to take the next number.")));
	return osa_col_int64(0, 1);
}

int64
osa_store_find_release(const char *hook, const char *version)
{
	static OsaPlan plan = OSA_PLAN("find a release",
		"SELECT id FROM @osa@.osa_hook_release WHERE hook = $1 AND version = $2",
		TEXTOID, TEXTOID);
	Datum		values[2];

	lock_hook(hook);
	values[0] = CStringGetTextDatum(hook);
	values[1] = CStringGetTextDatum(version);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("hook \"%s\" has no release \"%s\"", hook, version),
				 errhint("Add it with osa_add_release(); table osa_hook_release lists the ones there are.")));
	return osa_col_int64(0, 1);
}

/* Returns the history row that is current, or 0. */
static int64
current_live(const char *hook, int64 *release_id, int64 *previous_id)
{
	static OsaPlan plan = OSA_PLAN("read the live release",
		"SELECT id, release_id, coalesce(previous_id, 0) FROM @osa@.osa_hook_live"
		" WHERE hook = $1 AND is_current",
		TEXTOID);
	Datum		values[1];

	*release_id = *previous_id = 0;
	values[0] = CStringGetTextDatum(hook);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		return 0;
	*release_id = osa_col_int64(0, 2);
	*previous_id = osa_col_int64(0, 3);
	return osa_col_int64(0, 1);
}

static void
insert_live(const char *hook, int64 release_id, int64 previous_id, const char *set_by)
{
	static OsaPlan end_plan = OSA_PLAN("end a live release",
		"UPDATE @osa@.osa_hook_live SET is_current = false WHERE hook = $1 AND is_current",
		TEXTOID);
	static OsaPlan insert_plan = OSA_PLAN("set a live release",
		"INSERT INTO @osa@.osa_hook_live (hook, release_id, previous_id, set_by)"
		" VALUES ($1, $2, nullif($3, 0), $4)",
		TEXTOID, INT8OID, INT8OID, TEXTOID);
	Datum		values[4];

	values[0] = CStringGetTextDatum(hook);
	values[1] = Int64GetDatum(release_id);
	values[2] = Int64GetDatum(previous_id);
	values[3] = CStringGetTextDatum(set_by);
	osa_plan_run(&end_plan, values, NULL, false, 0);
	osa_plan_run(&insert_plan, values, NULL, false, 0);
}

/* The hook's row is locked already; nothing happens if it is live already. */
void
osa_store_set_live(const char *hook, int64 release_id, const char *set_by)
{
	int64		live_release;
	int64		previous;
	int64		current = current_live(hook, &live_release, &previous);

	if (current == 0 || live_release != release_id)
		insert_live(hook, release_id, current, set_by);
}

/*
 * osa_store_rollback_live goes back to the release that was live before the
 * current one; called again, one further back.
 */
void
osa_store_rollback_live(const char *hook, const char *set_by)
{
	static OsaPlan plan = OSA_PLAN("read an earlier live release",
		"SELECT release_id, coalesce(previous_id, 0) FROM @osa@.osa_hook_live WHERE id = $1",
		INT8OID);
	Datum		values[1];
	int64		live_release;
	int64		previous;

	lock_hook(hook);
	current_live(hook, &live_release, &previous);
	values[0] = Int64GetDatum(previous);
	if (previous == 0 || osa_plan_run(&plan, values, NULL, false, 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("hook \"%s\" has no earlier live release", hook),
				 errhint("Name the release to be live with osa_set_live_release().")));
	insert_live(hook, osa_col_int64(0, 1), osa_col_int64(0, 2), set_by);
}

/* ---- ceilings ---- */

static int64
default_memory_ceiling(void)
{
	return (int64) osa_guc_max_memory * 1024 * 1024;
}

static double
default_cpu_ceiling(void)
{
	long		n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (double) n : 1;
}

/* Raises if there is no such runner. */
static void
runner_ceiling(const char *runner, Ceiling *ceiling)
{
	static OsaPlan plan = OSA_PLAN("read a runner's ceilings",
		"SELECT kind <> 'noop', coalesce(max_memory, 0), coalesce(max_cpu, 0)::float8"
		" FROM @osa@.osa_runner WHERE name = $1",
		TEXTOID);
	Datum		values[1];

	ceiling->limited = true;
	ceiling->memory = 0;
	ceiling->cpu = 0;
	values[0] = CStringGetTextDatum(runner);
	if (osa_plan_run(&plan, values, NULL, false, 0) > 0)
	{
		ceiling->limited = osa_col_bool(0, 1);
		ceiling->memory = osa_col_int64(0, 2);
		ceiling->cpu = DatumGetFloat8(osa_col_datum(0, 3));
	}
	else if (strcmp(runner, "local") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("runner \"%s\" does not exist", runner),
				 errhint("Add it with osa_add_runner(), or use the runner \"local\".")));
	if (ceiling->memory == 0)
		ceiling->memory = default_memory_ceiling();
	if (ceiling->cpu == 0)
		ceiling->cpu = default_cpu_ceiling();
}

void
osa_store_check_ceilings(const char *runner, const PipelineHook *hooks, int n_hooks)
{
	Ceiling		ceiling;

	runner_ceiling(runner, &ceiling);
	if (!ceiling.limited)
		return;
	for (int i = 0; i < n_hooks; i++)
	{
		HookLimits	limits;
		Failure		failure;
		char	   *normalised;

		if (hooks[i].limits == NULL)
			continue;
		if (!osa_limits_parse(hooks[i].limits, &limits, &normalised, &failure))
			ereport(ERROR,
					(errcode(ERRCODE_OSA_INVALID_DEFINITION),
					 errmsg("invalid limits of hook \"%s\": %s", hooks[i].name, failure.message),
					 errhint("Add a release of it with valid limits.")));
		if (limits.memory > ceiling.memory)
			ereport(ERROR,
					(errcode(ERRCODE_OSA_INVALID_DEFINITION),
					 errmsg("memory limit of hook \"%s\" is above the ceiling of runner \"%s\"",
							hooks[i].name, runner),
					 errdetail("The limit is " INT64_FORMAT " bytes, the ceiling " INT64_FORMAT ".",
							   limits.memory, ceiling.memory),
					 errhint("Add a release with a lower limit, or raise the ceiling with osa_add_runner().")));
		if (limits.cpu > ceiling.cpu)
			ereport(ERROR,
					(errcode(ERRCODE_OSA_INVALID_DEFINITION),
					 errmsg("cpu limit of hook \"%s\" is above the ceiling of runner \"%s\"",
							hooks[i].name, runner),
					 errdetail("The limit is %g cores, the ceiling %g.", limits.cpu, ceiling.cpu),
					 errhint("Add a release with a lower limit, or raise the ceiling with osa_add_runner().")));
	}
}

void
osa_store_check_any_ceiling(const HookLimits *limits)
{
	static OsaPlan plan = OSA_PLAN("read the highest ceilings",
		"SELECT max(coalesce(r.max_memory, $1)), max(coalesce(r.max_cpu::float8, $2))"
		"  FROM (SELECT max_memory, max_cpu FROM @osa@.osa_runner WHERE kind <> 'noop'"
		"        UNION ALL SELECT NULL, NULL"
		"         WHERE NOT EXISTS (SELECT FROM @osa@.osa_runner WHERE name = 'local')) r",
		INT8OID, FLOAT8OID);
	Datum		values[2];

	values[0] = Int64GetDatum(default_memory_ceiling());
	values[1] = Float8GetDatum(default_cpu_ceiling());
	osa_plan_run(&plan, values, NULL, false, 0);
	if (osa_col_isnull(0, 1))
		return;
	if (limits->memory > osa_col_int64(0, 1))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_DEFINITION),
				 errmsg("memory limit is above the ceiling of every runner"),
				 errdetail("The limit is " INT64_FORMAT " bytes, the highest ceiling " INT64_FORMAT ".",
						   limits->memory, osa_col_int64(0, 1)),
				 errhint("Give a lower limit, or raise osa_validation.max_memory or a runner's ceiling.")));
	if (limits->cpu > DatumGetFloat8(osa_col_datum(0, 2)))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_DEFINITION),
				 errmsg("cpu limit is above the ceiling of every runner"),
				 errdetail("The limit is %g cores, the highest ceiling %g.",
						   limits->cpu, DatumGetFloat8(osa_col_datum(0, 2))),
				 errhint("Give a lower limit, or raise a runner's ceiling with osa_add_runner().")));
}

/* ---- pipelines ---- */

static Datum
hook_names(const PipelineHook *hooks, int n_hooks)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n_hooks, 1));

	for (int i = 0; i < n_hooks; i++)
		elements[i] = CStringGetTextDatum(hooks[i].name);
	return PointerGetDatum(construct_array(elements, n_hooks, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Fills hooks from the last plan's rows: name, live release and its limits in
 * name_col and after.
 */
static void
read_hooks(Pipeline *pipeline, int name_col)
{
	pipeline->n_hooks = (int) SPI_processed;
	pipeline->hooks = palloc0(sizeof(PipelineHook) * Max(pipeline->n_hooks, 1));
	for (int i = 0; i < pipeline->n_hooks; i++)
	{
		PipelineHook *hook = &pipeline->hooks[i];

		hook->name = osa_col_text(i, name_col, CurrentMemoryContext);
		hook->release_id = osa_col_int64(i, name_col + 1);
		hook->limits = osa_col_text(i, name_col + 2, CurrentMemoryContext);
	}
}

void
osa_store_put_pipeline(Pipeline *pipeline)
{
	static OsaPlan hooks_plan = OSA_PLAN("read hooks of a new pipeline",
		"SELECT h.name, coalesce(l.release_id, 0), r.limits::text, o.hook"
		"  FROM unnest($1) WITH ORDINALITY AS o(hook, place)"
		"  LEFT JOIN @osa@.osa_hook h ON h.name = o.hook"
		"  LEFT JOIN @osa@.osa_hook_live l ON l.hook = h.name AND l.is_current"
		"  LEFT JOIN @osa@.osa_hook_release r ON r.id = l.release_id"
		" ORDER BY o.place",
		TEXTARRAYOID);
	static OsaPlan put_plan = OSA_PLAN("put a pipeline",
		"INSERT INTO @osa@.osa_pipeline (name, hooks, on_rejection, on_record_error, runner)"
		" VALUES ($1, $2, $3, $4, $5)"
		" ON CONFLICT (name) DO UPDATE SET hooks = excluded.hooks, on_rejection = excluded.on_rejection,"
		"   on_record_error = excluded.on_record_error, runner = excluded.runner, changed_at = now()",
		TEXTOID, TEXTARRAYOID, TEXTOID, TEXTOID, TEXTOID);
	Datum		values[5];
	Datum		names = hook_names(pipeline->hooks, pipeline->n_hooks);

	values[0] = names;
	osa_plan_run(&hooks_plan, values, NULL, false, 0);
	for (int i = 0; i < pipeline->n_hooks; i++)
	{
		if (osa_col_isnull(i, 1))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("hook \"%s\" does not exist", osa_col_text(i, 4, CurrentMemoryContext)),
					 errhint("Register it with osa_register_hook().")));
	}
	read_hooks(pipeline, 1);
	osa_store_check_ceilings(pipeline->runner, pipeline->hooks, pipeline->n_hooks);

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = names;
	values[2] = CStringGetTextDatum(pipeline->on_rejection);
	values[3] = CStringGetTextDatum(pipeline->on_record_error);
	values[4] = CStringGetTextDatum(pipeline->runner);
	osa_plan_run(&put_plan, values, NULL, false, 0);
}

Pipeline *
osa_store_load_pipeline(const char *name)
{
	/* one statement, so that a new definition is seen whole or not at all */
	static OsaPlan plan = OSA_PLAN("read a pipeline",
		"SELECT p.on_rejection, p.on_record_error, p.runner, o.hook, coalesce(l.release_id, 0), r.limits::text"
		"  FROM @osa@.osa_pipeline p"
		"  LEFT JOIN LATERAL unnest(p.hooks) WITH ORDINALITY AS o(hook, place) ON true"
		"  LEFT JOIN @osa@.osa_hook_live l ON l.hook = o.hook AND l.is_current"
		"  LEFT JOIN @osa@.osa_hook_release r ON r.id = l.release_id"
		" WHERE p.name = $1 ORDER BY o.place",
		TEXTOID);
	Datum		values[1];
	Pipeline   *pipeline = palloc0(sizeof(Pipeline));

	values[0] = CStringGetTextDatum(name);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", name),
				 errhint("Define it with osa_define_pipeline().")));
	pipeline->name = name;
	pipeline->on_rejection = osa_col_text(0, 1, CurrentMemoryContext);
	pipeline->on_record_error = osa_col_text(0, 2, CurrentMemoryContext);
	pipeline->runner = osa_col_text(0, 3, CurrentMemoryContext);
	/* no hooks: one row without one */
	if (!osa_col_isnull(0, 4))
		read_hooks(pipeline, 4);

	for (int i = 0; i < pipeline->n_hooks; i++)
	{
		if (pipeline->hooks[i].release_id == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("hook \"%s\" of pipeline \"%s\" has no live release",
							pipeline->hooks[i].name, name),
					 errhint("Add one with osa_add_release(), or choose one with osa_set_live_release().")));
	}
	osa_store_check_ceilings(pipeline->runner, pipeline->hooks, pipeline->n_hooks);
	return pipeline;
}

/* ---- runners ---- */

void
osa_store_put_runner(const NewRunner *runner)
{
	static OsaPlan plan = OSA_PLAN("put a runner",
		"INSERT INTO @osa@.osa_runner"
		" (name, kind, endpoint, max_in_flight, max_memory, max_cpu, accept_unenforced, enabled)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, endpoint = excluded.endpoint,"
		"   max_in_flight = excluded.max_in_flight, max_memory = excluded.max_memory, max_cpu = excluded.max_cpu,"
		"   accept_unenforced = excluded.accept_unenforced, enabled = excluded.enabled",
		TEXTOID, TEXTOID, TEXTOID, INT4OID, INT8OID, NUMERICOID, BOOLOID, BOOLOID);
	Datum		values[8];
	char		nulls[] = OSA_NO_NULLS;

	values[0] = CStringGetTextDatum(runner->name);
	values[1] = CStringGetTextDatum(runner->kind);
	osa_bind_text(values, nulls, 2, runner->endpoint);
	values[3] = Int32GetDatum(runner->max_in_flight);
	nulls[3] = runner->max_in_flight > 0 ? ' ' : 'n';
	values[4] = Int64GetDatum(runner->max_memory);
	nulls[4] = runner->max_memory > 0 ? ' ' : 'n';
	values[5] = runner->max_cpu;
	nulls[5] = runner->max_cpu != (Datum) 0 ? ' ' : 'n';
	values[6] = BoolGetDatum(runner->accept_unenforced);
	values[7] = BoolGetDatum(runner->enabled);
	osa_plan_run(&plan, values, nulls, false, 0);
}

/*
 * leftovers.c
 *		Whose is a container that carries our labels?  Runs in the worker.
 *		Nothing is removed on having merely read that a row is missing: the
 *		transaction that read it is committed durably first.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"

#include "guard.h"
#include "leftovers.h"
#include "node.h"

typedef struct Sorting
{
	Engine	   *engine;
	const bool *ours;
	const Install *install;
	const char *node;
	bool	   *unwanted;
} Sorting;

static void sort_unit(void *arg);
static bool is_unwanted(const Identity *identity, const Install *install);

bool
osa_remove_leftovers(Engine *engine, const bool *ours, const Install *install, const char *node)
{
	Sorting		sorting;
	GuardError	error;

	sorting.engine = engine;
	sorting.ours = ours;
	sorting.install = install;
	sorting.node = node;
	sorting.unwanted = palloc0(sizeof(bool) * Max(1, engine->n_listed));
	if (osa_guard(sort_unit, &sorting, &error) != GUARD_OK)
		return false;
	for (int i = 0; i < engine->n_listed; i++)
	{
		if (sorting.unwanted[i])
			osa_engine_dispose(engine, engine->listed[i].name, true);
	}
	return true;
}

static void
sort_unit(void *arg)
{
	Sorting    *s = arg;
	int			n = 0;

	osa_tx_begin("sorting containers");
	for (int i = 0; i < s->engine->n_listed; i++)
	{
		const Identity *identity = &s->engine->listed[i].identity;

		if (s->ours[i] || strcmp(identity->node, s->node) != 0)
			continue;
		s->unwanted[i] = is_unwanted(identity, s->install);
		n += s->unwanted[i] ? 1 : 0;
	}
	if (n > 0)
		(void) GetCurrentTransactionId();
	osa_tx_commit(OSA_TX_SYNC);
}

static bool
is_unwanted(const Identity *identity, const Install *install)
{
	if (identity->database != MyDatabaseId)
		return !osa_store_database_exists(identity->database);
	if (memcmp(&identity->install, &install->id, UUID_LEN) != 0)
		return true;
	return !osa_store_launch_wanted(identity->run_id, identity->hook_index, &identity->launch);
}

void
osa_check_copy(Install *install, const char *node)
{
	char		mark[OSA_NODE_MARK_LEN + 1];
	int			timeline = (int) GetWALInsertionTimeLine();
	const char *reason = NULL;
	bool		fork = install->database != MyDatabaseId;

	osa_node_mark(mark);
	if (fork)
		reason = "this database is a copy of the one that osa_validation was installed in";
	else if (install->node[0] == '\0')
		osa_store_set_place(node, mark, timeline);
	else if (strcmp(install->node, node) != 0 || strcmp(install->node_mark, mark) != 0)
		reason = "this data directory is a copy of the one that osa_validation ran in before";
	else if (install->timeline != timeline)
		reason = "this server was promoted, or recovered to a point in time, since osa_validation ran before";
	if (reason == NULL)
		return;
	if (!install->mismatch)
		osa_store_mark_copy(reason, fork ? "fork" : "succession");
	install->paused = install->mismatch = true;
	ereport(WARNING,
			(errmsg("osa_validation is paused: %s", reason),
			 fork ?
			 errhint("Call osa_resume(take_over => true) to let this copy validate on its own; the original goes on.") :
			 errhint("Once the original is stopped for good, call osa_resume(take_over => true).")));
}

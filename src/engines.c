/*
 * engines.c
 *		The state of each runner, and what is asked of it beside the calls of
 *		attempts.  Runs in the worker's loop; callbacks only note what came,
 *		osa_engines_turn acts on it.
 *
 *		DOWN --due--> PROBING --answers--> LISTING --sorted--> UP
 *		  ^               |                   |                 |
 *		  +---------------+----- fails -------+-----------------+
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"



#include "engines.h"
#include "guc.h"
#include "shmem.h"

#define BACKOFF_FIRST_MS	250
#define BACKOFF_MAX_MS		5000
/* Events can be missed, so what runs is listed now and then. */
#define LIST_WANTED_MS		10000
#define LIST_IDLE_MS		60000
#define IMAGE_SEEN_MS		60000
#define DISPOSE_MAX_MS		60000
#define NOOP_IN_FLIGHT		100

typedef struct Disposal
{
	dlist_node	node;
	Engine	   *engine;
	char		name[OSA_CONTAINER_NAME_LEN + 1];
	bool		leftover;		/* counted in engine->n_removals until tried */
	RunnerCall *call;
	bool		reply_ready;
	RunnerVerdict verdict;
	int			tries;
	TimestampTz next_at;
} Disposal;

static dlist_head engines = DLIST_STATIC_INIT(engines);
static dlist_head disposals = DLIST_STATIC_INIT(disposals);
static EngineHooks hooks;
static char node_id[40];
static MemoryContext engines_context;

static void open_runner(Engine *engine);
static void close_runner(Engine *engine);
static void engine_turn(Engine *engine, TimestampTz now);
static void engine_replied(Engine *engine, TimestampTz now);
static void start_probe(Engine *engine);
static void start_list(Engine *engine);
static void go_down(Engine *engine, const char *message, bool confirmed);
static void go_up(Engine *engine, TimestampTz now);
static void well_again(Engine *engine);
static bool disposal_turn(Disposal *disposal, TimestampTz now);
static void disposal_tried(Disposal *disposal);
static int	backoff_ms(int failures, int max_ms);
static void show(Engine *engine);
static void on_reply(void *arg, const RunnerReply *reply);
static void on_list(void *arg, const RunnerReply *reply);
static void on_notice(void *arg, const char *name);
static void on_disposed(void *arg, const RunnerReply *reply);

void
osa_engines_open(const EngineHooks *engine_hooks, const char *node)
{
	hooks = *engine_hooks;
	strlcpy(node_id, node, sizeof(node_id));
	engines_context = AllocSetContextCreate(TopMemoryContext, "osa engines", ALLOCSET_DEFAULT_SIZES);
	dlist_init(&engines);
	dlist_init(&disposals);
}

void
osa_engines_close(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engines)
	{
		Engine	   *engine = dlist_container(Engine, node, iter.cur);

		close_runner(engine);
		if (engine->shown >= 0)
			osa_hide_runner(engine->shown);
		engine->shown = -1;
	}
}

void
osa_engines_configure(const RunnerRow *rows, int n)
{
	dlist_iter	iter;
	Engine	   *local = osa_engine_get("local");

	dlist_foreach(iter, &engines)
	{
		Engine	   *engine = dlist_container(Engine, node, iter.cur);

		/* the nameless one, of deliveries that need no runner, is always there */
		engine->configured = engine->row.name[0] == '\0';
	}

	memset(&local->row, 0, sizeof(local->row));
	strcpy(local->row.name, "local");
	strcpy(local->row.kind, "docker");
	local->row.enabled = true;
	local->configured = true;
	for (int i = 0; i < n; i++)
	{
		Engine	   *engine = osa_engine_get(rows[i].name);

		engine->row = rows[i];
		engine->configured = true;
	}

	dlist_foreach(iter, &engines)
	{
		Engine	   *engine = dlist_container(Engine, node, iter.cur);

		if (engine->configured && engine->row.name[0] != '\0')
			open_runner(engine);
		show(engine);
	}
}

/* Opens the runner of an engine, or another one when its endpoint changed. */
static void
open_runner(Engine *engine)
{
	const RunnerMethods *methods = osa_runner_methods(engine->row.kind);
	const char *endpoint = engine->row.endpoint[0] != '\0' ? engine->row.endpoint : osa_guc_engine_socket;
	MemoryContext old;

	engine->noop = strcmp(engine->row.kind, "noop") == 0;
	if (engine->noop || methods == NULL)
	{
		if (engine->runner != NULL)
			close_runner(engine);
		engine->state = engine->noop ? ENGINE_UP : ENGINE_DOWN;
		return;
	}
	if (engine->runner != NULL && strcmp(engine->endpoint, endpoint) == 0)
		return;
	if (engine->runner != NULL)
	{
		go_down(engine, "its endpoint was changed", false);
		close_runner(engine);
	}
	strlcpy(engine->endpoint, endpoint, sizeof(engine->endpoint));
	old = MemoryContextSwitchTo(engines_context);
	engine->runner = methods->open(engine->row.name, endpoint);
	MemoryContextSwitchTo(old);
	engine->state = ENGINE_DOWN;
	engine->since = GetCurrentTimestamp();
	engine->next_at = 0;
}

static void
close_runner(Engine *engine)
{
	dlist_iter	iter;

	if (engine->runner != NULL)
		engine->runner->methods->close(engine->runner);
	engine->runner = NULL;
	engine->call = engine->watch = NULL;
	engine->reply_ready = false;
	dlist_foreach(iter, &disposals)
	{
		Disposal   *disposal = dlist_container(Disposal, node, iter.cur);

		if (disposal->engine == engine)
			disposal->call = NULL;
	}
}

Engine *
osa_engine_get(const char *name)
{
	dlist_iter	iter;
	Engine	   *engine;

	dlist_foreach(iter, &engines)
	{
		engine = dlist_container(Engine, node, iter.cur);
		if (strcmp(engine->row.name, name) == 0)
			return engine;
	}
	engine = MemoryContextAllocZero(engines_context, sizeof(Engine));
	strlcpy(engine->row.name, name, sizeof(engine->row.name));
	engine->row.enabled = true;
	engine->shown = -1;
	engine->next_at = DT_NOEND;
	engine->list_context = AllocSetContextCreate(engines_context, "osa engine list", ALLOCSET_SMALL_SIZES);
	/* deliveries without a run need no runner */
	engine->noop = name[0] == '\0';
	engine->configured = engine->noop;
	engine->state = engine->noop ? ENGINE_UP : ENGINE_DOWN;
	dlist_push_tail(&engines, &engine->node);
	return engine;
}

int
osa_engine_max_in_flight(const Engine *engine)
{
	if (engine->row.max_in_flight > 0)
		return engine->row.max_in_flight;
	if (engine->noop)
		return NOOP_IN_FLIGHT;
	return 2 * Max(1, (int) sysconf(_SC_NPROCESSORS_ONLN));
}

int64
osa_engine_max_memory(const Engine *engine)
{
	if (engine->row.max_memory > 0)
		return engine->row.max_memory;
	return (int64) osa_guc_max_memory * 1024 * 1024;
}

int
osa_engine_max_busy(void)
{
	return Max(4, 2 * (int) sysconf(_SC_NPROCESSORS_ONLN));
}

bool
osa_engines_have_room(int n)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engines)
	{
		Engine	   *engine = dlist_container(Engine, node, iter.cur);

		if (engine->configured && osa_engine_room(engine) < n)
			return false;
	}
	return true;
}

int
osa_engine_room(const Engine *engine)
{
	if (!engine->configured || !engine->row.enabled || engine->state != ENGINE_UP)
		return 0;
	return Max(0, osa_engine_max_in_flight(engine) - engine->in_flight - engine->n_returning);
}

void
osa_engine_failed(Engine *engine, const char *message, bool exhausted)
{
	if (engine->state == ENGINE_DOWN)
		return;
	engine->exhausted |= exhausted;
	go_down(engine, message, exhausted);
}

void
osa_engine_suspect(Engine *engine)
{
	if (engine->state == ENGINE_UP && !engine->noop)
		engine->suspect = true;
}

void
osa_engine_started(Engine *engine)
{
	engine->failures = 0;
	if (engine->exhausted)
	{
		engine->exhausted = false;
		well_again(engine);
		show(engine);
	}
}

bool
osa_engine_saw_image(const Engine *engine, const char *id)
{
	for (int i = 0; i < OSA_IMAGES_SEEN; i++)
	{
		if (strcmp(engine->images[i].id, id) == 0)
			return !TimestampDifferenceExceeds(engine->images[i].at, GetCurrentTimestamp(), IMAGE_SEEN_MS);
	}
	return false;
}

void
osa_engine_note_image(Engine *engine, const char *id)
{
	ImageSeen  *entry = &engine->images[0];

	/* its own entry, or the oldest one */
	for (int i = 0; i < OSA_IMAGES_SEEN; i++)
	{
		if (strcmp(engine->images[i].id, id) == 0)
		{
			entry = &engine->images[i];
			break;
		}
		if (engine->images[i].at < entry->at)
			entry = &engine->images[i];
	}
	strlcpy(entry->id, id, sizeof(entry->id));
	entry->at = GetCurrentTimestamp();
}

void
osa_engine_forget_images(Engine *engine)
{
	memset(engine->images, 0, sizeof(engine->images));
}

void
osa_engine_dispose(Engine *engine, const char *container, bool leftover)
{
	Disposal   *disposal;
	dlist_iter	iter;

	dlist_foreach(iter, &disposals)
	{
		disposal = dlist_container(Disposal, node, iter.cur);
		if (disposal->engine == engine && strcmp(disposal->name, container) == 0)
			return;
	}
	disposal = MemoryContextAllocZero(engines_context, sizeof(Disposal));
	disposal->engine = engine;
	disposal->leftover = leftover;
	strlcpy(disposal->name, container, sizeof(disposal->name));
	if (leftover)
		engine->n_removals++;
	dlist_push_tail(&disposals, &disposal->node);
}

void
osa_engine_enforces(Engine *engine, const char *unenforced)
{
	if (strcmp(engine->unenforced, unenforced) == 0)
		return;
	strlcpy(engine->unenforced, unenforced, sizeof(engine->unenforced));
	engine->show_again = true;
}

void
osa_engines_show(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engines)
	{
		Engine	   *engine = dlist_container(Engine, node, iter.cur);

		if (engine->show_again || engine->in_flight != engine->in_flight_shown)
			show(engine);
	}
}

void
osa_engines_turn(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engines)
		engine_turn(dlist_container(Engine, node, iter.cur), now);
	(void) osa_disposals_turn(now);
}

int
osa_disposals_turn(TimestampTz now)
{
	dlist_mutable_iter iter;
	int			n = 0;

	dlist_foreach_modify(iter, &disposals)
	{
		if (!disposal_turn(dlist_container(Disposal, node, iter.cur), now))
			n++;
	}
	return n;
}

TimestampTz
osa_engines_deadline(void)
{
	dlist_iter	iter;
	TimestampTz deadline = DT_NOEND;

	dlist_foreach(iter, &engines)
	{
		Engine	   *engine = dlist_container(Engine, node, iter.cur);

		if (engine->runner == NULL)
			continue;
		if (engine->reply_ready || engine->watch_broke || engine->suspect)
			return 0;
		if (engine->call == NULL && engine->next_at < deadline)
			deadline = engine->next_at;
	}
	dlist_foreach(iter, &disposals)
	{
		Disposal   *disposal = dlist_container(Disposal, node, iter.cur);

		if (disposal->reply_ready)
			return 0;
		if (disposal->call == NULL && disposal->engine->state >= ENGINE_LISTING &&
			disposal->next_at < deadline)
			deadline = disposal->next_at;
	}
	return deadline;
}

static void
engine_turn(Engine *engine, TimestampTz now)
{
	if (engine->runner == NULL)
		return;
	if (engine->watch_broke)
	{
		engine->watch_broke = false;
		engine->watch = NULL;
		if (engine->state >= ENGINE_LISTING)
			go_down(engine, "its stream of events ended", false);
	}
	if (engine->reply_ready)
	{
		engine->reply_ready = false;
		engine_replied(engine, now);
	}
	if (engine->sorting && now >= engine->next_at)
	{
		engine->sorting = !hooks.sort(engine);
		engine->next_at = TimestampTzPlusMilliseconds(now, engine->sorting ? 1000 :
													  hooks.wanted(engine) ? LIST_WANTED_MS : LIST_IDLE_MS);
	}
	if (engine->state == ENGINE_LISTING && engine->call == NULL && !engine->sorting && engine->n_removals == 0)
		go_up(engine, now);
	if (engine->call != NULL)
		return;

	if (engine->state == ENGINE_DOWN && now >= engine->next_at)
		start_probe(engine);
	else if (engine->state == ENGINE_UP && engine->suspect)
	{
		engine->suspect = false;
		start_probe(engine);
	}
	else if (engine->state == ENGINE_UP && now >= engine->next_at)
		start_list(engine);
}

/* A probe or a list ended. */
static void
engine_replied(Engine *engine, TimestampTz now)
{
	bool		was_probe = engine->state == ENGINE_PROBING;

	if (engine->verdict != RUNNER_OK)
	{
		if (engine->state == ENGINE_DOWN)
			return;
		go_down(engine, engine->last_error, true);
	}
	else if (was_probe)
	{
		engine->state = ENGINE_LISTING;
		start_list(engine);
	}
	else if (engine->sorting)
		engine->next_at = now;
}

static void
start_probe(Engine *engine)
{
	if (engine->state == ENGINE_DOWN)
		engine->state = ENGINE_PROBING;
	engine->sorting = false;
	engine->call = engine->runner->methods->probe(engine->runner, on_reply, engine);
}

static void
start_list(Engine *engine)
{
	if (engine->watch == NULL)
		engine->watch = engine->runner->methods->watch(engine->runner, OSA_LABEL_NODE, node_id,
													   on_notice, engine);
	engine->call = engine->runner->methods->list(engine->runner, OSA_LABEL_NODE, node_id,
												 on_list, engine);
}

/* confirmed: a probe failed, so that it is worth a warning. */
static void
go_down(Engine *engine, const char *message, bool confirmed)
{
	EngineState before = engine->state;
	TimestampTz now = GetCurrentTimestamp();

	if (engine->call != NULL)
		engine->runner->methods->abort(engine->call);
	if (engine->watch != NULL)
		engine->runner->methods->abort(engine->watch);
	engine->call = engine->watch = NULL;
	engine->reply_ready = engine->sorting = engine->suspect = false;
	engine->state = ENGINE_DOWN;
	if (message != engine->last_error)
		strlcpy(engine->last_error, message, sizeof(engine->last_error));
	/* a break that no probe confirmed is looked at at once */
	engine->next_at = confirmed || engine->failures > 0 ?
		TimestampTzPlusMilliseconds(now, backoff_ms(engine->failures, BACKOFF_MAX_MS)) : now;
	engine->failures++;

	osa_engine_forget_images(engine);
	if (before == ENGINE_UP)
	{
		engine->since = engine->down_since = now;
		hooks.down(engine);
	}
	if (confirmed && !engine->warned && hooks.wanted(engine))
	{
		engine->warned = true;
		ereport(WARNING,
				(errmsg("runner \"%s\" is down: %s", engine->row.name, engine->last_error),
				 errdetail("Steps wait without spending an attempt; the runner is tried again until it answers.")));
	}
	show(engine);
}

static void
go_up(Engine *engine, TimestampTz now)
{
	engine->state = ENGINE_UP;
	engine->since = now;
	if (!engine->ever_up)
		ereport(osa_guc_worker_log_level,
				(errmsg("runner \"%s\" is up: %s", engine->row.name, engine->version)));
	engine->ever_up = true;
	/* an exhausted engine answers too: it is well when it starts something */
	if (!engine->exhausted)
		well_again(engine);
	show(engine);
	hooks.up(engine);
}

/* The end of what was warned of. */
static void
well_again(Engine *engine)
{
	if (engine->warned)
		ereport(LOG, (errmsg("runner \"%s\" is up again", engine->row.name)));
	engine->warned = false;
	engine->last_error[0] = '\0';
}

/* True: it is done, and freed. */
static bool
disposal_turn(Disposal *disposal, TimestampTz now)
{
	Engine	   *engine = disposal->engine;

	if (disposal->reply_ready)
	{
		disposal->reply_ready = false;
		disposal_tried(disposal);
		if (disposal->verdict == RUNNER_OK || disposal->verdict == RUNNER_ABSENT)
		{
			dlist_delete(&disposal->node);
			pfree(disposal);
			return true;
		}
		if (disposal->verdict == RUNNER_DOWN)
			osa_engine_failed(engine, "a container could not be removed", false);
		disposal->next_at = TimestampTzPlusMilliseconds(now, backoff_ms(disposal->tries++, DISPOSE_MAX_MS));
	}
	if (disposal->call == NULL && engine->state >= ENGINE_LISTING && now >= disposal->next_at &&
		engine->runner != NULL)
		disposal->call = engine->runner->methods->remove(engine->runner, disposal->name, on_disposed, disposal);
	return false;
}

/* The start of attempts waits for leftovers to have been tried once. */
static void
disposal_tried(Disposal *disposal)
{
	if (!disposal->leftover)
		return;
	disposal->leftover = false;
	disposal->engine->n_removals--;
	if (disposal->verdict == RUNNER_OK)
		osa_count(COUNTER_LEFTOVERS, 1);
}

static int
backoff_ms(int failures, int max_ms)
{
	return failures >= 10 ? max_ms : Min(max_ms, BACKOFF_FIRST_MS << failures);
}

static void
show(Engine *engine)
{
	OsaRunnerShown shown = {0};

	engine->in_flight_shown = engine->in_flight;
	engine->show_again = false;
	if (engine->row.name[0] == '\0')
		return;
	if (!engine->configured)
	{
		if (engine->shown >= 0)
			osa_hide_runner(engine->shown);
		engine->shown = -1;
		return;
	}
	shown.used = true;
	shown.database = MyDatabaseId;
	strlcpy(shown.name, engine->row.name, sizeof(shown.name));
	strlcpy(shown.kind, engine->row.kind, sizeof(shown.kind));
	strlcpy(shown.endpoint, engine->endpoint, sizeof(shown.endpoint));
	strcpy(shown.state, !engine->row.enabled ? "disabled" :
		   engine->state == ENGINE_UP ? "up" :
		   engine->ever_up || engine->failures > 0 ? "down" : "unknown");
	strlcpy(shown.version, engine->version, sizeof(shown.version));
	strlcpy(shown.last_error, engine->last_error, sizeof(shown.last_error));
	strlcpy(shown.unenforced, engine->unenforced, sizeof(shown.unenforced));
	shown.since = engine->since;
	shown.in_flight = engine->in_flight;
	engine->shown = osa_show_runner(engine->shown, &shown);
}

/* ---- callbacks: they only note what came ---- */

static void
on_reply(void *arg, const RunnerReply *reply)
{
	Engine	   *engine = arg;

	engine->call = NULL;
	engine->reply_ready = true;
	engine->verdict = reply->verdict;
	if (reply->verdict == RUNNER_OK)
		strlcpy(engine->version, reply->text, sizeof(engine->version));
	else
		strlcpy(engine->last_error, reply->message, sizeof(engine->last_error));
}

static void
on_list(void *arg, const RunnerReply *reply)
{
	Engine	   *engine = arg;

	engine->call = NULL;
	engine->reply_ready = true;
	engine->verdict = reply->verdict;
	if (reply->verdict != RUNNER_OK)
	{
		strlcpy(engine->last_error, reply->message, sizeof(engine->last_error));
		return;
	}
	MemoryContextReset(engine->list_context);
	engine->n_listed = 0;
	engine->listed = MemoryContextAllocHuge(engine->list_context,
											sizeof(ListedContainer) * Max(reply->n_facts, 1));
	for (int i = 0; i < reply->n_facts; i++)
	{
		ListedContainer *listed = engine->listed + engine->n_listed;
		const ContainerFacts *facts = reply->facts + i;

		/* a container that only looks like ours is nobody's business here */
		if (strlen(facts->name) != OSA_CONTAINER_NAME_LEN || !osa_identity_parse(facts, &listed->identity))
			continue;
		strcpy(listed->name, facts->name);
		listed->phase = facts->phase;
		engine->n_listed++;
	}
	engine->sorting = true;
}

static void
on_notice(void *arg, const char *name)
{
	Engine	   *engine = arg;

	if (name != NULL)
		hooks.notice(engine, name);
	else
		engine->watch_broke = true;
}

static void
on_disposed(void *arg, const RunnerReply *reply)
{
	Disposal   *disposal = arg;

	disposal->call = NULL;
	disposal->reply_ready = true;
	disposal->verdict = reply->verdict;
}

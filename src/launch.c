/*
 * launch.c
 *		The first half of a flight's walk: from the step's records to a
 *		started container, or to one that was found (adoption).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "careful.h"
#include "guc.h"

/* Work on an input archive between two looks at everything else. */
#define INPUT_SLICE_MS	10
#define FILE_CHUNK		(256 * 1024)
/* Starts of one container that the engine fails, before it is replaced. */
#define STARTS_MAX		2
/* Between two looks whether an earlier container is gone. */
#define CLEAR_PAUSE_S	0.3

static void load_unit(void *arg);
static void on_earlier(void *arg, const RunnerReply *reply);
static void told_unit(void *arg);
static void pin_unit(void *arg);
static void chunk_unit(void *arg);
static bool limits_fit(Flight *f);
static void fill_spec(Flight *f, ContainerSpec *spec, IdentityText *text);
static bool begin_input(Flight *f);

/* ---- STRIKE, LOAD ---- */

void
osa_phase_strike(Flight *f)
{
	if (osa_careful_enter(f))
		osa_flight_enter(f, PHASE_LOAD);
}

void
osa_phase_load(Flight *f)
{
	if (f->step->broken.kind != FAILURE_NONE)
	{
		osa_flight_fail(f, f->step->broken.kind, "%s", f->step->broken.message);
		return;
	}
	if (f->engine->noop)
	{
		/* every record passes; the store counts them */
		f->result.kind = RESULT_JUDGED;
		f->result.n_passed = 1;
		f->judged = true;
		osa_flight_enter(f, PHASE_COMMIT);
		return;
	}
	if (!limits_fit(f) || !osa_flight_guard(f, load_unit))
		return;
	if (f->n_records == 0)
	{
		/* earlier attempts left nothing to do */
		f->result = f->partial;
		f->result.kind = RESULT_JUDGED;
		f->judged = true;
		osa_flight_enter(f, PHASE_COMMIT);
	}
	else
		osa_flight_enter(f, f->must_clear ? PHASE_CLEAR : f->maybe_exists ? PHASE_RESOLVE : PHASE_IMAGE);
}

static bool
limits_fit(Flight *f)
{
	int64		max_memory = osa_engine_max_memory(f->engine);
	double		max_cpu = f->engine->row.max_cpu;

	if (f->step->limits.memory > max_memory)
		osa_flight_fail(f, FAILURE_CONFIG, "limit memory of %lld bytes is above the runner's ceiling of %lld bytes",
						(long long) f->step->limits.memory, (long long) max_memory);
	else if (max_cpu > 0 && f->step->limits.cpu > max_cpu)
		osa_flight_fail(f, FAILURE_CONFIG, "limit cpu of %g is above the runner's ceiling of %g",
						f->step->limits.cpu, max_cpu);
	else
		return true;
	return false;
}

static void
load_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("loading a step");
	memset(&f->partial, 0, sizeof(f->partial));
	f->n_records = osa_store_load_records(f->run->id, f->step->hook_index, &f->records,
										  &f->partial, f->attempt_context);
	osa_tx_commit(OSA_TX_ASYNC);
}

/* ---- CLEAR: attempt n + 1 has a container once attempt n's is gone ---- */

/*
 * Whoever ended the attempt before removes its container, but may have been
 * ended or refused before that was done.
 */
void
osa_phase_clear(Flight *f)
{
	char		run_id[24];

	if (!osa_flight_reply(f))
	{
		snprintf(run_id, sizeof(run_id), "%lld", (long long) f->run->id);
		f->call = f->engine->runner->methods->list(f->engine->runner, OSA_LABEL_RUN, run_id,
												   on_earlier, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->n_earlier == 0)
	{
		f->must_clear = false;
		osa_flight_enter(f, f->maybe_exists ? PHASE_RESOLVE : PHASE_IMAGE);
		return;
	}
	osa_flight_flush(f);
	for (int i = 0; i < f->n_earlier; i++)
		osa_engine_dispose(f->engine, f->earlier[i], false);
	osa_flight_wait(f, CLEAR_PAUSE_S, PHASE_CLEAR);
}

/* A RunnerDone: notes this step's containers of other launches. */
static void
on_earlier(void *arg, const RunnerReply *reply)
{
	Flight	   *f = arg;

	ContainerFacts own = f->facts;

	osa_flight_on_reply(f, reply);
	f->facts = own;
	f->n_earlier = 0;
	for (int i = 0; i < reply->n_facts && f->n_earlier < OSA_EARLIER_MAX; i++)
	{
		const ContainerFacts *facts = reply->facts + i;
		Identity	identity;

		if (osa_identity_parse(facts, &identity) &&
			memcmp(&identity.install, &osa_flight_install()->id, UUID_LEN) == 0 &&
			identity.database == MyDatabaseId && identity.run_id == f->run->id &&
			identity.hook_index == f->step->hook_index &&
			memcmp(&identity.launch, &f->step->launch_id, UUID_LEN) != 0 &&
			strlen(facts->name) == OSA_CONTAINER_NAME_LEN)
			strcpy(f->earlier[f->n_earlier++], facts->name);
	}
}

/* ---- RESOLVE: where does the container stand? ---- */

void
osa_phase_resolve(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		f->call = f->engine->runner->methods->inspect(f->engine->runner, f->container, NULL,
													  osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->verdict == RUNNER_ABSENT)
	{
		f->maybe_exists = false;
		if (f->may_have_run)
			osa_flight_gone(f, "container is gone");
		else
			/* Podman: what it made half before it was killed keeps its name */
			osa_flight_enter(f, f->name_taken ? PHASE_REPLACE : PHASE_IMAGE);
		return;
	}
	if (f->verdict != RUNNER_OK)
	{
		osa_flight_fail(f, FAILURE_RUNTIME, "container could not be inspected: %s", f->message);
		return;
	}

	f->maybe_exists = true;
	if (f->start_sent_at == 0 && f->facts.started_at != 0 && !osa_flight_guard(f, told_unit))
		return;
	strlcpy(f->container_id, f->facts.id, sizeof(f->container_id));
	strlcpy(f->image_id, f->facts.image_id, sizeof(f->image_id));
	/* before the phase is entered, and so shown */
	if (f->start_sent_at == 0 && !f->adopted &&
		(f->facts.phase == CONTAINER_RUNNING || f->facts.phase == CONTAINER_EXITED))
	{
		f->adopted = true;
		osa_count(COUNTER_ADOPTED, 1);
	}
	switch (f->facts.phase)
	{
		case CONTAINER_CREATED:
			/* an engine that was killed in a start may never start it again */
			osa_flight_enter(f, f->troubled_in == PHASE_START && f->n_errors_5xx >= STARTS_MAX ?
							 PHASE_REPLACE : PHASE_WHOLE);
			break;
		case CONTAINER_RUNNING:
			f->may_have_run = true;
			f->progress_at = 0;
			osa_flight_enter(f, PHASE_RUNNING);
			break;
		case CONTAINER_EXITED:
			f->may_have_run = true;
			osa_flight_enter(f, PHASE_COLLECT);
			break;
		case CONTAINER_LOST:
			osa_flight_gone(f, "container was lost in a restart of its host or engine");
			break;
	}
}

/* The progress of an adopted container is read from its start again. */
static void
told_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("counting progress");
	f->progress_told = osa_store_count_progress(f->run->id, f->step->hook_index, f->facts.started_at);
	osa_tx_commit(OSA_TX_ASYNC);
}

void
osa_phase_whole(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		f->call = f->engine->runner->methods->input_is_whole(f->engine->runner, f->container,
															 osa_flight_on_reply, f);
		return;
	}
	/* one that an engine can't even look into any more is no loss */
	if (!(f->verdict == RUNNER_ERROR && f->n_errors_5xx >= STARTS_MAX) && osa_flight_troubled(f))
		return;
	/* never a second PUT: the first may still be unpacking */
	osa_flight_enter(f, f->verdict == RUNNER_OK ? PHASE_START : PHASE_REPLACE);
}

void
osa_phase_replace(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		osa_flight_flush(f);
		f->call = f->engine->runner->methods->remove(f->engine->runner, f->container,
													 osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	f->maybe_exists = f->may_have_run = false;
	osa_flight_enter(f, PHASE_IMAGE);
}

/* ---- IMAGE, PIN ---- */

void
osa_phase_image(Flight *f)
{
	const char *pinned = f->step->image_id;

	if (!osa_flight_reply(f))
	{
		if (pinned && osa_engine_saw_image(f->engine, pinned))
		{
			strlcpy(f->image_id, pinned, sizeof(f->image_id));
			osa_flight_enter(f, PHASE_INPUT);
			return;
		}
		/* once pinned, the id is what counts; a reference may have moved on */
		f->call = f->engine->runner->methods->ensure_image(f->engine->runner,
														   pinned ? pinned : f->step->image,
														   osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->verdict != RUNNER_OK)
	{
		osa_flight_fail(f, FAILURE_IMAGE_PULL, pinned ?
						"image \"%s\" is not available as it was pinned (%s): %s" :
						"image \"%s\" is not available%s: %s",
						f->step->image, pinned ? pinned : "", f->message);
		return;
	}
	strlcpy(f->image_id, f->text ? f->text : "", sizeof(f->image_id));
	osa_engine_note_image(f->engine, f->image_id);
	osa_flight_enter(f, pinned ? PHASE_INPUT : PHASE_PIN);
}

void
osa_phase_pin(Flight *f)
{
	if (!osa_flight_guard(f, pin_unit))
		return;
	if (f->step->image_id == NULL)
		osa_flight_fail(f, FAILURE_CONFIG, "release of the hook is gone");
	else
	{
		strlcpy(f->image_id, f->step->image_id, sizeof(f->image_id));
		osa_flight_enter(f, PHASE_INPUT);
	}
}

static void
pin_unit(void *arg)
{
	Flight	   *f = arg;
	XLogRecPtr	lsn;

	osa_tx_begin("pinning an image");
	f->step->image_id = osa_store_pin_image(f->step->release_id, f->image_id, f->context);
	lsn = osa_tx_commit(OSA_TX_ASYNC);
	f->gate = Max(f->gate, lsn);
}

/* ---- INPUT ---- */

void
osa_phase_input(Flight *f)
{
	instr_time	start;
	instr_time	elapsed;
	InputState	state = INPUT_MORE;

	if (!begin_input(f))
		return;
	INSTR_TIME_SET_CURRENT(start);
	do
	{
		state = osa_input_step(f->builder);
		if (state == INPUT_NEEDS_FILE && !osa_flight_guard(f, chunk_unit))
			return;
		if (f->phase != PHASE_INPUT)
			return;
		INSTR_TIME_SET_CURRENT(elapsed);
		INSTR_TIME_SUBTRACT(elapsed, start);
	} while (state != INPUT_DONE && state != INPUT_FAILED &&
			 INSTR_TIME_GET_MILLISEC(elapsed) < INPUT_SLICE_MS);

	if (state == INPUT_FAILED)
	{
		Failure		failure = *osa_input_failure(f->builder);

		osa_flight_fail(f, failure.kind, "%s", failure.message);
	}
	else if (state == INPUT_DONE)
	{
		osa_input_end(f->builder);
		f->builder = NULL;
		osa_flight_enter(f, PHASE_CREATE);
	}
}

/* False: it is built already, and the phase moved on. */
static bool
begin_input(Flight *f)
{
	if (f->builder != NULL)
		return true;
	if (f->input != NULL)
	{
		osa_flight_enter(f, PHASE_CREATE);
		return false;
	}
	f->input = osa_spool_open(f->attempt_context);
	f->builder = osa_input_begin(f->attempt_context, f->records, f->n_records, f->step->config,
								 osa_guc_files_root, (int64) osa_guc_max_input_bytes * 1024, f->input);
	return true;
}

/* Gives the builder the next bytes of an attached file. */
static void
chunk_unit(void *arg)
{
	Flight	   *f = arg;
	int64		offset;
	const InputFile *file = osa_input_wants(f->builder, &offset);
	int			got = 0;
	char	   *chunk;

	osa_tx_begin("reading a file");
	chunk = osa_store_file_chunk(file->hash, offset, FILE_CHUNK, &got, f->attempt_context);
	osa_tx_commit(OSA_TX_ASYNC);
	if (chunk == NULL || got == 0)
		osa_flight_fail(f, FAILURE_CONFIG, "content of file \"%s\" is gone", file->path);
	else
		osa_input_file_data(f->builder, chunk, got);
	if (chunk != NULL)
		pfree(chunk);
}

/* ---- CREATE, VERIFY, PUT, START ---- */

void
osa_phase_create(Flight *f)
{
	ContainerSpec spec = {0};
	IdentityText text;

	if (!osa_flight_reply(f))
	{
		if (f->input == NULL)
		{
			osa_flight_enter(f, PHASE_IMAGE);
			return;
		}
		if (!osa_flight_get_busy(f))
			return;
		fill_spec(f, &spec, &text);
		osa_flight_flush(f);
		f->maybe_exists = true;
		f->call = f->engine->runner->methods->create(f->engine->runner, &spec,
													 osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	switch (f->verdict)
	{
		case RUNNER_OK:
			strlcpy(f->container_id, f->text ? f->text : "", sizeof(f->container_id));
			osa_flight_enter(f, PHASE_VERIFY);
			break;
		case RUNNER_EXISTS:
			/* an answer that came too late, or an earlier worker's */
			if (!f->name_taken)
			{
				f->name_taken = true;
				osa_flight_enter(f, PHASE_RESOLVE);
				break;
			}
			f->verdict = RUNNER_ERROR;
			(void) osa_flight_troubled(f);
			break;
		case RUNNER_ABSENT:
			f->maybe_exists = false;
			if (osa_engine_saw_image(f->engine, f->image_id))
			{
				/* it was there a moment ago: ask for it once more */
				osa_engine_forget_images(f->engine);
				osa_flight_enter(f, PHASE_IMAGE);
			}
			else
				osa_flight_fail(f, FAILURE_IMAGE_PULL, "image \"%s\" is gone: %s", f->step->image, f->message);
			break;
		default:
			f->maybe_exists = false;
			osa_flight_fail(f, FAILURE_CONFIG, "container was refused: %s", f->message);
			break;
	}
}

static void
fill_spec(Flight *f, ContainerSpec *spec, IdentityText *text)
{
	Identity	identity = {0};

	identity.install = osa_flight_install()->id;
	strlcpy(identity.node, osa_flight_node(), sizeof(identity.node));
	identity.database = MyDatabaseId;
	identity.run_id = f->run->id;
	identity.hook_index = f->step->hook_index;
	identity.attempt = f->step->attempt;
	identity.launch = f->step->launch_id;
	osa_identity_labels(&identity, text, spec);
	spec->name = f->container;
	spec->image_id = f->image_id;
	spec->hook_name = f->step->hook;
	spec->limits = &f->step->limits;
	spec->memory = f->step->memory > 0 ? f->step->memory : f->step->limits.memory;
}

void
osa_phase_verify(Flight *f)
{
	ContainerSpec spec = {0};
	IdentityText text;

	if (!osa_flight_reply(f))
	{
		fill_spec(f, &spec, &text);
		f->call = f->engine->runner->methods->inspect(f->engine->runner, f->container, &spec,
													  osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->verdict != RUNNER_OK)
	{
		osa_flight_enter(f, PHASE_RESOLVE);
		return;
	}
	osa_engine_enforces(f->engine, f->facts.unenforced);
	if (f->facts.unenforced[0] != '\0' && !f->engine->row.accept_unenforced)
	{
		osa_flight_fail(f, FAILURE_CONFIG, "the engine does not enforce what was asked: %s",
						f->facts.unenforced);
		return;
	}
	osa_flight_enter(f, PHASE_PUT);
}

void
osa_phase_put(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		osa_spool_rewind(f->input);
		f->call = f->engine->runner->methods->put(f->engine->runner, f->container, f->input,
												  osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->verdict == RUNNER_OK)
		osa_flight_enter(f, PHASE_START);
	else if (f->verdict == RUNNER_ABSENT)
		osa_flight_enter(f, PHASE_RESOLVE);
	else
		osa_flight_fail(f, FAILURE_RUNTIME, "input could not be put into the container: %s", f->message);
}

void
osa_phase_start(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		if (!osa_flight_get_busy(f))
			return;
		osa_flight_flush(f);
		f->may_have_run = true;
		f->start_sent_at = GetCurrentTimestamp();
		f->call = f->engine->runner->methods->start(f->engine->runner, f->container,
													osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->verdict == RUNNER_OK)
	{
		osa_engine_started(f->engine);
		osa_count(COUNTER_CONTAINERS, 1);
		if (f->input != NULL)
			osa_spool_close(f->input);
		f->input = NULL;
		f->progress_at = 0;
		f->wake_at = 0;
		osa_flight_enter(f, PHASE_RUNNING);
	}
	else if (f->verdict == RUNNER_ABSENT)
		osa_flight_fail(f, FAILURE_RUNTIME, "container vanished before it was started");
	else
		osa_flight_fail(f, FAILURE_CONFIG, "container could not be started: %s", f->message);
}

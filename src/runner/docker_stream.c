/*
 * docker_stream.c
 *		The verbs that move many bytes: put, collect, progress, log, watch.
 *
 * Runs in the worker.  Bytes go from libcurl's callbacks straight into spools
 * and fixed buffers; nothing is kept whole in memory.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "docker_call.h"
#include "docker_decode.h"
#include "docker_reply.h"

#define MIB					(1024 * 1024)
/* The engine bounds a log's files; no tail= is asked for, since Podman joins
 * the wrong lines with it. */
#define MAX_LOG_BODY		(64 * MIB)
#define MAX_EVENT_BUFFER	(4 * MIB)
/* What a tar has around one file's bytes. */
#define TAR_ROOM			(64 * 1024)

typedef struct CollectState
{
	Spool	   *spool;
	int			error;			/* errno of a write that failed */
} CollectState;

typedef struct ProgressState
{
	TarPiece	piece;
} ProgressState;

typedef struct LogState
{
	LogTail		tail;
} LogState;

typedef struct WatchState
{
	LineBuffer	lines;
	MemoryContext scratch;		/* for one event: the stream may last months */
	void	   *arg;			/* of notice, once the stream broke */
} WatchState;

static void put_done(RunnerCall *call, const HttpReply *http);
static ssize_t put_source(void *arg, char *data, size_t len);
static void collect_done(RunnerCall *call, const HttpReply *http);
static bool collect_sink(void *arg, const char *data, size_t len);
static void progress_stat_done(RunnerCall *call, const HttpReply *http);
static bool progress_sink(void *arg, const char *data, size_t len);
static void progress_done(RunnerCall *call, const HttpReply *http);
static bool log_sink(void *arg, const char *data, size_t len);
static void log_done(RunnerCall *call, const HttpReply *http);
static bool init_failed(const char *log);
static bool watch_sink(void *arg, const char *data, size_t len);
static void watch_fed(void *arg);
static void watch_done(RunnerCall *call, const HttpReply *http);

/* The watch whose notice runs: NULL as soon as that ended it. */
static RunnerCall *noticing = NULL;

/* Milliseconds for a transfer. */
static int
transfer_ms(int64 bytes)
{
	int64		mib = Min(bytes / MIB + 1, 24 * 3600);

	return DOCKER_SLOW_MS + (int) (mib * DOCKER_MS_PER_MIB);
}

/* --- put and collect --- */

RunnerCall *
osa_docker_put(Runner *runner, const char *name, Spool *input, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, 0);
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	HttpRequest request;

	osa_spool_rewind(input);
	osa_docker_request(&request, "PUT", transfer_ms(osa_spool_size(input)),
					   "/containers/%s/archive?path=/osa", osa_docker_encode(name));
	request.content_type = "application/x-tar";
	request.source = put_source;
	request.source_arg = input;
	request.source_len = osa_spool_size(input);
	osa_docker_send(call, &request, put_done);
	MemoryContextSwitchTo(outer);
	return call;
}

/* Inside libcurl. */
static ssize_t
put_source(void *arg, char *data, size_t len)
{
	return osa_spool_read(arg, data, len);
}

static void
put_done(RunnerCall *call, const HttpReply *http)
{
	if (osa_docker_ok(http))
		osa_docker_succeed(call);
	else
		osa_docker_fail(call, http);
}

RunnerCall *
osa_docker_collect(Runner *runner, const char *name, Spool *output, int64 max_bytes,
				   RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, sizeof(CollectState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	CollectState *state = call->state;
	HttpRequest request;

	state->spool = output;
	osa_docker_request(&request, "GET", transfer_ms(max_bytes),
					   "/containers/%s/archive?path=/osa/out", osa_docker_encode(name));
	request.sink = collect_sink;
	request.sink_arg = state;
	request.max_body = max_bytes;
	osa_docker_send(call, &request, collect_done);
	MemoryContextSwitchTo(outer);
	return call;
}

/* Inside libcurl. */
static bool
collect_sink(void *arg, const char *data, size_t len)
{
	CollectState *state = arg;

	if (osa_spool_write(state->spool, data, len))
		return true;
	state->error = errno;
	return false;
}

static void
collect_done(RunnerCall *call, const HttpReply *http)
{
	CollectState *state = call->state;

	if (state->error != 0)
		/* our disk is full, not the engine's: waiting helps just as well */
		osa_docker_finish(call, RUNNER_EXHAUSTED,
						  psprintf("could not write a temporary file: %s", strerror(state->error)));
	else if (http->end == HTTP_TOO_LARGE)
		osa_docker_finish(call, RUNNER_TOO_LARGE, pstrdup(http->error));
	else if (osa_docker_ok(http))
		osa_docker_succeed(call);
	else
		osa_docker_fail(call, http);
}

/* --- progress --- */

RunnerCall *
osa_docker_progress(Runner *runner, const char *name, int64 offset, int max_bytes,
					RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, sizeof(ProgressState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	ProgressState *state = call->state;
	HttpRequest request;

	state->piece.offset = offset;
	state->piece.max_len = max_bytes;
	osa_docker_request(&request, "HEAD", DOCKER_QUICK_MS,
					   "/containers/%s/archive?path=/osa/out/progress.jsonl",
					   osa_docker_encode(name));
	osa_docker_send(call, &request, progress_stat_done);
	MemoryContextSwitchTo(outer);
	return call;
}

/* Fetches the file only if it is one and has grown: that is much dearer. */
static void
progress_stat_done(RunnerCall *call, const HttpReply *http)
{
	ProgressState *state = call->state;
	TarPiece   *piece = &state->piece;
	DockerPathStat path_stat;
	HttpRequest request;

	if (http->end == HTTP_ANSWERED && http->status == 404)
	{
		osa_docker_succeed(call);
		return;
	}
	if (!osa_docker_ok(http))
	{
		osa_docker_fail(call, http);
		return;
	}
	if (http->path_stat == NULL || !osa_docker_parse_path_stat(http->path_stat, &path_stat) ||
		!path_stat.is_regular || path_stat.size <= piece->offset)
	{
		osa_docker_succeed(call);
		return;
	}
	piece->max_len = (int) Min(piece->max_len, path_stat.size - piece->offset);
	piece->data = palloc(piece->max_len + 1);
	osa_docker_request(&request, "GET", transfer_ms(piece->offset + piece->max_len),
					   "/containers/%s/archive?path=/osa/out/progress.jsonl",
					   osa_docker_encode(call->name));
	request.sink = progress_sink;
	request.sink_arg = piece;
	request.max_body = piece->offset + piece->max_len + TAR_ROOM;
	osa_docker_send(call, &request, progress_done);
}

/* Inside libcurl.  Goes on to the end, so that the connection can be kept; the
 * cap ends what is much longer. */
static bool
progress_sink(void *arg, const char *data, size_t len)
{
	osa_tar_piece_push(arg, data, len);
	return true;
}

/*
 * progress_done takes what came, however the transfer ended: the cap stopped
 * it, or it broke because the file got shorter while it was read.
 */
static void
progress_done(RunnerCall *call, const HttpReply *http)
{
	ProgressState *state = call->state;

	if (http->status >= 200 && http->status < 300)
	{
		call->reply.text_len = state->piece.len;
		state->piece.data[state->piece.len] = '\0';
		call->reply.text = state->piece.data;
		osa_docker_succeed(call);
	}
	else if (http->end == HTTP_ANSWERED && http->status == 404)
		osa_docker_succeed(call);
	else
		osa_docker_fail(call, http);
}

/* --- log --- */

RunnerCall *
osa_docker_log(Runner *runner, const char *name, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, sizeof(LogState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	LogState   *state = call->state;
	HttpRequest request;

	state->tail.ring = palloc(OSA_LOG_TAIL_BYTES);
	state->tail.ring_size = OSA_LOG_TAIL_BYTES;
	osa_docker_request(&request, "GET", DOCKER_SLOW_MS,
					   "/containers/%s/logs?stdout=1&stderr=1", osa_docker_encode(name));
	request.sink = log_sink;
	request.sink_arg = &state->tail;
	request.max_body = MAX_LOG_BODY;
	osa_docker_send(call, &request, log_done);
	MemoryContextSwitchTo(outer);
	return call;
}

/* Inside libcurl. */
static bool
log_sink(void *arg, const char *data, size_t len)
{
	osa_log_tail_push(arg, data, len);
	return true;
}

static void
log_done(RunnerCall *call, const HttpReply *http)
{
	LogState   *state = call->state;
	char	   *text;

	if (!osa_docker_ok(http) && http->end != HTTP_TOO_LARGE)
	{
		osa_docker_fail(call, http);
		return;
	}
	text = palloc(OSA_LOG_TAIL_BYTES + 1);
	call->reply.text_len = osa_log_tail_copy(&state->tail, text);
	text[call->reply.text_len] = '\0';
	call->reply.text = text;
	if (init_failed(text))
		osa_docker_finish(call, RUNNER_REFUSED, "the image's command could not be executed");
	else
		osa_docker_succeed(call);
}

/*
 * With an init in the container a start succeeds although there is no such
 * command; only the init's own words tell.
 */
static bool
init_failed(const char *log)
{
	if (strncmp(log, "[FATAL tini ", 12) == 0)
		return strstr(log, "exec ") != NULL;
	return strncmp(log, "ERROR (catatonit:", 17) == 0 && strstr(log, "failed to exec") != NULL;
}

/* --- watch --- */

static void
watch_release(RunnerCall *call)
{
	if (noticing == call)
		noticing = NULL;
	osa_lines_free(&((WatchState *) call->state)->lines);
}

/* Podman knows the event as "died", and calls it "die" in what it sends. */
RunnerCall *
osa_docker_watch(Runner *runner, const char *key, const char *value, RunnerNotice notice,
				 void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, NULL, NULL, arg, sizeof(WatchState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	WatchState *state = call->state;
	StringInfoData filter;
	HttpRequest request;

	call->notice = notice;
	call->release = watch_release;
	state->lines.max = MAX_EVENT_BUFFER;
	state->scratch = AllocSetContextCreate(call->context, "osa docker event",
										   ALLOCSET_SMALL_SIZES);
	initStringInfo(&filter);
	appendStringInfoString(&filter, "{\"type\":[\"container\"],\"event\":[\"die\",\"died\"],"
						   "\"label\":[");
	osa_docker_json_string(&filter, psprintf("%s=%s", key, value));
	appendStringInfoString(&filter, "]}");
	osa_docker_request(&request, "GET", 0, "/events?filters=%s", osa_docker_encode(filter.data));
	request.sink = watch_sink;
	request.sink_arg = &state->lines;
	request.fed = watch_fed;
	request.max_body = PG_INT64_MAX;
	request.own_connection = true;
	osa_docker_send(call, &request, watch_done);
	MemoryContextSwitchTo(outer);
	return call;
}

/* Inside libcurl. */
static bool
watch_sink(void *arg, const char *data, size_t len)
{
	return osa_lines_push(arg, data, len);
}

/* A notice may end this watch, or raise. */
static void
watch_fed(void *arg)
{
	RunnerCall *call = arg;
	WatchState *state = call->state;
	char	   *line;
	size_t		len;

	noticing = call;
	while (noticing == call && (line = osa_lines_next(&state->lines, &len)) != NULL)
	{
		MemoryContext outer = MemoryContextSwitchTo(state->scratch);
		char		name[128];
		bool		found = osa_docker_parse_event(line, len, name, sizeof(name));

		MemoryContextSwitchTo(outer);
		MemoryContextReset(state->scratch);
		if (found)
			call->notice(call->arg, name);
	}
	noticing = NULL;
}

static void
watch_ended(void *arg, const RunnerReply *reply)
{
	RunnerCall *call = arg;
	WatchState *state = call->state;

	(void) reply;
	call->notice(state->arg, NULL);
}

/* However it ends, it is broken; what came before has been told. */
static void
watch_done(RunnerCall *call, const HttpReply *http)
{
	WatchState *state = call->state;

	(void) http;
	state->arg = call->arg;
	call->done = watch_ended;
	call->arg = call;
	osa_docker_finish(call, RUNNER_DOWN, "");
}

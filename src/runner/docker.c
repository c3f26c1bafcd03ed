/*
 * docker.c
 *		The runner over the Engine API v1.41, which Docker and Podman speak.
 *
 * Runs in the worker.  Never waits, never raises for what an engine says.
 * Here: a call's life, and the verbs that end with a small answer; the others
 * are in docker_image.c and docker_stream.c.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "docker_call.h"
#include "docker_json.h"
#include "docker_reply.h"

/* A removal that is refused for the moment is tried again. */
#define REMOVE_TRIES	10
#define REMOVE_PAUSE_MS 300

typedef struct ProbeState
{
	char		version[64];
} ProbeState;

typedef struct WholeState
{
	DockerPathStat complete;
} WholeState;

typedef struct InspectState
{
	bool		compare;
	DockerLimits limits;
	char	   *image_id;
} InspectState;

static void ping_done(RunnerCall *call, const HttpReply *http);
static void probe_list_done(RunnerCall *call, const HttpReply *http);
static void list_done(RunnerCall *call, const HttpReply *http);
static void create_done(RunnerCall *call, const HttpReply *http);
static void inspect_done(RunnerCall *call, const HttpReply *http);
static void complete_done(RunnerCall *call, const HttpReply *http);
static void untouched_done(RunnerCall *call, const HttpReply *http);
static void start_done(RunnerCall *call, const HttpReply *http);
static void kill_done(RunnerCall *call, const HttpReply *http);
static void remove_send(RunnerCall *call, const HttpReply *http);
static void remove_done(RunnerCall *call, const HttpReply *http);

/* The call whose done runs, or raised: freed at the next chance. */
static RunnerCall *finishing = NULL;

/* --- a call's life --- */

static void
call_reset(void *arg)
{
	RunnerCall *call = arg;

	if (call->http != NULL)
		osa_http_abort(call->http);
	if (call->release != NULL)
		call->release(call);
}

RunnerCall *
osa_docker_begin(Runner *runner, const char *name, RunnerDone done, void *arg, size_t size)
{
	DockerRunner *docker = (DockerRunner *) runner;
	MemoryContext context = AllocSetContextCreate(docker->context, "osa docker call",
												  ALLOCSET_SMALL_SIZES);
	RunnerCall *call = MemoryContextAllocZero(context, sizeof(RunnerCall));

	call->context = context;
	call->runner = docker;
	call->done = done;
	call->arg = arg;
	call->name = name ? MemoryContextStrdup(context, name) : NULL;
	call->state = MemoryContextAllocZero(context, Max(size, 1));
	call->reply.text = "";
	call->reset.func = call_reset;
	call->reset.arg = call;
	MemoryContextRegisterResetCallback(context, &call->reset);
	return call;
}

/* Every reply comes through here. */
static void
replied(void *arg, const HttpReply *http)
{
	RunnerCall *call = arg;
	MemoryContext outer = MemoryContextSwitchTo(call->context);

	call->http = NULL;
	call->outer = outer;
	call->step(call, http);
	/* the call may be gone */
	MemoryContextSwitchTo(outer);
}

void
osa_docker_request(HttpRequest *request, const char *method, int timeout_ms, const char *path,...)
{
	StringInfoData url;
	va_list		args;
	int			needed;

	memset(request, 0, sizeof(*request));
	initStringInfo(&url);
	appendStringInfoString(&url, DOCKER_API);
	do
	{
		va_start(args, path);
		needed = appendStringInfoVA(&url, path, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&url, needed);
	} while (needed > 0);
	request->method = method;
	request->path = url.data;
	request->timeout_ms = timeout_ms;
}

char *
osa_docker_encode(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	osa_docker_url_encode(&out, text);
	return out.data;
}

void
osa_docker_send(RunnerCall *call, HttpRequest *request, DockerStep step)
{
	request->socket_path = call->runner->socket_path;
	request->done = replied;
	request->arg = call;
	call->step = step;
	call->http = osa_http_start(request);
}

void
osa_docker_wait(RunnerCall *call, int ms, DockerStep step)
{
	call->step = step;
	call->http = osa_http_after(ms, replied, call);
}

/*
 * osa_docker_finish calls done.  The call is taken out of its runner before,
 * since done may close that, and is found again if done raises.
 */
void
osa_docker_finish(RunnerCall *call, RunnerVerdict verdict, const char *message)
{
	call->reply.verdict = verdict;
	call->reply.message = message;
	MemoryContextSetParent(call->context, TopMemoryContext);
	MemoryContextSwitchTo(call->outer);
	if (finishing != NULL)
		MemoryContextDelete(finishing->context);
	finishing = call;
	call->done(call->arg, &call->reply);
	finishing = NULL;
	MemoryContextDelete(call->context);
}

void
osa_docker_succeed(RunnerCall *call)
{
	osa_docker_finish(call, RUNNER_OK, "");
}

bool
osa_docker_ok(const HttpReply *http)
{
	return http->end == HTTP_ANSWERED && http->status >= 200 && http->status < 300;
}

RunnerVerdict
osa_docker_judge(const HttpReply *http, char *message, size_t size)
{
	char		words[1024];

	if (http->end != HTTP_ANSWERED)
	{
		osa_docker_clean_text(message, size, http->error, strlen(http->error));
		/* collect, which has a cap of its caller's, looks before */
		return http->end == HTTP_TOO_LARGE ? RUNNER_ERROR : RUNNER_DOWN;
	}
	if (http->status >= 200 && http->status < 300)
	{
		strlcpy(message, "the engine's answer cannot be understood", size);
		return RUNNER_ERROR;
	}
	if (!osa_docker_parse_error(http->body, http->body_len, words, sizeof(words)))
		osa_docker_clean_text(words, sizeof(words), http->body, http->body_len);
	if (words[0] == '\0')
		snprintf(words, sizeof(words), "the engine answered with status %d", http->status);
	strlcpy(message, words, size);
	return osa_docker_verdict(http->status, words);
}

void
osa_docker_fail(RunnerCall *call, const HttpReply *http)
{
	char	   *message = palloc(1024);
	RunnerVerdict verdict = osa_docker_judge(http, message, 1024);

	osa_docker_finish(call, verdict, message);
}

/* --- the runner --- */

/* When this host was booted; 0: it does not say. */
static TimestampTz
boot_time(void)
{
	FILE	   *file = fopen("/proc/stat", "r");
	char		line[8192];
	long long	seconds = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "btime %lld", &seconds) != 1)
		;
	fclose(file);
	return seconds > 0 ? time_t_to_timestamptz((pg_time_t) seconds) : 0;
}

static Runner *
docker_open(const char *name, const char *endpoint)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "osa docker runner",
												  ALLOCSET_DEFAULT_SIZES);
	DockerRunner *docker = MemoryContextAllocZero(context, sizeof(DockerRunner));

	docker->base.methods = &osa_docker_methods;
	strlcpy(docker->base.name, name, sizeof(docker->base.name));
	docker->context = context;
	if (strncmp(endpoint, "unix://", 7) == 0)
		endpoint += 7;
	docker->socket_path = MemoryContextStrdup(context, endpoint);
	docker->boot_at = boot_time();
	return &docker->base;
}

/* The contexts of its calls are the runner's children. */
static void
docker_close(Runner *runner)
{
	MemoryContextDelete(((DockerRunner *) runner)->context);
}

static void
docker_abort(RunnerCall *call)
{
	if (call != finishing)
		MemoryContextDelete(call->context);
}

/* --- probe --- */

static RunnerCall *
docker_probe(Runner *runner, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, NULL, done, arg, sizeof(ProbeState));
	HttpRequest request = {.method = "GET",.path = "/_ping",.timeout_ms = DOCKER_QUICK_MS};

	osa_docker_send(call, &request, ping_done);
	return call;
}

/*
 * ping_done takes the version from the header: Podman asks dpkg and two other
 * programs for the answer to GET /version.
 */
static void
ping_done(RunnerCall *call, const HttpReply *http)
{
	ProbeState *state = call->state;
	HttpRequest request;

	if (!osa_docker_ok(http))
	{
		osa_docker_fail(call, http);
		return;
	}
	osa_docker_version(http->server, http->is_podman, state->version, sizeof(state->version));
	osa_docker_request(&request, "GET", DOCKER_QUICK_MS, "/containers/json?all=1&limit=1&filters=%s",
					   osa_docker_encode("{\"label\":[\"osa.node\"]}"));
	request.max_body = DOCKER_MAX_LIST;
	osa_docker_send(call, &request, probe_list_done);
}

static void
probe_list_done(RunnerCall *call, const HttpReply *http)
{
	ProbeState *state = call->state;
	ContainerFacts *facts;
	int			n_facts;

	if (!osa_docker_ok(http) ||
		!osa_docker_parse_list(http->body, http->body_len, &facts, &n_facts))
	{
		osa_docker_fail(call, http);
		return;
	}
	call->reply.text = state->version;
	call->reply.text_len = strlen(state->version);
	osa_docker_succeed(call);
}

/* --- list and inspect --- */

static RunnerCall *
docker_list(Runner *runner, const char *key, const char *value, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, NULL, done, arg, 0);
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	StringInfoData filter;
	HttpRequest request;

	initStringInfo(&filter);
	appendStringInfoString(&filter, "{\"label\":[");
	osa_docker_json_string(&filter, psprintf("%s=%s", key, value));
	appendStringInfoString(&filter, "]}");
	osa_docker_request(&request, "GET", DOCKER_QUICK_MS, "/containers/json?all=1&filters=%s",
					   osa_docker_encode(filter.data));
	request.max_body = DOCKER_MAX_LIST;
	osa_docker_send(call, &request, list_done);
	MemoryContextSwitchTo(outer);
	return call;
}

static void
list_done(RunnerCall *call, const HttpReply *http)
{
	ContainerFacts *facts;

	if (!osa_docker_ok(http) ||
		!osa_docker_parse_list(http->body, http->body_len, &facts, &call->reply.n_facts))
	{
		osa_docker_fail(call, http);
		return;
	}
	call->reply.facts = facts;
	osa_docker_succeed(call);
}

static RunnerCall *
docker_inspect(Runner *runner, const char *name, const ContainerSpec *spec, RunnerDone done,
			   void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, sizeof(InspectState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	InspectState *state = call->state;
	HttpRequest request;

	if (spec != NULL)
	{
		state->compare = true;
		osa_docker_limits(spec, &state->limits);
		state->image_id = pstrdup(spec->image_id);
	}
	osa_docker_request(&request, "GET", DOCKER_QUICK_MS, "/containers/%s/json",
					   osa_docker_encode(name));
	request.max_body = DOCKER_MAX_INSPECT;
	osa_docker_send(call, &request, inspect_done);
	MemoryContextSwitchTo(outer);
	return call;
}

static void
inspect_done(RunnerCall *call, const HttpReply *http)
{
	InspectState *state = call->state;
	ContainerFacts *facts = palloc(sizeof(ContainerFacts));
	DockerSettings settings;

	if (!osa_docker_ok(http) ||
		!osa_docker_parse_inspect(http->body, http->body_len, facts, &settings))
	{
		osa_docker_fail(call, http);
		return;
	}
	/* what a reboot left can't be trusted, whatever is said of it */
	if (facts->created_at != 0 && facts->created_at < call->runner->boot_at &&
		facts->phase != CONTAINER_RUNNING)
		facts->phase = CONTAINER_LOST;
	if (state->compare)
		osa_docker_compare(facts, &settings, &state->limits, state->image_id);
	call->reply.n_facts = 1;
	call->reply.facts = facts;
	osa_docker_succeed(call);
}

/* --- create and start --- */

static RunnerCall *
docker_create(Runner *runner, const ContainerSpec *spec, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, spec->name, done, arg, 0);
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	StringInfoData body;
	HttpRequest request;

	initStringInfo(&body);
	osa_docker_create_body(&body, spec);
	osa_docker_request(&request, "POST", DOCKER_SLOW_MS, "/containers/create?name=%s",
					   osa_docker_encode(spec->name));
	request.body = body.data;
	request.content_type = "application/json";
	osa_docker_send(call, &request, create_done);
	MemoryContextSwitchTo(outer);
	return call;
}

static void
create_done(RunnerCall *call, const HttpReply *http)
{
	char	   *id = palloc(80);

	if (!osa_docker_ok(http) || !osa_docker_parse_id(http->body, http->body_len, id, 80))
	{
		osa_docker_fail(call, http);
		return;
	}
	call->reply.text = id;
	call->reply.text_len = strlen(id);
	osa_docker_succeed(call);
}

/* A request on a container by name that has no body. */
static RunnerCall *
simple_verb(Runner *runner, const char *method, const char *name, const char *what, int timeout_ms,
			DockerStep step, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, 0);
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	HttpRequest request;

	osa_docker_request(&request, method, timeout_ms, "/containers/%s%s", osa_docker_encode(name),
					   what);
	osa_docker_send(call, &request, step);
	MemoryContextSwitchTo(outer);
	return call;
}

static RunnerCall *
docker_input_is_whole(Runner *runner, const char *name, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, name, done, arg, sizeof(WholeState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	HttpRequest request;

	osa_docker_request(&request, "HEAD", DOCKER_QUICK_MS,
					   "/containers/%s/archive?path=/osa/in/.complete", osa_docker_encode(name));
	osa_docker_send(call, &request, complete_done);
	MemoryContextSwitchTo(outer);
	return call;
}

/*
 * complete_done goes on to look at the folder of outputs: an engine that was
 * killed in a start may have forgotten that the hook ran.  What came with the
 * input has one time; a folder that was written to has another.
 */
static void
complete_done(RunnerCall *call, const HttpReply *http)
{
	WholeState *state = call->state;
	HttpRequest request;

	if (!osa_docker_ok(http))
	{
		osa_docker_fail(call, http);
		return;
	}
	if (http->path_stat == NULL || !osa_docker_parse_path_stat(http->path_stat, &state->complete))
		state->complete.mtime[0] = '\0';
	osa_docker_request(&request, "HEAD", DOCKER_QUICK_MS, "/containers/%s/archive?path=/osa/out",
					   osa_docker_encode(call->name));
	osa_docker_send(call, &request, untouched_done);
}

static void
untouched_done(RunnerCall *call, const HttpReply *http)
{
	WholeState *state = call->state;
	DockerPathStat out;

	if (!osa_docker_ok(http))
		osa_docker_fail(call, http);
	else if (state->complete.mtime[0] != '\0' && http->path_stat != NULL &&
			 osa_docker_parse_path_stat(http->path_stat, &out) &&
			 strcmp(out.mtime, state->complete.mtime) != 0)
		osa_docker_finish(call, RUNNER_ABSENT, "outputs have been written to");
	else
		osa_docker_succeed(call);
}

static RunnerCall *
docker_start(Runner *runner, const char *name, RunnerDone done, void *arg)
{
	return simple_verb(runner, "POST", name, "/start", DOCKER_SLOW_MS, start_done, done, arg);
}

/* 304: it runs already. */
static void
start_done(RunnerCall *call, const HttpReply *http)
{
	char	   *message;
	RunnerVerdict verdict;

	if (osa_docker_ok(http) || (http->end == HTTP_ANSWERED && http->status == 304))
	{
		osa_docker_succeed(call);
		return;
	}
	message = palloc(1024);
	verdict = osa_docker_judge(http, message, 1024);
	/* a conflict here is no name's: it is being removed, for example */
	osa_docker_finish(call, verdict == RUNNER_EXISTS ? RUNNER_ERROR : verdict, message);
}

/* --- kill and remove --- */

static RunnerCall *
docker_kill(Runner *runner, const char *name, RunnerDone done, void *arg)
{
	return simple_verb(runner, "POST", name, "/kill?signal=KILL", DOCKER_SLOW_MS, kill_done, done,
					   arg);
}

static void
kill_done(RunnerCall *call, const HttpReply *http)
{
	char	   *message;
	RunnerVerdict verdict;

	if (osa_docker_ok(http))
	{
		osa_docker_succeed(call);
		return;
	}
	message = palloc(1024);
	verdict = osa_docker_judge(http, message, 1024);
	if (http->end == HTTP_ANSWERED && osa_docker_says_not_running(message))
		osa_docker_succeed(call);
	else
		osa_docker_finish(call, verdict == RUNNER_EXISTS ? RUNNER_ERROR : verdict, message);
}

static RunnerCall *
docker_remove(Runner *runner, const char *name, RunnerDone done, void *arg)
{
	return simple_verb(runner, "DELETE", name, "?force=1&v=1", DOCKER_SLOW_MS, remove_done, done,
					   arg);
}

/* Again, after the pause. */
static void
remove_send(RunnerCall *call, const HttpReply *http)
{
	HttpRequest request;

	(void) http;
	osa_docker_request(&request, "DELETE", DOCKER_SLOW_MS, "/containers/%s?force=1&v=1",
					   osa_docker_encode(call->name));
	osa_docker_send(call, &request, remove_done);
}

/*
 * remove_done tries again what was refused because the container is just being
 * removed by someone else, or just starts: both engines need a moment then.
 */
static void
remove_done(RunnerCall *call, const HttpReply *http)
{
	char	   *message;
	RunnerVerdict verdict;

	if (osa_docker_ok(http) || (http->end == HTTP_ANSWERED && http->status == 404))
	{
		osa_docker_succeed(call);
		return;
	}
	if (http->end == HTTP_ANSWERED && (http->status == 409 || http->status >= 500) &&
		++call->tries < REMOVE_TRIES)
	{
		osa_docker_wait(call, REMOVE_PAUSE_MS, remove_send);
		return;
	}
	message = palloc(1024);
	verdict = osa_docker_judge(http, message, 1024);
	if (verdict != RUNNER_DOWN && verdict != RUNNER_EXHAUSTED)
		verdict = RUNNER_ERROR;
	osa_docker_finish(call, verdict, message);
}

const RunnerMethods osa_docker_methods = {
	.kind = "docker",
	.open = docker_open,
	.close = docker_close,
	.probe = docker_probe,
	.list = docker_list,
	.ensure_image = osa_docker_ensure_image,
	.create = docker_create,
	.inspect = docker_inspect,
	.put = osa_docker_put,
	.input_is_whole = docker_input_is_whole,
	.start = docker_start,
	.progress = osa_docker_progress,
	.collect = osa_docker_collect,
	.log = osa_docker_log,
	.kill = docker_kill,
	.remove = docker_remove,
	.watch = osa_docker_watch,
	.abort = docker_abort
};

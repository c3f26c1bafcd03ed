/*
 * engine_test.c
 *		Verbs against an engine that says anything (fake_engine.pl), and the
 *		life of calls.
 */
#include "tap.h"

#include <poll.h>

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "http.h"
#include "runner/runner.h"

static RunnerVerdict verdict;
static char *said;
static int64 text_len;
static StringInfo notices;
static int	n_done;
static bool raise_next;
static HttpCall *victim;
static Runner *close_next;
static HookLimits limits = {.memory = 1 << 26,.tmpfs = 1 << 20,.output = 1 << 20,.cpu = 1,.pids = 10};

/* Turns the loop until that many are done; false after 30 s. */
static bool
turn_until_done(int n)
{
	TimestampTz end = GetCurrentTimestamp() + 30 * USECS_PER_SEC;

	while (n_done < n)
	{
		struct pollfd pollfd = {.fd = osa_http_fd(),.events = POLLIN};
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz deadline = Min(osa_http_deadline(), now + USECS_PER_SEC);

		if (now > end)
			return false;
		poll(&pollfd, 1, deadline > now ? (int) ((deadline - now + 999) / 1000) : 0);
		CHECK_FOR_INTERRUPTS();
		osa_http_turn();
	}
	return true;
}

/* Turns it until the verb, or the watch, is over. */
static bool
turn_until_over(void)
{
	n_done = 0;
	return turn_until_done(1);
}

static void
done(void *arg, const RunnerReply *reply)
{
	(void) arg;
	n_done++;
	verdict = reply->verdict;
	said = MemoryContextStrdup(TopMemoryContext, reply->text_len > 0 ? reply->text : reply->message);
	text_len = reply->text_len;
	if (close_next != NULL)
		close_next->methods->close(close_next);
	close_next = NULL;
	if (raise_next)
	{
		raise_next = false;
		elog(ERROR, "raised by done");
	}
}

static void
notice(void *arg, const char *name)
{
	RunnerCall **watch = arg;

	appendStringInfo(notices, "%s ", name ? name : "(broke)");
	if (name == NULL || strcmp(name, "stop") == 0)
		n_done++;
	if (name != NULL && strcmp(name, "stop") == 0)
		osa_docker_methods.abort(*watch);
}

static const char *
verdict_name(RunnerVerdict v)
{
	static const char *const names[] = {
		"ok", "exists", "absent", "refused", "error", "registry", "down", "exhausted", "too large"
	};

	return names[v];
}

typedef enum Verb
{
	VERB_PROBE, VERB_LIST, VERB_ENSURE, VERB_CREATE, VERB_INSPECT, VERB_PUT, VERB_WHOLE,
	VERB_START, VERB_PROGRESS, VERB_COLLECT, VERB_LOG, VERB_KILL, VERB_REMOVE
} Verb;

static RunnerCall *
start_verb(Runner *runner, Verb verb, const char *name, Spool *spool)
{
	const RunnerMethods *m = runner->methods;
	ContainerSpec spec = {.name = name,.image_id = "sha256:1",.hook_name = "h",.limits = &limits};

	switch (verb)
	{
		case VERB_PROBE:
			return m->probe(runner, done, NULL);
		case VERB_LIST:
			return m->list(runner, "osa.node", name, done, NULL);
		case VERB_ENSURE:
			return m->ensure_image(runner, name, done, NULL);
		case VERB_CREATE:
			return m->create(runner, &spec, done, NULL);
		case VERB_INSPECT:
			return m->inspect(runner, name, &spec, done, NULL);
		case VERB_PUT:
			return m->put(runner, name, spool, done, NULL);
		case VERB_WHOLE:
			return m->input_is_whole(runner, name, done, NULL);
		case VERB_START:
			return m->start(runner, name, done, NULL);
		case VERB_PROGRESS:
			return m->progress(runner, name, 3, 100, done, NULL);
		case VERB_COLLECT:
			return m->collect(runner, name, spool, 100000, done, NULL);
		case VERB_LOG:
			return m->log(runner, name, done, NULL);
		case VERB_KILL:
			return m->kill(runner, name, done, NULL);
		case VERB_REMOVE:
			return m->remove(runner, name, done, NULL);
	}
	return NULL;
}

/* Runs one verb on a container of that name; the fake acts by the name. */
static void
verb_is(Runner *runner, Verb verb, const char *name, RunnerVerdict wanted, const char *words)
{
	Spool	   *spool = osa_spool_open(CurrentMemoryContext);
	char		chunk[5000] = {0};

	for (int i = 0; i < 400; i++)
		osa_spool_write(spool, chunk, sizeof(chunk));
	start_verb(runner, verb, name, spool);
	if (!turn_until_over())
		tap_ok(false, "verb %d on %s ends", verb, name);
	else
		tap_is(verdict_name(verdict), verdict_name(wanted), psprintf("verb %d on %s", verb, name));
	tap_ok(words == NULL || strstr(said, words) != NULL, "... says \"%s\": %.80s", words ? words : "", said);
	osa_spool_close(spool);
}

void
test_engine(void)
{
	Runner	   *runner;
	RunnerCall *watch;

	osa_http_open();
	runner = osa_runner_methods("docker")->open("fake", psprintf("unix://%s", tap_socket));
	verb_is(runner, VERB_PROBE, "", RUNNER_OK, "docker 9.9");
	verb_is(runner, VERB_INSPECT, "garbage", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_INSPECT, "empty", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_INSPECT, "headers", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_INSPECT, "body", RUNNER_ERROR, "over 8388608 bytes");
	verb_is(runner, VERB_INSPECT, "short", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_INSPECT, "text", RUNNER_ERROR, "cannot be understood");
	verb_is(runner, VERB_INSPECT, "redirect", RUNNER_ERROR, "302");
	verb_is(runner, VERB_INSPECT, "e500", RUNNER_ERROR, "oh \"no\"");
	verb_is(runner, VERB_INSPECT, "plain500", RUNNER_ERROR, "plain ? words");
	verb_is(runner, VERB_INSPECT, "e404", RUNNER_ABSENT, "404");
	verb_is(runner, VERB_LIST, "x", RUNNER_ERROR, "cannot be understood");
	verb_is(runner, VERB_CREATE, "text", RUNNER_ERROR, "cannot be understood");
	verb_is(runner, VERB_PUT, "early", RUNNER_ABSENT, "early");
	verb_is(runner, VERB_PUT, "eats", RUNNER_OK, NULL);
	verb_is(runner, VERB_PUT, "closes", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_WHOLE, "e404", RUNNER_ABSENT, NULL);
	verb_is(runner, VERB_START, "e304", RUNNER_OK, NULL);
	verb_is(runner, VERB_KILL, "notrunning", RUNNER_OK, NULL);
	verb_is(runner, VERB_KILL, "e404", RUNNER_ABSENT, NULL);
	verb_is(runner, VERB_REMOVE, "e404", RUNNER_OK, NULL);
	verb_is(runner, VERB_REMOVE, "twice", RUNNER_OK, NULL);
	verb_is(runner, VERB_REMOVE, "never", RUNNER_ERROR, "never");
	verb_is(runner, VERB_COLLECT, "endless", RUNNER_TOO_LARGE, "100000");
	verb_is(runner, VERB_COLLECT, "short", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_LOG, "frames", RUNNER_OK, "line 2999\n");
	tap_is_int(text_len, 64 * 1024, "the tail of a log has its size");
	verb_is(runner, VERB_PROGRESS, "file", RUNNER_OK, "456789");
	tap_is_int(text_len, 7, "progress from an offset on");
	verb_is(runner, VERB_PROGRESS, "growing", RUNNER_OK, NULL);
	tap_is_int(text_len, 100, "progress of a file without end is bounded");
	verb_is(runner, VERB_PROGRESS, "badstat", RUNNER_OK, NULL);
	tap_is_int(text_len, 0, "progress without a stat is none");
	verb_is(runner, VERB_ENSURE, "localhost/none:1", RUNNER_REFUSED, "no registry");
	verb_is(runner, VERB_ENSURE, "sha256:0000", RUNNER_REFUSED, "no registry");
	verb_is(runner, VERB_ENSURE, "reg.test/denied", RUNNER_REFUSED, "access denied");
	verb_is(runner, VERB_ENSURE, "reg.test/flaky:3", RUNNER_REGISTRY, "connection refused");
	verb_is(runner, VERB_ENSURE, "reg.test/broken:3", RUNNER_DOWN, NULL);
	verb_is(runner, VERB_ENSURE, "reg.test/good:5", RUNNER_OK, "sha256:good");

	notices = makeStringInfo();
	watch = runner->methods->watch(runner, "osa.node", "events", notice, &watch);
	tap_ok(turn_until_over(), "a stream of events breaks");
	tap_is(notices->data, "a1 a2 a3 (broke) ", "it tells of whole events alone, and of its end");
	resetStringInfo(notices);
	watch = runner->methods->watch(runner, "osa.node", "stop", notice, &watch);
	tap_ok(turn_until_over(), "a notice ends its own watch");
	tap_is(notices->data, "a1 stop ", "and hears no more of it");
	runner->methods->close(runner);
	tap_is_int(osa_http_calls(), 0, "nothing is left");
}

static void
http_done(void *arg, const HttpReply *reply)
{
	int		   *ends = arg;

	ends[reply->end]++;
	n_done++;
	if (victim != NULL)
	{
		HttpCall   *call = victim;

		victim = NULL;
		osa_http_abort(call);
	}
}

/* Calls that run, calls that wait, calls that are ended, and calls that raise. */
void
test_calls(void)
{
	Runner	   *runner;
	MemoryContext context = CurrentMemoryContext;
	int			ends[5] = {0};
	HttpCall   *calls[300];
	HttpRequest request = {
		.socket_path = tap_socket,.method = "GET",.path = "/v1.41/containers/hang/json",
		.timeout_ms = 200,.done = http_done,.arg = ends
	};

	osa_http_open();
	n_done = 0;
	for (int i = 0; i < 300; i++)
		calls[i] = osa_http_start(&request);
	tap_is_int(osa_http_calls(), 300, "calls beyond the number of connections wait");
	for (int i = 0; i < 20; i++)
		osa_http_turn();
	for (int i = 0; i < 300; i += 2)
		osa_http_abort(calls[i]);
	tap_is_int(osa_http_calls(), 150, "calls are aborted, sent or not");
	turn_until_done(150);
	tap_is_int(ends[HTTP_DEADLINE], 150, "and the others end by their deadlines, waiting not counted");
	tap_is_int(n_done, 150, "once each");
	tap_ok(osa_http_deadline() == DT_NOEND, "nothing is due when nothing is under way");

	/* one that ends another */
	memset(ends, 0, sizeof(ends));
	n_done = 0;
	request.path = "/_ping";
	osa_http_start(&request);
	request.path = "/v1.41/containers/hang/json";
	victim = osa_http_start(&request);
	tap_ok(turn_until_done(1) && osa_http_calls() == 0 && ends[HTTP_ANSWERED] == 1, "a done ends another call silently");
	request.socket_path = "/nonexistent/socket";
	osa_http_start(&request);
	request.socket_path = "relative";
	osa_http_start(&request);
	turn_until_done(3);
	tap_is_int(ends[HTTP_UNREACHABLE], 2, "no socket, and no absolute path");

	runner = osa_runner_methods("docker")->open("fake", tap_socket);
	raise_next = true;
	runner->methods->probe(runner, done, NULL);
	PG_TRY();
	{
		turn_until_over();
		tap_ok(false, "done raises");
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		tap_ok(n_done == 1, "done raises");
	}
	PG_END_TRY();
	runner->methods->probe(runner, done, NULL);
	tap_ok(turn_until_over() && n_done == 1 && osa_http_calls() == 0, "and is not called again, nor is anything left");
	start_verb(runner, VERB_INSPECT, "hang", NULL);
	close_next = runner;
	runner->methods->probe(runner, done, NULL);
	tap_ok(turn_until_over() && osa_http_calls() == 0, "done closes its runner with all its calls");
}

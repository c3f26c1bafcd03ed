/*
 * docker_image.c
 *		ensure_image: is the image there, else pull it.
 *
 * Runs in the worker.  A pull answers with lines of JSON for as long as it
 * lasts; both engines may say an error in them although the status was 200.
 */
#include "postgres.h"

#include "docker_call.h"
#include "docker_decode.h"
#include "docker_reply.h"

/*
 * Without a line.  Podman says nothing while a layer is on its way, so that
 * its silence means little.
 */
#define PULL_IDLE_MS		(120 * 1000)
#define PULL_IDLE_PODMAN_MS (900 * 1000)
#define MAX_PULL_LINE		(256 * 1024)
#define MAX_PULL_BODY		(1024 * 1024 * 1024)

typedef struct ImageState
{
	char	   *repository;
	char	   *tag;			/* NULL: the repository has a digest */
	bool		may_pull;
	bool		pulled;
	LineBuffer	lines;
	char		error[1024];
} ImageState;

static void split_image(ImageState *state, const char *image);
static void inspect_image(RunnerCall *call);
static void image_done(RunnerCall *call, const HttpReply *http);
static void pull_image(RunnerCall *call, bool is_podman);
static bool pull_sink(void *arg, const char *data, size_t len);
static void pull_fed(void *arg);
static void pull_done(RunnerCall *call, const HttpReply *http);

static void
image_release(RunnerCall *call)
{
	osa_lines_free(&((ImageState *) call->state)->lines);
}

RunnerCall *
osa_docker_ensure_image(Runner *runner, const char *image, RunnerDone done, void *arg)
{
	RunnerCall *call = osa_docker_begin(runner, image, done, arg, sizeof(ImageState));
	MemoryContext outer = MemoryContextSwitchTo(call->context);
	ImageState *state = call->state;

	call->release = image_release;
	state->lines.max = MAX_PULL_LINE;
	split_image(state, image);
	inspect_image(call);
	MemoryContextSwitchTo(outer);
	return call;
}

/*
 * split_image tells the repository from the tag.  Without a tag it is
 * "latest": an engine that is given none pulls them all.  With a digest a tag
 * says nothing more, and Podman takes not both.
 */
static void
split_image(ImageState *state, const char *image)
{
	char	   *copy = pstrdup(image);
	char	   *digest = strchr(copy, '@');
	char	   *slash;
	char	   *colon;

	state->repository = copy;
	if (digest != NULL)
		*digest++ = '\0';
	slash = strrchr(copy, '/');
	colon = strrchr(slash ? slash : copy, ':');
	/* an id names no repository */
	if (digest == NULL &&
		(strncmp(copy, "sha256:", 7) == 0 || strspn(copy, "0123456789abcdef") == 64))
		return;
	if (colon != NULL)
		*colon++ = '\0';
	/* "localhost" is what engines call images that came from no registry */
	state->may_pull = strncmp(copy, "localhost/", 10) != 0;
	if (digest != NULL)
		state->repository = psprintf("%s@%s", copy, digest);
	else
		state->tag = colon ? colon : "latest";
}

static void
inspect_image(RunnerCall *call)
{
	ImageState *state = call->state;
	const char *name = state->repository;
	HttpRequest request;

	if (state->tag != NULL)
		name = psprintf("%s:%s", state->repository, state->tag);
	osa_docker_request(&request, "GET", DOCKER_QUICK_MS, "/images/%s/json", osa_docker_encode(name));
	request.max_body = DOCKER_MAX_INSPECT;
	osa_docker_send(call, &request, image_done);
}

static void
image_done(RunnerCall *call, const HttpReply *http)
{
	ImageState *state = call->state;
	char	   *id = palloc(80);

	if (osa_docker_ok(http) && osa_docker_parse_id(http->body, http->body_len, id, 80))
	{
		call->reply.text = strncmp(id, "sha256:", 7) == 0 ? id : psprintf("sha256:%s", id);
		call->reply.text_len = strlen(call->reply.text);
		osa_docker_succeed(call);
	}
	else if (http->end != HTTP_ANSWERED || http->status != 404)
		osa_docker_fail(call, http);
	/* a pull that was cut short without a word: it may go well the next time */
	else if (state->pulled)
		osa_docker_finish(call, RUNNER_REGISTRY,
						  psprintf("image \"%s\" is not there after it was pulled", call->name));
	else if (!state->may_pull)
		osa_docker_finish(call, RUNNER_REFUSED,
						  psprintf("image \"%s\" is not on the engine, and no registry has it",
								   call->name));
	else
		pull_image(call, http->is_podman);
}

static void
pull_image(RunnerCall *call, bool is_podman)
{
	ImageState *state = call->state;
	HttpRequest request;

	osa_docker_request(&request, "POST", 0, "/images/create?fromImage=%s%s%s",
					   osa_docker_encode(state->repository), state->tag ? "&tag=" : "",
					   state->tag ? osa_docker_encode(state->tag) : "");
	request.idle_timeout_ms = is_podman ? PULL_IDLE_PODMAN_MS : PULL_IDLE_MS;
	request.max_body = MAX_PULL_BODY;
	request.own_connection = true;
	request.sink = pull_sink;
	request.sink_arg = state;
	request.fed = pull_fed;
	osa_docker_send(call, &request, pull_done);
}

/* Inside libcurl. */
static bool
pull_sink(void *arg, const char *data, size_t len)
{
	ImageState *state = arg;

	return osa_lines_push(&state->lines, data, len);
}

static void
pull_fed(void *arg)
{
	RunnerCall *call = arg;
	ImageState *state = call->state;
	char	   *line;
	size_t		len;

	while ((line = osa_lines_next(&state->lines, &len)) != NULL)
	{
		/* most lines are a layer's progress */
		if (strstr(line, "\"error\"") != NULL)
		{
			MemoryContext outer = MemoryContextSwitchTo(call->context);

			osa_docker_parse_error(line, len, state->error, sizeof(state->error));
			MemoryContextSwitchTo(outer);
		}
	}
}

static void
pull_done(RunnerCall *call, const HttpReply *http)
{
	ImageState *state = call->state;
	RunnerVerdict verdict;

	/* the last line may lack its end */
	osa_lines_push(&state->lines, "\n", 1);
	pull_fed(call);
	if (osa_docker_ok(http) && state->error[0] == '\0')
	{
		state->pulled = true;
		inspect_image(call);
		return;
	}
	if (state->error[0] != '\0')
		verdict = osa_docker_pull_verdict(200, state->error, state->repository);
	else
	{
		verdict = osa_docker_judge(http, state->error, sizeof(state->error));
		if (http->end == HTTP_DEADLINE)
			verdict = RUNNER_REGISTRY;
		else if (verdict != RUNNER_DOWN)
			verdict = osa_docker_pull_verdict(http->status, state->error, state->repository);
	}
	osa_docker_finish(call, verdict,
					  psprintf("could not pull image \"%s\": %s", call->name, state->error));
}

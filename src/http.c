/*
 * http.c
 *		When a call is sent, and when it is over.
 *
 * Runs in the worker only, and never waits.  libcurl is behind http_curl.c;
 * what its callbacks noted in a call is acted on here, in osa_http_turn().
 *
 * A call is in exactly one list at a time: waiting (of its host, or streams),
 * active (known to libcurl), timers, or finished.
 */
#include "postgres.h"

#include <time.h>

#include "utils/timestamp.h"

#include "http_call.h"

/* Connections at once, of all sockets and of one; streams aren't counted, so
 * that they can't keep the others from being sent. */
#define MAX_ACTIVE			192
#define MAX_ACTIVE_PER_HOST 96
#define LAUNCHES_PER_TURN	16
/* Pause after the server had no descriptor for us, and the end of patience. */
#define NO_FD_PAUSE_MS		100
#define NO_FD_GIVE_UP_MS	(30 * 1000)

static bool is_open = false;
static int64 launch_after = 0;	/* no launch before, for want of descriptors */
static int	n_calls = 0;
static int	n_active = 0;		/* streams not counted */
static HttpHost *hosts = NULL;
static dlist_head streams = DLIST_STATIC_INIT(streams);
static dlist_head active = DLIST_STATIC_INIT(active);
static dlist_head timers = DLIST_STATIC_INIT(timers);
static dlist_head finished = DLIST_STATIC_INIT(finished);

/* The call whose done runs, or raised: unlinked, freed at the next chance. */
static HttpCall *delivering = NULL;

static HttpCall *make_call(const HttpRequest *request);
static HttpHost *find_host(const char *socket_path);
static void free_call(HttpCall *call);
static void deactivate(HttpCall *call);
static void launch_waiting(int64 now);
static void launch(HttpCall *call, int64 now);
static void take_ended(int64 now);
static void judge_end(HttpCall *call, CURLcode result);
static bool wait_again(HttpCall *call, CURLcode result, int64 now);
static void finish(HttpCall *call, HttpEnd end, const char *error);
static void expire(int64 now);
static void deliver_fed(int64 now);
static void deliver_finished(int64 now);

int64
osa_http_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- called by the worker --- */

void
osa_http_open(void)
{
	if (is_open)
		return;
	if (!osa_http_curl_open())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not set up libcurl: %m")));
	is_open = true;
}

int
osa_http_fd(void)
{
	return osa_http_curl_fd();
}

int
osa_http_calls(void)
{
	return n_calls;
}

/* Can the first waiting call of this host be sent now? */
static bool
may_launch(const HttpHost *host)
{
	return !dlist_is_empty(unconstify(dlist_head *, &host->waiting)) &&
		host->n_active < MAX_ACTIVE_PER_HOST && n_active < MAX_ACTIVE;
}

/* When is this call over, for want of an answer or of any byte? */
static int64
call_deadline(const HttpCall *call)
{
	int64		deadline = call->deadline;

	if (call->request.idle_timeout_ms > 0)
		deadline = Min(deadline, call->last_byte + call->request.idle_timeout_ms);
	return deadline;
}

TimestampTz
osa_http_deadline(void)
{
	int64		now = osa_http_now();
	int64		next = osa_http_curl_timer();
	dlist_iter	iter;

	if (!dlist_is_empty(&finished) || !dlist_is_empty(&osa_http_fed))
		next = now;
	if (!dlist_is_empty(&streams))
		next = Min(next, launch_after);
	for (HttpHost *host = hosts; host != NULL; host = host->next)
	{
		if (may_launch(host))
			next = Min(next, launch_after);
	}
	dlist_foreach(iter, &active)
		next = Min(next, call_deadline(dlist_container(HttpCall, node, iter.cur)));
	dlist_foreach(iter, &timers)
		next = Min(next, dlist_container(HttpCall, node, iter.cur)->deadline);
	if (next == HTTP_NEVER)
		return DT_NOEND;
	return GetCurrentTimestamp() + Max(next - now, 0) * 1000;
}

void
osa_http_turn(void)
{
	int64		now = osa_http_now();

	if (delivering != NULL)
	{
		/* its done raised */
		free_call(delivering);
		delivering = NULL;
	}
	launch_waiting(now);
	osa_http_curl_drive(now);
	take_ended(now);
	expire(now);
	now = osa_http_now();
	deliver_fed(now);
	deliver_finished(now);
}

HttpCall *
osa_http_start(const HttpRequest *request)
{
	HttpCall   *call = make_call(request);

	if (call != NULL)
		call->host = find_host(request->socket_path);
	if (call == NULL || call->host == NULL)
	{
		if (call != NULL)
			free_call(call);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	dlist_push_tail(request->own_connection ? &streams : &call->host->waiting, &call->node);
	n_calls++;
	return call;
}

HttpCall *
osa_http_after(int delay_ms, HttpDone done, void *arg)
{
	HttpCall   *call = calloc(1, sizeof(HttpCall));

	if (call == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	call->request.done = done;
	call->request.arg = arg;
	call->deadline = osa_http_now() + delay_ms;
	dlist_push_tail(&timers, &call->node);
	n_calls++;
	return call;
}

/* osa_http_abort of the call whose done runs is allowed and does nothing. */
void
osa_http_abort(HttpCall *call)
{
	if (call == delivering)
		return;
	dlist_delete(&call->node);
	n_calls--;
	deactivate(call);
	free_call(call);
}

/* --- the life of a call --- */

static bool
copy_string(const char **string)
{
	if (*string == NULL)
		return true;
	*string = strdup(*string);
	return *string != NULL;
}

static HttpCall *
make_call(const HttpRequest *request)
{
	HttpCall   *call = calloc(1, sizeof(HttpCall));
	bool		copied;

	if (call == NULL)
		return NULL;
	call->request = *request;
	call->request.socket_path = NULL;	/* the host's */
	if (call->request.max_body <= 0)
		call->request.max_body = HTTP_DEFAULT_MAX_BODY;
	copied = copy_string(&call->request.method);
	copied &= copy_string(&call->request.path);
	copied &= copy_string(&call->request.body);
	copied &= copy_string(&call->request.content_type);
	if (!copied)
	{
		free_call(call);
		return NULL;
	}
	return call;
}

/* One entry a socket, kept for good: there are as many as engines. */
static HttpHost *
find_host(const char *socket_path)
{
	HttpHost   *host;

	for (host = hosts; host != NULL; host = host->next)
	{
		if (strcmp(host->socket_path, socket_path) == 0)
			return host;
	}
	host = calloc(1, sizeof(HttpHost));
	if (host == NULL)
		return NULL;
	host->socket_path = strdup(socket_path);
	if (host->socket_path == NULL)
	{
		free(host);
		return NULL;
	}
	dlist_init(&host->waiting);
	host->next = hosts;
	hosts = host;
	return host;
}

/* Frees a call that is in no list but perhaps fed's. */
static void
free_call(HttpCall *call)
{
	if (call->is_fed)
		dlist_delete(&call->fed_node);
	free(unconstify(char *, call->request.method));
	free(unconstify(char *, call->request.path));
	free(unconstify(char *, call->request.body));
	free(unconstify(char *, call->request.content_type));
	free(call->path_stat);
	free(call->body);
	free(call);
}

/* Takes the call away from libcurl, if it is there. */
static void
deactivate(HttpCall *call)
{
	osa_http_curl_remove(call);
	if (!call->is_active)
		return;
	call->is_active = false;
	if (!call->request.own_connection)
	{
		n_active--;
		call->host->n_active--;
	}
}

static void
launch_waiting(int64 now)
{
	bool		launched = true;
	int			n = 0;

	if (now < launch_after)
		return;
	while (!dlist_is_empty(&streams))
		launch(dlist_container(HttpCall, node, dlist_pop_head_node(&streams)), now);
	/* one of each host in turn, so that none starves another */
	while (launched && n < LAUNCHES_PER_TURN)
	{
		launched = false;
		for (HttpHost *host = hosts; host != NULL; host = host->next)
		{
			if (!may_launch(host))
				continue;
			launch(dlist_container(HttpCall, node, dlist_pop_head_node(&host->waiting)), now);
			launched = true;
			n++;
		}
	}
}

/* Hands a call, which is in no list, to libcurl. */
static void
launch(HttpCall *call, int64 now)
{
	if (call->host->socket_path[0] != '/')
	{
		snprintf(call->error, sizeof(call->error), "\"%s\" is not an absolute socket path",
				 call->host->socket_path);
		finish(call, HTTP_UNREACHABLE, NULL);
		return;
	}
	if (!osa_http_curl_add(call))
	{
		finish(call, HTTP_BROKEN, "could not set up a request");
		return;
	}
	call->is_active = true;
	call->deadline = call->request.timeout_ms > 0 ? now + call->request.timeout_ms : HTTP_NEVER;
	call->last_byte = now;
	if (call->first_try == 0)
		call->first_try = now;
	dlist_push_tail(&active, &call->node);
	if (!call->request.own_connection)
	{
		n_active++;
		call->host->n_active++;
	}
}

static void
take_ended(int64 now)
{
	HttpCall   *call;
	CURLcode	result;

	while ((call = osa_http_curl_next(&result)) != NULL)
	{
		if (!wait_again(call, result, now))
			judge_end(call, result);
	}
}

/*
 * wait_again puts a call back to the waiting ones if the server had no
 * descriptor left for it: other calls and spools will give theirs back.
 */
static bool
wait_again(HttpCall *call, CURLcode result, int64 now)
{
	if (result == CURLE_OK || !call->no_fd || now - call->first_try > NO_FD_GIVE_UP_MS)
		return false;
	dlist_delete(&call->node);
	deactivate(call);
	call->no_fd = false;
	call->error[0] = '\0';
	launch_after = now + NO_FD_PAUSE_MS;
	dlist_push_head(call->request.own_connection ? &streams : &call->host->waiting, &call->node);
	return true;
}

static void
judge_end(HttpCall *call, CURLcode result)
{
	long		value = 0;
	HttpEnd		end = HTTP_BROKEN;
	const char *error = NULL;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &value);
	call->status = (int) value;
	if (result == CURLE_OK)
		end = HTTP_ANSWERED;
	else if (call->too_large)
	{
		end = HTTP_TOO_LARGE;
		snprintf(call->error, sizeof(call->error), "the answer is over " INT64_FORMAT " bytes",
				 call->request.max_body);
	}
	else if (call->stopped)
		error = "the transfer was stopped on our side";
	else if (call->no_memory || result == CURLE_OUT_OF_MEMORY)
		error = "out of memory";
	else if (result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST ||
			 result == CURLE_OPERATION_TIMEDOUT)
	{
		end = HTTP_UNREACHABLE;
		curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &value);
		if (call->no_fd)
			error = "no file descriptor is left for a connection";
		else
			snprintf(call->error, sizeof(call->error), "could not connect to \"%s\"%s%s",
					 call->host->socket_path, value != 0 ? ": " : "",
					 value != 0 ? strerror((int) value) : "");
	}
	else if (call->error[0] == '\0')
		error = curl_easy_strerror(result);
	dlist_delete(&call->node);
	finish(call, end, error);
}

/* Moves a call, which is in no list, to the finished ones. */
static void
finish(HttpCall *call, HttpEnd end, const char *error)
{
	deactivate(call);
	call->end = end;
	if (error != NULL)
		strlcpy(call->error, error, sizeof(call->error));
	dlist_push_tail(&finished, &call->node);
}

static void
expire(int64 now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &active)
	{
		HttpCall   *call = dlist_container(HttpCall, node, iter.cur);

		if (call_deadline(call) > now)
			continue;
		dlist_delete(&call->node);
		snprintf(call->error, sizeof(call->error), "no answer within %d s",
				 (now >= call->deadline ? call->request.timeout_ms :
				  call->request.idle_timeout_ms) / 1000);
		finish(call, HTTP_DEADLINE, NULL);
	}
	dlist_foreach_modify(iter, &timers)
	{
		HttpCall   *call = dlist_container(HttpCall, node, iter.cur);

		if (call->deadline > now)
			continue;
		dlist_delete(&call->node);
		finish(call, HTTP_DEADLINE, NULL);
	}
}

static void
deliver_fed(int64 now)
{
	while (!dlist_is_empty(&osa_http_fed) && osa_http_now() - now <= HTTP_TURN_MS)
	{
		HttpCall   *call = dlist_container(HttpCall, fed_node, dlist_pop_head_node(&osa_http_fed));

		call->is_fed = false;
		call->request.fed(call->request.arg);
	}
}

static void
deliver_finished(int64 now)
{
	while (!dlist_is_empty(&finished) && osa_http_now() - now <= HTTP_TURN_MS)
	{
		HttpReply	reply = {0};

		delivering = dlist_container(HttpCall, node, dlist_pop_head_node(&finished));
		n_calls--;
		reply.end = delivering->end;
		reply.status = delivering->status;
		reply.error = delivering->error;
		reply.body = delivering->body ? delivering->body : "";
		reply.body_len = delivering->body_len;
		reply.path_stat = delivering->path_stat;
		reply.server = delivering->server[0] ? delivering->server : NULL;
		reply.is_podman = delivering->is_podman;
		delivering->request.done(delivering->request.arg, &reply);
		free_call(delivering);
		delivering = NULL;
	}
}

/*
 * http.c
 *		libcurl's multi interface behind one epoll descriptor.
 *
 * Runs in the worker only.  libcurl tells us its sockets and its next timeout;
 * the sockets live in an epoll set of ours, whose descriptor is all that the
 * worker's loop knows.  Nothing here waits.  Inside libcurl's callbacks nothing
 * may raise, palloc or call back into libcurl's multi handle: they note what
 * happened in the call, and osa_http_turn() acts on it later.
 *
 * A call is in exactly one list at a time: waiting (of its host, or streams),
 * active (known to libcurl), timers, or finished.
 *
 * Each call has a connection of its own: on a Unix socket one costs some
 * microseconds, while connections that are kept hold descriptors which others
 * need, and may turn out to be closed when they are used again.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "http.h"

/* Connections at once, of all sockets and of one; streams aren't counted, so
 * that they can't keep the others from being sent. */
#define MAX_ACTIVE			192
#define MAX_ACTIVE_PER_HOST 96
#define CONNECT_TIMEOUT_MS	2000L
#define DEFAULT_MAX_BODY	(64 * 1024)
#define MAX_PATH_STAT		(64 * 1024)
/* Bounds of one turn.  What is beyond is ready again in the next one. */
#define EVENTS_PER_TURN		64
#define LAUNCHES_PER_TURN	16
#define TURN_MS				10
/* Pause after the server had no descriptor for us, and the end of patience. */
#define NO_FD_PAUSE_MS		100
#define NO_FD_GIVE_UP_MS	(30 * 1000)
#define NEVER				PG_INT64_MAX

typedef struct HttpHost
{
	struct HttpHost *next;
	char	   *socket_path;
	int			n_active;
	dlist_head	waiting;
} HttpHost;

struct HttpCall
{
	dlist_node	node;
	dlist_node	fed_node;
	bool		is_fed;			/* in the fed list */
	bool		is_active;
	HttpHost   *host;			/* NULL: a timer */
	HttpRequest request;		/* its strings are copies */
	CURL	   *easy;
	struct curl_slist *headers;
	int64		deadline;		/* monotonic milliseconds */
	int64		last_byte;
	int64		first_try;		/* 0: not sent yet */
	/* noted inside of libcurl */
	bool		no_fd;
	bool		no_memory;
	bool		too_large;
	bool		stopped;		/* by the sink or the source */
	int64		received;		/* bytes of the answer's body */
	char	   *body;
	size_t		body_len;
	size_t		body_allocated;
	char	   *path_stat;
	char		server[64];
	bool		is_podman;
	/* the end */
	HttpEnd		end;
	int			status;
	char		error[CURL_ERROR_SIZE + 256];
};

static CURLM *multi = NULL;
static int	epoll_fd = -1;
static int64 curl_timer = NEVER;
static int64 launch_after = 0;	/* no launch before, for want of descriptors */
static int	n_calls = 0;
static int	n_active = 0;		/* streams not counted */
static HttpHost *hosts = NULL;
static dlist_head streams = DLIST_STATIC_INIT(streams);
static dlist_head active = DLIST_STATIC_INIT(active);
static dlist_head timers = DLIST_STATIC_INIT(timers);
static dlist_head finished = DLIST_STATIC_INIT(finished);
static dlist_head fed = DLIST_STATIC_INIT(fed);

/* The call whose done runs, or raised: unlinked, freed at the next chance. */
static HttpCall *delivering = NULL;

static HttpCall *make_call(const HttpRequest *request);
static HttpHost *find_host(const char *socket_path);
static void free_call(HttpCall *call);
static void release_easy(HttpCall *call);
static void launch_waiting(int64 now);
static void launch(HttpCall *call, int64 now);
static bool set_options(HttpCall *call);
static bool set_method(HttpCall *call);
static void drive_sockets(int64 now);
static void take_messages(int64 now);
static void judge_end(HttpCall *call, CURLcode result);
static bool wait_again(HttpCall *call, CURLcode result, int64 now);
static void finish(HttpCall *call, HttpEnd end, const char *error);
static void expire(int64 now);
static void deliver_fed(int64 now);
static void deliver_finished(int64 now);

/* --- called by libcurl: nothing may raise from here --- */

static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct epoll_event event = {0};

	(void) easy;
	(void) arg;
	(void) socket_arg;
	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	event.data.fd = fd;
	/* a descriptor that was closed and came again is not in the set any more */
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 &&
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -1;
	return 0;
}

static int
on_timer(CURLM *handle, long timeout_ms, void *arg)
{
	(void) handle;
	(void) arg;
	curl_timer = timeout_ms < 0 ? NEVER : now_ms() + timeout_ms;
	return 0;
}

static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpCall   *call = arg;
	int			fd;

	(void) purpose;
	if (!AcquireExternalFD())
	{
		call->no_fd = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
	{
		call->no_fd = true;
		ReleaseExternalFD();
		return CURL_SOCKET_BAD;
	}
	return fd;
}

static int
on_close(void *arg, curl_socket_t fd)
{
	(void) arg;
	close(fd);
	ReleaseExternalFD();
	return 0;
}

/* If line is the header name (with its colon), copies its value. */
static bool
header_value(const char *line, size_t len, const char *name, char *value, size_t size)
{
	size_t		name_len = strlen(name);

	if (len < name_len || pg_strncasecmp(line, name, name_len) != 0)
		return false;
	line += name_len;
	len -= name_len;
	while (len > 0 && (*line == ' ' || *line == '\t'))
	{
		line++;
		len--;
	}
	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	len = Min(len, size - 1);
	memcpy(value, line, len);
	value[len] = '\0';
	return true;
}

static size_t
on_header(char *line, size_t size, size_t n, void *arg)
{
	HttpCall   *call = arg;
	size_t		len = size * n;
	char		ignored[8];
	const char *stat_name = "X-Docker-Container-Path-Stat:";

	call->last_byte = now_ms();
	if (header_value(line, len, "Libpod-Api-Version:", ignored, sizeof(ignored)))
		call->is_podman = true;
	else if (header_value(line, len, "Server:", call->server, sizeof(call->server)))
		 /* copied */ ;
	else if (len < MAX_PATH_STAT && call->path_stat == NULL &&
			 header_value(line, len, stat_name, ignored, sizeof(ignored)))
	{
		call->path_stat = malloc(len);
		if (call->path_stat == NULL)
		{
			call->no_memory = true;
			return 0;
		}
		header_value(line, len, stat_name, call->path_stat, len);
	}
	return len;
}

static bool
collect_body(HttpCall *call, const char *data, size_t len)
{
	if (call->body_len + len + 1 > call->body_allocated)
	{
		size_t		allocated = Max(call->body_allocated, 1024);
		char	   *body;

		while (allocated < call->body_len + len + 1)
			allocated *= 2;
		body = realloc(call->body, allocated);
		if (body == NULL)
		{
			call->no_memory = true;
			return false;
		}
		call->body = body;
		call->body_allocated = allocated;
	}
	memcpy(call->body + call->body_len, data, len);
	call->body_len += len;
	call->body[call->body_len] = '\0';
	return true;
}

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	HttpCall   *call = arg;
	size_t		len = size * n;
	long		status = 0;
	bool		sunk;

	call->last_byte = now_ms();
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	sunk = call->request.sink != NULL && status >= 200 && status < 300;
	if (call->request.sink != NULL && !sunk)
	{
		/* an error's words, instead of what the sink waits for */
		size_t		room = DEFAULT_MAX_BODY - call->body_len;

		return collect_body(call, data, Min(len, room)) ? len : 0;
	}
	call->received += len;
	if (call->request.max_body != NEVER && call->received > call->request.max_body)
	{
		call->too_large = true;
		return 0;
	}
	if (!sunk)
		return collect_body(call, data, len) ? len : 0;
	if (!call->request.sink(call->request.sink_arg, data, len))
	{
		call->stopped = true;
		return 0;
	}
	if (call->request.fed != NULL && !call->is_fed)
	{
		call->is_fed = true;
		dlist_push_tail(&fed, &call->fed_node);
	}
	return len;
}

static size_t
on_upload(char *data, size_t size, size_t n, void *arg)
{
	HttpCall   *call = arg;
	ssize_t		got = call->request.source(call->request.source_arg, data, size * n);

	call->last_byte = now_ms();
	if (got < 0)
	{
		call->stopped = true;
		return CURL_READFUNC_ABORT;
	}
	return got;
}

/* --- called by the worker --- */

void
osa_http_open(void)
{
	if (multi != NULL)
		return;
	/* no TLS here, so none of libcurl's libraries needs to be initialized */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		elog(ERROR, "could not initialize libcurl");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create an epoll descriptor: %m")));
	ReserveExternalFD();
	multi = curl_multi_init();
	if (multi == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
}

int
osa_http_fd(void)
{
	return epoll_fd;
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
	int64		now = now_ms();
	int64		next = curl_timer;
	dlist_iter	iter;

	if (!dlist_is_empty(&finished) || !dlist_is_empty(&fed))
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
	if (next == NEVER)
		return DT_NOEND;
	return GetCurrentTimestamp() + Max(next - now, 0) * 1000;
}

void
osa_http_turn(void)
{
	int64		now = now_ms();

	if (delivering != NULL)
	{
		/* its done raised */
		free_call(delivering);
		delivering = NULL;
	}
	launch_waiting(now);
	drive_sockets(now);
	take_messages(now);
	expire(now);
	now = now_ms();
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
	call->deadline = now_ms() + delay_ms;
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
	release_easy(call);
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
		call->request.max_body = DEFAULT_MAX_BODY;
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

/* Takes the call away from libcurl. */
static void
release_easy(HttpCall *call)
{
	if (call->is_active)
	{
		curl_multi_remove_handle(multi, call->easy);
		call->is_active = false;
		if (!call->request.own_connection)
		{
			n_active--;
			call->host->n_active--;
		}
	}
	if (call->easy != NULL)
		curl_easy_cleanup(call->easy);
	call->easy = NULL;
	curl_slist_free_all(call->headers);
	call->headers = NULL;
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
	call->easy = curl_easy_init();
	if (call->easy == NULL || !set_options(call) ||
		curl_multi_add_handle(multi, call->easy) != CURLM_OK)
	{
		finish(call, HTTP_BROKEN, "could not set up a request");
		return;
	}
	call->is_active = true;
	call->deadline = call->request.timeout_ms > 0 ? now + call->request.timeout_ms : NEVER;
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

static bool
add_header(HttpCall *call, const char *header)
{
	struct curl_slist *headers = curl_slist_append(call->headers, header);

	if (headers == NULL)
		return false;
	call->headers = headers;
	return true;
}

static bool
set_options(HttpCall *call)
{
	CURL	   *easy = call->easy;
	const HttpRequest *request = &call->request;
	char		header[256];
	char	   *url = malloc(strlen(request->path) + sizeof("http://localhost"));
	CURLcode	code;

	if (url == NULL)
		return false;
	sprintf(url, "http://localhost%s", request->path);
	code = curl_easy_setopt(easy, CURLOPT_URL, url);
	free(url);
	if (code != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, call->host->socket_path) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http") != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") != CURLE_OK)
		return false;
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);

	snprintf(header, sizeof(header), "Content-Type:%s%s",
			 request->content_type ? " " : "", request->content_type ? request->content_type : "");
	if (!set_method(call) || !add_header(call, "Expect:") || !add_header(call, header))
		return false;
	return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

static bool
set_method(HttpCall *call)
{
	CURL	   *easy = call->easy;
	const HttpRequest *request = &call->request;

	if (request->source != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) request->source_len);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(easy, CURLOPT_READDATA, call);
	}
	else if (strcmp(request->method, "GET") == 0)
		return true;
	else if (strcmp(request->method, "HEAD") == 0)
		return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
	else if (strcmp(request->method, "DELETE") != 0 || request->body != NULL)
	{
		const char *body = request->body ? request->body : "";

		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(body));
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	}
	return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
}

/*
 * drive_sockets lets libcurl do what is ready.  It reads up to a hundred
 * buffers of one socket, so that a few large answers take a while.
 */
static void
drive_sockets(int64 now)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int			n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, 0);
	int			running;

	for (int i = 0; i < n && now_ms() - now <= TURN_MS; i++)
	{
		int			what = 0;

		if (events[i].events & (EPOLLIN | EPOLLHUP))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(multi, events[i].data.fd, what, &running);
	}
	if (curl_timer <= now_ms())
	{
		curl_timer = NEVER;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

static void
take_messages(int64 now)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		HttpCall   *call = NULL;
		CURLcode	result = message->data.result;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &call);
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
	release_easy(call);
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
	release_easy(call);
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
	while (!dlist_is_empty(&fed) && now_ms() - now <= TURN_MS)
	{
		HttpCall   *call = dlist_container(HttpCall, fed_node, dlist_pop_head_node(&fed));

		call->is_fed = false;
		call->request.fed(call->request.arg);
	}
}

static void
deliver_finished(int64 now)
{
	while (!dlist_is_empty(&finished) && now_ms() - now <= TURN_MS)
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

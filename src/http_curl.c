/*
 * http_curl.c
 *		libcurl's multi interface behind one epoll descriptor.
 *
 * Runs in the worker only.  libcurl tells us its sockets and its next timeout;
 * the sockets live in an epoll set of ours, whose descriptor is all that the
 * worker's loop knows.  Inside libcurl's callbacks nothing may raise, palloc or
 * call back into the multi handle: they note what happened in the call, and
 * http.c acts on it later.
 *
 * Each call has a connection of its own: on a Unix socket one costs some
 * microseconds, while connections that are kept hold descriptors which others
 * need, and may turn out to be closed when they are used again.
 */
#include "postgres.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/fd.h"

#include "http_call.h"

#define CONNECT_TIMEOUT_MS	2000L
#define MAX_PATH_STAT		(64 * 1024)
#define EVENTS_PER_TURN		64

dlist_head	osa_http_fed = DLIST_STATIC_INIT(osa_http_fed);

static CURLM *multi = NULL;
static int	epoll_fd = -1;
static int64 curl_timer = HTTP_NEVER;

static bool set_options(HttpCall *call);
static bool set_method(HttpCall *call);

/* --- called by libcurl: nothing may raise from here --- */

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
	curl_timer = timeout_ms < 0 ? HTTP_NEVER : osa_http_now() + timeout_ms;
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

	call->last_byte = osa_http_now();
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

	call->last_byte = osa_http_now();
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	sunk = call->request.sink != NULL && status >= 200 && status < 300;
	if (call->request.sink != NULL && !sunk)
	{
		/* an error's words, instead of what the sink waits for */
		size_t		room = HTTP_DEFAULT_MAX_BODY - call->body_len;

		return collect_body(call, data, Min(len, room)) ? len : 0;
	}
	call->received += len;
	if (call->request.max_body != HTTP_NEVER && call->received > call->request.max_body)
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
		dlist_push_tail(&osa_http_fed, &call->fed_node);
	}
	return len;
}

static size_t
on_upload(char *data, size_t size, size_t n, void *arg)
{
	HttpCall   *call = arg;
	ssize_t		got = call->request.source(call->request.source_arg, data, size * n);

	call->last_byte = osa_http_now();
	if (got < 0)
	{
		call->stopped = true;
		return CURL_READFUNC_ABORT;
	}
	return got;
}

/* --- called by http.c --- */

bool
osa_http_curl_open(void)
{
	/* no TLS here, so none of libcurl's libraries needs to be initialized */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return false;
	if (!AcquireExternalFD())
		return false;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
	{
		ReleaseExternalFD();
		return false;
	}
	multi = curl_multi_init();
	if (multi == NULL)
	{
		errno = ENOMEM;
		return false;
	}
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	return true;
}

int
osa_http_curl_fd(void)
{
	return epoll_fd;
}

int64
osa_http_curl_timer(void)
{
	return curl_timer;
}

bool
osa_http_curl_add(HttpCall *call)
{
	call->easy = curl_easy_init();
	if (call->easy != NULL && set_options(call) &&
		curl_multi_add_handle(multi, call->easy) == CURLM_OK)
		return true;
	osa_http_curl_remove(call);
	return false;
}

/* Ends the transfer, if there is one. */
void
osa_http_curl_remove(HttpCall *call)
{
	if (call->easy != NULL)
	{
		curl_multi_remove_handle(multi, call->easy);
		curl_easy_cleanup(call->easy);
		call->easy = NULL;
	}
	curl_slist_free_all(call->headers);
	call->headers = NULL;
}

HttpCall *
osa_http_curl_next(CURLcode *result)
{
	HttpCall   *call = NULL;
	CURLMsg    *message;
	int			left;

	message = curl_multi_info_read(multi, &left);
	if (message == NULL)
		return NULL;
	*result = message->data.result;
	curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &call);
	return call;
}

/*
 * osa_http_curl_drive lets libcurl do what is ready.  It reads up to a hundred
 * buffers of one socket, so that a few large answers take a while.
 */
void
osa_http_curl_drive(int64 now)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int			n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, 0);
	int			running;

	for (int i = 0; i < n && osa_http_now() - now <= HTTP_TURN_MS; i++)
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
	if (curl_timer <= osa_http_now())
	{
		curl_timer = HTTP_NEVER;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
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

/*
 * http.h
 *		HTTP over a Unix socket by libcurl's multi interface, driven by the
 *		worker's loop.  Knows nothing of hooks or engines.  Never raises from
 *		a libcurl callback; allocates with malloc inside libcurl only.
 *
 * A call ends exactly once, by its done function, which is called from
 * osa_http_turn() (never from inside osa_http_start()), outside of libcurl:
 * done may start or abort calls and may raise.  An aborted call ends silently.
 * Beyond a number of connections calls wait for their turn; their deadlines
 * begin when they are sent.
 */
#ifndef OSA_HTTP_H
#define OSA_HTTP_H

#include "types.h"

typedef struct HttpCall HttpCall;

typedef enum HttpEnd
{
	HTTP_ANSWERED,				/* status is set, whatever it is */
	HTTP_UNREACHABLE,			/* could not connect */
	HTTP_DEADLINE,				/* no whole answer in time */
	HTTP_TOO_LARGE,				/* more body than max_body */
	HTTP_BROKEN					/* connection broke or was no HTTP */
} HttpEnd;

typedef struct HttpReply
{
	HttpEnd		end;
	int			status;			/* 0: none arrived */
	const char *error;			/* what went wrong unless HTTP_ANSWERED */
	const char *body;			/* zero-terminated; "" when a sink took it */
	size_t		body_len;
	const char *path_stat;		/* X-Docker-Container-Path-Stat or NULL */
	const char *server;			/* Server or NULL */
	bool		is_podman;		/* Libpod-Api-Version was there */
} HttpReply;

typedef void (*HttpDone) (void *arg, const HttpReply *reply);

/* Takes body bytes of a 2xx answer as they come; false aborts (HTTP_BROKEN).
 * Called inside libcurl: must not raise. */
typedef bool (*HttpSink) (void *arg, const char *data, size_t len);

/* Gives up to len bytes of a request body; 0 = end, -1 = abort.  Called inside
 * libcurl: must not raise. */
typedef ssize_t (*HttpSource) (void *arg, char *data, size_t len);

/* Bytes went into the sink since the last time.  Called from osa_http_turn()
 * outside of libcurl, under the same rules as done. */
typedef void (*HttpFed) (void *arg);

typedef struct HttpRequest
{
	const char *socket_path;	/* absolute path of the Unix socket */
	const char *method;			/* GET HEAD POST PUT DELETE */
	const char *path;			/* from the slash, encoded */
	const char *body;			/* or NULL; copied */
	const char *content_type;	/* or NULL */
	HttpSource	source;			/* instead of body, with source_len */
	int64		source_len;
	HttpSink	sink;			/* or NULL: body is collected */
	int64		max_body;		/* bytes collected or sunk at most; 0: 64 KiB */
	int			timeout_ms;		/* whole call; 0: none */
	int			idle_timeout_ms;	/* without a byte either way; 0: none */
	bool		own_connection; /* streams: never wait for others to end */
	HttpDone	done;
	HttpFed		fed;			/* or NULL */
	void	   *sink_arg;
	void	   *source_arg;
	void	   *arg;
} HttpRequest;

extern void osa_http_open(void);	/* once a process, after fork */
extern int	osa_http_fd(void);	/* epoll fd that holds every socket */
extern TimestampTz osa_http_deadline(void); /* DT_NOEND: none */
extern void osa_http_turn(void);	/* after the fd was ready or the deadline
									 * passed; cheap when nothing is due */
extern int	osa_http_calls(void);	/* calls under way */

/* Raises only if out of memory.  Refusals (no fd left) end in done too. */
extern HttpCall *osa_http_start(const HttpRequest *request);
extern void osa_http_abort(HttpCall *call);

/* A timer that ends as a call does, with HTTP_DEADLINE, after delay_ms. */
extern HttpCall *osa_http_after(int delay_ms, HttpDone done, void *arg);

#endif							/* OSA_HTTP_H */

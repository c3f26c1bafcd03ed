/*
 * http_call.h
 *		What http.c, which knows when a call is sent and when it is over, and
 *		http_curl.c, which knows libcurl, share.
 */
#ifndef OSA_HTTP_CALL_H
#define OSA_HTTP_CALL_H

#include <curl/curl.h>

#include "lib/ilist.h"

#include "http.h"

/* Of a body, where the request says none; of an error's body always. */
#define HTTP_DEFAULT_MAX_BODY	(64 * 1024)
/* What one turn may take; the rest is ready again in the next one. */
#define HTTP_TURN_MS			10
#define HTTP_NEVER				PG_INT64_MAX

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
	CURL	   *easy;			/* NULL unless with libcurl */
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

/* Monotonic milliseconds. */
extern int64 osa_http_now(void);

/* http_curl.c */

/* Calls whose sink got bytes, by fed_node. */
extern dlist_head osa_http_fed;

extern bool osa_http_curl_open(void);
extern int	osa_http_curl_fd(void);
extern int64 osa_http_curl_timer(void); /* HTTP_NEVER: none */
extern bool osa_http_curl_add(HttpCall *call);
extern void osa_http_curl_remove(HttpCall *call);
extern void osa_http_curl_drive(int64 now);
/* A call that libcurl is done with and that is still to be removed, or NULL. */
extern HttpCall *osa_http_curl_next(CURLcode *result);

#endif							/* OSA_HTTP_CALL_H */

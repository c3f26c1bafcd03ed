/*
 * args.h
 *		Arguments of SQL-callable functions: reading them, and the checks that
 *		several functions share.  Everything raises, with a hint; nothing
 *		writes.  n counts arguments from 0, name is the one users see.
 */
#ifndef OSA_ARGS_H
#define OSA_ARGS_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"

/* Longest texts that users give, in bytes. */
#define OSA_DEPOSITION_ID_MAX	500
#define OSA_KEY_MAX				500
#define OSA_VERSION_MAX			100
#define OSA_TITLE_MAX			1000
#define OSA_REASON_MAX			4000

extern void osa_arg_required(FunctionCallInfo fcinfo, int n, const char *name);
extern int64 osa_arg_int64(FunctionCallInfo fcinfo, int n, const char *name);
extern int32 osa_arg_int32(FunctionCallInfo fcinfo, int n, const char *name);
extern bool osa_arg_bool(FunctionCallInfo fcinfo, int n, const char *name);

/* Text of 1 to max bytes; _opt: NULL if NULL, and may be empty. */
extern char *osa_arg_text(FunctionCallInfo fcinfo, int n, const char *name, int max);
extern char *osa_arg_text_opt(FunctionCallInfo fcinfo, int n, const char *name, int max);

/* Text without control characters. */
extern char *osa_arg_plain(FunctionCallInfo fcinfo, int n, const char *name, int max);

/* ^[a-z][a-z0-9_]{0,39}$; what: "hook", "pipeline", "runner". */
extern char *osa_arg_name(FunctionCallInfo fcinfo, int n, const char *name, const char *what);

/* One of a NULL-terminated list of words. */
extern char *osa_arg_word(FunctionCallInfo fcinfo, int n, const char *name, const char *const *words);

extern Jsonb *osa_arg_jsonb(FunctionCallInfo fcinfo, int n, const char *name);
/* A JSON object, else this SQLSTATE. */
extern Jsonb *osa_arg_object(FunctionCallInfo fcinfo, int n, const char *name, int sqlstate);

/* The document's text in UTF-8, whatever the database's encoding. */
extern char *osa_jsonb_utf8(Jsonb *document);

/* What "object", "array", ... a document is, for messages. */
extern const char *osa_jsonb_kind(Jsonb *document);

/* A W3C trace context: traceparent. */
extern void osa_check_traceparent(const char *traceparent);

#endif							/* OSA_ARGS_H */

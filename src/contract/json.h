/*
 * json.h
 *		A pull reader of one JSON text, for what outsiders wrote.
 *
 * The tokens are PostgreSQL's own (json_lex); nesting is counted here, so that
 * no input can exhaust the stack.  Errors are values: nothing here raises,
 * whatever the input and the database's encoding, except when out of memory.
 * What it accepts, the jsonb input function accepts too: valid UTF-8, no
 * \u0000, whole surrogate pairs, numbers that numeric can hold.
 *
 * The text is UTF-8, whatever the database's encoding.
 */
#ifndef OSA_JSON_H
#define OSA_JSON_H

#include "postgres.h"

#include "common/jsonapi.h"

/* deepest nesting of objects and arrays */
#define OSA_JSON_MAX_DEPTH	64
/* all numbers of one text, written out without exponents, in excess of the
 * text's length: "1e131000" is eight bytes here and 128 KiB when printed */
#define OSA_JSON_MAX_EXCESS	(16 * 1024 * 1024)

typedef enum JsonEvent
{
	JSON_EVENT_ERROR,			/* osa_json_error tells; stays so */
	JSON_EVENT_END,				/* the text is whole and nothing follows */
	JSON_EVENT_OBJECT,
	JSON_EVENT_OBJECT_END,
	JSON_EVENT_ARRAY,
	JSON_EVENT_ARRAY_END,
	JSON_EVENT_KEY,
	JSON_EVENT_STRING,
	JSON_EVENT_NUMBER,
	JSON_EVENT_TRUE,
	JSON_EVENT_FALSE,
	JSON_EVENT_NULL
} JsonEvent;

typedef struct JsonReader
{
	JsonLexContext *lex;		/* in the context of osa_json_begin */
	JsonEvent	event;			/* the last one returned */
	const char *token;			/* its text, strings with their quotes */
	int			token_len;
	int			depth;			/* after the event */
	int			expect;
	bool		in_object[OSA_JSON_MAX_DEPTH];
	int64		excess;
	const char *error;			/* a phrase, or NULL */
	int			error_at;		/* byte, from 1 */
} JsonReader;

/* The text must stay as long as the reader is used; need not end in a zero. */
extern void osa_json_begin(JsonReader *reader, const char *text, size_t len);
extern JsonEvent osa_json_next(JsonReader *reader);

/* After the first event of a value: goes on to the value's last event; false
 * on an error.  At once true for a scalar. */
extern bool osa_json_skip(JsonReader *reader);

/* Does the KEY or STRING just returned say this? */
extern bool osa_json_equals(const JsonReader *reader, const char *text);

/* The KEY or STRING just returned, unescaped, in the current context. */
extern char *osa_json_text(const JsonReader *reader);

/* The NUMBER just returned as an integer in range; false if it is none. */
extern bool osa_json_integer(const JsonReader *reader, int64 min, int64 max, int64 *value);

/* The NUMBER just returned, if float8 can hold it. */
extern bool osa_json_double(const JsonReader *reader, double *value);

/* Line of the last token, from 1. */
extern int	osa_json_line(const JsonReader *reader);

#endif							/* OSA_JSON_H */

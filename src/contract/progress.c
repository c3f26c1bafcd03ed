/*
 * progress.c
 *		Reads progress.jsonl: while the hook runs, and a line for output.c.
 *
 * Runs in the worker.  Progress is advice: a bad line is skipped.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "json.h"
#include "progress.h"

/* a line longer than this is no progress */
#define PROGRESS_LINE_MAX	(64 * 1024)

static void cut(const char *text, int max);

bool
osa_progress_line(const char *text, size_t len, ProgressLine *line)
{
	JsonReader	reader;

	memset(line, 0, sizeof(*line));
	osa_json_begin(&reader, text, len);
	if (osa_json_next(&reader) != JSON_EVENT_OBJECT)
		return false;
	while (osa_json_next(&reader) == JSON_EVENT_KEY)
	{
		const char **field = NULL;

		if (osa_json_equals(&reader, "status"))
			field = &line->status;
		else if (osa_json_equals(&reader, "step"))
			field = &line->step;
		else if (osa_json_equals(&reader, "message"))
			field = &line->message;
		else if (osa_json_equals(&reader, "id"))
			field = &line->record_id;

		osa_json_next(&reader);
		if (field == NULL)
			osa_json_skip(&reader);
		else if (reader.event == JSON_EVENT_STRING)
			*field = osa_json_text(&reader);
		else if (reader.event != JSON_EVENT_NULL)
			return false;
	}
	return reader.event == JSON_EVENT_OBJECT_END &&
		osa_json_next(&reader) == JSON_EVENT_END && line->status != NULL;
}

int
osa_progress_parse(const char *data, size_t len, int max, ProgressLine **lines, size_t *consumed)
{
	ProgressLine *found = palloc(sizeof(ProgressLine) * Max(max, 1));
	const char *end;
	int			n = 0;

	while (len > 0 && data[len - 1] != '\n')
		len--;
	*consumed = len;

	/* backwards, since the last ones count */
	end = data + len;
	while (end > data && n < max)
	{
		const char *start = --end;	/* the newline */
		ProgressLine *line = &found[max - 1 - n];

		while (start > data && start[-1] != '\n')
			start--;
		if (end - start <= PROGRESS_LINE_MAX && osa_progress_line(start, end - start, line) &&
			(line->record_id == NULL || strlen(line->record_id) <= OSA_RECORD_ID_MAX))
		{
			cut(line->status, OSA_PROGRESS_TEXT_MAX);
			cut(line->step, OSA_PROGRESS_TEXT_MAX);
			cut(line->message, OSA_PROGRESS_MESSAGE_MAX);
			n++;
		}
		end = start;
	}
	memmove(found, found + max - n, sizeof(ProgressLine) * n);
	*lines = found;
	return n;
}

/* Cuts our own copy of a text, between two characters. */
static void
cut(const char *text, int max)
{
	if (text != NULL && strlen(text) > (size_t) max)
		unconstify(char *, text)[pg_encoding_mbcliplen(PG_UTF8, text, strlen(text), max)] = '\0';
}

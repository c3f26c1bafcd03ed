/*
 * fuzz_test.c
 *		Random and mutated input to everything that parses: nothing may raise
 *		or crash, and what is accepted must be jsonb.
 */
#include "tap.h"

#include <time.h>

#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "contract/columns.h"
#include "contract/json.h"
#include "contract/limits.h"
#include "contract/paths.h"

static pg_prng_state prng;

static const char *const pieces[] = {
	"{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\u0000", "\\ud83d", "\\udc0d", "null", "true", "false", "NaN", "1", "-", "0.5", "1e5",
	"1e400000", "1e-20000", "e", "\"id\":\"a\"", "\"id\":\"b\"", "\"features\":[", "\"reason\":\"r\"", "\"error\":\"e\"", "\"retryable\":true",
	"\"status\":\"rejected\"", "{\"id\":\"a\",\"features\":[{\"x\":1}]}", "{\"id\":\"b\",\"reason\":\"r\"}", "{\"id\":\"c\",\"error\":\"e\"}",
	"{\"id\":\"c\",\"features\":[1,null,{\"k\":[]}]}", "\n", "\r\n", " ", "\t", "\xc3\xa9", "\xc3", "\xff", "\xf0\x9f\x90\x8d", "\xed\xa0\x80", "x",
	"5 min", "1GiB", "\"timeout\":", "\"memory\":", "\"name\":\"a\"", "\"type\":\"int4\"", "\"x\":"
};

static uint32
pick(uint32 n)
{
	return pg_prng_uint64_range(&prng, 0, n - 1);
}

static void
random_text(StringInfo s)
{
	int			n = pick(40);

	resetStringInfo(s);
	for (int i = 0; i < n; i++)
	{
		if (pick(12) == 0)
			appendStringInfoChar(s, pick(256));
		else
			appendStringInfoString(s, pieces[pick(lengthof(pieces))]);
	}
}

static void
mutate(StringInfo s)
{
	int			n = pick(4);

	for (int i = 0; i < n && s->len > 0; i++)
	{
		int			at = pick(s->len);

		switch (pick(3))
		{
			case 0:
				s->data[at] = pick(256);
				break;
			case 1:
				s->data[at] ^= 1 << pick(8);
				break;
			default:
				s->len = at;
				break;
		}
	}
	s->data[s->len] = '\0';
}

/* A JSON text: ours accepts no more than jsonb does, and no less but for its caps. */
static void
fuzz_json(StringInfo s, int *n_accepted, int *n_rejected)
{
	JsonReader	reader;
	MemoryContext context = CurrentMemoryContext;
	volatile bool jsonb_good = true;

	if (strlen(s->data) != (size_t) s->len)
		return;
	osa_json_begin(&reader, s->data, s->len);
	while (osa_json_next(&reader) != JSON_EVENT_ERROR && reader.event != JSON_EVENT_END)
	{
		if (reader.event == JSON_EVENT_KEY || reader.event == JSON_EVENT_STRING)
			pfree(osa_json_text(&reader));
	}
	if (GetDatabaseEncoding() != PG_UTF8 || !pg_verifymbstr(s->data, s->len, true))
		return;

	PG_TRY();
	{
		(void) DirectFunctionCall1(jsonb_in, CStringGetDatum(s->data));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		jsonb_good = false;
	}
	PG_END_TRY();
	if ((reader.event == JSON_EVENT_END) != jsonb_good)
		tap_ok(false, "jsonb %s but ours says %s: %s", jsonb_good ? "accepts" : "refuses",
			   reader.error ? reader.error : "good", s->data);
	if (jsonb_good)
		(*n_accepted)++;
	else
		(*n_rejected)++;
}

/* Documents and names: no crash is all that is asked. */
static void
fuzz_documents(StringInfo s)
{
	HookLimits	limits;
	FeatureColumn *columns;
	ProgressLine *lines;
	Failure		failure;
	char	   *normalised;
	size_t		consumed;
	int			n;

	if (osa_limits_parse(s->data, &limits, &normalised, &failure))
		pfree(normalised);
	(void) osa_columns_parse(s->data, CurrentMemoryContext, &columns, &n, &failure);
	n = osa_progress_parse(s->data, s->len, pick(5), &lines, &consumed);
	for (int i = 0; i < n; i++)
	{
		if (pg_encoding_verifymbstr(PG_UTF8, lines[i].status, strlen(lines[i].status)) != (int) strlen(lines[i].status))
			tap_ok(false, "progress status is not UTF-8");
	}
	(void) osa_record_id_problem(s->data, s->len);
	(void) osa_file_path_problem(s->data, s->len);
	(void) osa_image_name_problem(s->data);
}

/* An archive of random files, sometimes damaged. */
static void
fuzz_output(StringInfo s, StringInfo tar, int *n_good, int *n_bad)
{
	static const char *const names[] = {
		"out/features.jsonl", "out/rejections.jsonl", "out/errors.jsonl", "out/progress.jsonl", "out/features.json", "out/x", "../x", "out/sub/y"
	};
	static const char types[] = "000000000000000000012345678LKxgS";
	InputRecord records[] = {{.id = "a"}, {.id = "b"}, {.id = "c"}};
	FeatureColumn column = {"x", "int4", true};
	OutputSpec	spec = {0};
	Spool	   *spool = osa_spool_open(CurrentMemoryContext);
	OutputReader *reader;
	const OutcomeRow *rows;
	int			n = pick(6);

	spec.records = records;
	spec.n_records = 1 + pick(3);
	spec.mode = (OutputMode) pick(3);
	spec.cardinality = (HookCardinality) pick(3);
	spec.columns = &column;
	spec.n_columns = pick(2);
	spec.max_bytes = 100000;
	spec.max_line_bytes = 200;

	resetStringInfo(tar);
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	for (int i = 0; i < n; i++)
	{
		char		type = types[pick(strlen(types))];

		if (pick(2) == 0)
			random_text(s);
		else
		{
			resetStringInfo(s);
			for (int l = pick(4); l > 0; l--)
				appendStringInfo(s, "%s\n", pieces[30 + pick(4)]);
		}
		tar_add(tar, names[pick(lengthof(names))], type, pick(8) == 0 ? "x" : NULL, s->data, s->len);
	}
	tar_end(tar);
	if (pick(3) == 0)
		mutate(tar);
	if (!osa_spool_write(spool, tar->data, tar->len))
		elog(ERROR, "could not write the spool: %m");
	osa_spool_rewind(spool);
	reader = osa_output_begin(CurrentMemoryContext, &spec, spool);
	while (osa_output_step(reader))
		;
	n = osa_output_rows(reader, &rows);
	if (osa_output_failure(reader)->kind != FAILURE_NONE)
	{
		(*n_bad)++;
		if (n != 0)
			tap_ok(false, "rows in spite of a failure");
	}
	else
	{
		(*n_good)++;
		if (spec.mode == OUTPUT_EXITED && n != spec.n_records)
			tap_ok(false, "a record has no row");
	}
	for (int i = 0; i < n; i++)
	{
		const char *text = rows[i].features;

		if (rows[i].status == OUTCOME_REJECTED && rows[i].reason == NULL)
			tap_ok(false, "no reason");
		if (rows[i].status == OUTCOME_ERRORED && rows[i].error == NULL)
			tap_ok(false, "no error");
		if (text != NULL && GetDatabaseEncoding() == PG_UTF8)
			(void) DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	osa_output_end(reader);
	osa_spool_close(spool);
}

void
test_fuzz(double seconds, uint64 seed)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fuzz", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	int			out_len = tap_out->len;
	int			counts[4] = {0};
	int			n = 0;
	struct timespec begun;
	struct timespec now;

	pg_prng_seed(&prng, seed);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	do
	{
		StringInfoData s;
		StringInfoData tar;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		initStringInfo(&s);
		initStringInfo(&tar);
		random_text(&s);
		fuzz_json(&s, &counts[0], &counts[1]);
		random_text(&s);
		fuzz_documents(&s);
		fuzz_output(&s, &tar, &counts[2], &counts[3]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		n++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begun.tv_sec + (now.tv_nsec - begun.tv_nsec) / 1e9 < seconds && tap_out->len < out_len + 5000);

	tap_ok(tap_out->len == out_len, "fuzz: %d rounds, seed " UINT64_FORMAT ": nothing wrong", n, seed);
	tap_ok(n > 10 && counts[2] > 0 && counts[3] > 0, "output: %d good, %d bad", counts[2], counts[3]);
	if (GetDatabaseEncoding() == PG_UTF8)
		tap_ok(counts[0] > 0 && counts[1] > 0, "jsonb agrees: %d accepted, %d refused", counts[0], counts[1]);
}

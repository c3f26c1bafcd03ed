/*
 * main.c
 *		Entry of the tests of src/runner, http.c and spool.c, and their TAP
 *		helpers.  Runs in a backend of a private cluster.
 */
#include "tap.h"

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(osa_runner_test);

StringInfo	tap_out;
const char *tap_socket;

Datum
osa_runner_test(PG_FUNCTION_ARGS)
{
	static const struct
	{
		const char *name;
		void		(*run) (void);
	}			suites[] = {
		{"spec", test_spec}, {"facts", test_facts}, {"replies", test_replies},
		{"verdicts", test_verdicts}, {"decoders", test_decoders}, {"spool", test_spool},
		{"engine", test_engine}, {"calls", test_calls}
	};
	char	   *suite = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		found = false;

	tap_socket = text_to_cstring(PG_GETARG_TEXT_PP(1));
	tap_out = makeStringInfo();
	for (int i = 0; i < (int) lengthof(suites); i++)
	{
		if (strcmp(suites[i].name, suite) != 0)
			continue;
		found = true;
		suites[i].run();
	}
	if (!found)
		elog(ERROR, "no such suite: %s", suite);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(tap_out->data, Max(tap_out->len - 1, 0)));
}

static void
tap_line(bool good, const char *text)
{
	appendStringInfo(tap_out, "%sok - ", good ? "" : "not ");
	for (const char *p = text; *p; p++)
		appendStringInfoChar(tap_out, IS_HIGHBIT_SET(*p) || *p < ' ' || *p == '#' ? '?' : *p);
	appendStringInfoChar(tap_out, '\n');
}

void
tap_ok(bool good, const char *fmt,...)
{
	char		name[300];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	tap_line(good, name);
}

void
tap_is(const char *got, const char *wanted, const char *name)
{
	bool		good = strcmp(got, wanted) == 0;

	tap_line(good, name);
	if (!good)
		tap_line(false, psprintf("... got \"%.400s\", wanted \"%.400s\"", got, wanted));
}

void
tap_is_int(int64 got, int64 wanted, const char *name)
{
	tap_is(psprintf(INT64_FORMAT, got), psprintf(INT64_FORMAT, wanted), name);
}

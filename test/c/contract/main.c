/*
 * main.c
 *		Entry of the tests of src/contract, and their TAP helpers.  Runs in a
 *		backend of a private cluster.
 */
#include "tap.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(osa_contract_test);

StringInfo	tap_out;
const char *tap_folder;

Datum
osa_contract_test(PG_FUNCTION_ARGS)
{
	char	   *suite = text_to_cstring(PG_GETARG_TEXT_PP(0));

	tap_folder = text_to_cstring(PG_GETARG_TEXT_PP(1));
	tap_out = makeStringInfo();
	if (strcmp(suite, "json") == 0)
		test_json();
	else if (strcmp(suite, "paths") == 0)
		test_paths();
	else if (strcmp(suite, "limits") == 0)
		test_limits();
	else if (strcmp(suite, "columns") == 0)
		test_columns();
	else if (strcmp(suite, "progress") == 0)
		test_progress();
	else if (strcmp(suite, "input") == 0)
		test_input();
	else if (strcmp(suite, "output") == 0)
		test_output();
	else if (strcmp(suite, "fuzz") == 0)
		test_fuzz(PG_GETARG_FLOAT8(2), PG_GETARG_INT64(3));
	else
		elog(ERROR, "no such suite: %s", suite);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(tap_out->data, Max(tap_out->len - 1, 0)));
}

bool
tap_ok(bool good, const char *fmt,...)
{
	char		name[300];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	/* names end up in text of any encoding */
	for (char *p = name; *p; p++)
	{
		if (IS_HIGHBIT_SET(*p) || *p < ' ' || *p == '#')
			*p = '?';
	}
	appendStringInfo(tap_out, "%sok - %s\n", good ? "" : "not ", name);
	return good;
}

/* A line of explanation after a failure. */
static void
tap_note(const char *what, const char *text)
{
	appendStringInfo(tap_out, "# %s: ", what);
	for (int i = 0; text[i] != '\0' && i < 2000; i++)
		appendStringInfoChar(tap_out, IS_HIGHBIT_SET(text[i]) || text[i] < ' ' ? '?' : text[i]);
	appendStringInfoChar(tap_out, '\n');
}

void
tap_is(const char *got, const char *wanted, const char *name)
{
	if (!tap_ok(strcmp(got, wanted) == 0, "%s", name))
	{
		tap_note("   got", got);
		tap_note("wanted", wanted);
	}
}

void
tap_like(const char *got, const char *wanted, const char *name)
{
	bool		good;

	if (wanted[0] == '!')
		good = got[0] == '!' && strstr(got, wanted + 1) != NULL;
	else
		good = strcmp(got, wanted) == 0;
	if (!tap_ok(good, "%s", name))
	{
		tap_note("   got", got);
		tap_note("wanted", wanted);
	}
}

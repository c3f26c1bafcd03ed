/*
 * limits.c
 *		The limits document of a release.
 *
 * Runs in backends, when a release is added, and in the worker, which reads
 * the normalised form.  Never raises: times are read by the parts of the
 * interval type that return codes.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "json.h"
#include "limits.h"

#define KIB				1024.0
#define MIB				(1024 * KIB)
#define GIB				(1024 * MIB)
#define MAX_SIZE		(1024 * 1024 * GIB)
#define MAX_TIME		(30 * 86400.0)
/* longest text of one value */
#define MAX_VALUE_LEN	100

typedef enum LimitKind
{
	LIMIT_SIZE,
	LIMIT_TIME,
	LIMIT_CORES,
	LIMIT_COUNT
} LimitKind;

typedef struct LimitKey
{
	const char *name;
	LimitKind	kind;
	double		min;
	double		max;
	const char *range;
} LimitKey;

/* The smallest memory is what Docker accepts. */
static const LimitKey limit_keys[] = {
	{"timeout", LIMIT_TIME, 0.001, MAX_TIME, "more than zero and at most 30 days"},
	{"memory", LIMIT_SIZE, 6 * MIB, MAX_SIZE, "between 6 MiB and 1 PiB"},
	{"cpu", LIMIT_CORES, 0.001, 1024, "between 0.001 and 1024 cores"},
	{"pids", LIMIT_COUNT, 1, 32768, "between 1 and 32768"},
	{"tmpfs", LIMIT_SIZE, 1, MAX_SIZE, "more than zero and at most 1 PiB"},
	{"output", LIMIT_SIZE, 1, MAX_SIZE, "more than zero and at most 1 PiB"},
	{"retries", LIMIT_COUNT, 0, 100, "between 0 and 100"},
	{"retry_delay", LIMIT_TIME, 0.001, MAX_TIME, "more than zero and at most 30 days"},
	{"retry_delay_max", LIMIT_TIME, 0.001, MAX_TIME, "more than zero and at most 30 days"}
};

/* Units of size; all are powers of 1024. */
static const struct
{
	const char *unit;
	double		bytes;
}			size_units[] =
{
	{"", 1}, {"b", 1}, {"B", 1},
	{"k", KIB}, {"kB", KIB}, {"KiB", KIB}, {"Ki", KIB},
	{"m", MIB}, {"MB", MIB}, {"MiB", MIB}, {"Mi", MIB},
	{"g", GIB}, {"GB", GIB}, {"GiB", GIB}, {"Gi", GIB}
};

static void set_default_limits(HookLimits *limits);
static bool read_limit(JsonReader *reader, const LimitKey *key, HookLimits *limits,
					   StringInfo out, Failure *failure);
static bool parse_size(const char *text, double *bytes);
static bool parse_time(const char *text, double *seconds);
static void store_limit(HookLimits *limits, int index, double value);

bool
osa_limits_parse(const char *json, HookLimits *limits, char **normalised, Failure *failure)
{
	JsonReader	reader;
	StringInfoData out;
	bool		seen[lengthof(limit_keys)] = {false};

	set_default_limits(limits);
	osa_json_begin(&reader, json, strlen(json));
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	if (osa_json_next(&reader) != JSON_EVENT_OBJECT)
	{
		osa_fail(failure, FAILURE_CONFIG, "limits must be a JSON object");
		return false;
	}
	while (osa_json_next(&reader) == JSON_EVENT_KEY)
	{
		int			i = 0;

		while (i < (int) lengthof(limit_keys) && !osa_json_equals(&reader, limit_keys[i].name))
			i++;
		if (i == lengthof(limit_keys))
		{
			osa_fail(failure, FAILURE_CONFIG, "unrecognized limit %.*s",
					 Min(reader.token_len, MAX_VALUE_LEN), reader.token);
			return false;
		}
		if (seen[i])
		{
			osa_fail(failure, FAILURE_CONFIG, "limit \"%s\" is given twice", limit_keys[i].name);
			return false;
		}
		seen[i] = true;
		if (!read_limit(&reader, &limit_keys[i], limits, &out, failure))
			return false;
	}
	if (reader.event == JSON_EVENT_ERROR || osa_json_next(&reader) != JSON_EVENT_END)
	{
		osa_fail(failure, FAILURE_CONFIG, "limits document %s", reader.error);
		return false;
	}
	if (limits->retry_delay > limits->retry_delay_max)
	{
		osa_fail(failure, FAILURE_CONFIG,
				 "limit \"retry_delay\" (%g s) must not be longer than \"retry_delay_max\" (%g s)",
				 limits->retry_delay, limits->retry_delay_max);
		return false;
	}
	appendStringInfoChar(&out, '}');
	*normalised = out.data;
	return true;
}

static void
set_default_limits(HookLimits *limits)
{
	limits->timeout = 300;
	limits->memory = (int64) (512 * MIB);
	limits->cpu = 1;
	limits->pids = 256;
	limits->tmpfs = (int64) (64 * MIB);
	limits->output = (int64) (64 * MIB);
	limits->retries = 3;
	limits->retry_delay = 60;
	limits->retry_delay_max = 300;
}

static bool
read_limit(JsonReader *reader, const LimitKey *key, HookLimits *limits,
		   StringInfo out, Failure *failure)
{
	static const char *const wanted[] = {
		"a size such as \"512MiB\" or a number of bytes",
		"a time such as \"5 min\" or a number of seconds",
		"a number of cores",
		"a whole number"
	};
	JsonEvent	event = osa_json_next(reader);
	double		value = 0;
	bool		valid = false;
	char		number[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (event == JSON_EVENT_ERROR)
	{
		osa_fail(failure, FAILURE_CONFIG, "limits document %s", reader->error);
		return false;
	}
	if (event == JSON_EVENT_NUMBER)
		valid = osa_json_double(reader, &value);
	else if (event == JSON_EVENT_STRING && reader->token_len <= MAX_VALUE_LEN)
	{
		char	   *text = osa_json_text(reader);

		if (key->kind == LIMIT_SIZE)
			valid = parse_size(text, &value);
		else if (key->kind == LIMIT_TIME)
			valid = parse_time(text, &value);
		pfree(text);
	}
	if (key->kind == LIMIT_COUNT && value != rint(value))
		valid = false;
	if (!valid)
	{
		osa_fail(failure, FAILURE_CONFIG, "limit \"%s\" must be %s, not %.*s", key->name,
				 wanted[key->kind], Min(reader->token_len, MAX_VALUE_LEN), reader->token);
		return false;
	}
	if (key->kind == LIMIT_SIZE)
		value = rint(value);
	if (value < key->min || value > key->max)
	{
		osa_fail(failure, FAILURE_CONFIG, "limit \"%s\" must be %s, not %.*s", key->name,
				 key->range, Min(reader->token_len, MAX_VALUE_LEN), reader->token);
		return false;
	}
	store_limit(limits, key - limit_keys, value);

	if (out->len > 1)
		appendStringInfoString(out, ", ");
	if (value == rint(value))
		snprintf(number, sizeof(number), "%.0f", value);
	else
		double_to_shortest_decimal_buf(value, number);
	appendStringInfo(out, "\"%s\": %s", key->name, number);
	return true;
}

/* Digits with at most one point, blanks, a unit. */
static bool
parse_size(const char *text, double *bytes)
{
	size_t		digits;
	size_t		points = 0;
	const char *unit;

	text += strspn(text, " ");
	digits = strspn(text, "0123456789.");
	for (size_t i = 0; i < digits; i++)
		points += text[i] == '.';
	if (digits == points || points > 1)
		return false;
	*bytes = strtod(text, NULL);
	unit = text + digits;
	unit += strspn(unit, " ");
	for (int i = 0; i < (int) lengthof(size_units); i++)
	{
		if (strcmp(unit, size_units[i].unit) == 0)
		{
			*bytes *= size_units[i].bytes;
			return true;
		}
	}
	return false;
}

/* Interval text, but without months and years, whose length varies. */
static bool
parse_time(const char *text, double *seconds)
{
	char		work[MAXDATELEN * 2 + 1];
	char		copy[MAX_VALUE_LEN + 1];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf;
	int			dtype;
	int			code;
	struct pg_itm_in itm;

	memset(&itm, 0, sizeof(itm));
	code = ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf);
	if (code == 0)
		code = DecodeInterval(field, ftype, nf, INTERVAL_FULL_RANGE, &dtype, &itm);
	if (code == DTERR_BAD_FORMAT)
	{
		strlcpy(copy, text, sizeof(copy));
		code = DecodeISO8601Interval(copy, &dtype, &itm);
	}
	if (code != 0 || dtype != DTK_DELTA || itm.tm_year != 0 || itm.tm_mon != 0)
		return false;
	*seconds = itm.tm_mday * 86400.0 + itm.tm_usec / 1000000.0;
	return true;
}

static void
store_limit(HookLimits *limits, int index, double value)
{
	switch (index)
	{
		case 0:
			limits->timeout = value;
			break;
		case 1:
			limits->memory = (int64) value;
			break;
		case 2:
			limits->cpu = value;
			break;
		case 3:
			limits->pids = (int) value;
			break;
		case 4:
			limits->tmpfs = (int64) value;
			break;
		case 5:
			limits->output = (int64) value;
			break;
		case 6:
			limits->retries = (int) value;
			break;
		case 7:
			limits->retry_delay = value;
			break;
		case 8:
			limits->retry_delay_max = value;
			break;
	}
}

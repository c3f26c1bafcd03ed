/*
 * types.c
 *		Text names of the enums, and Failure's constructor.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "types.h"

static const char *const run_names[] = {
	"pending", "running", "completed", "rejected", "failed", "cancelled"
};
static const char *const step_names[] = {
	"pending", "running", "passed", "rejected", "failed", "skipped", "cancelled"
};
static const char *const outcome_names[] = {"passed", "rejected", "errored"};
static const char *const event_names[] = {
	"DepositionSubmitted", "RunNextHook", "ValidationCompleted", "ValidationFailed"
};
static const char *const failure_names[] = {
	NULL, "image_pull", "config", "oom", "timeout", "runtime", "hook_exit",
	"hook_output", "record_error", "internal", "cancelled"
};
static const char *const cardinality_names[] = {"none", "one", "many"};

const char *
osa_run_status_name(RunStatus status)
{
	return run_names[status];
}

const char *
osa_step_status_name(StepStatus status)
{
	return step_names[status];
}

const char *
osa_outcome_status_name(OutcomeStatus status)
{
	return outcome_names[status];
}

const char *
osa_event_type_name(EventType type)
{
	return event_names[type];
}

const char *
osa_failure_name(FailureKind kind)
{
	return failure_names[kind];
}

static bool
parse_name(const char *const *names, int n, const char *name, int *value)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(names[i], name) == 0)
		{
			*value = i;
			return true;
		}
	}
	return false;
}

bool
osa_event_type_parse(const char *name, EventType *type)
{
	int			value;

	if (!parse_name(event_names, lengthof(event_names), name, &value))
		return false;
	*type = (EventType) value;
	return true;
}

bool
osa_cardinality_parse(const char *name, HookCardinality *cardinality)
{
	int			value;

	if (!parse_name(cardinality_names, lengthof(cardinality_names), name, &value))
		return false;
	*cardinality = (HookCardinality) value;
	return true;
}

void
osa_clean_text(char *text, int len, bool keep_lines)
{
	while (len > 0)
	{
		int			l = pg_encoding_mblen(PG_UTF8, text);
		bool		line = *text == '\n' || *text == '\t';

		if (l > len || !pg_utf8_islegal((const unsigned char *) text, l) ||
			((unsigned char) *text < 0x20 && !(keep_lines && line)) || *text == 0x7f)
		{
			*text = '?';
			l = 1;
		}
		text += l;
		len -= l;
	}
}

/* osa_fail fills a Failure; the text is cut at the buffer's end. */
void
osa_fail(Failure *failure, FailureKind kind, const char *fmt,...)
{
	va_list		args;

	failure->kind = kind;
	va_start(args, fmt);
	vsnprintf(failure->message, sizeof(failure->message), fmt, args);
	va_end(args);
	osa_clean_text(failure->message, strlen(failure->message), false);
}

/*
 * admin.c
 *		What administrators call: hooks, releases, pipelines, runners, pause.
 *
 * Runs in backends, in the caller's transaction.  Never talks to an engine:
 * whether an image exists is found out when it is first used.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "contract/contract.h"
#include "contract/limits.h"
#include "contract/paths.h"
#include "errors.h"
#include "fn/args.h"
#include "guc.h"
#include "store/catalog.h"
#include "store/spi.h"
#include "wake.h"

/* Most hooks of one pipeline. */
#define PIPELINE_HOOKS_MAX	1000
/* Bytes of a Unix socket's address. */
#define SOCKET_PATH_MAX		107

static const char *const cardinalities[] = {"none", "one", "many", NULL};
static const char *const rejection_rules[] = {"drop", "reject_run", NULL};
static const char *const error_rules[] = {"fail_run", "drop", NULL};
static const char *const runner_kinds[] = {"docker", "noop", NULL};

static void check_columns(Jsonb *columns, const char *cardinality);
static void check_image(const char *image);
static bool matches_any(const char *patterns, const char *text);
static bool matches(const char *pattern, size_t len, const char *text);
static void parse_limits(Jsonb *document, HookLimits *limits, char **normalised);
static PipelineHook *read_hook_names(ArrayType *array, int *n_hooks);
static char *read_endpoint(FunctionCallInfo fcinfo, int n, const char *kind);
static int64 read_ceiling(FunctionCallInfo fcinfo, int n, const char *name);
static const char *role_name(Oid role);

PG_FUNCTION_INFO_V1(osa_register_hook);
PG_FUNCTION_INFO_V1(osa_add_release);
PG_FUNCTION_INFO_V1(osa_set_live_release);
PG_FUNCTION_INFO_V1(osa_rollback_release);
PG_FUNCTION_INFO_V1(osa_define_pipeline);
PG_FUNCTION_INFO_V1(osa_add_runner);
PG_FUNCTION_INFO_V1(osa_pause);
PG_FUNCTION_INFO_V1(osa_resume);

/* ---- hooks ---- */

/* osa_register_hook(name, columns, cardinality, title) → text */
Datum
osa_register_hook(PG_FUNCTION_ARGS)
{
	char	   *name = osa_arg_name(fcinfo, 0, "name", "hook");
	Jsonb	   *columns = osa_arg_jsonb(fcinfo, 1, "columns");
	char	   *cardinality = osa_arg_word(fcinfo, 2, "cardinality", cardinalities);
	char	   *title = osa_arg_text_opt(fcinfo, 3, "title", OSA_TITLE_MAX);
	OsaCall		call;

	osa_require_writable("osa_register_hook()");
	check_columns(columns, cardinality);

	osa_call_begin(&call);
	osa_store_put_hook(name, columns, cardinality, title);
	osa_call_end(&call);
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

static void
check_columns(Jsonb *columns, const char *cardinality)
{
	FeatureColumn *parsed;
	int			n;
	Failure		failure;

	if (!osa_columns_parse(osa_jsonb_utf8(columns), CurrentMemoryContext, &parsed, &n, &failure))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_DEFINITION),
				 errmsg("invalid columns: %s", failure.message),
				 errhint("Give an array such as [{\"name\": \"gc\", \"type\": \"float8\", \"unit\": \"fraction\", \"nullable\": false}].")));
	if (n > 0 && strcmp(cardinality, "none") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_DEFINITION),
				 errmsg("columns need a cardinality"),
				 errdetail("A hook of cardinality \"none\" gives no features."),
				 errhint("Give cardinality \"one\" or \"many\", or no columns.")));
}

/* ---- releases ---- */

/*
 * osa_add_release(hook, image, version, config, limits, live, source_ref,
 * built_by) → bigint
 */
Datum
osa_add_release(PG_FUNCTION_ARGS)
{
	NewRelease	release = {0};
	HookLimits	limits;
	char	   *normalised;
	bool		live;
	int64		id;
	OsaCall		call;

	release.hook = osa_arg_name(fcinfo, 0, "hook", "hook");
	osa_arg_required(fcinfo, 1, "image");
	release.image = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(2))
		release.version = osa_arg_plain(fcinfo, 2, "version", OSA_VERSION_MAX);
	release.config = osa_arg_object(fcinfo, 3, "config", ERRCODE_OSA_INVALID_DEFINITION);
	parse_limits(osa_arg_object(fcinfo, 4, "limits", ERRCODE_OSA_INVALID_DEFINITION),
				 &limits, &normalised);
	release.limits = normalised;
	live = osa_arg_bool(fcinfo, 5, "live");
	release.source_ref = osa_arg_text_opt(fcinfo, 6, "source_ref", OSA_TITLE_MAX);
	release.built_by = osa_arg_text_opt(fcinfo, 7, "built_by", OSA_TITLE_MAX);
	osa_require_writable("osa_add_release()");
	check_image(release.image);

	osa_call_begin(&call);
	osa_store_check_any_ceiling(&limits);
	id = osa_store_add_release(&release);
	if (live)
		osa_store_set_live(release.hook, id, role_name(call.caller));
	osa_call_end(&call);
	PG_RETURN_INT64(id);
}

static void
check_image(const char *image)
{
	const char *problem = osa_image_name_problem(image);

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_IMAGE),
				 errmsg("invalid image name"),
				 errdetail_internal("%s", problem),
				 errhint("Give an image such as registry.example.org/checks/gc:1.2, or sha256: and an image's id.")));
	if (!matches_any(osa_guc_allowed_images, image))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_IMAGE),
				 errmsg("image \"%s\" is not allowed", image),
				 errdetail("Setting osa_validation.allowed_images is \"%s\".", osa_guc_allowed_images),
				 errhint("Use an image that one of its patterns matches.")));
}

/* An empty list allows everything. */
static bool
matches_any(const char *patterns, const char *text)
{
	const char *p = patterns;

	if (p == NULL || p[strspn(p, ", \t\n")] == '\0')
		return true;
	for (;;)
	{
		size_t		len;

		p += strspn(p, ", \t\n");
		if (*p == '\0')
			return false;
		len = strcspn(p, ", \t\n");
		if (matches(p, len, text))
			return true;
		p += len;
	}
}

/* A star stands for any text, also with slashes; the whole text must match. */
static bool
matches(const char *pattern, size_t len, const char *text)
{
	const char *end = pattern + len;
	const char *star = NULL;
	const char *retry = NULL;

	while (*text != '\0')
	{
		if (pattern < end && *pattern == '*')
		{
			star = pattern++;
			retry = text;
		}
		else if (pattern < end && *pattern == *text)
		{
			pattern++;
			text++;
		}
		else if (star != NULL)
		{
			pattern = star + 1;
			text = ++retry;
		}
		else
			return false;
	}
	while (pattern < end && *pattern == '*')
		pattern++;
	return pattern == end;
}

static void
parse_limits(Jsonb *document, HookLimits *limits, char **normalised)
{
	Failure		failure;

	if (!osa_limits_parse(osa_jsonb_utf8(document), limits, normalised, &failure))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_DEFINITION),
				 errmsg("invalid limits: %s", failure.message),
				 errhint("Limits are timeout, retry_delay and retry_delay_max (\"5 min\"), memory, tmpfs and output (\"1GiB\"), cpu (cores), pids and retries (numbers).")));
}

/* osa_set_live_release(hook, version) */
Datum
osa_set_live_release(PG_FUNCTION_ARGS)
{
	char	   *hook = osa_arg_name(fcinfo, 0, "hook", "hook");
	char	   *version = osa_arg_plain(fcinfo, 1, "version", OSA_VERSION_MAX);
	OsaCall		call;

	osa_require_writable("osa_set_live_release()");
	osa_call_begin(&call);
	osa_store_set_live(hook, osa_store_find_release(hook, version), role_name(call.caller));
	osa_call_end(&call);
	PG_RETURN_VOID();
}

/* osa_rollback_release(hook) */
Datum
osa_rollback_release(PG_FUNCTION_ARGS)
{
	char	   *hook = osa_arg_name(fcinfo, 0, "hook", "hook");
	OsaCall		call;

	osa_require_writable("osa_rollback_release()");
	osa_call_begin(&call);
	osa_store_rollback_live(hook, role_name(call.caller));
	osa_call_end(&call);
	PG_RETURN_VOID();
}

static const char *
role_name(Oid role)
{
	return GetUserNameFromId(role, false);
}

/* ---- pipelines ---- */

/* osa_define_pipeline(name, hooks, on_rejection, on_record_error, runner) → text */
Datum
osa_define_pipeline(PG_FUNCTION_ARGS)
{
	Pipeline	pipeline = {0};
	OsaCall		call;

	pipeline.name = osa_arg_name(fcinfo, 0, "name", "pipeline");
	osa_arg_required(fcinfo, 1, "hooks");
	pipeline.hooks = read_hook_names(PG_GETARG_ARRAYTYPE_P(1), &pipeline.n_hooks);
	pipeline.on_rejection = osa_arg_word(fcinfo, 2, "on_rejection", rejection_rules);
	pipeline.on_record_error = osa_arg_word(fcinfo, 3, "on_record_error", error_rules);
	pipeline.runner = osa_arg_name(fcinfo, 4, "runner", "runner");
	osa_require_writable("osa_define_pipeline()");

	osa_call_begin(&call);
	osa_store_put_pipeline(&pipeline);
	osa_call_end(&call);
	PG_RETURN_TEXT_P(cstring_to_text(pipeline.name));
}

static PipelineHook *
read_hook_names(ArrayType *array, int *n_hooks)
{
	Datum	   *elements;
	bool	   *nulls;
	PipelineHook *hooks;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("hooks must be a one-dimensional array"),
				 errhint("Give the hooks in order, such as ARRAY['checksum', 'gc'].")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, n_hooks);
	if (*n_hooks > PIPELINE_HOOKS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_DEFINITION),
				 errmsg("too many hooks: %d", *n_hooks),
				 errhint("A pipeline can have %d.", PIPELINE_HOOKS_MAX)));
	hooks = palloc0(sizeof(PipelineHook) * Max(*n_hooks, 1));
	for (int i = 0; i < *n_hooks; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("hook %d must not be null", i + 1),
					 errhint("Give the hooks in order, such as ARRAY['checksum', 'gc'].")));
		hooks[i].name = TextDatumGetCString(elements[i]);
		for (int j = 0; j < i; j++)
		{
			if (strcmp(hooks[i].name, hooks[j].name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_OSA_INVALID_DEFINITION),
						 errmsg("hook \"%s\" is named twice", hooks[i].name),
						 errdetail("It has places %d and %d.", j + 1, i + 1),
						 errhint("A hook can be in a pipeline once; register another hook with the same image.")));
		}
	}
	return hooks;
}

/* ---- runners ---- */

/*
 * osa_add_runner(name, kind, endpoint, max_in_flight, max_memory, max_cpu,
 * accept_unenforced, enabled)
 */
Datum
osa_add_runner(PG_FUNCTION_ARGS)
{
	NewRunner	runner = {0};
	OsaCall		call;

	runner.name = osa_arg_name(fcinfo, 0, "name", "runner");
	runner.kind = osa_arg_word(fcinfo, 1, "kind", runner_kinds);
	runner.endpoint = read_endpoint(fcinfo, 2, runner.kind);
	if (!PG_ARGISNULL(3))
	{
		runner.max_in_flight = PG_GETARG_INT32(3);
		if (runner.max_in_flight < 1 || runner.max_in_flight > 1000)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid max_in_flight: %d", runner.max_in_flight),
					 errhint("Give 1 to 1000, or null for the default.")));
	}
	runner.max_memory = read_ceiling(fcinfo, 4, "max_memory");
	if (!PG_ARGISNULL(5))
	{
		double		cpu = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
															PG_GETARG_DATUM(5)));

		if (!(cpu > 0 && cpu <= 1024))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid max_cpu"),
					 errhint("Give a number of cores above 0 and at most 1024, or null for the machine's.")));
		runner.max_cpu = PG_GETARG_DATUM(5);
	}
	runner.accept_unenforced = osa_arg_bool(fcinfo, 6, "accept_unenforced");
	runner.enabled = osa_arg_bool(fcinfo, 7, "enabled");
	osa_require_writable("osa_add_runner()");

	osa_call_begin(&call);
	osa_store_put_runner(&runner);
	osa_wake_at_commit(0, 0);
	osa_call_end(&call);
	PG_RETURN_VOID();
}

/* NULL: the setting's socket, or none for a runner without an engine. */
static char *
read_endpoint(FunctionCallInfo fcinfo, int n, const char *kind)
{
	char	   *endpoint = osa_arg_text_opt(fcinfo, n, "endpoint", 1000);
	const char *path;

	if (endpoint == NULL || *endpoint == '\0')
		return NULL;
	if (strcmp(kind, "noop") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a runner of kind \"noop\" has no endpoint"),
				 errhint("Give null.")));
	path = strncmp(endpoint, "unix://", 7) == 0 ? endpoint + 7 : "";
	if (*path != '/' || strlen(path) > SOCKET_PATH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid endpoint"),
				 errdetail("An engine is reached by a Unix socket with an absolute path of at most %d bytes.",
						   SOCKET_PATH_MAX),
				 errhint("Give an endpoint such as unix:///run/podman/podman.sock, or null for osa_validation.engine_socket.")));
	for (const char *p = path; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("an endpoint must not contain control characters"),
					 errhint("Give an endpoint such as unix:///run/podman/podman.sock.")));
	}
	return endpoint;
}

/* A size in the words of a limit; NULL: 0. */
static int64
read_ceiling(FunctionCallInfo fcinfo, int n, const char *name)
{
	char	   *size = osa_arg_text_opt(fcinfo, n, name, 100);
	StringInfoData document;
	HookLimits	limits;
	Failure		failure;
	char	   *normalised;

	if (size == NULL)
		return 0;
	size = pg_server_to_any(size, strlen(size), PG_UTF8);
	initStringInfo(&document);
	appendStringInfoString(&document, "{\"memory\":");
	escape_json(&document, size);
	appendStringInfoChar(&document, '}');
	if (!osa_limits_parse(document.data, &limits, &normalised, &failure))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s", name),
				 errdetail("The limit is read like a release's: %s.", failure.message),
				 errhint("Give a size such as 512MiB or 4GiB, or null for osa_validation.max_memory.")));
	return limits.memory;
}

/* ---- pause ---- */

/* osa_pause(reason, stop_running) */
Datum
osa_pause(PG_FUNCTION_ARGS)
{
	char	   *reason = osa_arg_text_opt(fcinfo, 0, "reason", OSA_REASON_MAX);
	bool		stop_running = osa_arg_bool(fcinfo, 1, "stop_running");
	OsaCall		call;

	osa_require_writable("osa_pause()");
	osa_call_begin(&call);
	osa_store_pause(reason, stop_running);
	osa_wake_at_commit(0, 0);
	osa_call_end(&call);
	PG_RETURN_VOID();
}

/* osa_resume(take_over) */
Datum
osa_resume(PG_FUNCTION_ARGS)
{
	bool		take_over = osa_arg_bool(fcinfo, 0, "take_over");
	OsaCall		call;

	osa_require_writable("osa_resume()");
	osa_call_begin(&call);
	osa_store_resume(take_over);
	osa_wake_at_commit(0, 0);
	osa_call_end(&call);
	PG_RETURN_VOID();
}

/*
 * guc.c
 *		All settings, osa_validation.*: names, units, ranges, defaults and
 *		checks.  Runs in every process that loads the library.
 */
#include "postgres.h"

#include <limits.h>
#include <sys/un.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "guc.h"

bool		osa_guc_enabled = true;
int			osa_guc_max_in_flight = 100;
int			osa_guc_poll_interval = 5000;
int			osa_guc_progress_interval = 1000;
int			osa_guc_claim_timeout = 60;
int			osa_guc_max_records = 10000;
int			osa_guc_max_input_bytes = 256 * 1024;
int			osa_guc_max_memory = 4096;
int			osa_guc_progress_retention = 7 * 86400;
char	   *osa_guc_files_root = NULL;
char	   *osa_guc_allowed_images = NULL;
char	   *osa_guc_engine_socket = NULL;
int			osa_guc_worker_log_level = LOG;
int			osa_guc_max_databases = 64;

static const struct config_enum_entry log_levels[] = {
	{"debug5", DEBUG5, false},
	{"debug4", DEBUG4, false},
	{"debug3", DEBUG3, false},
	{"debug2", DEBUG2, false},
	{"debug1", DEBUG1, false},
	{"debug", DEBUG2, true},
	{"info", INFO, false},
	{"notice", NOTICE, false},
	{"warning", WARNING, false},
	{"log", LOG, false},
	{NULL, 0, false}
};

/* An absolute path, or nothing: no files are read then. */
static bool
check_files_root(char **newval, void **extra, GucSource source)
{
	(void) extra;
	(void) source;
	if (**newval == '\0')
		return true;
	if (!is_absolute_path(*newval))
	{
		GUC_check_errdetail("The folder must be an absolute path.");
		return false;
	}
	return true;
}

/*
 * A Unix socket only: a host name would make the HTTP library start a thread,
 * and this process must have none.
 */
static bool
check_engine_socket(char **newval, void **extra, GucSource source)
{
	const char *path = *newval;

	(void) extra;
	(void) source;
	if (strncmp(path, "unix://", 7) == 0)
		path += 7;
	if (!is_absolute_path(path))
	{
		GUC_check_errdetail("The engine's socket must be given as unix:///path or /path.");
		return false;
	}
	if (strlen(path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
	{
		GUC_check_errdetail("The path of a socket must be shorter than %zu bytes.",
							sizeof(((struct sockaddr_un *) NULL)->sun_path));
		return false;
	}
	return true;
}

/* Patterns of image references, separated by commas; blanks around them. */
static bool
check_allowed_images(char **newval, void **extra, GucSource source)
{
	const char *p = *newval;

	(void) extra;
	(void) source;
	if (p[strspn(p, " \t")] == '\0')
		return true;
	for (;;)
	{
		size_t		len;

		p += strspn(p, " \t");
		len = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:@*+-");
		if (len == 0)
			break;
		p += len;
		p += strspn(p, " \t");
		if (*p == '\0')
			return true;
		if (*p != ',')
			break;
		p++;
	}
	GUC_check_errdetail("The list must hold image references, in which * stands for any text, separated by commas.");
	return false;
}

static void
define_limits(void)
{
	DefineCustomIntVariable("osa_validation.max_in_flight",
							"Hooks running at once in a database.",
							"Each runner has a limit of its own besides.",
							&osa_guc_max_in_flight, 100, 1, 1000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("osa_validation.max_records",
							"Records in one run at most.", NULL,
							&osa_guc_max_records, 10000, 1, 1000000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("osa_validation.max_input_bytes",
							"Size of a run's metadata and files at most.", NULL,
							&osa_guc_max_input_bytes, 256 * 1024, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("osa_validation.max_memory",
							"Ceiling of one hook's memory, where its runner sets none.", NULL,
							&osa_guc_max_memory, 4096, 16, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);

	/* Sized at start: cannot be defined later. */
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("osa_validation.max_databases",
								"Databases with a worker at most.", NULL,
								&osa_guc_max_databases, 64, 1, 10000,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

static void
define_times(void)
{
	DefineCustomIntVariable("osa_validation.poll_interval",
							"Time between the worker's looks at the queue.",
							"A safety net: commits wake the worker at once.",
							&osa_guc_poll_interval, 5000, 100, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("osa_validation.progress_interval",
							"Time between two looks at a running hook's progress.",
							"While 16 hooks or fewer run; less often beyond.",
							&osa_guc_progress_interval, 1000, 100, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("osa_validation.claim_timeout",
							"Time after which a claim that nobody works on is taken back.", NULL,
							&osa_guc_claim_timeout, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("osa_validation.progress_retention",
							"Time that progress entries are kept.", NULL,
							&osa_guc_progress_retention, 7 * 86400, 60, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

void
osa_guc_define(void)
{
	DefineCustomBoolVariable("osa_validation.enabled",
							 "Lets the workers start hooks.",
							 "Off: what runs is finished, nothing new is claimed.",
							 &osa_guc_enabled, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_limits();
	define_times();
	DefineCustomStringVariable("osa_validation.files_root",
							   "Folder of the server under which files_from may lie.",
							   "Empty: no files of the server are read.",
							   &osa_guc_files_root, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_files_root, NULL, NULL);
	DefineCustomStringVariable("osa_validation.allowed_images",
							   "Image references that releases may name.",
							   "Patterns with *, separated by commas; empty: all.",
							   &osa_guc_allowed_images, "",
							   PGC_SIGHUP, 0, check_allowed_images, NULL, NULL);
	DefineCustomStringVariable("osa_validation.engine_socket",
							   "Unix socket of the container engine of the runner \"local\".", NULL,
							   &osa_guc_engine_socket, "unix:///run/podman/podman.sock",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_engine_socket, NULL, NULL);
	DefineCustomEnumVariable("osa_validation.worker_log_level",
							 "Level of the worker's messages about its life and its steps.", NULL,
							 &osa_guc_worker_log_level, LOG, log_levels,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("osa_validation");
}

/*
 * init.c
 *		_PG_init: settings, and while preloading shared memory, launcher and
 *		hooks; the library's version.  Nothing else.
 *
 *		Without preload the settings and the SQL functions work; nothing runs.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "guc.h"
#include "launcher.h"
#include "slot.h"
#include "utility.h"
#include "wake.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

PG_FUNCTION_INFO_V1(osa_library_version);

void
_PG_init(void)
{
	osa_guc_define();
	if (!process_shared_preload_libraries_in_progress)
		return;

	osa_shmem_init();
	osa_wake_init();

	/* pg_upgrade's server: nothing may start, nothing needs to be told */
	if (IsBinaryUpgrade)
		return;
	osa_utility_init();
	osa_launcher_register();
}

/* osa_library_version() → text: also called by the extension's script. */
Datum
osa_library_version(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (creating_extension && !osa_shmem_available())
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("osa_validation is not preloaded: validation runs are accepted, but none is executed"),
				 errhint("Add osa_validation to shared_preload_libraries and restart the server.")));
	PG_RETURN_TEXT_P(cstring_to_text(OSA_VERSION));
}

/*
 * spi.c
 *		Transactions of the worker, the switch to the extension's owner, and
 *		prepared plans.  Runs in backends (osa_call_*) and in the worker
 *		(osa_tx_*).  Knows no table; must never leave a transaction, a
 *		snapshot or another user's rights behind.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "spi.h"

#define EXTENSION_NAME		"osa_validation"
#define SCHEMA_MARK			"@osa@"

/* No statement of the worker's may take longer; one that does is broken. */
#define TX_TIMEOUT_MS		OSA_TX_TIMEOUT_MS

/* "osa" */
#define SESSION_LOCK_KEY	0x6f7361

typedef struct Setting
{
	const char *name;
	const char *value;
} Setting;

/* What could change the meaning of a plan, or the text of a value. */
static const Setting meaning_settings[] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"row_security", "off"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"}
};

/*
 * What ALTER DATABASE, ALTER ROLE or postgresql.conf must not do to the worker.
 * Names that this server does not know are skipped.
 */
static const Setting worker_settings[] = {
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"lock_timeout", "20ms"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"synchronous_commit", "local"},
	/* its statements are small; parallel workers would take others' slots */
	{"max_parallel_workers_per_gather", "0"},
	{"jit", "off"},
	/* a plan made while a table was small must not scan it when it has grown */
	{"enable_seqscan", "off"},
	/* all its plans go by keys: planning again for each value costs more than the plan */
	{"plan_cache_mode", "force_generic_plan"}
};

/*
 * The extension as of the last osa_call_begin or osa_tx_begin.  A plan is good
 * as long as its generation is: the number rises when another extension or
 * another name of its schema is seen.
 */
static OsaExtension current_extension;
static char current_schema_name[NAMEDATALEN];
static uint32 current_generation = 0;

/* The worker's transaction. */
static bool tx_open = false;
static Oid	tx_expected = InvalidOid;
static void (*tx_leave) (void) = NULL;
static MemoryContext tx_context;
static Oid	tx_user;
static int	tx_sec_context;

static OsaPlan look_prepared = OSA_PLAN("look_prepared",
		"SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_xact() AS p"
		" WHERE p.prepared OPERATOR(pg_catalog.<=) $1),"
		" EXISTS (SELECT FROM pg_catalog.pg_prepared_xact() AS p"
		" WHERE p.prepared OPERATOR(pg_catalog.<=) $1 AND p.dbid OPERATOR(pg_catalog.=) $2)",
		TIMESTAMPTZOID, OIDOID);

static bool lookup(OsaExtension *extension, TransactionId *created_by);
static void pin_settings(const Setting *settings, int n, bool for_process);
static void use_extension(const OsaExtension *extension);
static void prepare(OsaPlan *plan);

/* ---- the extension ---- */

/*
 * osa_extension_lookup reads pg_extension by its index, each time: there is no
 * syscache for it, so nothing would tell of a change.
 */
bool
osa_extension_lookup(OsaExtension *extension)
{
	TransactionId created_by;

	return lookup(extension, &created_by);
}

static bool
lookup(OsaExtension *extension, TransactionId *created_by)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	memset(extension, 0, sizeof(*extension));
	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);

		extension->oid = form->oid;
		extension->owner = form->extowner;
		extension->schema = form->extnamespace;
		*created_by = HeapTupleHeaderGetXmin(tuple->t_data);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return OidIsValid(extension->oid);
}

static void
use_extension(const OsaExtension *extension)
{
	char	   *name = get_namespace_name(extension->schema);

	if (name == NULL)
		elog(ERROR, "cache lookup failed for namespace %u", extension->schema);
	if (extension->oid != current_extension.oid || strcmp(name, current_schema_name) != 0)
	{
		strlcpy(current_schema_name, name, sizeof(current_schema_name));
		current_generation++;
	}
	current_extension = *extension;
	pfree(name);
}

/* ---- SQL-callable functions ---- */

void
osa_call_begin(OsaCall *call)
{
	if (!osa_extension_lookup(&call->extension))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" does not exist in this database", EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", EXTENSION_NAME)));
	use_extension(&call->extension);

	GetUserIdAndSecContext(&call->caller, &call->sec_context);
	call->guc_level = NewGUCNestLevel();
	pin_settings(meaning_settings, lengthof(meaning_settings), false);
	SetUserIdAndSecContext(call->extension.owner,
						   call->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

void
osa_call_end(OsaCall *call)
{
	SPI_finish();
	/* also undoes what a trigger may have SET */
	AtEOXact_GUC(false, call->guc_level);
	SetUserIdAndSecContext(call->caller, call->sec_context);
}

void
osa_require_writable(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errhint("Connect to the primary server: this one is a standby.")));
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s in a read-only transaction", function),
				 errhint("Use a READ WRITE transaction.")));
	PreventCommandIfParallelMode(function);
}

/*
 * Sets what is not set so already: for the rest of the process (its start
 * only), or until the caller's GUC nest level ends.
 */
static void
pin_settings(const Setting *settings, int n, bool for_process)
{
	for (int i = 0; i < n; i++)
	{
		const char *value = GetConfigOption(settings[i].name, true, false);

		if (value == NULL)
			continue;
		if (for_process)
			SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
		else if (strcmp(value, settings[i].value) != 0)
			(void) set_config_option(settings[i].name, settings[i].value,
									 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
									 true, 0, false);
	}
}

/* ---- transactions of the worker ---- */

void
osa_tx_settings(void)
{
	pin_settings(worker_settings, lengthof(worker_settings), true);
}

bool
osa_tx_probe(OsaProbe *probe)
{
	MemoryContext context = CurrentMemoryContext;
	TransactionId created_by = InvalidTransactionId;
	LOCKTAG		tag;
	bool		found;

	Assert(!tx_open && !IsTransactionState());

	/*
	 * This runs with all rights: no schema that ALTER DATABASE put into the
	 * search path may be looked into.
	 */
	pin_settings(meaning_settings, lengthof(meaning_settings), true);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, "looking for the extension");

	/* field4 1 and 2 are those that SQL can name */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, SESSION_LOCK_KEY, 0, 3);
	probe->locked = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;

	/* first: what is committed after this look is seen by the next one */
	probe->prepared_any = probe->prepared_here = false;
	if (probe->prepared_before != 0)
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		osa_tx_look_prepared(probe->prepared_before, &probe->prepared_any,
							 &probe->prepared_here);
		PopActiveSnapshot();
		SPI_finish();
	}

	found = lookup(&probe->extension, &created_by);
	/* its row is visible an instant before its tables are unlocked */
	if (found && TransactionIdIsNormal(created_by))
		XactLockTableWait(created_by, NULL, NULL, XLTW_None);

	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(context);
	return found;
}

void
osa_tx_look_prepared(TimestampTz before, bool *any, bool *here)
{
	Datum		values[2];

	values[0] = TimestampTzGetDatum(before);
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	(void) osa_plan_run(&look_prepared, values, NULL, false, 0);
	*any = osa_col_bool(0, 1);
	*here = osa_col_bool(0, 2);
}

void
osa_tx_expect(Oid extension)
{
	tx_expected = extension;
}

void
osa_tx_on_gone(void (*leave) (void))
{
	tx_leave = leave;
}

void
osa_tx_begin(const char *activity)
{
	OsaExtension extension;

	Assert(!tx_open && !IsTransactionState());

	tx_context = CurrentMemoryContext;
	/* a cancel that came between transactions was for none */
	QueryCancelPending = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	tx_open = true;
	enable_timeout_after(STATEMENT_TIMEOUT, TX_TIMEOUT_MS);
	pgstat_report_activity(STATE_RUNNING, activity);
	debug_query_string = activity;

	if (!osa_extension_lookup(&extension) || extension.oid != tx_expected)
	{
		if (tx_leave != NULL)
			tx_leave();
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" was dropped", EXTENSION_NAME)));
	}
	use_extension(&extension);

	/*
	 * Before any SQL: triggers on our tables are the owner's business and must
	 * never run with this process's rights.
	 */
	GetUserIdAndSecContext(&tx_user, &tx_sec_context);
	SetUserIdAndSecContext(extension.owner, tx_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	/* a deferred trigger of the last transaction may have SET something */
	pin_settings(meaning_settings, lengthof(meaning_settings), false);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PushActiveSnapshot(GetTransactionSnapshot());
}

XLogRecPtr
osa_tx_commit(OsaDurability durability)
{
	bool		written;

	Assert(tx_open && IsTransactionState());

	SPI_finish();
	PopActiveSnapshot();
	if (durability == OSA_TX_ASYNC)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	written = TransactionIdIsValid(GetTopTransactionIdIfAny());

	/* deferred triggers run in here, still as the owner and with the timeout */
	CommitTransactionCommand();

	SetUserIdAndSecContext(tx_user, tx_sec_context);
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	tx_open = false;
	debug_query_string = NULL;
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(tx_context);
	return written ? XactLastCommitEnd : InvalidXLogRecPtr;
}

/*
 * osa_tx_abort also does when the error came outside of a transaction.  The
 * user and the settings are put back by the abort itself.
 */
void
osa_tx_abort(void)
{
	HOLD_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	AbortOutOfAnyTransaction();
	if (tx_open)
		MemoryContextSwitchTo(tx_context);
	tx_open = false;
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
}

/* ---- plans ---- */

/*
 * Prepares the plan for the current extension, and throws away the one that was
 * made for another.
 */
static void
prepare(OsaPlan *plan)
{
	const char *schema = quote_identifier(current_schema_name);
	const char *rest = plan->sql;
	const char *mark;
	StringInfoData text;
	SPIPlanPtr	made;

	Assert(plan->n_args <= OSA_PLAN_MAX_ARGS);
	initStringInfo(&text);
	while ((mark = strstr(rest, SCHEMA_MARK)) != NULL)
	{
		appendBinaryStringInfo(&text, rest, mark - rest);
		appendStringInfoString(&text, schema);
		rest = mark + strlen(SCHEMA_MARK);
	}
	appendStringInfoString(&text, rest);

	made = SPI_prepare(text.data, plan->n_args, plan->arg_types);
	if (made == NULL)
		elog(ERROR, "could not prepare plan \"%s\": %s", plan->name,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(made);
	pfree(text.data);

	if (plan->plan != NULL)
		SPI_freeplan(plan->plan);
	plan->plan = made;
	plan->generation = current_generation;
}

uint64
osa_plan_run(OsaPlan *plan, Datum *values, const char *nulls, bool read_only, long limit)
{
	int			code;

	if (plan->plan == NULL || plan->generation != current_generation)
		prepare(plan);
	code = SPI_execute_plan(plan->plan, values, nulls, read_only, limit);
	if (code < 0)
		elog(ERROR, "could not run plan \"%s\": %s", plan->name, SPI_result_code_string(code));
	return SPI_processed;
}

/* ---- readers ---- */

/*
 * The value and whether it is NULL, checked against what the caller takes it
 * for (InvalidOid: anything): a plan and its reader that disagree must not read
 * a number as a pointer.
 */
static Datum
column(uint64 row, int col, Oid type, bool *isnull)
{
	if (SPI_tuptable == NULL || row >= SPI_tuptable->numvals ||
		col < 1 || col > SPI_tuptable->tupdesc->natts)
		elog(ERROR, "no row " UINT64_FORMAT " column %d in a plan's result", row, col);
	if (OidIsValid(type) && SPI_gettypeid(SPI_tuptable->tupdesc, col) != type)
		elog(ERROR, "column %d of a plan's result has type %u, not %u", col,
			 SPI_gettypeid(SPI_tuptable->tupdesc, col), type);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, isnull);
}

static Datum
column_not_null(uint64 row, int col, Oid type)
{
	bool		isnull;
	Datum		value = column(row, col, type, &isnull);

	if (isnull)
		elog(ERROR, "column %d of a plan's result is null", col);
	return value;
}

bool
osa_col_isnull(uint64 row, int col)
{
	bool		isnull;

	(void) column(row, col, InvalidOid, &isnull);
	return isnull;
}

Datum
osa_col_datum(uint64 row, int col)
{
	return column_not_null(row, col, InvalidOid);
}

int64
osa_col_int64(uint64 row, int col)
{
	return DatumGetInt64(column_not_null(row, col, INT8OID));
}

int32
osa_col_int32(uint64 row, int col)
{
	return DatumGetInt32(column_not_null(row, col, INT4OID));
}

bool
osa_col_bool(uint64 row, int col)
{
	return DatumGetBool(column_not_null(row, col, BOOLOID));
}

TimestampTz
osa_col_timestamptz(uint64 row, int col)
{
	return DatumGetTimestampTz(column_not_null(row, col, TIMESTAMPTZOID));
}

pg_uuid_t
osa_col_uuid(uint64 row, int col)
{
	return *DatumGetUUIDP(column_not_null(row, col, UUIDOID));
}

char *
osa_col_text(uint64 row, int col, MemoryContext context)
{
	bool		isnull;
	char	   *value;
	char	   *copy;

	(void) column(row, col, InvalidOid, &isnull);
	if (isnull)
		return NULL;
	value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col);
	copy = MemoryContextStrdup(context, value);
	pfree(value);
	return copy;
}

/*
 * utility.c
 *		Watches commands in every backend.  CREATE and DROP of an extension, by
 *		whatever command, are noted for the launcher when they commit.  Before
 *		a command that needs a database for itself, the database's worker is
 *		asked to leave, if the caller may run that command.
 *
 *		What runs at the end of the transaction must not raise.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "slot.h"
#include "utility.h"

/* A worker leaves within a turn of its loop; then the command itself waits. */
#define LEAVE_TIMEOUT_MS	5000

#define MAX_BLOCKED			8

static object_access_hook_type prev_object_access_hook = NULL;
static ProcessUtility_hook_type prev_process_utility_hook = NULL;

/* This transaction's. */
static bool extensions_changed = false;
static bool databases_changed = false;
static Oid	blocked[MAX_BLOCKED];
static int	n_blocked = 0;

/* ---- extensions ---- */

/*
 * Every extension counts: the name of one that is being created can't be read
 * yet, and a look for nothing is cheap.
 */
static void
watch_object(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, class, object, sub, arg);
	if (class == ExtensionRelationId && (access == OAT_POST_CREATE || access == OAT_DROP))
		extensions_changed = true;
}

/* ---- databases ---- */

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
may_create_database(void)
{
	HeapTuple	tuple;
	bool		result = false;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
owns(Oid database)
{
	return pg_database_ownercheck(database, GetUserId());
}

/*
 * The database that a command needs for itself, if its caller may run it; the
 * command itself says what is wrong otherwise.
 */
static Oid
needs_alone(Node *command, bool in_block)
{
	const char *name = NULL;
	Oid			database;

	if (IsA(command, CreatedbStmt))
	{
		ListCell   *lc;

		if (in_block)
			return InvalidOid;
		name = "template1";
		foreach(lc, ((CreatedbStmt *) command)->options)
		{
			DefElem    *option = (DefElem *) lfirst(lc);

			if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
				name = defGetString(option);
		}
		database = get_database_oid(name, true);
		return OidIsValid(database) && may_create_database() &&
			(is_template(database) || owns(database)) ? database : InvalidOid;
	}

	if (IsA(command, DropdbStmt) && !in_block)
		name = ((DropdbStmt *) command)->dbname;
	else if (IsA(command, AlterDatabaseStmt) && !in_block)
	{
		ListCell   *lc;

		foreach(lc, ((AlterDatabaseStmt *) command)->options)
		{
			if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
				name = ((AlterDatabaseStmt *) command)->dbname;
		}
	}
	else if (IsA(command, RenameStmt) &&
			 ((RenameStmt *) command)->renameType == OBJECT_DATABASE && may_create_database())
		name = ((RenameStmt *) command)->subname;
	if (name == NULL)
		return InvalidOid;

	database = get_database_oid(name, true);
	/* none of these is possible for the own database */
	return OidIsValid(database) && database != MyDatabaseId && owns(database) ?
		database : InvalidOid;
}

/* Asks the worker to leave and waits for it; at most LEAVE_TIMEOUT_MS. */
static void
make_leave(Oid database)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LEAVE_TIMEOUT_MS);

	if (n_blocked >= MAX_BLOCKED || !osa_slot_block(database))
		return;
	blocked[n_blocked++] = database;

	ConditionVariablePrepareToSleep(&osa_shared->left);
	while (osa_slot_has_process(database))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&osa_shared->left, left, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *command = pstmt->utilityStmt;

	if ((IsA(command, CreatedbStmt) || IsA(command, DropdbStmt) ||
		 IsA(command, AlterDatabaseStmt) || IsA(command, RenameStmt)) &&
		!RecoveryInProgress())
	{
		bool		in_block = context != PROCESS_UTILITY_TOPLEVEL || IsTransactionBlock();
		Oid			database = needs_alone(command, in_block);

		if (OidIsValid(database))
			make_leave(database);
		databases_changed = true;
	}

	if (prev_process_utility_hook)
		prev_process_utility_hook(pstmt, query, read_only_tree, context, params,
								  environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, dest, completion);
}

/* ---- the end of the transaction ---- */

static void
settle(bool noted)
{
	if (noted)
		osa_note(MyDatabaseId, NOTE_EXTENSION);
	while (n_blocked > 0)
		osa_slot_unblock(blocked[--n_blocked]);
	if (databases_changed)
		osa_launcher_wake();
	extensions_changed = databases_changed = false;
}

static void
xact_callback(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			if (extensions_changed)
				osa_prepared_mark();
			break;
		case XACT_EVENT_PREPARE:
			/* noted already: a probe sees the prepared transaction, and stays unsure */
			if (extensions_changed)
				osa_prepared_mark();
			settle(extensions_changed);
			break;
		case XACT_EVENT_COMMIT:
			settle(extensions_changed);
			break;
		case XACT_EVENT_ABORT:
			settle(false);
			break;
		default:
			break;
	}
}

void
osa_utility_init(void)
{
	prev_object_access_hook = object_access_hook;
	object_access_hook = watch_object;
	prev_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	RegisterXactCallback(xact_callback, NULL);
}

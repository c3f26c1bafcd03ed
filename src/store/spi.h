/*
 * spi.h
 *		Transactions of the worker, the switch to the extension's owner, and
 *		prepared plans.  Knows no table.  All SQL text of the project's C code
 *		stands in OsaPlan structs of src/store/.
 */
#ifndef OSA_SPI_H
#define OSA_SPI_H

#include "postgres.h"

#include "executor/spi.h"
#include "utils/uuid.h"
#include "utils/timestamp.h"

#define OSA_PLAN_MAX_ARGS 20

/* No transaction of the worker's may take longer; one that does is broken. */
#define OSA_TX_TIMEOUT_MS 30000

/*
 * A statement, prepared on first use in this process and again after the
 * extension was dropped and created.  In the text every "@osa@" stands for the
 * extension's quoted schema; everything else must be qualified with pg_catalog
 * or be found there: search_path is pg_catalog, pg_temp while plans run.
 */
typedef struct OsaPlan
{
	const char *name;			/* for messages */
	const char *sql;
	int			n_args;
	Oid			arg_types[OSA_PLAN_MAX_ARGS];
	/* private to spi.c */
	SPIPlanPtr	plan;
	uint32		generation;
} OsaPlan;

/* static OsaPlan plan = OSA_PLAN("name", "SELECT ...", INT8OID, TEXTOID); */
#define OSA_PLAN(name_, sql_, ...) \
	{.name = (name_), .sql = (sql_), \
	 .n_args = sizeof((Oid[]) {__VA_ARGS__}) / sizeof(Oid), .arg_types = {__VA_ARGS__}}

/* ---- the extension of this database ---- */

typedef struct OsaExtension
{
	Oid			oid;
	Oid			owner;
	Oid			schema;
} OsaExtension;

/* In a transaction.  False: this database does not have the extension. */
extern bool osa_extension_lookup(OsaExtension *extension);

/* ---- SQL-callable functions ---- */

typedef struct OsaCall
{
	Oid			caller;			/* who called: GetUserId() at entry */
	int			sec_context;
	int			guc_level;
	OsaExtension extension;
} OsaCall;

/*
 * Between begin and end: SPI is connected, the user is the extension's owner
 * (SECURITY_LOCAL_USERID_CHANGE), search_path is pinned.  An ERROR in between
 * undoes all of that by itself.  begin raises when the extension is missing.
 */
extern void osa_call_begin(OsaCall *call);
extern void osa_call_end(OsaCall *call);

/* Raises unless this can write: no standby, no read-only transaction. */
extern void osa_require_writable(const char *function);

/* ---- transactions of the worker: nothing else starts one there ---- */

typedef enum OsaDurability
{
	OSA_TX_ASYNC,				/* losing it is harmless, or a later flush
								 * covers it */
	OSA_TX_SYNC					/* flushed to local disk when commit returns */
} OsaDurability;

/*
 * What a worker that has just connected asks, before anything else: the
 * extension (false: there is none), and whether prepared transactions that are
 * older than prepared_before are about, in this database and in any.  An
 * extension that is seen is there to be used: the locks of the transaction
 * that created it are gone.  Takes the session lock that only one worker a
 * database can have; locked false: another one has it.
 */
typedef struct OsaProbe
{
	TimestampTz prepared_before;	/* 0: don't look */
	bool		prepared_any;
	bool		prepared_here;
	bool		locked;
	OsaExtension extension;
} OsaProbe;

extern bool osa_tx_probe(OsaProbe *probe);
/* In a transaction: the middle part of that. */
extern void osa_tx_look_prepared(TimestampTz before, bool *any, bool *here);

/* Pins the rest of this process's settings: once, after osa_tx_probe. */
extern void osa_tx_settings(void);
extern void osa_tx_expect(Oid extension);
/* What osa_tx_begin calls when the extension is gone or is another one than
 * expected: the worker leaves, it does not return. */
extern void osa_tx_on_gone(void (*leave) (void));

/*
 * SPI connected, owner's rights, pinned settings; a lock is waited for 20 ms,
 * the whole transaction may take 30 s.
 */
extern void osa_tx_begin(const char *activity);
/* Returns the commit's WAL position (0: nothing was written).  Back in the
 * memory context that begin was called in. */
extern XLogRecPtr osa_tx_commit(OsaDurability durability);
extern void osa_tx_abort(void);	/* in a catch block only */

/* ---- running plans ---- */

/* Runs it; returns the number of rows processed (SPI_processed); rows are in
 * SPI_tuptable.  nulls: as for SPI_execute_plan, or NULL.  limit 0: all. */
extern uint64 osa_plan_run(OsaPlan *plan, Datum *values, const char *nulls, bool read_only, long limit);

/* Readers of SPI_tuptable; columns from 1.  The plain ones raise on NULL. */
extern bool osa_col_isnull(uint64 row, int col);
extern Datum osa_col_datum(uint64 row, int col);	/* pass-by-reference ones die with SPI */
extern int64 osa_col_int64(uint64 row, int col);
extern int32 osa_col_int32(uint64 row, int col);
extern bool osa_col_bool(uint64 row, int col);
extern TimestampTz osa_col_timestamptz(uint64 row, int col);
extern pg_uuid_t osa_col_uuid(uint64 row, int col);
/* The column's text by its output function, copied into context; NULL if NULL. */
extern char *osa_col_text(uint64 row, int col, MemoryContext context);

#endif							/* OSA_SPI_H */

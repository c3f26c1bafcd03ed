/*
 * exports.h
 *		The Makefile includes it before every source file.  What leaves the
 *		library although it is built with hidden visibility: SQL-callable
 *		functions, _PG_init and the magic block.
 *
 * PostgreSQL 16 and newer do this themselves.
 */
#ifndef OSA_EXPORTS_H
#define OSA_EXPORTS_H

#include "postgres.h"
#include "fmgr.h"

/* The server was configured for gcc; clang knows this format by another name. */
#ifdef __clang__
#undef PG_PRINTF_ATTRIBUTE
#define PG_PRINTF_ATTRIBUTE printf
#endif

#if PG_VERSION_NUM < 160000

extern PGDLLEXPORT void _PG_init(void);

#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_, funcname) (void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_, funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = {1}; \
	return &my_finfo; \
} \
extern int	no_such_variable

#endif

#endif							/* OSA_EXPORTS_H */

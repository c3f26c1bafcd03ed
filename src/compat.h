/*
 * compat.h
 *		Every PG_VERSION_NUM branch of the project.
 */
#ifndef OSA_COMPAT_H
#define OSA_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "osa_validation needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 170000
#define OsaCreateWaitEventSet(n) CreateWaitEventSet(NULL, (n))
#else
#define OsaCreateWaitEventSet(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

#endif							/* OSA_COMPAT_H */

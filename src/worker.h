/*
 * worker.h
 *		A database's worker: one process, one loop, one wait.
 */
#ifndef OSA_WORKER_H
#define OSA_WORKER_H

#include "postgres.h"

extern PGDLLEXPORT void osa_worker_main(Datum arg);

#endif							/* OSA_WORKER_H */

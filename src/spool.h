/*
 * spool.h
 *		Bytes written once from start to end and then read: in memory up to
 *		1 MiB, then in an unlinked temporary file of the server's, so that a
 *		hundred hooks with large inputs don't fill the worker's memory.
 *		Writing and reading never raise (they are called inside libcurl and
 *		libarchive); they return false or -1 and keep errno.
 */
#ifndef OSA_SPOOL_H
#define OSA_SPOOL_H

#include "types.h"

typedef struct Spool Spool;

/* Freed, and its file closed, by osa_spool_close or with context. */
extern Spool *osa_spool_open(MemoryContext context);
extern bool osa_spool_write(Spool *spool, const void *data, size_t len);
extern int64 osa_spool_size(const Spool *spool);
extern void osa_spool_rewind(Spool *spool);
extern ssize_t osa_spool_read(Spool *spool, void *data, size_t len);	/* 0 = end */
extern void osa_spool_close(Spool *spool);

#endif							/* OSA_SPOOL_H */

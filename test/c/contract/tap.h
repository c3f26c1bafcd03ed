/*
 * tap.h
 *		Test results as TAP, without numbers: the script adds them.
 */
#ifndef TAP_H
#define TAP_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "contract/contract.h"
#include "contract/paths.h"

extern StringInfo tap_out;		/* where results go */
extern const char *tap_folder;	/* an empty folder to make files in */

extern bool tap_ok(bool good, const char *fmt,...) pg_attribute_printf(2, 3);
extern void tap_is(const char *got, const char *wanted, const char *name);
/* got begins with "!" and contains wanted's text after its own "!", or is equal */
extern void tap_like(const char *got, const char *wanted, const char *name);

extern void test_json(void);
extern void test_paths(void);
extern void test_limits(void);
extern void test_columns(void);
extern void test_progress(void);
extern void test_input(void);
extern void test_output(void);
extern void test_fuzz(double seconds, uint64 seed);

/* tar_image.c: archives as an engine would send them */
extern void tar_add(StringInfo tar, const char *name, char type, const char *link,
					const char *data, size_t len);
extern void tar_end(StringInfo tar);

/* Runs a reader over an archive and says the result in one text. */
extern char *run_output(MemoryContext context, const OutputSpec *spec, const char *tar, size_t len,
						int *n_steps);

/* paths_stepwise.c: osa_open_beneath on a kernel without openat2 */
extern bool stepwise_open_beneath(const char *root, const char *rel, PathKind kind,
								  int *fd, bool *is_folder, Failure *failure);

#endif							/* TAP_H */

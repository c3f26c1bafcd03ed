/*
 * tap.h
 *		Test results as TAP, without numbers: the script adds them.
 */
#ifndef TAP_H
#define TAP_H

#include "postgres.h"

#include "lib/stringinfo.h"

extern StringInfo tap_out;		/* where results go */
extern const char *tap_socket;	/* of the fake engine */

extern void tap_ok(bool good, const char *fmt,...) pg_attribute_printf(2, 3);
extern void tap_is(const char *got, const char *wanted, const char *name);
extern void tap_is_int(int64 got, int64 wanted, const char *name);

extern void test_spec(void);
extern void test_facts(void);
extern void test_replies(void);
extern void test_verdicts(void);
extern void test_decoders(void);
extern void test_spool(void);
extern void test_engine(void);
extern void test_calls(void);

#endif							/* TAP_H */

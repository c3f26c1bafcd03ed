/*
 * bind.h
 *		Binding values that may be NULL to a plan's arguments.
 */
#ifndef OSA_BIND_H
#define OSA_BIND_H

#include "postgres.h"

#include "utils/builtins.h"

#define OSA_NO_NULLS	"                "

static inline void
osa_bind_text(Datum *values, char *nulls, int i, const char *text)
{
	values[i] = text != NULL ? CStringGetTextDatum(text) : (Datum) 0;
	nulls[i] = text != NULL ? ' ' : 'n';
}

#endif							/* OSA_BIND_H */

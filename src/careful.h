/*
 * careful.h
 *		After an unclean end of the worker before (a crash, kill -9, power):
 *		the steps it had claimed are gone through one at a time, each with a
 *		strike committed first and taken back when that went well.  So a step
 *		that crashes the worker ends by itself after five, and the others gain
 *		none.
 */
#ifndef OSA_CAREFUL_H
#define OSA_CAREFUL_H

#include "attempt.h"

#define OSA_STRIKES_MAX 5

/* At the worker's start; n_recovered: claims of the worker before. */
extern void osa_careful_open(int n_recovered);

/* For a flight that takes over an earlier claim: must it go carefully? */
extern bool osa_careful_wanted(void);

/* Its turn comes with the strike committed; false: not yet, or its phase was
 * set (five strikes, or the database refused). */
extern bool osa_careful_enter(Flight *f);

/* It went well, or waits for something outside: the next one's turn. */
extern void osa_careful_leave(Flight *f);

#endif							/* OSA_CAREFUL_H */

/*
 * utility.h
 *		What commands mean for workers: extensions that come and go, databases
 *		that must be left.  Runs in every backend.
 */
#ifndef OSA_UTILITY_H
#define OSA_UTILITY_H

extern void osa_utility_init(void); /* in _PG_init while preloading */

#endif							/* OSA_UTILITY_H */

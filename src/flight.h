/*
 * flight.h
 *		What the worker does each turn of its loop: claims, attempts in
 *		flight, adoption, housekeeping.  worker.c owns the process, the wait
 *		and the signals; nothing here waits.
 */
#ifndef OSA_FLIGHT_H
#define OSA_FLIGHT_H

#include "postgres.h"

#include "utils/timestamp.h"

/* Once, after connecting and with the extension seen; outside a transaction. */
extern void osa_flights_open(Oid extension);

/*
 * Does what is due now, in bounded work; no transaction is open before or
 * after.  An ERROR that leaves it is a broken worker: the process ends.
 */
extern void osa_flights_turn(void);

/* When osa_flights_turn has something to do again unless woken before. */
extern TimestampTz osa_flights_deadline(void);

/* Settings or tables may have changed: looks around in the next turn. */
extern void osa_flights_look_around(void);

/*
 * The extension was dropped, so nobody will ever need these containers: asks
 * for their removal and waits for the answers, but not for long.  What is left
 * is removed by the worker of the next CREATE EXTENSION.
 */
extern void osa_flights_clear_away(void);

/* Before leaving: abandons what is in flight; containers run on. */
extern void osa_flights_close(void);

#endif							/* OSA_FLIGHT_H */

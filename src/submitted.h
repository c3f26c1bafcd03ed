/*
 * submitted.h
 *		The saga's handler of DepositionSubmitted, and giving claims back.
 */
#ifndef OSA_SUBMITTED_H
#define OSA_SUBMITTED_H

#include "access/xlogdefs.h"

#include "store/store.h"

/* Creates the run of a submitted deposition, or a failed one with the reason. */
extern void osa_handle_submitted(const Claim *claim, XLogRecPtr gate);

/* Gives a claim back for a second: soon again, or with an error kept in it. */
extern void osa_give_back(const Claim *claim, const char *error);

#endif							/* OSA_SUBMITTED_H */

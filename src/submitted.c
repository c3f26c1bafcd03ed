/*
 * submitted.c
 *		DepositionSubmitted: creates the run that was asked for.  Runs in the
 *		worker; it is database work alone, done in the turn that claimed it.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "guard.h"
#include "queue.h"
#include "store/submit.h"
#include "submitted.h"

/* What can't be handled is tried again, less and less often. */
#define GIVE_BACK_S		1
#define GIVE_BACK_MAX_S	60

typedef struct Submission
{
	const Claim *claim;
	const char *reason;			/* why the run could not be created */
	const char *error;			/* why the claim is given back */
} Submission;

static void create_unit(void *arg);
static void create_failed_unit(void *arg);
static void give_back_unit(void *arg);

void
osa_handle_submitted(const Claim *claim, XLogRecPtr gate)
{
	Submission	submission = {claim, NULL, NULL};
	GuardError	error;
	GuardVerdict verdict;

	(void) gate;
	verdict = osa_guard(create_unit, &submission, &error);
	if (verdict == GUARD_ERROR)
	{
		/* what is wrong with it will be so again */
		submission.reason = error.message;
		verdict = osa_guard(create_failed_unit, &submission, &error);
	}
	if (verdict != GUARD_OK)
		osa_give_back(claim, error.message);
}

static void
create_unit(void *arg)
{
	Submission *s = arg;
	NewRun		run;

	osa_tx_begin("creating a run");
	if (osa_store_submission(s->claim, &run))
		(void) osa_store_create_run(&run, s->claim->delivery_id);
	osa_tx_commit(OSA_TX_SYNC);
}

static void
create_failed_unit(void *arg)
{
	Submission *s = arg;
	NewRun		run;

	osa_tx_begin("recording a refused submission");
	if (osa_store_submission(s->claim, &run))
	{
		(void) osa_store_create_failed_run(&run, s->reason);
		osa_store_end_submission(s->claim);
	}
	osa_tx_commit(OSA_TX_SYNC);
}

void
osa_give_back(const Claim *claim, const char *message)
{
	Submission	submission = {claim, NULL, message};
	GuardError	error;

	/* a claim that can't even be given back is taken back after claim_timeout */
	if (osa_guard(give_back_unit, &submission, &error) == GUARD_OK)
		osa_queue_look(claim->delivery_id, true);
}

static void
give_back_unit(void *arg)
{
	Submission *s = arg;

	osa_tx_begin("giving a claim back");
	if (s->error != NULL)
		osa_store_park(s->claim->delivery_id, &s->claim->token, s->error,
					   Min(GIVE_BACK_S * s->claim->claims, GIVE_BACK_MAX_S));
	else
		osa_store_unclaim(s->claim->delivery_id, &s->claim->token, false);
	osa_tx_commit(OSA_TX_SYNC);
}

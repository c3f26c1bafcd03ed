/*
 * guc.h
 *		All settings, osa_validation.*; read-only for everyone but guc.c.
 */
#ifndef OSA_GUC_H
#define OSA_GUC_H

#include "postgres.h"

extern bool osa_guc_enabled;	/* sighup, on: workers claim */
extern int	osa_guc_max_in_flight;	/* sighup, 100: hooks at once a database */
extern int	osa_guc_poll_interval;	/* sighup, ms, 5000: safety scan */
extern int	osa_guc_progress_interval;	/* sighup, ms, 1000 */
extern int	osa_guc_claim_timeout;	/* sighup, s, 60: a claim that no flight
									 * holds is taken back after this */
extern int	osa_guc_max_records;	/* sighup, 10000: records of one run */
extern int	osa_guc_max_input_bytes;	/* sighup, kB unit, 256MB: a run's
										 * metadata and files */
extern int	osa_guc_max_memory; /* sighup, MB unit, 4GB: default ceiling of
								 * one hook's memory */
extern int	osa_guc_progress_retention; /* sighup, s, 7 days */
extern char *osa_guc_files_root;	/* sighup, '': absolute folder */
extern char *osa_guc_allowed_images;	/* sighup, '' = all: comma list of
										 * patterns with * */
extern char *osa_guc_engine_socket; /* sighup, unix:///run/podman/podman.sock */
extern int	osa_guc_worker_log_level;	/* sighup, log: level of the worker's
										 * life-cycle and step messages */
extern int	osa_guc_max_databases;	/* postmaster, 64: slots */

extern void osa_guc_define(void);

#endif							/* OSA_GUC_H */

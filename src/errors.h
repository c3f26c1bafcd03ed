/*
 * errors.h
 *		Our own SQLSTATEs, class OS, for what no standard one says.
 */
#ifndef OSA_ERRORS_H
#define OSA_ERRORS_H

#include "postgres.h"

/* bad records document: not an array, empty, bad or duplicate id, ... */
#define ERRCODE_OSA_INVALID_RECORDS		MAKE_SQLSTATE('O','S','0','0','1')
/* bad limits, columns or config document */
#define ERRCODE_OSA_INVALID_DEFINITION	MAKE_SQLSTATE('O','S','0','0','2')
/* bad image reference, or one that osa_validation.allowed_images excludes */
#define ERRCODE_OSA_INVALID_IMAGE		MAKE_SQLSTATE('O','S','0','0','3')
/* bad file path or files_from */
#define ERRCODE_OSA_INVALID_PATH		MAKE_SQLSTATE('O','S','0','0','4')
/* same idempotency key with other content */
#define ERRCODE_OSA_KEY_REUSED			MAKE_SQLSTATE('O','S','0','0','5')
/* the deposition has a run under way */
#define ERRCODE_OSA_RUN_UNDER_WAY		MAKE_SQLSTATE('O','S','0','0','6')
/* over max_records or max_input_bytes */
#define ERRCODE_OSA_TOO_LARGE			MAKE_SQLSTATE('O','S','0','0','7')

#endif							/* OSA_ERRORS_H */

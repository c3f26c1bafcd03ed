/*
 * paths_stepwise.c
 *		osa_open_beneath as it is on a kernel that knows no openat2: its own
 *		source again, calling a system call that no kernel has.
 */
#include "postgres.h"

#include <sys/syscall.h>

#undef SYS_openat2
#define SYS_openat2				100000
#define osa_open_beneath		stepwise_open_beneath
#define osa_record_id_problem	stepwise_record_id_problem
#define osa_file_path_problem	stepwise_file_path_problem

#include "contract/paths.c"

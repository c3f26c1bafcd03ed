/*
 * spool.c
 *		Write-once byte stores: in memory up to 1 MiB, then in a file.
 *
 * Runs in the worker.  Writing and reading are called inside libcurl and
 * libarchive, so they must never raise nor palloc: memory is malloc'ed and
 * errors are returned with errno.  The file is made beside PostgreSQL's own
 * temporary files and with their prefix, so that a server start removes what
 * a crash between making and unlinking left.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "common/file_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "spool.h"

#define SPOOL_MEMORY	(1024 * 1024)
#define SPOOL_FIRST		(8 * 1024)

struct Spool
{
	MemoryContext context;		/* the spool's own */
	MemoryContextCallback reset;
	char	   *memory;			/* malloc'ed; NULL once in a file */
	size_t		allocated;
	int			fd;				/* -1: in memory */
	int64		size;
	int64		position;		/* of the next read */
};

static void spool_release(void *arg);
static bool spool_grow(Spool *spool, size_t needed);
static bool spool_to_file(Spool *spool);
static int	spool_make_file(void);
static bool spool_append_file(Spool *spool, const char *data, size_t len);

/*
 * osa_spool_open makes an empty spool.  It has a memory context of its own, so
 * that closing it early leaves nothing behind in the given one.
 */
Spool *
osa_spool_open(MemoryContext context)
{
	MemoryContext own = AllocSetContextCreate(context, "osa spool", ALLOCSET_SMALL_SIZES);
	Spool	   *spool = MemoryContextAllocZero(own, sizeof(Spool));

	spool->context = own;
	spool->fd = -1;
	spool->reset.func = spool_release;
	spool->reset.arg = spool;
	MemoryContextRegisterResetCallback(own, &spool->reset);
	return spool;
}

void
osa_spool_close(Spool *spool)
{
	MemoryContextDelete(spool->context);
}

/*
 * osa_spool_write appends; after a false the spool is of no use any more, but
 * for being closed.
 */
bool
osa_spool_write(Spool *spool, const void *data, size_t len)
{
	if (len == 0)
		return true;
	if (spool->fd < 0 && spool->size + (int64) len > SPOOL_MEMORY && !spool_to_file(spool))
		return false;
	if (spool->fd >= 0)
		return spool_append_file(spool, data, len);
	if (!spool_grow(spool, spool->size + len))
		return false;
	memcpy(spool->memory + spool->size, data, len);
	spool->size += len;
	return true;
}

int64
osa_spool_size(const Spool *spool)
{
	return spool->size;
}

void
osa_spool_rewind(Spool *spool)
{
	spool->position = 0;
}

ssize_t
osa_spool_read(Spool *spool, void *data, size_t len)
{
	ssize_t		got;

	len = Min((int64) len, spool->size - spool->position);
	if (len == 0)
		return 0;
	if (spool->fd < 0)
	{
		memcpy(data, spool->memory + spool->position, len);
		spool->position += len;
		return len;
	}
	do
		got = pread(spool->fd, data, len, spool->position);
	while (got < 0 && errno == EINTR);
	if (got == 0)
	{
		errno = EIO;			/* someone truncated our file */
		return -1;
	}
	if (got > 0)
		spool->position += got;
	return got;
}

/* Reset callback of the spool's context. */
static void
spool_release(void *arg)
{
	Spool	   *spool = arg;

	free(spool->memory);
	if (spool->fd >= 0)
	{
		close(spool->fd);
		ReleaseExternalFD();
	}
}

static bool
spool_grow(Spool *spool, size_t needed)
{
	size_t		allocated = Max(spool->allocated, SPOOL_FIRST);
	char	   *memory;

	if (needed <= spool->allocated)
		return true;
	while (allocated < needed)
		allocated *= 2;
	memory = realloc(spool->memory, allocated);
	if (memory == NULL)
	{
		errno = ENOMEM;
		return false;
	}
	spool->memory = memory;
	spool->allocated = allocated;
	return true;
}

/* Moves what is in memory to a file. */
static bool
spool_to_file(Spool *spool)
{
	char	   *memory = spool->memory;
	int64		size = spool->size;

	spool->fd = spool_make_file();
	if (spool->fd < 0)
		return false;
	spool->memory = NULL;
	spool->allocated = 0;
	spool->size = 0;
	if (!spool_append_file(spool, memory, size))
	{
		int			save_errno = errno;

		free(memory);
		errno = save_errno;
		return false;
	}
	free(memory);
	return true;
}

/*
 * spool_make_file returns the descriptor of a new unlinked file, counted among
 * the server's, or -1.
 */
static int
spool_make_file(void)
{
	char		directory[MAXPGPATH];
	char		path[MAXPGPATH];
	int			fd;
	int			save_errno;

	if (!AcquireExternalFD())
		return -1;
	snprintf(directory, sizeof(directory), "base/%s", PG_TEMP_FILES_DIR);
	snprintf(path, sizeof(path), "%s/%s%d.osa.XXXXXX", directory, PG_TEMP_FILE_PREFIX, MyProcPid);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
	{
		/* no one has needed a temporary file in this cluster yet */
		if (mkdir(directory, pg_dir_create_mode) == 0 || errno == EEXIST)
		{
			snprintf(path, sizeof(path), "%s/%s%d.osa.XXXXXX", directory, PG_TEMP_FILE_PREFIX,
					 MyProcPid);
			fd = mkostemp(path, O_CLOEXEC);
		}
	}
	if (fd >= 0 && unlink(path) == 0)
		return fd;

	save_errno = errno;
	if (fd >= 0)
		close(fd);
	ReleaseExternalFD();
	errno = save_errno;
	return -1;
}

static bool
spool_append_file(Spool *spool, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		put = pwrite(spool->fd, data, len, spool->size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
		{
			if (put == 0)
				errno = ENOSPC;
			return false;
		}
		spool->size += put;
		data += put;
		len -= put;
	}
	return true;
}

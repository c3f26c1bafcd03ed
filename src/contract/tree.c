/*
 * tree.c
 *		Walks a folder beneath files_root.
 *
 * Runs in the worker.  Holds one descriptor at a time and opens every file by
 * its whole path from the root, so that nobody who renames folders meanwhile
 * can lead it elsewhere.  Local disk is read without asking whether it blocks;
 * each call does a bounded piece.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "paths.h"
#include "tree.h"

/* most files and folders beneath one folder */
#define TREE_MAX_ENTRIES	100000
/* names read by one call */
#define TREE_NAMES_A_STEP	2000

struct TreeWalk
{
	MemoryContext context;		/* its own */
	MemoryContextCallback reset;
	const char *root;
	const char *folder;
	Failure    *failure;
	int			n_entries;

	List	   *pending;		/* folders still to be listed, char * */
	char	   *listed;			/* the one whose names are in names, or NULL */
	DIR		   *dir;			/* it, while being listed */
	char	  **names;
	int			n_names;
	int			max_names;
	int			next_name;

	StringInfoData path;		/* of the entry */
	StringInfoData full_path;	/* with the folder */
	int			fd;				/* of the file being read, or -1 */
	struct stat stat;
	int64		position;
};

static void tree_release(void *arg);
static bool start_listing(TreeWalk *walk);
static TreeState read_names(TreeWalk *walk);
static void add_name(TreeWalk *walk, const char *name);
static int	compare_names(const void *a, const void *b);
static TreeState next_entry(TreeWalk *walk, const char **path, int64 *size);
static void close_file(TreeWalk *walk);

TreeWalk *
osa_tree_begin(MemoryContext context, const char *root, const char *folder, Failure *failure)
{
	MemoryContext own = AllocSetContextCreate(context, "osa tree walk", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	TreeWalk   *walk = palloc0(sizeof(TreeWalk));

	walk->context = own;
	walk->fd = -1;
	walk->reset.func = tree_release;
	walk->reset.arg = walk;
	MemoryContextRegisterResetCallback(own, &walk->reset);

	walk->root = pstrdup(root);
	walk->folder = pstrdup(folder);
	walk->failure = failure;
	initStringInfo(&walk->path);
	initStringInfo(&walk->full_path);
	walk->pending = list_make1(pstrdup(""));
	MemoryContextSwitchTo(old);
	return walk;
}

void
osa_tree_end(TreeWalk *walk)
{
	MemoryContextDelete(walk->context);
}

TreeState
osa_tree_next(TreeWalk *walk, const char **path, int64 *size)
{
	MemoryContext old = MemoryContextSwitchTo(walk->context);
	TreeState	state;

	close_file(walk);
	if (walk->dir != NULL)
		state = read_names(walk);
	else if (walk->next_name < walk->n_names)
		state = next_entry(walk, path, size);
	else if (walk->pending == NIL)
		state = TREE_END;
	else
		state = start_listing(walk) ? TREE_MORE : TREE_FAILED;
	MemoryContextSwitchTo(old);
	return state;
}

ssize_t
osa_tree_read(TreeWalk *walk, char *data, size_t len)
{
	struct stat now;
	ssize_t		got;
	char		beyond;

	len = Min((int64) len, walk->stat.st_size - walk->position);
	do
		got = len > 0 ? read(walk->fd, data, len) : read(walk->fd, &beyond, 1);
	while (got < 0 && errno == EINTR);
	if (got < 0)
	{
		osa_fail(walk->failure, FAILURE_RUNTIME, "could not read file \"%s\": %s",
				 walk->full_path.data, strerror(errno));
		return -1;
	}
	if ((got == 0) != (len == 0) ||
		(len == 0 && (fstat(walk->fd, &now) != 0 || now.st_size != walk->stat.st_size ||
					  now.st_mtim.tv_sec != walk->stat.st_mtim.tv_sec ||
					  now.st_mtim.tv_nsec != walk->stat.st_mtim.tv_nsec)))
	{
		osa_fail(walk->failure, FAILURE_CONFIG, "file \"%s\" changed while it was read",
				 walk->full_path.data);
		return -1;
	}
	walk->position += got;
	return got;
}

/* Reset callback of the walk's context. */
static void
tree_release(void *arg)
{
	TreeWalk   *walk = arg;

	close_file(walk);
	if (walk->dir != NULL)
	{
		closedir(walk->dir);
		ReleaseExternalFD();
	}
}

static void
close_file(TreeWalk *walk)
{
	if (walk->fd < 0)
		return;
	close(walk->fd);
	ReleaseExternalFD();
	walk->fd = -1;
}

/* Opens the first of the pending folders. */
static bool
start_listing(TreeWalk *walk)
{
	bool		is_folder;
	int			fd;

	if (walk->listed != NULL)
		pfree(walk->listed);
	walk->listed = linitial(walk->pending);
	walk->pending = list_delete_first(walk->pending);
	for (int i = 0; i < walk->n_names; i++)
		pfree(walk->names[i]);
	walk->n_names = walk->next_name = 0;

	resetStringInfo(&walk->full_path);
	appendStringInfoString(&walk->full_path, walk->folder);
	if (*walk->listed != '\0')
		appendStringInfo(&walk->full_path, "/%s", walk->listed);
	if (!osa_open_beneath(walk->root, walk->full_path.data, PATH_FOLDER, &fd, &is_folder,
						  walk->failure))
		return false;
	walk->dir = fdopendir(fd);
	if (walk->dir == NULL)
	{
		osa_fail(walk->failure, FAILURE_RUNTIME, "could not read folder \"%s\": %s",
				 walk->full_path.data, strerror(errno));
		close(fd);
		return false;
	}
	ReserveExternalFD();
	return true;
}

/* Reads some names of the folder that is open; sorts them when it has all. */
static TreeState
read_names(TreeWalk *walk)
{
	for (int i = 0; i < TREE_NAMES_A_STEP; i++)
	{
		struct dirent *entry;

		errno = 0;
		entry = readdir(walk->dir);
		if (entry == NULL && errno != 0)
		{
			osa_fail(walk->failure, FAILURE_RUNTIME, "could not read folder \"%s\": %s",
					 walk->full_path.data, strerror(errno));
			return TREE_FAILED;
		}
		if (entry == NULL)
		{
			closedir(walk->dir);
			ReleaseExternalFD();
			walk->dir = NULL;
			if (walk->n_names > 1)
				qsort(walk->names, walk->n_names, sizeof(char *), compare_names);
			return TREE_MORE;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (++walk->n_entries > TREE_MAX_ENTRIES)
		{
			osa_fail(walk->failure, FAILURE_CONFIG,
					 "folder \"%s\" has more than %d files and folders",
					 walk->folder, TREE_MAX_ENTRIES);
			return TREE_FAILED;
		}
		add_name(walk, entry->d_name);
	}
	return TREE_MORE;
}

static void
add_name(TreeWalk *walk, const char *name)
{
	if (walk->n_names == walk->max_names)
	{
		walk->max_names = Max(walk->max_names * 2, 64);
		if (walk->names == NULL)
			walk->names = palloc(walk->max_names * sizeof(char *));
		else
			walk->names = repalloc(walk->names, walk->max_names * sizeof(char *));
	}
	walk->names[walk->n_names++] = pstrdup(name);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Opens the next name of the listed folder. */
static TreeState
next_entry(TreeWalk *walk, const char **path, int64 *size)
{
	const char *problem;
	bool		is_folder;

	resetStringInfo(&walk->path);
	if (*walk->listed != '\0')
		appendStringInfo(&walk->path, "%s/", walk->listed);
	appendStringInfoString(&walk->path, walk->names[walk->next_name++]);
	resetStringInfo(&walk->full_path);
	appendStringInfo(&walk->full_path, "%s/%s", walk->folder, walk->path.data);

	problem = osa_file_path_problem(walk->path.data, walk->path.len);
	if (problem != NULL)
	{
		osa_fail(walk->failure, FAILURE_CONFIG, "file \"%.900s\" cannot be given to a hook",
				 walk->full_path.data);
		return TREE_FAILED;
	}
	if (!osa_open_beneath(walk->root, walk->full_path.data, PATH_EITHER, &walk->fd, &is_folder,
						  walk->failure))
	{
		walk->fd = -1;
		return TREE_FAILED;
	}
	ReserveExternalFD();
	*path = walk->path.data;
	if (is_folder)
	{
		close_file(walk);
		walk->pending = lappend(walk->pending, pstrdup(walk->path.data));
		return TREE_FOLDER;
	}
	if (fstat(walk->fd, &walk->stat) != 0)
	{
		osa_fail(walk->failure, FAILURE_RUNTIME, "could not examine file \"%s\": %s",
				 walk->full_path.data, strerror(errno));
		return TREE_FAILED;
	}
	walk->position = 0;
	*size = walk->stat.st_size;
	return TREE_FILE;
}

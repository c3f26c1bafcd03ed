/*
 * node.c
 *		The node identity's file.  Run by workers at their start; several may
 *		make it at once, and one of them wins (link(2) does not replace).
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "ident.h"
#include "node.h"

#define NODE_FILE "osa_validation.node"

static bool read_node(char *node);
static void read_machine(char *machine, size_t size);
static void make_node(void);

void
osa_node_id(char *node)
{
	if (read_node(node))
		return;
	make_node();
	if (!read_node(node))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" does not hold a node identity", NODE_FILE),
				 errhint("Remove the file to have a new identity made.")));
}

void
osa_node_mark(char *mark)
{
	struct stat st;
	char		machine[40];

	if (stat(NODE_FILE, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", NODE_FILE)));
	read_machine(machine, sizeof(machine));
	snprintf(mark, OSA_NODE_MARK_LEN + 1, "%s/%llu", machine, (unsigned long long) st.st_ino);
}

/* A machine without an id is as good as any other. */
static void
read_machine(char *machine, size_t size)
{
	FILE	   *file = AllocateFile("/etc/machine-id", "r");

	machine[0] = '\0';
	if (file == NULL)
		return;
	if (fgets(machine, size, file) == NULL)
		machine[0] = '\0';
	machine[strcspn(machine, "\n")] = '\0';
	FreeFile(file);
}

/* False: there is no such file. */
static bool
read_node(char *node)
{
	int			fd = OpenTransientFile(NODE_FILE, O_RDONLY | PG_BINARY);
	ssize_t		n;

	if (fd < 0)
	{
		if (errno == ENOENT)
			return false;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", NODE_FILE)));
	}
	n = read(fd, node, OSA_NODE_ID_LEN);
	CloseTransientFile(fd);
	if (n != OSA_NODE_ID_LEN || strspn(node, "0123456789abcdef-") < OSA_NODE_ID_LEN)
		return false;
	node[OSA_NODE_ID_LEN] = '\0';
	return true;
}

static void
make_node(void)
{
	pg_uuid_t	uuid;
	char		text[OSA_NODE_ID_LEN + 2];
	char		tmp[64];
	int			fd;

	if (!pg_strong_random(uuid.data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	osa_uuid_text(&uuid, text);
	strcat(text, "\n");
	snprintf(tmp, sizeof(tmp), "%s.%d.tmp", NODE_FILE, MyProcPid);

	fd = OpenTransientFile(tmp, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text) || pg_fsync(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", tmp)));
	CloseTransientFile(fd);
	if (link(tmp, NODE_FILE) != 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not link file \"%s\" to \"%s\": %m", tmp, NODE_FILE)));
	unlink(tmp);
	fsync_fname(".", true);
}

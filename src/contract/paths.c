/*
 * paths.c
 *		What may become a path or an image name, and opening files beneath a
 *		folder without following links.
 *
 * Runs in the worker and in backends; never raises.
 */
#include "postgres.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mb/pg_wchar.h"

#include "paths.h"

static const char *text_problem(const char *text, size_t len);
static int	open_path(int root_fd, const char *rel, int flags);
static int	open_stepwise(int root_fd, const char *rel, int flags);
static bool open_fail(Failure *failure, const char *rel, int error);

const char *
osa_record_id_problem(const char *id, size_t len)
{
	const char *problem;

	if (len == 0)
		return "A record id must not be empty.";
	if (len > OSA_RECORD_ID_MAX)
		return "A record id must not be longer than 200 bytes.";
	problem = text_problem(id, len);
	if (problem != NULL)
		return problem;
	if (memchr(id, '/', len) != NULL)
		return "A record id must not contain a slash.";
	if ((len == 1 && id[0] == '.') || (len == 2 && id[0] == '.' && id[1] == '.'))
		return "A record id must not be \".\" or \"..\".";
	return NULL;
}

const char *
osa_file_path_problem(const char *path, size_t len)
{
	const char *end = path + len;
	const char *problem;

	if (len == 0)
		return "A file path must not be empty.";
	if (len > OSA_FILE_PATH_MAX)
		return "A file path must not be longer than 1024 bytes.";
	problem = text_problem(path, len);
	if (problem != NULL)
		return problem;
	if (*path == '/')
		return "A file path must be relative.";
	for (const char *p = path; p <= end;)
	{
		const char *slash = memchr(p, '/', end - p);
		size_t		component = (slash ? slash : end) - p;

		if (component == 0)
			return "A file path must not have an empty component.";
		if ((component == 1 && p[0] == '.') || (component == 2 && p[0] == '.' && p[1] == '.'))
			return "A file path must not have \".\" or \"..\" as a component.";
		if (component > OSA_PATH_COMPONENT_MAX)
			return "A component of a file path must not be longer than 255 bytes.";
		p += component + 1;
	}
	return NULL;
}

/* What no name may contain. */
static const char *
text_problem(const char *text, size_t len)
{
	if (memchr(text, '\0', len) != NULL)
		return "It must not contain a NUL byte.";
	if (pg_encoding_verifymbstr(PG_UTF8, text, (int) len) != (int) len)
		return "It must be valid UTF-8.";
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = text[i];

		/* C0, DEL, and C1 as the two bytes of U+0080 to U+009F */
		if (c < 0x20 || c == 0x7f ||
			(c == 0xc2 && (unsigned char) text[i + 1] < 0xa0))
			return "It must not contain control characters.";
	}
	return NULL;
}

/*
 * osa_open_beneath looks before it opens: opening a FIFO or a device for
 * reading may have effects of its own.
 */
bool
osa_open_beneath(const char *root, const char *rel, PathKind kind,
				 int *fd, bool *is_folder, Failure *failure)
{
	struct stat before;
	struct stat after;
	int			root_fd;
	int			path_fd;
	int			saved;

	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return open_fail(failure, root, errno);
	if (*rel == '\0')
		rel = ".";

	path_fd = open_path(root_fd, rel, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (path_fd < 0)
	{
		saved = errno;
		close(root_fd);
		return open_fail(failure, rel, saved);
	}
	saved = fstat(path_fd, &before) == 0 ? 0 : errno;
	close(path_fd);
	if (saved == 0)
	{
		if (S_ISLNK(before.st_mode))
			saved = ELOOP;
		else if (!S_ISREG(before.st_mode) && !S_ISDIR(before.st_mode))
			saved = ENXIO;
		else if (kind == PATH_FILE && S_ISDIR(before.st_mode))
			saved = EISDIR;
		else if (kind == PATH_FOLDER && S_ISREG(before.st_mode))
			saved = ENOTDIR;
	}
	if (saved != 0)
	{
		close(root_fd);
		return open_fail(failure, rel, saved);
	}

	*fd = open_path(root_fd, rel, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	saved = errno;
	close(root_fd);
	if (*fd < 0)
		return open_fail(failure, rel, saved);
	if (fstat(*fd, &after) != 0 || after.st_dev != before.st_dev || after.st_ino != before.st_ino)
	{
		close(*fd);
		return open_fail(failure, rel, ESTALE);
	}
	*is_folder = S_ISDIR(after.st_mode);
	return true;
}

static int
open_path(int root_fd, const char *rel, int flags)
{
	struct open_how how = {0};
	int			fd;

	how.flags = flags;
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	/* EAGAIN: a rename somewhere on the machine made the answer uncertain */
	for (int i = 0; i < 5; i++)
	{
		fd = syscall(SYS_openat2, root_fd, rel, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	/* kernels before 5.6, and sandboxes that know no openat2 */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return open_stepwise(root_fd, rel, flags);
	return fd;
}

/* The same by one openat for each component. */
static int
open_stepwise(int root_fd, const char *rel, int flags)
{
	int			dir_fd = root_fd;
	int			fd = -1;
	int			saved = EINVAL;

	while (*rel != '\0')
	{
		char		name[OSA_PATH_COMPONENT_MAX + 1];
		size_t		len = strcspn(rel, "/");
		const char *rest = rel + len + strspn(rel + len, "/");

		if (len == 0 || len > OSA_PATH_COMPONENT_MAX || strncmp(rel, "..", Max(len, 2)) == 0)
		{
			fd = -1;
			saved = len > OSA_PATH_COMPONENT_MAX ? ENAMETOOLONG : EXDEV;
			break;
		}
		memcpy(name, rel, len);
		name[len] = '\0';
		fd = openat(dir_fd, name,
					*rest != '\0' ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC : flags);
		saved = errno;
		/* O_DIRECTORY says ENOTDIR of a link: tell them apart */
		if (fd < 0 && *rest != '\0' && saved == ENOTDIR)
		{
			struct stat st;

			if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
				saved = ELOOP;
		}
		if (dir_fd != root_fd)
			close(dir_fd);
		dir_fd = fd;
		if (fd < 0)
			break;
		rel = rest;
	}
	if (fd < 0 && dir_fd >= 0 && dir_fd != root_fd)
		close(dir_fd);
	errno = saved;
	return fd;
}

static bool
open_fail(Failure *failure, const char *rel, int error)
{
	switch (error)
	{
		case ELOOP:
			osa_fail(failure, FAILURE_CONFIG, "file \"%s\" is a symbolic link or behind one", rel);
			break;
		case EXDEV:
			osa_fail(failure, FAILURE_CONFIG, "file \"%s\" is outside of its folder", rel);
			break;
		case ENXIO:
			osa_fail(failure, FAILURE_CONFIG,
					 "file \"%s\" is neither a regular file nor a folder", rel);
			break;
		case EISDIR:
			osa_fail(failure, FAILURE_CONFIG, "\"%s\" is a folder, not a file", rel);
			break;
		case ENOTDIR:
			osa_fail(failure, FAILURE_CONFIG, "\"%s\" is not a folder", rel);
			break;
		case ENOENT:
		case EACCES:
		case EPERM:
		case ENAMETOOLONG:
			osa_fail(failure, FAILURE_CONFIG, "could not open \"%s\": %s", rel, strerror(error));
			break;
		case ESTALE:
			osa_fail(failure, FAILURE_RUNTIME, "file \"%s\" was replaced while it was opened", rel);
			break;
		default:
			osa_fail(failure, FAILURE_RUNTIME, "could not open \"%s\": %s", rel, strerror(error));
			break;
	}
	return false;
}

/*
 * sandbox: looks from inside at what a hook is promised to be kept from, and
 * says what it found: one feature a check, {"check", "ok", "found"}, the same
 * for every record.  config.json tells the limits to expect: "pids", "memory",
 * "tmpfs", "fsize" (bytes), "cpu" (cores), "hook" (name).
 *
 * Each check tries the forbidden thing where that is possible, and reads the
 * kernel's word for it where it is not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define TMPFS_MAGIC_NUMBER 0x01021994

static char config[65536];
static char report[65536];
static size_t report_len;

static void
say(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	report_len += vsnprintf(report + report_len, sizeof(report) - report_len, fmt, args);
	va_end(args);
	if (report_len >= sizeof(report))
		exit(90);
}

/* One check's result; found is plain text without quotes or backslashes. */
static void
result(const char *check, bool ok, const char *fmt,...)
{
	va_list		args;
	char		found[512];

	va_start(args, fmt);
	vsnprintf(found, sizeof(found), fmt, args);
	va_end(args);
	found[strcspn(found, "\n")] = '\0';
	for (char *at = found; *at; at++)
		if (*at == '"' || *at == '\\' || (unsigned char) *at < ' ')
			*at = ' ';
	say("%s{\"check\":\"%s\",\"ok\":%s,\"found\":\"%s\"}", report_len ? "," : "",
		check, ok ? "true" : "false", found);
}

/* Passes if the call failed, with one of these errors. */
static void
refused(const char *check, int returned, int error1, int error2)
{
	int			error = errno;

	result(check, returned < 0 && (error == error1 || error == error2), "%s",
		   returned < 0 ? strerror(error) : "it was allowed");
}

static double
expected(const char *key)
{
	char		quoted[64];
	char	   *at;

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	at = strstr(config, quoted);
	if (at == NULL)
	{
		fprintf(stderr, "config.json has no %s\n", key);
		exit(91);
	}
	return strtod(at + strlen(quoted) + strspn(at + strlen(quoted), " :"), NULL);
}

static bool
read_file(const char *path, char *buffer, size_t size)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t		got = 0;
	ssize_t		n;

	if (fd < 0)
		return false;
	while (got < size - 1 && (n = read(fd, buffer + got, size - 1 - got)) > 0)
		got += n;
	close(fd);
	buffer[got] = '\0';
	return got > 0;
}

static int
try_create(const char *path)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd >= 0)
	{
		close(fd);
		unlink(path);
	}
	return fd;
}

static int
try_write(const char *path)
{
	int			fd = open(path, O_WRONLY | O_APPEND);

	if (fd >= 0)
		close(fd);
	return fd;
}

static void
check_identity(void)
{
	gid_t		groups[64];
	int			n = getgroups(64, groups);
	bool		alone = n >= 0;

	result("uid", getuid() == 65534 && geteuid() == 65534, "%d", (int) geteuid());
	result("gid", getgid() == 65534 && getegid() == 65534, "%d", (int) getegid());
	for (int i = 0; i < n; i++)
		alone = alone && groups[i] == 65534;
	result("no other groups", alone, "%d groups", n);
	result("init is process 1", getpid() != 1, "pid %d", (int) getpid());
	refused("becoming root", setuid(0), EPERM, EPERM);
}

static void
check_status(const char *check, const char *key, const char *want)
{
	char		status[8192];
	char		value[64] = "missing";
	char	   *at;

	if (read_file("/proc/self/status", status, sizeof(status)) &&
		(at = strstr(status, key)) != NULL)
		sscanf(at + strlen(key), "%63s", value);
	result(check, strcmp(value, want) == 0, "%s", value);
}

static void
check_privileges(void)
{
	const char *none = "0000000000000000";

	check_status("CapInh", "\nCapInh:", none);
	check_status("CapPrm", "\nCapPrm:", none);
	check_status("CapEff", "\nCapEff:", none);
	check_status("CapBnd", "\nCapBnd:", none);
	check_status("CapAmb", "\nCapAmb:", none);
	check_status("no new privileges", "\nNoNewPrivs:", "1");
	check_status("seccomp filter", "\nSeccomp:", "2");
	refused("mount", mount("none", "/tmp", "tmpfs", 0, NULL), EPERM, EPERM);
	refused("device node", mknod("/osa/out/disk", S_IFBLK | 0600, makedev(8, 0)), EPERM, EPERM);
	refused("kernel setting", try_write("/proc/sys/kernel/core_pattern"), EROFS, EACCES);
}

static void
check_network(void)
{
	char		text[8192];
	char		names[256] = "";
	int			n = 0;
	char	   *line;

	if (!read_file("/proc/net/dev", text, sizeof(text)))
		strcpy(names, "unreadable");
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
	{
		char	   *colon = strchr(line, ':');

		if (colon == NULL)
			continue;
		*colon = '\0';
		n++;
		strncat(names, line + strspn(line, " "), sizeof(names) - strlen(names) - 2);
	}
	result("no network but lo", n == 1 && strcmp(names, "lo") == 0, "%s", names);

	/* its first line is a heading, or it is empty */
	if (!read_file("/proc/net/route", text, sizeof(text)))
		text[0] = '\0';
	line = strchr(text, '\n');
	result("no route", line == NULL || line[1] == '\0', "%s", line && line[1] ? line + 1 : "none");
}

static void
check_pids(void)
{
	int			limit = (int) expected("pids");
	int			n = 0;
	int			error = 0;
	pid_t	   *children = calloc(limit + 64, sizeof(pid_t));

	while (n < limit + 64)
	{
		pid_t		pid = fork();

		if (pid == 0)
		{
			pause();
			_exit(0);
		}
		if (pid < 0)
		{
			error = errno;
			break;
		}
		children[n++] = pid;
	}
	for (int i = 0; i < n; i++)
	{
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	/* this process and init count too */
	result("pids limit", error == EAGAIN && n < limit && n >= limit - 8, "%d more processes, then %s",
		   n, error ? strerror(error) : "no end");
}

/* The first of these files that there is: version 2 of cgroups, then 1. */
static bool
read_cgroup(const char *v2, const char *v1, char *text, size_t size)
{
	char		path[256];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", v2);
	if (read_file(path, text, size))
		return true;
	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", v1);
	return read_file(path, text, size);
}

static void
check_cgroup(void)
{
	char		text[256];
	char		period[256];
	double		memory = expected("memory");
	double		cpu = expected("cpu");
	double		quota = 0;
	double		per = 100000;

	if (read_cgroup("memory.max", "memory/memory.limit_in_bytes", text, sizeof(text)))
		result("memory limit", strtod(text, NULL) == memory, "%s", text);
	else
		result("memory limit", false, "unreadable");

	/* version 2 counts swap apart; a kernel may count none at all */
	if (read_file("/sys/fs/cgroup/memory.swap.max", text, sizeof(text)))
		result("no swap", strtod(text, NULL) == 0 && strncmp(text, "max", 3) != 0, "%s", text);
	else if (read_file("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", text, sizeof(text)))
		result("no swap", strtod(text, NULL) == memory, "%s with memory", text);
	else
		result("no swap", access("/sys/fs/cgroup/memory", R_OK) == 0 ||
			   access("/sys/fs/cgroup/memory.max", R_OK) == 0, "not counted here");

	if (read_file("/sys/fs/cgroup/cpu.max", text, sizeof(text)))
		sscanf(text, "%lf %lf", &quota, &per);
	else if (read_cgroup("cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us", text, sizeof(text)) &&
			 read_cgroup("cpu/cpu.cfs_period_us", "cpu,cpuacct/cpu.cfs_period_us", period, sizeof(period)))
	{
		quota = strtod(text, NULL);
		per = strtod(period, NULL);
	}
	result("cpu quota", quota > 0 && quota / per > cpu * 0.99 && quota / per < cpu * 1.01,
		   "%.3f cores", quota / per);
}

static bool
mount_has(const char *point, const char *option)
{
	static char mounts[65536];
	char	   *line;
	char	   *rest;
	bool		found = false;

	if (!read_file("/proc/self/mountinfo", mounts, sizeof(mounts)))
		return false;
	for (line = strtok_r(mounts, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
	{
		char		where[256];
		char		options[256];

		/* the last mount on a point is the one seen */
		if (sscanf(line, "%*s %*s %*s %*s %255s %255s", where, options) == 2 &&
			strcmp(where, point) == 0)
		{
			char		list[300];
			char		wanted[64];

			snprintf(list, sizeof(list), ",%s,", options);
			snprintf(wanted, sizeof(wanted), ",%s,", option);
			found = strstr(list, wanted) != NULL;
		}
	}
	return found;
}

static void
check_tmpfs(const char *point)
{
	struct statfs fs;
	char		check[64];
	bool		is_tmpfs = statfs(point, &fs) == 0 && fs.f_type == TMPFS_MAGIC_NUMBER;

	snprintf(check, sizeof(check), "%s is a small tmpfs", point);
	result(check, is_tmpfs && mount_has(point, "noexec") && mount_has(point, "nosuid") &&
		   mount_has(point, "nodev"), "%s%s%s%s", is_tmpfs ? "tmpfs" : "no tmpfs",
		   mount_has(point, "noexec") ? " noexec" : "", mount_has(point, "nosuid") ? " nosuid" : "",
		   mount_has(point, "nodev") ? " nodev" : "");
}

/*
 * Fills a folder by files of at most half its size, so that no file meets its
 * own size limit; returns the bytes written and leaves errno of the failure.
 */
static long
fill(const char *folder, long size)
{
	static char block[65536];
	char		path[64];
	long		written = 0;
	int			error = 0;

	for (int i = 0; i < 3; i++)
	{
		int			fd;

		snprintf(path, sizeof(path), "%s/full%d", folder, i);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		for (long file = 0; fd >= 0 && file < size / 2 && error == 0;)
		{
			ssize_t		n = write(fd, block, sizeof(block));

			if (n <= 0)
				error = errno;
			else
				{
				file += n;
				written += n;
			}
		}
		close(fd);
	}
	for (int i = 0; i < 3; i++)
	{
		snprintf(path, sizeof(path), "%s/full%d", folder, i);
		unlink(path);
	}
	errno = error;
	return written;
}

static void
check_tmp(void)
{
	long		size = (long) expected("tmpfs");
	long		written;
	int			out;
	int			status = 0;

	check_tmpfs("/tmp");
	check_tmpfs("/run");
	check_tmpfs("/var/tmp");
	written = fill("/tmp", size);
	result("/tmp is writable", written > 0, "%ld bytes", written);
	result("/tmp has its size", written > 0 && written <= size && errno == ENOSPC, "%ld bytes, then %s",
		   written, strerror(errno));

	out = open("/tmp/true", O_WRONLY | O_CREAT | O_TRUNC, 0755);
	if (out >= 0 && write(out, "#!/bin/true\n", 12) == 12)
	{
		close(out);
		if (fork() == 0)
		{
			execl("/tmp/true", "true", NULL);
			_exit(errno == EACCES ? 13 : 1);
		}
		wait(&status);
	}
	result("/tmp executes nothing", WIFEXITED(status) && WEXITSTATUS(status) == 13, "status %d",
		   WEXITSTATUS(status));
	unlink("/tmp/true");
}

static void
check_files(void)
{
	struct stat out;

	refused("root is read-only", try_create("/new"), EROFS, EROFS);
	refused("/bin is read-only", try_create("/bin/new"), EROFS, EROFS);
	refused("new file in /osa", try_create("/osa/new"), EACCES, EACCES);
	refused("new file in /osa/in", try_create("/osa/in/new"), EACCES, EACCES);
	refused("write to an input", try_write("/osa/in/records.jsonl"), EACCES, EACCES);
	refused("rename an input", rename("/osa/in/config.json", "/osa/in/other"), EACCES, EACCES);
	refused("rename /osa/in", rename("/osa/in", "/osa/other"), EACCES, EACCES);
	refused("remove an input", unlink("/osa/in/config.json"), EACCES, EACCES);
	refused("change an input's mode", chmod("/osa/in/config.json", 0666), EPERM, EPERM);
	refused("new file in /osa/files", try_create("/osa/files/new"), EACCES, EACCES);
	refused("rename /osa/files", rename("/osa/files", "/osa/other"), EACCES, EACCES);
	if (stat("/osa/out", &out) != 0)
		exit(95);
	result("/osa/out is the hook's own", out.st_uid == 65534 && (out.st_mode & 07777) == 0700,
		   "%d %o", (int) out.st_uid, (unsigned) out.st_mode & 07777);
	result("/osa/out is writable", try_create("/osa/out/new") >= 0, "%s", "tried");
}

static void
check_rlimits(void)
{
	struct rlimit limit;
	long		size = (long) expected("fsize");
	int			fd;
	ssize_t		n = 0;

	getrlimit(RLIMIT_FSIZE, &limit);
	result("file size limit", (long) limit.rlim_max == size && (long) limit.rlim_cur == size, "%ld",
		   (long) limit.rlim_max);
	fd = open("/osa/out/giant", O_WRONLY | O_CREAT, 0600);
	if (fd >= 0 && lseek(fd, size, SEEK_SET) == size)
		n = write(fd, "x", 1);
	result("file size limit is kept", n < 0 && errno == EFBIG, "%s", n < 0 ? strerror(errno) : "written");
	close(fd);
	unlink("/osa/out/giant");
	getrlimit(RLIMIT_CORE, &limit);
	result("no core dumps", limit.rlim_max == 0, "%ld", (long) limit.rlim_max);
}

static void
check_variable(const char *name, const char *want)
{
	const char *is = getenv(name);

	result(name, is != NULL && strcmp(is, want) == 0, "%s", is ? is : "not set");
}

static void
check_environment(void)
{
	char		hook[64] = "";
	char	   *at = strstr(config, "\"hook\"");

	if (at == NULL || sscanf(at + 6 + strspn(at + 6, " :"), "\"%63[^\"]", hook) != 1)
		exit(91);
	check_variable("OSA_IN", "/osa/in");
	check_variable("OSA_OUT", "/osa/out");
	check_variable("OSA_FILES", "/osa/files");
	check_variable("OSA_HOOK_NAME", hook);
}

int
main(void)
{
	char	   *line = NULL;
	size_t		size = 0;
	FILE	   *records;
	FILE	   *features;

	if (!read_file("/osa/in/config.json", config, sizeof(config)) ||
		(records = fopen("/osa/in/records.jsonl", "r")) == NULL)
	{
		perror("/osa/in");
		return 92;
	}
	signal(SIGXFSZ, SIG_IGN);	/* a write beyond the limit then fails */
	check_identity();
	check_privileges();
	check_network();
	check_cgroup();
	check_tmp();
	check_files();
	check_rlimits();
	check_environment();
	check_pids();

	features = fopen("/osa/out/features.jsonl", "w");
	if (features == NULL)
		return 93;
	while (getline(&line, &size, records) > 0)
	{
		char		id[512];
		char	   *at = strstr(line, "\"id\"");	/* its first key */

		if (at == NULL || sscanf(at + 4 + strspn(at + 4, " :"), "\"%511[^\"]\"", id) != 1)
			return 94;
		fprintf(features, "{\"id\":\"%s\",\"features\":[%s]}\n", id, report);
	}
	return fclose(features);
}

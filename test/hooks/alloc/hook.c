/*
 * alloc: for out-of-memory tests.  For each record, in order: writes its outcome
 * (a feature {"mib"}: what is held by now), then takes "mib" MiB more (config)
 * and keeps them.  With "hog" (a record id) only that record takes memory.  So
 * the kill comes after outcomes of known records are on disk.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char config[65536];

static long
config_number(const char *key)
{
	char	   *at = strstr(config, key);

	return at ? strtol(at + strlen(key) + strspn(at + strlen(key), " :"), NULL, 10) : 0;
}

static void
take(long mib)
{
	size_t		bytes = (size_t) mib << 20;
	char	   *memory;

	if (mib == 0)
		return;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
	{
		perror("mmap");
		exit(1);
	}
	memset(memory, 1, bytes);
}

int
main(void)
{
	char		id[512];
	char		quoted[600];
	char		hog[600] = "";
	char	   *at;
	char	   *line = NULL;
	size_t		size = 0;
	long		held = 0;
	long		mib;
	int			fd;
	FILE	   *records;

	if (chdir(getenv("OSA_IN")) != 0 || (fd = open("config.json", O_RDONLY)) < 0 ||
		read(fd, config, sizeof(config) - 1) < 0 ||
		(records = fopen("records.jsonl", "r")) == NULL ||
		chdir(getenv("OSA_OUT")) != 0 ||
		(fd = open("features.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0644)) < 0)
	{
		perror("alloc");
		return 1;
	}
	mib = config_number("\"mib\"");
	at = strstr(config, "\"hog\"");
	if (at != NULL && sscanf(at + 5 + strspn(at + 5, " :"), "%599[^,}]", hog) != 1)
		return 1;

	while (getline(&line, &size, records) > 0)
	{
		at = strstr(line, "\"id\"");	/* its first key */
		if (at == NULL || sscanf(at + 4 + strspn(at + 4, " :"), "\"%511[^\"]\"", id) != 1)
			return 1;
		dprintf(fd, "{\"id\":\"%s\",\"features\":[{\"mib\":%ld}]}\n", id, held);
		snprintf(quoted, sizeof(quoted), "\"%s\"", id);
		if (hog[0] == '\0' || strcmp(hog, quoted) == 0)
		{
			take(mib);
			held += mib;
		}
	}
	return 0;
}

/*
 * image_name.c
 *		The form of an OCI image reference: [host[:port]/]path[:tag][@digest],
 *		or sha256:<64 hex digits>, an image's id.
 *
 * Runs in backends; pure.
 */
#include "postgres.h"

#include "paths.h"

static const char *skip_name(const char *p);
static const char *skip_host(const char *p);
static const char *skip_path_component(const char *p);
static const char *skip_digest(const char *p);
static bool is_lower(char c);
static bool is_alnum(char c);

const char *
osa_image_name_problem(const char *image)
{
	const char *p;

	if (*image == '\0')
		return "An image name must not be empty.";
	if (strlen(image) > OSA_IMAGE_NAME_MAX)
		return "An image name must not be longer than 512 bytes.";
	for (p = image; *p != '\0'; p++)
	{
		if (!is_alnum(*p) && strchr("._-/:@[]", *p) == NULL)
			return "An image name consists of letters, digits and . _ - / : @ only.";
	}

	if (strncmp(image, "sha256:", 7) == 0)
	{
		p = skip_digest(image);
		if (p == NULL || *p != '\0')
			return "An image id is \"sha256:\" and 64 hexadecimal digits in lower case.";
		return NULL;
	}

	p = skip_name(image);
	if (p == NULL)
		return "The name must be [host[:port]/]path, the path in lower case.";
	if (*p == ':')
	{
		const char *tag = ++p;

		while (is_alnum(*p) || *p == '_' || (p > tag && (*p == '.' || *p == '-')))
			p++;
		if (p == tag || p - tag > 128)
			return "A tag has 1 to 128 letters, digits, dots, dashes and underscores.";
	}
	if (*p == '@')
	{
		p = skip_digest(p + 1);
		if (p == NULL)
			return "A digest is \"sha256:\" and 64, or \"sha512:\" and 128, hexadecimal digits in lower case.";
	}
	if (*p != '\0')
		return "The name must be [host[:port]/]path[:tag][@digest].";
	return NULL;
}

/* Returns where [host[:port]/]path ends, or NULL. */
static const char *
skip_name(const char *p)
{
	const char *slash = strchr(p, '/');

	/* the first component is a host if it can't be a path's */
	if (slash != NULL)
	{
		size_t		len = slash - p;
		bool		host = (len == 9 && strncmp(p, "localhost", 9) == 0);

		for (size_t i = 0; i < len; i++)
			host = host || p[i] == '.' || p[i] == ':' || (p[i] >= 'A' && p[i] <= 'Z') ||
				p[i] == '[';
		if (host)
		{
			p = skip_host(p);
			if (p != slash)
				return NULL;
			p++;
		}
	}
	p = skip_path_component(p);
	while (p != NULL && *p == '/')
		p = skip_path_component(p + 1);
	return p;
}

static const char *
skip_host(const char *p)
{
	if (*p == '[')
	{
		const char *start = ++p;

		while ((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'f') || *p == ':')
			p++;
		if (p == start || *p++ != ']')
			return NULL;
	}
	else
	{
		for (;;)
		{
			if (!is_alnum(*p))
				return NULL;
			while (is_alnum(*p) || (*p == '-'))
				p++;
			if (p[-1] == '-')
				return NULL;
			if (*p != '.')
				break;
			p++;
		}
	}
	if (*p == ':')
	{
		const char *port = ++p;

		while (*p >= '0' && *p <= '9')
			p++;
		if (p == port || p - port > 5)
			return NULL;
	}
	return p;
}

/* Runs of a-z0-9, between them . or _ or __ or dashes. */
static const char *
skip_path_component(const char *p)
{
	for (;;)
	{
		if (!is_lower(*p))
			return NULL;
		while (is_lower(*p))
			p++;
		if (*p == '.')
			p++;
		else if (*p == '_')
			p += p[1] == '_' ? 2 : 1;
		else if (*p == '-')
			p += strspn(p, "-");
		else
			return p;
	}
}

static const char *
skip_digest(const char *p)
{
	size_t		digits;

	if (strncmp(p, "sha256:", 7) == 0)
		digits = 64;
	else if (strncmp(p, "sha512:", 7) == 0)
		digits = 128;
	else
		return NULL;
	p += 7;
	return strspn(p, "0123456789abcdef") == digits ? p + digits : NULL;
}

/* May stand in a path component. */
static bool
is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

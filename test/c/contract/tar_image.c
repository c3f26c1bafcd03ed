/*
 * tar_image.c
 *		Archives as an engine would send them, byte by byte, so that the
 *		reader is tested against the format and not against its own library;
 *		and running a reader over one.
 */
#include "tap.h"

#include "utils/memutils.h"

void
tar_add(StringInfo tar, const char *name, char type, const char *link, const char *data, size_t len)
{
	char		header[512] = {0};
	unsigned	sum = 0;
	static const char zeros[512] = {0};

	strncpy(header, name, 100);
	snprintf(header + 100, 8, "%07o", type == '5' ? 0700 : 0644);
	snprintf(header + 108, 8, "%07o", 65534);
	snprintf(header + 116, 8, "%07o", 65534);
	snprintf(header + 124, 12, "%011llo", (unsigned long long) len);
	snprintf(header + 136, 12, "%011o", 1700000000);
	memset(header + 148, ' ', 8);
	header[156] = type;
	if (link != NULL)
		strncpy(header + 157, link, 100);
	memcpy(header + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char) header[i];
	snprintf(header + 148, 8, "%06o", sum);
	appendBinaryStringInfo(tar, header, 512);
	if (data != NULL)
	{
		appendBinaryStringInfo(tar, data, len);
		appendBinaryStringInfo(tar, zeros, (512 - len % 512) % 512);
	}
}

void
tar_end(StringInfo tar)
{
	static const char zeros[1024] = {0};

	appendBinaryStringInfo(tar, zeros, 1024);
}

char *
run_output(MemoryContext context, const OutputSpec *spec, const char *tar, size_t len, int *n_steps)
{
	StringInfoData out;
	Spool	   *spool = osa_spool_open(context);
	OutputReader *reader;
	const OutcomeRow *rows;
	int			n_rows;

	initStringInfo(&out);
	*n_steps = 1;
	if (!osa_spool_write(spool, tar, len))
		elog(ERROR, "could not write the spool: %m");
	osa_spool_rewind(spool);
	reader = osa_output_begin(context, spec, spool);
	while (osa_output_step(reader))
		(*n_steps)++;
	if (osa_output_failure(reader)->kind != FAILURE_NONE)
		appendStringInfo(&out, "!%s: %s", osa_failure_name(osa_output_failure(reader)->kind),
						 osa_output_failure(reader)->message);
	n_rows = osa_output_rows(reader, &rows);
	for (int i = 0; i < n_rows; i++)
	{
		const OutcomeRow *row = &rows[i];

		appendStringInfo(&out, "%s%s %s", i > 0 ? "; " : "", spec->records[row->record].id,
						 osa_outcome_status_name(row->status));
		if (row->features != NULL)
			appendStringInfo(&out, " %s", row->features);
		if (row->reason != NULL)
			appendStringInfo(&out, " reason=%s", row->reason);
		if (row->error != NULL)
			appendStringInfo(&out, " error=%s%s", row->error, row->retryable ? " retryable" : "");
	}
	osa_output_end(reader);
	osa_spool_close(spool);
	return out.data;
}

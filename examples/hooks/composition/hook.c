/*
 * hook.c
 *		composition: what each sequence is made of.  One feature a record:
 *		molecule, length, gc, ambiguous, entropy.  Rejects what does not match
 *		its own checksum and what is too ambiguous to be of use.
 *
 * Configuration: max_ambiguous (fraction, 0.05).
 */
#include <math.h>
#include <stdint.h>

#include "../entry.h"

/* The CRC-64 of Swiss-Prot's SQ line (ISO 3309). */
static uint64_t
crc64(const char *text)
{
	uint64_t	crc = 0;
	int			bit;

	for (; *text != '\0'; text++)
	{
		crc ^= (unsigned char) *text;
		for (bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT64_C(0xD800000000000000) : 0);
	}
	return crc;
}

static double
entropy(const size_t *count, size_t length)
{
	double		bits = 0;
	int			c;

	for (c = 'A'; c <= 'Z'; c++)
		if (count[c] > 0)
			bits -= (double) count[c] / length * log2((double) count[c] / length);
	return bits;
}

static void
judge(const Entry *entry, double max_ambiguous, FILE *features)
{
	size_t		count[128] = {0};
	size_t		ambiguous;
	size_t		gc;
	size_t		i;
	char		crc[17];

	for (i = 0; i < entry->length; i++)
		count[(unsigned char) entry->residues[i]]++;
	gc = count['G'] + count['C'];
	if (entry->is_protein)
		ambiguous = count['X'] + count['B'] + count['Z'] + count['J'];
	else
		ambiguous = entry->length - gc - count['A'] - count['T'] - count['U'];

	snprintf(crc, sizeof(crc), "%016llX", (unsigned long long) crc64(entry->residues));
	if (entry->length == 0)
		osa_reject(entry->id, "no sequence");
	else if (entry->crc64[0] != '\0' && strcmp(crc, entry->crc64) != 0)
		osa_reject(entry->id, "CRC-64 of the sequence is %s, the entry says %s", crc, entry->crc64);
	else if (ambiguous > max_ambiguous * entry->length)
		osa_reject(entry->id, "%zu of %zu residues are ambiguous (%.1f %%, limit %.1f %%)",
				   ambiguous, entry->length, 100.0 * ambiguous / entry->length, 100.0 * max_ambiguous);
	else
	{
		fputs("{\"id\":", features);
		osa_put_string(features, entry->id);
		fprintf(features, ",\"features\":[{\"molecule\":\"%s\",\"length\":%zu,\"gc\":",
				entry->is_protein ? "protein" : "nucleotide", entry->length);
		if (entry->is_protein)
			fputs("null", features);
		else
			fprintf(features, "%.4f", (double) gc / (entry->length - ambiguous));
		fprintf(features, ",\"ambiguous\":%.4f,\"entropy\":%.3f}]}\n",
				(double) ambiguous / entry->length, entropy(count, entry->length));
	}
}

int
main(void)
{
	double		max_ambiguous = osa_config_number("max_ambiguous", 0.05);
	FILE	   *features = osa_append("features.jsonl");
	char	  **ids;
	size_t		n = osa_record_ids(&ids);
	size_t		i;

	for (i = 0; i < n; i++)
	{
		Entry		entry = entry_read(ids[i]);

		judge(&entry, max_ambiguous, features);
		free(entry.residues);
	}
	return fclose(features) == 0 ? 0 : 1;
}

/*
 * hook.c
 *		redundancy: aligns every two sequences of the deposition (local
 *		alignment, both strands of nucleotides) and tells which are close.  One
 *		feature for each close pair; rejects what is contained in another record.
 *		It takes its time, so it says how far it is in progress.jsonl.
 *
 * Configuration: max_length (residues, 20000: longer ones are not compared),
 * min_identity (fraction, 0.9), min_coverage (fraction of the shorter, 0.5),
 * duplicate (fraction, 0.995: of identity and of coverage).
 */
#include <stdint.h>
#include <time.h>

#include "../entry.h"

/*
 * A cell of the alignment in one number, so that the best score carries its
 * own tale: score, then matches, then columns.
 */
#define SCORE(n)	((int64_t) (n) * (INT64_C(1) << 40))
#define MATCH		(SCORE(5) + (INT64_C(1) << 20) + 1)
#define MISMATCH	(SCORE(-4) + 1)
#define GAP			(SCORE(-8) + 1)
#define MATCHES(c)	(((c) >> 20) & 0xFFFFF)
#define COLUMNS(c)	((c) & 0xFFFFF)

typedef struct Hit
{
	size_t		a;
	size_t		b;
	char		strand;			/* 0: a protein */
	double		identity;		/* of the columns */
	double		coverage;		/* of the shorter sequence */
} Hit;

static int64_t
align(const char *a, size_t n_a, const char *b, size_t n_b, int64_t *row)
{
	int64_t		best = 0;
	size_t		i;
	size_t		j;

	memset(row, 0, (n_b + 1) * sizeof(int64_t));
	for (i = 0; i < n_a; i++)
	{
		int64_t		diagonal = 0;
		int64_t		left = 0;
		char		residue = a[i];

		for (j = 1; j <= n_b; j++)
		{
			int64_t		up = row[j];
			int64_t		cell = diagonal + (residue == b[j - 1] ? MATCH : MISMATCH);
			int64_t		gap = (up > left ? up : left) + GAP;

			if (gap > cell)
				cell = gap;
			if (cell < SCORE(1))
				cell = 0;
			if (cell > best)
				best = cell;
			diagonal = up;
			row[j] = left = cell;
		}
	}
	return best;
}

static char *
reverse_complement(const Entry *entry)
{
	static const char from[] = "ACGTURYKMBVDH";
	static const char to[] = "TGCAAYRMKVBHD";
	char	   *strand = osa_alloc(entry->length + 1);
	size_t		i;

	for (i = 0; i < entry->length; i++)
	{
		char		residue = entry->residues[entry->length - 1 - i];
		const char *found = strchr(from, residue);

		strand[i] = found != NULL ? to[found - from] : residue;
	}
	strand[entry->length] = '\0';
	return strand;
}

/* An ambiguous residue matches nothing, not even itself: a differs from b. */
static void
mask(char *residues, int is_protein, char with)
{
	const char *clear = is_protein ? "ACDEFGHIKLMNPQRSTVWYU" : "ACGTU";

	for (; *residues != '\0'; residues++)
		if (strchr(clear, *residues) == NULL)
			*residues = with;
}

static Hit
compare(const Entry *entries, size_t a, size_t b, int64_t *row)
{
	const Entry *x = &entries[a];
	const Entry *y = &entries[b];
	size_t		shorter = x->length < y->length ? x->length : y->length;
	char	   *other = strdup(y->residues);
	int64_t		best;
	Hit			hit = {a, b, x->is_protein ? 0 : '+', 0, 0};

	if (other == NULL)
		osa_die("out of memory");
	mask(other, y->is_protein, '#');
	best = align(x->residues, x->length, other, y->length, row);
	free(other);
	if (!x->is_protein)
	{
		int64_t		reverse;

		other = reverse_complement(y);
		mask(other, 0, '#');
		reverse = align(x->residues, x->length, other, y->length, row);
		free(other);
		if (reverse > best)
		{
			best = reverse;
			hit.strand = '-';
		}
	}
	if (best > 0)
	{
		hit.identity = (double) MATCHES(best) / COLUMNS(best);
		hit.coverage = (double) MATCHES(best) / shorter;
	}
	return hit;
}

static void
progress(size_t done, size_t pairs, size_t close)
{
	static struct timespec last;
	struct timespec now;
	FILE	   *file;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (done < pairs && now.tv_sec - last.tv_sec + (now.tv_nsec - last.tv_nsec) / 1e9 < 0.5)
		return;
	last = now;
	file = osa_append("progress.jsonl");
	fprintf(file, "{\"step\":\"align\",\"status\":\"%s\",\"message\":\"%zu of %zu pairs, %zu close\"}\n",
			done < pairs ? "running" : "done", done, pairs, close);
	fclose(file);
}

static void
put_hit(FILE *file, const char *other, const Hit *hit)
{
	fputs("{\"other\":", file);
	osa_put_string(file, other);
	fputs(",\"strand\":", file);
	if (hit->strand != 0)
		fprintf(file, "\"%c\"", hit->strand);
	else
		fputs("null", file);
	fprintf(file, ",\"identity\":%.4f,\"coverage\":%.4f}", hit->identity, hit->coverage);
}

/* One line a record: its close pairs, or why it is redundant. */
static void
report(const Entry *entries, size_t n, const Hit *hits, size_t n_hits, double duplicate)
{
	FILE	   *features = osa_append("features.jsonl");
	size_t		i;
	size_t		h;

	for (i = 0; i < n; i++)
	{
		const char *separator = "";
		const Entry *entry = &entries[i];

		for (h = 0; h < n_hits; h++)
		{
			/* Of two alike the longer stays; of two as long, the first. */
			size_t		kept = entries[hits[h].a].length >= entries[hits[h].b].length
				? hits[h].a : hits[h].b;

			if ((hits[h].a == i || hits[h].b == i) && kept != i
				&& hits[h].identity >= duplicate && hits[h].coverage >= duplicate)
			{
				osa_reject(entry->id, "redundant: %.1f %% identical to %s (%zu residues) over its whole length",
						   100 * hits[h].identity, entries[kept].id, entries[kept].length);
				break;
			}
		}
		if (h < n_hits)
			continue;
		fputs("{\"id\":", features);
		osa_put_string(features, entry->id);
		fputs(",\"features\":[", features);
		for (h = 0; h < n_hits; h++)
		{
			if (hits[h].a != i && hits[h].b != i)
				continue;
			fputs(separator, features);
			put_hit(features, entries[hits[h].a == i ? hits[h].b : hits[h].a].id, &hits[h]);
			separator = ",";
		}
		fputs("]}\n", features);
	}
	if (fclose(features) != 0)
		osa_die("could not write features.jsonl");
}

int
main(void)
{
	double		max_length = osa_config_number("max_length", 20000);
	double		min_identity = osa_config_number("min_identity", 0.9);
	double		min_coverage = osa_config_number("min_coverage", 0.5);
	char	  **ids;
	size_t		n = osa_record_ids(&ids);
	size_t		pairs = n > 0 ? n * (n - 1) / 2 : 0;
	size_t		done = 0;
	size_t		n_hits = 0;
	Entry	   *entries = osa_alloc(n * sizeof(Entry));
	Hit		   *hits = osa_alloc(pairs * sizeof(Hit));
	int64_t    *row;
	size_t		longest = 0;
	size_t		a;
	size_t		b;

	for (a = 0; a < n; a++)
	{
		entries[a] = entry_read(ids[a]);
		mask(entries[a].residues, entries[a].is_protein, '*');
		if (entries[a].length > longest && entries[a].length <= max_length)
			longest = entries[a].length;
	}
	row = osa_alloc((longest + 1) * sizeof(int64_t));
	for (a = 0; a < n; a++)
	{
		for (b = a + 1; b < n; b++)
		{
			if (entries[a].length <= max_length && entries[b].length <= max_length
				&& entries[a].is_protein == entries[b].is_protein)
			{
				Hit			hit = compare(entries, a, b, row);

				if (hit.identity >= min_identity && hit.coverage >= min_coverage)
					hits[n_hits++] = hit;
			}
			progress(++done, pairs, n_hits);
		}
	}
	report(entries, n, hits, n_hits, osa_config_number("duplicate", 0.995));
	return 0;
}

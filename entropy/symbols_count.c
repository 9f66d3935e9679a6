/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts, what they cost, and tables from them: the encoder's side only, so
 * nothing here is part of the format. */
#include <string.h>
#include "entropy/histogram.h"
#include "entropy/symbols.h"

enum {
    LINE = 64,              /* what is looked at, together */
    SAMPLE_MIN = 1 << 16
};
#define GOLDEN 0x9E3779B1u  /* 2^32 times the golden ratio */

static void add_counts(tsri_symbols_count *count, const uint8_t *sym, size_t n)
{
    uint32_t part[256];

    tsri_rans_count8(sym, n, part);
    for (int s = 0; s < 256; s++)
        count->of[s] += part[s];
    count->n += n;
}

/* One line of 2^log, now this, now that, so that no period in the data hides
 * from it. */
static void sample(tsri_symbols_count *count, const uint8_t *sym, size_t n,
                   int log)
{
    uint8_t part[TSRI_SYMBOLS_PIECE];
    size_t have = 0;

    for (size_t g = 0; g < n / LINE >> log; g++) {
        const size_t line = (g << log) + ((uint32_t)g * GOLDEN >> (32 - log));
        memcpy(part + have, sym + LINE * line, LINE);
        have += LINE;
        if (have == sizeof part) {
            add_counts(count, part, have);
            have = 0;
        }
    }
    add_counts(count, part, have);
}

void tsri_symbols_merge(tsri_symbols_count *to, const tsri_symbols_count *from)
{
    for (int s = 0; s < 256; s++) {
        to->of[s] += from->of[s];
        to->seen[s] |= from->seen[s];
    }
    to->n += from->n;
}

uint64_t tsri_log2(uint64_t v)
{
    static const uint16_t table[64] = {
        0, 1466, 2909, 4331, 5732, 7112, 8473, 9814, 11136, 12440, 13727,
        14996, 16248, 17484, 18704, 19909, 21098, 22272, 23433, 24579, 25711,
        26830, 27936, 29029, 30109, 31178, 32234, 33279, 34312, 35334, 36346,
        37346, 38336, 39316, 40286, 41246, 42196, 43137, 44068, 44990, 45904,
        46809, 47705, 48593, 49472, 50344, 51207, 52063, 52911, 53751, 54584,
        55410, 56229, 57040, 57845, 58643, 59434, 60219, 60997, 61769, 62534,
        63294, 64047, 64794
    };
    const int e = 63 - __builtin_clzll(v);
    const uint64_t m = e > 16 ? v >> (e - 16) : v << (16 - e);
    const uint32_t at = m >> 10 & 63, rest = m & 1023;
    const uint32_t next = at < 63 ? table[at + 1] : 1 << 16;

    return ((uint64_t)e << 16) + table[at] +
           ((next - table[at]) * rest >> 10);
}

uint64_t tsri_symbols_cost(const tsri_symbols_count *count, uint64_t n)
{
    const uint64_t all = tsri_log2(count->n | 1);
    uint64_t each = 0;  /* 2^36 times the bits of a symbol, which are below 9 */

    for (int s = 0; s < 256; s++)
        if (count->of[s])
            each += (count->of[s] << 20) / count->n *
                    (all - tsri_log2(count->of[s]));
    return n * (each >> 16) >> 23;
}

/* Symbols that are in the table but were not in the sample may be there for
 * nothing.  Does each taking 2^-12 cost more than 1/512? */
static bool too_thin(const tsri_symbols_count *count)
{
    uint64_t unseen = 0;

    for (int s = 0; s < 256; s++)
        unseen += count->seen[s] && !count->of[s];
    return unseen * (count->n >> 12) * 3 / 2 >
           8 * tsri_symbols_cost(count, count->n) / 512;
}

static void tally_all(tsri_symbols_count *count, const uint8_t *sym, size_t n)
{
    memset(count, 0, sizeof *count);
    add_counts(count, sym, n);
    for (int s = 0; s < 256; s++)
        count->seen[s] = count->of[s] > 0;
}

static void find_limits(const tsr_context *ctx, const uint8_t *sym, size_t n,
                        uint8_t *least, uint8_t *most)
{
    const size_t done = ctx->cpu & TSR_CPU_AVX2 ?
        tsri_limits8_avx2(sym, n, least, most) : 0;
    uint8_t low, high;

    tsri_rans_limits8(sym + done, n - done, &low, &high);
    *least = !done || low < *least ? low : *least;
    *most = !done || high > *most ? high : *most;
}

void tsri_symbols_tally(const tsr_context *ctx, tsri_symbols_count *count,
                        const uint8_t *sym, size_t n, int log)
{
    uint8_t least, most;

    if (log && n >= SAMPLE_MIN) {
        memset(count, 0, sizeof *count);
        sample(count, sym, n, log);
        find_limits(ctx, sym, n, &least, &most);
        memset(count->seen + least, 1, (size_t)(most - least) + 1);
        if (!too_thin(count))
            return;
    }
    tally_all(count, sym, n);
}

/* Frequencies for counts of weight > 0, sum 2^bits, each >= 1. */
static void normalise(const uint64_t *weight, int bits,
                      tsri_symbols_table *table)
{
    uint64_t sum = 0, rare;
    int64_t left = (int64_t)1 << bits;
    int largest = 0;

    for (int s = 0; s < 256; s++)
        sum += weight[s];
    /* Those that get 1 take it from the others in equal parts. */
    rare = sum >> bits;
    for (int s = 0; s < 256; s++)
        if (weight[s] && weight[s] <= rare) {
            table->freq[s] = 1;
            sum -= weight[s];
            left--;
        }
    const uint64_t share = (uint64_t)left;
    for (int s = 0; s < 256; s++)
        if (weight[s] > rare) {
            const uint64_t f = (weight[s] * share + sum / 2) / sum;
            table->freq[s] = (uint16_t)(f ? f : 1);
            left -= table->freq[s];
            largest = weight[s] > weight[largest] ? s : largest;
        }
    for (; left < 0; left++) {
        for (int s = 0; s < 256; s++)
            largest = table->freq[s] > table->freq[largest] ? s : largest;
        table->freq[largest]--;
    }
    table->freq[largest] = (uint16_t)(table->freq[largest] + left);
}

int tsri_symbols_bits(const tsri_symbols_count *count, uint64_t n)
{
    unsigned used = 0, size = 0;
    int bits = 2;

    for (unsigned s = 0; s < 256; s++) {
        used += count->seen[s];
        size = count->seen[s] ? s + 1 : size;
    }
    while (bits < TSRI_SYMBOLS_BITS && (1u << bits < 4 * used ||
                                        1u << bits < size ||
                                        (uint64_t)1 << bits < n))
        bits++;
    return bits;
}

void tsri_symbols_choose(const tsri_symbols_count *count, int bits,
                         tsri_symbols_table *table)
{
    uint64_t weight[256];

    memset(table, 0, sizeof *table);
    for (int s = 0; s < 256; s++) {
        weight[s] = count->seen[s] ? (count->of[s] << 3) + 1 : 0;
        table->size = (uint16_t)(count->seen[s] ? s + 1 : table->size);
    }
    normalise(weight, bits, table);
}

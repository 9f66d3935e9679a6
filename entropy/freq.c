/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "entropy/freq.h"

/* Counts are cut to a sum below 2^47, so that a count times 2^16 and the
 * cross products below fit 64 bits. */
enum { COUNT_BITS = 47, MAX_BITS = 15 };

/* The count of symbol i, cut by `shift` bits; all 1 for a negative shift. */
static uint64_t value(const uint64_t *count, int i, int shift)
{
    return shift < 0 ? 1 : count[i] >> shift;
}

static bool sum_counts(const uint64_t *count, int n, int shift, uint64_t *sum)
{
    *sum = 0;
    for (int i = 0; i < n; i++)
        if (__builtin_add_overflow(*sum, value(count, i, shift), sum))
            return false;
    return true;
}

/* The symbol that gains most by one more (Webster's rule: the largest
 * count / (2 f + 1)), or loses least by one less (the smallest
 * count / (2 f - 1) of those above 1).  Ties: the first. */
static int pick(const uint64_t *count, int shift, const uint16_t *freq, int n,
                bool more)
{
    uint64_t best_count = 0, best_div = 0;
    int best = -1;

    for (int i = 0; i < n; i++) {
        const uint64_t c = value(count, i, shift);
        const uint64_t div = 2 * (uint64_t)freq[i] + (more ? 1 : (uint64_t)-1);
        if (!more && freq[i] == 1)
            continue;
        if (best < 0 || (more ? c * best_div > best_count * div
                              : c * best_div < best_count * div)) {
            best = i;
            best_count = c;
            best_div = div;
        }
    }
    return best;
}

tsr_error tsri_freq_normalise(const uint64_t *count, int n, int bits,
                              uint16_t *freq)
{
    uint64_t sum;
    uint32_t left;
    int shift = 0;

    if (bits < 1 || bits > MAX_BITS || n < 1 || n > 1 << bits ||
        !sum_counts(count, n, 0, &sum))
        return TSR_E_ARG;
    while (sum >> shift >> COUNT_BITS)
        shift++;
    if (!sum)
        shift = -1;
    sum_counts(count, n, shift, &sum);
    left = 1u << bits;
    for (int i = 0; i < n; i++) {
        const uint64_t f = (value(count, i, shift) << bits) / sum;
        freq[i] = (uint16_t)(f ? f : 1);
        left -= freq[i];
    }
    for (; (int32_t)left > 0; left--)
        freq[pick(count, shift, freq, n, true)]++;
    for (; (int32_t)left < 0; left++)
        freq[pick(count, shift, freq, n, false)]--;
    return TSR_OK;
}

static int next_empty(const uint32_t *freq, int n, int from)
{
    while (from < n && freq[from])
        from++;
    return from;
}

/* freq[k] >= 1 for all, each by taking from the first of the smallest above 1.
 * Who has given is then the smallest and gives until one is left, so all of
 * one frequency give in turn; there are few different ones in a sum of 2^16. */
static bool fill_empty(uint32_t *freq, int n)
{
    int empty = next_empty(freq, n, 0);

    while (empty < n) {
        uint32_t least = 0;
        for (int i = 0; i < n; i++)
            if (freq[i] > 1 && (!least || freq[i] < least))
                least = freq[i];
        if (!least)
            return false;
        for (int i = 0; i < n && empty < n; i++)
            for (uint32_t left = freq[i] == least ? least : 0;
                 left > 1 && empty < n; left--) {
                freq[i]--;
                freq[empty] = 1;
                empty = next_empty(freq, n, empty + 1);
            }
    }
    return true;
}

tsr_error tsri_cdf_from_pmf(const float *pmf, int n, uint32_t *cdf)
{
    uint64_t sum = 0;
    uint32_t before = 0;

    if (n < 1 || n > 65536)
        return TSR_E_CORRUPT;
    for (int i = 0; i < n; i++) {
        if (!(pmf[i] >= 0 && pmf[i] <= 1))
            return TSR_E_CORRUPT;
        cdf[i] = (uint32_t)roundf(pmf[i] * 65536);
        sum += cdf[i];
    }
    if (!sum)
        return TSR_E_CORRUPT;
    for (int i = 0; i < n - 1; i++) {
        cdf[i] = (uint32_t)(((uint64_t)cdf[i] << 16) / sum);
        before += cdf[i];
    }
    cdf[n - 1] = 65536 - before;
    if (!fill_empty(cdf, n))
        return TSR_E_CORRUPT;
    cdf[n] = 65536;
    for (int i = n; i-- > 0;)
        cdf[i] = cdf[i + 1] - cdf[i];
    return TSR_OK;
}

/* The summation order of the reference's framework on a CPU with 8-lane
 * vectors.  Value i*32 + k*8 + v belongs to column (k, v).  Each column is
 * added up in four levels: level 0 takes `step` values, then goes into level 1
 * and is cleared, and so on. */
enum { VEC = 8, ILP = 4, LEVELS = 4 };

static float column_sum(const float *x, int rows)
{
    const int log = rows > 1 ? 32 - __builtin_clz((unsigned)rows - 1) : 0;
    const int power = tsri_max(4, log / LEVELS);
    const int mask = (1 << power) - 1;
    float level[LEVELS] = { 0 };

    for (int i = 1; i <= rows; i++) {
        level[0] += x[(size_t)(i - 1) * VEC * ILP];
        if (i & mask)
            continue;
        for (int j = 1; j < LEVELS; j++) {
            level[j] += level[j - 1];
            level[j - 1] = 0;
            if (i & mask << (j * power))
                break;
        }
    }
    return level[0] + level[1] + level[2] + level[3];
}

static float reference_sum(const float *x, int n)
{
    const int vectors = n / VEC, rows = vectors / ILP;
    float sum = 0;

    for (int i = vectors * VEC; i < n; i++)
        sum += x[i];
    for (int v = 0; v < VEC; v++) {
        float lane = column_sum(x + v, rows);
        for (int i = rows * ILP; i < vectors; i++)
            lane += x[i * VEC + v];
        for (int k = 1; k < ILP; k++)
            lane += column_sum(x + k * VEC + v, rows);
        sum += lane;
    }
    return sum;
}

void tsri_pmf_from_ema(const float *ema, int n, float *pmf)
{
    const float sum = reference_sum(ema, n);

    for (int i = 0; i < n; i++)
        pmf[i] = ema[i] / sum;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/kv/match.h"

enum { PLACES = 64, RUN = 12, DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

static const uint8_t class_of_run[RUN + 1] = { 0, 1, 2, 3, 4, 4, 5, 5, 5,
                                               6, 6, 6, 7 };

size_t tsri_kv_match_scratch(size_t n)
{
    return (2 * n + DIGITS) * sizeof(int32_t);
}

/* Sorts places by a digit of their ids, stably; false when all digits are the
 * same and nothing was done. */
static bool sort_digit(const int32_t *ids, size_t n, int shift, int32_t *count,
                       const int32_t *from, int32_t *to)
{
    int32_t sum = 0;

    memset(count, 0, DIGITS * sizeof *count);
    for (size_t i = 0; i < n; i++)
        count[(uint32_t)ids[i] >> shift & (DIGITS - 1)]++;
    if (count[(uint32_t)ids[0] >> shift & (DIGITS - 1)] == (int32_t)n)
        return false;
    for (int d = 0; d < DIGITS; d++) {
        const int32_t here = count[d];
        count[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < n; i++)
        to[count[(uint32_t)ids[from[i]] >> shift & (DIGITS - 1)]++] = from[i];
    return true;
}

/* before[t]: where the id of t stood last, or -1.  A sort instead of a hash
 * table: no ids make it slow. */
static void link_places(const int32_t *ids, size_t n, int32_t *before,
                        void *scratch)
{
    int32_t *from = scratch, *to = from + n, *count = to + n;

    for (size_t i = 0; i < n; i++)
        from[i] = (int32_t)i;
    for (int shift = 0; shift < 32; shift += DIGIT_BITS)
        if (sort_digit(ids, n, shift, count, from, to)) {
            int32_t *swap = from;
            from = to;
            to = swap;
        }
    for (size_t i = 0; i < n; i++)
        before[from[i]] =
            i && ids[from[i - 1]] == ids[from[i]] ? from[i - 1] : -1;
}

/* Tokens in common that end at s < t, at most RUN. */
static int run_of(const int32_t *ids, int32_t s, int32_t t)
{
    int run = 0;
    while (run < RUN && run <= s && ids[s - run] == ids[t - run])
        run++;
    return run;
}

static void match_token(const int32_t *ids, int32_t sinks, int32_t t,
                        const int32_t *before, int32_t *ref, uint8_t *match)
{
    int32_t best = -1, s = before[t];
    int longest = 0;

    for (int i = 0; i < PLACES && s >= sinks && longest < RUN; i++) {
        const int run = run_of(ids, s, t);
        if (run > longest) {
            longest = run;
            best = s;
        }
        s = before[s];
    }
    *ref = best;
    *match = class_of_run[longest];
}

/* The reference of a token by its number alone. */
static int32_t numbered(const tsri_kv_profile *profile, int32_t t)
{
    switch (profile->reference) {
    case TSRI_KV_REF_PREVIOUS: return t - 1;
    case TSRI_KV_REF_ANCHOR:
        return t % profile->anchor ? t - t % profile->anchor : -1;
    default: return -1;
    }
}

void tsri_kv_match(const tsri_kv_profile *profile, const int32_t *ids, size_t n,
                   size_t sinks, int32_t *ref, uint8_t *match, void *scratch)
{
    const int32_t first = sinks < n ? (int32_t)sinks : (int32_t)n;
    int32_t *before = ref;

    if (profile->reference != TSRI_KV_REF_MATCH) {
        for (int32_t t = 0; t < (int32_t)n; t++) {
            const int32_t s = numbered(profile, t);
            ref[t] = s < first ? -1 : s;
            match[t] = ref[t] >= 0;
        }
        return;
    }
    if (!n)
        return;
    link_places(ids, n, before, scratch);
    /* From the last on: earlier tokens' links are still wanted. */
    for (int32_t t = (int32_t)n - 1; t >= 0; t--)
        match_token(ids, first, t, before, &ref[t], &match[t]);
}

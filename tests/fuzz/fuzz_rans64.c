/* SPDX-License-Identifier: BSD-2-Clause */
/* rans64 streams with tables made from any probabilities. */
#include <math.h>
#include "tests/fuzz/fuzz.h"
#include "entropy/freq.h"
#include "entropy/rans64.h"

enum { GROUPS = 3, SYMBOLS = 20, N = 200 };

typedef struct setup {
    uint32_t cdf[GROUPS][SYMBOLS + 1];
    const uint32_t *tables[GROUPS];
    int groups, sizes[GROUPS];
    size_t n;
} setup;

static bool make(setup *s, fuzz_input *in)
{
    float pmf[SYMBOLS];

    s->groups = 1 + (int)fuzz_below(in, GROUPS);
    s->n = fuzz_below(in, N);
    for (int g = 0; g < s->groups; g++) {
        s->sizes[g] = 1 + (int)fuzz_below(in, SYMBOLS);
        for (int i = 0; i < s->sizes[g]; i++) {
            const uint32_t u = fuzz_u8(in);
            pmf[i] = u == 255 ? NAN : u == 254 ? INFINITY : ldexpf((float)(u & 15),
                                                                   -(int)(u >> 4));
        }
        s->tables[g] = s->cdf[g];
        if (tsri_cdf_from_pmf(pmf, s->sizes[g], s->cdf[g]))
            return false;
        for (int i = 0; i < s->sizes[g]; i++)
            FUZZ_CHECK(s->cdf[g][i] < s->cdf[g][i + 1]);
        FUZZ_CHECK(s->cdf[g][0] == 0 && s->cdf[g][s->sizes[g]] == 65536);
    }
    return true;
}

static void round_trip(const setup *s, const fuzz_input *in)
{
    uint32_t sym[GROUPS * N], got[GROUPS * N];
    const size_t all = (size_t)s->groups * s->n;
    uint8_t *out;
    size_t bytes;

    for (size_t i = 0; i < all; i++)
        sym[i] = fuzz_at(in, i) % (uint32_t)s->sizes[i / (s->n ? s->n : 1)];
    FUZZ_CHECK(!tsri_rans64_encode(fuzz_context(false), s->tables, s->sizes,
                                   s->groups, sym, s->n, &out, &bytes));
    FUZZ_CHECK(!tsri_rans64_decode(s->tables, s->sizes, s->groups, out, bytes, got,
                                   s->n));
    FUZZ_CHECK(!memcmp(got, sym, all * sizeof *sym));
    tsri_free(fuzz_context(false), out);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    uint32_t got[GROUPS * N];
    const bool both_ways = fuzz_u8(&in) % 2;
    setup s;

    if (!make(&s, &in))
        return;
    if (both_ways) {
        round_trip(&s, &in);
        return;
    }
    uint8_t *copy = fuzz_copy(&in);
    if (!tsri_rans64_decode(s.tables, s.sizes, s.groups, copy, in.size, got, s.n))
        for (size_t i = 0; i < (size_t)s.groups * s.n; i++)
            FUZZ_CHECK(got[i] < (uint32_t)s.sizes[i / s.n]);
    free(copy);
}

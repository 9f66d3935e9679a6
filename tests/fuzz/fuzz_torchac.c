/* SPDX-License-Identifier: BSD-2-Clause */
/* torchac streams: any tables, any bytes; and what was encoded comes back. */
#include "tests/fuzz/fuzz.h"
#include "entropy/torchac.h"

enum { SYMBOLS = 40, N = 400 };

static void round_trip(fuzz_input *in, int symbols)
{
    uint32_t count[SYMBOLS];
    uint16_t cdf[SYMBOLS + 1], sym[N], got[N];
    uint8_t out[2 * N + 16];
    const tsri_torchac_tables tables = { cdf, symbols, 0 };
    const size_t n = fuzz_u16(in) % N;
    size_t size, used;

    for (int i = 0; i < symbols; i++)
        count[i] = fuzz_u8(in);
    if (tsri_torchac_table(count, symbols, cdf))
        return;
    for (size_t i = 0; i < n; i++)
        sym[i] = (uint16_t)(fuzz_at(in, i) % (uint32_t)symbols);
    FUZZ_CHECK(!tsri_torchac_encode(&tables, sym, n, out, sizeof out, &size));
    FUZZ_CHECK(size <= tsri_torchac_bound(n));
    FUZZ_CHECK(!tsri_torchac_decode(&tables, out, size, got, n, &used));
    FUZZ_CHECK(used == size && !memcmp(got, sym, n * sizeof *sym));
}

static void any_bytes(fuzz_input *in, int symbols)
{
    uint16_t cdf[N + SYMBOLS + 1], got[N];
    const tsri_torchac_tables tables = { cdf, symbols, fuzz_u8(in) % 2 };
    const size_t n = fuzz_u16(in) % N, numbers = fuzz_u8(in);

    for (size_t i = 0; i < sizeof cdf / sizeof *cdf; i++)
        cdf[i] = (uint16_t)(i < numbers ? fuzz_u16(in) : i ? cdf[i - 1] + 9u : 9);
    uint8_t *copy = fuzz_copy(in);
    if (!tsri_torchac_decode(&tables, copy, in->size, got, n, NULL))
        for (size_t i = 0; i < n; i++)
            FUZZ_CHECK(got[i] < symbols);
    free(copy);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const bool both_ways = fuzz_u8(&in) % 2;
    const int symbols = 1 + (int)fuzz_below(&in, SYMBOLS);

    if (both_ways)
        round_trip(&in, symbols);
    else
        any_bytes(&in, symbols);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens of any alphabet: vector and plain code must agree about any bytes. */
#include "tests/fuzz/fuzz.h"
#include "entropy/bigtable.h"

enum { ALPHABET = 70000, N = 600 };

static tsr_error get(const tsri_bigtable *table, bool plain, const uint8_t *data,
                     size_t size, uint32_t *token, size_t n)
{
    tsri_rans_dec dec;
    tsr_error error = tsri_rans_dec_open(&dec, fuzz_context(plain), data, size, 0);

    if (!error)
        error = tsri_bigtable_get32(table, &dec, token, n);
    return error ? error : tsri_rans_dec_end(&dec);
}

static void round_trip(const tsri_bigtable *table, const fuzz_input *in,
                       uint32_t alphabet, size_t n)
{
    uint32_t token[N], got[N];
    tsri_rans_enc *enc[2];
    const uint8_t *data[2];
    size_t size[2];

    for (size_t i = 0; i < n; i++)
        token[i] = fuzz_at(in, i) * (fuzz_at(in, i + 1) % 8 ? 1 : 271) % alphabet;
    for (int plain = 0; plain < 2; plain++) {
        FUZZ_CHECK(!tsri_rans_enc_open(&enc[plain], fuzz_context(plain)));
        FUZZ_CHECK(!tsri_bigtable_put32(table, enc[plain], token, n));
        FUZZ_CHECK(!tsri_rans_finish(enc[plain], 0, 0, &data[plain], &size[plain]));
    }
    FUZZ_CHECK(size[0] == size[1] && !memcmp(data[0], data[1], size[0]));
    FUZZ_CHECK(!get(table, false, data[0], size[0], got, n));
    FUZZ_CHECK(!memcmp(got, token, n * sizeof *token));
    for (int plain = 0; plain < 2; plain++)
        tsri_rans_enc_close(&enc[plain]);
}

static void any_bytes(const tsri_bigtable *table, const fuzz_input *in,
                      uint32_t alphabet, size_t n)
{
    uint32_t plain[N], vector[N];
    uint8_t *copy = fuzz_copy(in);
    const tsr_error error = get(table, true, copy, in->size, plain, n);

    FUZZ_CHECK(get(table, false, copy, in->size, vector, n) == error);
    for (size_t i = 0; i < n && !error; i++)
        FUZZ_CHECK(plain[i] == vector[i] && plain[i] < alphabet);
    free(copy);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    static uint32_t freq[ALPHABET];
    fuzz_input in = { data, size };
    const bool both_ways = fuzz_u8(&in) % 2;
    const uint32_t alphabet = 1 + fuzz_below(&in, fuzz_u8(&in) % 32 ? 3000 : ALPHABET);
    const uint32_t factor = fuzz_u8(&in), shape = fuzz_u8(&in);
    const size_t n = fuzz_u16(&in) % N;
    tsri_bigtable *table;

    for (uint32_t i = 0; i < alphabet; i++)
        freq[i] = shape % 2 ? i * factor % 977 : 100000 / (1 + i * factor % alphabet);
    FUZZ_CHECK(!tsri_bigtable_open(&table, fuzz_context(false), freq, alphabet));
    if (both_ways)
        round_trip(table, &in, alphabet, n);
    else
        any_bytes(table, &in, alphabet, n);
    tsri_bigtable_close(&table, fuzz_context(false));
}

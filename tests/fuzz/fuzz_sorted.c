/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens of sorted codebooks: bucket tables and segments of any bytes, by
 * vector and plain code, alone and two at once. */
#include "tests/fuzz/fuzz.h"
#include "entropy/bigtable.h"

enum { N = 2500 };

/* From the input; mostly made to sum to 4096. */
static void take_table(fuzz_input *in, uint32_t alphabet, uint16_t *freq)
{
    const uint32_t shape = fuzz_u8(in);
    uint64_t count[TSRI_BIGTABLE_BUCKETS];

    for (int b = 0; b < tsri_bigtable_buckets(alphabet); b++) {
        const uint32_t v = fuzz_u8(in);
        count[b] = v % 4 ? v : 0;
        freq[b] = (uint16_t)(v << shape % 8);
    }
    if (shape % 16)
        FUZZ_CHECK(!tsri_bigtable_normalise(alphabet, count, freq));
}

static tsr_error get(const tsri_bigtable *table, bool plain, const uint8_t *data,
                     size_t size, uint32_t *token, size_t n)
{
    tsri_rans_dec dec;
    tsr_error error = tsri_rans_dec_open(&dec, fuzz_context(plain), data, size, 0);

    if (!error)
        error = tsri_bigtable_get32(table, &dec, token, n);
    return error ? error : tsri_rans_dec_end(&dec);
}

/* The segment twice, with n and m tokens; the first one's end is told. */
static tsr_error get_pair(const tsri_bigtable *table, const uint8_t *data,
                          size_t size, uint16_t *token, size_t n, size_t m)
{
    uint16_t other[N], *to[2] = { token, other };
    tsri_rans_dec dec[2], *both[2] = { &dec[0], &dec[1] };
    tsr_error error = TSR_OK;

    for (int s = 0; s < 2 && !error; s++)
        error = tsri_rans_dec_open(&dec[s], fuzz_context(false), data, size, 0);
    if (!error)
        error = tsri_bigtable_get16_pair(table, both, to, (size_t[]){ n, m });
    for (size_t i = 0; i < m && i < n && !error; i++)
        FUZZ_CHECK(token[i] == other[i]);
    return error ? error : tsri_rans_dec_end(&dec[0]);
}

static void any_bytes(const tsri_bigtable *table, const fuzz_input *in,
                      uint32_t alphabet, size_t n)
{
    static uint32_t plain[N], vector[N];
    static uint16_t narrow[N];
    uint8_t *copy = fuzz_copy(in);
    const tsr_error error = get(table, true, copy, in->size, plain, n);

    FUZZ_CHECK(get(table, false, copy, in->size, vector, n) == error);
    for (size_t i = 0; i < n && !error; i++)
        FUZZ_CHECK(plain[i] == vector[i] && plain[i] < alphabet);
    if (alphabet <= 65536) {
        FUZZ_CHECK(get_pair(table, copy, in->size, narrow, n, n / 3) == error);
        for (size_t i = 0; i < n && !error; i++)
            FUZZ_CHECK(narrow[i] == plain[i]);
    }
    free(copy);
}

/* Whether such tokens can be coded depends on the table. */
static void round_trip(const tsri_bigtable *table, const fuzz_input *in,
                       uint32_t alphabet, size_t n)
{
    static uint32_t token[N], got[N];
    tsr_error error[2];
    tsri_rans_enc *enc[2];
    const uint8_t *data[2];
    size_t size[2];

    for (size_t i = 0; i < n; i++)
        token[i] = fuzz_at(in, i) * (fuzz_at(in, i + 1) % 8 ? 1 : 271) % alphabet;
    for (int plain = 0; plain < 2; plain++) {
        FUZZ_CHECK(!tsri_rans_enc_open(&enc[plain], fuzz_context(plain)));
        error[plain] = tsri_bigtable_put32(table, enc[plain], token, n);
        FUZZ_CHECK(!tsri_rans_finish(enc[plain], 0, 0, &data[plain], &size[plain]));
    }
    FUZZ_CHECK(error[0] == error[1] && (!error[0] || error[0] == TSR_E_ARG));
    FUZZ_CHECK(size[0] == size[1]);
    FUZZ_CHECK(!size[0] || !memcmp(data[0], data[1], size[0]));
    if (!error[0]) {
        FUZZ_CHECK(!get(table, false, data[0], size[0], got, n));
        FUZZ_CHECK(!memcmp(got, token, n * sizeof *token));
    }
    for (int plain = 0; plain < 2; plain++)
        tsri_rans_enc_close(&enc[plain]);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t flags = fuzz_u8(&in);
    const uint32_t alphabet = 1 + fuzz_below(&in, flags & 2 ? 1 << 20 : 3000);
    const size_t n = fuzz_u16(&in) % N;
    uint16_t freq[TSRI_BIGTABLE_BUCKETS];
    tsri_bigtable *table;

    take_table(&in, alphabet, freq);
    if (tsri_bigtable_open_sorted(&table, fuzz_context(false), freq, alphabet))
        return;
    if (flags & 1)
        round_trip(table, &in, alphabet, n);
    else
        any_bytes(table, &in, alphabet, n);
    tsri_bigtable_close(&table, fuzz_context(false));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The adaptive range coder: decisions that the input chooses come back, and any
 * bytes give values in range. */
#include "tests/fuzz/fuzz.h"
#include "entropy/range.h"

enum { N = 300, KINDS = 6, TREE = 5 };

typedef struct models {
    tsri_range_bit bit, tree[1 << TREE];
    tsri_range_nibble nibble;
    tsri_range_byte byte;
    tsri_range_gamma gamma;
} models;

static uint32_t value_of(uint32_t kind, const fuzz_input *in, size_t i)
{
    const uint32_t u = fuzz_at(in, i);
    return kind == 0 ? u % 2 : kind == 1 ? u % (1 << TREE) : kind == 2 ? u % 16
         : kind == 3 ? u % 256 : kind == 4 ? (u * 0x9e3779b9u) >> u % 32
         : u % 128;
}

static void put(tsri_range_enc *enc, models *m, uint32_t kind, uint32_t v)
{
    if (kind == 0)
        tsri_range_put_bit(enc, &m->bit, (int)v);
    else if (kind == 1)
        tsri_range_put_tree(enc, m->tree, TREE, v);
    else if (kind == 2)
        tsri_range_put_nibble(enc, &m->nibble, (int)v);
    else if (kind == 3)
        tsri_range_put_byte(enc, &m->byte, (int)v);
    else if (kind == 4)
        tsri_range_put_gamma(enc, &m->gamma, v == UINT32_MAX ? v - 1 : v);
    else
        tsri_range_put_direct(enc, v, 7);
}

static uint32_t get(tsri_range_dec *dec, models *m, uint32_t kind)
{
    if (kind == 0)
        return (uint32_t)tsri_range_get_bit(dec, &m->bit);
    if (kind == 1)
        return tsri_range_get_tree(dec, m->tree, TREE);
    if (kind == 2)
        return (uint32_t)tsri_range_get_nibble(dec, &m->nibble);
    if (kind == 3)
        return (uint32_t)tsri_range_get_byte(dec, &m->byte);
    if (kind == 4)
        return tsri_range_get_gamma(dec, &m->gamma);
    return tsri_range_get_direct(dec, 7);
}

static const uint32_t limits[KINDS] = { 2, 1 << TREE, 16, 256, UINT32_MAX, 128 };

void fuzz_target(const uint8_t *data, size_t size)
{
    static models enc_models, dec_models;
    fuzz_input in = { data, size };
    const bool both_ways = fuzz_u8(&in) % 2;
    const uint32_t step = fuzz_u8(&in);
    const size_t n = fuzz_u16(&in) % N;
    uint8_t out[8 * N];
    tsri_range_enc enc;
    tsri_range_dec dec;
    size_t bytes = in.size;

    memset(&enc_models, 0, sizeof enc_models);
    memset(&dec_models, 0, sizeof dec_models);
    uint8_t *copy = fuzz_copy(&in);
    if (both_ways) {
        tsri_range_enc_open(&enc, out, sizeof out);
        for (size_t i = 0; i < n; i++)
            put(&enc, &enc_models, (uint32_t)(i * step / 7 % KINDS),
                value_of((uint32_t)(i * step / 7 % KINDS), &in, i));
        FUZZ_CHECK(!tsri_range_finish(&enc, &bytes));
    }
    tsri_range_dec_open(&dec, both_ways ? out : copy, bytes);
    for (size_t i = 0; i < n; i++) {
        const uint32_t kind = (uint32_t)(i * step / 7 % KINDS);
        const uint32_t v = get(&dec, &dec_models, kind);
        FUZZ_CHECK(v < limits[kind]);
        const uint32_t want = value_of(kind, &in, i);
        FUZZ_CHECK(!both_ways || v == (want == UINT32_MAX ? want - 1 : want));
    }
    FUZZ_CHECK(!both_ways || !tsri_range_dec_end(&dec));
    free(copy);
}

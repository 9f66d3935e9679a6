/* SPDX-License-Identifier: BSD-2-Clause */
/* A bank of tables and the blocks of a matrix, both from any bytes: vector and
 * plain code must agree, and a bank that is read must be one. */
#include "tests/fuzz/fuzz.h"
#include "entropy/bank_impl.h"
#include "entropy/plan.h"
#include "entropy/tables.h"

enum { CHANNELS = 70, TOKENS = 80, BLOCKS = CHANNELS * TOKENS };

typedef struct content {
    tsri_bank *bank;
    uint8_t cls[CHANNELS], offset[CHANNELS];
    tsri_plan_shape shape;
    size_t tokens, blocks, size;
    uint32_t sizes[BLOCKS];
} content;

static tsr_error decode(const content *c, bool plain, const uint8_t *data,
                        uint8_t *value)
{
    tsr_context *ctx = fuzz_context(plain);
    const tsri_bytes2d out = { value, c->tokens, c->shape.channels, 1 };
    tsri_plan *plan;

    FUZZ_CHECK(!tsri_plan_open(&plan, ctx, c->bank, &c->shape));
    FUZZ_CHECK(tsri_plan_blocks(plan, c->tokens) == c->blocks);
    const tsr_error error = tsri_plan_decode(plan, ctx, data, c->size, c->sizes,
                                             7, &out);
    tsri_plan_close(&plan, ctx);
    return error;
}

static void any_bytes(content *c, fuzz_input *in)
{
    uint8_t value[2][CHANNELS * TOKENS] = { { 0 } };

    size_t before = 0;

    for (size_t b = 0; b + 1 < c->blocks; b++)
        before += c->sizes[b] = fuzz_u16(in);
    c->size = in->size;
    if (c->blocks) /* the rest, so that most inputs get past the sum */
        c->sizes[c->blocks - 1] = (uint32_t)(c->size - before);
    uint8_t *copy = fuzz_copy(in);
    const tsr_error error = decode(c, false, copy, value[0]);
    FUZZ_CHECK(decode(c, true, copy, value[1]) == error);
    FUZZ_CHECK(error || !memcmp(value[0], value[1], sizeof *value));
    free(copy);
}

static void round_trip(content *c, const fuzz_input *in)
{
    uint8_t value[CHANNELS * TOKENS] = { 0 }, got[CHANNELS * TOKENS] = { 0 };
    const int n = c->shape.channels;
    const tsri_bytes2d view = { value, c->tokens, n, 1 };
    uint8_t *out[2];
    size_t size[2];

    for (size_t i = 0; i < c->tokens * (size_t)n; i++) {
        const uint32_t *first = c->bank->first + c->cls[i % (size_t)n];
        value[i] = (uint8_t)(fuzz_at(in, i) % (first[1] - first[0]) +
                             c->offset[i % (size_t)n]);
    }
    for (int plain = 0; plain < 2; plain++) {
        tsr_context *ctx = fuzz_context(plain);
        tsri_plan *plan;
        FUZZ_CHECK(!tsri_plan_open(&plan, ctx, c->bank, &c->shape));
        out[plain] = malloc(tsri_plan_bound(plan, c->tokens) + 1);
        FUZZ_CHECK(out[plain]);
        FUZZ_CHECK(!tsri_plan_encode(plan, ctx, &view, 7, out[plain], c->sizes,
                                     &size[plain]));
        tsri_plan_close(&plan, ctx);
    }
    FUZZ_CHECK(size[0] == size[1] && !memcmp(out[0], out[1], size[0]));
    c->size = size[0];
    FUZZ_CHECK(!decode(c, false, out[0], got));
    FUZZ_CHECK(!memcmp(got, value, sizeof got));
    free(out[0]);
    free(out[1]);
}

/* What was read, written again, is read as the same. */
static void rewrite(const tsri_bank *bank)
{
    const size_t symbols = bank->first[bank->tables];
    uint16_t *freq = malloc(symbols * sizeof *freq);
    uint16_t *sizes = malloc((size_t)bank->tables * sizeof *sizes);
    tsri_bank *again;
    size_t size, used;

    FUZZ_CHECK(freq && sizes);
    for (size_t i = 0; i < symbols; i++)
        freq[i] = (uint16_t)(bank->range[i] >> 16);
    for (int t = 0; t < bank->tables; t++)
        sizes[t] = (uint16_t)(bank->first[t + 1] - bank->first[t]);
    uint8_t *out = malloc(tsri_tables_bound(sizes, bank->tables));
    FUZZ_CHECK(out);
    FUZZ_CHECK(!tsri_tables_write(bank->bits, freq, sizes, bank->tables, out,
                                  &size));
    FUZZ_CHECK(!tsri_tables_read(&again, fuzz_context(false), out, size, &used));
    FUZZ_CHECK(used == size && again->tables == bank->tables);
    FUZZ_CHECK(!memcmp(again->range, bank->range, symbols * sizeof *bank->range));
    tsri_bank_close(&again, fuzz_context(false));
    free(out);
    free(sizes);
    free(freq);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    static content c;
    fuzz_input in = { data, size };
    const bool both_ways = fuzz_u8(&in) % 2;
    const uint32_t seed = fuzz_u8(&in);
    size_t used;

    c.shape = (tsri_plan_shape){
        .channels = 1 + (int)fuzz_below(&in, CHANNELS), .tile = 1 + (int)fuzz_u8(&in),
        .cls = c.cls, .offset = c.offset, .lanes = seed % 3 ? 32 : 0
    };
    c.shape.group = 1 + (int)fuzz_below(&in, (uint32_t)c.shape.channels);
    c.tokens = fuzz_below(&in, TOKENS + 1);
    c.blocks = (c.tokens + (size_t)c.shape.tile - 1) / (size_t)c.shape.tile *
               (size_t)tsri_ceil_div(c.shape.channels, c.shape.group);
    uint8_t *copy = fuzz_copy(&in);
    const tsr_error error = tsri_tables_read(&c.bank, fuzz_context(false), copy,
                                             in.size, &used);
    free(copy);
    FUZZ_CHECK(!error == !!c.bank);
    if (error)
        return;
    FUZZ_CHECK(used <= in.size);
    in.data += used;
    in.size -= used;
    for (int i = 0; i < CHANNELS; i++) {
        c.cls[i] = (uint8_t)((uint32_t)i * seed % (uint32_t)tsri_min(
            c.bank->tables, 256));
        c.offset[i] = (uint8_t)((uint32_t)i * seed);
    }
    if (both_ways)
        round_trip(&c, &in);
    else
        any_bytes(&c, &in);
    rewrite(c.bank);
    tsri_bank_close(&c.bank, fuzz_context(false));
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include "entropy/freq.h"
#include "entropy/plan.h"

enum { TABLES = 7, MOST_CHANNELS = 150, MOST_TOKENS = 400, BITS = 12 };

static const uint16_t sizes_of[TABLES] = { 1, 2, 5, 16, 33, 200, 256 };

static tsri_bank *make_bank(tsr_context *ctx, check_rng *r)
{
    uint16_t freq[TABLES * 256], *at = freq;
    uint64_t count[256];
    tsri_bank *bank;

    for (int t = 0; t < TABLES; at += sizes_of[t++]) {
        for (int i = 0; i < sizes_of[t]; i++)
            count[i] = 1 + check_below(r, i % 7 ? 20 : 1000);
        assert_int_equal(tsri_freq_normalise(count, sizes_of[t], BITS, at),
                         TSR_OK);
    }
    assert_int_equal(tsri_bank_open(&bank, ctx, BITS, freq, sizes_of, TABLES),
                     TSR_OK);
    return bank;
}

/* A plan, a matrix of symbols [token][channel] for it, and what they must
 * become. */
typedef struct content {
    uint8_t cls[MOST_CHANNELS], offset[MOST_CHANNELS];
    tsri_plan_shape shape;
    size_t tokens;
    uint8_t value[MOST_TOKENS][MOST_CHANNELS];
    uint32_t crc;
    uint8_t *data;
    size_t size, blocks;
    uint32_t sizes[8192];
} content;

static void fill(content *c, check_rng *r)
{
    static const int tiles[] = { 1, 7, 31, 32, 33, 64, 100, 65536 };
    static const int lanes[] = { 0, 0, 1, 4, 8, 32 };
    const int channels = 1 + (int)check_below(r, check_below(r, 2) ? 20 :
                                              MOST_CHANNELS);

    c->shape = (tsri_plan_shape){
        .channels = channels, .tile = tiles[check_below(r, 8)],
        .group = check_below(r, 2) ? channels
                                   : 1 + (int)check_below(r, (uint32_t)channels),
        .cls = c->cls, .offset = check_below(r, 4) ? c->offset : NULL
    };
    c->tokens = check_below(r, check_below(r, 2) ? 40 : MOST_TOKENS);
    c->crc = check_u32(r);
    c->shape.lanes = lanes[c->crc % 6];
    for (int i = 0; i < channels; i++) {
        c->cls[i] = (uint8_t)check_below(r, TABLES);
        c->offset[i] = (uint8_t)check_u32(r);
        for (size_t t = 0; t < c->tokens; t++)
            c->value[t][i] = (uint8_t)(
                check_below(r, sizes_of[c->cls[i]]) +
                (c->shape.offset ? c->offset[i] : 0));
    }
}

/* The order of the channels, from the definition. */
static void order(const content *c, int *channel)
{
    int n = 0;
    for (int k = 0; k < TABLES; k++)
        for (int i = 0; i < c->shape.channels; i++)
            if (c->cls[i] == k)
                channel[n++] = i;
}

/* Puts tokens t0..t1 of places p0..p1: a run for each class. */
static void put_block(tsri_rans_enc *enc, const tsri_bank *bank,
                      const content *c, const int *channel, int p0, int p1,
                      size_t t0, size_t t1)
{
    uint16_t *sym = malloc(sizeof *sym * MOST_CHANNELS * MOST_TOKENS);

    for (int p = p0; p < p1;) {
        const int table = c->cls[channel[p]];
        size_t n = 0;
        for (; p < p1 && c->cls[channel[p]] == table; p++)
            for (size_t t = t0; t < t1; t++)
                sym[n++] = (uint8_t)(
                    c->value[t][channel[p]] -
                    (c->shape.offset ? c->offset[channel[p]] : 0));
        assert_int_equal(tsri_rans_put(enc, bank, NULL, table, sym, n), TSR_OK);
    }
    free(sym);
}

/* What the page says, without haste. */
static void expect(content *c, tsr_context *ctx, const tsri_bank *bank)
{
    const size_t tile = (size_t)c->shape.tile;
    int channel[MOST_CHANNELS];
    tsri_rans_enc *enc;

    order(c, channel);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    c->data = malloc(2 * sizeof c->value + 200 * 8192);
    c->size = c->blocks = 0;
    for (size_t t = 0; t < c->tokens; t += tile)
        for (int p = 0; p < c->shape.channels; p += c->shape.group) {
            const uint8_t *data;
            size_t size;
            put_block(enc, bank, c, channel, p,
                      tsri_min(p + c->shape.group, c->shape.channels), t,
                      c->tokens - t < tile ? c->tokens : t + tile);
            assert_int_equal(tsri_rans_finish(enc, c->crc + (uint32_t)c->blocks,
                                              c->shape.lanes, &data, &size),
                             TSR_OK);
            memcpy(c->data + c->size, data, size);
            c->size += size;
            assert_in_range(c->blocks, 0, 8191);
            c->sizes[c->blocks++] = (uint32_t)size;
        }
    tsri_rans_enc_close(&enc);
}

/* The matrix in one of the ways it may lie in memory. */
typedef struct laid {
    uint8_t *memory;
    size_t bytes;
    tsri_bytes2d view;
} laid;

enum { WAYS = 5 };

static laid lay(const content *c, int way)
{
    const ptrdiff_t channels = c->shape.channels, tokens = (ptrdiff_t)c->tokens;
    laid l = { .view.tokens = c->tokens };
    ptrdiff_t *token = &l.view.token_step, *channel = &l.view.channel_step;
    ptrdiff_t first = 0;

    *token = way == 0 ? channels : way == 1 ? 1 : way == 2 ? channels + 5 :
             way == 3 ? 3 : -channels;
    *channel = way == 1 ? tokens + 3 : way == 3 ? 3 * tokens + 1 : 1;
    if (way == 4 && tokens)
        first = (tokens - 1) * channels;
    l.bytes = (size_t)(way == 3 || way == 1 ? *channel * channels
                                            : labs(*token) * tokens);
    l.memory = malloc(l.bytes + 1);
    memset(l.memory, 0xee, l.bytes);
    l.view.data = l.memory + first;
    return l;
}

static void copy_in(const content *c, laid *l)
{
    for (size_t t = 0; t < c->tokens; t++)
        for (int i = 0; i < c->shape.channels; i++)
            l->view.data[(ptrdiff_t)t * l->view.token_step +
                         i * l->view.channel_step] = c->value[t][i];
}

static void check_way(const content *c, const tsri_plan *plan, tsr_context *ctx,
                      int way)
{
    const size_t bound = tsri_plan_bound(plan, c->tokens);
    uint8_t *out = malloc(bound + 1), *data = malloc(c->size + 1);
    uint32_t *sizes = malloc(4 * c->blocks + 4);
    laid in = lay(c, way), back = lay(c, way);
    size_t size;

    copy_in(c, &in);
    assert_int_equal(tsri_plan_blocks(plan, c->tokens), c->blocks);
    assert_int_equal(tsri_plan_encode(plan, ctx, &in.view, c->crc, out, sizes,
                                      &size), TSR_OK);
    assert_int_equal(size, c->size);
    assert_in_range(size, 0, bound);
    assert_memory_equal(out, c->data, size);
    assert_memory_equal(sizes, c->sizes, 4 * c->blocks);
    memcpy(data, c->data, size); /* of just the size, for ASan */
    assert_int_equal(tsri_plan_decode(plan, ctx, data, size, sizes, c->crc,
                                      &back.view), TSR_OK);
    assert_memory_equal(back.memory, in.memory, in.bytes); /* gaps too */
    free(in.memory);
    free(back.memory);
    free(sizes);
    free(data);
    free(out);
}

static void test_ways(void **state)
{
    content *c = malloc(sizeof *c);
    check_rng r = { 31 };
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        tsr_context *ctx = check_context("c", threads);
        const unsigned cpu = ctx->cpu;
        tsri_bank *bank = make_bank(ctx, &r);
        for (int i = 0; i < 60; i++) {
            tsri_plan *plan;
            fill(c, &r);
            expect(c, ctx, bank);
            assert_int_equal(tsri_plan_open(&plan, ctx, bank, &c->shape),
                             TSR_OK);
            for (int way = 0; way < 2 * WAYS; way++) {
                ctx->cpu = way < WAYS ? cpu : 0;
                check_way(c, plan, ctx, way % WAYS);
            }
            ctx->cpu = cpu;
            tsri_plan_close(&plan, ctx);
            free(c->data);
        }
        tsri_bank_close(&bank, ctx);
        tsr_context_close(&ctx);
    }
    free(c);
}

static void fill_shape(content *c, check_rng *r, int channels, int group, int tile,
                       size_t tokens)
{
    do
        fill(c, r);
    while (c->shape.channels < channels || c->tokens < tokens);
    c->shape.channels = channels;
    c->shape.group = group;
    c->shape.tile = tile;
    c->tokens = tokens;
}

static tsr_error decode(const tsri_plan *plan, tsr_context *ctx,
                        const content *c, const uint8_t *data, size_t size,
                        const uint32_t *sizes, bool *same)
{
    laid want = lay(c, 0), got = lay(c, 0);
    uint8_t *copy = malloc(size + 1);

    memcpy(copy, data, size);
    copy_in(c, &want);
    const tsr_error error = tsri_plan_decode(plan, ctx, copy, size, sizes,
                                             c->crc, &got.view);
    *same = !memcmp(want.memory, got.memory, want.bytes);
    free(want.memory);
    free(got.memory);
    free(copy);
    return error;
}

/* Bytes cut off, sizes that do not fit, blocks that changed places, bits that
 * flipped. */
static void test_damage(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    content *c = malloc(sizeof *c);
    check_rng r = { 32 };
    tsri_bank *bank = make_bank(ctx, &r);
    tsri_plan *plan;
    int unseen = 0;
    bool same;
    (void)state;
    fill_shape(c, &r, 40, 20, 40, 90);
    memset(c->cls, 3, 20); /* groups of equal tables: only the seed differs */
    memset(c->cls + 20, 5, 20);
    for (size_t t = 0; t < c->tokens; t++)
        for (int i = 0; i < 40; i++)
            c->value[t][i] = (uint8_t)(check_below(&r, 16) +
                                       (c->shape.offset ? c->offset[i] : 0));
    expect(c, ctx, bank);
    assert_int_equal(c->blocks, 6);
    assert_int_equal(tsri_plan_open(&plan, ctx, bank, &c->shape), TSR_OK);
    assert_int_equal(decode(plan, ctx, c, c->data, c->size, c->sizes, &same),
                     TSR_OK);
    assert_true(same);
    for (size_t size = 0; size < c->size; size += 37) {
        uint32_t sizes[6];
        assert_int_equal(decode(plan, ctx, c, c->data, size, c->sizes, &same),
                         TSR_E_CORRUPT);
        memcpy(sizes, c->sizes, sizeof sizes); /* the last is cut, and fits */
        sizes[5] -= (uint32_t)tsri_min((int)(c->size - size), (int)sizes[5]);
        const size_t rest = c->size - c->sizes[5] + sizes[5];
        if (rest < c->size)
            assert_int_equal(decode(plan, ctx, c, c->data, rest, sizes, &same),
                             TSR_E_CORRUPT);
    }
    for (int i = 0; i < 2000; i++) {
        uint32_t sizes[6];
        memcpy(sizes, c->sizes, sizeof sizes);
        const uint32_t some = check_u32(&r) >> check_below(&r, 32) | 1;
        const uint32_t a = check_below(&r, 6);
        sizes[a] += some;
        sizes[(a + 1 + check_below(&r, 5)) % 6] -= i % 2 ? some : 0;
        assert_int_equal(decode(plan, ctx, c, c->data, c->size, sizes, &same),
                         TSR_E_CORRUPT);
    }
    for (size_t bit = 0; bit < 8 * c->size; bit += 13) {
        c->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode(plan, ctx, c, c->data, c->size, c->sizes, &same) == TSR_OK) {
            assert_false(same);
            unseen++;
        }
        c->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_in_range(unseen, 0, 1); /* of some 1,500; one in 2^16 is expected */
    c->crc++;
    assert_int_equal(decode(plan, ctx, c, c->data, c->size, c->sizes, &same),
                     TSR_E_CORRUPT);
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&bank, ctx);
    tsr_context_close(&ctx);
    free(c->data);
    free(c);
}

/* Two tiles of the same symbols: their blocks must not be exchangeable. */
static void test_exchange(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = calloc(1, sizeof *c);
    check_rng r = { 33 };
    tsri_bank *bank = make_bank(ctx, &r);
    tsri_plan *plan;
    uint8_t *other;
    bool same;
    (void)state;
    memset(c->cls, 2, sizeof c->cls);
    c->shape = (tsri_plan_shape){ 32, 32, 32, c->cls, NULL, 0 };
    c->tokens = 64;
    for (int i = 0; i < 32 * 32; i++)
        c->value[i / 32][i % 32] = c->value[32 + i / 32][i % 32] =
            (uint8_t)check_below(&r, 5);
    expect(c, ctx, bank);
    assert_int_equal(tsri_plan_open(&plan, ctx, bank, &c->shape), TSR_OK);
    other = malloc(c->size);
    memcpy(other, c->data + c->sizes[0], c->sizes[1]);
    memcpy(other + c->sizes[1], c->data, c->sizes[0]);
    const uint32_t sizes[2] = { c->sizes[1], c->sizes[0] };
    assert_int_equal(decode(plan, ctx, c, other, c->size, sizes, &same),
                     TSR_E_CORRUPT);
    free(other);
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&bank, ctx);
    tsr_context_close(&ctx);
    free(c->data);
    free(c);
}

static tsr_error try_open(tsr_context *ctx, const tsri_bank *bank, int channels,
                          int group, int tile, const uint8_t *cls)
{
    tsri_plan *plan;
    const tsr_error error = tsri_plan_open(
        &plan, ctx, bank,
        &(tsri_plan_shape){ channels, group, tile, cls, NULL, 0 });
    assert_true(!error == !!plan);
    tsri_plan_close(&plan, ctx);
    return error;
}

static void test_refused(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const uint8_t cls[] = { 0, 6, 3, 1, 7 };
    const uint16_t large[] = { 300 };
    uint16_t freq[300];
    uint64_t count[300] = { 0 };
    uint8_t value[4] = { 0, 255, 15, 1 }, out[1000];
    uint32_t sizes[1];
    const tsri_bytes2d m = { value, 1, 4, 1 }, none = { value, 0, 4, 1 };
    check_rng r = { 33 };
    tsri_bank *bank = make_bank(ctx, &r), *other;
    tsri_plan *plan;
    size_t size;
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(tsri_freq_normalise(count, 300, BITS, freq), TSR_OK);
    assert_int_equal(tsri_bank_open(&other, ctx, BITS, freq, large, 1), TSR_OK);
    assert_int_equal(try_open(ctx, bank, 4, 4, 65536, cls), TSR_OK);
    assert_int_equal(try_open(ctx, bank, 5, 4, 1, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, bank, 0, 1, 1, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, bank, (1 << 20) + 1, 1, 1, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, bank, 4, 0, 1, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, bank, 4, 5, 1, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, bank, 4, 4, 0, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, bank, 4, 4, 65537, cls), TSR_E_ARG);
    assert_int_equal(try_open(ctx, other, 1, 1, 1, cls), TSR_E_ARG);
    assert_int_equal(tsri_plan_open(&plan, ctx, bank, &(tsri_plan_shape){
                         4, 4, 32, cls, NULL, 2 }), TSR_E_ARG);
    assert_int_equal(tsri_plan_open(&plan, ctx, bank, &(tsri_plan_shape){
                         4, 4, 32, cls, NULL, 0 }), TSR_OK);
    assert_int_equal(tsri_plan_encode(plan, ctx, &m, 0, out, sizes, &size),
                     TSR_OK);
    value[2] = 16;
    assert_int_equal(tsri_plan_encode(plan, ctx, &m, 0, out, sizes, &size),
                     TSR_E_ARG);
    assert_int_equal(tsri_plan_encode(plan, ctx, &none, 0, out, NULL, &size),
                     TSR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(tsri_plan_decode(plan, ctx, out, 0, NULL, 0, &none), TSR_OK);
    assert_int_equal(tsri_plan_decode(plan, ctx, out, 1, NULL, 0, &none),
                     TSR_E_CORRUPT);
    assert_int_equal(tsri_plan_bound(plan, SIZE_MAX), 0);
    assert_int_equal(tsri_plan_bound(plan, SIZE_MAX / 8), 0);
    assert_int_equal(tsri_plan_bound(plan, 0), 0);
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&other, ctx);
    tsri_bank_close(&bank, ctx);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

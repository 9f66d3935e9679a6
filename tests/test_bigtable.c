/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "tests/check.h"
#include "entropy/bigtable.h"

enum { MOST = 30000 };

/* Zipf counts through a permutation, with ties and zeros. */
static uint32_t *make_freq(size_t n, uint64_t seed)
{
    uint32_t *freq = malloc(n * sizeof *freq);
    check_rng r = { seed };
    for (size_t i = 0; i < n; i++)
        freq[i] = (uint32_t)(1e6 / pow((double)i + 1, 0.9)) >> (i % 97 == 96) * 31;
    for (size_t i = n; i-- > 1;) {
        const size_t k = check_below(&r, (uint32_t)i + 1);
        const uint32_t swap = freq[i];
        freq[i] = freq[k];
        freq[k] = swap;
    }
    return freq;
}

/* Tokens drawn by the frequencies, a few of them anything. */
static void draw(uint32_t *token, size_t count, const uint32_t *freq, size_t n,
                 uint64_t seed, double *entropy)
{
    double *sum = malloc((n + 1) * sizeof *sum);
    check_rng r = { seed };
    sum[0] = 0;
    for (size_t i = 0; i < n; i++)
        sum[i + 1] = sum[i] + freq[i];
    *entropy = 0;
    for (size_t i = 0; i < count; i++) {
        const double u = check_u32(&r) / 4294967296.0 * sum[n];
        size_t low = 0, high = n;
        while (high - low > 1) {
            const size_t mid = (low + high) / 2;
            *(sum[mid] <= u ? &low : &high) = mid;
        }
        token[i] = (uint32_t)low;
        *entropy -= log2(freq[low] / sum[n]);
    }
    free(sum);
}

static void round_trip(tsr_context *ctx, size_t n, size_t count)
{
    static uint32_t token[MOST], got[MOST];
    static uint16_t token16[MOST], got16[MOST];
    uint32_t *freq = make_freq(n, n);
    tsri_bigtable *t;
    tsri_rans_enc *enc;
    tsri_rans_dec dec;
    const uint8_t *data;
    size_t size;
    double entropy;

    draw(token, count, freq, n, n + 1, &entropy);
    if (count)
        token[count - 1] = (uint32_t)n - 1;
    assert_int_equal(tsri_bigtable_open(&t, ctx, freq, n), TSR_OK);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, token, count), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 1, 0, &data, &size), TSR_OK);
    if (count == MOST) /* 1 % over the entropy of the source, lanes and all */
        assert_true((double)size * 8 < entropy * 1.01 + 1000);
    assert_int_equal(tsri_rans_dec_open(&dec, ctx, data, size, 1), TSR_OK);
    assert_int_equal(tsri_bigtable_get32(t, &dec, got, count), TSR_OK);
    assert_int_equal(tsri_rans_dec_end(&dec), TSR_OK);
    assert_memory_equal(got, token, count * sizeof *got);
    for (size_t i = 0; i < count; i++)
        token16[i] = (uint16_t)token[i];
    assert_int_equal(tsri_rans_dec_open(&dec, ctx, data, size, 1), TSR_OK);
    assert_int_equal(tsri_bigtable_get16(t, &dec, got16, count),
                     n > 65536 ? TSR_E_ARG : TSR_OK);
    if (n <= 65536) {
        assert_memory_equal(got16, token16, count * sizeof *got16);
        uint8_t *copy = malloc(size + 1);
        const size_t first = size;
        memcpy(copy, data, size);
        assert_int_equal(tsri_bigtable_put16(t, enc, token16, count), TSR_OK);
        assert_int_equal(tsri_rans_finish(enc, 1, 0, &data, &size), TSR_OK);
        assert_int_equal(size, first);
        assert_memory_equal(data, copy, size);
        free(copy);
    }
    assert_int_equal(tsri_bigtable_put32(t, enc, (uint32_t[]){ (uint32_t)n }, 1),
                     TSR_E_ARG);
    tsri_rans_enc_close(&enc);
    tsri_bigtable_close(&t, ctx);
    free(freq);
}

static void test_round_trip(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    static const size_t sizes[] = { 1, 2, 255, 256, 257, 1024, 8192, 65536,
                                    100000, 1 << 20 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        round_trip(ctx, sizes[i], MOST);
        round_trip(ctx, sizes[i], 4097);
        round_trip(ctx, sizes[i], 1);
        round_trip(ctx, sizes[i], 0);
    }
    tsr_context_close(&ctx);
}

/* Every rank, so every bucket and tail, comes back. */
static void test_all(void **state)
{
    enum { N = 5000 };
    tsr_context *ctx = check_context("c", 1);
    static uint32_t freq[N], token[N], got[N];
    tsri_bigtable *t;
    tsri_rans_enc *enc;
    tsri_rans_dec dec;
    const uint8_t *data;
    size_t size;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        freq[i] = UINT32_MAX - i / 3;
        token[i] = N - 1 - i;
    }
    assert_int_equal(tsri_bigtable_open(&t, ctx, freq, N), TSR_OK);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, token, N), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 0, 32, &data, &size), TSR_OK);
    assert_int_equal(tsri_rans_dec_open(&dec, ctx, data, size, 0), TSR_OK);
    assert_int_equal(tsri_bigtable_get32(t, &dec, got, N), TSR_OK);
    assert_int_equal(tsri_rans_dec_end(&dec), TSR_OK);
    assert_memory_equal(got, token, sizeof got);
    tsri_rans_enc_close(&enc);
    tsri_bigtable_close(&t, ctx);
    tsr_context_close(&ctx);
}

static void test_damage(void **state)
{
    enum { N = 3000, COUNT = 200 };
    tsr_context *ctx = check_context("c", 1);
    uint32_t *freq = make_freq(N, 1), token[COUNT], got[COUNT];
    tsri_bigtable *t;
    tsri_rans_enc *enc;
    tsri_rans_dec dec;
    const uint8_t *data;
    size_t size;
    double entropy;
    (void)state;
    draw(token, COUNT, freq, N, 2, &entropy);
    assert_int_equal(tsri_bigtable_open(&t, ctx, freq, N), TSR_OK);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, token, COUNT), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 0, 1, &data, &size), TSR_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint8_t *copy = malloc(size);
        tsr_error error;
        memcpy(copy, data, size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        error = tsri_rans_dec_open(&dec, ctx, copy, size, 0);
        if (!error)
            error = tsri_bigtable_get32(t, &dec, got, COUNT);
        if (!error)
            error = tsri_rans_dec_end(&dec);
        assert_int_equal(error, TSR_E_CORRUPT);
        free(copy);
    }
    tsri_rans_enc_close(&enc);
    tsri_bigtable_close(&t, ctx);
    ctx->logger.log = NULL;
    assert_int_equal(tsri_bigtable_open(&t, ctx, freq, 0), TSR_E_ARG);
    assert_int_equal(tsri_bigtable_open(&t, ctx, freq, (1 << 20) + 1),
                     TSR_E_ARG);
    assert_null(t);
    free(freq);
    tsr_context_close(&ctx);
}

/* A heap that gives `left` blocks and then none; `held` are not given back. */
static int left, held;
static void *poor_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    if (left-- <= 0)
        return NULL;
    held++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}
static void poor_free(void *cookie, void *p)
{
    (void)cookie;
    held--;
    free(p);
}

static tsr_error use(tsr_context *ctx, const uint32_t *freq, size_t n)
{
    static const uint32_t token[1000];
    tsri_bigtable *t = NULL;
    tsri_rans_enc *enc = NULL;
    const uint8_t *data;
    size_t size;
    tsr_error error = tsri_bigtable_open(&t, ctx, freq, n);

    if (!error)
        error = tsri_rans_enc_open(&enc, ctx);
    if (!error)
        error = tsri_bigtable_put32(t, enc, token, 1000);
    if (!error)
        error = tsri_rans_finish(enc, 0, 0, &data, &size);
    tsri_bigtable_close(&t, ctx);
    tsri_rans_enc_close(&enc);
    return error;
}

static void test_no_memory(void **state)
{
    tsr_context_settings s;
    tsr_context *ctx;
    uint32_t *freq = make_freq(1000, 1);
    (void)state;
    tsr_context_settings_init(&s);
    s.allocator = (tsr_allocator){ NULL, poor_alloc, poor_free };
    left = 100;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    const int before = held;
    for (size_t n = 100; n <= 1000; n += 900) {
        int blocks = 0;
        do {
            left = blocks;
            const tsr_error error = use(ctx, freq, n);
            assert_int_equal(held, before);
            if (!error)
                break;
            assert_int_equal(error, TSR_E_NOMEM);
        } while (++blocks < 100);
        assert_in_range(blocks, 10, 20);
    }
    tsr_context_close(&ctx);
    free(freq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

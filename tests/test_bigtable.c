/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "tests/check.h"
#include "entropy/bigtable.h"
#include "entropy/rans_bits.h"

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

/* ---- sorted codebooks ---- */

static const uint32_t alphabets[] = { 1, 2, 200, 256, 257, 300, 512, 1000, 4097,
                                      65535, 65536, 65537, 100000, 131073,
                                      (1 << 20) - 1, 1 << 20 };
enum { ALPHABETS = sizeof alphabets / sizeof *alphabets };

/* Ranks of all magnitudes, or only the largest ones. */
static void draw_ranks(uint32_t *token, size_t count, uint32_t n, uint64_t seed)
{
    check_rng r = { seed + 1 };
    for (size_t i = 0; i < count; i++) {
        const uint32_t v = check_below(&r, n);
        token[i] = seed % 3 == 0 ? n - 1 : seed % 3 == 1 ? v
                 : v >> check_below(&r, 20);
    }
}

static tsri_bigtable *open_for(tsr_context *ctx, uint32_t n,
                               const uint32_t *token, size_t count)
{
    uint64_t bucket[TSRI_BIGTABLE_BUCKETS] = { 0 };
    uint16_t freq[TSRI_BIGTABLE_BUCKETS];
    tsri_bigtable *t;
    assert_int_equal(tsri_bigtable_count32(ctx, n, token, count, bucket), TSR_OK);
    assert_int_equal(tsri_bigtable_normalise(n, bucket, freq), TSR_OK);
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, n), TSR_OK);
    return t;
}

/* The tokens between other raw bits, so that tails begin at any bit; a copy of
 * the segment, to be freed. */
static uint8_t *encode(tsr_context *ctx, const tsri_bigtable *t,
                       const uint32_t *token, size_t count, bool narrow,
                       size_t *size)
{
    tsri_rans_enc *enc;
    const uint8_t *data;
    uint16_t *token16 = malloc((count + 1) * sizeof *token16);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    for (size_t i = 0; i < count; i++)
        token16[i] = (uint16_t)token[i];
    for (int run = 0; run < 2; run++) {
        assert_int_equal(tsri_rans_put_bits(enc, 5, 3 + 28 * run), TSR_OK);
        assert_int_equal(narrow ? tsri_bigtable_put16(t, enc, token16, count)
                                : tsri_bigtable_put32(t, enc, token, count),
                         TSR_OK);
    }
    assert_int_equal(tsri_rans_put_bits(enc, 77, 7), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 9, 0, &data, size), TSR_OK);
    uint8_t *copy = malloc(*size);
    memcpy(copy, data, *size);
    tsri_rans_enc_close(&enc);
    free(token16);
    return copy;
}

static void start(const tsr_context *ctx, tsri_rans_dec *dec,
                  const uint8_t *data, size_t size)
{
    assert_int_equal(tsri_rans_dec_open(dec, ctx, data, size, 9), TSR_OK);
    assert_int_equal(tsri_rans_get_bits(dec, 3), 5);
}

static void end(tsri_rans_dec *dec)
{
    assert_int_equal(tsri_rans_get_bits(dec, 7), 77);
    assert_int_equal(tsri_rans_dec_end(dec), TSR_OK);
}

static void decode(const tsr_context *ctx, const tsri_bigtable *t, uint32_t n,
                   const uint8_t *data, size_t size, const uint32_t *token,
                   size_t count)
{
    uint32_t *got = malloc((count + 1) * sizeof *got);
    uint16_t *got16 = malloc((count + 1) * sizeof *got16);
    tsri_rans_dec dec;

    start(ctx, &dec, data, size);
    for (int run = 0; run < 2; run++) {
        got[count] = 0xa5a5a5a5;
        assert_int_equal(tsri_bigtable_get32(t, &dec, got, count), TSR_OK);
        assert_memory_equal(got, token, count * sizeof *got);
        assert_int_equal(got[count], 0xa5a5a5a5);
        if (!run)
            assert_int_equal(tsri_rans_get_bits(&dec, 31), 5);
    }
    end(&dec);
    start(ctx, &dec, data, size);
    got16[count] = 0xa5a5;
    assert_int_equal(tsri_bigtable_get16(t, &dec, got16, count),
                     n > 65536 ? TSR_E_ARG : TSR_OK);
    for (size_t i = 0; n <= 65536 && i < count; i++)
        assert_int_equal(got16[i], token[i]);
    assert_int_equal(got16[count], 0xa5a5);
    free(got);
    free(got16);
}

/* Two segments of the same tokens, the second with fewer. */
static void decode_pair(const tsr_context *ctx, const tsri_bigtable *t,
                        uint8_t *const data[2], const size_t size[2],
                        const uint32_t *token, const size_t count[2])
{
    tsri_rans_dec dec[2];
    tsri_rans_dec *both[2] = { &dec[0], &dec[1] };
    uint32_t *got[2];
    uint16_t *got16[2];

    for (int s = 0; s < 2; s++) {
        got[s] = malloc((count[s] + 1) * sizeof *got[s]);
        got16[s] = malloc((count[s] + 1) * sizeof *got16[s]);
        start(ctx, &dec[s], data[s], size[s]);
    }
    assert_int_equal(tsri_bigtable_get32_pair(t, both, got, count), TSR_OK);
    for (int s = 0; s < 2; s++)
        assert_int_equal(tsri_rans_get_bits(&dec[s], 31), 5);
    if (tsri_bigtable_get16_pair(t, both, got16, count) != TSR_E_ARG) {
        for (int s = 0; s < 2; s++) {
            end(&dec[s]);
            for (size_t i = 0; i < count[s]; i++)
                assert_int_equal(got16[s][i], token[i]);
        }
    }
    for (int s = 0; s < 2; s++) {
        assert_memory_equal(got[s], token, count[s] * sizeof *got[s]);
        free(got[s]);
        free(got16[s]);
    }
}

/* What the format says, one token after the other. */
static void decode_slowly(tsr_context *ctx, uint32_t n, const uint8_t *data,
                          size_t size, const uint32_t *token, size_t count)
{
    const uint16_t buckets = (uint16_t)tsri_bigtable_buckets(n);
    uint64_t bucket[TSRI_BIGTABLE_BUCKETS] = { 0 };
    uint16_t freq[TSRI_BIGTABLE_BUCKETS];
    uint16_t *sym = calloc(count + 1, sizeof *sym);
    tsri_bank *bank = NULL;
    tsri_rans_dec dec;

    assert_int_equal(tsri_bigtable_count32(ctx, n, token, count, bucket), TSR_OK);
    assert_int_equal(tsri_bigtable_normalise(n, bucket, freq), TSR_OK);
    start(ctx, &dec, data, size);
    for (int b = 0; b < buckets; b++)
        if (freq[b] == 4096)
            for (size_t i = 0; i < count; i++)
                sym[i] = (uint16_t)b;
        else if (freq[b] && !bank)
            assert_int_equal(tsri_bank_open_sparse(&bank, ctx, 12, freq,
                                                   &buckets, 1), TSR_OK);
    if (bank)
        assert_int_equal(tsri_rans_get(&dec, bank, NULL, 0, sym, count), TSR_OK);
    for (size_t i = 0; i < count; i++) {
        const uint32_t b = sym[i], k = b < 8 ? 0 : b / 4 - 1;
        const uint32_t rank = n <= 256 ? b :
            ((b - 4 * k) << k) + tsri_rans_get_bits(&dec, (int)k);
        assert_int_equal(rank, token[i]);
    }
    assert_int_equal(tsri_rans_get_bits(&dec, 31), 5);
    tsri_bank_close(&bank, ctx);
    free(sym);
}

static void sorted_round_trip(tsr_context *ctx, uint32_t n, size_t count)
{
    static uint32_t token[MOST];
    const unsigned cpu = ctx->cpu;
    const size_t counts[2] = { count, count / 3 };
    uint8_t *data[4];
    size_t size[4];

    draw_ranks(token, count, n, count);
    tsri_bigtable *t = open_for(ctx, n, token, count);
    data[0] = encode(ctx, t, token, count, false, &size[0]);
    data[1] = encode(ctx, t, token, counts[1], false, &size[1]);
    data[3] = encode(ctx, t, token, count, n <= 65536, &size[3]);
    ctx->cpu = 0;
    data[2] = encode(ctx, t, token, count, n <= 65536, &size[2]);
    decode(ctx, t, n, data[0], size[0], token, count);
    decode_pair(ctx, t, data, size, token, counts);
    decode_slowly(ctx, n, data[0], size[0], token, count);
    ctx->cpu = cpu;
    for (int i = 2; i < 4; i++) {
        assert_int_equal(size[i], size[0]);
        assert_memory_equal(data[i], data[0], size[0]);
    }
    decode(ctx, t, n, data[0], size[0], token, count);
    decode_pair(ctx, t, data, size, token, counts);
    tsri_bigtable_close(&t, ctx);
    for (int i = 0; i < 4; i++)
        free(data[i]);
}

static void test_sorted(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (size_t a = 0; a < ALPHABETS; a++) {
        for (size_t count = 0; count <= 70; count++)
            sorted_round_trip(ctx, alphabets[a], count);
        for (size_t count = 71; count <= MOST; count = 3 * count + 1)
            sorted_round_trip(ctx, alphabets[a], count);
        sorted_round_trip(ctx, alphabets[a], 8192);
        sorted_round_trip(ctx, alphabets[a], 6145);
    }
    tsr_context_close(&ctx);
}

/* A table for tokens and one from their frequencies make the same segment. */
static void test_same(void **state)
{
    enum { N = 3000 };
    tsr_context *ctx = check_context("c", 1);
    static uint32_t token[MOST], freq[N];
    size_t count = 0;
    tsri_bigtable *t;
    size_t size[2];
    uint8_t *data[2];
    (void)state;

    for (uint32_t r = 0; r < N; r++) {
        freq[r] = 1 + N / (r + 1);
        for (uint32_t i = 0; i < freq[r]; i++)
            token[count++] = r;
    }
    assert_int_equal(tsri_bigtable_open(&t, ctx, freq, N), TSR_OK);
    data[0] = encode(ctx, t, token, count, false, &size[0]);
    tsri_bigtable_close(&t, ctx);
    t = open_for(ctx, N, token, count);
    data[1] = encode(ctx, t, token, count, true, &size[1]);
    tsri_bigtable_close(&t, ctx);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    free(data[0]);
    free(data[1]);
    tsr_context_close(&ctx);
}

static void test_given(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    uint16_t freq[TSRI_BIGTABLE_BUCKETS] = { 0 };
    uint64_t bucket[TSRI_BIGTABLE_BUCKETS] = { 0 };
    const uint32_t right[] = { 3, 3, 17, 16, 3 }, wrong[] = { 3, 3, 0, 16 };
    const uint32_t large[] = { 1, 2, 1000 };
    tsri_bigtable *t;
    tsri_rans_enc *enc;
    const uint8_t *data;
    size_t size, plain;
    (void)state;

    ctx->logger.log = NULL;
    assert_int_equal(tsri_bigtable_buckets(0), 0);
    assert_int_equal(tsri_bigtable_buckets((1 << 20) + 1), 0);
    assert_int_equal(tsri_bigtable_buckets(1 << 20), TSRI_BUCKETS_MAX);
    assert_int_equal(tsri_bigtable_buckets(65536), 60);
    assert_int_equal(tsri_bigtable_buckets(65537), 61);
    assert_int_equal(tsri_bigtable_tail(65536, 59), 13);
    assert_int_equal(tsri_bigtable_tail(256, 59), 0);
    /* sums */
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, 1000),
                     TSR_E_CORRUPT);
    assert_null(t);
    freq[3] = 4095;
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, 1000),
                     TSR_E_CORRUPT);
    freq[8] = 2;
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, 1000),
                     TSR_E_CORRUPT);
    freq[8] = 1;
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, 0), TSR_E_ARG);
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, (1 << 20) + 1),
                     TSR_E_ARG);
    freq[8] = 0;
    freq[12] = 1; /* 16 to 19 */
    assert_int_equal(tsri_bigtable_open_sorted(&t, ctx, freq, 1000), TSR_OK);
    /* what is refused leaves nothing */
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, right, 5), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 0, 1, &data, &plain), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, wrong, 4), TSR_E_ARG);
    assert_int_equal(tsri_bigtable_put32(t, enc, right, 5), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, large, 3), TSR_E_ARG);
    assert_int_equal(tsri_rans_finish(enc, 0, 1, &data, &size), TSR_OK);
    assert_int_equal(size, plain);
    tsri_rans_enc_close(&enc);
    tsri_bigtable_close(&t, ctx);
    /* counts */
    assert_int_equal(tsri_bigtable_count32(ctx, 1000, large, 3, bucket),
                     TSR_E_ARG);
    assert_int_equal(tsri_bigtable_count32(ctx, 0, large, 3, bucket), TSR_E_ARG);
    memset(bucket, 0, sizeof bucket);
    assert_int_equal(tsri_bigtable_normalise(1000, bucket, freq), TSR_OK);
    assert_int_equal(freq[0] + freq[1], 2 * (4096 / 36 + 1)); /* 36 buckets */
    bucket[0] = bucket[1] = (uint64_t)1 << 63;
    assert_int_equal(tsri_bigtable_normalise(1000, bucket, freq), TSR_E_ARG);
    tsr_context_close(&ctx);
}

/* Segments whose raw bits end too early: the tokens are refused at the end and
 * nothing is read behind the segment. */
static void test_cut(void **state)
{
    enum { N = 60000, COUNT = 300 };
    tsr_context *ctx = check_context("c", 1);
    const unsigned cpu = ctx->cpu;
    const uint16_t buckets = (uint16_t)tsri_bigtable_buckets(N);
    uint64_t bucket[TSRI_BIGTABLE_BUCKETS] = { 0 };
    uint16_t freq[TSRI_BIGTABLE_BUCKETS], got[COUNT];
    uint32_t token[COUNT], again[COUNT];
    uint8_t sym[COUNT];
    tsri_bank *bank;
    tsri_rans_enc *enc;
    (void)state;

    draw_ranks(token, COUNT, N, 1);
    tsri_bigtable *t = open_for(ctx, N, token, COUNT);
    assert_int_equal(tsri_bigtable_count32(ctx, N, token, COUNT, bucket), TSR_OK);
    assert_int_equal(tsri_bigtable_normalise(N, bucket, freq), TSR_OK);
    assert_int_equal(tsri_bank_open_sparse(&bank, ctx, 12, freq, &buckets, 1),
                     TSR_OK);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    for (int i = 0; i < COUNT; i++)
        sym[i] = (uint8_t)tsri_bucket_of(token[i]);
    for (int tails = 0; tails < COUNT; tails++) {
        const uint8_t *data;
        size_t size;
        assert_int_equal(tsri_rans_put8(enc, bank, 0, sym, COUNT), TSR_OK);
        for (int i = 0; i < tails; i++) {
            const int k = tsri_bucket_tail(sym[i]);
            assert_int_equal(tsri_rans_put_bits(enc, token[i] & ((1u << k) - 1),
                                                k), TSR_OK);
        }
        assert_int_equal(tsri_rans_finish(enc, 0, 8, &data, &size), TSR_OK);
        uint8_t *copy = malloc(size); /* for tools that watch its end */
        memcpy(copy, data, size);
        for (int fast = 0; fast < 2; fast++) {
            tsri_rans_dec dec;
            ctx->cpu = fast ? cpu : 0;
            assert_int_equal(tsri_rans_dec_open(&dec, ctx, copy, size, 0), TSR_OK);
            assert_int_equal(tsri_bigtable_get16(t, &dec, got, COUNT), TSR_OK);
            assert_true(tsri_rans_cut(&dec));
            assert_int_equal(tsri_rans_get_bits(&dec, 9), 0);
            assert_int_equal(tsri_rans_dec_end(&dec), TSR_E_CORRUPT);
            for (int i = 0; i < tails; i++)
                assert_int_equal(got[i], token[i]);
            assert_int_equal(tsri_rans_dec_open(&dec, ctx, copy, size, 0), TSR_OK);
            assert_int_equal(tsri_bigtable_get32(t, &dec, again, COUNT), TSR_OK);
            assert_int_equal(tsri_rans_dec_end(&dec), TSR_E_CORRUPT);
            for (int i = 0; i < COUNT; i++)
                assert_int_equal(again[i], got[i]);
        }
        free(copy);
    }
    tsri_rans_enc_close(&enc);
    tsri_bank_close(&bank, ctx);
    tsri_bigtable_close(&t, ctx);
    tsr_context_close(&ctx);
}

/* Any changed bit of a segment of 32 lanes, one or two segments at once. */
static void test_sorted_damage(void **state)
{
    enum { N = 100000, COUNT = 300 };
    tsr_context *ctx = check_context("c", 1);
    const size_t counts[2] = { COUNT, COUNT };
    uint32_t token[COUNT], got[COUNT], got2[COUNT], *both[2] = { got, got2 };
    tsri_rans_enc *enc;
    tsri_rans_dec dec[2], *pair[2] = { &dec[0], &dec[1] };
    const uint8_t *data;
    size_t size;
    (void)state;

    draw_ranks(token, COUNT, N, 2);
    tsri_bigtable *t = open_for(ctx, N, token, COUNT);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_bigtable_put32(t, enc, token, COUNT), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 0, 32, &data, &size), TSR_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint8_t *copy = malloc(size);
        tsr_error error;
        memcpy(copy, data, size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        error = tsri_rans_dec_open(&dec[0], ctx, copy, size, 0);
        if (!error) {
            assert_int_equal(tsri_rans_dec_open(&dec[1], ctx, data, size, 0),
                             TSR_OK);
            error = tsri_bigtable_get32_pair(t, pair, both, counts);
            if (!error)
                assert_memory_equal(got2, token, sizeof token);
        }
        if (!error)
            error = tsri_rans_dec_end(&dec[0]);
        assert_int_equal(error, TSR_E_CORRUPT);
        free(copy);
    }
    tsri_rans_enc_close(&enc);
    tsri_bigtable_close(&t, ctx);
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
        cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_given),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_sorted_damage),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

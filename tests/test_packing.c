/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include "entropy/packing.h"

enum { MOST = 5000 };

static const uint32_t alphabets[] = {
    1, 2, 3, 5, 10, 16, 255, 256, 257, 300, 512, 1000, 16384, 16385, 65535,
    65536, 65537, 100000, 300000, 720000, (1 << 20) - 1, 1 << 20
};
enum { ALPHABETS = sizeof alphabets / sizeof *alphabets };

/* Bits of A^d - 1, the slow way: 99 for too many. */
static int width(uint32_t alphabet, int d)
{
    double approx = 1;
    uint64_t power = 1;
    int w = 0;
    for (int i = 0; i < d; i++) {
        approx *= alphabet;
        power *= alphabet;
    }
    if (approx > 4e18)
        return 99;
    while (w < 63 && (uint64_t)1 << w < power)
        w++;
    return w;
}

static void put_bit(uint8_t *data, size_t at, unsigned bit)
{
    data[at / 8] = (uint8_t)(data[at / 8] | bit << at % 8);
}

/* The format as it is written down, a bit at a time; returns the bits. */
static size_t slow_pack(uint32_t alphabet, int d, const uint32_t *token,
                        size_t n, uint8_t *data)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i += (size_t)d) {
        const int k = n - i < (size_t)d ? (int)(n - i) : d;
        uint64_t x = 0, place = 1;
        for (int j = 0; j < k; j++, place *= alphabet)
            x += token[i + (size_t)j] * place;
        for (int b = 0; b < width(alphabet, k); b++)
            put_bit(data, at++, x >> b & 1);
    }
    return at;
}

static void fill(uint32_t *token, size_t n, uint32_t alphabet, uint64_t seed)
{
    check_rng r = { seed + 1 };
    for (size_t i = 0; i < n; i++)
        token[i] = seed % 3 == 0 ? alphabet - 1
                 : seed % 3 == 1 ? check_below(&r, alphabet)
                 : check_below(&r, 8) ? alphabet - 1 : 0;
}

/* Packs and unpacks n tokens with what the context's processor may do. */
static void round_trip(const tsr_context *ctx, const tsri_packing *p,
                       const uint32_t *token, size_t n, const uint8_t *right,
                       size_t size)
{
    uint8_t *data = malloc(size + 1);
    uint32_t *got = malloc((n + 1) * sizeof *got);
    uint16_t *narrow = malloc((n + 1) * sizeof *narrow);

    data[size] = 0xa5;
    got[n] = 0x5a5a5a5a;
    assert_int_equal(tsri_pack32(p, ctx, token, n, data), TSR_OK);
    assert_memory_equal(data, right, size);
    assert_int_equal(data[size], 0xa5);
    free(data);
    data = malloc(size ? size : 1); /* nothing behind the end may be read */
    memcpy(data, right, size);
    assert_int_equal(tsri_unpack32(p, ctx, data, size, got, n), TSR_OK);
    assert_memory_equal(got, token, n * sizeof *got);
    assert_int_equal(got[n], 0x5a5a5a5a);
    if (p->alphabet <= 65536) {
        for (size_t i = 0; i < n; i++)
            narrow[i] = (uint16_t)token[i];
        memset(data, 0xa5, size);
        assert_int_equal(tsri_pack16(p, ctx, narrow, n, data), TSR_OK);
        assert_memory_equal(data, right, size);
        memset(narrow, 0xa5, (n + 1) * sizeof *narrow);
        assert_int_equal(tsri_unpack16(p, ctx, data, size, narrow, n), TSR_OK);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(narrow[i], token[i]);
        assert_int_equal(narrow[n], 0xa5a5);
    } else {
        assert_int_equal(tsri_unpack16(p, ctx, data, size, narrow, n),
                         TSR_E_ARG);
    }
    free(data);
    free(got);
    free(narrow);
}

static void all_sizes(tsr_context *ctx, const tsri_packing *p)
{
    static uint32_t token[MOST];
    static uint8_t right[MOST * 3];
    const unsigned cpu = ctx->cpu;

    for (size_t n = 0; n <= MOST; n = n < 70 ? n + 1 : n < 1000 ? 3 * n + 1 :
                                      n == MOST ? n + 1 : MOST) {
        size_t size;
        fill(token, n, p->alphabet, n);
        memset(right, 0, sizeof right);
        const size_t bits = slow_pack(p->alphabet, p->digits, token, n, right);
        assert_true(tsri_packing_size(p, n, &size));
        assert_int_equal(size, (bits + 7) / 8);
        round_trip(ctx, p, token, n, right, size);
        ctx->cpu = 0;
        round_trip(ctx, p, token, n, right, size);
        ctx->cpu = cpu;
    }
}

static void test_round_trip(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    tsri_packing p;
    (void)state;

    for (size_t a = 0; a < ALPHABETS; a++) {
        assert_int_equal(tsri_packing_fixed(&p, alphabets[a]), TSR_OK);
        assert_int_equal(p.digits, 1);
        all_sizes(ctx, &p);
        assert_int_equal(tsri_packing_radix(&p, alphabets[a]), TSR_OK);
        all_sizes(ctx, &p);
    }
    tsr_context_close(&ctx);
}

/* The number of digits is the best, and the first of the best. */
static void test_digits(void **state)
{
    check_rng r = { 3 };
    tsri_packing p;
    size_t size;
    (void)state;

    for (int i = 0; i < 3000; i++) {
        const uint32_t a = i < 1000 ? (uint32_t)i + 2
                                    : check_below(&r, (1 << 20) - 1) + 2;
        int best = 1;
        for (int d = 1; width(a, d) <= 56; d++)
            if (width(a, d) * best < width(a, best) * d)
                best = d;
        assert_int_equal(tsri_packing_radix(&p, a), TSR_OK);
        assert_int_equal(p.digits, best);
        assert_int_equal(p.bits, width(a, best));
    }
    assert_int_equal(tsri_packing_radix(&p, 100000), TSR_OK);
    assert_int_equal(p.digits, 3);
    assert_int_equal(p.bits, 50);
    assert_int_equal(tsri_packing_fixed(&p, 0), TSR_E_ARG);
    assert_int_equal(tsri_packing_radix(&p, 0), TSR_E_ARG);
    assert_int_equal(tsri_packing_fixed(&p, (1 << 20) + 1), TSR_E_ARG);
    assert_int_equal(tsri_packing_radix(&p, (1 << 20) + 1), TSR_E_ARG);
    assert_int_equal(tsri_packing_fixed(&p, 1 << 20), TSR_OK);
    assert_false(tsri_packing_size(&p, SIZE_MAX / 4, &size));
}

/* Changed bits are refused or are another string of tokens, never the same;
 * other sizes are refused. */
static void damage(tsr_context *ctx, const tsri_packing *p, size_t n)
{
    static uint32_t token[100], got[100];
    size_t size, refused = 0;

    fill(token, n, p->alphabet, 0);
    assert_true(tsri_packing_size(p, n, &size));
    uint8_t *data = calloc(size + 1, 1), *again = malloc(size + 1);
    assert_int_equal(tsri_pack32(p, ctx, token, n, data), TSR_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const tsr_error error = tsri_unpack32(p, ctx, data, size, got, n);
        if (error) {
            assert_int_equal(error, TSR_E_CORRUPT);
            refused++;
        } else {
            assert_int_equal(tsri_pack32(p, ctx, got, n, again), TSR_OK);
            assert_memory_equal(again, data, size);
        }
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* All tokens are the largest: what lies above is refused. */
    memset(data, 0xff, size);
    const uint64_t room = (uint64_t)1 << p->bits;
    uint64_t numbers = 1;
    for (int i = 0; i < p->digits; i++)
        numbers *= p->alphabet;
    if (numbers < room || size * 8 % 8)
        assert_int_equal(tsri_unpack32(p, ctx, data, size, got, n),
                         TSR_E_CORRUPT);
    if ((size_t)p->bits * n / (size_t)p->digits % 8 && n % (size_t)p->digits == 0)
        assert_true(refused > 0);
    assert_int_equal(tsri_unpack32(p, ctx, data, size + 1, got, n),
                     TSR_E_CORRUPT);
    if (size)
        assert_int_equal(tsri_unpack32(p, ctx, data, size - 1, got, n),
                         TSR_E_CORRUPT);
    free(data);
    free(again);
}

static void test_damage(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const unsigned cpu = ctx->cpu;
    tsri_packing p;
    (void)state;

    for (unsigned fast = 0; fast < 2; fast++) {
        ctx->cpu = fast ? cpu : 0;
        for (size_t a = 1; a < ALPHABETS; a++)
            for (size_t n = 1; n < 90; n = 2 * n + 1) {
                assert_int_equal(tsri_packing_fixed(&p, alphabets[a]), TSR_OK);
                damage(ctx, &p, n);
                assert_int_equal(tsri_packing_radix(&p, alphabets[a]), TSR_OK);
                damage(ctx, &p, n);
            }
    }
    tsr_context_close(&ctx);
}

/* One token too large, at each place. */
static void test_range(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    uint32_t token[70] = { 0 };
    uint16_t narrow[70] = { 0 };
    uint8_t data[300];
    tsri_packing p;
    (void)state;

    for (int radix = 0; radix < 2; radix++)
        for (int i = 0; i < 70; i++) {
            assert_int_equal(radix ? tsri_packing_radix(&p, 300)
                                   : tsri_packing_fixed(&p, 300), TSR_OK);
            token[i] = i % 2 ? 300 : UINT32_MAX;
            narrow[i] = i % 2 ? 300 : UINT16_MAX;
            assert_int_equal(tsri_pack32(&p, ctx, token, 70, data), TSR_E_ARG);
            assert_int_equal(tsri_pack16(&p, ctx, narrow, 70, data), TSR_E_ARG);
            token[i] = narrow[i] = 299;
            assert_int_equal(tsri_pack32(&p, ctx, token, 70, data), TSR_OK);
            assert_int_equal(tsri_pack16(&p, ctx, narrow, 70, data), TSR_OK);
            token[i] = narrow[i] = 0;
        }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

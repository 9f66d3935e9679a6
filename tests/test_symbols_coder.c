/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays of symbols: every form, width and size comes back, the same bytes
 * from any number of threads, and what is damaged or hostile is refused. */
#include "tests/poor.h"
#include <tessera/entropy.h>
#include "entropy/symbols.h"
#include "lib/bytes.h"
#include "lib/core.h"
#include "lib/crc32c.h"

enum { MOST = (3 << 18) + 77, KINDS = 17 };

/* The symbols of all tests, and room for what becomes of them. */
static uint32_t sym[MOST], got[MOST + 1];
static uint8_t narrow[MOST], data[4 * MOST + 64], data2[4 * MOST + 64];

/* Symbols 0..4095, the smaller the more frequent. */
static uint32_t falling(check_rng *r)
{
    const uint64_t a = check_below(r, 1 << 16), b = check_below(r, 1 << 16);
    return (uint32_t)(a * a * b >> 36);
}

static uint32_t bell(check_rng *r, uint32_t spread)
{
    uint32_t sum = 0;
    for (int i = 0; i < 6; i++)
        sum += check_below(r, spread + 1);
    return sum / 6;
}

/* Arrays of different nature; kinds 0..6 have symbols below 256. */
static uint32_t draw(check_rng *r, int kind, size_t i)
{
    switch (kind) {
    case 0: return 7;
    case 1: return bell(r, 15);
    case 2: return bell(r, 255);
    case 3: return check_below(r, 13);              /* nothing to gain */
    case 4: return check_below(r, 50) ? 0 : 200;    /* sparse, skew */
    case 5: return bell(r, 40) + 60 * (uint32_t)(i >> 17 & 1);    /* drifts */
    case 6: return check_below(r, 256);
    case 7: return 70000 + bell(r, 15);             /* a base */
    case 8: return 1000 + bell(r, 200);
    case 9: return bell(r, 5000);
    case 10: return check_u32(r);
    case 11: return 4294967290u + bell(r, 5);
    case 12: return falling(r);
    case 13: return falling(r) * 2731 % 4096;       /* in no order */
    case 14: return 3000000000u + falling(r);
    case 15: return falling(r) * 50;                /* sparse */
    default: return bell(r, 20) + (uint32_t)(i / 3000 * 37 % 200);  /* drifts fast */
    }
}

static void fill(int kind, size_t n, uint64_t seed)
{
    check_rng r = { seed };
    for (size_t i = 0; i < n; i++)
        sym[i] = draw(&r, kind, i);
}

/* The first n symbols as integers of a width. */
static const void *as_width(int width, size_t n)
{
    static uint16_t two[MOST];
    for (size_t i = 0; i < n; i++) {
        narrow[i] = (uint8_t)sym[i];
        two[i] = (uint16_t)sym[i];
    }
    return width == 1 ? (const void *)narrow : width == 2 ? (void *)two : sym;
}

static int least_width(size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++)
        most = sym[i] > most ? sym[i] : most;
    return most < 256 ? 1 : most < 65536 ? 2 : 4;
}

static void check_equal(int width, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t v = width == 1 ? ((uint8_t *)got)[i] :
                           width == 2 ? ((uint16_t *)got)[i] : got[i];
        if (v != sym[i])
            fail_msg("symbol %zu of %zu: %u, not %u", i, n, v, sym[i]);
    }
}

static size_t encode(tsr_context *ctx, bool fast, int width, size_t n,
                     uint8_t *out)
{
    tsr_symbols_settings s;
    size_t size;
    tsr_symbols_settings_init(&s);
    s.fast = fast;
    assert_int_equal(tsr_symbols_encode(ctx, &s, as_width(width, n), width, n,
                     out, tsr_symbols_bound(n, width), &size), TSR_OK);
    assert_true(size <= tsr_symbols_bound(n, width));
    return size;
}

/* Codes and decodes n symbols in every width that holds them. */
static size_t there_and_back(tsr_context *ctx, bool fast, size_t n)
{
    const int least = least_width(n);
    size_t size = 0;

    for (int from = least; from <= 4; from *= 2) {
        const size_t k = encode(ctx, fast, from, n, from == least ? data : data2);
        assert_true(from == least || (k == size && !memcmp(data, data2, k)));
        size = k;
    }
    tsr_symbols_info info;
    assert_int_equal(tsr_symbols_probe(data, size, &info), TSR_OK);
    assert_int_equal(info.count, n);
    assert_int_equal(info.bytes, size);
    assert_int_equal(info.width, least);
    for (int to = least; to <= 4; to *= 2) {
        uint8_t *end = (uint8_t *)got + n * (size_t)to;
        memset(got, 0xa5, n * (size_t)to);
        *end = 0x5a;
        memcpy(data2, data, size);
        memset(data2 + size, 0xff, 16); /* the next stream */
        assert_int_equal(tsr_symbols_decode(ctx, data2, size + 16, got, to, n),
                         TSR_OK);
        assert_int_equal(*end, 0x5a);
        check_equal(to, n);
    }
    return size;
}

static void test_small(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t n = 0; n <= 300; n++) {
            fill(kind, n, 1 + n);
            const size_t size = there_and_back(ctx, n & 1, n);
            if (n == 10 && kind < 4)
                assert_in_range(size, 5, 18);
        }
    tsr_context_close(&ctx);
}

/* Sizes where chunks end, with vectors and without. */
static void test_chunks(void **state)
{
    static const size_t sizes[] = { 4095, 16385, 32767, 65537, (1 << 18) - 1,
                                    1 << 18, (1 << 18) + 1, (2 << 18) + 5, MOST };
    tsr_context *ctx = check_context("c", 1), *plain = check_context("c", 1);
    (void)state;
    plain->cpu = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (int k = 0; k < 9; k++) {
            fill(kind, sizes[k], (uint64_t)kind + 1);
            const size_t n = sizes[k], size = there_and_back(ctx, k & 1, n);
            const int width = least_width(n);
            memset(got, 0xa5, n * (size_t)width);
            assert_int_equal(tsr_symbols_decode(plain, data, size, got, width, n),
                             TSR_OK);
            check_equal(width, n);
            assert_int_equal(encode(plain, k & 1, width, n, data2), size);
            assert_memory_equal(data, data2, size);
        }
    tsr_context_close(&ctx);
    tsr_context_close(&plain);
}

/* Each form is taken where it should be, and no other than the named. */
static void test_forms(void **state)
{
    static const struct { int kind; bool fast; int form; size_t chunks; } want[] = {
        { 0, 0, TSRI_SYMBOLS_PACKED, 1 }, { 1, 0, TSRI_SYMBOLS_TABLE, 2 },
        { 1, 1, TSRI_SYMBOLS_PAIRS, 2 }, { 2, 0, TSRI_SYMBOLS_TABLE, 4 },
        { 2, 1, TSRI_SYMBOLS_TABLE, 4 }, { 6, 0, TSRI_SYMBOLS_PACKED, 1 },
        { 4, 0, TSRI_SYMBOLS_TABLE, 1 }, { 8, 0, TSRI_SYMBOLS_TABLE, 4 },
        { 10, 0, TSRI_SYMBOLS_PACKED, 1 }, { 9, 0, TSRI_SYMBOLS_BUCKETS, 4 },
        { 12, 0, TSRI_SYMBOLS_BUCKETS, 4 }, { 13, 1, TSRI_SYMBOLS_RANKED, 4 },
        { 14, 0, TSRI_SYMBOLS_BUCKETS, 4 }, { 15, 0, TSRI_SYMBOLS_RANKED, 4 },
        { 16, 0, TSRI_SYMBOLS_ROWS, 4 }, { 16, 1, TSRI_SYMBOLS_TABLE, 4 },
    };
    tsr_context *ctx = check_context("c", 1);
    tsr_symbols_info info;
    (void)state;
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        fill(want[k].kind, MOST, 3);
        const size_t size = there_and_back(ctx, want[k].fast, MOST);
        assert_int_equal(tsr_symbols_probe(data, size, &info), TSR_OK);
        assert_int_equal(data[0], 0x10 | want[k].form);
        assert_int_equal(info.chunks, want[k].chunks);
    }
    for (int kind = 0; kind < 9; kind++) {
        fill(kind, 200, 3);
        there_and_back(ctx, false, 200);
        assert_int_equal(data[0], 0x10 | (kind == 1 || kind == 4 || kind == 7
                         ? TSRI_SYMBOLS_RANGE : TSRI_SYMBOLS_PACKED));
    }
    tsr_context_close(&ctx);
}

static double entropy_bytes(size_t begin, size_t end)
{
    static size_t count[1 << 16];
    double bits = 0;
    memset(count, 0, sizeof count);
    for (size_t i = begin; i < end; i++)
        count[sym[i]]++;
    for (int s = 0; s < 1 << 16; s++)
        if (count[s])
            bits -= (double)count[s] *
                    __builtin_log2((double)count[s] / (double)(end - begin));
    return bits / 8;
}

/* Evenly used alphabets that are no power of two, by threads, too. */
static void test_digits(void **state)
{
    static const uint32_t alphabets[] = { 300, 600, 100000, 300000 };
    tsr_context *ctx = check_context("c", 1), *four = check_context("c", 4);
    check_rng r = { 5 };
    (void)state;
    for (size_t a = 0; a < 4; a++)
        for (size_t n = 1; n <= MOST; n = n < 70 ? n + 1 : n < 9000 ? 9 * n :
                                        n == MOST ? n + 1 : MOST) {
            for (size_t i = 0; i < n; i++)
                sym[i] = check_below(&r, alphabets[a]);
            sym[n / 2] = alphabets[a] - 1;
            const size_t size = there_and_back(ctx, false, n);
            if (n < 60)
                continue;
            assert_int_equal(data[0], 0x10 | TSRI_SYMBOLS_DIGITS);
            const size_t again = encode(four, false, 4, n, data2);
            assert_int_equal(again, size);
            assert_memory_equal(data, data2, size);
            /* A number of ones is too large; the CRC is right. */
            memset(data + size - 20, 0xff, 16);
            tsri_put32(data + size - 4, tsri_crc32c(0, data, size - 4));
            four->logger.log = NULL;
            assert_int_equal(tsr_symbols_decode(four, data, size, got, 4, n),
                             TSR_E_CORRUPT);
        }
    tsr_context_close(&ctx);
    tsr_context_close(&four);
}

/* Close to the bound; a drift is followed; periods do not fool the sample. */
static void test_rate(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int kind = 1; kind < 5; kind++) {
        fill(kind, MOST, 5);
        assert_true((double)there_and_back(ctx, false, MOST) <
                    (kind == 4 ? 1.01 : 1.004) * entropy_bytes(0, MOST));
    }
    for (int kind = 12; kind < 14; kind++) {
        fill(kind, MOST, 5);
        assert_true((double)there_and_back(ctx, false, MOST) <
                    (kind == 12 ? 1.003 : 1.006) * entropy_bytes(0, MOST));
    }
    fill(1, MOST, 6);
    assert_true((double)there_and_back(ctx, true, MOST) <
                1.01 * entropy_bytes(0, MOST));
    for (size_t period = 64; period <= 1024; period *= 2) {
        check_rng r = { period };
        for (size_t i = 0; i < 1 << 18; i++)
            sym[i] = bell(&r, 20) + (i % period < period / 4 ? 100 : 0);
        assert_true((double)there_and_back(ctx, false, 1 << 18) <
                    1.01 * entropy_bytes(0, 1 << 18));
    }
    /* Two halves that have nothing in common. */
    check_rng r = { 9 };
    for (size_t i = 0; i < 2 << 18; i++)
        sym[i] = bell(&r, 60) + (i >> 18 ? 100 : 0);
    assert_true((double)there_and_back(ctx, false, 2 << 18) <
                1.01 * (entropy_bytes(0, 1 << 18) +
                        entropy_bytes(1 << 18, 2 << 18)));
    tsr_context_close(&ctx);
}

static void test_threads(void **state)
{
    tsr_context *one = check_context("c", 1);
    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        tsr_context *ctx = check_context("c", threads);
        for (int kind = 0; kind < KINDS; kind++) {
            fill(kind, MOST, 11);
            const int width = least_width(MOST);
            const size_t size = encode(one, kind == 1, width, MOST, data);
            assert_int_equal(encode(ctx, kind == 1, width, MOST, data2), size);
            assert_memory_equal(data, data2, size);
            assert_int_equal(tsr_symbols_decode(ctx, data, size, got, width,
                                                MOST), TSR_OK);
            check_equal(width, MOST);
        }
        tsr_context_close(&ctx);
    }
    tsr_context_close(&one);
}

static void test_arguments(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    tsr_symbols_settings s;
    size_t size, most;
    (void)state;
    ctx->logger.log = NULL;
    fill(2, 1000, 1);
    tsr_symbols_settings_init(&s);
    assert_int_equal(tsr_symbols_encode(ctx, &s, sym, 3, 1000, data, sizeof data,
                                        &size), TSR_E_ARG);
    s.alphabet = 100;
    assert_int_equal(tsr_symbols_encode(ctx, &s, sym, 4, 1000, data, sizeof data,
                                        &size), TSR_E_ARG);
    s.alphabet = 256;
    assert_int_equal(tsr_symbols_encode(ctx, &s, sym, 4, 1000, data, sizeof data,
                                        &most), TSR_OK);
    s.alphabet = ((uint64_t)1 << 32) + 1;
    assert_int_equal(tsr_symbols_encode(ctx, &s, sym, 4, 1000, data, sizeof data,
                                        &size), TSR_E_ARG);
    s.size = 0;
    assert_int_equal(tsr_symbols_encode(ctx, &s, sym, 4, 1000, data, sizeof data,
                                        &size), TSR_E_ARG);
    /* Too little room is found out, and nothing is written behind it. */
    for (size_t room = 0; room < most; room++) {
        memset(data2, 0xa5, most);
        assert_int_equal(tsr_symbols_encode(ctx, NULL, sym, 4, 1000, data2, room,
                                            &size), TSR_E_LIMIT);
        assert_int_equal(data2[room], 0xa5);
    }
    assert_int_equal(tsr_symbols_decode(ctx, data, most, got, 4, 999), TSR_E_ARG);
    assert_int_equal(tsr_symbols_decode(ctx, data, most, got, 3, 1000), TSR_E_ARG);
    sym[5] = 256;
    assert_int_equal(tsr_symbols_encode(ctx, NULL, sym, 4, 1000, data,
                                        sizeof data, &size), TSR_OK);
    assert_int_equal(tsr_symbols_decode(ctx, data, size, got, 1, 1000), TSR_E_ARG);
    assert_int_equal(tsr_symbols_bound(SIZE_MAX / 2, 4), 0);
    assert_int_equal(tsr_symbols_bound(((size_t)1 << 40) + 1, 1), 0);
    assert_int_equal(tsr_symbols_bound(1, 0), 0);
    tsr_context_close(&ctx);
}

/* A changed stream: an error, or by a chance of 2^-16 the wrong symbols. */
static int try_damaged(tsr_context *ctx, size_t size, int width, size_t n)
{
    uint8_t *copy = malloc(size + 1);   /* so that a reader past it is seen */
    memcpy(copy, data2, size);
    memset(got, 0, n * (size_t)width);
    const tsr_error error = tsr_symbols_decode(ctx, copy, size, got, width, n);
    free(copy);
    if (error)
        return 0;
    for (size_t i = 0; i < n; i++)
        if ((width == 1 ? ((uint8_t *)got)[i] : width == 2 ? ((uint16_t *)got)[i]
             : got[i]) != sym[i])
            return 1;
    return 0;
}

static void test_damage(void **state)
{
    static const size_t sizes[] = { 0, 1, 10, 100, 700, 33000 };
    tsr_context *ctx = check_context("c", 1);
    int tried = 0, wrong = 0;
    (void)state;
    ctx->logger.log = NULL;
    for (int kind = 0; kind < KINDS; kind++)
        for (int k = 0; k < 6; k++) {
            const size_t n = sizes[k];
            fill(kind, n, 77);
            const int width = least_width(n);
            const size_t size = encode(ctx, k == 5, width, n, data);
            const size_t step = size / 120 + 1;
            for (size_t cut = 0; cut < size; cut += step)
                assert_int_not_equal(tsr_symbols_decode(ctx, data, cut, got,
                                                        width, n), TSR_OK);
            for (size_t bit = 0; bit < 8 * size; bit += step, tried++) {
                memcpy(data2, data, size);
                data2[bit / 8] ^= (uint8_t)(1 << bit % 8);
                wrong += try_damaged(ctx, size, width, n);
            }
            check_rng r = { size };
            for (int m = 0; m < 60; m++, tried++) {
                memcpy(data2, data, size);
                for (int b = 0; b < 4; b++)
                    data2[check_below(&r, (uint32_t)size)] = (uint8_t)check_u32(&r);
                wrong += try_damaged(ctx, size, width, n);
            }
        }
    assert_true(tried > 10000);
    assert_true(wrong <= 1 + tried / 20000);
    tsr_context_close(&ctx);
}

/* ---- memory ---- */

/* Heads that promise the moon are refused before memory is taken for them. */
static void test_hostile(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    uint8_t head[64];
    tsr_symbols_info info;
    (void)state;
    for (int form = 0; form < 16; form++)
        for (int shift = 8; shift < 64; shift++)
            for (int last = 0; last < 33; last++)
                for (int flags = 0; flags < 64; flags += 7) {
                    size_t n = 0;
                    head[n++] = (uint8_t)(0x10 | form);
                    n += tsri_put_varint(head + n, (uint64_t)1 << shift);
                    n += tsri_put_varint(head + n, 0);
                    n += tsri_put_varint(head + n, ((uint64_t)1 << last) - 1);
                    head[n++] = (uint8_t)flags;
                    memset(head + n, shift, sizeof head - n);
                    poor_largest = 0;
                    const tsr_error error = tsr_symbols_decode(
                        ctx, head, sizeof head, got, 4, (size_t)1 << shift);
                    assert_int_not_equal(error, TSR_OK);
                    assert_true(poor_largest < 1 << 20);
                }
    /* Versions, and tables that do not sum. */
    head[0] = 0x21;
    assert_int_equal(tsr_symbols_probe(head, 64, &info), TSR_E_VERSION);
    head[0] = 0x01;
    assert_int_equal(tsr_symbols_probe(head, 64, &info), TSR_E_CORRUPT);
    tsr_context_close(&ctx);
    assert_int_equal(poor_held, 0);
}

typedef struct work {
    tsr_context *ctx;
    int width;
    bool fast;
    size_t n, size;
} work;

static tsr_error work_encode(work *w)
{
    tsr_symbols_settings s;
    tsr_symbols_settings_init(&s);
    s.fast = w->fast;
    return tsr_symbols_encode(w->ctx, &s, as_width(w->width, w->n), w->width,
                              w->n, data, sizeof data, &w->size);
}

static tsr_error work_decode(work *w)
{
    return tsr_symbols_decode(w->ctx, data, w->size, got, w->width, w->n);
}

static void starve(work *w, tsr_error (*body)(work *))
{
    const int before = poor_held;
    for (int n = 0; n < POOR_MANY; n++) {
        poor_left = n;
        const tsr_error error = body(w);
        assert_int_equal(poor_held, before);
        if (!error)
            return;
        assert_int_equal(error, TSR_E_NOMEM);
    }
    fail();
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int threads = 1; threads < 3; threads++)
        for (int kind = 0; kind < KINDS; kind++) {
            const size_t n = kind == 5 ? MOST : 40000;
            work w = { .ctx = poor_context("c", threads), .fast = true, .n = n };
            fill(kind, n, 3);
            w.width = least_width(n);
            starve(&w, work_encode);
            starve(&w, work_decode);
            check_equal(w.width, n);
            poor_left = POOR_MANY;
            tsr_context_close(&w.ctx);
            assert_int_equal(poor_held, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

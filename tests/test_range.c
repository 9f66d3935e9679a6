/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include <math.h>
#include "entropy/range.h"

enum { STEPS = 3000, ROOM = 20000 };

/* A mixture of everything, with models that belong to it. */
typedef struct models {
    tsri_range_bit bit[3], tree[4][1 << 9];
    tsri_range_nibble nibble[3];
    tsri_range_byte byte;
    tsri_range_gamma gamma[2];
} models;

typedef struct step {
    int kind, which, nbits;
    uint32_t value;
} step;

static void fill(step *s, int n, uint64_t seed)
{
    check_rng r = { seed * 3 + 1 };

    for (int i = 0; i < n; i++) {
        const uint32_t any = check_u32(&r);
        s[i].kind = (int)check_below(&r, 7);
        s[i].which = (int)check_below(&r, 2);
        s[i].nbits = (int)check_below(&r, s[i].kind == 5 ? 33 : 9);
        switch (s[i].kind) {
        case 0: s[i].value = check_below(&r, 50) < 1 + 30 * (uint32_t)s[i].which; break;
        case 1: s[i].nbits++; s[i].value = check_below(&r, 1u << s[i].nbits); break;
        case 2: s[i].value = check_below(&r, s[i].which ? 16 : 2); break;
        case 3: s[i].value = check_below(&r, 9) ? 77 : any & 255; break;
        case 4: s[i].value = any >> check_below(&r, 32); break;
        case 6: s[i].value = any % 149796; break;
        default: s[i].value = s[i].nbits ? any >> (32 - s[i].nbits) : 0;
        }
        if (s[i].kind == 4 && s[i].value == UINT32_MAX)
            s[i].value--;
    }
}

static void put(tsri_range_enc *enc, models *m, const step *s)
{
    switch (s->kind) {
    case 0: tsri_range_put_bit(enc, &m->bit[s->which], (int)s->value); break;
    case 1: tsri_range_put_tree(enc, m->tree[s->which], s->nbits, s->value); break;
    case 2: tsri_range_put_nibble(enc, &m->nibble[s->which], (int)s->value); break;
    case 3: tsri_range_put_byte(enc, &m->byte, (int)s->value); break;
    case 4: tsri_range_put_gamma(enc, &m->gamma[s->which], s->value); break;
    case 6: tsri_range_put_slots(enc, s->value * 7 - !!s->value,
                                 s->value * 7 + 6, 20); break;
    default: tsri_range_put_direct(enc, s->value, s->nbits);
    }
}

/* Slots 7 v - 1 .. 7 v + 5 stand for v. */
static uint32_t get_slots(tsri_range_dec *dec)
{
    const uint32_t v = (tsri_range_slot(dec, 20) + 1) / 7;

    tsri_range_take(dec, v * 7 - !!v, v * 7 + 6, 20);
    return v;
}

static uint32_t get(tsri_range_dec *dec, models *m, const step *s)
{
    switch (s->kind) {
    case 0: return (uint32_t)tsri_range_get_bit(dec, &m->bit[s->which]);
    case 1: return tsri_range_get_tree(dec, m->tree[s->which], s->nbits);
    case 2: return (uint32_t)tsri_range_get_nibble(dec, &m->nibble[s->which]);
    case 3: return (uint32_t)tsri_range_get_byte(dec, &m->byte);
    case 4: return tsri_range_get_gamma(dec, &m->gamma[s->which]);
    case 6: return get_slots(dec);
    default: return tsri_range_get_direct(dec, s->nbits);
    }
}

static size_t encode(const step *s, int n, uint8_t *out)
{
    models *m = calloc(1, sizeof *m);
    tsri_range_enc enc;
    size_t size;

    tsri_range_enc_open(&enc, out, ROOM);
    for (int i = 0; i < n; i++)
        put(&enc, m, &s[i]);
    assert_int_equal(tsri_range_finish(&enc, &size), TSR_OK);
    free(m);
    return size;
}

/* How many steps came out right, up to the first wrong one. */
static int decode(const step *s, int n, const uint8_t *data, size_t size,
                  tsr_error *error)
{
    models *m = calloc(1, sizeof *m);
    uint8_t *copy = malloc(size + !size); /* so that ASan sees its end */
    tsri_range_dec dec;
    int same = n;

    if (size)
        memcpy(copy, data, size);
    tsri_range_dec_open(&dec, copy, size);
    for (int i = 0; i < n; i++)
        if (get(&dec, m, &s[i]) != s[i].value && same == n)
            same = i;
    *error = tsri_range_dec_end(&dec);
    free(copy);
    free(m);
    return same;
}

static void test_round_trip(void **state)
{
    step *s = malloc(STEPS * sizeof *s);
    uint8_t *out = malloc(ROOM);
    tsr_error error;
    (void)state;
    for (int i = 0; i < 300; i++) {
        const int n = i < 200 ? i % 100 : STEPS;
        fill(s, n, (uint64_t)i);
        const size_t size = encode(s, n, out);
        assert_true(!size || out[size - 1]);
        assert_int_equal(decode(s, n, out, size, &error), n);
        assert_int_equal(error, TSR_OK);
    }
    free(out);
    free(s);
}

/* Nothing, values at their limits, and carries through many bytes. */
static void test_limits(void **state)
{
    static const uint32_t limits[] = { 0, 1, 2, 3, 0x7ffffffe, 0x7fffffff,
                                       0x80000000, 0xfffffffe };
    step s[400] = { { 0 } };
    uint8_t out[ROOM];
    tsr_error error;
    (void)state;
    assert_int_equal(encode(s, 0, out), 0);
    for (int i = 0; i < 8; i++)
        s[i] = (step){ 4, 0, 0, limits[i] };
    size_t size = encode(s, 8, out);
    assert_int_equal(decode(s, 8, out, size, &error), 8);
    assert_int_equal(error, TSR_OK);
    for (uint32_t last = 0; last < 2; last++) { /* ff ff ff ... , maybe carry */
        for (int i = 0; i < 400; i++)
            s[i] = (step){ 5, 0, 8, 255 };
        s[399] = (step){ 0, 0, 0, last };
        size = encode(s, 400, out);
        assert_in_range(size, 398, 401);
        assert_int_equal(decode(s, 400, out, size, &error), 400);
        assert_int_equal(error, TSR_OK);
    }
}

/* Worked by hand.  The range is 2^32 - 1 at first, so 16 bits 1234 begin at
 * 1233ffff and the next at 1234ffff: 1234 is the shortest number between.  Of
 * that range of 2^16, which a byte shifts to 2^24, 14 bits 2222 begin at
 * 1000000 * 2222 / 4000 = 888800 behind 1233ffff00, at 1234888700. */
static void test_bytes(void **state)
{
    static const step s[] = { { 5, 0, 16, 0x1234 }, { 5, 0, 14, 0x2222 } };
    uint8_t out[ROOM];
    (void)state;
    assert_int_equal(encode(s, 1, out), 2);
    assert_memory_equal(out, "\x12\x34", 2);
    assert_int_equal(encode(s, 2, out), 4);
    assert_memory_equal(out, "\x12\x34\x88\x87", 4);
}

/* How near the bound: a header's bits, numbers and letters. */
static void test_compression(void **state)
{
    enum { N = 1000 };
    check_rng r = { 5 };
    uint8_t out[ROOM];
    step s[N];
    (void)state;
    double bits = 0;
    for (int i = 0; i < N; i++) { /* one in 20 */
        s[i] = (step){ 0, 0, 0, check_below(&r, 20) == 0 };
        bits += s[i].value ? log2(20) : log2(20 / 19.);
    }
    assert_true((double)encode(s, N, out) < 1.06 * bits / 8 + 3);
    for (int i = 0; i < N; i++)
        s[i] = (step){ 2, 0, 0, check_below(&r, 4) + check_below(&r, 4) };
    assert_true((double)encode(s, N, out) < 1.05 * 2.656 * N / 8 + 3);
    for (int i = 0; i < N; i++)
        s[i] = (step){ 4, 0, 0, check_below(&r, 7) };
    assert_true((double)encode(s, N, out) < 1.06 * log2(7) * N / 8 + 3);
    for (int i = 0; i < N; i++) /* no model: nothing lost */
        s[i] = (step){ 5, 0, 16, check_below(&r, 1 << 16) };
    assert_in_range(encode(s, N, out), 2 * N - 2, 2 * N + 1);
}

/* Cut, longer and changed streams: never a crash, and most are found. */
static void test_damage(void **state)
{
    enum { N = 60 };
    check_rng r = { 6 };
    uint8_t out[ROOM];
    step s[N];
    tsr_error error;
    int tried = 0, unseen = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        fill(s, N, seed);
        const size_t size = encode(s, N, out);
        out[size] = 1 + (uint8_t)check_below(&r, 255);
        decode(s, N, out, size + 1, &error);
        unseen += error == TSR_OK;
        out[size] = 0;
        decode(s, N, out, size + 1, &error);
        assert_int_equal(error, TSR_E_CORRUPT);
        for (size_t cut = 0; cut < size; cut++, tried++) {
            const int same = decode(s, N, out, cut, &error);
            assert_true(error || same < N);
            unseen += error == TSR_OK;
        }
        for (size_t bit = 0; bit < 8 * size; bit++, tried++) {
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const int same = decode(s, N, out, size, &error);
            assert_true(error || same < N);
            unseen += error == TSR_OK;
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    assert_in_range(tried, 10000, 100000);
    assert_in_range(unseen, tried / 10, tried / 4); /* about one in 5 */
    memset(out, 0xff, 64);
    decode(s, N, out, 64, &error);
    assert_int_equal(error, TSR_E_CORRUPT);
}

/* A first code of 2^32 - 1 belongs to no decision, also where what follows it
 * brings the decoder back onto its feet. */
static void test_no_such_code(void **state)
{
    static const uint8_t data[] = { 255, 255, 255, 255, 255, 255 };
    (void)state;

    for (size_t size = 1; size <= sizeof data; size++)
        for (int n = 1; n < 200; n++) {
            tsri_range_dec dec;
            tsri_range_dec_open(&dec, data, size);
            for (int i = 0; i < n; i++) {
                const uint32_t half = tsri_range_slot(&dec, 20) >> 19;
                tsri_range_take(&dec, half << 19, (half + 1) << 19, 20);
            }
            if (size >= 4)
                assert_int_equal(tsri_range_dec_end(&dec), TSR_E_CORRUPT);
            else if ((size_t)n == 8 * size)
                assert_int_equal(tsri_range_dec_end(&dec), TSR_OK);
        }
}

static void test_room(void **state)
{
    step s[200];
    uint8_t out[ROOM];
    (void)state;
    fill(s, 200, 3);
    const size_t need = encode(s, 200, out);
    for (size_t room = 0; room <= need + 2; room++) {
        models *m = calloc(1, sizeof *m);
        uint8_t *small = malloc(room + !room);
        tsri_range_enc enc;
        size_t size;
        tsri_range_enc_open(&enc, small, room);
        for (int i = 0; i < 200; i++)
            put(&enc, m, &s[i]);
        const tsr_error error = tsri_range_finish(&enc, &size);
        if (room < need)
            assert_int_equal(error, TSR_E_ARG);
        if (room > need)
            assert_int_equal(error, TSR_OK);
        if (!error)
            assert_memory_equal(small, out, need);
        free(small);
        free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_compression),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_no_such_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

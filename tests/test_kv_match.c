/* SPDX-License-Identifier: BSD-2-Clause */
/* References against their definition in docs/kv-format.md, section 5.5. */
#include "tests/check.h"
#include "codecs/kv/match.h"

enum { MOST = 3000 };

static int common_run(const int32_t *ids, int s, int t)
{
    int run = 0;
    for (int j = 0; j < 12 && s - j >= 0 && ids[s - j] == ids[t - j]; j++)
        run++;
    return run;
}

static int class_of(int run)
{
    return run >= 12 ? 7 : run >= 9 ? 6 : run >= 6 ? 5 : run >= 4 ? 4 : run;
}

/* The definition, quadratic. */
static void expect(const int32_t *ids, int n, int sinks, int32_t *ref,
                   uint8_t *match)
{
    for (int t = 0; t < n; t++) {
        int longest = 0, seen = 0;
        ref[t] = -1;
        for (int s = t - 1; s >= sinks && seen < 64; s--) {
            if (ids[s] != ids[t])
                continue;
            seen++;
            const int run = common_run(ids, s, t);
            if (run > longest) {
                longest = run;
                ref[t] = s;
            }
        }
        match[t] = (uint8_t)class_of(longest);
    }
}

static void compare(const int32_t *ids, int n, int sinks)
{
    static int32_t ref[MOST], wanted[MOST];
    static uint8_t match[MOST], wanted_match[MOST];
    const tsri_kv_profile profile = { .reference = TSRI_KV_REF_MATCH };
    const size_t bytes = tsri_kv_match_scratch((size_t)n);
    uint8_t *scratch = malloc(bytes + 8);

    assert_non_null(scratch);
    memset(scratch, 0x5a, bytes + 8);
    expect(ids, n, sinks, wanted, wanted_match);
    tsri_kv_match(&profile, ids, (size_t)n, (size_t)sinks, ref, match, scratch);
    assert_memory_equal(ref, wanted, (size_t)n * sizeof *ref);
    assert_memory_equal(match, wanted_match, (size_t)n);
    for (int i = 0; i < 8; i++)
        assert_int_equal(scratch[bytes + (size_t)i], 0x5a);
    free(scratch);
}

static void test_random(void **state)
{
    (void)state;
    static int32_t ids[MOST];
    check_rng rng = { 11 };

    for (int round = 0; round < 400; round++) {
        const int n = (int)check_below(&rng, round < 380 ? 200 : MOST);
        const uint32_t letters = 1 + check_below(&rng, 1u << check_below(&rng, 8));
        for (int i = 0; i < n; i++)
            ids[i] = (int32_t)check_below(&rng, letters);
        compare(ids, n, (int)check_below(&rng, 8));
    }
}

/* A text that repeats itself now and then, with ids that use all 32 bits. */
static void test_repeats(void **state)
{
    (void)state;
    static int32_t ids[MOST];
    check_rng rng = { 12 };

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MOST; i++)
            ids[i] = (int32_t)(check_below(&rng, 400) * 0x9e3779b1u);
        for (int i = 100; i + 40 < MOST; i += 60) {
            const uint32_t from = check_below(&rng, (uint32_t)i - 40);
            memcpy(ids + i, ids + from,
                   (1 + check_below(&rng, 30)) * sizeof *ids);
        }
        compare(ids, MOST, 4);
    }
}

static void test_edges(void **state)
{
    (void)state;
    static const int32_t one[] = { 7 };
    static const int32_t limits[] = { INT32_MIN, INT32_MAX, INT32_MIN, -1, 0,
                                      INT32_MAX, INT32_MIN, INT32_MAX };
    static int32_t same[MOST];

    compare(one, 0, 0);
    compare(one, 1, 0);
    compare(one, 1, 64);
    compare(limits, 8, 0);
    compare(limits, 8, 3);
    compare(limits, 8, 8);
    compare(same, MOST, 0);
    compare(same, MOST, 64);
}

/* Every length of a run has its class: a text, other tokens, then its last
 * `run` tokens once more. */
static void test_classes(void **state)
{
    (void)state;
    static const int wanted[] = { 0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7 };
    const tsri_kv_profile profile = { .reference = TSRI_KV_REF_MATCH };
    void *scratch = malloc(tsri_kv_match_scratch(64));
    int32_t ids[64], ref[64];
    uint8_t match[64];

    assert_non_null(scratch);
    for (int run = 0; run < 15; run++) {
        for (int i = 0; i < 64; i++)
            ids[i] = 100 + i;
        memcpy(ids + 40, ids + 20 - run, (size_t)run * sizeof *ids);
        tsri_kv_match(&profile, ids, 64, 0, ref, match, scratch);
        const int last = 40 + run - 1;
        assert_int_equal(match[last], wanted[run]);
        assert_int_equal(ref[last], run ? 19 : -1);
    }
    free(scratch);
}

static void test_numbered(void **state)
{
    (void)state;
    static const int32_t before[] = { -1, -1, -1, 2, 3, 4, 5, 6, 7 };
    static const int32_t anchor[] = { -1, -1, -1, -1, -1, 4, 4, 4, -1 };
    tsri_kv_profile profile = { .reference = TSRI_KV_REF_PREVIOUS, .anchor = 4 };
    int32_t ref[9];
    uint8_t match[9];

    tsri_kv_match(&profile, NULL, 9, 2, ref, match, NULL);
    for (int t = 0; t < 9; t++) {
        assert_int_equal(ref[t], before[t]);
        assert_int_equal(match[t], before[t] >= 0);
    }
    profile.reference = TSRI_KV_REF_ANCHOR;
    tsri_kv_match(&profile, NULL, 9, 2, ref, match, NULL);
    for (int t = 0; t < 9; t++) {
        assert_int_equal(ref[t], anchor[t]);
        assert_int_equal(match[t], anchor[t] >= 0);
    }
    profile.reference = TSRI_KV_REF_NONE;
    tsri_kv_match(&profile, NULL, 9, 0, ref, match, NULL);
    for (int t = 0; t < 9; t++) {
        assert_int_equal(ref[t], -1);
        assert_int_equal(match[t], 0);
    }
}

static void test_carry(void **state)
{
    (void)state;
    assert_int_equal(tsri_kv_carry(64, 1000), 1000);
    assert_int_equal(tsri_kv_carry(-64, 1000), -1000);
    assert_int_equal(tsri_kv_carry(1, 31), 0);
    assert_int_equal(tsri_kv_carry(1, 32), 1);
    assert_int_equal(tsri_kv_carry(-1, 32), 0);
    assert_int_equal(tsri_kv_carry(-1, 33), -1);
    assert_int_equal(tsri_kv_carry(-128, 1 << 23), -(1 << 24));
    assert_int_equal(tsri_kv_carry(-128, -(1 << 23)), 1 << 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_edges),    cmocka_unit_test(test_classes),
        cmocka_unit_test(test_numbered), cmocka_unit_test(test_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

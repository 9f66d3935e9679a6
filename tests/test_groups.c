/* SPDX-License-Identifier: BSD-2-Clause */
/* How pieces are put together for a device, with work that only counts. */
#include "config.h"
#include <pthread.h>
#include <stdatomic.h>
#include "codecs/groups.h"
#include "tests/check.h"

enum { MOST = 67 };

typedef struct counted {
    int keys;                   /* piece i has key i % keys, which is its first */
    ptrdiff_t alone, bad[3];    /* pieces done with at once; failing per stage */
    int stage[MOST];            /* of each piece: stages it went through */
    int group[MOST];            /* how many went together */
    atomic_int groups[TSRI_GROUP + 1];
    atomic_int faults;          /* of what no two lanes may do to one piece */
    pthread_mutex_t lock;
    tsr_context *doing[TSRI_LANES]; /* contexts that did groups */
} counted;

static void want(counted *c, bool good)
{
    atomic_fetch_add(&c->faults, !good);
}

static tsr_error before(void *cookie, tsr_context *ctx, size_t i,
                        const tsr_progress *progress, int *key)
{
    counted *c = cookie;

    (void)ctx;
    want(c, *key == -1 && !progress->report(progress->cookie, 0.5));
    want(c, c->stage[i]++ == 0);
    if (c->bad[0] == (ptrdiff_t)i)
        return TSR_E_CORRUPT;
    if (c->alone != (ptrdiff_t)i)
        *key = (int)i % c->keys;
    return TSR_OK;
}

/* Notes who does groups of several. */
static void note(counted *c, tsr_context *ctx)
{
    int k = 0;

    pthread_mutex_lock(&c->lock);
    while (c->doing[k] && c->doing[k] != ctx)
        k++;
    c->doing[k] = ctx;
    pthread_mutex_unlock(&c->lock);
}

static void together(void *cookie, tsr_context *ctx, const size_t *pieces, int n,
                     tsr_error *errors)
{
    counted *c = cookie;

    want(c, n == 1 || n == 2 || n == 4);
    atomic_fetch_add(&c->groups[n], 1);
    if (n > 1)
        note(c, ctx);
    for (int k = 0; k < n; k++) {
        want(c, pieces[k] % (size_t)c->keys == pieces[0] % (size_t)c->keys);
        want(c, errors[k] == TSR_OK && c->stage[pieces[k]]++ == 1);
        c->group[pieces[k]] = n;
        if (c->bad[1] == (ptrdiff_t)pieces[k])
            errors[k] = TSR_E_NOMEM;
    }
}

static tsr_error after(void *cookie, tsr_context *ctx, size_t i,
                       const tsr_progress *progress)
{
    counted *c = cookie;

    (void)ctx;
    (void)progress;
    want(c, c->stage[i]++ == 2);
    return c->bad[2] == (ptrdiff_t)i ? TSR_E_IO : TSR_OK;
}

static counted fresh(int keys)
{
    return (counted){ .keys = keys, .alone = -1, .bad = { -1, -1, -1 },
                      .lock = PTHREAD_MUTEX_INITIALIZER };
}

static tsr_context *open_context(void)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.threads = 8;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* All numbers of pieces, keys and lanes: each piece goes through all stages, in
 * groups as large as there are alike pieces for. */
static void test_all(void **state)
{
    tsr_context *ctx = open_context();
    const tsri_groups_work work = { before, together, after };
    (void)state;

    for (int lanes = 1; lanes <= 8; lanes += lanes == 2 ? 5 : 1)
        for (int n = 0; n <= MOST; n += 1 + n / 9)
            for (int keys = 1; keys < 5; keys++) {
                counted c = fresh(keys);
                tsr_error errors[MOST];
                int left = 0;
                assert_int_equal(tsri_groups_run(ctx, lanes, (size_t)n, &work, &c,
                                                 NULL, errors), TSR_OK);
                assert_int_equal(c.faults, 0);
                for (int i = 0; i < n; i++)
                    assert_true(c.stage[i] == 3 && !errors[i]);
                for (int k = 0; k < keys; k++)
                    left += (n / keys + (k < n % keys)) & 1;
                assert_int_equal(c.groups[1], left);
                assert_true(c.groups[2] <= keys);
                assert_null(c.doing[TSRI_GROUP_LANES]);
            }
    tsr_context_close(&ctx);
}

/* Pieces that fail, and one that needs no group, go no further; others do. */
static void test_faults(void **state)
{
    tsr_context *ctx = open_context();
    const tsri_groups_work work = { before, together, after };
    (void)state;

    for (int lanes = 1; lanes <= 8; lanes += 7) {
        counted c = fresh(2);
        tsr_error errors[MOST];
        c.bad[0] = 9;
        c.bad[1] = 14;
        c.bad[2] = 3;
        c.alone = 20;
        assert_int_equal(tsri_groups_run(ctx, lanes, 40, &work, &c, NULL, errors),
                         TSR_E_IO);
        assert_int_equal(c.faults, 0);
        for (int i = 0; i < 40; i++) {
            assert_int_equal(errors[i], i == 9 ? TSR_E_CORRUPT : i == 14 ?
                             TSR_E_NOMEM : i == 3 ? TSR_E_IO : TSR_OK);
            assert_int_equal(c.stage[i], i == 9 || i == 20 ? 1 : i == 14 ? 2 : 3);
        }
        assert_int_equal(tsri_groups_run(ctx, lanes, 5, &work,
                                         &(counted){ .keys = 1, .alone = -1,
                                                     .bad = { 0, -1, -1 } },
                                         NULL, NULL), TSR_E_CORRUPT);
    }
    tsr_context_close(&ctx);
}

typedef struct stopper { int calls, stop_at; double last; } stopper;

static int stop(void *cookie, double done)
{
    stopper *s = cookie;

    assert_true(done >= s->last && done <= 1);
    s->last = done;
    return ++s->calls == s->stop_at;
}

static void test_progress(void **state)
{
    tsr_context *ctx = open_context();
    const tsri_groups_work work = { before, together, after };
    const tsri_groups_work short_work = { before, together, NULL };
    (void)state;

    for (int lanes = 1; lanes <= 8; lanes += 7) {
        counted c = fresh(3);
        tsr_error errors[MOST];
        stopper s = { 0, 0, 0 };
        const tsr_progress progress = { &s, stop };
        assert_int_equal(tsri_groups_run(ctx, lanes, 30, &short_work, &c, &progress,
                                         errors), TSR_OK);
        assert_true(s.calls > 0 && s.last > 0.999);
        for (int i = 0; i < 30; i++)
            assert_int_equal(c.stage[i], 2);
        c = fresh(3);
        s = (stopper){ 0, 1, 0 };
        assert_int_equal(tsri_groups_run(ctx, 1, 30, &work, &c, &progress, errors),
                         TSR_E_CANCELED);
        assert_int_equal(s.calls, 1);
        assert_int_equal(errors[29], TSR_E_CANCELED);
    }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The controller of streamed caches: what it must never do, on random scripts;
 * small cases by hand; a link that is simulated. */
#include "tests/check.h"
#include <math.h>
#include <tessera/kv_control.h>

enum { MAX_CHUNKS = 24, MAX_LAYERS = 9, MAX_BUSY = 6 };

/* ---- what the caller knows ---- */

typedef struct world {
    tsr_kv_control_settings set;
    tsr_kv_control *control;
    double recompute[MAX_CHUNKS];
    uint64_t bytes[MAX_CHUNKS][3];
    unsigned char got[MAX_CHUNKS][3][MAX_LAYERS];
    unsigned char remade[MAX_CHUNKS], gone[MAX_CHUNKS], ended[MAX_CHUNKS];
    tsr_kv_step busy[MAX_BUSY];
    double begin[MAX_BUSY];
    int busy_count, room;
    tsr_kv_step making;             /* action 0: none */
    int done, ignored;
    double now;
} world;

static int levels_of(const world *w, int chunk, int layer)
{
    int k = 0;
    while (k < w->set.levels && w->got[chunk][k][layer])
        k++;
    return k;
}

static int least_levels(const world *w, int chunk)
{
    int least = 3;
    for (int l = 0; l < w->set.layers; l++)
        least = levels_of(w, chunk, l) < least ? levels_of(w, chunk, l) : least;
    return least;
}

static int is_there(const world *w, int chunk)
{
    return w->remade[chunk] || least_levels(w, chunk) >= w->set.floor;
}

static int is_lost(const world *w, int chunk)
{
    return w->gone[chunk] && !w->set.recompute && !is_there(w, chunk);
}

static void check_fetch(const world *w, const tsr_kv_step *s)
{
    assert_true(w->room);
    assert_in_range(s->chunk, 0, w->set.chunks - 1);
    assert_in_range(s->first_level, 0, s->last_level);
    const int ceiling = w->set.ceiling ? w->set.ceiling : w->set.levels;
    assert_true(s->last_level < ceiling);
    assert_true(s->first_layer >= 0 && s->layers >= 1);
    assert_true(s->first_layer + s->layers <= w->set.layers);
    if (s->first_level < s->last_level || !s->first_level)
        assert_int_equal(s->layers, w->set.layers);
    assert_false(w->remade[s->chunk] || w->gone[s->chunk]);
    assert_false(w->making.action && w->making.chunk == s->chunk);
    for (int i = 0; i < w->busy_count; i++)
        assert_int_not_equal(w->busy[i].chunk, s->chunk);
    for (int l = s->first_layer; l < s->first_layer + s->layers; l++)
        for (int k = 0; k <= s->last_level; k++)
            assert_int_equal(w->got[s->chunk][k][l], k < s->first_level);
}

static void drop(world *w, int i)
{
    w->busy[i] = w->busy[--w->busy_count];
    w->begin[i] = w->begin[w->busy_count];
}

static void check_recompute(world *w, const tsr_kv_step *s)
{
    assert_non_null(w->set.recompute);
    assert_int_equal(w->making.action, 0);
    for (int i = 0; i < s->chunk; i++)
        assert_true(is_there(w, i));
    assert_false(is_there(w, s->chunk));
    for (int i = 0; i < w->busy_count; i++)
        if (w->busy[i].chunk == s->chunk) {
            const tsr_kv_step old = w->busy[i];
            drop(w, i);
            /* Nothing may come of it. */
            tsr_kv_control_fetched(w->control, old.id, w->now, w->now, 1);
            tsr_kv_control_failed(w->control, old.id, w->now, 1);
            w->ignored++;
            break;
        }
    w->making = *s;
}

static void check_end(const world *w)
{
    for (int i = 0; i < w->set.chunks; i++)
        assert_true(is_there(w, i) || is_lost(w, i));
    assert_int_equal(w->making.action, 0);
    if (w->busy_count)
        assert_true(w->set.deadline > 0 && w->now >= w->set.deadline);
}

/* Asks until there is nothing to do; returns how long to wait. */
static double ask(world *w, int connections)
{
    for (;;) {
        w->room = w->busy_count < connections;
        const tsr_kv_step s = tsr_kv_control_next(w->control, w->now, w->room);
        switch (s.action) {
        case TSR_KV_FETCH:
            check_fetch(w, &s);
            w->begin[w->busy_count] = w->now;
            w->busy[w->busy_count++] = s;
            break;
        case TSR_KV_RECOMPUTE:
            check_recompute(w, &s);
            break;
        case TSR_KV_WAIT:
            assert_true(w->busy_count || w->making.action);
            assert_true(s.until > w->now);
            return s.until;
        case TSR_KV_DONE:
            check_end(w);
            w->done = 1;
            return HUGE_VAL;
        default:
            fail();
        }
    }
}

static uint64_t bytes_of(const world *w, const tsr_kv_step *s)
{
    uint64_t sum = 0;
    for (int k = s->first_level; k <= s->last_level; k++)
        sum += w->bytes[s->chunk][k] * (uint64_t)s->layers /
            (uint64_t)w->set.layers;
    return sum;
}

static void fetched(world *w, int i)
{
    const tsr_kv_step s = w->busy[i];
    const double begin = w->begin[i];
    drop(w, i);
    tsr_kv_control_sizes(w->control, s.chunk, w->bytes[s.chunk]);
    for (int k = s.first_level; k <= s.last_level; k++)
        memset(&w->got[s.chunk][k][s.first_layer], 1, (size_t)s.layers);
    tsr_kv_control_fetched(w->control, s.id, begin, w->now, bytes_of(w, &s));
}

static void failed(world *w, int i, int missing)
{
    const tsr_kv_step s = w->busy[i];
    drop(w, i);
    if (missing)
        w->gone[s.chunk] = 1;
    tsr_kv_control_failed(w->control, s.id, w->now, missing);
}

static void recomputed(world *w)
{
    const tsr_kv_step s = w->making;
    w->making.action = 0;
    w->remade[s.chunk] = 1;
    tsr_kv_control_recomputed(w->control, s.id, w->now);
}

static void check_state(const world *w)
{
    tsr_kv_control_state state;
    int remade = 0, lost = 0;
    tsr_kv_control_state_get(w->control, &state);
    for (int i = 0; i < w->set.chunks; i++) {
        remade += w->remade[i];
        lost += is_lost(w, i);
        for (int l = 0; l < w->set.layers; l++) {
            const int levels = tsr_kv_control_levels(w->control, i, l);
            if (levels >= 0)
                assert_int_equal(levels, levels_of(w, i, l));
            else
                assert_true(w->set.recompute || is_lost(w, i));
        }
    }
    assert_int_equal(state.recomputed, remade);
    assert_int_equal(state.lost, lost);
    assert_true(state.mean_levels >= 0 && state.mean_levels <= w->set.levels);
    assert_true(isfinite(state.bandwidth) && isfinite(state.expected_end));
}

/* ---- random scripts ---- */

static int below(check_rng *r, int n)
{
    return (int)check_below(r, (uint32_t)n);
}

static void random_settings(world *w, check_rng *r)
{
    tsr_kv_control_settings *s = &w->set;
    tsr_kv_control_settings_init(s);
    int policies = 0;
    while (tsr_kv_policy_at(policies))
        policies++;
    if (check_below(r, 2))
        s->policy = tsr_kv_policy_at(below(r, policies));
    s->chunks = 1 + below(r, MAX_CHUNKS);
    s->layers = 1 + below(r, MAX_LAYERS);
    s->levels = 1 + below(r, 3);
    s->floor = 1 + below(r, s->levels);
    if (check_below(r, 2))
        s->ceiling = s->floor + below(r, s->levels - s->floor + 1);
    if (check_below(r, 4))
        s->deadline = pow(10, check_float(r) * 2);
    for (int i = 0; i < s->chunks; i++) {
        w->recompute[i] = check_below(r, 8) * pow(10, check_float(r) - 1);
        for (int k = 0; k < s->levels; k++)
            w->bytes[i][k] = check_below(r, 16) ? check_below(r, 100000) : 0;
    }
    if (check_below(r, 2))
        s->recompute = w->recompute;
    if (check_below(r, 4) == 0)
        s->bandwidth = check_below(r, 1000000);
}

/* One thing happens. */
static void event(world *w, check_rng *r, int faults)
{
    const int i = w->busy_count ? below(r, w->busy_count) : -1;
    if (check_below(r, 8) == 0) {       /* sizes may come at any time */
        const int chunk = below(r, w->set.chunks);
        tsr_kv_control_sizes(w->control, chunk, w->bytes[chunk]);
    }
    if (w->making.action && (i < 0 || check_below(r, 3) == 0))
        recomputed(w);
    else if (i >= 0 && below(r, 100) < faults)
        failed(w, i, below(r, 2));
    else if (i >= 0) {
        const int id = w->busy[i].id;
        fetched(w, i);
        if (check_below(r, 3))
            tsr_kv_control_decoded(w->control, id, check_below(r, 100) * 1e-4);
    }
}

static int random_script(uint64_t seed)
{
    check_rng r = { seed * 0x9E3779B97F4A7C15ull + 1 };
    world w = { .now = 0 };
    random_settings(&w, &r);
    assert_int_equal(tsr_kv_control_open(&w.control, &w.set), TSR_OK);
    const int connections = 1 + below(&r, MAX_BUSY);
    const int faults = check_below(&r, 2) ? below(&r, 60) : 0;
    const double pace = pow(10, check_float(&r) * 2 - 1);
    int events = 0;
    while (ask(&w, connections), !w.done) {
        assert_true(events++ < 5000);
        w.now += pace * check_below(&r, 1000) * 1e-3;
        event(&w, &r, faults);
        check_state(&w);
    }
    const tsr_kv_step s = tsr_kv_control_next(w.control, w.now, 1);
    assert_int_equal(s.action, TSR_KV_DONE);
    tsr_kv_control_close(&w.control);
    assert_null(w.control);
    return w.ignored;
}

static void random_scripts(void **state)
{
    (void)state;
    int ignored = 0;
    for (uint64_t seed = 1; seed <= 20000; seed++)
        ignored += random_script(seed);
    assert_true(ignored > 0);           /* that case was met */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_scripts)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

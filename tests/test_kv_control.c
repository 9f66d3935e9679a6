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
    unsigned char remade[MAX_CHUNKS], gone[MAX_CHUNKS];
    tsr_kv_step busy[MAX_BUSY];
    double begin[MAX_BUSY];
    int busy_count, room;
    tsr_kv_step making;             /* action 0: none */
    int last[MAX_CHUNKS];           /* id of the last fetch */
    int done, ignored, undone;
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

/* It did not decode. */
static void undone(world *w, int chunk, int missing)
{
    for (int i = 0; i < w->busy_count; i++)
        if (w->busy[i].chunk == chunk)
            drop(w, i--);
    memset(w->got[chunk], 0, sizeof w->got[chunk]);
    w->gone[chunk] = (unsigned char)missing;
    w->undone++;
    tsr_kv_control_failed(w->control, w->last[chunk], w->now, missing);
}

static void fetched(world *w, int i)
{
    const tsr_kv_step s = w->busy[i];
    w->last[s.chunk] = s.id;
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
    if (i >= 0 && check_below(r, 4) == 0)
        tsr_kv_control_progress(w->control, w->busy[i].id, w->now,
                                check_below(r, 100000));
    if (w->making.action && (i < 0 || check_below(r, 3) == 0))
        recomputed(w);
    else if (i >= 0 && below(r, 100) < faults)
        failed(w, i, below(r, 2));
    else if (i >= 0) {
        const int id = w->busy[i].id;
        const int chunk = w->busy[i].chunk;
        fetched(w, i);
        if (below(r, 100) < faults / 2 && !w->remade[chunk])
            undone(w, chunk, below(r, 2));
        else if (check_below(r, 3))
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
    return (w.ignored > 0) + 2 * (w.undone > 0);
}

static void random_scripts(void **state)
{
    (void)state;
    int met = 0;
    for (uint64_t seed = 1; seed <= 20000; seed++)
        met |= random_script(seed);
    assert_int_equal(met, 3);           /* both cases */
}

/* ---- on a link of constant bandwidth ---- */

typedef struct fluid {
    double rate, rtt;
    double left[MAX_BUSY];          /* bytes; of world.busy */
    double made;                    /* when world.making is done */
    double usable;
} fluid;

static void drain(world *w, fluid *f, double t)
{
    int n = 0;
    for (int i = 0; i < w->busy_count; i++)
        n += w->begin[i] + f->rtt <= w->now;
    for (int i = 0; i < w->busy_count; i++)
        if (w->begin[i] + f->rtt <= w->now)
            f->left[i] -= f->rate / n * (t - w->now);
    w->now = t;
}

static double next_event(const world *w, const fluid *f, double until)
{
    double t = w->making.action ? fmin(until, f->made) : until;
    int n = 0;
    for (int i = 0; i < w->busy_count; i++)
        n += w->begin[i] + f->rtt <= w->now;
    for (int i = 0; i < w->busy_count; i++)
        if (w->begin[i] + f->rtt > w->now)
            t = fmin(t, w->begin[i] + f->rtt);
        else if (f->rate > 0)
            t = fmin(t, w->now + fmax(f->left[i], 0) * n / f->rate);
    assert_true(isfinite(t));
    return t;
}

static void happen(world *w, fluid *f)
{
    for (int i = w->busy_count - 1; i >= 0; i--) {
        if (w->begin[i] + f->rtt > w->now || f->rate <= 0)
            continue;
        tsr_kv_control_sizes(w->control, w->busy[i].chunk,
                             w->bytes[w->busy[i].chunk]);
        if (f->left[i] > 1e-3)
            continue;
        fetched(w, i);
        f->left[i] = f->left[w->busy_count];
    }
    if (w->making.action && f->made <= w->now)
        recomputed(w);
}

/* What began is in the world's lists, but the link does not know of it. */
static void begun(world *w, fluid *f, const int *chunks, int before)
{
    double left[MAX_BUSY];
    for (int i = 0; i < w->busy_count; i++) {
        left[i] = (double)bytes_of(w, &w->busy[i]);
        for (int j = 0; j < before; j++)
            if (chunks[j] == w->busy[i].chunk)
                left[i] = f->left[j];
    }
    memcpy(f->left, left, sizeof left);
}

static void transfer(world *w, fluid *f, int connections)
{
    for (int events = 0;; events++) {
        assert_true(events < 5000);
        int chunks[MAX_BUSY];
        const int before = w->busy_count, making = (int)w->making.action;
        for (int i = 0; i < before; i++)
            chunks[i] = w->busy[i].chunk;
        const double until = ask(w, connections);
        if (w->done)
            return;
        begun(w, f, chunks, before);
        if (w->making.action && !making)
            f->made = w->now + w->recompute[w->making.chunk];
        drain(w, f, next_event(w, f, until));
        happen(w, f);
        int there = 1;
        for (int i = 0; i < w->set.chunks; i++)
            there = there && is_there(w, i);
        if (there && !(f->usable > 0))
            f->usable = w->now;
    }
}

static void even_world(world *w, check_rng *r)
{
    tsr_kv_control_settings_init(&w->set);
    w->set.chunks = 1 + below(r, MAX_CHUNKS);
    w->set.layers = MAX_LAYERS;
    w->set.levels = 3;
    for (int i = 0; i < w->set.chunks; i++)
        for (int k = 0; k < 3; k++)
            w->bytes[i][k] = (uint64_t)(k + 1) * (9000 + check_below(r, 2000));
}

static double sum_of(const world *w, int levels)
{
    double sum = 0;
    for (int i = 0; i < w->set.chunks; i++)
        for (int k = 0; k < levels; k++)
            sum += (double)w->bytes[i][k];
    return sum;
}

/* Everything that fits by a wide margin comes, in time. */
static void meets_deadlines(void **state)
{
    (void)state;
    check_rng r = { 77 };
    for (int round = 0; round < 2000; round++) {
        world w = { .now = 0 };
        fluid f = { .rate = pow(10, 5 + check_float(&r)), .usable = 0 };
        even_world(&w, &r);
        const int connections = 1 + below(&r, MAX_BUSY), all = below(&r, 2);
        w.set.deadline = 1.5 * sum_of(&w, all ? 3 : 1) / f.rate;
        /* Round trips cost a tenth. */
        f.rtt = 0.1 * w.set.deadline / (3 * w.set.chunks);
        for (int i = 0; i < w.set.chunks; i++)
            w.recompute[i] = w.set.deadline;
        if (check_below(&r, 2))
            w.set.recompute = w.recompute;
        assert_int_equal(tsr_kv_control_open(&w.control, &w.set), TSR_OK);
        transfer(&w, &f, connections);
        assert_true(f.usable > 0 && f.usable <= w.set.deadline);
        for (int i = 0; i < w.set.chunks; i++) {
            assert_false(w.remade[i]);      /* nothing for nothing */
            if (all)
                assert_int_equal(least_levels(&w, i), 3);
        }
        tsr_kv_control_close(&w.control);
    }
}

/* Where the link alone is too slow, both ends are. */
static void recomputes_enough(void **state)
{
    (void)state;
    check_rng r = { 78 };
    for (int round = 0; round < 2000; round++) {
        world w = { .now = 0 };
        fluid f = { .rate = 1e5, .usable = 0 };
        even_world(&w, &r);
        w.set.chunks = MAX_CHUNKS;
        for (int i = 0; i < MAX_CHUNKS; i++)
            for (int k = 0; k < 3; k++)
                w.bytes[i][k] = 10000;
        /* The link brings `share` of it in five sixths of the time, the rest
         * takes the caller two thirds. */
        const double share = check_below(&r, 7) * 0.1;
        w.set.deadline = 2.4;
        f.rate = share * 1.2 * MAX_CHUNKS * 1e4 / w.set.deadline;
        for (int i = 0; i < MAX_CHUNKS; i++)
            w.recompute[i] = 0.66 * w.set.deadline / ((1 - share) * MAX_CHUNKS);
        w.set.recompute = w.recompute;
        assert_int_equal(tsr_kv_control_open(&w.control, &w.set), TSR_OK);
        transfer(&w, &f, 1 + below(&r, 4));
        assert_true(f.usable > 0 && f.usable <= w.set.deadline);
        int remade = 0;
        for (int i = 0; i < MAX_CHUNKS; i++)
            remade += w.remade[i];
        assert_true(remade >= 0.1 * MAX_CHUNKS);
        if (f.rate <= 0)
            assert_int_equal(remade, MAX_CHUNKS);
        tsr_kv_control_close(&w.control);
    }
}

/* ---- by hand ---- */

static tsr_kv_control *open_with(int chunks, int layers, int levels,
                                 double deadline, const char *policy,
                                 const double *recompute)
{
    tsr_kv_control_settings s;
    tsr_kv_control *c;
    tsr_kv_control_settings_init(&s);
    s.chunks = chunks;
    s.layers = layers;
    s.levels = levels;
    s.deadline = deadline;
    s.policy = policy;
    s.recompute = recompute;
    assert_int_equal(tsr_kv_control_open(&c, &s), TSR_OK);
    return c;
}

/* The next step is a fetch of these; returns its id. */
static int expect_fetch(tsr_kv_control *c, double now, int chunk, int first,
                        int last, int first_layer, int layers)
{
    const tsr_kv_step s = tsr_kv_control_next(c, now, 1);
    assert_int_equal(s.action, TSR_KV_FETCH);
    assert_int_equal(s.chunk, chunk);
    assert_int_equal(s.first_level, first);
    assert_int_equal(s.last_level, last);
    assert_int_equal(s.first_layer, first_layer);
    assert_int_equal(s.layers, layers);
    return s.id;
}

static void expect(tsr_kv_control *c, double now, tsr_kv_action action)
{
    assert_int_equal(tsr_kv_control_next(c, now, 1).action, action);
}

static const uint64_t sizes[3] = { 1000, 2000, 4000 };

static void sizes_of(tsr_kv_control *c, int chunks)
{
    for (int i = 0; i < chunks; i++)
        tsr_kv_control_sizes(c, i, sizes);
}

/* Floors in order, then the last chunk's finer levels, then as many layers of the
 * others as there is time for. */
static void order(void **state)
{
    (void)state;
    tsr_kv_control *c = open_with(2, 8, 3, 10, "deadline", NULL);
    int id = expect_fetch(c, 0, 0, 0, 0, 0, 8);
    sizes_of(c, 2);
    tsr_kv_control_fetched(c, id, 0, 1, 1000);
    id = expect_fetch(c, 1, 1, 0, 0, 0, 8);
    assert_int_equal(tsr_kv_control_next(c, 1, 0).action, TSR_KV_WAIT);
    tsr_kv_control_fetched(c, id, 1, 2, 1000);
    id = expect_fetch(c, 2, 1, 1, 1, 0, 8);
    tsr_kv_control_fetched(c, id, 2, 4, 2000);
    id = expect_fetch(c, 4, 1, 2, 2, 0, 8);
    assert_int_equal(tsr_kv_control_next(c, 4, 0).action, TSR_KV_WAIT);
    tsr_kv_control_fetched(c, id, 4, 6, 4000);  /* faster than before */
    id = expect_fetch(c, 6, 0, 1, 1, 0, 8);
    tsr_kv_control_fetched(c, id, 6, 8, 2000);
    const tsr_kv_step s = tsr_kv_control_next(c, 8, 1);
    assert_int_equal(s.action, TSR_KV_FETCH);
    assert_int_equal(s.chunk, 0);
    assert_true(s.first_level == 2 && s.first_layer == 0);
    assert_in_range(s.layers, 3, 6);            /* 2 s at 1000 to 2000 a second */
    assert_int_equal(s.bytes, 500 * s.layers);
    expect(c, 10, TSR_KV_DONE);                 /* what is under way is dropped */
    tsr_kv_control_fetched(c, s.id, 8, 11, s.bytes);
    expect(c, 11, TSR_KV_DONE);
    assert_int_equal(tsr_kv_control_levels(c, 0, 0), 3);
    assert_int_equal(tsr_kv_control_levels(c, 0, 7), 2);
    tsr_kv_control_close(&c);
}

/* After the deadline the floors still come, and nothing else. */
static void late(void **state)
{
    (void)state;
    tsr_kv_control *c = open_with(2, 4, 2, 1, "deadline", NULL);
    int id = expect_fetch(c, 0, 0, 0, 0, 0, 4);
    sizes_of(c, 2);
    tsr_kv_control_fetched(c, id, 0, 5, 1000);
    id = expect_fetch(c, 5, 1, 0, 0, 0, 4);
    assert_true(isinf(tsr_kv_control_next(c, 5, 1).until));
    tsr_kv_control_failed(c, id, 6, 0);
    id = expect_fetch(c, 6, 1, 0, 0, 0, 4);
    tsr_kv_control_fetched(c, id, 6, 10, 1000);
    expect(c, 10, TSR_KV_DONE);
    tsr_kv_control_close(&c);
}

static void missing(void **state)
{
    (void)state;
    static const double each[3] = { 0.1, 0.1, 0.1 };
    tsr_kv_control_state s;
    for (int i = 0; i < 2; i++) {
        tsr_kv_control *c = open_with(3, 4, 1, 100, "deadline", i ? each : NULL);
        tsr_kv_step f[3];
        for (int k = 0; k < 3; k++) {
            f[k] = tsr_kv_control_next(c, 0, 1);
            assert_int_equal(f[k].chunk, i ? 2 - k : k);
        }
        sizes_of(c, 3);
        tsr_kv_control_failed(c, f[1].id, 1, 1);
        expect(c, 1, TSR_KV_WAIT);      /* the first may come still */
        tsr_kv_control_fetched(c, f[0].id, 0, 2, 1000);
        tsr_kv_control_fetched(c, f[2].id, 0, 2, 1000);
        if (i) {
            const tsr_kv_step r = tsr_kv_control_next(c, 2, 0);
            assert_int_equal(r.action, TSR_KV_RECOMPUTE);
            assert_int_equal(r.chunk, 1);
            expect(c, 2, TSR_KV_WAIT);
            tsr_kv_control_recomputed(c, r.id, 3);
        }
        expect(c, 3, TSR_KV_DONE);
        tsr_kv_control_state_get(c, &s);
        assert_int_equal(s.lost, !i);
        assert_int_equal(s.recomputed, i);
        assert_int_equal(tsr_kv_control_levels(c, 1, 0), -1);
        tsr_kv_control_close(&c);
    }
}

/* A finer level that is not there leaves the chunk as it is. */
static void missing_level(void **state)
{
    (void)state;
    tsr_kv_control *c = open_with(1, 4, 3, 100, "deadline", NULL);
    int id = expect_fetch(c, 0, 0, 0, 0, 0, 4);
    sizes_of(c, 1);
    tsr_kv_control_fetched(c, id, 0, 1, 1000);
    id = expect_fetch(c, 1, 0, 1, 1, 0, 4);
    tsr_kv_control_failed(c, id, 2, 1);
    expect(c, 2, TSR_KV_DONE);
    assert_int_equal(tsr_kv_control_levels(c, 0, 3), 1);
    tsr_kv_control_close(&c);
}

static double believed(const tsr_kv_control *c)
{
    tsr_kv_control_state s;
    tsr_kv_control_state_get(c, &s);
    return s.bandwidth;
}

/* Requests that run side by side share one link. */
static void bandwidth(void **state)
{
    (void)state;
    tsr_kv_control *c = open_with(8, 1, 1, 0, "uniform", NULL);
    assert_true(believed(c) <= 0);
    int id[4];
    for (int i = 0; i < 4; i++)
        id[i] = expect_fetch(c, 0, i, 0, 0, 0, 1);
    for (int i = 0; i < 4; i++)
        tsr_kv_control_fetched(c, id[i], 0, 2, 1000);
    assert_float_equal(believed(c), 2000, 1);
    tsr_kv_control_close(&c);

    /* One after the other, with a latency of a second that sizes tell apart. */
    c = open_with(2, 1, 2, 1000, "deadline", NULL);
    sizes_of(c, 2);
    double now = 0;
    for (int i = 0; i < 4; i++) {
        const tsr_kv_step s = tsr_kv_control_next(c, now, 1);
        const double end = now + 1 + (double)s.bytes / 1000;
        tsr_kv_control_fetched(c, s.id, now, end, s.bytes);
        now = end;
    }
    assert_in_range((int)believed(c), 600, 1001);
    expect(c, now, TSR_KV_DONE);
    tsr_kv_control_close(&c);
}

/* A share of a second for each chunk. */
static void published(void **state)
{
    (void)state;
    static const double each[4] = { 1, 1, 1, 1 };
    tsr_kv_control *c = open_with(4, 1, 3, 4, "cachegen", each);
    int id = expect_fetch(c, 0, 0, 0, 1, 0, 1);     /* medium */
    sizes_of(c, 4);
    tsr_kv_control_fetched(c, id, 0, 0.5, 3000);
    id = expect_fetch(c, 0.5, 1, 0, 1, 0, 1);       /* 6000 a second: not 7000 */
    tsr_kv_control_fetched(c, id, 0.5, 5.5, 3000);
    const tsr_kv_step s = tsr_kv_control_next(c, 5.5, 1);
    assert_int_equal(s.action, TSR_KV_RECOMPUTE);   /* 600 a second: not 1000 */
    assert_int_equal(s.chunk, 2);
    tsr_kv_control_recomputed(c, s.id, 6);
    assert_int_equal(tsr_kv_control_next(c, 6, 1).chunk, 3);
    tsr_kv_control_close(&c);

    c = open_with(4, 1, 3, 4, "remaining", NULL);
    id = expect_fetch(c, 0, 0, 0, 1, 0, 1);
    sizes_of(c, 4);
    tsr_kv_control_fetched(c, id, 0, 0.4, 3000);    /* 3.6 s at 7500 for three */
    id = expect_fetch(c, 0.4, 1, 0, 2, 0, 1);
    tsr_kv_control_fetched(c, id, 0.4, 3.9, 7000);  /* 0.1 s at 2000 */
    expect_fetch(c, 3.9, 2, 0, 0, 0, 1);
    tsr_kv_control_close(&c);
}

static void bad_settings(void **state)
{
    (void)state;
    static const double negative[1] = { -1 };
    tsr_kv_control_settings good, s;
    tsr_kv_control *c;
    tsr_kv_control_settings_init(&good);
    good.chunks = good.layers = 1;
#define BAD(code, change) \
    s = good; \
    change; \
    assert_int_equal(tsr_kv_control_open(&c, &s), code); \
    assert_null(c)
    BAD(TSR_E_ARG, s.size = offsetof(tsr_kv_control_settings, loss) - 1);
    BAD(TSR_E_ARG, s.chunks = 0);
    BAD(TSR_E_ARG, s.chunks = (1 << 20) + 1);
    BAD(TSR_E_ARG, s.layers = 0);
    BAD(TSR_E_ARG, s.layers = 1025);
    BAD(TSR_E_ARG, s.levels = 4);
    BAD(TSR_E_ARG, s.levels = 0);
    BAD(TSR_E_ARG, s.floor = 0);
    BAD(TSR_E_ARG, s.floor = 2);
    BAD(TSR_E_ARG, s.ceiling = 2);
    BAD(TSR_E_ARG, s.ceiling = -1);
    BAD(TSR_E_ARG, (s.levels = 2, s.floor = 2, s.ceiling = 1));
    BAD(TSR_E_ARG, s.deadline = -1);
    BAD(TSR_E_ARG, s.deadline = NAN);
    BAD(TSR_E_ARG, s.bandwidth = INFINITY);
    BAD(TSR_E_ARG, s.loss[1] = NAN);
    BAD(TSR_E_ARG, s.recompute = negative);
    BAD(TSR_E_ARG, s.policy = NULL);
    BAD(TSR_E_UNSUPPORTED, s.policy = "none such");
#undef BAD
    s = good;                   /* an older program's: losses are the defaults */
    s.size = offsetof(tsr_kv_control_settings, loss);
    s.loss[0] = NAN;
    assert_int_equal(tsr_kv_control_open(&c, &s), TSR_OK);
    tsr_kv_control_close(&c);
    assert_int_equal(tsr_kv_control_open(&c, NULL), TSR_E_ARG);
    assert_int_equal(tsr_kv_control_open(NULL, &good), TSR_E_ARG);
    assert_int_equal(tsr_kv_control_open(&c, &good), TSR_OK);
    tsr_kv_control_close(&c);
    tsr_kv_control_close(&c);
    assert_string_equal(tsr_kv_policy_at(0), "deadline");
    assert_null(tsr_kv_policy_at(-1));
    assert_null(tsr_kv_policy_at(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_scripts), cmocka_unit_test(meets_deadlines),
        cmocka_unit_test(recomputes_enough), cmocka_unit_test(order),
        cmocka_unit_test(late), cmocka_unit_test(missing),
        cmocka_unit_test(missing_level), cmocka_unit_test(bandwidth),
        cmocka_unit_test(published), cmocka_unit_test(bad_settings)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

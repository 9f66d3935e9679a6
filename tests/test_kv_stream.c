/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches to stores and back: the same as coding and decoding here, each chunk
 * once, in the order and quality asked for. */
#include "tests/stream_case.h"

static void check_there(const tsr_kv_job_result *r, const stream_case *c)
{
    if (r->error)
        print_message("# %s\n", r->message);
    assert_int_equal(r->error, TSR_OK);
    assert_string_equal(r->message, "");
    assert_int_equal(r->tokens, c->n);
    assert_int_equal(r->chunks, stream_chunks(c));
    assert_int_equal(r->missing, 0);
}

static void round_trip(const stream_case *c, const char *url, int connections,
                       int threads)
{
    tsr_kv_stream_settings s = stream_settings(c, url);
    tsr_kv_job_result r;
    kv_cache to;

    s.connections = connections;
    s.threads = threads;
    r = stream_push(c, &s);
    check_there(&r, c);
    assert_int_equal(r.present, 0);
    assert_true(r.bytes > 0);
    assert_int_equal(r.raw_bytes, c->n * 4 * (2 * 16 + 2 * 8) * 2);
    stream_room(c, &to);
    r = stream_pull(c, &s, &to);
    check_there(&r, c);
    assert_true(r.usable > 0 && r.seconds >= r.usable);
    assert_true(kv_same(&to, &c->local));
    assert_true(r.mean_levels == c->codec.levels);
    kv_check_guards(&to);
    /* Once more: nothing is sent. */
    r = stream_push(c, &s);
    check_there(&r, c);
    assert_int_equal(r.present, r.chunks);
    assert_int_equal(r.bytes, 0);
    s.replace = 1;
    r = stream_push(c, &s);
    check_there(&r, c);
    assert_int_equal(r.present, 0);
    assert_true(r.bytes > 0);
    kv_cache_close(&to);
}

/** In a folder, and in memory with threads that are late now and then. */
static void round_trips(void **state)
{
    static const struct { size_t n, each; } size[] = {
        { 1, 64 }, { 64, 64 }, { 65, 64 }, { 200, 64 }, { 100, 32 },
        { 400, 128 }, { 300, 256 }, { 50, 1024 }
    };
    int k = 0;
    (void)state;
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int levels = 1; levels <= 3; levels++, k++) {
            stream_case c;
            char path[32];
            stream_case_open(&c, size[i].n, size[i].each, levels,
                             (kv_layout)(k % 4), k % 3 == 0);
            store_mkdir(path);
            round_trip(&c, path, 1 + k % 5, 1 + k % 2);
            store_rmdir(path);
            mem_reset(0);
            mem[0].jitter = 300;
            mem[0].seed = (unsigned)k;
            round_trip(&c, "redis://0", 1 + k % 7, 1);
            stream_case_close(&c);
        }
    mem_reset(0);
}

/* ---- chunks once ---- */

/** Two contexts that begin alike share what they have in common; a longer one
 *  sends only what is new, in the same step. */
static void prefixes(void **state)
{
    stream_case c, longer;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to;
    size_t tokens;
    (void)state;
    mem_reset(0);
    stream_case_open(&longer, 330, 64, 2, KV_HTD, 0);
    stream_case_open(&c, 200, 64, 2, KV_THD, 0);
    KV_EACH(&c.cache, l, p, t, h, d)
        kv_put(&c.cache, l, p, t, h, d, kv_get(&longer.cache, l, p, t, h, d));
    s = stream_settings(&c, "redis://0");
    assert_int_equal(tsr_kv_stored(&s, longer.ids, longer.n, &tokens), TSR_OK);
    assert_int_equal(tokens, 0);
    r = stream_push(&c, &s);
    check_there(&r, &c);
    assert_int_equal(mem[0].puts, 4);
    /* The last chunk is whole only in the context that ends there. */
    assert_int_equal(tsr_kv_stored(&s, longer.ids, longer.n, &tokens), TSR_OK);
    assert_int_equal(tokens, 192);
    assert_int_equal(tsr_kv_stored(&s, c.ids, 200, &tokens), TSR_OK);
    assert_int_equal(tokens, 200);
    assert_int_equal(tsr_kv_stored(&s, c.ids, 199, &tokens), TSR_OK);
    assert_int_equal(tokens, 192);
    r = stream_push(&longer, &s);
    check_there(&r, &longer);
    assert_int_equal(r.present, 3);
    assert_int_equal(mem[0].puts, 4 + 3);
    stream_room(&longer, &to);
    r = stream_pull(&longer, &s, &to);
    check_there(&r, &longer);
    assert_true(kv_same(&to, &longer.local));
    /* Another model, profile or cut of the text is another name. */
    s.model = "another";
    assert_int_equal(tsr_kv_stored(&s, c.ids, 200, &tokens), TSR_OK);
    assert_int_equal(tokens, 0);
    s = stream_settings(&c, "redis://0");
    s.chunk_tokens = 32;
    assert_int_equal(tsr_kv_stored(&s, c.ids, 200, &tokens), TSR_OK);
    assert_int_equal(tokens, 0);
    mem[0].deny = 1;
    assert_int_equal(tsr_kv_stored(&s, c.ids, 200, &tokens), TSR_E_DENIED);
    kv_cache_close(&to);
    stream_case_close(&c);
    stream_case_close(&longer);
    mem_reset(0);
}

static void two_writers(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job *job[2];
    tsr_kv_job_result r;
    kv_cache to;
    (void)state;
    stream_case_open(&c, 500, 64, 3, KV_NHD, 0);
    s = stream_settings(&c, "redis://0");
    for (int k = 0; k < 10; k++) {
        mem_reset(0);
        mem[0].jitter = 2000;
        mem[0].seed = (unsigned)k;
        for (int i = 0; i < 2; i++)
            assert_int_equal(tsr_kv_push_begin(&job[i], &s, &c.codec,
                                               &c.cache.view, c.ids, c.pos0),
                             TSR_OK);
        for (int i = 0; i < 2; i++) {
            r = stream_end(job[i]);
            check_there(&r, &c);
        }
        assert_int_equal(mem[0].objects, stream_chunks(&c));
        stream_room(&c, &to);
        r = stream_pull(&c, &s, &to);
        check_there(&r, &c);
        assert_true(kv_same(&to, &c.local));
        kv_cache_close(&to);
    }
    stream_case_close(&c);
    mem_reset(0);
}

/* ---- what is told ---- */

typedef struct told {
    int layers[4], levels;      /* layers known with 1.. levels */
    uint64_t bytes, expected;
    int chunk, calls;
    tsr_kv_job *volatile *job;
    const stream_case *c;
    const kv_cache *to;
} told;

static void on_layers(void *cookie, int first, int layers, int levels)
{
    told *t = cookie;
    assert_true(levels >= 1 && levels <= 3 && layers >= 1);
    assert_int_equal(first, t->layers[levels]);
    for (int k = 1; k <= levels; k++)
        if (t->layers[k] < first + layers)
            t->layers[k] = first + layers;
    if (levels > t->levels)
        t->levels = levels;
}

static void on_progress(void *cookie, uint64_t bytes, uint64_t expected)
{
    told *t = cookie;
    assert_true(bytes >= t->bytes);
    t->bytes = bytes;
    t->expected = expected;
}

static void events(void **state)
{
    static const char *const policies[] = { "deadline", "uniform" };
    (void)state;
    for (int k = 0; k < 6; k++) {
        stream_case c;
        tsr_kv_stream_settings s;
        tsr_kv_job_result r;
        kv_cache to;
        told t = { .bytes = 0 };
        mem_reset(0);
        mem[0].jitter = 200;
        stream_case_open(&c, 300, 64, 1 + k % 3, KV_HND, 0);
        s = stream_settings(&c, "redis://0");
        s.policy = policies[k % 2];
        s.deadline = k < 3 ? 0 : 60;
        r = stream_push(&c, &s);
        check_there(&r, &c);
        s.events = (tsr_kv_events){ .cookie = &t, .layers = on_layers,
                                    .progress = on_progress };
        stream_room(&c, &to);
        r = stream_pull(&c, &s, &to);
        check_there(&r, &c);
        assert_true(kv_same(&to, &c.local));
        for (int l = 1; l <= 1 + k % 3; l++)
            assert_int_equal(t.layers[l], 4);
        assert_int_equal(t.levels, 1 + k % 3);
        assert_int_equal(t.bytes, r.bytes);
        assert_int_equal(t.expected, r.bytes);
        kv_cache_close(&to);
        stream_case_close(&c);
    }
    mem_reset(0);
}

/* ---- deadlines ---- */

/** A slow line: less comes, and what came is what decoding at fewer levels
 *  gives. */
/* Only what must be. */
static void check_never(const stream_case *c, tsr_kv_stream_settings *s,
                        const kv_cache *to, uint64_t all)
{
    tsr_kv_job_result r;
    s->deadline = 0.001;        /* never */
    mem[0].rate = (double)all / 0.1;
    for (int floor = 1; floor <= 3; floor++) {
        s->floor = floor;
        r = stream_pull(c, s, to);
        check_there(&r, c);
        assert_true(r.late);
        assert_true(r.mean_levels >= floor);
        if (floor < 3)
            assert_true(r.bytes < all);
    }
}

/* No more is used where more is at hand. */
static void check_ceiling(const stream_case *c, tsr_kv_stream_settings *s,
                          const kv_cache *to, const kv_cache *low)
{
    tsr_kv_job_result r;
    mem_reset(1);
    s->cache = "redis://1";
    s->ceiling = 0;
    r = stream_pull(c, s, to);
    assert_int_equal(mem[1].objects, 10);
    s->ceiling = 1;
    r = stream_pull(c, s, to);
    check_there(&r, c);
    assert_int_equal(r.present, 10);
    assert_true(r.mean_levels == 1);
    stream_local_all(c, 1, low);
    assert_true(kv_same(to, low));
    s->cache = NULL;
    mem_reset(1);
}

static void deadlines(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to, low;
    uint64_t all;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, 2560, 256, 3, KV_THD, 0);
    s = stream_settings(&c, "redis://0");
    r = stream_push(&c, &s);
    check_there(&r, &c);
    all = r.bytes;
    stream_room(&c, &to);
    stream_room(&c, &low);
    check_never(&c, &s, &to, all);
    mem[0].rate = 0;
    s.floor = 1;
    s.deadline = 60;
    s.ceiling = 2;
    r = stream_pull(&c, &s, &to);
    check_there(&r, &c);
    assert_false(r.late);
    assert_true(r.mean_levels == 2);
    stream_local_all(&c, 2, &low);
    assert_true(kv_same(&to, &low));
    check_ceiling(&c, &s, &to, &low);
    /* Half of what all would take. */
    s.ceiling = 0;
    mem[0].rate = (double)all / 0.6;
    s.deadline = 0.3;
    r = stream_pull(&c, &s, &to);
    check_there(&r, &c);
    assert_true(r.mean_levels >= 1 && r.mean_levels < 3);
    assert_true(r.bytes < all);
    kv_cache_close(&to);
    kv_cache_close(&low);
    stream_case_close(&c);
    mem_reset(0);
}

/* ---- made by the caller ---- */

static void fill_from(const stream_case *c, const kv_cache *to, size_t first,
                      size_t n)
{
    kv_cache a = stream_part(&c->local, first, n), b = stream_part(to, first, n);
    KV_EACH(&b, l, p, t, h, d)
        memcpy(kv_at(&b, l, p, t, h, d), kv_at(&a, l, p, t, h, d), 2);
    free(a.base);
    free(b.base);
}

static void on_recompute(void *cookie, int chunk, size_t first, size_t tokens)
{
    told *t = cookie;
    assert_int_equal(first, (size_t)chunk * t->c->each);
    fill_from(t->c, t->to, first, tokens);
    t->chunk = chunk;
    t->calls++;
    while (!*t->job)            /* begin has not returned yet */
        store_pause(0.001);
    tsr_kv_job_recomputed(*t->job, chunk);
}

static void recomputes(void **state)
{
    const double cost[10] = { 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01,
                              0.01, 0.01 };
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to;
    (void)state;
    stream_case_open(&c, 600, 64, 2, KV_NHD, 0);
    for (int k = 0; k < 6; k++) {
        tsr_kv_job *job = NULL;
        told t = { .c = &c, .to = &to, .job = (tsr_kv_job *volatile *)&job };
        mem_reset(0);
        mem[0].jitter = 500;
        s = stream_settings(&c, "redis://0");
        r = stream_push(&c, &s);
        check_there(&r, &c);
        /* Two are not there, or are damaged. */
        mem[0].object[2 + k].data[200] ^= (uint8_t)(k % 2);
        if (k % 2 == 0)
            mem[0].object[2 + k].key[0] = 'x';
        mem[0].object[0].size = 0;
        s.recompute = cost;
        s.events = (tsr_kv_events){ .cookie = &t, .recompute = on_recompute };
        s.connections = 1 + k % 3;
        stream_room(&c, &to);
        assert_int_equal(tsr_kv_pull_begin(&job, &s, &c.shape, &to.view, c.ids,
                                           c.n), TSR_OK);
        assert_int_equal(tsr_kv_job_wait(job, -1, &r), TSR_OK);
        assert_int_equal(r.error, TSR_OK);
        assert_int_equal(r.recomputed, 2);
        assert_int_equal(t.calls, 2);
        assert_int_equal(r.tokens, c.n);
        assert_true(kv_same(&to, &c.local));
        tsr_kv_job_close(&job);
        kv_cache_close(&to);
    }
    stream_case_close(&c);
    mem_reset(0);
}

/* ---- objects instead of a view ---- */

typedef struct arrived {
    const stream_case *c;
    const kv_cache *to;
    kv_coder k;
    int seen[16], levels, refuse;
} arrived;

static tsr_error on_arrival(void *cookie, const tsr_kv_arrival *a)
{
    arrived *t = cookie;
    kv_cache to = stream_part(t->to, a->first_token, a->tokens);
    const tsr_kv_part part = { .level = a->levels };

    t->seen[a->chunk]++;
    t->levels = a->levels;
    t->k.call.token_ids = t->c->ids + a->first_token;
    assert_int_equal(tsr_kv_decode(t->k.kv, a->object, a->size, &part, &to.view,
                                   &t->k.call), TSR_OK);
    free(to.base);
    return a->chunk == t->refuse ? TSR_E_BACKEND : TSR_OK;
}

static void arrivals(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        stream_case c;
        tsr_kv_stream_settings s;
        tsr_kv_job_result r;
        tsr_kv_job *job;
        kv_cache to, low;
        arrived t = { .c = &c, .to = &to, .refuse = k < 4 ? -1 : 2 };
        mem_reset(0);
        stream_case_open(&c, 450, 64, 3, KV_HTD, k % 2);
        s = stream_settings(&c, "redis://0");
        r = stream_push(&c, &s);
        check_there(&r, &c);
        tsr_kv_settings codec = c.codec;
        codec.profile = c.profile;
        kv_coder_open(&t.k, c.ctx, &codec, c.each);
        stream_room(&c, &to);
        stream_room(&c, &low);
        s.deadline = k < 2 ? 0 : 0.001;
        s.arrival = on_arrival;
        s.arrival_cookie = &t;
        assert_int_equal(tsr_kv_pull_begin(&job, &s, &c.shape, NULL, c.ids, c.n),
                         TSR_OK);
        r = stream_end(job);
        assert_int_equal(r.error, k < 4 ? TSR_OK : TSR_E_MISSING);
        assert_int_equal(r.tokens, k < 4 ? 450 : 128);
        for (int i = 0; i < r.chunks; i++)
            assert_int_equal(t.seen[i], 1);
        if (k < 2) {
            assert_int_equal(t.levels, 3);
            assert_true(kv_same(&to, &c.local));
        }
        kv_coder_close(&t.k);
        kv_cache_close(&to);
        kv_cache_close(&low);
        stream_case_close(&c);
    }
    mem_reset(0);
}

/* ---- the caller's mistakes ---- */

/* Refused, and the settings are good again. */
#define REFUSED(error) do {                                                    \
        assert_int_equal(tsr_kv_pull_begin(&job, &bad, &shape, &view, c.ids,    \
                                           100), error);                        \
        assert_null(job);                                                       \
        bad = s;                                                                \
    } while (0)

static void sizes(void **state)
{
    stream_case c;
    tsr_kv_job *job;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, 100, 64, 1, KV_NHD, 0);
    const tsr_kv_stream_settings s = stream_settings(&c, "redis://0");
    tsr_kv_stream_settings bad = s;
    const tsr_kv_view view = c.cache.view;
    const tsr_kv_shape shape = c.shape;
    bad.size = offsetof(tsr_kv_stream_settings, arrival) - 1;
    REFUSED(TSR_E_ARG);
    bad.size = 0;
    REFUSED(TSR_E_ARG);
    bad.store.size = 0;
    REFUSED(TSR_E_ARG);
    bad.store.size = sizeof bad.store - 1;
    REFUSED(TSR_E_ARG);
    bad.store.size = bad.size;
    REFUSED(TSR_E_ARG);
    stream_case_close(&c);
}

static void arguments(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s, bad;
    tsr_kv_job *job;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, 100, 64, 1, KV_NHD, 0);
    s = stream_settings(&c, "redis://0");
    tsr_kv_view view = c.cache.view;
    tsr_kv_shape shape = c.shape;
    bad = s;
    bad.url = "ftp://x";
    REFUSED(TSR_E_ARG);
    bad.url = NULL;
    REFUSED(TSR_E_ARG);
    bad.model = NULL;
    REFUSED(TSR_E_ARG);
    bad.model = "";
    REFUSED(TSR_E_ARG);
    bad.chunk_tokens = 31;
    REFUSED(TSR_E_ARG);
    bad.chunk_tokens = 40;      /* not a multiple of the blocks */
    REFUSED(TSR_E_ARG);
    bad.connections = 0;
    REFUSED(TSR_E_ARG);
    bad.threads = 257;
    REFUSED(TSR_E_ARG);
    bad.floor = 4;
    REFUSED(TSR_E_ARG);
    bad.policy = "none";
    REFUSED(TSR_E_UNSUPPORTED);
    view.tokens = 99;
    REFUSED(TSR_E_ARG);
    view.tokens = 100;
    shape.layers = 0;
    REFUSED(TSR_E_ARG);
    shape.layers = 1 << 30;
    REFUSED(TSR_E_ARG);
    c.codec.method = "nothing";
    assert_int_equal(tsr_kv_push_begin(&job, &s, &c.codec, &c.cache.view, c.ids,
                                       0), TSR_E_UNSUPPORTED);
    assert_null(job);
    c.codec.method = NULL;
    /* A value that is none ends a push with a reason. */
    kv_put(&c.cache, 1, 1, 70, 0, 0, INFINITY);
    tsr_kv_job_result r = stream_push(&c, &s);
    assert_int_equal(r.error, TSR_E_ARG);
    assert_true(strlen(r.message) > 10);
    tsr_kv_job_close(NULL);
    tsr_kv_job_cancel(NULL);
    stream_case_close(&c);
    mem_reset(0);
}

/* Settings as programs have them that know a store's settings with fewer fields or
 * more, and of the job's not the last. */
static void other_headers(void **state)
{
    enum {
        INNER = offsetof(tsr_kv_stream_settings, store),
        REST = offsetof(tsr_kv_stream_settings, model),
        TAIL = offsetof(tsr_kv_stream_settings, arrival) - REST
    };
    static const size_t inner[] = {
        offsetof(tsr_store_settings, logger), sizeof(tsr_store_settings),
        sizeof(tsr_store_settings) + 4 * sizeof(void *)
    };
    stream_case c;
    kv_cache to;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, 100, 64, 1, KV_NHD, 0);
    stream_room(&c, &to);
    for (int i = 0; i < 3; i++) {
        union {
            tsr_kv_stream_settings s;
            char bytes[sizeof(tsr_kv_stream_settings) + 64];
        } other;
        tsr_kv_stream_settings s = stream_settings(&c, "redis://0");
        size_t tokens;
        mem_reset(0);
        memset(&other, 0xa5, sizeof other);
        s.size = INNER + inner[i] + TAIL;
        s.store.size = inner[i];
        memcpy(other.bytes, &s, i == 0 ? INNER + inner[i] : REST);
        memcpy(other.bytes + INNER + inner[i], (char *)&s + REST, TAIL);
        assert_int_equal(tsr_kv_stored(&other.s, c.ids, 100, &tokens), TSR_OK);
        assert_int_equal(tokens, 0);
        assert_int_equal(stream_push(&c, &other.s).error, TSR_OK);
        assert_int_equal(tsr_kv_stored(&other.s, c.ids, 100, &tokens), TSR_OK);
        assert_int_equal(tokens, 100);
        assert_int_equal(stream_pull(&c, &other.s, &to).error, TSR_OK);
        assert_true(kv_same(&to, &c.local));
    }
    kv_cache_close(&to);
    stream_case_close(&c);
    mem_reset(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips), cmocka_unit_test(prefixes),
        cmocka_unit_test(two_writers), cmocka_unit_test(events),
        cmocka_unit_test(deadlines), cmocka_unit_test(recomputes),
        cmocka_unit_test(arrivals), cmocka_unit_test(arguments),
        cmocka_unit_test(sizes), cmocka_unit_test(other_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

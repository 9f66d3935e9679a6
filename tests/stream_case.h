/* SPDX-License-Identifier: BSD-2-Clause */
/* Contexts to push and pull, and a store in memory that can be made to fail: it
 * takes the place of Redis in these tests. */
#ifndef TSR_TESTS_STREAM_CASE_H
#define TSR_TESTS_STREAM_CASE_H
#include "tests/kv_profile_gen.h"
#include "tests/store_case.h"
#include <pthread.h>
#include <tessera/kv_stream.h>
#include "net/store_impl.h"

/* ---- the store in memory: mem objects under redis://NAME ---- */

enum { MEM_OBJECTS = 256, MEM_STORES = 4, MEM_STEP = 1500 };

typedef struct mem_object {
    char key[TSR_KV_NAME_TEXT];
    uint8_t *data;
    size_t size;
} mem_object;

/** What the store does; set before use, counters to be read after. */
typedef struct mem_store {
    mem_object object[MEM_OBJECTS];
    int objects;
    int jitter;             /**< up to that many microseconds now and then */
    double rate;            /**< bytes a second of all reads together; 0: any */
    int fail_every;         /**< every so many calls fails */
    int break_every;        /**< every so many reads break off in the middle */
    int die_after;          /**< calls after which all fail; 0: never */
    int deny;
    int stall;              /**< reads hang until they are canceled */
    uint64_t stall_after;   /**< the same from so many bytes read on; 0: never */
    int calls, gets, puts;
    uint64_t read, written;
    double busy_until;
    int told_token;         /**< it was opened with one */
    unsigned seed;
} mem_store;

static mem_store mem[MEM_STORES];
static pthread_mutex_t mem_lock = PTHREAD_MUTEX_INITIALIZER;

static inline double mem_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void mem_reset(int i)
{
    for (int k = 0; k < mem[i].objects; k++)
        free(mem[i].object[k].data);
    memset(&mem[i], 0, sizeof mem[i]);
    mem[i].seed = 1;
}

static inline mem_object *mem_find(mem_store *m, const char *key)
{
    for (int i = 0; i < m->objects; i++)
        if (!strcmp(m->object[i].key, key))
            return &m->object[i];
    return NULL;
}

static inline mem_store *mem_of(tsr_store *store)
{
    return store->state;
}

/* Counts a call, waits a little, and says whether it is to fail. */
static inline tsr_error mem_call(tsr_store *store)
{
    mem_store *m = mem_of(store);
    pthread_mutex_lock(&mem_lock);
    const int n = ++m->calls;
    m->seed = m->seed * 1103515245u + 12345u;
    const unsigned pause = m->jitter && m->seed >> 28 < 6
        ? (m->seed >> 8) % (unsigned)m->jitter : 0;
    const int fails = (m->fail_every && n % m->fail_every == 0) ||
        (m->die_after && n > m->die_after);
    const int deny = m->deny;
    pthread_mutex_unlock(&mem_lock);
    if (pause)
        store_pause(1e-6 * pause);
    if (atomic_load(&store->canceled))
        return TSR_E_CANCELED;
    if (deny)
        return tsri_store_fail(store, TSR_E_DENIED, "the token has expired");
    return fails ? tsri_store_fail(store, TSR_E_IO, "the line is cut") : TSR_OK;
}

/* Waits for the line as long as so many bytes take. */
static inline void mem_pace(mem_store *m, size_t bytes)
{
    pthread_mutex_lock(&mem_lock);
    const double now = mem_now();
    m->read += bytes;
    if (m->busy_until < now)
        m->busy_until = now;
    m->busy_until += m->rate > 0 ? (double)bytes / m->rate : 0;
    const double pause = m->busy_until - now;
    pthread_mutex_unlock(&mem_lock);
    if (pause > 1e-4)
        store_pause(pause);
}

static inline tsr_error mem_open(tsr_store *store, const char *url)
{
    mem_store *m = store->state = &mem[url[strlen("redis://")] - '0'];
    pthread_mutex_lock(&mem_lock);
    m->told_token |= store->settings.token != NULL;
    pthread_mutex_unlock(&mem_lock);
    return TSR_OK;
}

static inline void mem_close(tsr_store *store)
{
    store->state = NULL;
}

static inline tsr_error mem_send(tsr_store *store, const uint8_t *data,
                                 size_t size, const tsr_sink *sink, int breaks)
{
    mem_store *m = mem_of(store);
    for (size_t at = 0; at < size;) {
        const size_t n = size - at < MEM_STEP ? size - at : MEM_STEP;
        while ((m->stall || (m->stall_after && m->read >= m->stall_after)) &&
               !atomic_load(&store->canceled))
            store_pause(0.002);
        if (atomic_load(&store->canceled))
            return TSR_E_CANCELED;
        if (breaks && (at >= size / 2 || at + n == size))
            return tsri_store_fail(store, TSR_E_IO, "the line was cut");
        mem_pace(m, n);
        const tsr_error error = sink->write(sink->cookie, data + at, n);
        if (error)
            return error;
        at += n;
    }
    return TSR_OK;
}

static inline tsr_error mem_get(tsr_store *store, const char *key,
                                uint64_t offset, uint64_t bytes,
                                const tsr_sink *sink, tsr_store_entry *entry)
{
    mem_store *m = mem_of(store);
    tsr_error error = mem_call(store);
    if (error)
        return error;
    pthread_mutex_lock(&mem_lock);
    const int breaks = m->break_every && ++m->gets % m->break_every == 0;
    const mem_object *o = mem_find(m, key);
    uint8_t *data = NULL;
    size_t size = 0;
    if (o) {
        *entry = (tsr_store_entry){ .bytes = o->size };
        strcpy(entry->key, key);
        offset = offset < o->size ? offset : o->size;
        size = o->size - (size_t)offset;
        size = bytes && bytes < size ? (size_t)bytes : size;
        data = malloc(size + 1);
        memcpy(data, o->data + offset, size);
    }
    pthread_mutex_unlock(&mem_lock);
    if (!o)
        return tsri_store_fail(store, TSR_E_MISSING, "%s: no such object", key);
    error = mem_send(store, data, size, sink, breaks);
    free(data);
    return error;
}

static inline tsr_error mem_put(tsr_store *store, const char *key,
                                const void *data, size_t size)
{
    mem_store *m = mem_of(store);
    const tsr_error error = mem_call(store);
    if (error)
        return error;
    pthread_mutex_lock(&mem_lock);
    mem_object *o = mem_find(m, key);
    if (!o) {
        o = &m->object[m->objects++];
        strcpy(o->key, key);
    }
    free(o->data);
    o->data = malloc(size + 1);
    memcpy(o->data, data, size);
    o->size = size;
    m->puts++;
    m->written += size;
    pthread_mutex_unlock(&mem_lock);
    return TSR_OK;
}

static inline tsr_error mem_stat(tsr_store *store, const char *key,
                                 tsr_store_entry *entry)
{
    const tsr_error error = mem_call(store);
    pthread_mutex_lock(&mem_lock);
    const mem_object *o = mem_find(mem_of(store), key);
    if (o)
        entry->bytes = o->size;
    pthread_mutex_unlock(&mem_lock);
    return error ? error : o ? TSR_OK : TSR_E_MISSING;
}

static inline tsr_error mem_remove(tsr_store *store, const char *key)
{
    (void)store;
    (void)key;
    return TSR_E_UNSUPPORTED;
}

static inline tsr_error mem_list(tsr_store *store, const char *prefix,
                                 tsr_error (*visit)(void *cookie,
                                                    const tsr_store_entry *e),
                                 void *cookie)
{
    (void)store;
    (void)prefix;
    (void)visit;
    (void)cookie;
    return TSR_E_UNSUPPORTED;
}

static const tsri_store_driver mem_driver = {
    "redis", mem_open, mem_close, mem_get, mem_put, mem_stat, mem_remove,
    mem_list, NULL
};

/* The library's own is in another file of its archive, which then is not taken. */
const tsri_store_driver *tsri_store_redis(void)
{
    return &mem_driver;
}

/* ---- contexts ---- */

/** A context: its cache, and what it is after coding and decoding here. */
typedef struct stream_case {
    tsr_context *ctx;
    tsr_kv_shape shape;
    kv_layout layout;
    tsr_kv_settings codec;
    tsr_model *profile;
    kv_cache cache, local;
    int32_t *ids;
    size_t n, each;
    uint64_t pos0;
} stream_case;

static const tsr_kv_shape stream_shape = { .layers = 4, .planes = 2,
                                           .heads = { 2, 2 }, .dim = { 16, 8 } };

static inline int stream_chunks(const stream_case *c)
{
    return (int)((c->n + c->each - 1) / c->each);
}

/** Part of a cache, as a cache; base has its own memory. */
static inline kv_cache stream_part(const kv_cache *c, size_t first, size_t n)
{
    kv_cache part = *c;
    const size_t planes = kv_planes(&c->shape);

    part.base = malloc(planes * sizeof *part.base);
    memcpy(part.base, c->base, planes * sizeof *part.base);
    part.view.base = part.base;
    part.view.tokens = n;
    if (c->view.blocks)
        part.view.blocks += first / (size_t)c->view.block_tokens;
    for (size_t i = 0; !c->view.blocks && i < planes; i++)
        part.base[i] = (uint8_t *)part.base[i] +
            (ptrdiff_t)first * c->view.token_stride;
    return part;
}

/** Codes chunk i here, at `levels` levels (0: all), into `out`; object and size
 *  may be NULL. */
static inline void stream_local(const stream_case *c, kv_coder *k, int i,
                                int levels, const kv_cache *out)
{
    const size_t first = (size_t)i * c->each;
    const size_t n = c->n - first < c->each ? c->n - first : c->each;
    kv_cache from = stream_part(&c->cache, first, n);
    kv_cache to = stream_part(out, first, n);
    const tsr_kv_part part = { .level = levels };

    k->call.pos0 = c->pos0 + first;
    k->call.token_ids = c->ids + first;
    assert_int_equal(kv_encode(k, &from), TSR_OK);
    assert_int_equal(kv_decode(k, &part, &to), TSR_OK);
    free(from.base);
    free(to.base);
}

static inline void stream_local_all(const stream_case *c, int levels,
                                    const kv_cache *out)
{
    kv_coder k;
    tsr_kv_settings s = c->codec;

    s.profile = c->profile;
    s.store_tokens = 0;
    kv_coder_open(&k, c->ctx, &s, c->each);
    for (int i = 0; i < stream_chunks(c); i++)
        stream_local(c, &k, i, levels, out);
    kv_coder_close(&k);
}

static inline void stream_case_open(stream_case *c, size_t n, size_t each,
                                    int levels, kv_layout layout, int profiled)
{
    const kv_plan plan = { .shape = &stream_shape, .joined = 2,
                           .reference = TSRI_KV_REF_MATCH, .predictors = 2,
                           .matches = 8 };

    *c = (stream_case){ .ctx = kv_quiet_context(1), .shape = stream_shape,
                        .layout = layout, .n = n, .each = each, .pos0 = 0 };
    c->ids = malloc(n * sizeof *c->ids);
    kv_plan_ids(c->ids, n);
    kv_cache_open(&c->cache, &c->shape, TSR_KV_F16, layout, n);
    kv_cache_open(&c->local, &c->shape, TSR_KV_F16, layout, n);
    tsr_kv_settings_init(&c->codec);
    c->codec.shape = c->shape;
    c->codec.levels = levels;
    c->codec.rope = kv_plan_rope;
    c->codec.tile = 64;
    if (profiled) {
        c->profile = kv_plan_model(&plan, c->ctx, "./stream.safetensors");
        kv_plan_fill(&plan, &c->cache, c->ctx, c->profile, c->ids);
    } else {
        kv_fill(&c->cache, 7);
    }
    stream_local_all(c, 0, &c->local);
}

static inline void stream_case_close(stream_case *c)
{
    tsr_model_unref(&c->profile);
    kv_cache_close(&c->cache);
    kv_cache_close(&c->local);
    free(c->ids);
    tsr_context_close(&c->ctx);
}

static inline tsr_kv_stream_settings stream_settings(const stream_case *c,
                                                     const char *url)
{
    tsr_kv_stream_settings s;

    tsr_kv_stream_settings_init(&s);
    s.url = url;
    s.model = "model of the tests";
    s.profile = c->profile;
    s.chunk_tokens = (int)c->each;
    s.store.retries = 2;
    return s;
}

static inline tsr_kv_job_result stream_end(tsr_kv_job *job)
{
    tsr_kv_job_result r;

    assert_int_equal(tsr_kv_job_wait(job, -1, &r), TSR_OK);
    tsr_kv_job_close(&job);
    assert_null(job);
    return r;
}

static inline tsr_kv_job_result stream_push(const stream_case *c,
                                            const tsr_kv_stream_settings *s)
{
    tsr_kv_job *job;

    assert_int_equal(tsr_kv_push_begin(&job, s, &c->codec, &c->cache.view,
                                       c->ids, c->pos0), TSR_OK);
    return stream_end(job);
}

static inline tsr_kv_job_result stream_pull(const stream_case *c,
                                            const tsr_kv_stream_settings *s,
                                            const kv_cache *to)
{
    tsr_kv_job *job;

    assert_int_equal(tsr_kv_pull_begin(&job, s, &c->shape, &to->view, c->ids,
                                       c->n), TSR_OK);
    return stream_end(job);
}

/** An empty cache like that of the case. */
static inline void stream_room(const stream_case *c, kv_cache *to)
{
    kv_cache_open(to, &c->shape, TSR_KV_F16, c->layout, c->n);
}

/** The same bits in the tokens first .. first + n - 1? */
static inline bool stream_same(const kv_cache *a, const kv_cache *b, size_t first,
                               size_t n)
{
    kv_cache x = stream_part(a, first, n), y = stream_part(b, first, n);
    bool same = true;

    for (size_t t = 0; same && t < n; t++)
        for (int l = 0; l < x.shape.layers; l++)
            for (int p = 0; p < x.shape.planes; p++)
                for (int h = 0; h < x.shape.heads[p]; h++)
                    same = same && !memcmp(kv_at(&x, l, p, t, h, 0),
                                           kv_at(&y, l, p, t, h, 0),
                                           2 * (size_t)x.shape.dim[p]);
    free(x.base);
    free(y.base);
    return same;
}
#endif
